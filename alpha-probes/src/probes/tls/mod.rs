//! The probe `tls`: shakes hands with a server and tells everything about the certificates that it shows.

mod starttls;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rustls::ProtocolVersion;
use rustls::pki_types::{CertificateDer, ServerName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use crate::certificate::{Certificate, Problem, TlsClient};
use crate::check::ProbeConfig;
use crate::dial::{Endpoint, Progress, before, dial, finding, invalid};
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;
use crate::text::Text;

pub use starttls::StartTls;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "tls",
    summary: "Shakes hands with a server and looks at its certificates: chain, names, dates, trust.",
    metrics: &[
        Metric::gauge("connected", Unit::Boolean, "Whether the TLS handshake succeeded."),
        Metric::gauge(
            "response_time",
            Unit::Seconds,
            "From the beginning until the handshake was over.",
        ),
        Metric::gauge(
            "dns_time",
            Unit::Seconds,
            "Looking up the name; zero for an address.",
        ),
        Metric::gauge("connect_time", Unit::Seconds, "Connecting by TCP."),
        Metric::gauge("tls_time", Unit::Seconds, "The TLS handshake."),
        Metric::gauge(
            "certificate_expiration",
            Unit::Seconds,
            "How long the certificate of the server is still valid; negative once it expired.",
        ),
        Metric::gauge(
            "chain_expiration",
            Unit::Seconds,
            "How long every certificate that is needed to trust the server is still valid.",
        ),
        Metric::gauge(
            "valid",
            Unit::Boolean,
            "Whether nothing is wrong with the certificate.",
        ),
        Metric::gauge("expired", Unit::Boolean, "Whether the certificate has expired."),
        Metric::gauge(
            "not_yet_valid",
            Unit::Boolean,
            "Whether the certificate is valid only from a later date.",
        ),
        Metric::gauge(
            "wrong_name",
            Unit::Boolean,
            "Whether the certificate is for other names.",
        ),
        Metric::gauge(
            "untrusted",
            Unit::Boolean,
            "Whether the certificate comes from an authority that is not trusted.",
        ),
        Metric::gauge(
            "chain_expired",
            Unit::Boolean,
            "Whether an intermediate certificate has expired.",
        ),
    ],
    is_open: false,
    // Let's Encrypt renews 30 days before the end; 14 days are two failed weeks, 3 days a weekend.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "[expired] == true",
            sustained: "",
            says: "the certificate of {host} has expired, on {not_after}",
            remedy: "Renew the certificate (certbot renew) and reload the server.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "[not_yet_valid] == true",
            sustained: "",
            says: "the certificate of {host} becomes valid only on {not_before}",
            remedy: "Compare the clock of this machine with a time server; where it is right, put the previous certificate back.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "[wrong_name] == true",
            sustained: "",
            says: "the certificate is for {names}, not for {host}",
            remedy: "Give the server the certificate of this name, or ask it by a name that the certificate has (server_name).",
        },
        DefaultRule {
            level: Level::Critical,
            when: "[untrusted] == true",
            sustained: "",
            says: "the certificate of {host} comes from {root}, which is not trusted",
            remedy: "Let the server send its intermediate certificates (fullchain.pem); where the authority is your own, name it in ca_file.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "[chain_expired] == true",
            sustained: "",
            says: "an intermediate certificate of {host} has expired",
            remedy: "Renew the certificate with its chain (certbot renew --force-renewal) and reload the server.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "[valid] == false",
            sustained: "",
            says: "the certificate of {host} cannot be accepted: {problem}",
            remedy: "Replace the certificate by one that keeps to the rules (RFC 5280).",
        },
        DefaultRule {
            level: Level::Critical,
            when: "[certificate_expiration] < 3d",
            sustained: "",
            says: "the certificate of {host} expires in {certificate_expiration}",
            remedy: "Renew the certificate (certbot renew) and reload the server.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "has([chain_expiration]) && [chain_expiration] < 3d",
            sustained: "",
            says: "an intermediate certificate of {host} expires in {chain_expiration}",
            remedy: "Renew the certificate with its chain (certbot renew --force-renewal) and reload the server.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "[certificate_expiration] < 14d",
            sustained: "",
            says: "the certificate of {host} expires in {certificate_expiration}",
            remedy: "Renew the certificate (certbot renew) and reload the server.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has([chain_expiration]) && [chain_expiration] < 14d",
            sustained: "",
            says: "an intermediate certificate of {host} expires in {chain_expiration}",
            remedy: "Renew the certificate with its chain (certbot renew --force-renewal) and reload the server.",
        },
    ],
};

/// The table `tls` of a check.
///
/// A wrong certificate does not end the handshake here: each cause is measured by itself. A refused connection, a timeout
/// and a server that does not speak TLS are findings that say what was waited for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The host and the port, such as `example.org:443`; without a port 443 is meant.
    pub address: String,
    /// The name to ask for and to find in the certificate. Default: the host in `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The protocol that is to change to TLS: `smtp`, `imap`, `pop3` or `postgres`. Default: none, TLS from the first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starttls: Option<StartTls>,
    /// A file of PEM certificates of the authorities to trust instead of this machine's; read when the check is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl TlsConfig {
    /// A handshake with `address` and all else at its default.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            ..Self::default()
        }
    }
}

impl ProbeConfig for TlsConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let endpoint = Endpoint::parse(&self.address, Some(443)).ok_or_else(|| {
            invalid(text!(
                "address: expected a host and a port such as \"example.org:443\", found \"{found}\"",
                found = &self.address
            ))
        })?;
        let name = self.server_name.as_deref().unwrap_or(&endpoint.host).to_owned();
        let server_name = ServerName::try_from(name.clone()).map_err(|_| {
            invalid(text!(
                "server_name: expected a host name or an address, found \"{found}\"",
                found = &name
            ))
        })?;
        Ok(Arc::new(TlsProbe {
            target: endpoint.to_string(),
            client: TlsClient::new(resources, self.ca_file.as_deref(), &[])?,
            starttls: self.starttls,
            endpoint,
            name,
            server_name,
        }))
    }
}

#[derive(Debug)]
struct TlsProbe {
    endpoint: Endpoint,
    target: String,
    name: String,
    server_name: ServerName<'static>,
    starttls: Option<StartTls>,
    client: TlsClient,
}

#[async_trait]
impl Probe for TlsProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let mut progress = Progress::new(&self.endpoint);
        let reached = timeout_at(before(context.deadline), self.reach(&mut progress)).await;
        let mut observation = match reached {
            Ok(Ok((stream, tls_time))) => {
                let response_time = progress.started.elapsed();
                self.look(&stream, context.clock.now())
                    .with_bool("connected", true)
                    .with_seconds("response_time", response_time)
                    .with_seconds("tls_time", tls_time)
            }
            Ok(Err(error)) => finding(error)?,
            Err(_) => finding(progress.timed_out())?,
        };
        if let Some(connect_time) = progress.connect_time {
            observation = observation
                .with_seconds("dns_time", progress.dns_time)
                .with_seconds("connect_time", connect_time);
        }
        if let Some(peer) = progress.peer {
            observation = observation.with_fact("ip", peer.ip().to_string());
        }
        Ok(observation.with_fact("host", self.name.as_str()))
    }
}

impl TlsProbe {
    async fn reach(&self, progress: &mut Progress) -> Result<(TlsStream<TcpStream>, std::time::Duration)> {
        let mut stream = dial(&self.endpoint, progress).await?;
        if let Some(protocol) = self.starttls {
            protocol.ask(&mut stream, progress).await?;
        }
        let started = Instant::now();
        let stream = self
            .client
            .handshake(self.server_name.clone(), stream, progress)
            .await?;
        Ok((stream, started.elapsed()))
    }

    /// What the certificates say and what is wrong with them.
    fn look(&self, stream: &TlsStream<TcpStream>, now: Timestamp) -> Observation {
        let session = stream.get_ref().1;
        let mut observation = Observation::new();
        let protocol = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        observation = observation.with_fact("protocol", protocol);
        let cipher = session.negotiated_cipher_suite();
        if let Some(cipher) = cipher.and_then(|cipher| cipher.suite().as_str()) {
            observation = observation.with_fact("cipher", cipher);
        }
        let chain = session.peer_certificates().unwrap_or_default();
        let problems = self.client.problems(chain, &self.server_name, now);
        let is = |this: fn(&Problem) -> bool| problems.iter().any(this);
        observation = observation
            .with_bool("valid", problems.is_empty())
            .with_bool("expired", is(|problem| matches!(problem, Problem::Expired(_))))
            .with_bool(
                "not_yet_valid",
                is(|problem| matches!(problem, Problem::NotYetValid(_))),
            )
            .with_bool(
                "wrong_name",
                is(|problem| matches!(problem, Problem::WrongName(_))),
            )
            .with_bool(
                "untrusted",
                is(|problem| matches!(problem, Problem::Untrusted(_) | Problem::NoAuthorities)),
            )
            .with_bool(
                "chain_expired",
                is(|problem| matches!(problem, Problem::ChainExpired)),
            );
        if !problems.is_empty() {
            let texts = problems.iter().map(|problem| problem.text(&self.name, now));
            let problem = Text::list(texts.collect()).to_string();
            observation = observation.with_fact("problem", problem);
        }
        if let Some(ends) = self.client.chain_ends(chain, now) {
            let left = ends.duration_since(now).as_secs_f64();
            observation = observation.with("chain_expiration", left, Unit::Seconds);
        }
        describe(observation, chain, now)
    }
}

/// Adds what the certificates say about themselves.
fn describe(observation: Observation, chain: &[CertificateDer<'_>], now: Timestamp) -> Observation {
    let chain: Vec<_> = chain
        .iter()
        .filter_map(|der| Certificate::read(der).ok())
        .collect();
    let (Some(leaf), Some(last)) = (chain.first(), chain.last()) else {
        return observation;
    };
    let left = leaf.ends.duration_since(now).as_secs_f64();
    let subjects: Vec<_> = chain
        .iter()
        .map(|certificate| certificate.subject.clone())
        .collect();
    observation
        .with("certificate_expiration", left, Unit::Seconds)
        .with_fact("subject", leaf.subject.clone())
        .with_fact("issuer", leaf.issuer.clone())
        .with_fact("root", last.issuer.clone())
        .with_fact("serial", leaf.serial.clone())
        .with_fact("names", leaf.names.clone())
        .with_fact("not_before", leaf.starts.to_string())
        .with_fact("not_after", leaf.ends.to_string())
        .with_fact("chain", subjects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_are_named_with_what_is_expected() {
        let refused = |config: TlsConfig| config.build(&Resources::default()).unwrap_err().to_string();
        let messages = [
            refused(TlsConfig::default()),
            refused(TlsConfig::new("example.org:https")),
            refused(TlsConfig {
                server_name: Some("two words".to_owned()),
                ..TlsConfig::new("example.org")
            }),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r#"
        address: expected a host and a port such as "example.org:443", found ""
        address: expected a host and a port such as "example.org:443", found "example.org:https"
        server_name: expected a host name or an address, found "two words"
        "#);
    }
}
