//! What listens on the usual ports of loopback.

use std::collections::BTreeSet;

use alpha_probes::probes::{HttpConfig, RedisConfig, TcpConfig};
use alpha_probes::{CheckConfig, text};
use futures_util::future::join_all;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Found, PATIENCE, check, nodes};

/// What a port of loopback turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Answers the PostgreSQL handshake.
    Postgres,
    /// Answers the Redis protocol.
    Redis {
        /// Whether it answers nothing else before it is given one.
        needs_password: bool,
    },
    /// Answers HTTP.
    Http,
    /// Accepts connections and says nothing that is understood.
    Other,
}

/// Ports that the services of the maintenance plan, and their like, usually listen on.
pub(super) const USUAL_PORTS: [u16; 14] = [
    80, 443, 3000, 5000, 5432, 6379, 8000, 8080, 8443, 9090, 9615, 9933, 9944, 15432,
];

/// What listens on the usual ports and on `further` ones, each with its checks.
pub(super) async fn discover(further: &[u16]) -> Vec<Found> {
    let ports: BTreeSet<u16> = USUAL_PORTS.iter().chain(further).copied().collect();
    let asked = ports.into_iter().map(|port| async move {
        match identify(port).await? {
            Service::Http => Some(http(port).await),
            Service::Redis { needs_password } => Some(redis(port, needs_password)),
            Service::Postgres => Some(postgres(port)),
            Service::Other => Some(Found::new(
                text!("something on port {port}", port = port),
                vec![connects("tcp", port)],
            )),
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// A node, where JSON-RPC of one answers; else a web server with the first page that says that it is well.
async fn http(port: u16) -> Found {
    if let Some(node) = nodes::discover(port).await {
        return node;
    }
    let mut found = check(format!("http/{port}"));
    let mut page = HttpConfig::default();
    match health_page(port).await {
        Some((path, answer)) => {
            page.url = format!("http://127.0.0.1:{port}{path}");
            if says_healthy(&answer) {
                found.conditions = vec![
                    "[STATUS] == 200".to_owned(),
                    format!("[BODY].status == any({})", HEALTHY.join(", ")),
                ];
            }
        }
        None => {
            page.url = format!("http://127.0.0.1:{port}/");
            found.conditions = vec!["[STATUS] < 500".to_owned()];
        }
    }
    found.http = Some(page);
    Found::new(text!("a web server on port {port}", port = port), vec![found])
}

/// Where services usually say how they are, the plan's own first.
const HEALTH_PAGES: [&str; 4] = ["/api/health", "/health", "/healthz", "/-/healthy"];

/// What such pages say of a service that is well.
const HEALTHY: [&str; 5] = ["healthy", "ok", "up", "pass", "UP"];

async fn health_page(port: u16) -> Option<(&'static str, Vec<u8>)> {
    for path in HEALTH_PAGES {
        let stream = timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port)))
            .await
            .ok()?
            .ok()?;
        let question = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = ask(stream, question.as_bytes(), Until::End)
            .await
            .unwrap_or_default();
        let status = answer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if status == b"200" {
            return Some((path, answer));
        }
    }
    None
}

fn says_healthy(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status = serde_json::from_str::<serde_json::Value>(body)
        .ok()
        .map(|body| body["status"].clone());
    status.is_some_and(|status| status.is_string())
}

fn redis(port: u16, needs_password: bool) -> Found {
    if needs_password {
        let what = text!(
            "Redis on port {port}, which wants a password: replace tcp by a redis table with it to look inside",
            port = port
        );
        return Found::new(what, vec![connects("redis", port)]);
    }
    let mut found = check(format!("redis/{port}"));
    let mut config = RedisConfig::default();
    config.port = Some(port);
    found.redis = Some(config);
    Found::new(text!("Redis on port {port}", port = port), vec![found])
}

fn postgres(port: u16) -> Found {
    let what = text!(
        "PostgreSQL on port {port}: replace tcp by a postgres table with user and password to look inside",
        port = port
    );
    Found::new(what, vec![connects("postgres", port)])
}

/// A check that something accepts connections.
fn connects(kind: &str, port: u16) -> CheckConfig {
    let mut found = check(format!("{kind}/{port}"));
    let mut config = TcpConfig::default();
    config.address = format!("127.0.0.1:{port}");
    found.tcp = Some(config);
    found
}

/// PostgreSQL's `SSLRequest`: length 8, code 80877103 (protocol documentation, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Asks what listens on `port`; none where nothing does.
pub(super) async fn identify(port: u16) -> Option<Service> {
    let connect = || timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port)));
    connect().await.ok()?.ok()?;
    for (question, recognise) in QUESTIONS {
        if let Some(Ok(stream)) = connect().await.ok()
            && let Some(answer) = ask(stream, question, Until::FirstBytes).await
            && let Some(service) = recognise(&answer)
        {
            return Some(service);
        }
    }
    Some(Service::Other)
}

type Recognise = fn(&[u8]) -> Option<Service>;

/// Each protocol's own greeting. PostgreSQL first, since it logs a complaint about any other; HTTP servers answer
/// binary bytes with status 400 at once.
const QUESTIONS: [(&[u8], Recognise); 3] = [
    (&SSL_REQUEST, |answer| match answer {
        b"S" | b"N" => Some(Service::Postgres),
        answer => recognise_http(answer),
    }),
    (b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", recognise_http),
    (b"PING\r\n", |answer| {
        let starts_with = |start: &[u8]| answer.starts_with(start);
        let is_open = starts_with(b"+PONG") || starts_with(b"-LOADING");
        let is_closed = starts_with(b"-NOAUTH") || starts_with(b"-DENIED");
        (is_open || is_closed).then_some(Service::Redis {
            needs_password: is_closed,
        })
    }),
];

fn recognise_http(answer: &[u8]) -> Option<Service> {
    answer.starts_with(b"HTTP/").then_some(Service::Http)
}

/// How much of an answer is awaited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// What comes first says enough.
    FirstBytes,
    /// The other side closes, or [`MOST`] bytes came.
    End,
}

/// The most bytes of an answer that are read.
const MOST: usize = 4096;

/// What comes back within [`PATIENCE`]; none where nothing does.
async fn ask(mut stream: TcpStream, question: &[u8], until: Until) -> Option<Vec<u8>> {
    let mut answer = Vec::with_capacity(MOST);
    let exchange = async {
        stream.write_all(question).await?;
        while answer.len() < MOST && stream.read_buf(&mut answer).await? > 0 && until == Until::End {}
        std::io::Result::Ok(())
    };
    // What came before the other side fell silent still tells what it is.
    let _ = timeout(PATIENCE, exchange).await;
    (!answer.is_empty()).then_some(answer)
}
