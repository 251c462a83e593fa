//! The HTTP APIs through which alerts, silences and acknowledgements come in.
//!
//! | Path | Who speaks it |
//! |---|---|
//! | `/api/v2/…`, `/-/healthy`, `/-/ready`, `/-/reload` | Prometheus, `amtool`, everything made for Alertmanager |
//! | `/inlet/NAME` | webhooks of Alertmanager and Grafana |
//! | `/v2/enqueue` | whatever can page through PagerDuty |
//! | `/ping/NAME`, `/ping/NAME/start`, `/fail`, `/EXIT-CODE` | jobs that give a sign of life |
//! | `/acknowledge/…` | people, by a signed link |
//! | `/slack/interactions`, `/pagerduty/webhook` | what Slack and PagerDuty report back |
//! | `/api/alpha/v1/…` | the command `alpha` |
//! | `/metrics` | Prometheus |
//!
//! Everything goes through a [`Backend`], and is answered with success only once it is durable.

mod access;
mod acknowledge;
mod alertmanager;
mod api;
mod backend;
mod body;
mod config;
mod events;
mod heartbeat;
mod links;
mod live;
mod measurements;
mod on_call;
mod pagerduty;
mod posted;
mod posted_silence;
mod refusal;
mod serve;
mod signature;
mod slack;
#[cfg(test)]
mod tests;
mod webhook;
mod wire;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;

use access::{Access, Inlet};
use body::Limits;
use heartbeat::HeartbeatTokens;
use measurements::Measurements;
use signature::SigningKey;

use crate::error::Error;
use crate::exposition::Exposition;
use crate::secret::{SecretRef, Secrets};
use crate::text::{English, Text, Translate};

pub use backend::{AlertCounts, AlertView, Backend, GroupView, Reload};
pub use config::*;
pub use links::AcknowledgeLinks;
pub use live::Live;
pub use posted::{Posted, read_alerts};
pub use refusal::Refusal;
pub use serve::{Serving, serve};

/// The inbound APIs over one backend.
pub struct Inbound {
    backend: Arc<dyn Backend>,
    reload: Option<Arc<dyn Reload>>,
    limits: Limits,
    path_prefix: String,
    access: Arc<Access>,
    inlets: Vec<Inlet>,
    heartbeats: HeartbeatTokens,
    acknowledge_key: Option<SigningKey>,
    slack_key: Option<SigningKey>,
    pagerduty_keys: Vec<SigningKey>,
    pagerduty_seen: pagerduty::Seen,
    translations: Arc<dyn Translate + Send + Sync>,
    measurements: Measurements,
    started_at: Timestamp,
}

impl Inbound {
    /// The APIs that `config` describes.
    ///
    /// # Errors
    /// All problems of `config`, secrets that are not there included.
    pub fn new(
        backend: Arc<dyn Backend>,
        config: &InboundConfig,
        secrets: &dyn Secrets,
    ) -> Result<Self, Vec<Text>> {
        let mut problems = config.check();
        let mut noted = |error: Error| problems.push(error.to_text());
        let access = Access::new(&config.access, secrets)
            .map_err(&mut noted)
            .unwrap_or_default();
        let inlets = config
            .inlets
            .iter()
            .filter_map(|inlet| Inlet::new(inlet, secrets).map_err(&mut noted).ok());
        let inlets = inlets.collect();
        let heartbeats = HeartbeatTokens::new(&config.heartbeat_tokens, secrets)
            .map_err(&mut noted)
            .unwrap_or_default();
        let mut key_of = |secret: &SecretRef| {
            let secret = secrets.resolve(secret).map_err(&mut noted).ok()?;
            Some(SigningKey::new(&secret))
        };
        let slack_key = config
            .slack
            .as_ref()
            .and_then(|slack| key_of(&slack.signing_secret));
        let pagerduty_keys = config
            .pagerduty
            .iter()
            .flat_map(|pagerduty| &pagerduty.secrets)
            .filter_map(&mut key_of)
            .collect();
        let acknowledge_key = config
            .acknowledge_links
            .as_ref()
            .and_then(|config| links::signing_key(config, secrets).map_err(&mut noted).ok());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            started_at: backend.now(),
            backend,
            reload: None,
            limits: Limits {
                max_body_bytes: config.max_body_bytes,
                body_timeout: config.body_timeout.0,
            },
            path_prefix: config.path_prefix.clone(),
            access: Arc::new(access),
            inlets,
            heartbeats,
            acknowledge_key,
            slack_key,
            pagerduty_keys,
            pagerduty_seen: pagerduty::Seen::default(),
            translations: Arc::new(English),
            measurements: Measurements::default(),
        })
    }

    /// The same with a configuration that can be read again.
    #[must_use]
    pub fn with_reload(mut self, reload: Arc<dyn Reload>) -> Self {
        self.reload = Some(reload);
        self
    }

    /// The same with pages in another language than English.
    #[must_use]
    pub fn with_translations(mut self, translations: Arc<dyn Translate + Send + Sync>) -> Self {
        self.translations = translations;
        self
    }

    /// The routes, for [`serve`] or for a server of one's own.
    pub fn router(self) -> Router {
        let inbound = Arc::new(self);
        let mut guarded = alertmanager::routes()
            .merge(alertmanager::operator_routes())
            .merge(api::routes())
            .merge(on_call::routes())
            .route("/metrics", get(metrics));
        if !inbound.access.is_open() {
            guarded = guarded.route_layer(axum::middleware::from_fn_with_state(
                Arc::clone(&inbound.access),
                access::guard,
            ));
        }
        let routes = guarded
            .merge(alertmanager::open_routes())
            .merge(signed_routes())
            .fallback(alertmanager::unknown_path)
            .method_not_allowed_fallback(alertmanager::wrong_method);
        let routes = if inbound.path_prefix.is_empty() {
            routes
        } else {
            Router::new()
                .nest(&inbound.path_prefix, routes)
                .fallback(alertmanager::unknown_path)
        };
        routes.with_state(inbound)
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Inbound")
            .field("backend", &self.backend)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What proves by itself who sends it: by a token in it, or by a signature over it.
fn signed_routes() -> Router<Arc<Inbound>> {
    Router::new()
        .route("/inlet/{name}", post(webhook::receive))
        .route("/v2/enqueue", post(events::enqueue))
        .route("/ping/{token}", get(heartbeat::success).post(heartbeat::success))
        .route(
            "/ping/{token}/{what}",
            get(heartbeat::what_happened).post(heartbeat::what_happened),
        )
        .route(
            "/acknowledge/{incident}",
            get(acknowledge::page).post(acknowledge::press),
        )
        .route("/slack/interactions", post(slack::interaction))
        .route("/pagerduty/webhook", post(pagerduty::webhook))
}

async fn metrics(State(inbound): State<Arc<Inbound>>) -> Response {
    let mut exposition = Exposition::default();
    inbound
        .measurements
        .expose(&mut exposition, inbound.backend.counts(), inbound.started_at);
    inbound.backend.measure(&mut exposition).await;
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        exposition.into_text(),
    )
        .into_response()
}
