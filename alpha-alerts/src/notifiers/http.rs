//! The one HTTP client of the receivers, and the one table that judges what they answer.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::Environment;
use super::template::one_line;
use crate::clock::Clock;
use crate::notification::NotificationId;
use crate::notifier::{Refusal, Retry};
use crate::text;
use crate::text::Text;

/// How long connecting may take at most; a shorter timeout of the attempt ends it sooner.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read.
const BODY_LIMIT: usize = 8 * 1024;

/// How many characters of an answer a refusal quotes.
const EXCERPT: usize = 200;

/// A receiver that asks for more patience than this is asked again after it.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What carries the identity of a notification in every request.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// How a receiver is reached, besides its address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way<'a> {
    /// The proxy to go through.
    pub(crate) proxy: Option<&'a Url>,
    /// A file of authorities to trust besides this machine's.
    pub(crate) ca_file: Option<&'a Path>,
}

impl<'a> Way<'a> {
    pub(crate) fn through(proxy: &'a Option<Url>) -> Self {
        Self {
            proxy: proxy.as_ref(),
            ca_file: None,
        }
    }

    pub(crate) fn trusting(mut self, ca_file: &'a Option<PathBuf>) -> Self {
        self.ca_file = ca_file.as_deref();
        self
    }
}

/// The clients of a process: one for each way.
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<Mutex<BTreeMap<ClientKey, reqwest::Client>>>);

type ClientKey = (Option<String>, Option<PathBuf>);

impl Clients {
    fn get(&self, way: Way<'_>) -> Result<reqwest::Client, Text> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (way.proxy.map(Url::to_string), way.ca_file.map(Path::to_owned));
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = client(way)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn client(way: Way<'_>) -> Result<reqwest::Client, Text> {
    // Whoever embeds the library may have chosen a provider; without one there would be no TLS at all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let failed = |error: reqwest::Error| {
        text!(
            "there is no HTTP client: {error}",
            error = chain(&error.without_url())
        )
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("Alpha/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT);
    if let Some(proxy) = way.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.as_str()).map_err(failed)?);
    }
    if let Some(path) = way.ca_file {
        let unreadable = |error: String| text!("`ca_file` cannot be read: {error}", error = error);
        let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let trusted =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unreadable(chain(&error)))?;
        builder = builder.tls_certs_merge(trusted);
    }
    builder.build().map_err(failed)
}

/// An address that is a secret, or holds one.
#[derive(Clone)]
pub(crate) struct SecretUrl(Url);

impl SecretUrl {
    pub(crate) fn new(url: Url) -> Self {
        Self(url)
    }

    pub(crate) fn expose(&self) -> &Url {
        &self.0
    }

    /// Whatever of it must not be repeated: all of it, and each part that is long enough to be a secret.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        let path = self.0.path();
        let query = self.0.query_pairs().map(|(_, value)| value.into_owned());
        let password = self.0.password().map(str::to_owned);
        let parts = path.split('/').map(str::to_owned).chain(query).chain(password);
        let whole = [self.0.to_string(), path.to_owned()];
        whole
            .into_iter()
            .chain(parts)
            .filter(|part| part.len() >= 8)
            .map(SecretString::from)
            .collect()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[REDACTED]")
    }
}

/// Sends requests of one integration and judges the answers.
#[derive(Clone)]
pub(crate) struct HttpClient {
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    /// What answers and errors must not repeat.
    secrets: Arc<[SecretString]>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HttpClient")
    }
}

/// What a receiver answered with a status that says it took it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The beginning of the body.
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }
}

impl HttpClient {
    /// A client whose refusals never repeat `secrets`.
    pub(crate) fn new(
        environment: &Environment,
        way: Way<'_>,
        secrets: Vec<SecretString>,
    ) -> Result<Self, Text> {
        let client = environment.clients.get(way)?;
        Ok(Self {
            client,
            clock: Arc::clone(&environment.clock),
            timeout: environment.timeout,
            secrets: secrets
                .into_iter()
                .filter(|secret| !secret.expose_secret().is_empty())
                .collect(),
        })
    }

    /// The present instant, for signatures.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A request with JSON for the notification `id`.
    pub(crate) fn json(
        &self,
        method: Method,
        url: &Url,
        id: NotificationId,
        body: &impl Serialize,
    ) -> RequestBuilder {
        self.client
            .request(method, url.clone())
            .header(IDEMPOTENCY_KEY, id.to_string())
            .json(body)
    }

    /// A request with a body of `content_type` for the notification `id`.
    pub(crate) fn post(
        &self,
        url: &Url,
        id: NotificationId,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> RequestBuilder {
        self.client
            .post(url.clone())
            .header(IDEMPOTENCY_KEY, id.to_string())
            .header(reqwest::header::CONTENT_TYPE, content_type)
            .body(body)
    }

    /// Sends it, and refuses every answer but 2xx by the common table.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Refusal> {
        let answer = self.exchange(request).await?;
        self.judge(answer)
    }

    /// Sends it and returns whatever comes back.
    pub(crate) async fn exchange(&self, request: RequestBuilder) -> Result<Answer, Refusal> {
        let request = request.timeout(self.timeout);
        let mut response = request.send().await.map_err(|error| self.failed(error))?;
        let mut body = Vec::new();
        while body.len() < BODY_LIMIT {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(BODY_LIMIT - body.len())]),
                // A status that has come decides even where the body breaks off; who needs the body finds that it cannot be read.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(Answer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// The common table: 2xx is taken; 408, 425, 429 and 5xx are tried again, when `Retry-After` says if it says; anything
    /// else is refused for good, redirects included.
    ///
    /// Behind 502 and 504 stands a server that may have taken it: those are uncertain.
    pub(crate) fn judge(&self, answer: Answer) -> Result<Answer, Refusal> {
        let status = answer.status;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let reason = self.status_text(&answer);
        let refusal = match status {
            502 | 504 => Refusal::uncertain(reason),
            408 | 425 | 429 | 500..=599 => Refusal::transient(reason),
            _ => return Err(Refusal::permanent(reason).with_status(status)),
        };
        let refusal = refusal.with_status(status);
        Err(match retry_after(&answer.headers, self.clock.now()) {
            Some(wait) => refusal.retry_after(wait),
            None => refusal,
        })
    }

    /// Judges what services answer that say 200 and put the outcome into the body: `code` is where its number stands, zero
    /// where it was taken, and `retry` knows the numbers that are worth another attempt.
    ///
    /// A body that cannot be read leaves it open whether the receiver took it.
    pub(crate) fn judge_code(
        &self,
        answer: Answer,
        [code, message]: [&str; 2],
        retry: impl Fn(i64) -> Retry,
    ) -> Result<Answer, Refusal> {
        let said = answer.json();
        let found = said
            .as_ref()
            .and_then(|said| Some((said, said.get(code)?.as_i64()?)));
        let Some((said, number)) = found else {
            let answer = self.judge(answer)?;
            let reason = text!(
                "the answer cannot be understood: {said}",
                said = self.excerpt(&answer.body)
            );
            return Err(Refusal::uncertain(reason).with_status(answer.status));
        };
        if number == 0 {
            return self.judge(answer);
        }
        let message = said.get(message).and_then(Value::as_str).unwrap_or_default();
        let reason = text!(
            "error {number}: {said}",
            number = number,
            said = self.excerpt(message)
        );
        let refusal = match retry(number) {
            Retry::Never => Refusal::permanent(reason),
            Retry::Later => Refusal::transient(reason),
            Retry::After(wait) => Refusal::transient(reason).retry_after(wait),
        };
        let refusal = refusal.with_status(answer.status);
        // What the status and its headers say outranks an unknown code: a gateway that is overloaded, a wait that is asked for.
        match self.judge(answer) {
            Err(judged) if judged.retry != Retry::Never => Err(Refusal {
                reason: refusal.reason,
                ..judged
            }),
            _ => Err(refusal),
        }
    }

    /// `HTTP 500: rollup_error`.
    fn status_text(&self, answer: &Answer) -> Text {
        let said = self.excerpt(&answer.body);
        if (300..400).contains(&answer.status) {
            text!(
                "HTTP {status}: redirects are not followed",
                status = answer.status
            )
        } else if said.is_empty() {
            text!("HTTP {status}", status = answer.status)
        } else {
            text!("HTTP {status}: {said}", status = answer.status, said = said)
        }
    }

    /// The beginning of what a receiver said, in one line and without secrets.
    pub(crate) fn excerpt(&self, said: &str) -> String {
        let line = one_line(&self.redacted(said));
        super::limit::Limit::Characters(EXCERPT).cut(&line, super::markup::Dialect::Plain)
    }

    fn redacted(&self, said: &str) -> String {
        super::redacted(said, &self.secrets)
    }

    /// Why no answer came. Before the connection stood nothing can have been taken; after that nobody knows.
    fn failed(&self, error: reqwest::Error) -> Refusal {
        let error = error.without_url();
        let cause = self.excerpt(&chain(&error));
        if error.is_builder() {
            Refusal::permanent(text!("the request cannot be made: {cause}", cause = cause))
        } else if error.is_connect() {
            Refusal::transient(text!("could not connect: {cause}", cause = cause))
        } else if error.is_timeout() {
            Refusal::uncertain(text!("no answer in time"))
        } else {
            Refusal::uncertain(text!(
                "the connection broke before an answer came: {cause}",
                cause = cause
            ))
        }
    }
}

/// A header whose value is kept out of logs.
pub(crate) fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The causes of an error without the error itself, which would name the address.
fn chain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let told = error.to_string();
        if causes.last() != Some(&told) {
            causes.push(told);
        }
        cause = error.source();
    }
    if causes.is_empty() {
        return error.to_string();
    }
    causes.join(": ")
}

/// What `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some(wait) = seconds(value) {
        return Some(wait);
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()?;
    Some(until(date, now))
}

/// From `now` until `at`, not negative and not absurd.
pub(crate) fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now))
        .unwrap_or_default()
        .min(LONGEST_WAIT)
}

/// A number of seconds, with a fraction perhaps.
pub(crate) fn seconds(value: &str) -> Option<Duration> {
    let seconds: f64 = value.parse().ok()?;
    let wait = Duration::try_from_secs_f64(seconds).ok();
    wait.or((seconds > 0.0).then_some(LONGEST_WAIT))
        .map(|wait| wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(value: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
        retry_after(&headers, "2026-01-01T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(after("3"), Some(Duration::from_secs(3)));
        assert_eq!(after("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(
            after("Thu, 01 Jan 2026 10:01:30 GMT"),
            Some(Duration::from_secs(90))
        );
        assert_eq!(after("Thu, 01 Jan 2026 09:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999999999999999"), Some(LONGEST_WAIT));
        for wrong in ["", "-3", "soon", "NaN"] {
            assert_eq!(after(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_address_hides_whole_and_in_parts() {
        let url = SecretUrl::new(
            "https://hooks.example.org/services/T0000/abcdefghijkl?key=mnopqrstuv"
                .parse()
                .unwrap(),
        );
        assert_eq!(format!("{url:?}"), "[REDACTED]");
        let said = super::super::redacted(
            "no such hook: /services/T0000/abcdefghijkl (mnopqrstuv)",
            &url.secrets(),
        );
        assert!(
            !said.contains("abcdefghijkl") && !said.contains("mnopqrstuv"),
            "{said}"
        );
    }
}
