//! Turns counters into rates.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::Result;

/// What the first look waits for its second sample.
const FIRST: Duration = Duration::from_millis(100);

/// Two samples closer than this tell more about the kernel's ticks than about the machine.
const CLOSEST: Duration = Duration::from_millis(50);

/// Remembers the last sample.
pub(crate) struct Sampler<S> {
    last: Mutex<Option<(Instant, S)>>,
}

/// Two samples and the time between them.
#[derive(Debug)]
pub(crate) struct Span<S> {
    pub(crate) before: S,
    pub(crate) after: S,
    pub(crate) elapsed: Duration,
}

impl<S> Default for Sampler<S> {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
        }
    }
}

impl<S> fmt::Debug for Sampler<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sampler").finish_non_exhaustive()
    }
}

impl<S: Clone + Send> Sampler<S> {
    /// The last sample and a new one. Where the last is missing or too young, one is taken and waited for.
    pub(crate) async fn span(&self, take: impl Fn() -> Result<S> + Send + Sync) -> Result<Span<S>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (since, before) = match last {
            Some((at, sample)) if at.elapsed() >= CLOSEST => (at, sample),
            _ => {
                let first = (Instant::now(), take()?);
                sleep(FIRST).await;
                first
            }
        };
        let after = take()?;
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((now, after.clone()));
        Ok(Span {
            before,
            after,
            elapsed: now - since,
        })
    }
}

impl<S> Span<S> {
    /// How much a counter went up in a second; nothing where it was reset in between.
    pub(crate) fn rate(&self, before: u64, after: u64) -> Option<f64> {
        Some(after.checked_sub(before)? as f64 / self.elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_span_is_short_and_the_next_reaches_back_to_the_last_look() {
        let sampler = Sampler::default();
        let counter = AtomicU64::new(0);
        let take = || Ok(counter.fetch_add(10, Ordering::Relaxed));
        let first = sampler.span(take).await.unwrap();
        assert_eq!((first.before, first.after, first.elapsed), (0, 10, FIRST));
        assert_eq!(first.rate(first.before, first.after), Some(100.0));
        sleep(Duration::from_secs(5)).await;
        let second = sampler.span(take).await.unwrap();
        assert_eq!(
            (second.before, second.after, second.elapsed),
            (10, 20, Duration::from_secs(5))
        );
        assert_eq!(second.rate(second.after, second.before), None);
    }
}
