//! Why a request is not carried out, in the shapes that Alertmanager's clients know.

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::{Error, ErrorKind};

/// An answer that says why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Shape);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// `{"code":602,"message":".."}`: what the schema of the API refuses.
    Coded { status: u16, code: u32, message: String },
    /// A JSON string: what Alertmanager itself refuses.
    Sentence { status: u16, message: String },
    /// A status alone.
    Bare { status: u16 },
}

impl Refusal {
    /// The body cannot be understood.
    pub(super) fn unreadable(what: &str, error: &dyn fmt::Display) -> Self {
        Self::coded(400, format!("parsing {what} body failed, because {error}"))
    }

    /// The body breaks the schema; `code` is go-openapi's number of the rule.
    pub(super) fn validation(code: u32, message: String) -> Self {
        Self(Shape::Coded {
            status: 422,
            code,
            message,
        })
    }

    /// `{"code":404,"message":".."}`, with the status as code.
    pub(super) fn coded(status: u16, message: String) -> Self {
        Self(Shape::Coded {
            status,
            code: u32::from(status),
            message,
        })
    }

    /// A JSON string.
    pub(super) fn sentence(status: u16, message: impl Into<String>) -> Self {
        Self(Shape::Sentence {
            status,
            message: message.into(),
        })
    }

    /// A status without words.
    pub(super) fn bare(status: u16) -> Self {
        Self(Shape::Bare { status })
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self.0 {
            Shape::Coded { status, .. } | Shape::Sentence { status, .. } | Shape::Bare { status } => status,
        }
    }

    /// The body, which is JSON or empty.
    pub fn body(&self) -> String {
        let text = |message: &str| serde_json::Value::from(message).to_string();
        match &self.0 {
            Shape::Coded { code, message, .. } => {
                format!("{{\"code\":{code},\"message\":{}}}", text(message))
            }
            Shape::Sentence { message, .. } => format!("{}\n", text(message)),
            Shape::Bare { .. } => String::new(),
        }
    }
}

/// The status that tells the sender whether to try again: 503 where nothing was accepted but may be later.
impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidInput => 400,
            ErrorKind::NotFound => 404,
            ErrorKind::Conflict => 409,
            ErrorKind::Denied => 403,
            ErrorKind::Unavailable | ErrorKind::Fenced => 503,
            ErrorKind::Unsupported => 501,
            ErrorKind::InvalidConfig | ErrorKind::Corrupt | ErrorKind::Io => 500,
        };
        Self::sentence(status, error.to_text().to_string())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body()).into_response();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        if !matches!(self.0, Shape::Bare { .. }) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"alpha\", Bearer"),
            );
        }
        response
    }
}
