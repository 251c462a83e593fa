//! `/metrics`: what the alerts' side measures of itself, and what the checks measured.

use alpha_probes::exposition;
use alpha_probes::monitor::Monitor;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

/// More than the alerts' side ever measures of itself.
const MOST_BYTES: usize = 16 << 20;

/// `router`, whose `/metrics` tells of the checks too.
pub(super) fn with_checks(router: Router, monitor: Monitor) -> Router {
    router.layer(from_fn_with_state(monitor, append))
}

async fn append(State(monitor): State<Monitor>, request: Request, next: Next) -> Response {
    let is_metrics = request.uri().path().ends_with("/metrics");
    let response = next.run(request).await;
    // Whoever was refused, or asked for something else of that name, is answered as before.
    if !is_metrics || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(own) = to_bytes(body, MOST_BYTES).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let checks = exposition::prometheus(&monitor.snapshot());
    parts.headers.remove(header::CONTENT_LENGTH);
    let whole: Bytes = [own.as_ref(), checks.as_bytes()].concat().into();
    Response::from_parts(parts, Body::from(whole))
}
