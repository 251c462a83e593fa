//! One way to reach somebody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::notification::Notification;
use crate::text::Text;

/// Tells a notification to one receiver, once. Retries, order, rates and fallbacks are the dispatcher's business.
///
/// An implementation sends `notification.id` along as idempotency key wherever the receiver has a place for one, because
/// after a crash the same notification is told again. It may be cancelled at any await; the dispatcher puts a deadline
/// on it, and treats a cut-off attempt as one that may have succeeded. It reads at most a few kilobytes of an answer, and
/// no error, log or `Debug` of it holds a secret, a URL that is one included.
#[async_trait]
pub trait Notifier: fmt::Debug + Send + Sync {
    /// The kind of receiver, such as `slack`.
    fn kind(&self) -> &'static str;

    /// Tells it.
    ///
    /// # Errors
    /// A [`Refusal`] that says whether trying again makes sense, and when.
    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal>;
}

#[async_trait]
impl<N: Notifier + ?Sized> Notifier for Arc<N> {
    fn kind(&self) -> &'static str {
        (**self).kind()
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        (**self).notify(notification).await
    }
}

/// The receiver took it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// What the receiver calls it, such as PagerDuty's `dedup_key`. Never a secret.
    pub reference: Option<String>,
}

impl Receipt {
    /// A receipt with the receiver's own name for it.
    pub fn with_reference(reference: impl Into<String>) -> Self {
        Self {
            reference: Some(reference.into()),
        }
    }
}

/// The receiver did not take it, or it is not known whether it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Whether and when to try again.
    pub retry: Retry,
    /// Whether the receiver surely did not take it. False after a timeout or a broken connection: it may have, so the same
    /// notification must be told again before anything newer.
    pub is_certain: bool,
    /// The status of HTTP, or the code of SMTP.
    pub status: Option<u16>,
    /// What it said, in one line without secrets.
    pub reason: Text,
}

/// Whether and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same notification will never be taken: a wrong address, a payload it does not understand.
    Never,
    /// With the dispatcher's own back-off.
    Later,
    /// Not before this has passed, as the receiver asked (`Retry-After`).
    After(Duration),
}

impl Refusal {
    /// The receiver will never take it.
    pub fn permanent(reason: Text) -> Self {
        Self {
            retry: Retry::Never,
            is_certain: true,
            status: None,
            reason,
        }
    }

    /// The receiver did not take it now and may later.
    pub fn transient(reason: Text) -> Self {
        Self {
            retry: Retry::Later,
            is_certain: true,
            status: None,
            reason,
        }
    }

    /// It is not known whether the receiver took it.
    pub fn uncertain(reason: Text) -> Self {
        Self {
            retry: Retry::Later,
            is_certain: false,
            status: None,
            reason,
        }
    }

    /// The same with the status the receiver answered.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The same, to be tried again when `after` has passed and not before.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry = Retry::After(after);
        self
    }
}
