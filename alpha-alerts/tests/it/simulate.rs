//! Whatever happens, every alert ends in a recorded outcome for each of its receivers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alpha_alerts::memory::RecordingNotifier;
use alpha_alerts::notifiers::Environment;
use alpha_alerts::rules::OwnNotifier;
use alpha_alerts::simulate::{Simulation, simulate};
use alpha_alerts::{Alert, Command, Config, Fingerprint, Labels, NoSecrets, Rules};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use serde_json::json;

/// Two days.
const SPAN_SECONDS: i64 = 2 * 86_400;

fn at(seconds: i64) -> Timestamp {
    "2026-03-28T00:00:00Z".parse::<Timestamp>().unwrap() + seconds.seconds()
}

/// Three receivers behind routes that continue, mute at night, inhibit and group differently.
fn rules() -> Arc<Rules> {
    let config: Config = serde_json::from_value(json!({
        "route": {
            "receiver": "ops", "group_by": ["alertname"], "group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h",
            "routes": [
                { "receiver": "day", "matchers": ["alertname=~\"A|B\""], "continue": true, "mute_time_intervals": ["night"] },
                { "receiver": "all", "matchers": ["alertname=~\"B|C\""], "group_by": ["..."], "group_wait": "0s", "continue": true },
                { "receiver": "ops", "matchers": ["severity=~\"P.\""] },
            ],
        },
        "receivers": [{ "name": "ops" }, { "name": "day" }, { "name": "all" }],
        "inhibit_rules": [{ "source_matchers": ["alertname=A"], "target_matchers": ["alertname=C"], "equal": ["instance"] }],
        "time_intervals": [{ "name": "night", "time_intervals": [
            { "times": [{ "start_time": "00:00", "end_time": "06:00" }], "location": "Europe/Berlin" },
        ] }],
    }))
    .unwrap();
    let own: Vec<OwnNotifier> = ["ops", "day", "all"]
        .map(|receiver| OwnNotifier {
            receiver: receiver.to_owned(),
            notifier: Arc::new(RecordingNotifier::new()),
        })
        .into();
    let environment = Environment::new(Arc::new(NoSecrets));
    Arc::new(Rules::compile(&config, &environment, &own).unwrap().0)
}

#[derive(Clone, Debug)]
enum What {
    Fire { name: u8, instance: u8 },
    End { name: u8, instance: u8 },
    Silence { instance: u8, seconds: i64 },
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        5 => (0..4_u8, 0..3_u8).prop_map(|(name, instance)| What::Fire { name, instance }),
        4 => (0..4_u8, 0..3_u8).prop_map(|(name, instance)| What::End { name, instance }),
        1 => (0..3_u8, 60..20_000_i64).prop_map(|(instance, seconds)| What::Silence { instance, seconds }),
    ]
}

fn labels(name: u8, instance: u8) -> Labels {
    Labels::new([
        ("alertname", ["A", "B", "C", "D"][usize::from(name)]),
        ("instance", ["x", "y", "z"][usize::from(instance)]),
        ("severity", "P2"),
    ])
}

/// The events as commands, and when each alert fired and ended.
fn commands(events: &[(i64, What)]) -> (Vec<(Timestamp, Command)>, BTreeMap<Fingerprint, Labels>) {
    let mut fired = BTreeMap::new();
    let mut starts = BTreeMap::new();
    let commands = events.iter().enumerate().map(|(index, (seconds, what))| {
        let now = at(*seconds);
        let command = match what {
            What::Fire { name, instance } => {
                let labels = labels(*name, *instance);
                let start = *starts.entry(labels.fingerprint()).or_insert(now);
                fired.insert(labels.fingerprint(), labels.clone());
                let mut alert = Alert::firing(labels, start);
                alert.updated_at = now;
                Command::Alerts(vec![alert])
            }
            What::End { name, instance } => {
                let labels = labels(*name, *instance);
                let start = starts.remove(&labels.fingerprint()).unwrap_or(now);
                Command::Alerts(vec![Alert::firing(labels, start).resolved(now)])
            }
            What::Silence { instance, seconds } => {
                let instance = ["x", "y", "z"][usize::from(*instance)];
                Command::PutSilence(
                    serde_json::from_value(json!({
                        "id": format!("00000000-0000-4000-8000-{index:012}"),
                        "matchers": [{ "name": "instance", "value": instance, "isRegex": false }],
                        "starts_at": now, "ends_at": now + seconds.seconds(), "updated_at": now,
                        "created_by": "test", "comment": "test",
                    }))
                    .unwrap(),
                )
            }
        };
        (now, command)
    });
    (commands.collect(), fired)
}

fn receivers(rules: &Rules, labels: &Labels) -> BTreeSet<String> {
    rules
        .routes()
        .matching(labels)
        .iter()
        .map(|route| route.receiver.to_string())
        .collect()
}

/// Whether the receiver has heard of the alert, or it is on record why not.
fn has_outcome(simulation: &Simulation, receiver: &str, fingerprint: Fingerprint) -> bool {
    let is_told = simulation.notifications.iter().any(|told| {
        *told.receiver == *receiver && told.alerts.iter().any(|alert| alert.fingerprint() == fingerprint)
    });
    is_told
        || simulation
            .suppressed
            .iter()
            .any(|kept| *kept.receiver == *receiver && kept.alerts.contains(&fingerprint))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_alert_has_an_outcome_for_each_receiver(
        mut events in prop::collection::vec((0..SPAN_SECONDS, what()), 1..40),
    ) {
        events.sort_by_key(|(seconds, _)| *seconds);
        let rules = rules();
        let (commands, fired) = commands(&events);
        let simulation = simulate(rules.clone(), commands, at(SPAN_SECONDS + 2 * 86_400), 1);
        for (fingerprint, labels) in &fired {
            for receiver in receivers(&rules, labels) {
                prop_assert!(
                    has_outcome(&simulation, &receiver, *fingerprint),
                    "{labels} has no outcome for {receiver}"
                );
            }
        }
    }

    #[test]
    fn whoever_was_told_of_a_beginning_is_told_of_the_end(
        mut events in prop::collection::vec((0..SPAN_SECONDS, what()), 1..40),
    ) {
        events.sort_by_key(|(seconds, _)| *seconds);
        let begun: Vec<(u8, u8)> = (0..4).flat_map(|name| (0..3).map(move |instance| (name, instance))).collect();
        // Everything ends at last, so that nobody may be left believing that something fires.
        events.extend(begun.iter().map(|(name, instance)| (SPAN_SECONDS, What::End { name: *name, instance: *instance })));
        let (commands, _) = commands(&events);
        let simulation = simulate(rules(), commands, at(SPAN_SECONDS + 2 * 86_400), 1);
        let mut last = BTreeMap::new();
        for told in &simulation.notifications {
            for alert in &told.alerts {
                let is_over = alert.is_resolved_at(told.created_at);
                last.insert((told.receiver.to_string(), alert.labels.to_string()), is_over);
            }
        }
        let believed: Vec<_> = last.iter().filter(|(_, is_over)| !**is_over).collect();
        prop_assert!(believed.is_empty(), "still believed to fire: {believed:?}");
    }
}
