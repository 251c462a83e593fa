//! In-memory implementations, for tests of this crate and of whoever embeds it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal};

pub use crate::stores::MemoryStore;

/// Remembers what it was told, and answers as a script says, then always yes.
#[derive(Debug, Default)]
pub struct RecordingNotifier {
    told: Mutex<Vec<Notification>>,
    script: Mutex<VecDeque<Result<Receipt, Refusal>>>,
    changed: tokio::sync::Notify,
}

impl RecordingNotifier {
    /// One that takes everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next answer that is not given yet.
    #[must_use]
    pub fn then(self, answer: Result<Receipt, Refusal>) -> Self {
        self.script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(answer);
        self
    }

    /// Every attempt so far, whether it was taken or refused.
    pub fn told(&self) -> Vec<Notification> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for at least so many attempts.
    pub async fn wait_for(&self, attempts: usize) -> Vec<Notification> {
        loop {
            let changed = self.changed.notified();
            let told = self.told();
            if told.len() >= attempts {
                return told;
            }
            changed.await;
        }
    }
}

#[async_trait]
impl Notifier for RecordingNotifier {
    fn kind(&self) -> &'static str {
        "recording"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(notification.clone());
        self.changed.notify_waiters();
        let answer = self
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        answer.unwrap_or_else(|| Ok(Receipt::default()))
    }
}
