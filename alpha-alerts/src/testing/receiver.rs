//! A receiver on this machine that takes down what it is told and answers as it was scripted.
//!
//! It speaks HTTP/1.1 over its own socket rather than through a server library, because resets, silence and half answers are what
//! it is for.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

/// How the receiver answers one request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Hang,
    Reset,
    HalfBody,
    Echo,
}

impl Answer {
    /// An answer with this status and the body `ok`.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: b"ok".to_vec(),
            delay: Duration::ZERO,
            fault: None,
        }
    }

    /// 200 with JSON.
    pub fn json(body: &serde_json::Value) -> Self {
        Self::status(200)
            .with_header("content-type", "application/json")
            .with_body(body.to_string())
    }

    /// No answer, while the connection stays open.
    pub fn hang() -> Self {
        Self {
            fault: Some(Fault::Hang),
            ..Self::status(200)
        }
    }

    /// No answer, and the connection is reset once the request has been read.
    pub fn reset() -> Self {
        Self {
            fault: Some(Fault::Reset),
            ..Self::status(200)
        }
    }

    /// The same, but the connection is reset in the middle of the body.
    #[must_use]
    pub fn cut_in_half(mut self) -> Self {
        self.fault = Some(Fault::HalfBody);
        self
    }

    /// The same with the whole request as body, secrets included, as careless services do it.
    #[must_use]
    pub fn echoing(mut self) -> Self {
        self.fault = Some(Fault::Echo);
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same after `delay`.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// When it was there as a whole.
    pub at: Instant,
    /// The method.
    pub method: String,
    /// The path with the query.
    pub target: String,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The body as text.
    ///
    /// # Panics
    /// Where it is no UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The whole request as text.
    pub fn wire(&self) -> String {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"));
        let body = String::from_utf8_lossy(&self.body);
        format!(
            "{} {}\n{}\n{body}",
            self.method,
            self.target,
            headers.collect::<String>()
        )
    }
}

#[derive(Debug)]
struct Shared {
    script: Mutex<VecDeque<Answer>>,
    otherwise: Mutex<Answer>,
    received: Mutex<Vec<Received>>,
    arrived: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A receiver on a free port of loopback. It ends, and its connections with it, when it is dropped.
#[derive(Debug)]
pub struct ScriptedReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl ScriptedReceiver {
    /// Starts it on a free port; until it is scripted it answers 200 with `ok`.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .expect("loopback has a free port")
    }

    /// Starts it at `address`, for a receiver that comes back after it was away.
    ///
    /// # Errors
    /// Where the address is taken.
    pub async fn start_at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            otherwise: Mutex::new(Answer::status(200)),
            received: Mutex::default(),
            arrived: Notify::new(),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address with `path`, which begins with a slash.
    ///
    /// # Panics
    /// Where `path` makes no address.
    pub fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address)
            .parse()
            .expect("an address with a path is a URL")
    }

    /// The next requests are answered like this, one after the other; behind what was scripted before.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        locked(&self.shared.script).extend(answers);
    }

    /// How it answers when the script is over.
    pub fn otherwise(&self, answer: Answer) {
        *locked(&self.shared.otherwise) = answer;
    }

    /// What came so far, the oldest first.
    pub fn received(&self) -> Vec<Received> {
        locked(&self.shared.received).clone()
    }

    /// What came so far; the next call begins anew.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *locked(&self.shared.received))
    }

    /// Waits until `count` requests have come, at most for `patience`, and returns all.
    ///
    /// # Panics
    /// Where fewer came.
    pub async fn wait_for(&self, count: usize, patience: Duration) -> Vec<Received> {
        let wait = async {
            loop {
                let arrived = self.shared.arrived.notified();
                if locked(&self.shared.received).len() >= count {
                    return;
                }
                arrived.await;
            }
        };
        let waited = tokio::time::timeout(patience, wait).await;
        let received = self.received();
        assert!(
            waited.is_ok(),
            "{} of {count} requests came within {patience:?}",
            received.len()
        );
        received
    }
}

impl Drop for ScriptedReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, which ends all connections.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of one connection. Whatever breaks it ends it; the test sees that nothing was received.
async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = read_request(&mut stream).await {
        let answer = {
            let mut script = locked(&shared.script);
            script
                .pop_front()
                .unwrap_or_else(|| locked(&shared.otherwise).clone())
        };
        let echo = request.wire();
        locked(&shared.received).push(request);
        shared.arrived.notify_waiters();
        tokio::time::sleep(answer.delay).await;
        if write_answer(&mut stream, answer, echo).await.is_err() {
            return;
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Received>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if headers.get("expect").is_some_and(|value| value == "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Received {
        at: Instant::now(),
        method,
        target,
        headers,
        body,
    }))
}

async fn write_answer(stream: &mut BufReader<TcpStream>, answer: Answer, echo: String) -> io::Result<()> {
    match answer.fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => {
            stream.get_ref().set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Fault::HalfBody | Fault::Echo) | None => {}
    }
    let body = if answer.fault == Some(Fault::Echo) {
        echo.into_bytes()
    } else {
        answer.body
    };
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // These have no body by definition.
    let body = if matches!(answer.status, 100..=199 | 204 | 304) {
        Vec::new()
    } else {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
        body
    };
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if answer.fault == Some(Fault::HalfBody) {
        stream.write_all(&body[..body.len() / 2]).await?;
        stream.flush().await?;
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    stream.write_all(&body).await?;
    stream.flush().await
}
