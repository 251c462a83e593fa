//! A Substrate node made of a script: it answers JSON-RPC byte for byte as a real one, and fails on demand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use super::node_script::Script;

/// How a node fails.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It takes so long before it answers.
    Slow(Duration),
    /// It never answers.
    Hang,
    /// It closes the connection in the middle of its answer.
    Truncated,
    /// It answers with this status and text instead of JSON-RPC.
    Status(u16, &'static str),
    /// It answers with this code and message.
    Error(i32, &'static str),
    /// It answers with this text, whatever was asked.
    Garbage(&'static str),
    /// It knows no such method.
    Missing,
}

impl Fault {
    /// What a node says to whoever calls an unsafe method from outside.
    pub const UNSAFE: Self = Self::Error(-32601, "RPC call is unsafe to be called externally");
    /// What a node says that does not vote, or has only just started.
    pub const NOT_READY: Self = Self::Error(1, "GRANDPA RPC endpoint not ready");
    /// What a node says to whoever asks too often.
    pub const RATE_LIMITED: Self = Self::Error(-32999, "RPC rate limit exceeded");
    /// What a node says to whoever calls it by a name it does not go by.
    pub const FOREIGN_HOST: Self = Self::Status(403, "Provided Host header is not whitelisted.\n");
    /// What a node says that has too many connections.
    pub const BUSY: Self = Self::Status(429, "Too many connections. Please try again later.");
}

/// A node on a free port of loopback that answers from a [`Script`]; it ends when dropped.
///
/// Its answers have the bytes of a real node's: the order of keys, the forms of numbers, the texts of errors. It speaks
/// plain HTTP; it has no subscriptions.
#[derive(Debug)]
pub struct NodeDouble {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    calls: Arc<Mutex<BTreeMap<String, u64>>>,
    task: JoinHandle<()>,
}

impl Drop for NodeDouble {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a question is at most.
const MAX_REQUEST_BYTES: usize = 1 << 20;

impl NodeDouble {
    /// Starts a node that answers from `script`.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        Self::serve(script, listener.expect("loopback has a free port"))
    }

    /// Starts a node that answers on this port of loopback.
    ///
    /// # Errors
    /// Where the port is taken.
    pub async fn start_at(script: Script, port: u16) -> std::io::Result<Self> {
        Ok(Self::serve(script, TcpListener::bind(("127.0.0.1", port)).await?))
    }

    fn serve(script: Script, listener: TcpListener) -> Self {
        let script = Arc::new(Mutex::new(script));
        let calls = Arc::new(Mutex::default());
        let address = listener.local_addr().expect("a bound socket has an address");
        let (served, counted) = (Arc::clone(&script), Arc::clone(&calls));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, Arc::clone(&served), Arc::clone(&counted)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            script,
            calls,
            task,
        }
    }

    /// Where it answers.
    ///
    /// # Panics
    /// Never: an address of loopback is an address.
    pub fn url(&self) -> Url {
        format!("http://{}", self.address)
            .parse()
            .expect("an address of loopback")
    }

    /// Where it shows [`Script::metrics`]; a real node does so on a port of its own.
    ///
    /// # Panics
    /// Never: an address of loopback is an address.
    pub fn metrics(&self) -> Url {
        self.url().join("metrics").expect("a path is part of an address")
    }

    /// What it answers from, to be changed.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    /// How often `method` was called.
    pub fn calls(&self, method: &str) -> u64 {
        lock(&self.calls).get(method).copied().unwrap_or(0)
    }

    /// How often any method was called.
    pub fn all_calls(&self) -> u64 {
        lock(&self.calls).values().sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Calls = Mutex<BTreeMap<String, u64>>;

async fn connection(stream: TcpStream, script: Arc<Mutex<Script>>, calls: Arc<Calls>) {
    if lock(&script)
        .faults
        .values()
        .any(|fault| matches!(fault, Fault::Truncated))
    {
        return truncated(stream).await;
    }
    let service = hyper::service::service_fn(|request| {
        let (script, calls) = (Arc::clone(&script), Arc::clone(&calls));
        async move { Ok::<_, Infallible>(respond(request, &script, &calls).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Promises a hundred bytes, sends a few, and goes.
async fn truncated(mut stream: TcpStream) {
    let mut request = [0; 1024];
    let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: 100\r\n\r\n{\"jsonrpc\"";
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn respond(request: Request<Incoming>, script: &Mutex<Script>, calls: &Calls) -> Response<Full<Bytes>> {
    if request.method() == Method::GET && request.uri().path() == "/health" {
        return reply(StatusCode::OK, JSON, lock(script).health());
    }
    if request.method() == Method::GET && request.uri().path() == "/health/readiness" {
        let script = lock(script);
        let is_ready = (!script.is_syncing && !script.peers.is_empty()) || !script.should_have_peers;
        let status = if is_ready {
            StatusCode::OK
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        return reply(status, JSON, String::new());
    }
    if request.method() == Method::GET && request.uri().path() == "/metrics" {
        return reply(StatusCode::OK, PAGE, lock(script).metrics.clone());
    }
    if request.method() != Method::POST {
        let text = "Used HTTP Method is not allowed. POST is required\n";
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, text.to_owned());
    }
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json")) {
        let text = "Supplied content type is not allowed. Content-Type: application/json is required\n";
        return reply(StatusCode::UNSUPPORTED_MEDIA_TYPE, TEXT, text.to_owned());
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES)
        .collect()
        .await;
    let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Ok(question) = serde_json::from_slice::<Value>(&bytes) else {
        return reply(
            StatusCode::BAD_REQUEST,
            JSON,
            error("null", -32700, "Parse error"),
        );
    };
    let Some(method) = question.get("method").and_then(Value::as_str) else {
        return reply(StatusCode::OK, JSON, error("null", -32700, "Parse error"));
    };
    *lock(calls).entry(method.to_owned()).or_default() += 1;
    let id = question.get("id").unwrap_or(&Value::Null).to_string();
    let fault = {
        let script = lock(script);
        script
            .faults
            .get(method)
            .or_else(|| script.faults.get(""))
            .cloned()
    };
    match fault {
        Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(status, text)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return reply(status, TEXT, text.to_owned());
        }
        Some(Fault::Error(code, message)) => return reply(StatusCode::OK, JSON, error(&id, code, message)),
        Some(Fault::Garbage(text)) => return reply(StatusCode::OK, JSON, text.to_owned()),
        Some(Fault::Missing) => {
            return reply(StatusCode::OK, JSON, error(&id, -32601, "Method not found"));
        }
        Some(Fault::Truncated) | None => {}
    }
    let params = match question.get("params") {
        Some(Value::Array(params)) => params.clone(),
        _ => Vec::new(),
    };
    let answer = lock(script).answer(method, &params);
    let body = match answer {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err((code, message)) => error(&id, code, &message),
    };
    reply(StatusCode::OK, JSON, body)
}

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain";
const PAGE: &str = "text/plain; version=0.0.4";

fn error(id: &str, code: i32, message: &str) -> String {
    let message = Value::from(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#)
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
