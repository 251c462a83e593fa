//! The probe `dns`: asks one name server one question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::proto::op::{Edns, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::check::ProbeConfig;
use crate::dial::{Endpoint, Phase, Progress, before, closed_early, dial, finding, invalid, not_connected};
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Body, Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "dns",
    summary: "Asks one name server one question.",
    metrics: &[
        Metric::gauge("connected", Unit::Boolean, "Whether the server answered."),
        Metric::gauge(
            "response_time",
            Unit::Seconds,
            "From the first question until the answer was there.",
        ),
        Metric::gauge(
            "answers",
            Unit::Count,
            "How many records of the type came; aliases on the way do not count.",
        ),
        Metric::gauge(
            "ttl_min",
            Unit::Seconds,
            "How long the records may be kept, the shortest of them.",
        ),
        Metric::gauge(
            "attempts",
            Unit::Count,
            "How many times the question was sent; more than one where a packet was lost.",
        ),
        Metric::gauge(
            "authoritative",
            Unit::Boolean,
            "Whether the server answered from a zone of its own.",
        ),
        Metric::gauge(
            "truncated",
            Unit::Boolean,
            "Whether the answer did not fit a packet and was asked for again by TCP.",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "[dns_rcode] != NOERROR",
            sustained: "",
            says: "{server} answered {dns_rcode} for {name}",
            remedy: "NXDOMAIN: the name is gone, look at the zone and its registration; SERVFAIL: the server cannot reach or verify the zone, read its log; REFUSED: it does not serve this machine.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "[answers] == 0",
            sustained: "",
            says: "{server} knows no {record_type} record of {name}",
            remedy: "Add the record to the zone, or correct the name or the type in the check.",
        },
    ],
};

/// What a packet may hold without being broken up on the way, as agreed on DNS flag day 2020.
const MAX_PACKET: u16 = 1232;

/// After how long a question is sent again, unless an answer came; packets get lost.
const RESEND: Duration = Duration::from_secs(1);

/// How many records are told; the rest is only counted.
const MAX_RECORDS: usize = 100;

/// How a name server is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsTransport {
    /// By packets, and again by TCP where the answer does not fit one.
    #[default]
    Udp,
    /// By TCP.
    Tcp,
}

/// The table `dns` of a check.
///
/// The response code is the fact `[DNS_RCODE]`: `NOERROR`, `NXDOMAIN`, `SERVFAIL`. The records are the `[BODY]`, one a
/// line, sorted, as they stand in a zone file. A server that does not answer is a finding.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DnsConfig {
    /// The name that is asked for; for `PTR` an address will do.
    pub name: String,
    /// The type of record: `A`, `AAAA`, `CNAME`, `MX`, `NS`, `TXT`, `SOA`, `SRV`, `PTR`, `CAA` and so on. Default: `A`.
    pub record_type: String,
    /// The address of the name server, such as `9.9.9.9` or `[2620:fe::fe]:53`. Default: the first of this machine's
    /// (`/etc/resolv.conf`), looked up each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// How the server is asked. Default: `udp`, with TCP where an answer does not fit.
    pub transport: DnsTransport,
    /// Whether the server is asked to ask others; turn it off to test an authoritative server. Default: true.
    pub recursion: bool,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            record_type: "A".to_owned(),
            server: None,
            transport: DnsTransport::default(),
            recursion: true,
        }
    }
}

impl DnsConfig {
    /// A question for the addresses of `name`, with all else at its default.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

impl ProbeConfig for DnsConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        let record_type: RecordType = self.record_type.to_ascii_uppercase().parse().map_err(|_| {
            invalid(text!(
                "record_type: expected a type such as A, AAAA, MX or TXT, found \"{found}\"",
                found = &self.record_type
            ))
        })?;
        let unknown_name = || {
            invalid(text!(
                "name: expected a domain name, found \"{found}\"",
                found = &self.name
            ))
        };
        if self.name.is_empty() {
            return Err(unknown_name());
        }
        let mut name = match self.name.parse::<IpAddr>() {
            Ok(address) if record_type == RecordType::PTR => Name::from(address),
            _ => Name::from_utf8(&self.name).map_err(|_| unknown_name())?,
        };
        name.set_fqdn(true);
        let server = match self.server.as_deref() {
            None => None,
            Some(address) => {
                let endpoint = Endpoint::parse(address, Some(53)).filter(|endpoint| endpoint.ip().is_some());
                Some(endpoint.ok_or_else(|| {
                    invalid(text!(
                        "server: expected an address such as \"9.9.9.9\" or \"[::1]:53\", found \"{found}\"",
                        found = address
                    ))
                })?)
            }
        };
        let target = server
            .as_ref()
            .map_or_else(|| "name server".to_owned(), ToString::to_string);
        Ok(Arc::new(DnsProbe {
            target,
            server,
            name,
            record_type,
            transport: self.transport,
            recursion: self.recursion,
        }))
    }
}

#[derive(Debug)]
struct DnsProbe {
    target: String,
    server: Option<Endpoint>,
    name: Name,
    record_type: RecordType,
    transport: DnsTransport,
    recursion: bool,
}

/// An answer and what it took.
struct Answer {
    message: Message,
    attempts: u32,
    was_truncated: bool,
}

#[async_trait]
impl Probe for DnsProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let server = match &self.server {
            Some(server) => server.clone(),
            None => system_server()?,
        };
        let mut progress = Progress::new(&server);
        let asked = timeout_at(before(context.deadline), self.ask(&server, &mut progress)).await;
        let observation = match asked {
            Ok(Ok(answer)) => self
                .tell(&answer)
                .with_bool("connected", true)
                .with_seconds("response_time", progress.started.elapsed()),
            Ok(Err(error)) => finding(error)?,
            Err(_) => finding(progress.timed_out())?,
        };
        Ok(observation
            .with_fact("server", server.to_string())
            .with_fact("name", self.name.to_utf8())
            .with_fact("record_type", self.record_type.to_string()))
    }
}

impl DnsProbe {
    async fn ask(&self, server: &Endpoint, progress: &mut Progress) -> Result<Answer> {
        let mut question = Message::query();
        question.metadata.recursion_desired = self.recursion;
        question.add_query(Query::query(self.name.clone(), self.record_type));
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_PACKET);
        question.set_edns(edns);
        let bytes = question.to_vec().map_err(|error| {
            invalid(text!(
                "name: cannot be asked for: {cause}",
                cause = error.to_string()
            ))
        })?;
        let (mut attempts, mut was_truncated) = (0, false);
        if self.transport == DnsTransport::Udp {
            let message = self
                .ask_by_packet(server, &question, &bytes, &mut attempts, progress)
                .await?;
            if !message.metadata.truncation {
                return Ok(Answer {
                    message,
                    attempts,
                    was_truncated,
                });
            }
            was_truncated = true;
        }
        attempts += 1;
        let message = self.ask_by_stream(server, &question, &bytes, progress).await?;
        Ok(Answer {
            message,
            attempts,
            was_truncated,
        })
    }

    async fn ask_by_packet(
        &self,
        server: &Endpoint,
        question: &Message,
        bytes: &[u8],
        attempts: &mut u32,
        progress: &mut Progress,
    ) -> Result<Message> {
        let address = SocketAddr::new(server.ip().unwrap_or(Ipv4Addr::UNSPECIFIED.into()), server.port);
        let anywhere: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let failed = |error: std::io::Error| not_connected(server.to_string(), &error);
        let socket = UdpSocket::bind((anywhere, 0)).await.map_err(failed)?;
        // Connected, the kernel drops what others send and tells when nobody listens.
        socket.connect(address).await.map_err(failed)?;
        progress.phase = Phase::Reply;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            socket.send(bytes).await.map_err(failed)?;
            *attempts += 1;
            let resend = Instant::now() + RESEND;
            loop {
                let size = tokio::select! {
                    received = socket.recv(&mut buffer) => received.map_err(failed)?,
                    () = sleep_until(resend) => break,
                };
                // An answer to another question is an old one or a forged one; the right one may still come.
                match read(&buffer[..size], question) {
                    Some(answer) => return answer.map_err(|cause| unreadable(server, &cause)),
                    None => continue,
                }
            }
        }
    }

    async fn ask_by_stream(
        &self,
        server: &Endpoint,
        question: &Message,
        bytes: &[u8],
        progress: &mut Progress,
    ) -> Result<Message> {
        let mut stream = dial(server, progress).await?;
        progress.phase = Phase::Answer;
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => closed_early(server.to_string()),
            _ => not_connected(server.to_string(), &error),
        };
        let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let framed = [&size.to_be_bytes(), bytes].concat();
        stream.write_all(&framed).await.map_err(failed)?;
        let size = stream.read_u16().await.map_err(failed)?;
        let mut answer = vec![0; usize::from(size)];
        progress.phase = Phase::Rest(2);
        stream.read_exact(&mut answer).await.map_err(failed)?;
        match read(&answer, question) {
            Some(answer) => answer.map_err(|cause| unreadable(server, &cause)),
            None => Err(unreadable(server, "it belongs to another question")),
        }
    }

    fn tell(&self, answer: &Answer) -> Observation {
        let metadata = &answer.message.metadata;
        let is_asked = |kind: RecordType| kind == self.record_type || self.record_type == RecordType::ANY;
        let (records, others): (Vec<_>, Vec<_>) = answer
            .message
            .answers
            .iter()
            .partition(|record| is_asked(record.record_type()));
        let mut lines: Vec<_> = records
            .iter()
            .take(MAX_RECORDS)
            .map(|record| record.data.to_string())
            .collect();
        lines.sort_unstable();
        let aliases: Vec<_> = others
            .iter()
            .filter(|record| record.record_type() == RecordType::CNAME)
            .take(MAX_RECORDS)
            .map(|record| record.data.to_string())
            .collect();
        let mut observation = Observation::new()
            .with("answers", records.len() as f64, Unit::Count)
            .with("attempts", f64::from(answer.attempts), Unit::Count)
            .with_bool("authoritative", metadata.authoritative)
            .with_bool("truncated", answer.was_truncated)
            .with_fact("dns_rcode", mnemonic(metadata.response_code));
        if let Some(ttl) = records.iter().map(|record| record.ttl).min() {
            observation = observation.with("ttl_min", f64::from(ttl), Unit::Seconds);
        }
        if !aliases.is_empty() {
            observation = observation.with_fact("aliases", aliases);
        }
        observation.body = Some(Body::Text(lines.join("\n")));
        observation.with_fact("records", lines)
    }
}

/// The answer to `question` in `bytes`: nothing where they answer another one, and what is wrong where they are broken.
fn read(bytes: &[u8], question: &Message) -> Option<Result<Message, String>> {
    let is_ours = bytes.get(..2)? == question.metadata.id.to_be_bytes();
    match Message::from_vec(bytes) {
        _ if !is_ours => None,
        Err(error) => Some(Err(error.to_string())),
        // Servers may leave the question out of an answer that is an error.
        Ok(answer) if answer.queries.is_empty() || answer.queries == question.queries => Some(Ok(answer)),
        Ok(_) => None,
    }
}

fn unreadable(server: &Endpoint, cause: &str) -> Error {
    let text = text!(
        "the answer of {address} cannot be read: {cause}",
        address = server.to_string(),
        cause = cause
    );
    Error::new(ErrorKind::Malformed, text)
}

/// The first name server of this machine.
fn system_server() -> Result<Endpoint> {
    let refused = |cause: String| {
        Error::new(
            ErrorKind::Io,
            text!("this machine has no name server: {cause}", cause = cause),
        )
    };
    let (config, _) =
        hickory_resolver::system_conf::read_system_conf().map_err(|error| refused(error.to_string()))?;
    let server = config
        .name_servers
        .first()
        .ok_or_else(|| refused("none in resolv.conf".to_owned()))?;
    Ok(Endpoint::new(&server.ip.to_string(), 53))
}

/// The word for a response code, as in `dig` and Gatus.
fn mnemonic(code: ResponseCode) -> String {
    let word = match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        ResponseCode::BADVERS => "BADVERS",
        other => return format!("RCODE{}", u16::from(other)),
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_are_named_with_what_is_expected() {
        let refused = |config: DnsConfig| config.build(&Resources::default()).unwrap_err().to_string();
        let messages = [
            refused(DnsConfig::default()),
            refused(DnsConfig::new("a..b")),
            refused(DnsConfig {
                record_type: "ADDRESS".to_owned(),
                ..DnsConfig::new("example.org")
            }),
            refused(DnsConfig {
                server: Some("dns.example".to_owned()),
                ..DnsConfig::new("example.org")
            }),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r#"
        name: expected a domain name, found ""
        name: expected a domain name, found "a..b"
        record_type: expected a type such as A, AAAA, MX or TXT, found "ADDRESS"
        server: expected an address such as "9.9.9.9" or "[::1]:53", found "dns.example"
        "#);
    }

    #[test]
    fn only_the_answer_to_the_question_is_read() {
        let mut question = Message::query();
        question.add_query(Query::query(
            Name::from_utf8("example.org.").unwrap(),
            RecordType::A,
        ));
        let mut other = question.clone();
        other.queries = vec![Query::query(
            Name::from_utf8("example.com.").unwrap(),
            RecordType::A,
        )];
        let bytes = |message: &Message| message.to_vec().unwrap();
        assert!(matches!(read(&bytes(&question), &question), Some(Ok(_))));
        assert!(read(&bytes(&other), &question).is_none());
        other.metadata.id = question.metadata.id.wrapping_add(1);
        assert!(read(&bytes(&other), &question).is_none());
        let cut = &bytes(&question)[..15];
        assert!(matches!(read(cut, &question), Some(Err(_))));
        assert!(read(&[], &question).is_none());
    }
}
