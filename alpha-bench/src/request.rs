//! What is sent, and what answer is expected.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::failure::{Failure, FailureClass};
use crate::template::{Inputs, Template};
use crate::text;

/// The longest cycle in which kinds of requests are dealt; weights that need a longer one are refused.
const LONGEST_CYCLE: u32 = 10_000;

/// One kind of HTTP request; path, header values and body may hold templates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Request {
    /// What reports call it; method and path by default.
    pub name: Option<String>,
    /// How often it is sent compared with the others; 1 by default.
    pub weight: u32,
    /// `GET` by default.
    pub method: String,
    /// Path and query; `/` by default.
    pub path: String,
    /// Headers besides `host`, `content-length` and `user-agent`, which are set unless they stand here.
    pub headers: BTreeMap<String, String>,
    /// The body; none by default.
    pub body: Option<String>,
    /// What the answer has to look like.
    pub check: Check,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            name: None,
            weight: 1,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            check: Check::default(),
        }
    }
}

impl Request {
    /// A `GET` of `path` that expects any 2xx.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// A `POST` of `body` to `path` that expects any 2xx.
    pub fn post(path: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            method: "POST".to_owned(),
            body: Some(body.into()),
            ..Self::get(path)
        }
    }

    /// What reports call it.
    pub fn title(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| format!("{} {}", self.method, self.path))
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sets what the answer has to look like.
    #[must_use]
    pub fn with_check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }
}

/// What an answer has to look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Check {
    /// The statuses that are right; any 2xx by default.
    pub status: Vec<u16>,
    /// Values that its JSON must hold.
    pub json: Vec<JsonCheck>,
    /// The least number of bytes in its body.
    pub min_bytes: Option<u64>,
    /// The largest number of bytes in its body.
    pub max_bytes: Option<u64>,
    /// Whether it is a JSON-RPC answer, or a batch of so many, in which an error object is a failure.
    pub rpc_answers: Option<u32>,
}

/// A value that a JSON answer must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JsonCheck {
    /// Where it stands, as an RFC 6901 pointer such as `/items/0/id`.
    pub pointer: String,
    /// What it must equal; that it exists is enough by default.
    pub equals: Option<Value>,
}

impl Check {
    /// Whether the body has to be kept until it is complete.
    pub(crate) fn needs_body(&self) -> bool {
        !self.json.is_empty() || self.rpc_answers.is_some()
    }

    /// Judges the status of an answer.
    pub(crate) fn judge_status(&self, status: u16) -> Result<(), Failure> {
        let expected = if self.status.is_empty() {
            (200..300).contains(&status)
        } else {
            self.status.contains(&status)
        };
        if expected {
            return Ok(());
        }
        let class = if (300..400).contains(&status) {
            FailureClass::Redirect
        } else {
            FailureClass::Status
        };
        Err(Failure::new(class, status_words(status)))
    }

    /// Judges a whole answer.
    pub(crate) fn judge_body(&self, length: u64, body: &[u8]) -> Result<(), Failure> {
        let fail = |detail: &'static str| Err(Failure::new(FailureClass::Check, detail));
        if self.min_bytes.is_some_and(|least| length < least) {
            return fail("the body is shorter than min_bytes");
        }
        if self.max_bytes.is_some_and(|most| length > most) {
            return fail("the body is longer than max_bytes");
        }
        if let Some(expected) = self.rpc_answers {
            judge_rpc(body, expected)?;
        }
        if self.json.is_empty() {
            return Ok(());
        }
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return fail("the body is not JSON");
        };
        for check in &self.json {
            match (value.pointer(&check.pointer), &check.equals) {
                (None, _) => return fail("the JSON lacks an expected value"),
                (Some(found), Some(expected)) if found != expected => {
                    return fail("the JSON holds another value than expected");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The statuses seen most often as static text, so that a target that fails all the time costs no allocation.
fn status_words(status: u16) -> std::borrow::Cow<'static, str> {
    match status {
        301 => "status 301".into(),
        302 => "status 302".into(),
        401 => "status 401".into(),
        404 => "status 404".into(),
        429 => "status 429".into(),
        500 => "status 500".into(),
        502 => "status 502".into(),
        503 => "status 503".into(),
        504 => "status 504".into(),
        other => format!("status {other}").into(),
    }
}

#[derive(Deserialize)]
struct RpcAnswer {
    #[serde(default, deserialize_with = "exists")]
    result: bool,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
}

/// Whether a key exists, whatever stands there: the result of a JSON-RPC call may well be null.
fn exists<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Judges a JSON-RPC answer, a batch if more than one is expected.
pub(crate) fn judge_rpc(body: &[u8], expected: u32) -> Result<(), Failure> {
    let malformed = |_| Failure::new(FailureClass::Malformed, "the answer is not JSON-RPC");
    let judge = |answer: &RpcAnswer| match &answer.error {
        Some(error) => Err(Failure::new(FailureClass::Rpc, format!("error {}", error.code))),
        None if answer.result => Ok(()),
        None => Err(Failure::new(
            FailureClass::Malformed,
            "the answer has neither result nor error",
        )),
    };
    // A server refuses a whole batch with one object, for example because batches are switched off.
    if expected == 1 || body.first() == Some(&b'{') {
        return judge(&serde_json::from_slice(body).map_err(malformed)?);
    }
    let answers: Vec<RpcAnswer> = serde_json::from_slice(body).map_err(malformed)?;
    answers.iter().try_for_each(judge)?;
    if answers.len() < expected as usize {
        return Err(Failure::new(
            FailureClass::Rpc,
            "a call of the batch was not answered",
        ));
    }
    Ok(())
}

/// Requests in the order in which they are sent, with their templates read.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) requests: Arc<[Prepared]>,
    cycle: Arc<[u16]>,
}

/// A request with its templates read.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) path: Template,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Option<Template>,
    pub(crate) check: Check,
}

impl Mix {
    /// Reads the templates and lays out the order.
    pub(crate) fn new(requests: &[Request], inputs: &Inputs) -> Result<Self> {
        let weights: Vec<u32> = requests.iter().map(|request| request.weight).collect();
        let prepared: Vec<_> = requests
            .iter()
            .map(|request| Prepared::new(request, inputs))
            .collect::<Result<_>>()?;
        Ok(Self {
            requests: prepared.into(),
            cycle: cycle(&weights)?.into(),
        })
    }

    /// Which kind of request has this number.
    #[inline]
    pub(crate) fn kind_of(&self, sequence: u64) -> usize {
        usize::from(self.cycle[(sequence % self.cycle.len() as u64) as usize])
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.requests.iter().map(|request| request.name.clone()).collect()
    }
}

impl Prepared {
    fn new(request: &Request, inputs: &Inputs) -> Result<Self> {
        // A line end in any of these would smuggle a header or a second request into every request, wherever it came from.
        let is_control = |byte: &u8| *byte < b' ' && *byte != b'\t' || *byte == 127;
        let path = Template::parse(&request.path, inputs)?;
        if !request.path.starts_with('/') || path.may_hold(|byte| *byte <= b' ' || *byte == 127) {
            return Err(Error::invalid(text!(
                "the path `{path}` must start with / and hold no space",
                path = request.path.escape_debug().to_string()
            )));
        }
        let token = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.!~*".contains(&b))
        };
        if !token(&request.method) {
            return Err(Error::invalid(text!(
                "`{method}` is no HTTP method",
                method = &request.method
            )));
        }
        let mut headers = Vec::with_capacity(request.headers.len());
        for (name, value) in &request.headers {
            let template = Template::parse(value, inputs)?;
            if !token(name) || template.may_hold(is_control) {
                return Err(Error::invalid(text!(
                    "the header `{name}` holds a character that must not be there",
                    name = name
                )));
            }
            headers.push((name.to_ascii_lowercase(), template));
        }
        Ok(Self {
            name: request.title(),
            method: request.method.clone(),
            path,
            headers,
            body: request
                .body
                .as_deref()
                .map(|body| Template::parse(body, inputs))
                .transpose()?,
            check: request.check.clone(),
        })
    }
}

/// The order in which kinds are sent: each as often as its weight says and as evenly spread as possible, which is the
/// smooth weighted round robin of nginx. A draw would leave the shares of a short run to chance.
fn cycle(weights: &[u32]) -> Result<Vec<u16>> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
    if divisor == 0 || weights.len() > usize::from(u16::MAX) {
        return Err(Error::invalid(text!(
            "a scenario needs at least one request with a weight"
        )));
    }
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let total: i64 = weights.iter().sum();
    if total > i64::from(LONGEST_CYCLE) {
        return Err(Error::invalid(text!(
            "the weights must add up to at most {most}",
            most = LONGEST_CYCLE
        )));
    }
    let mut credit = vec![0; weights.len()];
    let mut order = Vec::with_capacity(total as usize);
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += weight;
        }
        let mut next = 0;
        for candidate in 1..credit.len() {
            if credit[candidate] > credit[next] {
                next = candidate;
            }
        }
        credit[next] -= total;
        order.push(next as u16);
    }
    Ok(order)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_spread_evenly_by_weight() {
        assert_eq!(cycle(&[5, 1, 1]).unwrap(), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(cycle(&[10, 10]).unwrap(), [0, 1]);
        assert_eq!(cycle(&[0, 3]).unwrap(), [1]);
        assert!(cycle(&[0]).is_err() && cycle(&[]).is_err() && cycle(&[20_000, 1]).is_err());
    }

    #[test]
    fn an_answer_is_judged_by_status_value_and_size() {
        let check = Check {
            json: vec![
                JsonCheck {
                    pointer: "/status".to_owned(),
                    equals: Some("ok".into()),
                },
                JsonCheck {
                    pointer: "/items/0".to_owned(),
                    equals: None,
                },
            ],
            min_bytes: Some(10),
            ..Check::default()
        };
        let detail = |body: &str| {
            check
                .judge_body(body.len() as u64, body.as_bytes())
                .err()
                .map(|f| f.detail)
        };
        assert_eq!(detail(r#"{"status": "ok", "items": [1]}"#), None);
        assert_eq!(
            detail(r#"{"status": "bad", "items": [1]}"#).unwrap(),
            "the JSON holds another value than expected"
        );
        assert_eq!(
            detail(r#"{"status": "ok", "items": []}"#).unwrap(),
            "the JSON lacks an expected value"
        );
        assert_eq!(detail("<html></html>").unwrap(), "the body is not JSON");
        assert_eq!(detail("{}").unwrap(), "the body is shorter than min_bytes");
        assert_eq!(check.judge_status(204), Ok(()));
        assert_eq!(check.judge_status(302).unwrap_err().class, FailureClass::Redirect);
        assert_eq!(check.judge_status(503).unwrap_err().detail, "status 503");
    }

    #[test]
    fn a_json_rpc_error_is_a_failure_and_a_null_result_is_not() {
        let class = |body: &str, expected| {
            judge_rpc(body.as_bytes(), expected)
                .err()
                .map(|failure| failure.class)
        };
        assert_eq!(class(r#"{"jsonrpc":"2.0","id":1,"result":null}"#, 1), None);
        assert_eq!(
            class(
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":""}}"#,
                1
            ),
            Some(FailureClass::Rpc)
        );
        assert_eq!(class(r#"[{"id":1,"result":1},{"id":2,"result":2}]"#, 2), None);
        assert_eq!(class(r#"[{"id":1,"result":1}]"#, 2), Some(FailureClass::Rpc));
        assert_eq!(
            class(r#"{"id":null,"error":{"code":-32005}}"#, 2),
            Some(FailureClass::Rpc)
        );
        assert_eq!(class(r#"{"id":1}"#, 1), Some(FailureClass::Malformed));
        assert_eq!(class("busy", 1), Some(FailureClass::Malformed));
    }

    #[test]
    fn a_request_cannot_smuggle_another_one() {
        let mut inputs = Inputs::default();
        inputs.add_table("t", "a\n\"x\r\ny: z\"\n").unwrap();
        let refused = |request: Request| Mix::new(&[request], &inputs).unwrap_err().to_string();
        insta::assert_snapshot!(refused(Request::get("/${column:t.a}")), @"the path `/${column:t.a}` must start with / and hold no space");
        insta::assert_snapshot!(refused(Request::get("/").with_header("b", "${column:t.a}")), @"the header `b` holds a character that must not be there");
        insta::assert_snapshot!(refused(Request::get("/a b")), @"the path `/a b` must start with / and hold no space");
        insta::assert_snapshot!(refused(Request::get("/").with_header("a", "b\r\nc: d")), @"the header `a` holds a character that must not be there");
        insta::assert_snapshot!(refused(Request { method: "GE T".to_owned(), ..Request::default() }), @"`GE T` is no HTTP method");
    }
}
