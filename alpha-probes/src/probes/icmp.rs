//! The probe `icmp`: sends echo requests to a host, as `ping` does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::check::ProbeConfig;
use crate::config::Period;
use crate::dial::{Endpoint, Phase, Progress, before, finding, invalid, look_up, not_connected};
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "icmp",
    summary: "Sends echo requests to a host, as ping does.",
    metrics: &[
        Metric::gauge("connected", Unit::Boolean, "Whether any reply came."),
        Metric::gauge("sent", Unit::Count, "How many requests were sent."),
        Metric::gauge("received", Unit::Count, "How many of them were answered."),
        Metric::gauge("loss", Unit::Ratio, "The share that was not answered."),
        Metric::gauge(
            "response_time",
            Unit::Seconds,
            "The average round trip; the same as rtt_avg.",
        ),
        Metric::gauge("rtt_min", Unit::Seconds, "The shortest round trip."),
        Metric::gauge("rtt_avg", Unit::Seconds, "The average round trip."),
        Metric::gauge("rtt_max", Unit::Seconds, "The longest round trip."),
    ],
    is_open: false,
    // A single lost packet means nothing; two runs of three that lose some are a link in trouble.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "[loss] > 50%",
            sustained: "2 of 3",
            says: "{address} loses {loss} of the packets",
            remedy: "Find the hop that loses them (mtr), and look for a full or faulty link there.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "[loss] > 10%",
            sustained: "2 of 3",
            says: "{address} loses {loss} of the packets",
            remedy: "Find the hop that loses them (mtr), and look for a full or faulty link there.",
        },
    ],
};

/// How long the last missing replies are waited for.
const REPLY_WAIT: Duration = Duration::from_secs(2);

/// Request and reply of RFC 792, and of RFC 4443 section 4.
const ECHO: Echo = Echo { request: 8, reply: 0 };
const ECHO_V6: Echo = Echo {
    request: 128,
    reply: 129,
};

struct Echo {
    request: u8,
    reply: u8,
}

/// The header of an echo, and the token that tells our own from others'.
const HEADER: usize = 8;
const TOKEN: usize = 8;

/// The table `icmp` of a check.
///
/// Needs the right to ping: a group in `net.ipv4.ping_group_range` or the capability `CAP_NET_RAW`. Without it the check
/// is unknown and says so.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct IcmpConfig {
    /// The host, a name or an address.
    pub host: String,
    /// How many requests are sent, 1 to 20. Default: 5.
    pub count: u16,
    /// How far apart they are sent, 10ms to 1s. Default: `100ms`.
    pub spacing: Period,
    /// How many bytes a request carries, 8 to 1472. Default: 56, as `ping`.
    pub size: usize,
}

impl Default for IcmpConfig {
    fn default() -> Self {
        Self {
            host: String::new(),
            count: 5,
            spacing: Period(Duration::from_millis(100)),
            size: 56,
        }
    }
}

impl IcmpConfig {
    /// Echo requests to `host` with all else at its default.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            ..Self::default()
        }
    }
}

impl ProbeConfig for IcmpConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        let endpoint = Endpoint::parse(&self.host, Some(1)).filter(|endpoint| endpoint.port == 1);
        let endpoint = endpoint.ok_or_else(|| {
            invalid(text!(
                "host: expected a name or an address, found \"{found}\"",
                found = &self.host
            ))
        })?;
        if !(1..=20).contains(&self.count) {
            return Err(invalid(text!(
                "count: expected 1 to 20, found {found}",
                found = self.count
            )));
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(1)).contains(&self.spacing.0) {
            return Err(invalid(text!(
                "spacing: expected 10ms to 1s, found {found}",
                found = self.spacing.to_string()
            )));
        }
        if !(TOKEN..=1472).contains(&self.size) {
            return Err(invalid(text!(
                "size: expected 8 to 1472 bytes, found {found}",
                found = self.size
            )));
        }
        Ok(Arc::new(IcmpProbe {
            endpoint,
            count: self.count,
            spacing: self.spacing.0,
            size: self.size,
        }))
    }
}

#[derive(Debug)]
struct IcmpProbe {
    endpoint: Endpoint,
    count: u16,
    spacing: Duration,
    size: usize,
}

/// What came of the requests so far; lives outside of the future that fills it.
#[derive(Debug, Default)]
struct Tally {
    sent: Vec<Instant>,
    round_trips: Vec<Option<Duration>>,
}

#[async_trait]
impl Probe for IcmpProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.endpoint.host
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let mut progress = Progress::new(&self.endpoint);
        let ending = before(context.deadline);
        let address = match timeout_at(ending, self.address(&mut progress)).await {
            Ok(Ok(address)) => address,
            Ok(Err(error)) => return finding(error),
            Err(_) => return finding(progress.timed_out()),
        };
        let mut tally = Tally::default();
        if let Ok(Err(error)) = timeout_at(ending, self.ping(address, &mut tally)).await {
            return finding(error);
        }
        let shown = match self.endpoint.ip() {
            Some(ip) => ip.to_string(),
            None => format!("{} ({address})", self.endpoint.host),
        };
        Ok(tell(&tally, &shown, progress.started.elapsed())
            .with_fact("address", shown)
            .with_fact("ip", address.to_string()))
    }
}

impl IcmpProbe {
    async fn address(&self, progress: &mut Progress) -> Result<IpAddr> {
        if let Some(ip) = self.endpoint.ip() {
            return Ok(ip);
        }
        let addresses = look_up(&self.endpoint, progress).await?;
        progress.phase = Phase::Connect;
        Ok(addresses[0].ip())
    }

    /// Sends the requests, `spacing` apart, and gathers the replies as they come.
    async fn ping(&self, address: IpAddr, tally: &mut Tally) -> Result<()> {
        let failed = |error: io::Error| not_connected(address.to_string(), &error);
        let socket = open(address)?;
        socket
            .connect(SocketAddr::new(address, 0))
            .await
            .map_err(failed)?;
        let token = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), address).to_be_bytes();
        let echo = if address.is_ipv4() { ECHO } else { ECHO_V6 };
        let mut buffer = vec![0; 64 * 1024];
        let mut next_send = Instant::now();
        loop {
            let sent = tally.sent.len();
            if tally.round_trips.iter().flatten().count() == usize::from(self.count) {
                return Ok(());
            }
            let is_sending = sent < usize::from(self.count);
            let wake = if is_sending {
                next_send
            } else {
                next_send + REPLY_WAIT
            };
            tokio::select! {
                biased;
                received = socket.recv(&mut buffer) => {
                    let size = received.map_err(failed)?;
                    if let Some(sequence) = reply(&buffer[..size], &echo, &token) {
                        tally.answered(sequence);
                    }
                }
                () = sleep_until(wake) => {
                    if !is_sending {
                        return Ok(());
                    }
                    let sequence = sent as u16;
                    tally.sent.push(Instant::now());
                    tally.round_trips.push(None);
                    socket.send(&request(&echo, sequence, &token, self.size)).await.map_err(failed)?;
                    next_send += self.spacing;
                }
            }
        }
    }
}

impl Tally {
    fn answered(&mut self, sequence: u16) {
        let index = usize::from(sequence);
        if let (Some(sent), Some(round_trip)) = (self.sent.get(index), self.round_trips.get_mut(index)) {
            // A duplicate comes later than the reply itself.
            round_trip.get_or_insert(sent.elapsed());
        }
    }
}

fn tell(tally: &Tally, address: &str, waited: Duration) -> Observation {
    let round_trips: Vec<_> = tally
        .round_trips
        .iter()
        .flatten()
        .map(Duration::as_secs_f64)
        .collect();
    let (sent, received) = (tally.sent.len(), round_trips.len());
    let observation = if received == 0 {
        Observation::failed(text!(
            "no reply from {address} to {count} pings within {time}",
            address = address,
            count = sent,
            time = Unit::Seconds.format(waited.as_secs_f64())
        ))
        .with_bool("connected", false)
    } else {
        let average = round_trips.iter().sum::<f64>() / received as f64;
        Observation::new()
            .with_bool("connected", true)
            .with("response_time", average, Unit::Seconds)
            .with(
                "rtt_min",
                round_trips.iter().copied().fold(f64::INFINITY, f64::min),
                Unit::Seconds,
            )
            .with("rtt_avg", average, Unit::Seconds)
            .with(
                "rtt_max",
                round_trips.iter().copied().fold(0.0, f64::max),
                Unit::Seconds,
            )
    };
    observation
        .with("sent", sent as f64, Unit::Count)
        .with("received", received as f64, Unit::Count)
        .with("loss", 1.0 - received as f64 / sent.max(1) as f64, Unit::Ratio)
}

/// A socket for echoes: the kind that needs no privilege, or a raw one where only that is permitted.
fn open(address: IpAddr) -> Result<UdpSocket> {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))
        .and_then(|socket| {
            socket.set_nonblocking(true)?;
            // To tokio it is a socket that sends and receives packets, whatever is in them.
            UdpSocket::from_std(socket.into())
        });
    socket.map_err(|error| {
        let text = if error.kind() == io::ErrorKind::PermissionDenied {
            text!(
                "this process may not ping: put its group into net.ipv4.ping_group_range (sysctl -w net.ipv4.ping_group_range=\"0 2147483647\") or give it CAP_NET_RAW"
            )
        } else {
            text!("a socket for ping cannot be opened: {cause}", cause = error.to_string())
        };
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::Io,
        };
        Error::new(kind, text)
    })
}

/// An echo request; the kernel fills the identifier of an unprivileged socket and the checksum of ICMPv6.
fn request(echo: &Echo, sequence: u16, token: &[u8; TOKEN], size: usize) -> Vec<u8> {
    let mut packet = vec![0; HEADER + size.max(TOKEN)];
    packet[0] = echo.request;
    packet[4..6].copy_from_slice(&token[..2]);
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet[HEADER..HEADER + TOKEN].copy_from_slice(token);
    let checksum = checksum(&packet);
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The sequence number of the reply in `packet`, where it is one to our own requests.
fn reply(packet: &[u8], echo: &Echo, token: &[u8; TOKEN]) -> Option<u16> {
    // A raw socket of IPv4 hands out the IP header too, whose length stands in its first byte.
    let first = *packet.first()?;
    let packet = match first >> 4 {
        4 if echo.reply == ECHO.reply => packet.get(usize::from(first & 0x0f) * 4..)?,
        _ => packet,
    };
    let is_ours = packet.get(HEADER..HEADER + TOKEN)? == token && packet[0] == echo.reply && packet[1] == 0;
    is_ours.then(|| u16::from_be_bytes([packet[6], packet[7]]))
}

/// The internet checksum, RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let mut sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [u8; TOKEN] = *b"ourtoken";

    #[test]
    fn a_reply_is_found_with_and_without_an_ip_header() {
        let mut packet = request(&ECHO, 7, &OURS, 56);
        assert_eq!(packet.len(), 64);
        assert_eq!(
            checksum(&packet),
            0,
            "a packet with its checksum sums up to nothing"
        );
        assert_eq!(reply(&packet, &ECHO, &OURS), None, "a request is no reply");
        packet[0] = ECHO.reply;
        assert_eq!(reply(&packet, &ECHO, &OURS), Some(7));
        assert_eq!(reply(&packet, &ECHO, b"stranger"), None);
        let mut with_header = vec![0x45; 20];
        with_header.extend(&packet);
        assert_eq!(reply(&with_header, &ECHO, &OURS), Some(7));
        for length in 0..20 {
            assert_eq!(reply(&with_header[..length], &ECHO, &OURS), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn loss_and_round_trips_are_told() {
        let mut tally = Tally::default();
        for _ in 0..4 {
            tally.sent.push(Instant::now());
            tally.round_trips.push(None);
        }
        tokio::time::advance(Duration::from_millis(10)).await;
        tally.answered(0);
        tokio::time::advance(Duration::from_millis(20)).await;
        for sequence in [0, 2, 99] {
            tally.answered(sequence);
        }
        let seen = tell(&tally, "10.0.0.7", Duration::from_secs(2));
        let value = |name| seen.value(name).unwrap();
        assert_eq!((value("sent"), value("received"), value("loss")), (4.0, 2.0, 0.5));
        assert_eq!(
            (value("rtt_min"), value("rtt_avg"), value("rtt_max")),
            (0.01, 0.02, 0.03)
        );

        tally.round_trips.fill(None);
        let seen = tell(&tally, "10.0.0.7", Duration::from_secs(2));
        let why = seen.failure.as_ref().unwrap().to_string();
        assert_eq!(why, "no reply from 10.0.0.7 to 4 pings within 2 s");
        assert_eq!(seen.value("loss"), Some(1.0));
    }

    #[test]
    fn wrong_keys_are_named_with_what_is_expected() {
        let refused = |config: IcmpConfig| config.build(&Resources::default()).unwrap_err().to_string();
        let messages = [
            refused(IcmpConfig::default()),
            refused(IcmpConfig::new("localhost:80")),
            refused(IcmpConfig {
                count: 0,
                ..IcmpConfig::new("localhost")
            }),
            refused(IcmpConfig {
                spacing: Period::from_secs(5),
                ..IcmpConfig::new("localhost")
            }),
            refused(IcmpConfig {
                size: 65_000,
                ..IcmpConfig::new("localhost")
            }),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r#"
        host: expected a name or an address, found ""
        host: expected a name or an address, found "localhost:80"
        count: expected 1 to 20, found 0
        spacing: expected 10ms to 1s, found 5s
        size: expected 8 to 1472 bytes, found 65000
        "#);
    }
}
