//! The probe `http`: asks a web address and tells the status, the document, and where the time went.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Version};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::ProbeConfig;
use crate::dial::{Endpoint, finding, invalid};
use crate::error::Result;
pub use crate::http_client::BasicAuth;
use crate::http_client::{
    Credentials, DEFAULT_BODY_LIMIT, Exchange, HttpClient, HttpOptions, Response, Reuse, request_headers,
};
use crate::observation::{Body, Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::secret::SecretRef;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "http",
    summary: "Asks a web address: status, headers, document, and where the time went.",
    metrics: &[
        Metric::gauge("connected", Unit::Boolean, "Whether an answer in HTTP came."),
        Metric::gauge("status", Unit::Count, "The status code of the answer."),
        Metric::gauge(
            "response_time",
            Unit::Seconds,
            "From the beginning until the last byte of the body; the sum of the other times.",
        ),
        Metric::gauge(
            "dns_time",
            Unit::Seconds,
            "Looking up the name; zero for an address or a kept connection.",
        ),
        Metric::gauge(
            "connect_time",
            Unit::Seconds,
            "Connecting by TCP; zero for a kept connection.",
        ),
        Metric::gauge(
            "tls_time",
            Unit::Seconds,
            "The TLS handshake; zero for a kept connection, absent without TLS.",
        ),
        Metric::gauge(
            "first_byte_time",
            Unit::Seconds,
            "From sending the request until the headers of the answer were there.",
        ),
        Metric::gauge(
            "body_time",
            Unit::Seconds,
            "From the headers until the end of the body.",
        ),
        Metric::gauge("body_size", Unit::Bytes, "How much of the body was read."),
        Metric::gauge(
            "body_truncated",
            Unit::Boolean,
            "Whether the body went on beyond body_limit.",
        ),
        Metric::gauge(
            "certificate_expiration",
            Unit::Seconds,
            "How long the certificate of the server is still valid; negative once it expired.",
        ),
        Metric::gauge(
            "connection_reused",
            Unit::Boolean,
            "Whether the connection was kept from an earlier request.",
        ),
        Metric::gauge("redirects", Unit::Count, "How many redirects were followed."),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "[status] < 200 || [status] >= 400",
            sustained: "",
            says: "{url} answered {status}",
            remedy: "Read the log of the service: 5xx is a fault of its own or of what stands behind it, 401 and 403 a missing right, 404 a wrong address.",
        },
        // Let's Encrypt renews 30 days before the end; 14 days are two failed weeks, 3 days a weekend.
        DefaultRule {
            level: Level::Critical,
            when: "has([certificate_expiration]) && [certificate_expiration] < 3d",
            sustained: "",
            says: "the certificate expires in {certificate_expiration}",
            remedy: "Renew the certificate (certbot renew) and reload the server.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has([certificate_expiration]) && [certificate_expiration] < 14d",
            sustained: "",
            says: "the certificate expires in {certificate_expiration}",
            remedy: "Renew the certificate (certbot renew) and reload the server.",
        },
    ],
};

/// In the mode `mixed` one request of so many connects anew.
const MIXED_FRESH_EVERY: u64 = 10;

/// Whether requests share connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionMode {
    /// Each request connects anew, so that DNS, listening and the certificate are tested every time.
    #[default]
    Fresh,
    /// Connections are kept and shared by the checks of one host; cheapest.
    Pooled,
    /// Kept connections, but every tenth request connects anew.
    Mixed,
}

/// The table `http` of a check.
///
/// Asks one web address by HTTP/1.1. A refused connection, a timeout, a failed lookup, a failed TLS handshake and a
/// wrong certificate are findings that say in which phase it failed and after how long. JSON in the answer is reached with
/// `[BODY].path`, headers with `[HEADER].Name`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpConfig {
    /// The address, `http://` or `https://`. An account and a password in it work, but `basic_auth` keeps them secret.
    pub url: String,
    /// The method. Default: `GET`, or `POST` where there is a body. A check repeats it again and again, so it must change
    /// nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers to send besides `Host`, `User-Agent` and `Accept`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secret, such as `{ X-Api-Key = { env = "API_KEY" } }`; another host that a redirect leads to
    /// never sees them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_headers: BTreeMap<String, SecretRef>,
    /// An account with its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Where the token is kept that is sent as `Authorization: Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<SecretRef>,
    /// What is sent as the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether requests share connections. Default: `fresh`.
    pub connection: ConnectionMode,
    /// How many redirects are followed, 0 to 20; the answer after the last is the one that is judged. Default: 5.
    pub redirects: u8,
    /// How much of a body is read, in bytes; what goes beyond is left, and `body_truncated` says so. Default: 1048576
    /// (1 MiB).
    pub body_limit: usize,
    /// A file of PEM certificates of the authorities to trust instead of this machine's; read when the check is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether a certificate that is expired, for another name or not trusted ends the request before anything is sent.
    /// Default: true.
    pub verify_certificate: bool,
    /// Whom to connect to instead of the host in `url`, as `address:port`: tests one server behind a shared name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_to: Option<String>,
    /// The unix socket to connect to instead of the host in `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            method: None,
            headers: BTreeMap::new(),
            secret_headers: BTreeMap::new(),
            basic_auth: None,
            bearer_token: None,
            body: None,
            connection: ConnectionMode::default(),
            redirects: 5,
            body_limit: DEFAULT_BODY_LIMIT,
            ca_file: None,
            verify_certificate: true,
            connect_to: None,
            unix_socket: None,
        }
    }
}

impl HttpConfig {
    /// A `GET` of `url` with all else at its default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// The same with `connection`.
    #[must_use]
    pub fn with_connection(mut self, connection: ConnectionMode) -> Self {
        self.connection = connection;
        self
    }

    /// The same, trusting the authorities in `ca_file`.
    #[must_use]
    pub fn with_ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(ca_file.into());
        self
    }
}

impl ProbeConfig for HttpConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let default_method = if self.body.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(default_method);
        let method = match Method::from_bytes(method.as_bytes()) {
            Ok(method) if method != Method::CONNECT => method,
            _ => {
                return Err(invalid(text!(
                    "method: expected a method such as GET or POST, found \"{found}\"",
                    found = method
                )));
            }
        };
        if self.redirects > 20 {
            return Err(invalid(text!(
                "redirects: expected 0 to 20, found {found}",
                found = self.redirects
            )));
        }
        let connect_to = match self.connect_to.as_deref() {
            None => None,
            Some(address) => Some(Endpoint::parse(address, None).ok_or_else(|| {
                invalid(text!(
                    "connect_to: expected a host and a port such as \"10.0.0.7:443\", found \"{found}\"",
                    found = address
                ))
            })?),
        };
        if connect_to.is_some() && self.unix_socket.is_some() {
            return Err(invalid(text!(
                "connect_to and unix_socket exclude each other: keep one"
            )));
        }
        let credentials = Credentials {
            basic: self.basic_auth.as_ref(),
            bearer: self.bearer_token.as_ref(),
            headers: Some(&self.secret_headers),
        };
        let options = HttpOptions {
            headers: request_headers(&self.headers, credentials, &*resources.secrets)?,
            body_limit: self.body_limit,
            ca_file: self.ca_file.clone(),
            verify_certificate: self.verify_certificate,
            redirects: self.redirects,
            connect_to,
            unix_socket: self.unix_socket.clone(),
        };
        Ok(Arc::new(HttpProbe {
            client: HttpClient::new(&self.url, &options, resources)?,
            method,
            body: self.body.clone().unwrap_or_default().into(),
            connection: self.connection,
            asked: AtomicU64::new(0),
        }))
    }
}

struct HttpProbe {
    client: HttpClient,
    method: Method,
    body: Bytes,
    connection: ConnectionMode,
    asked: AtomicU64,
}

impl fmt::Debug for HttpProbe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpProbe")
            .field("client", &self.client)
            .field("method", &self.method)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Probe for HttpProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        self.client.target()
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let reuse = match self.connection {
            ConnectionMode::Fresh => Reuse::Never,
            ConnectionMode::Pooled => Reuse::Allowed,
            ConnectionMode::Mixed if asked.is_multiple_of(MIXED_FRESH_EVERY) => Reuse::Never,
            ConnectionMode::Mixed => Reuse::Allowed,
        };
        let exchange = self.client.send(&self.method, &self.body, reuse, context).await;
        self.tell(exchange, context.clock.now())
    }
}

impl HttpProbe {
    /// Puts what was seen into an observation; a failure keeps the phases that went well.
    fn tell(&self, mut exchange: Exchange, now: Timestamp) -> Result<Observation> {
        let response_time = exchange.progress.started.elapsed();
        let outcome = std::mem::replace(
            &mut exchange.outcome,
            Err(invalid(text!("nothing was asked yet"))),
        );
        let url = exchange
            .final_url
            .as_ref()
            .map_or_else(|| self.client.shown(), crate::http_client::shown);
        let mut observation = match outcome {
            Ok(response) => answer(response).with_seconds("response_time", response_time),
            Err(error) => finding(error)?,
        }
        .with_fact("url", url);
        if let Some(status) = exchange.status {
            observation = observation.with("status", f64::from(status.as_u16()), Unit::Count);
        }
        if let Some(connect_time) = exchange.progress.connect_time {
            observation = observation
                .with_seconds("dns_time", exchange.progress.dns_time)
                .with_seconds("connect_time", connect_time);
        } else if exchange.is_reused {
            observation =
                observation
                    .with("dns_time", 0.0, Unit::Seconds)
                    .with("connect_time", 0.0, Unit::Seconds);
        }
        let tls_time = exchange
            .tls_time
            .or((exchange.is_reused && exchange.certificate_ends.is_some())
                .then_some(std::time::Duration::ZERO));
        for (name, time) in [
            ("tls_time", tls_time),
            ("first_byte_time", exchange.first_byte_time),
            ("body_time", exchange.body_time),
        ] {
            if let Some(time) = time {
                observation = observation.with_seconds(name, time);
            }
        }
        if let Some(ends) = exchange.certificate_ends {
            let left = ends.duration_since(now).as_secs_f64();
            observation = observation.with("certificate_expiration", left, Unit::Seconds);
        }
        if let Some(peer) = exchange.progress.peer {
            observation = observation.with_fact("ip", peer.ip().to_string());
        }
        Ok(observation
            .with_bool("connection_reused", exchange.is_reused)
            .with("redirects", f64::from(exchange.redirects), Unit::Count))
    }
}

fn answer(response: Response) -> Observation {
    let mut observation = Observation::new()
        .with_bool("connected", true)
        .with("body_size", response.body.len() as f64, Unit::Bytes)
        .with_bool("body_truncated", response.is_truncated)
        .with_fact("http_version", version(response.version));
    observation.headers = response
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect();
    let (body, complaint) = document(&response.headers, &response.body);
    observation.body = Some(body);
    if let Some(complaint) = complaint {
        observation = observation.with_fact("body_error", complaint);
    }
    observation
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// The body as JSON where it says or looks like it, as text otherwise; and what is wrong with it.
fn document(headers: &HeaderMap, body: &[u8]) -> (Body, Option<String>) {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
        });
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if is_json || matches!(first, Some(b'{' | b'[')) {
        match serde_json::from_slice(body) {
            Ok(value) => return (Body::Json(value), None),
            Err(error) if is_json => {
                let text = String::from_utf8_lossy(body).into_owned();
                return (Body::Text(text), Some(format!("no JSON: {error}")));
            }
            Err(_) => {}
        }
    }
    match String::from_utf8_lossy(body) {
        std::borrow::Cow::Borrowed(text) => (Body::Text(text.to_owned()), None),
        std::borrow::Cow::Owned(text) => (Body::Text(text), Some("no UTF-8".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn read(content_type: Option<&'static str>, body: &[u8]) -> (Body, Option<String>) {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        document(&headers, body)
    }

    #[test]
    fn a_document_is_json_where_it_says_or_looks_like_it() {
        let json = (Body::Json(json!({ "a": 1 })), None);
        assert_eq!(read(Some("application/json; charset=utf-8"), b"{\"a\":1}"), json);
        assert_eq!(read(Some("application/problem+json"), b"{\"a\":1}"), json);
        assert_eq!(read(None, b" {\"a\":1}\n"), json);
        assert_eq!(read(Some("application/json"), b"7"), (Body::Json(json!(7)), None));
        assert_eq!(read(None, b"7"), (Body::Text("7".to_owned()), None));
        assert_eq!(
            read(None, b"{not json"),
            (Body::Text("{not json".to_owned()), None)
        );
    }

    #[test]
    fn a_broken_document_is_kept_and_said_to_be_broken() {
        let (body, complaint) = read(Some("application/json"), b"{\"a\":");
        assert_eq!(body, Body::Text("{\"a\":".to_owned()));
        assert_eq!(
            complaint.unwrap(),
            "no JSON: EOF while parsing a value at line 1 column 5"
        );
        let (body, complaint) = read(Some("text/plain"), b"caf\xe9");
        assert_eq!(body, Body::Text("caf\u{fffd}".to_owned()));
        assert_eq!(complaint.unwrap(), "no UTF-8");
    }

    #[test]
    fn wrong_keys_are_named_with_what_is_expected() {
        let resources = Resources::default();
        let refused = |config: HttpConfig| config.build(&resources).unwrap_err().to_string();
        let good = || HttpConfig::new("http://localhost/");
        let mut messages = Vec::new();
        for url in [
            "",
            "localhost:80",
            "ftp://host/",
            "http://",
            "http://user:hunter2@",
        ] {
            messages.push(refused(HttpConfig::new(url)));
        }
        messages.push(refused(HttpConfig {
            method: Some("G E T".to_owned()),
            ..good()
        }));
        messages.push(refused(HttpConfig {
            redirects: 21,
            ..good()
        }));
        messages.push(refused(HttpConfig {
            connect_to: Some("nowhere".to_owned()),
            ..good()
        }));
        messages.push(refused(
            HttpConfig::new("https://localhost/").with_ca_file("/nowhere.pem"),
        ));
        messages.push(refused(HttpConfig {
            bearer_token: Some(SecretRef::Env("TOKEN".to_owned())),
            ..good()
        }));
        insta::assert_snapshot!(messages.join("\n"), @r#"
        url: expected an address such as "https://example.org/health": relative URL without a base
        url: expected http or https, found localhost
        url: expected http or https, found ftp
        url: expected an address such as "https://example.org/health": empty host
        url: expected an address such as "https://example.org/health": empty host
        method: expected a method such as GET or POST, found "G E T"
        redirects: expected 0 to 20, found 21
        connect_to: expected a host and a port such as "10.0.0.7:443", found "nowhere"
        ca_file: expected a file of PEM certificates, /nowhere.pem is none: I/O error: No such file or directory (os error 2)
        no secrets are available here, so environment variable TOKEN cannot be read
        "#);
    }
}
