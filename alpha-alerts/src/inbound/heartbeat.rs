//! The URLs that jobs call to give a sign of life, with the meaning they have at healthchecks.io.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Inbound;
use super::access::Fingerprinted;
use super::refusal::Refusal;
use crate::command::{Command, Signal};
use crate::error::Result;
use crate::secret::Secrets;

/// The heartbeats whose URL holds a token in place of their name.
#[derive(Debug, Default)]
pub(super) struct HeartbeatTokens(Vec<(String, Fingerprinted)>);

impl HeartbeatTokens {
    pub(super) fn new(config: &[super::config::HeartbeatTokenConfig], secrets: &dyn Secrets) -> Result<Self> {
        let mut tokens = Vec::new();
        for entry in config {
            let token = Fingerprinted::new(&secrets.resolve(&entry.token)?);
            tokens.push((entry.heartbeat.clone(), token));
        }
        Ok(Self(tokens))
    }

    /// The name of the heartbeat that is meant: that of a token, or the name itself where no token protects it.
    fn name<'a>(&'a self, presented: &'a str) -> Option<&'a str> {
        let mut name = Some(presented);
        for (heartbeat, token) in &self.0 {
            if heartbeat == presented {
                name = None;
            }
            if token.matches(presented.as_bytes()).into() {
                return Some(heartbeat);
            }
        }
        name
    }
}

/// `/ping/TOKEN`: done.
pub(super) async fn success(
    state: State<Arc<Inbound>>,
    Path(token): Path<String>,
) -> Result<Response, Refusal> {
    signal(state, &token, Some(Signal::Success)).await
}

/// `/ping/TOKEN/start`, `/fail`, `/log`, or the exit code of the job, where 0 is success.
pub(super) async fn what_happened(
    state: State<Arc<Inbound>>,
    Path((token, what)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let said = match what.as_str() {
        "start" => Some(Signal::Start),
        "fail" => Some(Signal::Failure),
        "log" => None,
        code => match code.parse::<u8>() {
            Ok(0) => Some(Signal::Success),
            Ok(_) => Some(Signal::Failure),
            Err(_) => {
                let message =
                    format!("`{what}` is no signal: expected start, fail, log or an exit code from 0 to 255");
                return Err(Refusal::coded(400, message));
            }
        },
    };
    signal(state, &token, said).await
}

async fn signal(
    State(inbound): State<Arc<Inbound>>,
    token: &str,
    signal: Option<Signal>,
) -> Result<Response, Refusal> {
    let name = inbound
        .heartbeats
        .name(token)
        .filter(|name| inbound.backend.expects_heartbeat(name));
    let Some(name) = name else {
        return Ok((StatusCode::NOT_FOUND, "not found").into_response());
    };
    if let Some(signal) = signal {
        let command = Command::Heartbeat {
            name: name.to_owned(),
            signal,
            at: inbound.backend.now(),
        };
        inbound.backend.execute(command).await?;
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], "OK").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_the_place_of_the_name() {
        let token = Fingerprinted::new(&"s3cret".into());
        let tokens = HeartbeatTokens(vec![("backup".to_owned(), token)]);
        assert_eq!(tokens.name("s3cret"), Some("backup"));
        assert_eq!(tokens.name("backup"), None);
        assert_eq!(tokens.name("cron"), Some("cron"));
    }
}
