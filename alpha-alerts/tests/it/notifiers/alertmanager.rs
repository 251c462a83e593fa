//! The webhook's payload beside that of the real Alertmanager, field by field.

use std::time::Duration;

use alpha_alerts::notifiers::*;
use alpha_alerts::testing::notifier::environment;
use alpha_alerts::testing::receiver::ScriptedReceiver;
use alpha_alerts::{Alert, Event, Labels, Notification, NotificationId, Reason, Severity};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::notifier;

fn config(receiver: &ScriptedReceiver) -> String {
    format!(
        "route:\n  receiver: ops\n  group_by: [alertname, chain]\n  group_wait: 0s\n  group_interval: 1s\n  \
         repeat_interval: 1h\nreceivers:\n- name: ops\n  webhook_configs:\n  - url: {}\n    max_alerts: 2\n",
        receiver.url("/hook")
    )
}

/// What a client posts.
fn posted(alerts: &[Alert], now: Timestamp) -> Value {
    let alerts = alerts.iter().map(|alert| {
        let mut posted = json!({
            "labels": alert.labels,
            "annotations": alert.annotations,
            "startsAt": alert.starts_at.to_string(),
            "generatorURL": alert.generator_url,
        });
        if alert.is_resolved_at(now) {
            posted["endsAt"] = json!(alert.ends_at.to_string());
        }
        posted
    });
    Value::Array(alerts.collect())
}

fn notification(alerts: Vec<Alert>, group_labels: Labels, group: &str, now: Timestamp) -> Notification {
    let is_over = alerts.iter().all(|alert| alert.is_resolved_at(now));
    Notification {
        id: NotificationId(uuid::Uuid::nil()),
        receiver: "ops".into(),
        integration: "ops/webhook/0".into(),
        group: group.into(),
        group_labels,
        event: if is_over { Event::Resolved } else { Event::Firing },
        reason: Reason::New,
        severity: Severity::P1,
        alerts,
        incident: None,
        created_at: now,
        late: None,
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "Alertmanager lives in the present")]
async fn the_same_alerts_make_the_same_payload() {
    let theirs = ScriptedReceiver::start().await;
    let ours = ScriptedReceiver::start().await;
    let alertmanager = testbed::need!(testbed::Alertmanager::start(&config(&theirs)));
    let now = Timestamp::now();
    let start = now - 90.seconds();
    let alert = |instance: &str| {
        let labels = Labels::new([
            ("alertname", "链 <Halted> & \"quoted\""),
            ("chain", "alpha"),
            ("instance", instance),
        ]);
        let annotations = Labels::new([("summary", "a <b> & 'c'"), ("instance", instance)]);
        let mut alert = Alert::firing(labels, start).with_annotations(annotations);
        alert.generator_url = "http://prometheus.example.org/graph?g0.expr=up&g0.tab=1".into();
        alert
    };
    let mut bare = alert("one");
    bare.annotations = Labels::default();
    bare.generator_url = "".into();
    let group_labels = Labels::new([("alertname", "链 <Halted> & \"quoted\""), ("chain", "alpha")]);
    let group = r#"{}:{alertname="链 <Halted> & \"quoted\"", chain="alpha"}"#;

    // One that fires; three that fire, of which one is left out; one that is over; all.
    let (two, three) = (alert("two"), alert("three"));
    let over = bare.clone().resolved(now - 1.seconds());
    let all_over = [
        &over,
        &two.clone().resolved(now - 2.seconds()),
        &three.clone().resolved(now - 3.seconds()),
    ]
    .map(Clone::clone)
    .to_vec();
    let steps = [
        vec![bare.clone()],
        vec![bare, two.clone(), three.clone()],
        vec![over, two, three],
        all_over,
    ];
    for (count, alerts) in steps.into_iter().enumerate() {
        let (status, _) = alertmanager.request("POST", "/api/v2/alerts", &posted(&alerts, now).to_string());
        assert_eq!(status, 200);
        let received = theirs.wait_for(count + 1, Duration::from_secs(10)).await;
        let expected = received[count].json();
        // Alertmanager's order of alerts is its own business; ours follows, because `truncatedAlerts` depends on it.
        let order: Vec<&str> = expected["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| alert["fingerprint"].as_str().unwrap())
            .collect();
        let mut alerts = alerts;
        alerts.sort_by_key(|alert| {
            let fingerprint = alert.fingerprint().to_string();
            order
                .iter()
                .position(|known| **known == fingerprint)
                .unwrap_or(usize::MAX)
        });
        // Where it believes to be reached is the one thing that only it knows.
        let external_url = expected["externalURL"].as_str().unwrap().parse().ok();
        let notifier = notifier(&environment().with_external_url(external_url), |config| {
            let mut webhook = WebhookConfig::default();
            webhook.url = Some(ours.url("/hook"));
            webhook.max_alerts = 2;
            config.webhook.push(webhook);
        });
        notifier
            .notify(&notification(alerts, group_labels.clone(), group, now))
            .await
            .unwrap();
        let told = ours.take().remove(0);
        assert_eq!(told.json(), expected, "step {count}");
        assert_eq!(
            told.headers["content-type"],
            received[count].headers["content-type"]
        );
        // Not only the same fields: in the same order.
        assert_eq!(keys(told.text()), keys(received[count].text()));
    }
}

/// The names of all fields in the order in which they stand.
fn keys(json: &str) -> Vec<String> {
    let pattern = regex::Regex::new(r#""([A-Za-z_]+)":"#).unwrap();
    pattern
        .captures_iter(json)
        .map(|found| found[1].to_owned())
        .collect()
}
