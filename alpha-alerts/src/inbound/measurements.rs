//! What the inbound APIs count of themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::backend::AlertCounts;
use crate::alert::Alert;
use crate::exposition::{Exposition, Type, counted};

/// Upper bounds of the latency of taking alerts, in seconds: from a commit to a fast disk to Prometheus' deadline.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

/// Counters of one server.
#[derive(Debug, Default)]
pub(super) struct Measurements {
    firing: AtomicU64,
    resolved: AtomicU64,
    invalid: AtomicU64,
    failures: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len()],
    slower: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Measurements {
    /// Counts the alerts of one request.
    pub(super) fn received(&self, alerts: &[Alert], refused: usize, now: Timestamp) {
        let resolved = alerts.iter().filter(|alert| alert.is_resolved_at(now)).count();
        self.firing
            .fetch_add((alerts.len() - resolved) as u64, Ordering::Relaxed);
        self.resolved.fetch_add(resolved as u64, Ordering::Relaxed);
        self.invalid.fetch_add(refused as u64, Ordering::Relaxed);
    }

    /// Counts one request that brought alerts, and how long it took since `begun`.
    pub(super) fn answered(&self, begun: Instant, is_accepted: bool) {
        let elapsed: Duration = begun.elapsed();
        if !is_accepted {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        let seconds = elapsed.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        let bucket = bucket.map_or(&self.slower, |bucket| &self.buckets[bucket]);
        bucket.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Adds them to `exposition`, with how many alerts and silences there are now.
    pub(super) fn expose(&self, exposition: &mut Exposition, alerts: AlertCounts, started_at: Timestamp) {
        let read = |counter: &AtomicU64| counted(counter.load(Ordering::Relaxed));
        exposition
            .family("alpha_build_info", Type::Gauge, "The version that runs.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)
            .family(
                "alpha_start_time_seconds",
                Type::Gauge,
                "Since when it runs, in Unix time.",
            )
            .sample(&[], started_at.as_duration().as_secs_f64())
            .family(
                "alpha_alerts",
                Type::Gauge,
                "Alerts that fire, by whether somebody is told of them.",
            )
            .sample(&[("state", "active")], counted(alerts.active))
            .sample(&[("state", "suppressed")], counted(alerts.suppressed))
            .family(
                "alpha_alerts_received_total",
                Type::Counter,
                "Alerts that were taken, by what they said.",
            )
            .sample(&[("status", "firing")], read(&self.firing))
            .sample(&[("status", "resolved")], read(&self.resolved))
            .family(
                "alpha_alerts_invalid_total",
                Type::Counter,
                "Alerts that were refused.",
            )
            .sample(&[], read(&self.invalid))
            .family(
                "alpha_alert_requests_failed_total",
                Type::Counter,
                "Requests with alerts that were not answered with success.",
            )
            .sample(&[], read(&self.failures));
        let mut below = 0;
        let buckets: Vec<(f64, u64)> = BOUNDS
            .iter()
            .zip(&self.buckets)
            .map(|(bound, bucket)| {
                below += bucket.load(Ordering::Relaxed);
                (*bound, below)
            })
            .collect();
        exposition.histogram(
            "alpha_alert_request_duration_seconds",
            "How long requests with alerts took until the alerts were durable.",
            &buckets,
            below + self.slower.load(Ordering::Relaxed),
            read(&self.nanoseconds) / 1e9,
        );
    }
}
