//! The receiver `pagerduty`: Events API v2 (<https://developer.pagerduty.com/docs/events-api-v2>).

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::http::{HttpClient, Way};
use super::limit::Limit;
use super::markup::Dialect;
use super::template::{Message, Renderer};
use super::{Integration, PagerdutyConfig, Parts, Problems, RateConfig};
use crate::alert::Alert;
use crate::hash::sha256_hex;
use crate::label::Labels;
use crate::notification::{Event, Notification};
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

const ENQUEUE: &str = "https://events.pagerduty.com/v2/enqueue";

/// PagerDuty takes about 120 events in any 60 seconds.
const RATE: RateConfig = RateConfig::new(90, 20);

/// What `payload.summary` holds.
const SUMMARY: Limit = Limit::Characters(1024);

/// What an event may have in bytes; beyond it Alertmanager leaves `custom_details` out, and so does Alpha.
const EVENT_BYTES: usize = 512_000;

/// How many alerts the details list.
const DETAILED: usize = 100;

#[derive(Debug)]
struct Pagerduty {
    url: Url,
    routing_key: SecretString,
    client: String,
    external_url: Option<Url>,
    http: HttpClient,
    renderer: Renderer,
}

pub(super) fn build(config: &PagerdutyConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let routing_key = problems.required_secret("routing_key", config.routing_key.as_ref());
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Plain);
    let http = problems.http(Way::through(&config.proxy), routing_key.iter().cloned().collect());
    let url = problems.url("url", config.url.as_ref(), ENQUEUE);
    let all = routing_key.zip(http).zip(renderer).zip(url);
    let pagerduty = all.map(|(((routing_key, http), renderer), url)| Pagerduty {
        url,
        routing_key,
        client: config.client.clone(),
        external_url: parts.environment.external_url.clone(),
        http,
        renderer,
    });
    let pagerduty = problems.finish(pagerduty)?;
    Ok(vec![parts.integration(
        pagerduty,
        config.send_resolved,
        config.rate.or(Some(RATE)),
    )])
}

/// What PagerDuty calls a severity (M5, M6).
fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::P0 => "critical",
        Severity::P1 => "error",
        Severity::P2 => "warning",
        Severity::P3 => "info",
    }
}

fn action(event: Event) -> &'static str {
    match event {
        Event::Firing => "trigger",
        Event::Acknowledged => "acknowledge",
        Event::Resolved => "resolve",
    }
}

impl Pagerduty {
    /// The event, not larger than PagerDuty takes.
    fn event(&self, notification: &Notification) -> Vec<u8> {
        let message = self.renderer.message(notification);
        let mut event = json!({
            "routing_key": self.routing_key.expose_secret(),
            "event_action": action(notification.event),
            "dedup_key": dedup_key(notification),
        });
        if notification.event != Event::Firing {
            return event.to_string().into_bytes();
        }
        event["client"] = json!(self.client);
        if let Some(url) = &self.external_url {
            event["client_url"] = json!(url.as_str());
        }
        let links = links(&message);
        if !links.is_empty() {
            event["links"] = Value::Array(links);
        }
        event["payload"] = self.payload(notification, &message);
        event["payload"]["custom_details"] = details(notification, &message);
        let bytes = event.to_string().into_bytes();
        if bytes.len() <= EVENT_BYTES {
            return bytes;
        }
        event["payload"]["custom_details"] = json!({ "error": "left out: the event was larger than 512 KB" });
        event.to_string().into_bytes()
    }

    fn payload(&self, notification: &Notification, message: &Message<'_>) -> Value {
        let labels = notification.common_labels();
        let starts_at = notification.alerts.iter().map(|alert| alert.starts_at).min();
        let source = labels
            .get("instance")
            .or_else(|| self.external_url.as_ref().and_then(Url::host_str))
            .unwrap_or(&self.client);
        let mut payload = Map::from_iter([
            ("summary".to_owned(), json!(message.title(SUMMARY))),
            ("source".to_owned(), json!(SUMMARY.cut(source, Dialect::Plain))),
            ("severity".to_owned(), json!(severity(notification.severity))),
            (
                "timestamp".to_owned(),
                json!(starts_at.unwrap_or(notification.created_at).to_string()),
            ),
        ]);
        for (key, names) in [
            ("component", ["component", "job"]),
            ("group", ["cluster", "chain"]),
            ("class", ["class", "alertname"]),
        ] {
            if let Some(value) = names.into_iter().find_map(|name| labels.get(name)) {
                payload.insert(key.to_owned(), json!(SUMMARY.cut(value, Dialect::Plain)));
            }
        }
        Value::Object(payload)
    }
}

/// The same as Alertmanager's, so that both may speak of the same incident.
fn dedup_key(notification: &Notification) -> String {
    sha256_hex(notification.group.as_str())
}

fn links(message: &Message<'_>) -> Vec<Value> {
    let runbook = message
        .runbook()
        .map(|url| (url, message.say("Runbook", "处置手册")));
    let silence = message
        .silence
        .as_deref()
        .map(|url| (url, message.say("Silence", "静默")));
    runbook
        .into_iter()
        .chain(silence)
        .filter(|(url, _)| url.starts_with("https://") || url.starts_with("http://"))
        .map(|(url, label)| json!({ "href": url, "text": label }))
        .collect()
}

fn details(notification: &Notification, message: &Message<'_>) -> Value {
    let alert = |alert: &Alert| {
        json!({
            "status": if alert.is_resolved_at(notification.created_at) { "resolved" } else { "firing" },
            "labels": alert.labels,
            "annotations": alert.annotations,
            "starts_at": alert.starts_at.to_string(),
        })
    };
    let mut details = json!({
        "notification": notification.id.to_string(),
        "severity": notification.severity.name(),
        "group": notification.group.as_str(),
        "group_labels": notification.group_labels,
        "text": message.plain_text(Limit::Characters(4000)),
        "num_firing": notification.firing().count(),
        "num_resolved": notification.resolved().count(),
        "alerts": notification.alerts.iter().take(DETAILED).map(alert).collect::<Vec<_>>(),
    });
    if notification.common_annotations() != Labels::default() {
        details["annotations"] = json!(notification.common_annotations());
    }
    details
}

#[async_trait]
impl Notifier for Pagerduty {
    fn kind(&self) -> &'static str {
        "pagerduty"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let event = self.event(notification);
        let request = self
            .http
            .post(&self.url, notification.id, "application/json", event);
        let answer = self.http.send(request).await?;
        // Documented is 202 with `"status": "success"`; a proxy in between may answer anything.
        let status = answer
            .json()
            .and_then(|said| Some(said.get("status")?.as_str()?.to_owned()));
        match status.as_deref() {
            None | Some("success") => Ok(Receipt::with_reference(dedup_key(notification))),
            Some(other) => {
                let reason = text!("PagerDuty refused it: {error}", error = self.http.excerpt(other));
                Err(Refusal::permanent(reason).with_status(answer.status))
            }
        }
    }
}
