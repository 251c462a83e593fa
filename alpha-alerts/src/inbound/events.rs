//! An inlet that speaks PagerDuty's Events API v2, so that whatever can page through PagerDuty can page through Alpha.
//!
//! The statuses and bodies are those of its documentation: 202 for what was taken, 400 for what is wrong and must not be
//! sent again, 503 (which its clients repeat) where nothing could be stored.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Inbound;
use super::access::Inlet;
use super::backend::Backend;
use super::body::read_body;
use super::config::InletKind;
use super::posted::Instant;
use super::refusal::Refusal;
use crate::alert::Alert;
use crate::command::Command;
use crate::incident::{Incident, IncidentState};
use crate::label::{Fingerprint, Labels};

/// The label that holds the key by which later events of the same trouble are recognised.
const DEDUP_KEY: &str = "dedup_key";
/// The label that names the inlet.
const INLET: &str = "inlet";

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    routing_key: String,
    event_action: Option<Action>,
    dedup_key: Option<String>,
    payload: Option<Payload>,
    #[serde(default)]
    client: String,
    #[serde(default)]
    client_url: String,
    #[serde(default)]
    links: Vec<Link>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Trigger,
    Acknowledge,
    Resolve,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    summary: String,
    #[serde(default)]
    source: String,
    severity: Option<Severity>,
    timestamp: Option<String>,
    #[serde(default)]
    component: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    class: String,
    custom_details: Option<Value>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Critical,
    Error,
    Warning,
    Info,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    href: String,
}

/// `POST /v2/enqueue`.
pub(super) async fn enqueue(State(inbound): State<Arc<Inbound>>, request: Request) -> Response {
    let outcome = async {
        let body = read_body(request, &inbound.limits).await?;
        accept(&inbound, &body).await
    };
    match outcome.await {
        Ok(dedup_key) => answer(
            StatusCode::ACCEPTED,
            &json!({ "status": "success", "message": "Event processed", "dedup_key": dedup_key }),
        ),
        Err(Refused::Event(errors)) => answer(
            StatusCode::BAD_REQUEST,
            &json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors }),
        ),
        Err(Refused::Request(refusal)) => refusal.into_response(),
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

enum Refused {
    /// What is wrong with the event.
    Event(Vec<String>),
    Request(Refusal),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Request(refusal)
    }
}

impl From<crate::Error> for Refused {
    fn from(error: crate::Error) -> Self {
        Self::Request(error.into())
    }
}

async fn accept(inbound: &Inbound, body: &[u8]) -> Result<String, Refused> {
    let event: Event = serde_json::from_slice(body)
        .map_err(|error| Refused::Event(vec![format!("the event cannot be read: {error}")]))?;
    let key = event.routing_key.as_bytes();
    let inlet = Inlet::opened_by(&inbound.inlets, InletKind::Events, key)
        .ok_or_else(|| Refused::Event(vec!["'routing_key' is not one of this server".to_owned()]))?;
    let action = event
        .event_action
        .ok_or_else(|| Refused::Event(vec!["'event_action' is missing or blank".to_owned()]))?;
    let backend = &*inbound.backend;
    let now = backend.now();
    let dedup_key = dedup_key(&event, action).map_err(|error| Refused::Event(vec![error]))?;
    let open = open_alert(backend, inlet, &dedup_key, now);
    match (action, open) {
        (Action::Trigger, open) => {
            let alert = event
                .into_alert(inlet, &dedup_key, open, now)
                .map_err(Refused::Event)?;
            inbound
                .measurements
                .received(std::slice::from_ref(&alert), 0, now);
            backend.execute(Command::Alerts(vec![alert])).await?;
        }
        (Action::Resolve, Some(open)) => {
            let mut alert = open.resolved(now);
            alert.starts_at = alert.starts_at.min(now);
            inbound
                .measurements
                .received(std::slice::from_ref(&alert), 0, now);
            backend.execute(Command::Alerts(vec![alert])).await?;
        }
        (Action::Acknowledge, Some(open)) => {
            for incident in open_incidents(backend, open.fingerprint()) {
                if incident.state() == IncidentState::Triggered {
                    let by = format!("inlet {}", inlet.name);
                    let incident = incident.id;
                    backend.execute(Command::Acknowledge { incident, by }).await?;
                }
            }
        }
        // As PagerDuty does, what is about nothing open is taken and dropped.
        (Action::Resolve | Action::Acknowledge, None) => {}
    }
    Ok(dedup_key)
}

fn dedup_key(event: &Event, action: Action) -> Result<String, String> {
    match (event.dedup_key.as_deref().unwrap_or_default(), action) {
        ("", Action::Trigger) => Ok(Uuid::new_v4().simple().to_string()),
        ("", _) => Err("'dedup_key' is missing or blank".to_owned()),
        (key, _) if key.chars().count() > 255 => Err("'dedup_key' is longer than 255 characters".to_owned()),
        (key, _) => Ok(key.to_owned()),
    }
}

fn open_alert(backend: &dyn Backend, inlet: &Inlet, dedup_key: &str, now: Timestamp) -> Option<Alert> {
    let mut found = backend.alerts(&mut |alert| {
        alert.labels.get(DEDUP_KEY) == Some(dedup_key)
            && alert.labels.get(INLET) == Some(&inlet.name)
            && !alert.is_resolved_at(now)
    });
    found.pop().map(|view| view.alert)
}

/// The incidents that are not over and whose group holds an alert.
fn open_incidents(backend: &dyn Backend, alert: Fingerprint) -> Vec<Incident> {
    let groups = backend.groups();
    let mut incidents = backend.incidents();
    incidents.retain(|incident| {
        incident.state() != IncidentState::Resolved
            && groups
                .iter()
                .any(|group| group.key == incident.group && group.alerts.contains(&alert))
    });
    incidents
}

impl Event {
    /// The alert of a trigger. It keeps the labels, and so the identity, of the one that is open under the same key.
    fn into_alert(
        self,
        inlet: &Inlet,
        dedup_key: &str,
        open: Option<Alert>,
        now: Timestamp,
    ) -> Result<Alert, Vec<String>> {
        let payload = self
            .payload
            .ok_or_else(|| vec!["'payload' is missing or blank".to_owned()])?;
        let mut errors = Vec::new();
        for (field, value) in [("summary", &payload.summary), ("source", &payload.source)] {
            if value.trim().is_empty() {
                errors.push(format!("'payload.{field}' is missing or blank"));
            }
        }
        let severity = match payload.severity {
            Some(Severity::Critical) => "critical",
            Some(Severity::Error) => "error",
            Some(Severity::Warning) => "warning",
            Some(Severity::Info) => "info",
            None => {
                errors.push("'payload.severity' is missing or blank".to_owned());
                ""
            }
        };
        let told_at = match payload.timestamp.as_deref().map(Instant::parse).transpose() {
            Ok(instant) => instant.and_then(|instant| instant.0),
            Err(error) => {
                errors.push(format!("'payload.timestamp': {error}"));
                None
            }
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let name = [&payload.class, &payload.component, &payload.source]
            .into_iter()
            .find(|name| !name.is_empty());
        let labels = [
            ("alertname", name.map_or("event", String::as_str)),
            ("class", &payload.class),
            ("component", &payload.component),
            (DEDUP_KEY, dedup_key),
            ("group", &payload.group),
            (INLET, &inlet.name),
            ("severity", severity),
            ("source", &payload.source),
        ];
        let labels = Labels::new(labels.into_iter().filter(|(_, value)| !value.is_empty()));
        let details = payload.custom_details.map(|details| match details {
            Value::String(text) => text,
            other => other.to_string(),
        });
        let link = self
            .links
            .iter()
            .map(|link| link.href.as_str())
            .find(|href| !href.is_empty());
        let annotations = [
            ("client", self.client.as_str()),
            ("details", details.as_deref().unwrap_or_default()),
            ("link", link.unwrap_or_default()),
            ("summary", &payload.summary),
        ];
        let annotations = Labels::new(annotations.into_iter().filter(|(_, value)| !value.is_empty()));
        let (labels, starts_at) = match open {
            Some(open) => (open.labels, open.starts_at),
            None => (inlet.labelled(&labels), told_at.unwrap_or(now).min(now)),
        };
        let mut alert = Alert::firing(labels, starts_at).with_annotations(annotations);
        alert.updated_at = now;
        alert.generator_url = self.client_url.into();
        Ok(alert)
    }
}
