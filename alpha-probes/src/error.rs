//! Why a question could not be asked.
//!
//! A finding is not an error: a node that does not answer, a full disk or a failed query is an
//! [`Observation`](crate::Observation), judged by conditions. An [`Error`] says that nothing could be found out, and
//! the engine turns it into [`Status::Unknown`](crate::Status::Unknown) with its reason.

use std::fmt;

use crate::text::Text;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The question has no meaning here, such as a pallet that the chain does not have: remove the check.
    NotApplicable,
    /// The other side refused to answer this caller: give it the right, or the right password.
    Denied,
    /// The other side is too old to know the question: upgrade it.
    TooOld,
    /// Nothing answers at the address, so that the question behind it could not be asked.
    Unreachable,
    /// No answer came within the deadline.
    Timeout,
    /// An answer came that cannot be understood.
    Malformed,
    /// The configuration is wrong; the message names the key and what is expected.
    InvalidConfig,
    /// Alpha itself is too busy to be believed.
    Overloaded,
    /// This machine refused a file, a process or a socket.
    Io,
    /// A defect of Alpha itself, such as a probe that panicked.
    Internal,
}

/// A question that could not be asked, with the reason in words a person can act on.
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

    /// Whether asking again later may succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Overloaded
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn the_cause_is_told_once_and_not_in_the_message() {
        let error = Error::new(
            ErrorKind::Denied,
            text!("could not ask {what}", what = "the daemon"),
        )
        .with_source(std::io::Error::other("permission denied"));
        assert_eq!(error.to_string(), "could not ask the daemon");
        assert_eq!(
            error.to_text().to_string(),
            "could not ask the daemon: permission denied"
        );
    }
}
