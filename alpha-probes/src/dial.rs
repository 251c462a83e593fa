//! Reaching a host: its name is looked up, its addresses are tried, each phase is timed, and each way to fail is told in
//! one sentence.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::text;
use crate::text::Text;

/// How long one address may hang before the next one is tried beside it, as RFC 8305 section 5 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    /// A name or an address; an IPv6 address without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    ip: Option<IpAddr>,
}

impl Endpoint {
    /// The port of a name or an address.
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self {
            host: host.to_owned(),
            port,
            ip: host.parse().ok(),
        }
    }

    /// Reads `host:port`, `1.2.3.4:port` or `[::1]:port`; the port may only be left out where there is a default.
    pub(crate) fn parse(text: &str, default_port: Option<u16>) -> Option<Self> {
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Some(Self::new(&ip.to_string(), default_port?));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port.parse().ok().filter(|port| *port > 0)?),
            _ => (text, default_port?),
        };
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        let is_host = match url::Host::parse(host) {
            Ok(url::Host::Ipv6(_)) => is_bracketed,
            Ok(_) => !host.is_empty(),
            Err(_) => false,
        };
        is_host.then(|| Self::new(host, port))
    }

    /// The address, where the host is none to be looked up.
    #[cfg(any(feature = "dns", feature = "icmp"))]
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The endpoint with the address behind its name, where there is a name.
    fn at(&self, peer: Option<SocketAddr>) -> String {
        match peer {
            Some(peer) if self.ip.is_none() => format!("{self} ({})", peer.ip()),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(IpAddr::V6(ip)) => write!(formatter, "[{ip}]:{}", self.port),
            _ => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

/// What is being waited for; decides what is said when it does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The addresses of a name.
    Lookup,
    /// A TCP connection.
    Connect,
    /// The reply to a packet.
    #[cfg_attr(
        not(feature = "dns"),
        expect(dead_code, reason = "only name servers are asked by packets")
    )]
    Reply,
    /// A sentence of the protocol that comes first.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS has a handshake"))]
    Greeting,
    /// A TLS handshake.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS has a handshake"))]
    Handshake,
    /// The first byte of an answer.
    Answer,
    /// The rest of an answer, of which so many bytes came.
    #[cfg_attr(
        not(any(feature = "dns", feature = "http")),
        expect(dead_code, reason = "only documents come in parts")
    )]
    Rest(usize),
}

/// How far an exchange has come, and how long each phase took.
///
/// It lives outside of the future that it describes, so that it can still be told when that future is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    endpoint: Endpoint,
    /// When it began.
    pub(crate) started: Instant,
    /// What is being waited for.
    pub(crate) phase: Phase,
    /// The address that answered, or the last that was tried.
    pub(crate) peer: Option<SocketAddr>,
    /// How long looking up the name took; zero where there was none to look up.
    pub(crate) dns_time: Duration,
    /// How long the TCP handshake took; absent while there is no connection of our own.
    pub(crate) connect_time: Option<Duration>,
}

impl Progress {
    /// The beginning of an exchange with `endpoint`.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            started: Instant::now(),
            phase: Phase::Lookup,
            peer: None,
            dns_time: Duration::ZERO,
            connect_time: None,
        }
    }

    /// It goes on with another endpoint.
    #[cfg(feature = "http")]
    pub(crate) fn redirected(&mut self, endpoint: &Endpoint) {
        self.endpoint.clone_from(endpoint);
        self.phase = Phase::Connect;
        self.peer = None;
    }

    /// Whom it is about, as a person reads it: `db.example:5432 (10.0.0.7)`.
    pub(crate) fn address(&self) -> String {
        self.endpoint.at(self.peer)
    }

    /// That the time is up.
    pub(crate) fn timed_out(&self) -> Error {
        let time = Unit::Seconds.format(self.started.elapsed().as_secs_f64());
        let address = self.address();
        let connected = self
            .connect_time
            .map(|time| Unit::Seconds.format(time.as_secs_f64()));
        let text = match (self.phase, connected) {
            (Phase::Lookup, _) => {
                let host = &self.endpoint.host;
                text!("no address for {host} within {time}", host = host, time = time)
            }
            (Phase::Connect, _) => text!(
                "no connection to {address} within {time}",
                address = address,
                time = time
            ),
            (Phase::Reply, _) => text!(
                "no answer from {address} within {time}",
                address = address,
                time = time
            ),
            (Phase::Greeting, connected) => text!(
                "no greeting from {address} within {time} (connected in {connected})",
                address = address,
                time = time,
                connected = connected.unwrap_or_default()
            ),
            (Phase::Handshake, connected) => text!(
                "no TLS handshake with {address} within {time} (connected in {connected})",
                address = address,
                time = time,
                connected = connected.unwrap_or_default()
            ),
            (Phase::Answer, Some(connected)) => text!(
                "no first byte from {address} within {time} (connected in {connected})",
                address = address,
                time = time,
                connected = connected
            ),
            (Phase::Answer, None) => text!(
                "no first byte from {address} within {time} (on a kept connection)",
                address = address,
                time = time
            ),
            (Phase::Rest(size), _) => text!(
                "the answer of {address} was not complete within {time} ({size} came)",
                address = address,
                time = time,
                size = Unit::Bytes.format(size as f64)
            ),
        };
        Error::new(ErrorKind::Timeout, text)
    }
}

/// When a probe stops waiting by itself: a little before its caller does, so that it can say what it waited for.
///
/// A twentieth of the remaining time, at most 25 ms.
pub(crate) fn before(deadline: Instant) -> Instant {
    let remaining = deadline.saturating_duration_since(Instant::now());
    deadline - (remaining / 20).min(Duration::from_millis(25))
}

/// Turns a failure to reach the target into an observation, where reaching it is the question.
///
/// # Errors
/// What is the fault of this machine stays an error: the target may be well.
pub(crate) fn finding(error: Error) -> Result<Observation> {
    match error.kind() {
        ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Malformed => {
            Ok(Observation::failed(error.to_text()).with_bool("connected", false))
        }
        _ => Err(error),
    }
}

/// Looks the host up and connects.
///
/// # Errors
/// `Unreachable` where the target is the cause, `Io` where this machine is.
pub(crate) async fn dial(endpoint: &Endpoint, progress: &mut Progress) -> Result<TcpStream> {
    let addresses = match endpoint.ip {
        Some(ip) => vec![SocketAddr::new(ip, endpoint.port)],
        None => look_up(endpoint, progress).await?,
    };
    let started = Instant::now();
    progress.phase = Phase::Connect;
    progress.peer = addresses.first().copied();
    let stream = match addresses.as_slice() {
        [address] => TcpStream::connect(address)
            .await
            .map_err(|error| (*address, error)),
        _ => Box::pin(connect_any(addresses)).await.inspect(|stream| {
            progress.peer = stream.peer_addr().ok();
        }),
    };
    match stream {
        Ok(stream) => {
            progress.connect_time = Some(progress.connect_time.unwrap_or_default() + started.elapsed());
            // A probe sends one small message and waits; holding it back to fill a packet would only be measured.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Err((address, error)) => {
            progress.peer = Some(address);
            Err(not_connected(progress.address(), &error))
        }
    }
}

/// The addresses of a host, in the order in which the system prefers them; at least one.
pub(crate) async fn look_up(endpoint: &Endpoint, progress: &mut Progress) -> Result<Vec<SocketAddr>> {
    progress.phase = Phase::Lookup;
    let started = Instant::now();
    let found = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    progress.dns_time += started.elapsed();
    let host = &endpoint.host;
    let unknown = |text| Error::new(ErrorKind::Unreachable, text);
    let addresses: Vec<_> = found
        .map_err(|error| {
            let cause = error.to_string();
            let cause = cause
                .trim_start_matches("failed to lookup address information: ")
                .to_owned();
            unknown(text!(
                "could not look up {host}: {cause}",
                host = host,
                cause = cause
            ))
        })?
        .collect();
    if addresses.is_empty() {
        return Err(unknown(text!("{host} has no address", host = host)));
    }
    Ok(addresses)
}

/// Tries the addresses in their order, the next one as soon as one fails or hangs; the first connection wins.
async fn connect_any(addresses: Vec<SocketAddr>) -> Result<TcpStream, (SocketAddr, io::Error)> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(async move { (address, TcpStream::connect(address).await) });
        }
        tokio::select! {
            biased;
            Some((address, outcome)) = attempts.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some((address, error)),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
            else => break,
        }
    }
    Err(failure.unwrap_or_else(|| {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        (nowhere, io::Error::other("no address to try"))
    }))
}

/// Why there is no connection, and whose fault that is.
pub(crate) fn not_connected(address: String, error: &io::Error) -> Error {
    let (kind, text) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            ErrorKind::Unreachable,
            text!("connection refused by {address}", address = address),
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (
            ErrorKind::Unreachable,
            text!("no route to {address}", address = address),
        ),
        _ => (
            blame(error),
            text!(
                "could not connect to {address}: {cause}",
                address = address,
                cause = error.to_string()
            ),
        ),
    };
    Error::new(kind, text)
}

/// Whether the target or this machine is the cause: out of files, ports, buffers, or not permitted.
pub(crate) fn blame(error: &io::Error) -> ErrorKind {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    let is_starved = matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS));
    match error.kind() {
        _ if is_starved => ErrorKind::Io,
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied => ErrorKind::Io,
        _ => ErrorKind::Unreachable,
    }
}

/// That the other side ended the conversation before its turn was over.
pub(crate) fn closed_early(address: String) -> Error {
    let text = text!(
        "{address} closed the connection before it answered",
        address = address
    );
    Error::new(ErrorKind::Unreachable, text)
}

/// That a key of the configuration holds something else than expected.
pub(crate) fn invalid(text: Text) -> Error {
    Error::new(ErrorKind::InvalidConfig, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_and_print_as_people_write_them() {
        for (text, expected) in [
            ("localhost:80", Some("localhost:80")),
            ("db.example", Some("db.example:5432")),
            ("127.0.0.1:9944", Some("127.0.0.1:9944")),
            ("[::1]:80", Some("[::1]:80")),
            ("::1", Some("[::1]:5432")),
            ("[::1]", Some("[::1]:5432")),
            ("", None),
            (":80", None),
            ("host:0", None),
            ("host:65536", None),
            ("host:http", None),
            ("two words:80", None),
        ] {
            let endpoint = Endpoint::parse(text, Some(5432)).map(|endpoint| endpoint.to_string());
            assert_eq!(endpoint.as_deref(), expected, "{text}");
        }
        assert_eq!(Endpoint::parse("db.example", None), None);
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_the_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let endpoint = Endpoint::new("127.0.0.1", address.port());
        let error = dial(&endpoint, &mut Progress::new(&endpoint)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("connection refused by {address}"));
        assert_eq!(error.kind(), ErrorKind::Unreachable);
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let refused = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
        let bad = refused.local_addr().unwrap();
        drop(refused);
        let stream = connect_any(vec![bad, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let (address, _) = connect_any(vec![bad, bad]).await.unwrap_err();
        assert_eq!(address, bad);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_tells_what_was_waited_for() {
        let mut progress = Progress::new(&Endpoint::new("db.example", 80));
        tokio::time::advance(Duration::from_secs(5)).await;
        let said = |progress: &Progress| progress.timed_out().to_string();
        assert_eq!(said(&progress), "no address for db.example within 5 s");
        progress.phase = Phase::Connect;
        progress.peer = Some(([10, 0, 0, 7], 80).into());
        assert_eq!(
            said(&progress),
            "no connection to db.example:80 (10.0.0.7) within 5 s"
        );
        progress.phase = Phase::Answer;
        assert_eq!(
            said(&progress),
            "no first byte from db.example:80 (10.0.0.7) within 5 s (on a kept connection)"
        );
        progress.connect_time = Some(Duration::from_millis(1));
        assert_eq!(
            said(&progress),
            "no first byte from db.example:80 (10.0.0.7) within 5 s (connected in 1 ms)"
        );
        progress.phase = Phase::Rest(1500);
        assert_eq!(
            said(&progress),
            "the answer of db.example:80 (10.0.0.7) was not complete within 5 s (1.5 kB came)"
        );
    }
}
