//! HTTP/2 by hyper: requests share connections as streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use url::Url;

use super::transport::Transport;
use crate::error::{Error, Result};
use crate::failure::{Failure, FailureClass};
use crate::request::{Mix, Request};
use crate::target::{Connection, Exchange, Target};
use crate::template::Inputs;
use crate::text;

/// How many requests share a connection at once: what servers commonly allow (RFC 9113 recommends at least 100) and
/// clients rarely use up.
const STREAMS: usize = 100;

/// How much of a body is kept to be checked; a longer one fails its check.
const LARGEST_CHECKED_BODY: usize = 4 * 1024 * 1024;

/// How long a body may be that is only counted.
const LARGEST_BODY: u64 = 1024 * 1024 * 1024;

/// An HTTP/2 server, with the requests that are sent to it. Over plain TCP it has to speak HTTP/2 at once.
#[derive(Clone, Debug)]
pub struct Http2<T> {
    transport: T,
    plan: Arc<Plan>,
    /// The connections of each core, which are not shared between cores.
    shared: Arc<Mutex<HashMap<ThreadId, Vec<Shared>>>>,
}

#[derive(Debug)]
struct Plan {
    url: Url,
    mix: Mix,
}

#[derive(Clone, Debug)]
struct Shared {
    sender: SendRequest<Full<Bytes>>,
    /// Held by each lane that uses the connection, so that its count is theirs.
    users: Arc<()>,
}

impl<T: Transport> Http2<T> {
    /// The server at `url` over `transport`.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a request that cannot be sent, also one with a header that
    /// HTTP/2 does not have.
    pub fn new(transport: T, url: &Url, requests: &[Request], inputs: &Inputs) -> Result<Self> {
        let mix = Mix::new(requests, inputs)?;
        for (name, _) in mix.requests.iter().flat_map(|request| &request.headers) {
            if matches!(
                name.as_str(),
                "connection" | "host" | "keep-alive" | "transfer-encoding" | "upgrade"
            ) {
                return Err(Error::invalid(text!(
                    "HTTP/2 has no header `{name}`",
                    name = name
                )));
            }
        }
        Ok(Self {
            transport,
            plan: Arc::new(Plan {
                url: url.clone(),
                mix,
            }),
            shared: Arc::default(),
        })
    }

    /// A connection of this core that has room for another stream.
    fn with_room(&self) -> Option<Shared> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = shared.entry(std::thread::current().id()).or_default();
        mine.retain(|connection| !connection.sender.is_closed());
        mine.iter()
            .find(|connection| Arc::strong_count(&connection.users) <= STREAMS)
            .cloned()
    }
}

impl<T: Transport> Target for Http2<T> {
    type Connection = Http2Connection;

    fn describe(&self) -> String {
        super::describe(&self.plan.url)
    }

    fn request_names(&self) -> Vec<String> {
        self.plan.mix.names()
    }

    fn kind_of(&self, sequence: u64) -> usize {
        self.plan.mix.kind_of(sequence)
    }

    async fn connect(&self) -> Result<Http2Connection, Failure> {
        if let Some(shared) = self.with_room() {
            return Ok(Http2Connection {
                shared,
                plan: Arc::clone(&self.plan),
            });
        }
        let stream = TokioIo::new(self.transport.connect().await?);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(stream)
            .await
            .map_err(|error| failure(&error))?;
        tokio::spawn(async move {
            // How the connection ended shows at each of its requests.
            let _ = connection.await;
        });
        let shared = Shared {
            sender,
            users: Arc::new(()),
        };
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(std::thread::current().id())
            .or_default()
            .push(shared.clone());
        Ok(Http2Connection {
            shared,
            plan: Arc::clone(&self.plan),
        })
    }
}

/// A stream's worth of an HTTP/2 connection.
#[derive(Debug)]
pub struct Http2Connection {
    shared: Shared,
    plan: Arc<Plan>,
}

impl Connection for Http2Connection {
    async fn exchange(&mut self, sequence: u64) -> Exchange {
        let mut received = 0;
        let outcome = self.ask(sequence, &mut received).await;
        Exchange {
            bytes: received,
            outcome,
        }
    }

    fn is_reusable(&mut self) -> bool {
        !self.shared.sender.is_closed()
    }
}

impl Http2Connection {
    async fn ask(&mut self, sequence: u64, received: &mut u64) -> Result<(), Failure> {
        let plan = &self.plan;
        let request = &plan.mix.requests[plan.mix.kind_of(sequence)];
        let rendered = |template: &crate::template::Template| {
            let mut out = Vec::new();
            template.render(sequence, &mut out);
            out
        };
        let path = rendered(&request.path);
        let uri = format!(
            "{}://{}{}",
            plan.url.scheme(),
            plan.url.authority(),
            String::from_utf8_lossy(&path)
        );
        let mut builder = http::Request::builder().method(request.method.as_str()).uri(uri);
        builder = builder.header("user-agent", concat!("alpha-bench/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &request.headers {
            builder = builder.header(name, rendered(value));
        }
        let body = request.body.as_ref().map(rendered).unwrap_or_default();
        let message = builder
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::new(FailureClass::Io, error.to_string()))?;
        self.shared
            .sender
            .ready()
            .await
            .map_err(|error| failure(&error))?;
        let answer = self
            .shared
            .sender
            .send_request(message)
            .await
            .map_err(|error| failure(&error))?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let (mut kept, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| failure(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            length += data.len() as u64;
            *received = length;
            let too_large = |detail| Err(Failure::new(FailureClass::TooLarge, detail));
            if length > LARGEST_BODY {
                return too_large("the body is longer than 1 GiB");
            }
            if request.check.needs_body() {
                if length > LARGEST_CHECKED_BODY as u64 {
                    return too_large("the body to be checked is longer than 4 MiB");
                }
                kept.extend_from_slice(data);
            }
        }
        request.check.judge_status(status)?;
        request.check.judge_body(length, &kept)
    }
}

fn failure(error: &hyper::Error) -> Failure {
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        if let Some(io) = source.downcast_ref::<std::io::Error>() {
            return Failure::new(FailureClass::of_io(io), "");
        }
        cause = source.source();
    }
    let class = if error.is_incomplete_message() {
        FailureClass::Truncated
    } else if error.is_closed() || error.is_canceled() {
        FailureClass::Closed
    } else {
        FailureClass::Malformed
    };
    Failure::new(class, error.to_string())
}
