//! Who is on duty, over ten years, beside an oracle that shares nothing with the library: `tests/oracle/duty.py`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use alpha_alerts::oncall::{
    CalendarConfig, CalendarEvent, MeetingConfig, OnCall, OnCallConfig, Override, Overrides, Schedule,
    icalendar,
};
use alpha_alerts::text::English;
use jiff::Timestamp;
use serde::Deserialize;
use testbed::Missing;

#[derive(Deserialize)]
struct Scenarios {
    from: Timestamp,
    to: Timestamp,
    config: OnCallConfig,
    overrides: Vec<Override>,
}

/// What the oracle found, in little: so that a machine without Python compares too.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Digest {
    changes: usize,
    sha256: String,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

fn scenarios() -> (Scenarios, OnCall, Overrides) {
    let text = std::fs::read_to_string(folder().join("scenarios.json")).unwrap();
    let scenarios: Scenarios = serde_json::from_str(&text).unwrap();
    let on_call = OnCall::new(&scenarios.config).unwrap();
    let overrides: Overrides = scenarios.overrides.iter().cloned().collect();
    for entry in overrides.iter() {
        entry.check(&on_call).unwrap();
    }
    (scenarios, on_call, overrides)
}

/// One line per change of people, as the oracle writes it.
fn changes(schedule: &Schedule, from: Timestamp, to: Timestamp, overrides: &Overrides) -> String {
    let mut spans: BTreeMap<Timestamp, String> = BTreeMap::new();
    for shift in schedule.shifts(from, to, overrides) {
        let people: Vec<&str> = shift.people.iter().map(|person| person.as_str()).collect();
        spans.insert(shift.starts_at, people.join(","));
    }
    for gap in schedule.gaps(from, to, overrides) {
        spans.insert(gap.starts_at, String::new());
    }
    let mut lines = String::new();
    let mut before = None;
    for (at, people) in spans {
        if before.as_ref() != Some(&people) {
            writeln!(lines, "{} {} {people}", schedule.name(), at.as_second()).unwrap();
            before = Some(people);
        }
    }
    lines
}

#[test]
fn ten_years_are_as_the_oracle_found_them() {
    let (scenarios, on_call, overrides) = scenarios();
    let text = std::fs::read_to_string(folder().join("digests.json")).unwrap();
    let expected: BTreeMap<String, Digest> = serde_json::from_str(&text).unwrap();
    let found: BTreeMap<String, Digest> = on_call
        .schedules()
        .iter()
        .map(|schedule| {
            let lines = changes(schedule, scenarios.from, scenarios.to, &overrides);
            let hash = ring::digest::digest(&ring::digest::SHA256, lines.as_bytes());
            let digest = Digest {
                changes: lines.lines().count(),
                sha256: hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
            };
            (schedule.name().to_owned(), digest)
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn ten_years_are_as_the_oracle_finds_them_now() {
    let python = Command::new("python3")
        .args(["-c", "import zoneinfo; zoneinfo.ZoneInfo('Australia/Lord_Howe')"])
        .output();
    let python = python.ok().filter(|output| output.status.success());
    testbed::need!(python.ok_or_else(|| Missing("python3 with zoneinfo and tzdata".to_owned())));
    let output = Command::new("python3")
        .arg(folder().join("duty.py"))
        .arg(folder().join("scenarios.json"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let expected = String::from_utf8(output.stdout).unwrap();

    let (scenarios, on_call, overrides) = scenarios();
    let found: String = on_call
        .schedules()
        .iter()
        .map(|schedule| changes(schedule, scenarios.from, scenarios.to, &overrides))
        .collect();
    let mut lines = expected.lines().zip(found.lines()).enumerate();
    if let Some((number, (expected, found))) = lines.find(|(_, (expected, found))| expected != found) {
        panic!("line {number}: the oracle says `{expected}`, the library `{found}`");
    }
    assert_eq!(expected.lines().count(), found.lines().count());
}

#[test]
fn who_is_on_duty_at_an_instant_is_whose_shift_contains_it() {
    let (scenarios, on_call, overrides) = scenarios();
    for schedule in on_call.schedules() {
        for shift in schedule
            .shifts(scenarios.from, scenarios.to, &overrides)
            .iter()
            .step_by(7)
        {
            let last = shift.ends_at - jiff::SignedDuration::from_nanos(1);
            for at in [shift.starts_at, last] {
                assert_eq!(
                    on_call.on_duty(schedule.name(), at, &overrides),
                    shift.people,
                    "{shift:?}"
                );
            }
        }
    }
}

#[derive(Deserialize)]
struct Parsed {
    name: String,
    events: Vec<ParsedEvent>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct ParsedEvent {
    uid: String,
    summary: String,
    description: String,
    starts_at: Timestamp,
    ends_at: Timestamp,
    stamp: Timestamp,
}

#[test]
fn another_parser_reads_the_calendar_as_it_was_meant() {
    // Debian's own Python has Debian's packages, whichever comes first in the path.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let output = Command::new(python).args(["-c", "import icalendar"]).output();
        output.is_ok_and(|output| output.status.success())
    });
    let python =
        testbed::need!(python.ok_or_else(|| Missing("python3 with the package icalendar".to_owned())));

    let (scenarios, _, overrides) = scenarios();
    let mut config = scenarios.config;
    config.calendars[0] = CalendarConfig::china();
    config.meetings = MeetingConfig::ready_made("Asia/Shanghai", Some("china"), &English);
    // No backslash before an n: Debian's version of the parser takes that for a line break even where it is escaped. The
    // unit tests of the writer have it.
    config.meetings[0].summary = Some("站会; \"stand-up\", 每个工作日\\ 九点半 — ".repeat(9));
    let on_call = OnCall::new(&config).unwrap();
    let (from, to): (Timestamp, Timestamp) = (
        "2026-01-01T00:00:00Z".parse().unwrap(),
        "2027-01-01T00:00:00Z".parse().unwrap(),
    );
    let mut events: Vec<CalendarEvent> = on_call.meetings(from, to).into_iter().map(Into::into).collect();
    for schedule in on_call.schedules() {
        events.extend(CalendarEvent::shifts(schedule, from, to, &overrides));
    }
    events[0].description = "one\ntwo\r\nthree, four; five\\six".to_owned();
    let stamp: Timestamp = "2026-01-01T08:00:00Z".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calendar.ics");
    std::fs::write(&path, icalendar("主要, 值班; all", &events, stamp)).unwrap();

    let output = Command::new(python)
        .arg(self::folder().join("icalendar_events.py"))
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let parsed: Parsed = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(parsed.name, "主要, 值班; all");
    assert_eq!(parsed.events.len(), events.len());
    for (parsed, event) in parsed.events.into_iter().zip(&events) {
        let meant = ParsedEvent {
            uid: event.uid.clone(),
            summary: event.summary.clone(),
            description: event.description.replace("\r\n", "\n"),
            starts_at: event.starts_at,
            ends_at: event.ends_at,
            stamp,
        };
        assert_eq!(parsed, meant);
    }
    let uids: std::collections::HashSet<&str> = events.iter().map(|event| event.uid.as_str()).collect();
    assert_eq!(uids.len(), events.len(), "two events have the same identity");
}
