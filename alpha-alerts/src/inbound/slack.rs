//! Buttons in Slack messages: Slack posts here when somebody presses one.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::Inbound;
use super::body::read_body;
use super::refusal::Refusal;
use super::signature::SigningKey;
use crate::command::Command;
use crate::incident::IncidentState;

/// How far Slack's clock and ours may differ, in seconds; what is older may be a recording. Slack's own advice.
const TOLERANCE: u64 = 300;

#[derive(Deserialize)]
struct Interaction {
    user: User,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    username: Option<String>,
    name: Option<String>,
}

/// A button: what it does, and the number of the incident or the key of the group.
#[derive(Deserialize)]
struct Action {
    action_id: String,
    #[serde(default)]
    value: String,
}

/// `POST /slack/interactions`.
pub(super) async fn interaction(
    State(inbound): State<Arc<Inbound>>,
    request: Request,
) -> Result<Response, Refusal> {
    let Some(key) = &inbound.slack_key else {
        return Err(Refusal::coded(404, "no Slack app is configured".to_owned()));
    };
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let body = read_body(Request::from_parts(parts, body), &inbound.limits).await?;
    verify(key, &headers, &body, inbound.backend.now())?;
    let payload = url::form_urlencoded::parse(&body).find(|(name, _)| name == "payload");
    let Some((_, payload)) = payload else {
        // Slack checks certificates by a request that holds only `ssl_check=1`.
        return Ok(StatusCode::OK.into_response());
    };
    let interaction: Interaction =
        serde_json::from_str(&payload).map_err(|error| Refusal::unreadable("interaction", &error))?;
    let user = &interaction.user;
    let by = user.username.as_ref().or(user.name.as_ref()).unwrap_or(&user.id);
    for action in &interaction.actions {
        if let Some(command) = command(&inbound, action, by) {
            inbound.execute_unless_done(command).await?;
        }
    }
    Ok(StatusCode::OK.into_response())
}

/// What a button asks for; `None` for buttons that are mere links, and for groups without an incident that is open.
fn command(inbound: &Inbound, action: &Action, by: &str) -> Option<Command> {
    let verb = action.action_id.strip_prefix("alpha_")?;
    let incident = match action.value.parse() {
        Ok(incident) => incident,
        // Where the notification belonged to no incident yet, the button holds the key of the group.
        Err(_) => {
            let incidents = inbound.backend.incidents();
            let mut open = incidents.iter().filter(|incident| {
                incident.group.as_str() == action.value && incident.state() != IncidentState::Resolved
            });
            open.next()?.id
        }
    };
    let by = format!("{by} (Slack)");
    match verb {
        "acknowledge" => Some(Command::Acknowledge { incident, by }),
        "unacknowledge" => Some(Command::Unacknowledge { incident, by }),
        "resolve" => Some(Command::Resolve { incident, by }),
        _ => None,
    }
}

/// Slack signs `v0:TIME:BODY` with the signing secret of the app.
fn verify(key: &SigningKey, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Refusal> {
    let refused = |why: &str| Refusal::coded(401, why.to_owned());
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(time), Some(signature)) = (header("x-slack-request-timestamp"), header("x-slack-signature"))
    else {
        return Err(refused("the request is not signed"));
    };
    let told: i64 = time
        .parse()
        .map_err(|_| refused("the time of the request is no number"))?;
    if now.as_second().abs_diff(told) > TOLERANCE {
        return Err(refused(
            "the request is older than five minutes, or one of the clocks is wrong",
        ));
    }
    let signature = signature.strip_prefix("v0=").unwrap_or_default();
    if key.verifies(&[b"v0:", time.as_bytes(), b":", body], signature) {
        Ok(())
    } else {
        Err(refused("the signature is wrong"))
    }
}

impl Inbound {
    /// Carries out what is about an incident; that it is there already, or that nobody knows the incident any more, is no
    /// reason to have it sent again.
    pub(super) async fn execute_unless_done(&self, command: Command) -> Result<(), Refusal> {
        let (id, wanted) = match &command {
            Command::Acknowledge { incident, .. } => (*incident, Some(IncidentState::Acknowledged)),
            Command::Unacknowledge { incident, .. } => (*incident, Some(IncidentState::Triggered)),
            Command::Resolve { incident, .. } => (*incident, Some(IncidentState::Resolved)),
            Command::Note { incident, .. } => (*incident, None),
            _ => return Ok(self.backend.execute(command).await?),
        };
        let state = self.backend.incident(id).map(|incident| incident.state());
        let Some(state) = state else {
            tracing::warn!(incident = %id, "a button or webhook is about an incident that is not remembered");
            return Ok(());
        };
        if wanted.is_some_and(|wanted| state == wanted || state == IncidentState::Resolved) {
            return Ok(());
        }
        Ok(self.backend.execute(command).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_example_of_slacks_documentation_verifies() {
        // https://api.slack.com/authentication/verifying-requests-from-slack
        let key = SigningKey::new(&"8f742231b10e8888abcd99yyyzzz85a5".into());
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                    channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                    response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F\
                    96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-slack-request-timestamp",
            HeaderValue::from_static("1531420618"),
        );
        headers.insert(
            "x-slack-signature",
            HeaderValue::from_static("v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        );
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        verify(&key, &headers, body.as_bytes(), at(1_531_420_618)).unwrap();
        verify(&key, &headers, body.as_bytes(), at(1_531_420_918)).unwrap();
        assert!(verify(&key, &headers, body.as_bytes(), at(1_531_420_919)).is_err());
        assert!(verify(&key, &headers, body.as_bytes(), at(1_531_420_317)).is_err());
        assert!(verify(&key, &headers, &body.as_bytes()[1..], at(1_531_420_618)).is_err());
        assert!(verify(&key, &HeaderMap::new(), body.as_bytes(), at(1_531_420_618)).is_err());
    }
}
