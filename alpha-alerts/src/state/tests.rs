use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::alert::Alert;
use crate::command::{Command, Signal};
use crate::config::Config;
use crate::incident::{Happening, IncidentId, IncidentState};
use crate::label::Labels;
use crate::memory::RecordingNotifier;
use crate::notification::{Event, Notification, Reason};
use crate::notifiers::Environment;
use crate::rules::{OwnNotifier, Rules};
use crate::secret::NoSecrets;
use crate::silence::Silence;
use crate::simulate::{Simulation, simulate};
use crate::state::State;
use crate::store::{Changes, Suppression};

fn at(seconds: i64) -> Timestamp {
    "2026-03-02T10:00:00Z".parse::<Timestamp>().unwrap() + seconds.seconds()
}

/// Rules whose receivers each have one notifier.
fn rules(config: serde_json::Value) -> Arc<Rules> {
    let config: Config = serde_json::from_value(config).unwrap();
    let people = config
        .on_call
        .people
        .iter()
        .map(|person| format!("person/{}", person.name));
    let names = config.receivers.iter().map(|receiver| receiver.name.clone());
    let own: Vec<OwnNotifier> = names
        .chain(people)
        .filter(|name| name != "nobody")
        .map(|receiver| OwnNotifier {
            receiver,
            notifier: Arc::new(RecordingNotifier::new()),
        })
        .collect();
    let environment = Environment::new(Arc::new(NoSecrets));
    let (rules, _) =
        Rules::compile(&config, &environment, &own).unwrap_or_else(|problems| panic!("{problems:?}"));
    Arc::new(rules)
}

fn plain() -> Arc<Rules> {
    rules(json!({
        "route": { "receiver": "ops", "group_by": ["alertname"], "group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h" },
        "receivers": [{ "name": "ops" }],
    }))
}

fn alert(name: &str, instance: &str, since: i64) -> Alert {
    Alert::firing(
        Labels::new([("alertname", name), ("instance", instance), ("severity", "P1")]),
        at(since),
    )
}

fn fire(seconds: i64, alerts: &[Alert]) -> (Timestamp, Command) {
    (at(seconds), Command::Alerts(alerts.to_vec()))
}

fn over(alert: &Alert, seconds: i64) -> Alert {
    alert.clone().resolved(at(seconds))
}

fn silence(matcher: &str, from: i64, to: i64) -> Silence {
    serde_json::from_value(json!({
        "id": "6f4b3cbe-5c57-4b4b-9d5d-000000000001",
        "matchers": [{ "name": "instance", "value": matcher, "isRegex": false }],
        "starts_at": at(from), "ends_at": at(to), "updated_at": at(from),
        "created_by": "mei", "comment": "swap the disk",
    }))
    .unwrap()
}

/// When, to whom, why, and which instances fire and are over.
fn told(simulation: &Simulation) -> Vec<String> {
    simulation.notifications.iter().map(line).collect()
}

fn line(notification: &Notification) -> String {
    let names = |alerts: Vec<&Alert>| {
        let names: Vec<&str> = alerts
            .iter()
            .filter_map(|alert| alert.labels.get("instance"))
            .collect();
        names.join("+")
    };
    let seconds = notification.created_at.duration_since(at(0)).as_secs();
    let reason = match &notification.reason {
        Reason::New => "new",
        Reason::MoreFiring => "more",
        Reason::SomeResolved => "some over",
        Reason::AllResolved => "all over",
        Reason::Repeated => "repeated",
        Reason::Escalation { step, round, .. } => &format!("page {step}.{round}"),
        Reason::Acknowledged { by } => &format!("taken by {by}"),
        other => &format!("{other:?}"),
    };
    format!(
        "{seconds} {} {reason}: [{}] over [{}]",
        notification.receiver,
        names(notification.firing().collect()),
        names(notification.resolved().collect()),
    )
}

#[test]
fn a_group_waits_gathers_and_is_told_once() {
    let (a, b) = (alert("Down", "a", 0), alert("Down", "b", 10));
    let simulation = simulate(
        plain(),
        [fire(0, &[a]), fire(10, &[b]), fire(60, &[alert("Down", "c", 60)])],
        at(1000),
        1,
    );
    assert_eq!(
        told(&simulation),
        ["30 ops new: [a+b] over []", "330 ops more: [a+b+c] over []"]
    );
}

#[test]
fn the_end_is_told_and_the_alert_forgotten() {
    let a = alert("Down", "a", 0);
    let b = alert("Down", "b", 0);
    let events = [
        fire(0, &[a.clone(), b.clone()]),
        fire(100, &[over(&a, 100)]),
        fire(400, &[over(&b, 400)]),
    ];
    let simulation = simulate(plain(), events, at(2000), 1);
    assert_eq!(
        told(&simulation),
        [
            "30 ops new: [a+b] over []",
            "330 ops some over: [b] over [a]",
            "630 ops all over: [] over [b]"
        ]
    );
    assert_eq!(simulation.notifications[2].event, Event::Resolved);
}

#[test]
fn nothing_changed_is_told_again_when_the_repeat_interval_has_passed() {
    let simulation = simulate(
        plain(),
        [fire(0, &[alert("Down", "a", 0)])],
        at(4 * 3600 + 600),
        1,
    );
    assert_eq!(
        told(&simulation),
        ["30 ops new: [a] over []", "14430 ops repeated: [a] over []"]
    );
}

#[test]
fn an_alert_that_fires_for_long_already_is_told_at_once() {
    let simulation = simulate(plain(), [fire(0, &[alert("Down", "a", -600)])], at(10), 1);
    assert_eq!(told(&simulation), ["0 ops new: [a] over []"]);
}

#[test]
fn what_was_over_before_it_could_be_told_is_on_record() {
    let a = alert("Down", "a", 0);
    let simulation = simulate(
        plain(),
        [fire(0, std::slice::from_ref(&a)), fire(10, &[over(&a, 10)])],
        at(600),
        1,
    );
    assert_eq!(told(&simulation), [] as [String; 0]);
    assert_eq!(simulation.suppressed[0].by, Suppression::OverBeforeTold);
    assert_eq!(simulation.suppressed[0].alerts, [a.fingerprint()]);
}

#[test]
fn a_silenced_alert_is_kept_back_on_record_and_told_when_the_silence_ends() {
    let silence = silence("a", 0, 1000);
    let id = silence.id.to_string();
    let events = [
        (at(0), Command::PutSilence(silence)),
        fire(1, &[alert("Down", "a", 1)]),
    ];
    let simulation = simulate(plain(), events, at(2000), 1);
    assert_eq!(told(&simulation), ["1231 ops new: [a] over []"]);
    assert_eq!(simulation.suppressed.len(), 1, "{:?}", simulation.suppressed);
    assert_eq!(simulation.suppressed[0].by, Suppression::Silence(id));
}

#[test]
fn the_end_of_what_was_told_before_it_was_silenced_is_told() {
    let a = alert("Down", "a", 0);
    let events = [
        fire(0, std::slice::from_ref(&a)),
        (at(100), Command::PutSilence(silence("a", 100, 90_000))),
        fire(700, &[over(&a, 700)]),
    ];
    let simulation = simulate(plain(), events, at(20_000), 1);
    assert_eq!(
        told(&simulation),
        ["30 ops new: [a] over []", "930 ops all over: [] over [a]"]
    );
}

#[test]
fn one_that_was_silenced_all_the_time_is_never_mentioned() {
    let (a, b) = (alert("Down", "a", 0), alert("Down", "b", 0));
    let events = [
        (at(0), Command::PutSilence(silence("a", 0, 90_000))),
        fire(0, &[a.clone(), b.clone()]),
        fire(100, &[over(&a, 100)]),
        fire(500, &[over(&b, 500)]),
    ];
    let simulation = simulate(plain(), events, at(2000), 1);
    assert_eq!(
        told(&simulation),
        ["30 ops new: [b] over []", "630 ops all over: [] over [b]"]
    );
}

#[test]
fn an_alert_is_kept_back_by_the_one_that_explains_it() {
    let rules = rules(json!({
        "route": { "receiver": "ops", "group_by": ["alertname"] },
        "receivers": [{ "name": "ops" }],
        "inhibit_rules": [{ "source_matchers": ["alertname=Halted"], "target_matchers": ["alertname=Stalled"] }],
    }));
    let (halted, stalled) = (alert("Halted", "chain", 0), alert("Stalled", "a", 0));
    let events = [
        fire(0, &[halted.clone(), stalled]),
        fire(100, &[over(&halted, 100)]),
    ];
    let simulation = simulate(rules, events, at(700), 1);
    assert_eq!(
        told(&simulation),
        [
            "30 ops new: [chain] over []",
            "330 ops all over: [] over [chain]",
            "330 ops new: [a] over []"
        ]
    );
    assert_eq!(
        simulation.suppressed[0].by,
        Suppression::Inhibition(halted.fingerprint())
    );
}

#[test]
fn a_receiver_without_integrations_is_on_record() {
    let rules = rules(json!({ "route": { "receiver": "nobody" }, "receivers": [{ "name": "nobody" }] }));
    let simulation = simulate(rules, [fire(0, &[alert("Down", "a", 0)])], at(2000), 1);
    assert_eq!(simulation.suppressed.len(), 1);
    assert_eq!(simulation.suppressed[0].by, Suppression::NoIntegration);
}

#[test]
fn a_heartbeat_that_is_missed_fires_and_one_that_comes_ends_it() {
    let rules = rules(json!({
        "route": { "receiver": "ops", "group_wait": "0s", "group_interval": "1s" },
        "receivers": [{ "name": "ops" }],
        "heartbeats": [{ "name": "backup", "every": "1h", "grace": "5m", "severity": "P1" }],
    }));
    let mut state = State::load(rules, Vec::new(), at(0), 1, &mut Changes::default()).unwrap();
    let mut changes = Changes::default();
    state.tick(at(3899), &mut changes);
    assert_eq!(changes.notifications.len(), 0);
    state.tick(at(3900), &mut changes);
    assert_eq!(changes.notifications.len(), 1);
    assert_eq!(changes.notifications[0].alerts[0].name(), "HeartbeatMissing");
    let ping = Command::Heartbeat {
        name: "backup".to_owned(),
        signal: Signal::Success,
        at: at(4000),
    };
    state.apply(at(4000), &ping, &mut changes);
    state.tick(at(4000), &mut changes);
    assert_eq!(changes.notifications[1].event, Event::Resolved);
    state.tick(at(7899), &mut changes);
    assert_eq!(changes.notifications.len(), 2);
    state.tick(at(7900), &mut changes);
    assert_eq!(changes.notifications.len(), 3);
}

fn paging() -> Arc<Rules> {
    rules(json!({
        "route": { "receiver": "ops", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "10s" },
        "receivers": [{ "name": "ops" }],
        "on_call": { "people": [{ "name": "mei" }, { "name": "jonas" }] },
        "escalation": [{
            "name": "p1", "repeat_every": "10m",
            "steps": [{ "targets": ["person/mei"] }, { "after": "5m", "targets": ["person/jonas"] }],
        }],
    }))
}

#[test]
fn nobody_answers_so_the_next_is_paged_and_then_round_again() {
    let simulation = simulate(paging(), [fire(0, &[alert("Down", "a", 0)])], at(1000), 1);
    let pages: Vec<String> = told(&simulation)
        .into_iter()
        .filter(|line| line.contains("page"))
        .collect();
    assert_eq!(
        pages,
        [
            "0 person/mei page 1.1: [a] over []",
            "300 person/jonas page 2.1: [a] over []",
            "600 person/mei page 1.2: [a] over []",
            "900 person/jonas page 2.2: [a] over []",
        ]
    );
}

#[test]
fn an_acknowledgement_stops_paging_and_the_end_is_told_to_who_was_paged() {
    let a = alert("Down", "a", 0);
    let acknowledge = Command::Acknowledge {
        incident: IncidentId(1),
        by: "mei".to_owned(),
    };
    let events = [
        fire(0, std::slice::from_ref(&a)),
        (at(20), acknowledge),
        fire(700, &[over(&a, 700)]),
    ];
    let simulation = simulate(paging(), events, at(2000), 1);
    let told: Vec<String> = told(&simulation)
        .into_iter()
        .filter(|line| !line.contains("repeated"))
        .collect();
    assert_eq!(
        told,
        [
            "0 ops new: [a] over []",
            "0 person/mei page 1.1: [a] over []",
            "20 ops taken by mei: [a] over []",
            "20 person/mei taken by mei: [a] over []",
            "700 person/mei all over: [] over [a]",
            "700 ops all over: [] over [a]",
        ]
    );
    let incident = &simulation.incidents[0];
    assert_eq!(incident.state(), IncidentState::Resolved);
    assert_eq!(incident.acknowledged.as_ref().unwrap().by, "mei");
}

#[test]
fn nobody_pages_while_everything_is_silenced() {
    let events = [
        fire(0, &[alert("Down", "a", 0)]),
        (at(20), Command::PutSilence(silence("a", 20, 1000))),
    ];
    let simulation = simulate(paging(), events, at(1100), 1);
    let pages: Vec<String> = told(&simulation)
        .into_iter()
        .filter(|line| line.contains("page"))
        .collect();
    assert_eq!(pages.len(), 2, "{pages:?}");
    assert!(pages[1].starts_with("10"), "{pages:?}");
}

#[test]
fn the_deadline_passes_once() {
    let rules = rules(json!({
        "route": { "receiver": "ops", "group_wait": "0s" }, "receivers": [{ "name": "ops" }],
        "on_call": { "people": [{ "name": "mei" }] },
    }));
    let simulation = simulate(rules, [fire(0, &[alert("Down", "a", 0)])], at(10 * 3600), 1);
    let incident = &simulation.incidents[0];
    assert_eq!(incident.respond_by, at(3600));
    let overdue = incident
        .timeline
        .iter()
        .filter(|entry| entry.what == Happening::ResponseOverdue);
    assert_eq!(overdue.map(|entry| entry.at).collect::<Vec<_>>(), [at(3600)]);
}

#[test]
fn an_incident_closed_by_hand_stays_closed_until_something_new_fires() {
    let resolve = Command::Resolve {
        incident: IncidentId(1),
        by: "mei".to_owned(),
    };
    let events = [
        fire(0, &[alert("Down", "a", 0)]),
        (at(20), resolve),
        fire(1000, &[alert("Down", "b", 1000)]),
    ];
    let simulation = simulate(paging(), events, at(1100), 1);
    assert_eq!(simulation.incidents.len(), 2);
    assert_eq!(simulation.incidents[0].resolved_at, Some(at(20)));
    assert_eq!(simulation.incidents[1].opened_at, at(1000));
}

#[test]
fn what_flaps_is_the_same_incident() {
    let a = alert("Down", "a", 0);
    let events = [
        fire(0, std::slice::from_ref(&a)),
        fire(60, &[over(&a, 60)]),
        fire(120, &[alert("Down", "a", 120)]),
    ];
    let simulation = simulate(paging(), events, at(200), 1);
    assert_eq!(simulation.incidents.len(), 1);
    assert!(
        simulation.incidents[0]
            .timeline
            .iter()
            .any(|entry| entry.what == Happening::Reopened)
    );
    assert_eq!(simulation.incidents[0].state(), IncidentState::Triggered);
}

/// After every step the state that is loaded from what was stored decides as the one in memory does.
#[test]
fn a_crash_after_any_step_changes_nothing() {
    let a = alert("Down", "a", 0);
    let b = alert("Down", "b", 50);
    let commands = [
        fire(0, std::slice::from_ref(&a)),
        fire(50, &[b.clone(), alert("Slow", "c", 50)]),
        (at(60), Command::PutSilence(silence("b", 60, 2000))),
        (
            at(90),
            Command::Acknowledge {
                incident: IncidentId(1),
                by: "mei".to_owned(),
            },
        ),
        fire(700, &[over(&a, 700)]),
        fire(900, &[over(&b, 900)]),
    ];
    for crash_after in 0..commands.len() {
        let mut records = std::collections::BTreeMap::new();
        let mut state = State::new(paging(), 1);
        let mut lines = Vec::new();
        let mut keep = |changes: Changes, lines: &mut Vec<String>| {
            records.extend(changes.puts);
            for key in changes.deletes {
                records.remove(&key);
            }
            lines.extend(changes.notifications.iter().map(line));
            records.clone()
        };
        for (index, (moment, command)) in commands.iter().enumerate() {
            while let Some(due) = state.next_due().filter(|due| due < moment) {
                let mut changes = Changes::default();
                state.tick(due, &mut changes);
                keep(changes, &mut lines);
            }
            let mut changes = Changes::default();
            state.apply(*moment, command, &mut changes);
            state.tick(*moment, &mut changes);
            let stored = keep(changes, &mut lines);
            if index == crash_after {
                let stored = stored.into_iter().collect();
                state = State::load(paging(), stored, *moment, 2, &mut Changes::default()).unwrap();
            }
        }
        let simulation = simulate(paging(), commands.clone(), at(900), 1);
        assert_eq!(lines, told(&simulation), "after step {crash_after}");
    }
}
