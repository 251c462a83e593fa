//! Shifts and meetings as iCalendar (RFC 5545), for the calendars that people carry with them.
//!
//! Only what is written here is needed: events with a beginning and an end in UTC, which every client shows in the time
//! of whoever looks. Each meeting is an event of its own instead of a rule of recurrence, because no rule says "on
//! working days of China". The writer is our own: `icalendar`, the crate that is kept best, brings chrono, a second
//! library of dates beside jiff whose zones and nights of changing clocks would have to agree with it.

use jiff::{SignedDuration, Timestamp};

use super::meeting::Meeting;
use super::{Overrides, PersonName, Schedule};
use crate::hash::sha256_hex;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarEvent {
    /// Its identity: an event that is exported again with the same one takes the place of the earlier.
    pub uid: String,
    /// One line of what it is.
    pub summary: String,
    /// More about it; may be empty.
    pub description: String,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
}

/// The longest line in bytes, its end not counted (RFC 5545, 3.1).
const LONGEST_LINE: usize = 75;

impl CalendarEvent {
    /// The shifts of `schedule` that touch the time from `from` until before `to`, whole ones. An event keeps its identity
    /// as long as its shift begins at the same instant, whoever serves it.
    pub fn shifts(schedule: &Schedule, from: Timestamp, to: Timestamp, overrides: &Overrides) -> Vec<Self> {
        // Shifts that the time cuts are exported whole, so it is widened by the longest turn and every override.
        let margin = SignedDuration::from_hours(24 * (i64::from(schedule.longest_turn_days()) + 3));
        let touching = overrides.touching(schedule.name(), from, to);
        let starts = touching.iter().map(|entry| entry.starts_at).chain([from]);
        let ends = touching.iter().map(|entry| entry.ends_at).chain([to]);
        let start = starts
            .min()
            .unwrap_or(from)
            .saturating_sub(margin)
            .unwrap_or(Timestamp::MIN);
        let end = ends
            .max()
            .unwrap_or(to)
            .saturating_add(margin)
            .unwrap_or(Timestamp::MAX);
        schedule
            .shifts(start, end, overrides)
            .into_iter()
            .filter(|shift| shift.starts_at < to && shift.ends_at > from)
            .map(|shift| {
                let people: Vec<&str> = shift.people.iter().map(PersonName::as_str).collect();
                Self {
                    uid: uid("shift", schedule.name(), shift.starts_at),
                    summary: format!("{}: {}", schedule.name(), people.join(", ")),
                    description: shift.turn.map(|turn| turn.layer.to_string()).unwrap_or_default(),
                    starts_at: shift.starts_at,
                    ends_at: shift.ends_at,
                }
            })
            .collect()
    }
}

impl From<Meeting> for CalendarEvent {
    fn from(meeting: Meeting) -> Self {
        Self {
            uid: uid("meeting", &meeting.name, meeting.starts_at),
            summary: meeting.summary,
            description: String::new(),
            starts_at: meeting.starts_at,
            ends_at: meeting.ends_at,
        }
    }
}

/// A calendar called `name` with these events, made at `now`.
pub fn icalendar(name: &str, events: &[CalendarEvent], now: Timestamp) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| push_folded(&mut out, name, value);
    line("BEGIN", "VCALENDAR");
    line("VERSION", "2.0");
    line("PRODID", "-//Alpha//alpha-alerts//EN");
    line("CALSCALE", "GREGORIAN");
    line("METHOD", "PUBLISH");
    line("X-WR-CALNAME", &escaped(name));
    for event in events {
        line("BEGIN", "VEVENT");
        line("UID", &escaped(&event.uid));
        line("DTSTAMP", &utc(now));
        line("DTSTART", &utc(event.starts_at));
        line("DTEND", &utc(event.ends_at));
        line("SUMMARY", &escaped(&event.summary));
        if !event.description.is_empty() {
            line("DESCRIPTION", &escaped(&event.description));
        }
        // Being on duty does not make somebody busy for whoever looks for a free hour.
        line("TRANSP", "TRANSPARENT");
        line("END", "VEVENT");
    }
    line("END", "VCALENDAR");
    out
}

fn uid(kind: &str, name: &str, starts_at: Timestamp) -> String {
    let hash = sha256_hex(&format!("{kind}/{name}/{starts_at}"));
    format!("{kind}-{}@alpha-alerts", &hash[..32])
}

/// An instant as RFC 5545 writes it in UTC, to the second.
fn utc(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Text as a value (RFC 5545, 3.3.11). Control characters other than the line break cannot be written and are left out.
fn escaped(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for character in text.replace("\r\n", "\n").chars() {
        match character {
            '\\' => value.push_str("\\\\"),
            ';' => value.push_str("\\;"),
            ',' => value.push_str("\\,"),
            '\n' => value.push_str("\\n"),
            '\t' => value.push('\t'),
            character if character.is_control() => {}
            character => value.push(character),
        }
    }
    value
}

/// A line with its end, folded between characters so that no part has more than 75 bytes.
fn push_folded(out: &mut String, name: &str, value: &str) {
    let line = format!("{name}:{value}");
    let mut rest = line.as_str();
    let mut room = LONGEST_LINE;
    while rest.len() > room {
        let (part, after) = rest.split_at(rest.floor_char_boundary(room));
        out.push_str(part);
        out.push_str("\r\n ");
        rest = after;
        // The space that begins a continued line counts.
        room = LONGEST_LINE - 1;
    }
    out.push_str(rest);
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oncall::{LayerConfig, OnCall, OnCallConfig, PersonConfig, ScheduleConfig};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn lines_are_folded_between_characters_and_values_escaped() {
        assert_eq!(
            escaped("a\\nb"),
            "a\\\\nb",
            "a backslash before an n is no line break"
        );
        let event = CalendarEvent {
            uid: "1@alpha-alerts".to_owned(),
            summary: "值班".repeat(40),
            description: "a;b,c\\d\r\ne\u{0}f\nEND:VEVENT".to_owned(),
            starts_at: at("2026-03-29T00:59:59.5Z"),
            ends_at: at("2026-03-29T01:00:00Z"),
        };
        let text = icalendar("主要, 值班", &[event], at("2026-01-01T00:00:00Z"));
        assert!(text.split("\r\n").all(|line| line.len() <= 75), "{text}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text}");
        insta::assert_snapshot!(text.replace("\r\n", "\n"));
        let unfolded = text.replace("\r\n ", "");
        assert!(unfolded.contains(&format!("SUMMARY:{}\r\n", "值班".repeat(40))));
    }

    #[test]
    fn an_event_keeps_its_identity_however_the_time_is_cut_and_whoever_serves_it() {
        let mut config = OnCallConfig {
            people: ["mei", "ivan"]
                .map(|name| PersonConfig {
                    name: name.to_owned(),
                    ..PersonConfig::default()
                })
                .into(),
            ..OnCallConfig::default()
        };
        config.schedules = vec![ScheduleConfig {
            name: "primary".to_owned(),
            layers: vec![LayerConfig::weekly(
                "base",
                &["mei", "ivan"],
                "2026-01-05".parse().unwrap(),
            )],
            ..ScheduleConfig::default()
        }];
        let on_call = OnCall::new(&config).unwrap();
        let schedule = on_call.schedule("primary").unwrap();
        let mut overrides = Overrides::new();
        let export = |from, overrides: &Overrides| {
            CalendarEvent::shifts(schedule, at(from), at("2026-03-01T00:00:00Z"), overrides)
        };
        let all = export("2026-01-01T00:00:00Z", &overrides);
        let cut = export("2026-02-10T13:00:00Z", &overrides);
        assert_eq!(cut[..], all[all.len() - cut.len()..]);
        assert_eq!(cut[0].starts_at, at("2026-02-09T09:00:00Z"));

        overrides.put(crate::oncall::Override {
            id: uuid::Uuid::from_u128(1),
            schedule: "primary".to_owned(),
            person: "ivan".into(),
            replaces: None,
            starts_at: at("2026-02-16T09:00:00Z"),
            ends_at: at("2026-02-23T09:00:00Z"),
            created_at: at("2026-01-01T00:00:00Z"),
            created_by: "lead".to_owned(),
            reason: String::new(),
            swapped_with: None,
        });
        let uids =
            |events: &[CalendarEvent]| events.iter().map(|event| event.uid.clone()).collect::<Vec<_>>();
        let changed = export("2026-02-10T13:00:00Z", &overrides);
        assert_eq!(uids(&changed), uids(&cut));
        assert_ne!(changed, cut);
    }
}
