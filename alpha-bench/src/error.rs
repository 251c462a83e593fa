//! Why a load could not be put on anything.
//!
//! A slow or failing target is not an error: failed requests are counted by class in the report. An [`Error`] says that
//! no measurement was possible, or that what was asked for makes no sense.

use std::fmt;

use crate::text::Text;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The scenario, rule or setting is wrong; the message names it and what is expected.
    InvalidConfig,
    /// The name of the target cannot be resolved.
    Unreachable,
    /// A stored report or histogram cannot be understood.
    Malformed,
    /// This build lacks the protocol; the message names the feature.
    Unsupported,
    /// This machine refused a thread, a timer or a certificate store.
    Io,
}

/// A load that could not be put on, with the reason in words a person can act on.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Text,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is one line, lowercase, without a final dot, and never holds a secret.
    pub fn new(kind: ErrorKind, message: Text) -> Self {
        Self(Box::new(Inner {
            kind,
            message,
            source: None,
        }))
    }

    pub(crate) fn invalid(message: Text) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    /// The same error with its cause, which [`std::error::Error::source`] yields.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether asking again later may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unreachable | ErrorKind::Io)
    }

    /// The message as translatable text, without its cause.
    pub fn message(&self) -> &Text {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.message.fmt(formatter)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
