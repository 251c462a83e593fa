//! The page behind a signed link. Looking at it changes nothing, because chat programs fetch links to show a preview; a
//! button on it acknowledges.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::Inbound;
use super::links::Claim;
use crate::command::Command;
use crate::error::ErrorKind;
use crate::incident::{Incident, IncidentState};
use crate::text;
use crate::text::Text;

/// What stands behind the path of a link.
#[derive(Deserialize)]
pub(super) struct Signed {
    by: String,
    until: i64,
    signature: String,
}

/// `GET /acknowledge/INCIDENT?…`: what it is about, and a button.
pub(super) async fn page(
    State(inbound): State<Arc<Inbound>>,
    Path(id): Path<String>,
    signed: Result<Query<Signed>, QueryRejection>,
) -> Response {
    match incident_of(&inbound, &id, signed.ok().map(|Query(signed)| signed)) {
        Ok((incident, _)) => {
            let title = line(&incident);
            match incident.state() {
                IncidentState::Triggered => {
                    inbound.page(StatusCode::OK, &title, None, Some(&text!("Acknowledge")))
                }
                IncidentState::Acknowledged => {
                    let by = incident.acknowledged.map_or_else(String::new, |by| by.by);
                    inbound.page(
                        StatusCode::OK,
                        &title,
                        Some(&text!("acknowledged by {by}", by = by)),
                        None,
                    )
                }
                IncidentState::Resolved => {
                    inbound.page(StatusCode::OK, &title, Some(&text!("it is over")), None)
                }
            }
        }
        Err((status, why)) => inbound.page(status, &why, None, None),
    }
}

/// `POST` to the same link: acknowledges. Doing it twice changes nothing.
pub(super) async fn press(
    State(inbound): State<Arc<Inbound>>,
    Path(id): Path<String>,
    signed: Result<Query<Signed>, QueryRejection>,
) -> Response {
    let (incident, by) = match incident_of(&inbound, &id, signed.ok().map(|Query(signed)| signed)) {
        Ok(found) => found,
        Err((status, why)) => return inbound.page(status, &why, None, None),
    };
    let title = line(&incident);
    if incident.state() == IncidentState::Triggered {
        let command = Command::Acknowledge {
            incident: incident.id,
            by: by.clone(),
        };
        if let Err(error) = inbound.backend.execute(command).await {
            let status = match error.kind() {
                ErrorKind::NotFound | ErrorKind::Conflict => StatusCode::CONFLICT,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            return inbound.page(status, &title, Some(&error.to_text()), Some(&text!("Try again")));
        }
    }
    let outcome = match (incident.state(), incident.acknowledged) {
        (IncidentState::Resolved, _) => text!("it is over"),
        (_, Some(earlier)) => text!("acknowledged by {by}", by = earlier.by),
        (_, None) => text!("acknowledged by {by}", by = by),
    };
    inbound.page(StatusCode::OK, &title, Some(&outcome), None)
}

fn line(incident: &Incident) -> Text {
    text!(
        "{severity} incident {number}: {title}",
        severity = incident.severity.name(),
        number = incident.id.to_string(),
        title = incident.title.as_str()
    )
}

/// The incident that a good link is for, and whom the link was sent to.
fn incident_of(
    inbound: &Inbound,
    id: &str,
    signed: Option<Signed>,
) -> Result<(Incident, String), (StatusCode, Text)> {
    let not_ours = || {
        (
            StatusCode::FORBIDDEN,
            text!("this link is not one of ours, or was cut off"),
        )
    };
    let key = inbound.acknowledge_key.as_ref().ok_or_else(not_ours)?;
    let signed = signed.ok_or_else(not_ours)?;
    let claim = Claim {
        incident: id.parse().map_err(|_| not_ours())?,
        by: signed.by,
        until: signed.until,
    };
    if !claim.is_signed_by(key, &signed.signature) {
        return Err(not_ours());
    }
    if inbound.backend.now().as_second() > claim.until {
        return Err((StatusCode::GONE, text!("this link has run out")));
    }
    let incident = inbound.backend.incident(claim.incident);
    let incident = incident.ok_or((
        StatusCode::NOT_FOUND,
        text!(
            "no incident {number} is remembered",
            number = claim.incident.to_string()
        ),
    ))?;
    Ok((incident, claim.by))
}

impl Inbound {
    /// A page without scripts. Its form posts to its own address.
    fn page(&self, status: StatusCode, title: &Text, body: Option<&Text>, button: Option<&Text>) -> Response {
        let say = |text: &Text| escaped(&text.translate(&*self.translations));
        let title = say(title);
        let body = body
            .map(|body| format!("<p>{}</p>", say(body)))
            .unwrap_or_default();
        let button = button
            .map(|button| format!("<form method=\"post\"><button>{}</button></form>", say(button)))
            .unwrap_or_default();
        let page = format!(
            "<!doctype html><html><head><meta charset=\"utf-8\"><title>{title}</title>\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <style>body{{font:1.2em sans-serif;margin:2em}}button{{font-size:1.5em;padding:.5em 1em}}</style>\
             </head><body><h1>{title}</h1>{body}{button}</body></html>\n"
        );
        let mut response = (status, Html(page)).into_response();
        for (name, value) in [
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
            ),
        ] {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
