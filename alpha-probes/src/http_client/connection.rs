//! Connections to one origin: opened, used, kept.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::{Exchange, HttpOptions, Response, add};
use crate::certificate::{Certificate, TlsClient};
use crate::dial::{Endpoint, Phase, blame, closed_early, dial, invalid, not_connected};
use crate::error::{Error, ErrorKind, Result};
use crate::observation::Unit;
use crate::resources::Resources;
use crate::text;

/// 64 KiB: how long the head of an answer may be.
const MAX_HEAD: usize = 64 * 1024;

/// How many connections to one origin are kept; what probes of one target use at once is far below.
const MAX_KEPT: usize = 16;

/// How long a connection is kept unused: longer than the default interval of a check, and no longer than servers do.
const MAX_IDLE: Duration = Duration::from_secs(90);

/// How long a connection is used at all, so that a new address or certificate of the target is noticed.
const MAX_AGE: Duration = Duration::from_secs(600);

/// One server, as an address names it, and the connections to it that are kept.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) endpoint: Endpoint,
    /// The endpoint as a person reads it.
    pub(super) target: String,
    /// The headers that clients of it send, one of each: hundreds of checks of one host differ in their paths only.
    headers: Mutex<Vec<Weak<HeaderMap>>>,
    route: Route,
    /// What TLS needs, where the scheme is `https`.
    server_name: Option<ServerName<'static>>,
    tls: Option<TlsClient>,
    #[expect(clippy::vec_box, reason = "a connection is large and changes hands")]
    kept: Mutex<Vec<Box<Connection>>>,
}

/// How an origin is reached, and whom it has to convince.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Route {
    connect_to: Option<Endpoint>,
    unix_socket: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    verify_certificate: bool,
}

/// The origins that some client asks, so that clients of one origin share its connections.
#[derive(Debug, Default)]
struct Origins(Mutex<HashMap<(url::Origin, Route), Weak<Origin>>>);

/// The origin of `url`, the same one for all clients that reach it alike.
pub(super) fn origin(url: &Url, options: &HttpOptions, resources: &Resources) -> Result<Arc<Origin>> {
    let route = Route {
        connect_to: options.connect_to.clone(),
        unix_socket: options.unix_socket.clone(),
        ca_file: options.ca_file.clone(),
        verify_certificate: options.verify_certificate,
    };
    let key = (url.origin(), route);
    let origins = resources.shared::<Origins>();
    let mut origins = origins.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = origins.get(&key).and_then(Weak::upgrade) {
        return Ok(known);
    }
    // A client of plain HTTP may be redirected to HTTPS, so it needs to know whom to trust as well.
    let tls = (url.scheme() == "https" || options.redirects > 0)
        .then(|| TlsClient::new(resources, options.ca_file.as_deref(), &[b"http/1.1"]))
        .transpose()?;
    let origin = Arc::new(Origin::new(url, key.1.clone(), tls)?);
    origins.retain(|_, origin| origin.strong_count() > 0);
    origins.insert(key, Arc::downgrade(&origin));
    Ok(origin)
}

impl Origin {
    fn new(url: &Url, route: Route, tls: Option<TlsClient>) -> Result<Self> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => {
                return Err(invalid(text!(
                    "url: expected http or https, found {scheme}",
                    scheme = other
                )));
            }
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(invalid(text!("url: expected a host in it")));
        };
        let endpoint = Endpoint::new(host, port);
        let server_name = is_tls
            .then(|| ServerName::try_from(endpoint.host.clone()))
            .transpose()
            .map_err(|_| {
                invalid(text!(
                    "url: no certificate can be for the host {host}",
                    host = host
                ))
            })?;
        Ok(Self {
            target: endpoint.to_string(),
            headers: Mutex::default(),
            endpoint,
            route,
            server_name,
            tls,
            kept: Mutex::default(),
        })
    }

    /// The origin that a redirect leads to: reached in the usual way and with the same trust, and not kept.
    pub(super) fn stranger(&self, url: &Url) -> Result<Arc<Self>> {
        let route = Route {
            connect_to: None,
            unix_socket: None,
            ..self.route.clone()
        };
        Self::new(url, route, self.tls.clone()).map(Arc::new)
    }

    /// The one copy of these headers that all clients of this origin share.
    pub(super) fn share(&self, headers: HeaderMap) -> Arc<HeaderMap> {
        let mut known = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|headers| headers.strong_count() > 0);
        if let Some(same) = known
            .iter()
            .filter_map(Weak::upgrade)
            .find(|known| **known == headers)
        {
            return same;
        }
        let headers = Arc::new(headers);
        known.push(Arc::downgrade(&headers));
        headers
    }

    /// A connection that was kept, the one used last first: it is the least likely to be closed.
    pub(super) fn kept(&self) -> Option<Box<Connection>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|connection| connection.is_fit());
        kept.pop()
    }

    fn keep(&self, mut connection: Box<Connection>) {
        connection.used = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.push(connection);
        }
    }
}

/// An open connection, driven by whoever uses it. Boxed, because it is large and changes hands.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    peer: Option<SocketAddr>,
    certificate_ends: Option<Timestamp>,
    opened: Instant,
    used: Instant,
}

/// What moves the bytes of a connection; nothing moves while nobody polls it.
struct Driver(Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>);

impl Driver {
    /// Moves what can be moved; true once the connection is at its end.
    fn poll(&mut self, context: &mut TaskContext<'_>) -> bool {
        if let Some(connection) = &mut self.0
            && Pin::new(connection).poll(context).is_ready()
        {
            self.0 = None;
        }
        self.0.is_none()
    }

    /// Awaits `future`, which waits for what this connection carries.
    async fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            self.poll(context);
            // Moving bytes may have been what the future waited for, and its end is noticed by nobody else.
            future.as_mut().poll(context)
        })
        .await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, shakes hands where the scheme asks for it, and looks at the certificate before a word is said.
    pub(super) async fn open(origin: &Origin, now: Timestamp, exchange: &mut Exchange) -> Result<Box<Self>> {
        let mut certificate_ends = None;
        let stream = origin.connect(exchange).await?;
        let stream = match (&origin.tls, &origin.server_name) {
            (Some(client), Some(name)) => {
                let started = Instant::now();
                let shaken = client.handshake(name.clone(), stream, &mut exchange.progress);
                let stream = Box::pin(shaken).await?;
                add(&mut exchange.tls_time, started);
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                certificate_ends = chain
                    .first()
                    .and_then(|leaf| Certificate::read(leaf).ok())
                    .map(|leaf| leaf.ends);
                exchange.certificate_ends = certificate_ends;
                if origin.route.verify_certificate
                    && let Some(problem) = client.problems(chain, name, now).first()
                {
                    let text = problem.text(&origin.endpoint.host, now);
                    return Err(Error::new(ErrorKind::Unreachable, text));
                }
                Stream::Tls(Box::new(stream))
            }
            _ => Stream::Plain(stream),
        };
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| exchange.broken(&error))?;
        let now = Instant::now();
        Ok(Box::new(Self {
            sender,
            driver: Driver(Some(driver)),
            peer: exchange.progress.peer,
            certificate_ends,
            opened: now,
            used: now,
        }))
    }

    fn is_fit(&self) -> bool {
        self.opened.elapsed() < MAX_AGE && self.used.elapsed() < MAX_IDLE
    }

    /// Asks on this connection, and keeps it afterwards where that is allowed.
    ///
    /// Nothing comes back where the connection was closed before a byte of an answer came.
    pub(super) async fn send(
        mut self: Box<Self>,
        call: &super::Call<'_>,
        origin: &Origin,
        exchange: &mut Exchange,
    ) -> Result<Option<Response>> {
        exchange.progress.peer = self.peer;
        exchange.progress.phase = Phase::Answer;
        exchange.certificate_ends = self.certificate_ends;
        let started = Instant::now();
        let Self { sender, driver, .. } = &mut *self;
        if driver.run(sender.ready()).await.is_err() {
            return Ok(None);
        }
        let answer = match driver.run(sender.send_request(call.request())).await {
            Ok(answer) => answer,
            Err(error) if is_closed(&error) => return Ok(None),
            Err(error) => return Err(exchange.broken(&error)),
        };
        add(&mut exchange.first_byte_time, started);
        let (head, body) = answer.into_parts();
        exchange.status = Some(head.status);
        let started = Instant::now();
        let (body, is_truncated) = read(body, call.body_limit, driver, exchange).await?;
        add(&mut exchange.body_time, started);
        if call.reuse == super::Reuse::Allowed && !is_truncated && self.is_ready().await {
            origin.keep(self);
        }
        Ok(Some(Response {
            status: head.status,
            version: head.version,
            headers: head.headers,
            body,
            is_truncated,
        }))
    }

    /// Whether it can be asked again at once.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|context| {
            let is_closed = self.driver.poll(context);
            let is_ready = matches!(self.sender.poll_ready(context), Poll::Ready(Ok(())));
            Poll::Ready(is_ready && !is_closed)
        })
        .await
    }
}

impl Origin {
    async fn connect(&self, exchange: &mut Exchange) -> Result<Transport> {
        let Some(path) = &self.route.unix_socket else {
            let endpoint = self.route.connect_to.as_ref().unwrap_or(&self.endpoint);
            let stream = dial(endpoint, &mut exchange.progress).await?;
            return Ok(Transport::Tcp(stream));
        };
        exchange.progress.phase = Phase::Connect;
        let started = Instant::now();
        let stream = UnixStream::connect(path)
            .await
            .map_err(|error| not_connected(path.display().to_string(), &error))?;
        exchange.progress.connect_time = Some(started.elapsed());
        Ok(Transport::Unix(stream))
    }
}

/// Reads a body up to `limit`; whether there was more.
async fn read(
    mut body: hyper::body::Incoming,
    limit: usize,
    driver: &mut Driver,
    exchange: &mut Exchange,
) -> Result<(Bytes, bool)> {
    let mut whole = BytesMut::new();
    loop {
        exchange.progress.phase = Phase::Rest(whole.len());
        let data = match driver.run(body.frame()).await {
            None => return Ok((whole.freeze(), false)),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => {
                let text = text!(
                    "the answer of {address} broke off after {size}: {cause}",
                    address = exchange.progress.address(),
                    size = Unit::Bytes.format(whole.len() as f64),
                    cause = root_cause(&error)
                );
                return Err(Error::new(ErrorKind::Malformed, text));
            }
        };
        let room = limit - whole.len();
        if data.len() > room {
            whole.extend_from_slice(&data[..room]);
            return Ok((whole.freeze(), true));
        }
        // Most bodies come in one piece, which then needs no copy.
        if whole.is_empty() && body_is_over(&body) {
            return Ok((data, false));
        }
        whole.extend_from_slice(&data);
    }
}

fn body_is_over(body: &hyper::body::Incoming) -> bool {
    hyper::body::Body::is_end_stream(body)
}

/// Whether the connection ended before an answer began, so that another one may do better.
fn is_closed(error: &hyper::Error) -> bool {
    let is_gone = |kind| {
        matches!(
            kind,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
        )
    };
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || source.is_some_and(|source| is_gone(source.kind()))
}

/// The innermost cause, which is the only one that says something.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl Exchange {
    fn broken(&self, error: &hyper::Error) -> Error {
        let address = self.progress.address();
        if error.is_parse() {
            let cause = root_cause(error);
            let text = text!(
                "{address} does not speak HTTP/1.1: {cause}",
                address = address,
                cause = cause
            );
            return Error::new(ErrorKind::Malformed, text);
        }
        if is_closed(error) {
            return closed_early(address);
        }
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        let text = text!(
            "the connection to {address} broke: {cause}",
            address = address,
            cause = root_cause(error)
        );
        Error::new(source.map_or(ErrorKind::Unreachable, blame), text)
    }
}

/// What bytes travel on before TLS.
enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What HTTP travels on.
enum Stream {
    Plain(Transport),
    Tls(Box<TlsStream<Transport>>),
}

/// Forwards to whichever stream it is.
macro_rules! forward {
    ($type:ident: $($variant:ident),+; $end:expr) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut TaskContext<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_read(context, buffer),)+
                }
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut TaskContext<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_write(context, bytes),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut TaskContext<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_write_vectored(context, slices),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $(Self::$variant(stream) => stream.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_flush(context),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
                let this = self.get_mut();
                $end(this, context)
            }
        }
    };
}

// The socket is closed right afterwards, which tells the other side the same; saying it twice is a system call a probe.
forward!(Transport: Tcp, Unix; |_: &mut Transport, _: &mut TaskContext<'_>| Poll::Ready(Ok(())));
forward!(Stream: Plain, Tls; |stream: &mut Stream, context: &mut TaskContext<'_>| match stream {
    Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
    Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
});
