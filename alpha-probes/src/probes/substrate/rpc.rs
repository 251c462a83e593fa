//! The JSON-RPC of one node, asked sparingly.
//!
//! Many checks ask one node the same things at the same time. An answer younger than [`ROUND`] serves all of them, and
//! who asks while the same question is under way waits for its answer instead of asking again.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonrpsee::core::client::{ClientT as _, Error as ClientError};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::http_client::transport::Error as TransportError;
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::text;
use crate::text::Text;

/// How long an answer serves everybody who asks for it: less than a block of the fastest chains takes.
pub(crate) const ROUND: Duration = Duration::from_millis(900);

/// The largest answer that is read: metadata, the largest that is asked for, is below 2 MB on every public chain.
const MAX_RESPONSE_BYTES: u32 = 16 * 1024 * 1024;

/// No single call takes longer, whatever the deadline of the check.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The port of HTTP before June 2023, when it and the WebSocket port became one.
const LEGACY_PORT: u16 = 9933;

/// How much of what a node says is repeated to people.
const MAX_QUOTED_CHARACTERS: usize = 200;

/// A call that yielded no result.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// What the caller can do about it.
    pub(crate) kind: ErrorKind,
    /// Why, in words.
    pub(crate) message: Text,
    /// The code of JSON-RPC, where the node answered with one.
    pub(crate) code: Option<i32>,
}

impl Refusal {
    fn new(kind: ErrorKind, message: Text) -> Self {
        Self {
            kind,
            message,
            code: None,
        }
    }

    /// Whether the node does not know the method at all.
    pub(crate) fn is_missing_method(&self) -> bool {
        self.kind == ErrorKind::TooOld
    }

    /// The same refusal for a method that only some chains have: it has no meaning where it is missing.
    pub(crate) fn or_not_applicable(mut self) -> Self {
        if self.is_missing_method() {
            self.kind = ErrorKind::NotApplicable;
        }
        self
    }

    /// `None` where the node does not know the method.
    pub(crate) fn unless_missing<T>(answer: Result<T, Self>) -> Result<Option<T>, Self> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(refusal) if refusal.is_missing_method() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind, refusal.message)
    }
}

type Answer = Result<Arc<Value>, Refusal>;
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>;

/// The JSON-RPC of one node.
#[derive(Debug)]
pub(crate) struct Rpc {
    url: Url,
    client: HttpClient,
    legacy: Option<HttpClient>,
    is_legacy: AtomicBool,
    answers: Mutex<HashMap<String, Slot>>,
}

impl Rpc {
    /// A client for the node at `url`; asks nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] where the address is none of `http` or `https`.
    pub(crate) fn new(url: &Url) -> Result<Self> {
        let mut url = url.clone();
        // Both protocols share a port since 2023, and people know the address of the other one by heart.
        let http = match url.scheme() {
            "ws" => Some("http"),
            "wss" => Some("https"),
            _ => None,
        };
        if let Some(scheme) = http {
            let _ = url.set_scheme(scheme);
        }
        let client = client(&url)?;
        let mut legacy = url.clone();
        let has_legacy = url.port() == Some(9944) && legacy.set_port(Some(LEGACY_PORT)).is_ok();
        Ok(Self {
            legacy: has_legacy.then(|| self::client(&legacy)).transpose()?,
            client,
            url,
            is_legacy: AtomicBool::new(false),
            answers: Mutex::default(),
        })
    }

    /// The address, without a password that may stand in it.
    pub(crate) fn address(&self) -> String {
        address(&self.url)
    }

    /// The address for whoever connects, a password included.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the node answers on the port that HTTP had before 2023 only.
    pub(crate) fn is_legacy(&self) -> bool {
        self.is_legacy.load(Ordering::Relaxed)
    }

    /// Calls `method`, or repeats an answer that is younger than [`ROUND`].
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<T, Refusal> {
        self.call_within(method, params, ROUND).await
    }

    /// Calls `method`, or repeats an answer that is younger than `age`.
    pub(crate) async fn call_within<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
        age: Duration,
    ) -> Result<T, Refusal> {
        let slot = self.slot(format!("{method} {}", Value::from(params.to_vec())), age);
        let mut slot = slot.lock().await;
        let answer = match &*slot {
            Some((at, answer)) if at.elapsed() < age => answer.clone(),
            _ => {
                let answer = self.ask(method, params).await;
                *slot = Some((Instant::now(), answer.clone()));
                answer
            }
        };
        drop(slot);
        T::deserialize(&*answer?).map_err(|_| {
            Refusal::new(
                ErrorKind::Malformed,
                text!(
                    "{node} answers {method} in a form that is not understood",
                    node = self.address(),
                    method = method
                ),
            )
        })
    }

    /// Where the answer to a question is kept; forgets what nobody asks for any more.
    fn slot(&self, question: String, age: Duration) -> Slot {
        const PLENTY: usize = 128;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= PLENTY {
            answers.retain(|_, slot| {
                // A question that is under way is locked, and stays.
                slot.try_lock().map_or(true, |slot| {
                    slot.as_ref().is_some_and(|(at, _)| at.elapsed() < age)
                })
            });
        }
        Arc::clone(answers.entry(question).or_default())
    }

    async fn ask(&self, method: &str, params: &[Value]) -> Answer {
        if self.is_legacy() {
            let client = self.legacy.as_ref().unwrap_or(&self.client);
            return self.request(client, method, params).await;
        }
        let answer = self.request(&self.client, method, params).await;
        // What does not speak HTTP on 9944 at all may be a node from before 2023, which does so elsewhere.
        let suspect = matches!(&answer, Err(refusal) if refusal.code.is_none()
            && matches!(refusal.kind, ErrorKind::Unreachable | ErrorKind::Malformed));
        let Some(legacy) = self.legacy.as_ref().filter(|_| suspect) else {
            return answer;
        };
        match self.request(legacy, method, params).await {
            Err(refusal) if refusal.code.is_none() => answer,
            older => {
                self.is_legacy.store(true, Ordering::Relaxed);
                older
            }
        }
    }

    async fn request(&self, client: &HttpClient, method: &str, params: &[Value]) -> Answer {
        let mut array = ArrayParams::new();
        for param in params {
            array
                .insert(param)
                .map_err(|error| Refusal::new(ErrorKind::Malformed, Text::plain(error)))?;
        }
        let answer: Result<Value, ClientError> = client.request(method, array).await;
        answer.map(Arc::new).map_err(|error| self.refusal(method, error))
    }

    fn refusal(&self, method: &str, error: ClientError) -> Refusal {
        let node = self.address();
        match error {
            ClientError::Call(object) => {
                let said = quoted(object.message());
                let (kind, message) = match object.code() {
                    -32601 if said.contains("unsafe to be called externally") => (
                        ErrorKind::Denied,
                        text!(
                            "{node} refuses {method}: it answers unsafe methods on loopback only, ask it from its own machine",
                            node = node,
                            method = method
                        ),
                    ),
                    -32601 => (
                        ErrorKind::TooOld,
                        text!("{node} has no method {method}", node = node, method = method),
                    ),
                    -32999 => (
                        ErrorKind::Denied,
                        text!(
                            "{node} answers no more calls for now: {said}",
                            node = node,
                            said = said
                        ),
                    ),
                    1 if method.starts_with("grandpa_") => (
                        ErrorKind::NotApplicable,
                        text!(
                            "{node} does not follow the vote for finality, or has only just started: {said}",
                            node = node,
                            said = said
                        ),
                    ),
                    _ => (
                        ErrorKind::Denied,
                        text!(
                            "{node} answers {method} with an error: {said}",
                            node = node,
                            method = method,
                            said = said
                        ),
                    ),
                };
                Refusal {
                    kind,
                    message,
                    code: Some(object.code()),
                }
            }
            ClientError::RequestTimeout => Refusal::new(
                ErrorKind::Timeout,
                text!(
                    "{node} did not answer {method} in time",
                    node = node,
                    method = method
                ),
            ),
            ClientError::Transport(error) => transport_refusal(&node, &*error),
            _ => Refusal::new(
                ErrorKind::Malformed,
                text!("{node} does not answer in JSON-RPC", node = node),
            ),
        }
    }
}

/// The address of a node for people: without the password that may stand in it, and without a bare final slash.
pub(crate) fn address(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.as_str().trim_end_matches('/').to_owned()
}

fn client(url: &Url) -> Result<HttpClient> {
    HttpClientBuilder::new()
        .max_response_size(MAX_RESPONSE_BYTES)
        .request_timeout(CALL_TIMEOUT)
        .build(url.as_str())
        .map_err(|_| {
            Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "{address} is no address of a node, expected one such as http://127.0.0.1:9944",
                    address = address(url)
                ),
            )
        })
}

fn transport_refusal(node: &str, error: &(dyn StdError + Send + Sync + 'static)) -> Refusal {
    if let Some(TransportError::Rejected { status_code }) = error.downcast_ref() {
        let (kind, message) = match status_code {
            403 => (
                ErrorKind::Denied,
                text!(
                    "{node} refuses the name it is called by (HTTP 403): ask it as localhost, or start it with --rpc-cors",
                    node = node
                ),
            ),
            401 | 407 => (
                ErrorKind::Denied,
                text!(
                    "{node} wants a password (HTTP {status})",
                    node = node,
                    status = *status_code
                ),
            ),
            429 => (
                ErrorKind::Denied,
                text!(
                    "{node} answers no more calls for now: {said}",
                    node = node,
                    said = "HTTP 429"
                ),
            ),
            _ => (
                ErrorKind::Malformed,
                text!(
                    "{node} answers with HTTP {status} and not in JSON-RPC",
                    node = node,
                    status = *status_code
                ),
            ),
        };
        return Refusal::new(kind, message);
    }
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut innermost = String::new();
    while let Some(error) = cause {
        innermost = error.to_string();
        if let Some(error) = error.downcast_ref::<io::Error>() {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                break;
            }
            let kind = match error.kind() {
                io::ErrorKind::TimedOut => ErrorKind::Timeout,
                _ => ErrorKind::Unreachable,
            };
            return Refusal::new(
                kind,
                text!(
                    "{node} does not answer: {cause}",
                    node = node,
                    cause = error.to_string()
                ),
            );
        }
        cause = error.source();
    }
    // What is left is a conversation that began and broke off: an answer too large, cut short, or no HTTP at all.
    Refusal::new(
        ErrorKind::Malformed,
        text!(
            "{node} does not keep to its protocol: {cause}",
            node = node,
            cause = quoted(&innermost)
        ),
    )
}

fn quoted(said: &str) -> String {
    said.chars()
        .filter(|character| !character.is_control())
        .take(MAX_QUOTED_CHARACTERS)
        .collect()
}
