//! The receivers against doubles of their services, and against the real ones where this machine has them.

mod alertmanager;
mod command;
mod conformance;
mod email;
mod payloads;
mod services;

use std::sync::Arc;

use alpha_alerts::notifiers::{Environment, Integration, ReceiverConfig, build};
use alpha_alerts::testing::notifier::environment;
use alpha_alerts::{Notifier, SecretRef};

/// A secret that is given in place.
fn secret(text: &str) -> Option<SecretRef> {
    Some(SecretRef::Given(text.into()))
}

fn receiver(fill: impl FnOnce(&mut ReceiverConfig)) -> ReceiverConfig {
    let mut receiver = ReceiverConfig::new("ops");
    fill(&mut receiver);
    receiver
}

fn built(environment: &Environment, fill: impl FnOnce(&mut ReceiverConfig)) -> Vec<Integration> {
    build(&receiver(fill), environment).unwrap()
}

/// The only notifier of a receiver.
fn notifier(environment: &Environment, fill: impl FnOnce(&mut ReceiverConfig)) -> Arc<dyn Notifier> {
    let mut integrations = built(environment, fill);
    assert_eq!(integrations.len(), 1);
    integrations.remove(0).notifier
}

#[test]
fn a_receiver_that_lacks_something_says_all_of_it() {
    let receiver = receiver(|receiver| {
        receiver.slack.push(Default::default());
        receiver.pagerduty.push(Default::default());
        let mut webhook = alpha_alerts::notifiers::WebhookConfig::default();
        webhook.url = Some("ftp://example.org".parse().unwrap());
        webhook.templates.title = Some("{% if %}".to_owned());
        receiver.webhook.push(webhook);
        let mut email = alpha_alerts::notifiers::EmailConfig::default();
        email.from = "nobody".to_owned();
        receiver.email.push(email);
    });
    let problems = build(&receiver, &environment()).unwrap_err();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn every_kind_has_an_example_that_is_read_back() {
    let mut config = ReceiverConfig::new("ops");
    config.slack.push(Default::default());
    config.email.push(Default::default());
    config.telephone.push(Default::default());
    config.log.push(Default::default());
    let json = serde_json::to_value(&config).unwrap();
    let read: ReceiverConfig = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), json);
    let wrong = serde_json::json!({ "name": "ops", "slack": [{ "webhook_ulr": {} }] });
    let error = serde_json::from_value::<ReceiverConfig>(wrong)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("webhook_ulr") && error.contains("webhook_url"),
        "{error}"
    );
}
