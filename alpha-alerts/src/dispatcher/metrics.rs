//! What the dispatcher counts of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::notification::{IntegrationId, Notification};
use crate::store::Verdict;

/// Upper bounds of the buckets of [`Latency`], in seconds.
pub const LATENCY_BOUNDS_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 60.0, 3600.0,
];

/// Counters of a running dispatcher, since its start.
#[derive(Debug, Default)]
pub struct Metrics {
    alerts_received: AtomicU64,
    commands_refused: AtomicU64,
    commits: AtomicU64,
    reloads_of_state: AtomicU64,
    leads: AtomicBool,
    integrations: Mutex<BTreeMap<IntegrationId, Outcomes>>,
    latency: Mutex<Latency>,
}

/// How notifications to one integration ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// The receiver took it.
    pub sent: u64,
    /// An attempt failed and will be repeated.
    pub failed_attempts: u64,
    /// Given up.
    pub dead_lettered: u64,
}

/// Seconds from the decision to tell until the receiver took it, as a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Latency {
    /// How many took at most so long, by [`LATENCY_BOUNDS_SECONDS`]; not cumulative.
    pub counts: [u64; LATENCY_BOUNDS_SECONDS.len()],
    /// How many took longer than the last bound.
    pub above: u64,
    /// Seconds in all.
    pub sum_seconds: f64,
}

impl Metrics {
    /// Alerts that were accepted.
    pub fn alerts_received(&self) -> u64 {
        self.alerts_received.load(Ordering::Relaxed)
    }

    /// Commands that were refused because the store could not take them.
    pub fn commands_refused(&self) -> u64 {
        self.commands_refused.load(Ordering::Relaxed)
    }

    /// Transactions of the writer.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// How often the state had to be loaded anew because the store refused a change.
    pub fn reloads_of_state(&self) -> u64 {
        self.reloads_of_state.load(Ordering::Relaxed)
    }

    /// Whether this instance leads.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// How notifications ended, by integration.
    pub fn outcomes(&self) -> BTreeMap<IntegrationId, Outcomes> {
        self.integrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How long notifications took.
    pub fn latency(&self) -> Latency {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn received(&self, alerts: u64) {
        self.alerts_received.fetch_add(alerts, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, commands: u64) {
        self.commands_refused.fetch_add(commands, Ordering::Relaxed);
    }

    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn state_reloaded(&self) {
        self.reloads_of_state.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_leads(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    pub(super) fn concluded(&self, notification: &Notification, verdict: &Verdict, now: Timestamp) {
        let mut integrations = self.integrations.lock().unwrap_or_else(PoisonError::into_inner);
        let outcomes = integrations.entry(notification.integration.clone()).or_default();
        match verdict {
            Verdict::Sent(_) => {
                outcomes.sent += 1;
                let took = now.duration_since(notification.created_at).unsigned_abs();
                self.latency
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .record(took);
            }
            Verdict::Retry { .. } => outcomes.failed_attempts += 1,
            Verdict::DeadLettered { .. } => outcomes.dead_lettered += 1,
            Verdict::Released { .. } => {}
        }
    }
}

impl Latency {
    fn record(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.sum_seconds += seconds;
        match LATENCY_BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound) {
            Some(index) => self.counts[index] += 1,
            None => self.above += 1,
        }
    }
}
