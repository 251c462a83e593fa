//! The probe `tcp`: connects to a port and, where told to, talks to what listens there.

use std::sync::Arc;

use async_trait::async_trait;
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::check::ProbeConfig;
use crate::dial::{Endpoint, Phase, Progress, before, blame, dial, finding, invalid};
use crate::error::{Error, Result};
use crate::observation::{Body, Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "tcp",
    summary: "Connects to a port and, where told to, talks to what listens there.",
    metrics: &[
        Metric::gauge("connected", Unit::Boolean, "Whether the connection was accepted."),
        Metric::gauge(
            "response_time",
            Unit::Seconds,
            "From the beginning until the connection stood, or the expected answer was there.",
        ),
        Metric::gauge(
            "dns_time",
            Unit::Seconds,
            "Looking up the name; zero for an address.",
        ),
        Metric::gauge("connect_time", Unit::Seconds, "Connecting by TCP."),
        Metric::gauge(
            "matched",
            Unit::Boolean,
            "Whether the answer matched what is expected.",
        ),
    ],
    is_open: false,
    rules: &[DefaultRule {
        level: Level::Critical,
        when: "has([matched]) && [matched] == false",
        sustained: "",
        says: "{address} answered \"{answer}\", expected {expected}",
        remedy: "Something else listens on the port, or the service answers with an error: read its log.",
    }],
};

/// 64 KiB: how much of an answer is read while looking for what is expected.
const MAX_ANSWER: usize = 64 * 1024;

/// How many characters of an answer are shown.
const MAX_SHOWN: usize = 200;

/// The table `tcp` of a check.
///
/// A refused connection, a timeout and a failed lookup are findings that say what was waited for. What came back is the
/// `[BODY]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TcpConfig {
    /// The host and the port, such as `db.example:5432` or `[::1]:22`.
    pub address: String,
    /// What is sent after connecting, such as `"PING\r\n"`; needs `expect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// A regular expression that the answer must match, such as `^SSH-2`; at most 64 KiB are read until it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

impl TcpConfig {
    /// A connection to `address` and nothing more.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            ..Self::default()
        }
    }
}

impl ProbeConfig for TcpConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        let endpoint = Endpoint::parse(&self.address, None).ok_or_else(|| {
            invalid(text!(
                "address: expected a host and a port such as \"db.example:5432\", found \"{found}\"",
                found = &self.address
            ))
        })?;
        if self.send.is_some() && self.expect.is_none() {
            return Err(invalid(text!(
                "send: expected together with expect, which tells when the answer is complete"
            )));
        }
        let expect = self
            .expect
            .as_deref()
            .map(|pattern| {
                Regex::new(pattern).map_err(|error| {
                    // The library draws the pattern over several lines; the last one says what is wrong.
                    let cause = error.to_string();
                    let cause = cause.lines().last().unwrap_or_default();
                    invalid(text!(
                        "expect: expected a regular expression, found \"{found}\": {cause}",
                        found = pattern,
                        cause = cause.trim_start_matches("error: ")
                    ))
                })
            })
            .transpose()?;
        Ok(Arc::new(TcpProbe {
            target: endpoint.to_string(),
            endpoint,
            send: self.send.clone(),
            expect,
        }))
    }
}

#[derive(Debug)]
struct TcpProbe {
    endpoint: Endpoint,
    target: String,
    send: Option<String>,
    expect: Option<Regex>,
}

#[async_trait]
impl Probe for TcpProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let mut progress = Progress::new(&self.endpoint);
        let ending = before(context.deadline);
        let stream = match timeout_at(ending, dial(&self.endpoint, &mut progress)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return finding(error),
            Err(_) => return finding(progress.timed_out()),
        };
        let mut observation = match &self.expect {
            None => Observation::new(),
            Some(expect) => match self.talk(stream, expect, ending, &mut progress).await {
                Ok(answer) => answered(expect, &answer),
                Err(error) => finding(error)?,
            },
        };
        if observation.failure.is_none() {
            observation = observation
                .with_bool("connected", true)
                .with_seconds("response_time", progress.started.elapsed())
                .with_fact("address", progress.address());
        }
        if let Some(peer) = progress.peer {
            observation = observation.with_fact("ip", peer.ip().to_string());
        }
        Ok(observation
            .with_seconds("dns_time", progress.dns_time)
            .with_seconds("connect_time", progress.connect_time.unwrap_or_default()))
    }
}

impl TcpProbe {
    /// Sends what is to be sent, and reads until the answer matches, ends, is too long, or the time is up.
    async fn talk(
        &self,
        mut stream: TcpStream,
        expect: &Regex,
        ending: Instant,
        progress: &mut Progress,
    ) -> Result<Vec<u8>> {
        progress.phase = Phase::Answer;
        let mut answer = Vec::new();
        let exchange = async {
            if let Some(send) = &self.send {
                stream.write_all(send.as_bytes()).await?;
            }
            while answer.len() < MAX_ANSWER && !expect.is_match(&answer) {
                let room = (MAX_ANSWER - answer.len()) as u64;
                if (&mut stream).take(room).read_buf(&mut answer).await? == 0 {
                    break;
                }
            }
            Ok::<_, std::io::Error>(())
        };
        match timeout_at(ending, exchange).await {
            Ok(Err(error)) if answer.is_empty() => {
                let text = text!(
                    "the connection to {address} broke: {cause}",
                    address = progress.address(),
                    cause = error.to_string()
                );
                Err(Error::new(blame(&error), text))
            }
            Err(_) if answer.is_empty() => Err(progress.timed_out()),
            Ok(Ok(())) if answer.is_empty() => Err(crate::dial::closed_early(progress.address())),
            // Something came, so that what is wrong with it is told by what it is.
            _ => Ok(answer),
        }
    }
}

fn answered(expect: &Regex, answer: &[u8]) -> Observation {
    let text = String::from_utf8_lossy(answer).into_owned();
    let shown: String = text.chars().take(MAX_SHOWN).collect();
    let mut observation = Observation::new()
        .with_bool("matched", expect.is_match(answer))
        .with_fact("answer", shown.trim_end())
        .with_fact("expected", expect.as_str());
    observation.body = Some(Body::Text(text));
    observation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_are_named_with_what_is_expected() {
        let refused = |config: TcpConfig| config.build(&Resources::default()).unwrap_err().to_string();
        let messages = [
            refused(TcpConfig::default()),
            refused(TcpConfig::new("localhost")),
            refused(TcpConfig {
                send: Some("PING".to_owned()),
                ..TcpConfig::new("localhost:22")
            }),
            refused(TcpConfig {
                expect: Some("(".to_owned()),
                ..TcpConfig::new("localhost:22")
            }),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r#"
        address: expected a host and a port such as "db.example:5432", found ""
        address: expected a host and a port such as "db.example:5432", found "localhost"
        send: expected together with expect, which tells when the answer is complete
        expect: expected a regular expression, found "(": unclosed group
        "#);
    }
}
