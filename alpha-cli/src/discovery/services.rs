//! What listens on the usual ports of loopback.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a port of loopback turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Answers the PostgreSQL handshake.
    Postgres,
    /// Answers the Redis protocol.
    Redis,
    /// Answers HTTP.
    Http,
    /// Accepts connections and says nothing that is understood.
    Other,
}

/// Ports that the services of the maintenance plan, and their like, usually listen on.
pub(super) const USUAL_PORTS: [u16; 14] = [
    80, 443, 3000, 5000, 5432, 6379, 8000, 8080, 8443, 9090, 9615, 9933, 9944, 15432,
];

/// PostgreSQL's `SSLRequest`: length 8, code 80877103 (protocol documentation, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Asks what listens on `port`; none where nothing does.
pub(super) async fn identify(port: u16, patience: Duration) -> Option<Service> {
    let connect = || timeout(patience, TcpStream::connect(("127.0.0.1", port)));
    connect().await.ok()?.ok()?;
    for (question, recognise) in QUESTIONS {
        if let Some(Ok(stream)) = connect().await.ok()
            && let Some(answer) = ask(stream, question, patience).await
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
        let is_redis = [b"+PONG".as_slice(), b"-NOAUTH", b"-DENIED", b"-LOADING"];
        is_redis
            .iter()
            .any(|start| answer.starts_with(start))
            .then_some(Service::Redis)
    }),
];

fn recognise_http(answer: &[u8]) -> Option<Service> {
    answer.starts_with(b"HTTP/").then_some(Service::Http)
}

async fn ask(mut stream: TcpStream, question: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let mut answer = vec![0; 64];
    let exchange = async {
        stream.write_all(question).await.ok()?;
        stream.read(&mut answer).await.ok().filter(|length| *length > 0)
    };
    let length = timeout(patience, exchange).await.ok()??;
    answer.truncate(length);
    Some(answer)
}
