//! What PagerDuty reports back by its webhooks (version 3): that somebody acknowledged or resolved there.
//!
//! It sends at least once and in order, and turns a subscription off for a day after three refusals in a row, so that
//! everything well signed is answered with success, except where nothing could be stored.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Inbound;
use super::body::read_body;
use super::refusal::Refusal;
use super::signature::SigningKey;
use crate::command::Command;
use crate::hash::sha256_hex;
use crate::incident::{IncidentId, IncidentState};

/// How many deliveries are remembered. It repeats one at most five times within twenty minutes.
const REMEMBERED: usize = 4096;

#[derive(Deserialize)]
struct Webhook {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    id: Option<String>,
    event_type: String,
    agent: Option<Agent>,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize)]
struct Agent {
    summary: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    /// The `dedup_key` of the event that opened the incident.
    incident_key: Option<String>,
    /// Of a note.
    content: Option<String>,
    /// The incident of a note.
    incident: Option<Box<Data>>,
}

/// The deliveries that were carried out, so that a repetition changes nothing.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<(HashSet<String>, VecDeque<String>)>);

impl Seen {
    fn contains(&self, id: &str) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.contains(id)
    }

    fn remember(&self, id: String) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0.insert(id.clone()) {
            seen.1.push_back(id);
        }
        if seen.1.len() > REMEMBERED
            && let Some(oldest) = seen.1.pop_front()
        {
            seen.0.remove(&oldest);
        }
    }
}

/// `POST /pagerduty/webhook`.
pub(super) async fn webhook(
    State(inbound): State<Arc<Inbound>>,
    request: Request,
) -> Result<Response, Refusal> {
    if inbound.pagerduty_keys.is_empty() {
        return Err(Refusal::coded(
            404,
            "no PagerDuty webhook is configured".to_owned(),
        ));
    }
    let headers = request.headers().clone();
    let body = read_body(request, &inbound.limits).await?;
    if !is_signed(&inbound.pagerduty_keys, &headers, &body) {
        return Err(Refusal::coded(
            401,
            "the signature is missing or wrong".to_owned(),
        ));
    }
    let webhook: Webhook =
        serde_json::from_slice(&body).map_err(|error| Refusal::unreadable("webhook", &error))?;
    let id = headers
        .get("x-webhook-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned)
        .or_else(|| webhook.event.id.clone());
    if id
        .as_deref()
        .is_some_and(|id| inbound.pagerduty_seen.contains(id))
    {
        return Ok(StatusCode::OK.into_response());
    }
    if let Some(command) = command(&inbound, webhook.event) {
        inbound.execute_unless_done(command).await?;
    }
    if let Some(id) = id {
        inbound.pagerduty_seen.remember(id);
    }
    Ok(StatusCode::OK.into_response())
}

/// Whether one of the signatures is by one of the keys; there are several of either while a secret is replaced.
fn is_signed(keys: &[SigningKey], headers: &HeaderMap, body: &[u8]) -> bool {
    let signatures = headers
        .get("x-pagerduty-signature")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    signatures
        .split(',')
        .filter_map(|signature| signature.trim().strip_prefix("v1="))
        .any(|signature| keys.iter().any(|key| key.verifies(&[body], signature)))
}

fn command(inbound: &Inbound, event: Event) -> Option<Command> {
    let kind = event.event_type.strip_prefix("incident.")?;
    let agent = event.agent.as_ref();
    // What we told PagerDuty ourselves comes back as the doing of an integration.
    if agent.and_then(|agent| agent.kind.as_deref()) == Some("events_api_v2_inbound_integration_reference") {
        return None;
    }
    let key = event
        .data
        .incident_key
        .as_deref()
        .or_else(|| event.data.incident.as_ref()?.incident_key.as_deref())?;
    let incident = incident_of(inbound, key)?;
    let name = agent
        .and_then(|agent| agent.summary.as_deref())
        .unwrap_or("somebody");
    let by = format!("{name} (PagerDuty)");
    match kind {
        "acknowledged" => Some(Command::Acknowledge { incident, by }),
        "unacknowledged" => Some(Command::Unacknowledge { incident, by }),
        "resolved" => Some(Command::Resolve { incident, by }),
        "annotated" => Some(Command::Note {
            incident,
            by,
            text: event.data.content?,
        }),
        _ => None,
    }
}

/// The incident that is not over and whose group has this `dedup_key`.
fn incident_of(inbound: &Inbound, dedup_key: &str) -> Option<IncidentId> {
    let incidents = inbound.backend.incidents();
    let found = incidents.iter().find(|incident| {
        incident.state() != IncidentState::Resolved && sha256_hex(incident.group.as_str()) == dedup_key
    });
    found.map(|incident| incident.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn any_signature_by_any_key_counts() {
        let keys = [SigningKey::new(&"old".into()), SigningKey::new(&"new".into())];
        let signature = |key: &SigningKey| key.sign(&[b"body"]);
        let signed = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-pagerduty-signature", HeaderValue::from_str(value).unwrap());
            is_signed(&keys, &headers, b"body")
        };
        assert!(signed(&format!("v1={}", signature(&keys[1]))));
        assert!(signed(&format!("v1=00, v1={}", signature(&keys[0]))));
        assert!(!signed(&format!("v0={}", signature(&keys[0]))));
        assert!(!signed(&format!(
            "v1={}",
            signature(&SigningKey::new(&"other".into()))
        )));
        assert!(!is_signed(&keys, &HeaderMap::new(), b"body"));
    }

    #[test]
    fn what_was_seen_is_forgotten_in_order() {
        let seen = Seen::default();
        for index in 0..=REMEMBERED {
            seen.remember(index.to_string());
        }
        assert!(!seen.contains("0"));
        assert!(seen.contains("1") && seen.contains(&REMEMBERED.to_string()));
    }
}
