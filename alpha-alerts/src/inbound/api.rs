//! Alpha's own API, below `/api/alpha/v1`: incidents, why an alert was or was not told, the audit log.
//!
//! Bodies and answers are JSON with `snake_case` keys; records have the shapes in which they are stored. A refusal is
//! `{"code":STATUS,"message":".."}`. docs/reference/inbound-api.md has every path.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Inbound;
use super::access::caller;
use super::backend::AlertView;
use super::body::read_body;
use super::refusal::Refusal;
use crate::alert::Alert;
use crate::command::Command;
use crate::error::{Error, ErrorKind};
use crate::incident::{Incident, IncidentId, IncidentState};
use crate::label::Fingerprint;
use crate::notification::{GroupKey, Notification, NotificationId};
use crate::store::{DeliveryState, Suppressed, Trail, TrailEntry};
use crate::text;

pub(super) fn routes() -> Router<Arc<Inbound>> {
    Router::new()
        .route("/api/alpha/v1/incidents", get(incidents))
        .route("/api/alpha/v1/incidents/{id}", get(incident))
        .route("/api/alpha/v1/incidents/{id}/why", get(why_incident))
        .route("/api/alpha/v1/incidents/{id}/{verb}", post(act))
        .route("/api/alpha/v1/alerts/{fingerprint}/why", get(why_alert))
        .route("/api/alpha/v1/audit", get(audit))
}

/// What is said of a list.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct IncidentQuery {
    /// Only those that stand here. Default: those that are not over.
    state: Option<IncidentState>,
    /// Those that are over, too. Default: no.
    all: bool,
    /// At most so many, the newest first. Default: 100.
    limit: usize,
}

impl Default for IncidentQuery {
    fn default() -> Self {
        Self {
            state: None,
            all: false,
            limit: 100,
        }
    }
}

/// An incident, and the word for where it stands.
#[derive(Serialize)]
struct IncidentAnswer<'a> {
    state: IncidentState,
    #[serde(flatten)]
    incident: &'a Incident,
}

impl<'a> IncidentAnswer<'a> {
    fn new(incident: &'a Incident) -> Self {
        Self {
            state: incident.state(),
            incident,
        }
    }
}

async fn incidents(
    State(inbound): State<Arc<Inbound>>,
    Query(query): Query<IncidentQuery>,
) -> Result<Response, Refusal> {
    let mut incidents = inbound.backend.incidents();
    incidents.retain(|incident| match query.state {
        Some(state) => incident.state() == state,
        None => query.all || incident.state() != IncidentState::Resolved,
    });
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.id));
    incidents.truncate(query.limit);
    answer(&incidents.iter().map(IncidentAnswer::new).collect::<Vec<_>>())
}

fn find(inbound: &Inbound, id: &str) -> Result<Incident, Refusal> {
    let id: IncidentId = id.parse().map_err(|error| refusal(&error))?;
    inbound.backend.incident(id).ok_or_else(|| {
        refusal(&Error::new(
            ErrorKind::NotFound,
            text!("no incident {number} is remembered", number = id.to_string()),
        ))
    })
}

async fn incident(State(inbound): State<Arc<Inbound>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    answer(&IncidentAnswer::new(&find(&inbound, &id)?))
}

/// A body as JSON; an empty one is an empty object.
pub(super) async fn body_of<T: DeserializeOwned>(
    inbound: &Inbound,
    what: &str,
    request: Request,
) -> Result<T, Refusal> {
    let body = read_body(request, &inbound.limits).await?;
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(body).map_err(|error| Refusal::unreadable(what, &error))
}

/// Who does something, and what they say.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Act {
    /// Who. Default: whom the token or password belongs to.
    by: Option<String>,
    /// What a note says.
    text: String,
}

async fn act(
    State(inbound): State<Arc<Inbound>>,
    Path((id, verb)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let incident = find(&inbound, &id)?.id;
    let caller = caller(&request);
    let act: Act = body_of(&inbound, &verb, request).await?;
    let by = act.by.filter(|by| !by.is_empty()).unwrap_or(caller);
    let command = match verb.as_str() {
        "acknowledge" => Command::Acknowledge { incident, by },
        "unacknowledge" => Command::Unacknowledge { incident, by },
        "resolve" => Command::Resolve { incident, by },
        "notes" if act.text.trim().is_empty() => {
            return Err(Refusal::coded(400, "a note needs a `text`".to_owned()));
        }
        "notes" => Command::Note {
            incident,
            by,
            text: act.text,
        },
        _ => {
            let message = format!(
                "`{verb}` is nothing to do with an incident: expected acknowledge, unacknowledge, resolve or notes"
            );
            return Err(Refusal::coded(404, message));
        }
    };
    inbound
        .backend
        .execute(command)
        .await
        .map_err(|error| refusal(&error))?;
    answer(&IncidentAnswer::new(&find(&inbound, &id)?))
}

/// What became of something.
#[derive(Serialize)]
struct Why {
    /// The alert, where it is still known.
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<WhyAlert>,
    /// The groups it is or was part of.
    groups: Vec<GroupKey>,
    /// What was to be told of these groups, the oldest first.
    notifications: Vec<WhyNotification>,
    /// What was kept from a receiver, the oldest first.
    suppressed: Vec<Suppressed>,
}

#[derive(Serialize)]
struct WhyAlert {
    #[serde(flatten)]
    alert: Alert,
    receivers: Vec<Arc<str>>,
    silenced_by: Vec<uuid::Uuid>,
    inhibited_by: Vec<Fingerprint>,
    muted_by: Vec<String>,
}

impl From<AlertView> for WhyAlert {
    fn from(view: AlertView) -> Self {
        Self {
            alert: view.alert,
            receivers: view.receivers,
            silenced_by: view.silenced_by,
            inhibited_by: view.inhibited_by,
            muted_by: view.muted_by,
        }
    }
}

#[derive(Serialize)]
struct WhyNotification {
    #[serde(flatten)]
    notification: Notification,
    state: DeliveryState,
    attempts: u32,
    changed_at: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_into: Option<NotificationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<jiff::Timestamp>,
}

impl From<TrailEntry> for WhyNotification {
    fn from(entry: TrailEntry) -> Self {
        Self {
            notification: entry.notification,
            state: entry.state,
            attempts: entry.attempts,
            changed_at: entry.changed_at,
            detail: entry.detail,
            merged_into: entry.merged_into,
            next_attempt_at: entry.next_attempt_at,
        }
    }
}

impl Why {
    fn new(alert: Option<AlertView>, groups: Vec<GroupKey>, trail: Trail) -> Self {
        Self {
            alert: alert.map(WhyAlert::from),
            groups,
            notifications: trail
                .notifications
                .into_iter()
                .map(WhyNotification::from)
                .collect(),
            suppressed: trail.suppressed,
        }
    }
}

async fn why_alert(
    State(inbound): State<Arc<Inbound>>,
    Path(fingerprint): Path<String>,
) -> Result<Response, Refusal> {
    let fingerprint: Fingerprint = fingerprint.parse().map_err(|error| refusal(&error))?;
    let alert = inbound
        .backend
        .alerts(&mut |alert| alert.fingerprint() == fingerprint)
        .pop();
    let groups: Vec<GroupKey> = inbound
        .backend
        .groups()
        .into_iter()
        .filter(|group| group.alerts.contains(&fingerprint))
        .map(|group| group.key)
        .collect();
    if alert.is_none() && groups.is_empty() {
        return Err(refusal(&Error::new(
            ErrorKind::NotFound,
            text!(
                "no alert {fingerprint} is remembered",
                fingerprint = fingerprint.to_string()
            ),
        )));
    }
    let mut trail = inbound
        .backend
        .trail(&groups)
        .await
        .map_err(|error| refusal(&error))?;
    trail.notifications.retain(|entry| {
        let mut alerts = entry.notification.alerts.iter();
        alerts.any(|alert| alert.fingerprint() == fingerprint)
    });
    trail
        .suppressed
        .retain(|suppressed| suppressed.alerts.contains(&fingerprint));
    answer(&Why::new(alert, groups, trail))
}

async fn why_incident(
    State(inbound): State<Arc<Inbound>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let groups = vec![find(&inbound, &id)?.group];
    let trail = inbound
        .backend
        .trail(&groups)
        .await
        .map_err(|error| refusal(&error))?;
    answer(&Why::new(None, groups, trail))
}

/// Which part of the audit log.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AuditQuery {
    /// After this position. Default: 0, from the beginning.
    after: u64,
    /// At most so many. Default: 1000, which is also the most.
    limit: usize,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self {
            after: 0,
            limit: 1000,
        }
    }
}

async fn audit(
    State(inbound): State<Arc<Inbound>>,
    Query(query): Query<AuditQuery>,
) -> Result<Response, Refusal> {
    let entries = inbound.backend.audit(query.after, query.limit.min(1000)).await;
    answer(&entries.map_err(|error| refusal(&error))?)
}

/// A refusal in the shape of this API.
pub(super) fn refusal(error: &Error) -> Refusal {
    let status = Refusal::from(error).status();
    Refusal::coded(status, error.to_text().to_string())
}

pub(super) fn answer<T: Serialize + ?Sized>(value: &T) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(|error| Refusal::coded(500, error.to_string()))?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}
