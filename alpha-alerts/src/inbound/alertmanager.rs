//! Alertmanager's API v2: what Prometheus, `amtool` and dashboards speak.
//!
//! Statuses, bodies and defaults are those measured on Alertmanager 0.25 and 0.33. Where these two differ the newer one
//! counts: label names may be any text, and deleting an unknown silence answers 404.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use jiff::Timestamp;
use regex::Regex;
use serde::Serialize;
use uuid::Uuid;

use super::Inbound;
use super::backend::AlertView;
use super::body::read_body;
use super::posted::{Posted, read_alerts};
use super::posted_silence::read_silence;
use super::refusal::Refusal;
use super::wire::{Moment, WireAlert, WireSilence, alert_filter, silence_order};
use crate::command::Command;
use crate::label::Fingerprint;
use crate::matcher::Matcher;

/// The version whose API this is. Dashboards choose their requests by it.
const API_OF: &str = "0.33.0";

pub(super) fn routes() -> Router<Arc<Inbound>> {
    let routes = [
        ("/api/v2/status", get(status)),
        ("/api/v2/receivers", get(receivers)),
        ("/api/v2/alerts", get(alerts).post(post_alerts)),
        ("/api/v2/alerts/groups", get(groups)),
        ("/api/v2/silences", get(silences).post(post_silence)),
        ("/api/v2/silence/{id}", get(silence).delete(delete_silence)),
    ];
    let router = Router::new().route("/api/v1/{*rest}", any(gone));
    // As in Alertmanager, a slash at the end changes nothing.
    routes.into_iter().fold(router, |router, (path, methods)| {
        router
            .route(path, methods.clone())
            .route(&format!("{path}/"), methods)
    })
}

/// What may be probed without a password.
pub(super) fn open_routes() -> Router<Arc<Inbound>> {
    Router::new()
        .route("/-/healthy", get(ok))
        .route("/-/ready", get(ok))
}

/// What an operator may ask of the process.
pub(super) fn operator_routes() -> Router<Arc<Inbound>> {
    Router::new().route("/-/reload", post(reload).put(reload))
}

async fn ok() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "OK").into_response()
}

async fn reload(State(inbound): State<Arc<Inbound>>) -> Response {
    let Some(reload) = &inbound.reload else {
        return (
            StatusCode::NOT_IMPLEMENTED,
            "this server cannot read its configuration again\n",
        )
            .into_response();
    };
    match reload.reload().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("failed to reload config: {}\n", error.to_text()),
        )
            .into_response(),
    }
}

async fn gone(uri: Uri) -> Response {
    let body = format!(
        "{{\"status\":\"error\",\"errorType\":\"gone\",\"error\":{}}}",
        serde_json::Value::from(format!(
            "{} is gone: the Alertmanager v1 API was removed in version 0.27.0, use /api/v2",
            uri.path()
        ))
    );
    (
        StatusCode::GONE,
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response()
}

/// What no route is for.
pub(super) async fn unknown_path(uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        return Refusal::coded(404, format!("path {} was not found", uri.path())).into_response();
    }
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

/// What a route is for, but not by this method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    if !uri.path().starts_with("/api/") {
        return (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").into_response();
    }
    let path = uri.path().trim_end_matches('/');
    let allowed = match path.rsplit('/').next().unwrap_or_default() {
        "alerts" | "silences" => "POST,GET",
        _ if path.contains("/silence/") => "DELETE,GET",
        _ => "GET",
    };
    let message = format!("method {method} is not allowed, but [{allowed}] are");
    let mut response = Refusal::coded(405, message).into_response();
    if let Ok(value) = allowed.parse() {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// `Content-Type: application/json`, in any case and with any parameters; an empty body needs none.
fn must_be_json(request: &Request) -> Result<(), Refusal> {
    if request
        .headers()
        .get(header::CONTENT_LENGTH)
        .is_some_and(|length| length.as_bytes() == b"0")
    {
        return Ok(());
    }
    let given = match request.headers().get(header::CONTENT_TYPE) {
        Some(value) => value.to_str().unwrap_or("unreadable"),
        None => "application/octet-stream",
    };
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::coded(
        415,
        format!("unsupported media type {essence:?}, only [application/json] are allowed"),
    ))
}

/// `POST /api/v2/alerts`: 200 once the alerts are durable.
pub(super) async fn post_alerts(State(inbound): State<Arc<Inbound>>, request: Request) -> Response {
    let begun = tokio::time::Instant::now();
    let outcome = accept_alerts(&inbound, request).await;
    inbound.measurements.answered(begun, outcome.is_ok());
    match outcome {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn accept_alerts(inbound: &Inbound, request: Request) -> Result<(), Refusal> {
    must_be_json(&request)?;
    let body = read_body(request, &inbound.limits).await?;
    let now = inbound.backend.now();
    let Posted {
        alerts,
        refused,
        refusal,
    } = read_alerts(&body, now, inbound.backend.resolve_timeout());
    drop(body);
    inbound.measurements.received(&alerts, refused, now);
    if !alerts.is_empty() {
        inbound.backend.execute(Command::Alerts(alerts)).await?;
    }
    match refusal {
        Some(refusal) => {
            tracing::warn!(refused, reason = refusal.body().trim_end(), "refused alerts");
            Err(refusal)
        }
        None => Ok(()),
    }
}

/// The parameters of a query, decoded; a name may be repeated.
struct Query(Vec<(String, String)>);

impl Query {
    fn new(RawQuery(query): &RawQuery) -> Self {
        let query = query.as_deref().unwrap_or_default();
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Whether the flag is set; absent it is. The words are those of go-openapi's `ConvertBool`.
    fn flag(&self, name: &str) -> bool {
        const YES: [&str; 12] = [
            "true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled", "✓", "✔",
        ];
        let value = self.0.iter().find(|(key, _)| key == name);
        value.is_none_or(|(_, value)| YES.contains(&value.to_lowercase().as_str()))
    }

    fn matchers(&self) -> Result<Vec<Matcher>, Refusal> {
        let mut matchers = Vec::new();
        for (_, filter) in self.0.iter().filter(|(key, _)| key == "filter") {
            let parsed = Matcher::parse(filter)
                .map_err(|error| Refusal::sentence(400, error.to_text().to_string()))?;
            matchers.push(parsed);
        }
        Ok(matchers)
    }

    fn receiver(&self) -> Result<Option<Regex>, Refusal> {
        let Some((_, pattern)) = self.0.iter().find(|(key, _)| key == "receiver") else {
            return Ok(None);
        };
        let regex = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|error| Refusal::sentence(400, format!("failed to parse receiver param: {error}")))?;
        Ok(Some(regex))
    }
}

/// What of the alerts is asked for.
struct Wanted {
    matchers: Vec<Matcher>,
    receiver: Option<Regex>,
    active: bool,
    silenced: bool,
    inhibited: bool,
    now: Timestamp,
}

impl Wanted {
    fn new(query: &Query, now: Timestamp) -> Result<Self, Refusal> {
        Ok(Self {
            matchers: query.matchers()?,
            receiver: query.receiver()?,
            active: query.flag("active"),
            silenced: query.flag("silenced"),
            inhibited: query.flag("inhibited"),
            now,
        })
    }

    fn wants_receiver(&self, name: &str) -> bool {
        self.receiver
            .as_ref()
            .is_none_or(|receiver| receiver.is_match(name))
    }

    /// The alerts that are wanted by everything but their receiver.
    fn of(&self, inbound: &Inbound) -> Vec<AlertView> {
        let mut views = inbound.backend.alerts(&mut |alert| {
            !alert.is_resolved_at(self.now) && alert_filter(&self.matchers, &alert.labels)
        });
        views.retain(|view| {
            let is_suppressed = !(view.silenced_by.is_empty() && view.inhibited_by.is_empty());
            (self.silenced || view.silenced_by.is_empty())
                && (self.inhibited || view.inhibited_by.is_empty())
                && (self.active || is_suppressed)
        });
        views
    }
}

async fn alerts(State(inbound): State<Arc<Inbound>>, query: RawQuery) -> Result<Response, Refusal> {
    let wanted = Wanted::new(&Query::new(&query), inbound.backend.now())?;
    let mut views = wanted.of(&inbound);
    views.retain(|view| view.receivers.iter().any(|name| wanted.wants_receiver(name)));
    let mut alerts: Vec<WireAlert<'_>> = views.iter().map(WireAlert::new).collect();
    alerts.sort_by_key(|alert| alert.fingerprint);
    json(&alerts)
}

async fn groups(State(inbound): State<Arc<Inbound>>, query: RawQuery) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct WireGroup<'a> {
        alerts: Vec<WireAlert<'a>>,
        labels: &'a crate::Labels,
        receiver: super::wire::Receiver<'a>,
    }

    let wanted = Wanted::new(&Query::new(&query), inbound.backend.now())?;
    let mut views = wanted.of(&inbound);
    for view in &mut views {
        view.receivers.retain(|name| wanted.wants_receiver(name));
    }
    let by_fingerprint: HashMap<Fingerprint, &AlertView> = views
        .iter()
        .map(|view| (view.alert.fingerprint(), view))
        .collect();
    let mut groups = inbound.backend.groups();
    groups.retain(|group| wanted.wants_receiver(&group.receiver));
    groups.sort_by(|left, right| {
        let by_size = left.labels.len().cmp(&right.labels.len());
        by_size
            .then_with(|| left.labels.iter().cmp(right.labels.iter()))
            .then_with(|| left.receiver.cmp(&right.receiver))
    });
    let groups: Vec<WireGroup<'_>> = groups
        .iter()
        .filter_map(|group| {
            let mut alerts: Vec<WireAlert<'_>> = group
                .alerts
                .iter()
                .filter_map(|fingerprint| by_fingerprint.get(fingerprint))
                .map(|view| WireAlert::new(view))
                .collect();
            alerts.sort_by(|left, right| left.labels.iter().cmp(right.labels.iter()));
            (!alerts.is_empty()).then_some(WireGroup {
                alerts,
                labels: &group.labels,
                receiver: super::wire::Receiver {
                    name: &group.receiver,
                },
            })
        })
        .collect();
    json(&groups)
}

async fn receivers(State(inbound): State<Arc<Inbound>>) -> Result<Response, Refusal> {
    let names = inbound.backend.receivers();
    let receivers: Vec<super::wire::Receiver<'_>> =
        names.iter().map(|name| super::wire::Receiver { name }).collect();
    json(&receivers)
}

async fn status(State(inbound): State<Arc<Inbound>>) -> Result<Response, Refusal> {
    let version = env!("CARGO_PKG_VERSION");
    json(&serde_json::json!({
        "cluster": { "name": "", "peers": [], "status": "disabled" },
        "config": { "original": inbound.backend.configuration() },
        "uptime": Moment(inbound.started_at),
        "versionInfo": {
            "branch": "alpha",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
            "revision": format!("alpha-{version}"),
            "version": API_OF,
        },
    }))
}

async fn silences(State(inbound): State<Arc<Inbound>>, query: RawQuery) -> Result<Response, Refusal> {
    let query = Query::new(&query);
    let matchers = query.matchers()?;
    let now = inbound.backend.now();
    let mut silences = inbound.backend.silences();
    silences.retain(|silence| super::wire::silence_filter(&matchers, silence));
    silences.sort_by_cached_key(|silence| silence_order(silence, now));
    let silences: Vec<WireSilence<'_>> = silences
        .iter()
        .map(|silence| WireSilence::new(silence, now))
        .filter(|silence| query.flag(silence.state()))
        .collect();
    json(&silences)
}

fn silence_id(text: &str) -> Result<Uuid, Refusal> {
    // go-openapi wants the usual 8-4-4-4-12 form; the parser takes others too.
    let id = (text.len() == 36).then(|| text.parse().ok()).flatten();
    id.ok_or_else(|| Refusal::validation(601, format!("silenceID in path must be of type uuid: {text:?}")))
}

async fn silence(State(inbound): State<Arc<Inbound>>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let found = inbound
        .backend
        .silence(silence_id(&id)?)
        .ok_or(Refusal::bare(404))?;
    json(&WireSilence::new(&found, inbound.backend.now()))
}

async fn delete_silence(
    State(inbound): State<Arc<Inbound>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let id = silence_id(&id)?;
    if inbound.backend.silence(id).is_none() {
        return Err(Refusal::sentence(404, "silence not found"));
    }
    let by = super::access::caller(&request);
    inbound.backend.execute(Command::ExpireSilence { id, by }).await?;
    Ok(StatusCode::OK.into_response())
}

async fn post_silence(State(inbound): State<Arc<Inbound>>, request: Request) -> Result<Response, Refusal> {
    must_be_json(&request)?;
    let body = read_body(request, &inbound.limits).await?;
    let now = inbound.backend.now();
    let posted = read_silence(&body, now)?;
    let previous = match posted.id.as_deref() {
        None => None,
        Some(id) => {
            let found = id.parse().ok().and_then(|id| inbound.backend.silence(id));
            Some(found.ok_or_else(|| Refusal::sentence(404, "silence not found"))?)
        }
    };
    let (silence, replaced) = posted.into_silence(previous, now, Uuid::new_v4());
    let id = silence.id;
    let by = silence.created_by.clone();
    inbound.backend.execute(Command::PutSilence(silence)).await?;
    // The new one is in force before the old one ends, so that nothing slips through in between.
    if let Some(replaced) = replaced {
        inbound
            .backend
            .execute(Command::ExpireSilence { id: replaced, by })
            .await?;
    }
    json(&serde_json::json!({ "silenceID": id }))
}

/// JSON with a line break at its end, as Go's encoder writes it.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<Response, Refusal> {
    let mut body = serde_json::to_vec(value).map_err(|error| Refusal::sentence(500, error.to_string()))?;
    body.push(b'\n');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
