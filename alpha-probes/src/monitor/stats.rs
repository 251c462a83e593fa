//! How the monitor itself fares.

use std::collections::VecDeque;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// How the monitor itself fares, since it began to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct MonitorStats {
    /// Checks in the set.
    pub checks: usize,
    /// Probes asked so far.
    pub runs: u64,
    /// Intervals that passed without their check being asked, by the monitor's own fault.
    pub missed: u64,
    /// Due runs that were left out because the one before was still under way.
    pub overrun: u64,
    /// Probes that are being asked right now and have not hung so far.
    pub running: usize,
    /// Probes that have been running for over a second, or did so the last time.
    pub hanging: usize,
    /// Checks that are due and wait for their turn.
    pub waiting: usize,
    /// Half of the last 4,096 runs began at most this much after they were due.
    #[serde(rename = "lateness_p50_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub lateness_p50: Duration,
    /// All but one in a hundred of the last 4,096 runs began at most this much after they were due.
    #[serde(rename = "lateness_p99_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub lateness_p99: Duration,
    /// The latest begin of the last 4,096 runs.
    #[serde(rename = "lateness_max_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub lateness_max: Duration,
    /// How often the monitor itself woke up so late that results were not to be believed.
    pub stalls: u64,
    /// Whether it did so in the last minute, or checks have waited for over a second for their turn.
    pub overloaded: bool,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// How late the last runs began; exact, in 16 KiB.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// Microseconds, oldest first.
    recent: VecDeque<u32>,
}

impl Lateness {
    const KEPT: usize = 4096;

    pub(super) fn push(&mut self, lateness: Duration) {
        if self.recent.len() == Self::KEPT {
            self.recent.pop_front();
        }
        let micros = u32::try_from(lateness.as_micros()).unwrap_or(u32::MAX);
        self.recent.push_back(micros);
    }

    /// The median, the 99th percentile and the greatest, each the nearest rank.
    pub(super) fn percentiles(&self) -> [Duration; 3] {
        let mut sorted: Vec<u32> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            let micros = sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
            Duration::from_micros(u64::from(micros))
        };
        [rank(50), rank(99), rank(100)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.percentiles(), [Duration::ZERO; 3]);
        for millis in (1..=100).rev() {
            lateness.push(Duration::from_millis(millis));
        }
        assert_eq!(lateness.percentiles(), [50, 99, 100].map(Duration::from_millis));
        for _ in 0..Lateness::KEPT {
            lateness.push(Duration::from_millis(7));
        }
        assert_eq!(lateness.percentiles(), [Duration::from_millis(7); 3]);
    }
}
