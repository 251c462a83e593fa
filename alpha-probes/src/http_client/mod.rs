//! The HTTP/1.1 client of the probes: bounded in size and time, each phase timed, each way to fail told in one sentence.
//!
//! It stands on hyper's connection, without a client library above it, because a probe wants what such a library hides:
//! which phase took how long, which address answered, whether the connection was kept from before, and what the
//! certificate said. No task is spawned for a connection; the request drives it, so an idle one costs nothing.

mod connection;
mod headers;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use http_body_util::Full;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::dial::{Endpoint, Progress, before, closed_early, invalid};
use crate::error::{Error, Result};
use crate::probe::Context;
use crate::resources::Resources;
use crate::text;

use connection::{Connection, Origin};
pub use headers::BasicAuth;
pub(crate) use headers::{Credentials, request_headers};

/// 1 MiB: how much of a body is read when nothing else is said.
pub(crate) const DEFAULT_BODY_LIMIT: usize = 1 << 20;

/// How a client asks; what no probe says otherwise is the default.
#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    /// Sent with each request; made by [`request_headers`].
    pub(crate) headers: HeaderMap,
    /// How much of a body is read, in bytes; the rest is left and the connection with it.
    pub(crate) body_limit: usize,
    /// The authorities that are trusted instead of this machine's, PEM.
    pub(crate) ca_file: Option<PathBuf>,
    /// Whether a wrong certificate ends the exchange before anything is asked.
    pub(crate) verify_certificate: bool,
    /// How many redirects are followed.
    pub(crate) redirects: u8,
    /// Whom to connect to instead of the host in the address.
    pub(crate) connect_to: Option<Endpoint>,
    /// The unix socket to connect to instead.
    pub(crate) unix_socket: Option<PathBuf>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            headers: HeaderMap::new(),
            body_limit: DEFAULT_BODY_LIMIT,
            ca_file: None,
            verify_certificate: true,
            redirects: 0,
            connect_to: None,
            unix_socket: None,
        }
    }
}

/// Whether a request may use a connection that an earlier one left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It may, and leaves its own open. One that turns out to be closed is replaced once.
    Allowed,
    /// It connects anew and closes.
    Never,
}

/// Asks one address.
#[derive(Clone)]
pub(crate) struct HttpClient {
    origin: Arc<Origin>,
    /// The address without the account and password in it.
    url: Url,
    uri: Uri,
    headers: Arc<HeaderMap>,
    redirects: u8,
    body_limit: usize,
}

impl fmt::Debug for HttpClient {
    /// The address only, without what may be secret in it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("HttpClient").field(&self.shown()).finish()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the body went on beyond [`HttpOptions::body_limit`].
    pub(crate) is_truncated: bool,
}

/// What was seen of one request, whether it was answered or not.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// How far it came.
    pub(crate) progress: Progress,
    /// How long the TLS handshakes took.
    pub(crate) tls_time: Option<Duration>,
    /// From sending the request until the headers of the answer were there.
    pub(crate) first_byte_time: Option<Duration>,
    /// From the headers to the end of the body.
    pub(crate) body_time: Option<Duration>,
    /// When the certificate ends that the server showed on this connection.
    pub(crate) certificate_ends: Option<Timestamp>,
    /// Whether the connection was kept from before.
    pub(crate) is_reused: bool,
    /// How many redirects were followed.
    pub(crate) redirects: u8,
    /// Where they led, where there were any.
    pub(crate) final_url: Option<Url>,
    /// The status, also where the body did not come in full.
    pub(crate) status: Option<StatusCode>,
    /// The answer.
    pub(crate) outcome: Result<Response>,
}

impl HttpClient {
    /// A client of `url`, `http` or `https`. An account and a password in it are sent as basic authentication.
    ///
    /// # Errors
    /// `InvalidConfig` naming the key, which is `url` for the address.
    pub(crate) fn new(url: &str, options: &HttpOptions, resources: &Resources) -> Result<Self> {
        let mut url = Url::parse(url).map_err(|error| {
            // The address itself is not repeated: it may hold a password.
            invalid(text!(
                "url: expected an address such as \"https://example.org/health\": {cause}",
                cause = error.to_string()
            ))
        })?;
        let mut headers = options.headers.clone();
        headers::move_userinfo(&mut url, &mut headers)?;
        let origin = connection::origin(&url, options, resources)?;
        Ok(Self {
            uri: origin_form(&url)?,
            headers: origin.share(headers::complete(headers, &url)?),
            redirects: options.redirects,
            body_limit: options.body_limit,
            origin,
            url,
        })
    }

    /// The host and the port that it asks.
    pub(crate) fn target(&self) -> &str {
        &self.origin.target
    }

    /// The address as it may be shown.
    pub(crate) fn shown(&self) -> String {
        shown(&self.url)
    }

    /// Asks with `GET`, on a kept connection where there is one.
    ///
    /// # Errors
    /// By kind: the target's fault or this machine's; see [`crate::dial`]. Any status is an answer.
    #[cfg(any(feature = "prometheus", feature = "substrate"))]
    pub(crate) async fn get(&self, context: &Context<'_>) -> Result<Response> {
        self.send(&Method::GET, &Bytes::new(), Reuse::Allowed, context)
            .await
            .outcome
    }

    /// Asks, and tells everything that was seen.
    pub(crate) async fn send(
        &self,
        method: &Method,
        body: &Bytes,
        reuse: Reuse,
        context: &Context<'_>,
    ) -> Exchange {
        let mut exchange = Exchange {
            progress: Progress::new(&self.origin.endpoint),
            tls_time: None,
            first_byte_time: None,
            body_time: None,
            certificate_ends: None,
            is_reused: false,
            redirects: 0,
            final_url: None,
            status: None,
            outcome: Err(Error::new(
                crate::ErrorKind::Unreachable,
                text!("nothing was asked yet"),
            )),
        };
        let now = context.clock.now();
        let ending = before(context.deadline);
        let asked = self.follow(method, body, reuse, now, &mut exchange);
        exchange.outcome = match timeout_at(ending, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(exchange.progress.timed_out()),
        };
        exchange
    }

    /// Asks, and asks again where a redirect says so.
    async fn follow(
        &self,
        method: &Method,
        body: &Bytes,
        reuse: Reuse,
        now: Timestamp,
        exchange: &mut Exchange,
    ) -> Result<Response> {
        let mut call = Call {
            method: method.clone(),
            uri: self.uri.clone(),
            headers: Cow::Borrowed(&self.headers),
            body: body.clone(),
            reuse,
            body_limit: self.body_limit,
            now,
        };
        let mut url = Cow::Borrowed(&self.url);
        let mut response = ask(&self.origin, &call, exchange).await?;
        while exchange.redirects < self.redirects
            && let Some(next) = redirect(&url, &response)
        {
            let keeps_method = matches!(response.status.as_u16(), 307 | 308) || call.method == Method::HEAD;
            if !keeps_method {
                (call.method, call.body) = (Method::GET, Bytes::new());
            }
            let mut headers = HeaderMap::clone(&self.headers);
            let origin = if next.origin() == self.url.origin() {
                call.reuse = reuse;
                Arc::clone(&self.origin)
            } else {
                // Whatever could be a secret stays with the host that it was meant for.
                headers = headers::for_strangers(&headers);
                call.reuse = Reuse::Never;
                self.origin.stranger(&next)?
            };
            headers.remove(header::HOST);
            call.headers = Cow::Owned(headers::complete(headers, &next)?);
            call.uri = origin_form(&next)?;
            exchange.redirects += 1;
            exchange.final_url = Some(next.clone());
            exchange.progress.redirected(&origin.endpoint);
            response = ask(&origin, &call, exchange).await?;
            url = Cow::Owned(next);
        }
        Ok(response)
    }
}

/// One request and how it is made.
struct Call<'a> {
    method: Method,
    uri: Uri,
    headers: Cow<'a, HeaderMap>,
    body: Bytes,
    reuse: Reuse,
    body_limit: usize,
    now: Timestamp,
}

impl Call<'_> {
    fn request(&self) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = HeaderMap::clone(&self.headers);
        if self.reuse == Reuse::Never {
            let close = HeaderValue::from_static("close");
            request.headers_mut().insert(header::CONNECTION, close);
        }
        request
    }
}

/// Asks once; a second time on a new connection where a kept one turns out to be closed.
///
/// The second time is for every method: a check repeats its request again and again anyway, so it must be one that can
/// be repeated, and a server that closes idle connections is no news.
async fn ask(origin: &Arc<Origin>, call: &Call<'_>, exchange: &mut Exchange) -> Result<Response> {
    if call.reuse == Reuse::Allowed
        && let Some(kept) = origin.kept()
    {
        exchange.is_reused = true;
        if let Some(response) = kept.send(call, origin, exchange).await? {
            return Ok(response);
        }
        exchange.is_reused = false;
    }
    // Boxed, so that a request on a kept connection does not carry the room for lookups and handshakes along.
    let fresh = Box::pin(Connection::open(origin, call.now, exchange)).await?;
    match fresh.send(call, origin, exchange).await? {
        Some(response) => Ok(response),
        None => Err(closed_early(exchange.progress.address())),
    }
}

/// An address without its query, which may hold a token.
pub(crate) fn shown(url: &Url) -> String {
    url[..url::Position::AfterPath].to_owned()
}

/// Where a redirect leads; nothing for what is none or cannot be followed.
fn redirect(url: &Url, response: &Response) -> Option<Url> {
    if !matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers.get(header::LOCATION)?.to_str().ok()?;
    let mut next = url.join(location).ok()?;
    next.set_fragment(None);
    // An account that a server makes up is not used.
    let _ = next.set_username("");
    let _ = next.set_password(None);
    let is_downgrade = url.scheme() == "https" && next.scheme() != "https";
    (matches!(next.scheme(), "http" | "https") && !is_downgrade).then_some(next)
}

/// The path and the query, as they stand in a request.
fn origin_form(url: &Url) -> Result<Uri> {
    url[url::Position::BeforePath..url::Position::AfterQuery]
        .parse()
        .map_err(|error: http::uri::InvalidUri| {
            invalid(text!(
                "url: its path cannot be asked for: {cause}",
                cause = error.to_string()
            ))
        })
}

/// Since when, in a form that adds up.
fn add(total: &mut Option<Duration>, since: Instant) {
    *total = Some(total.unwrap_or_default() + since.elapsed());
}
