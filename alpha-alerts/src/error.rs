//! Why an alert could not be taken, kept or found.
//!
//! A receiver that refuses a notification is not an error of this kind: the dispatcher records a
//! [`Refusal`](crate::notifier::Refusal) and goes on. An [`Error`] is told to whoever asked.

use std::fmt;

use crate::text::Text;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong; the message names the key and what is expected.
    InvalidConfig,
    /// What was sent is wrong, such as an alert without labels; the message names the field.
    InvalidInput,
    /// No such alert, silence, incident, person or receiver.
    NotFound,
    /// Something with this identity is there already, or changed meanwhile.
    Conflict,
    /// The caller has no right to do it.
    Denied,
    /// The store cannot be reached or refuses to write; nothing was accepted, so try again.
    Unavailable,
    /// Another instance took over; this one must not write any more.
    Fenced,
    /// What is stored cannot be understood.
    Corrupt,
    /// This build lacks the feature that the message names.
    Unsupported,
    /// This machine refused a file, a process or a socket.
    Io,
}

/// What could not be done, in words a person can act on.
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

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Fenced)
    }

    /// The message as translatable text, without its cause.
    pub fn message(&self) -> &Text {
        &self.0.message
    }

    /// The message followed by the causes, in one line of translatable text.
    pub fn to_text(&self) -> Text {
        let mut text = self.0.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            text = crate::text!("{message}: {cause}", message = text, cause = source.to_string());
            cause = source.source();
        }
        text
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
