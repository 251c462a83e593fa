//! A target in memory whose latency is known.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Failure, FailureClass};
use crate::target::{Connection, Exchange, Target};

/// A target in memory that answers after a set time, for tests of whoever uses this crate.
///
/// It can stand still for a part of every period, be slow on every n-th request and fail on every n-th, so that the
/// true percentiles are known by calculation. On tokio's paused clock a run of an hour takes milliseconds.
#[derive(Clone, Debug)]
pub struct FixedLatency {
    latency: Duration,
    freeze: Option<(Duration, Duration)>,
    slow: Option<(u64, Duration)>,
    failure: Option<(u64, FailureClass)>,
    origin: Arc<OnceLock<Instant>>,
}

impl FixedLatency {
    /// A target that answers every request after `latency`.
    pub fn new(latency: Duration) -> Self {
        Self {
            latency,
            freeze: None,
            slow: None,
            failure: None,
            origin: Arc::default(),
        }
    }

    /// Stands still for `length` at the begin of every `period`, counted from the first connection: what arrives in that
    /// time is answered `latency` after its end.
    #[must_use]
    pub fn with_freeze(mut self, period: Duration, length: Duration) -> Self {
        self.freeze = Some((period, length));
        self
    }

    /// Answers every `every`-th request after `latency` instead.
    #[must_use]
    pub fn with_slow(mut self, every: u64, latency: Duration) -> Self {
        self.slow = Some((every.max(1), latency));
        self
    }

    /// Fails every `every`-th request with `class`.
    #[must_use]
    pub fn with_failure(mut self, every: u64, class: FailureClass) -> Self {
        self.failure = Some((every.max(1), class));
        self
    }
}

impl Target for FixedLatency {
    type Connection = FixedLatencyConnection;

    fn describe(&self) -> String {
        format!("memory answering after {:?}", self.latency)
    }

    fn request_names(&self) -> Vec<String> {
        vec!["request".to_owned()]
    }

    fn kind_of(&self, _sequence: u64) -> usize {
        0
    }

    async fn connect(&self) -> Result<FixedLatencyConnection, Failure> {
        self.origin.get_or_init(Instant::now);
        Ok(FixedLatencyConnection(self.clone()))
    }
}

/// A connection to a [`FixedLatency`].
#[derive(Debug)]
pub struct FixedLatencyConnection(FixedLatency);

impl Connection for FixedLatencyConnection {
    async fn exchange(&mut self, sequence: u64) -> Exchange {
        let target = &self.0;
        let hit = |every: u64| sequence % every == every - 1;
        let mut wait = match target.slow {
            Some((every, latency)) if hit(every) => latency,
            _ => target.latency,
        };
        if let Some((period, length)) = target.freeze {
            let since = target.origin.get_or_init(Instant::now).elapsed();
            let phase = Duration::from_nanos((since.as_nanos() % period.as_nanos().max(1)) as u64);
            wait += length.saturating_sub(phase);
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        match target.failure {
            Some((every, class)) if hit(every) => Exchange::failed(0, Failure::new(class, "as configured")),
            _ => Exchange::succeeded(1),
        }
    }

    fn is_reusable(&mut self) -> bool {
        true
    }
}
