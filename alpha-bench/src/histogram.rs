//! Latencies counted in buckets of bounded relative error, in fixed memory.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram as Hdr;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart; longer ones count as this one.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Latencies of 64 ns to one hour with a bounded relative error and in fixed memory.
///
/// Two histograms of any precision add up, so that cores, processes and machines can be merged. Percentiles of merged
/// histograms are right where an average of percentiles would not be.
#[derive(Clone)]
pub struct Histogram(Hdr<u64>);

/// How finely a [`Histogram`] tells latencies apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Within 0.1 %, 220 KiB: for a whole run.
    Full,
    /// Within 1 %, 30 KiB: for one second or one kind of request.
    Window,
}

impl Histogram {
    /// An empty histogram.
    pub fn new(precision: Precision) -> Self {
        let digits = match precision {
            Precision::Full => 3,
            Precision::Window => 2,
        };
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let histogram = Hdr::new_with_bounds(100, longest, digits);
        Self(histogram.expect("constant bounds of a histogram are valid"))
    }

    /// Counts one latency.
    #[inline]
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Counts the same latency several times.
    #[inline]
    pub fn record_many(&mut self, latency: Duration, count: u64) {
        self.0.saturating_record_n(nanos(latency), count);
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for bucket in other.0.iter_recorded() {
            self.0
                .saturating_record_n(bucket.value_iterated_to(), bucket.count_since_last_iteration());
        }
    }

    /// Adds the counts of a stored histogram.
    pub fn merge_buckets(&mut self, other: &Buckets) {
        for &(latency, count) in &other.0 {
            self.0.saturating_record_n(latency, count);
        }
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many latencies were counted.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The arithmetic mean; zero when empty.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean().round() as u64).min(self.max())
    }

    /// The standard error of the mean in seconds, for independent latencies; zero when empty.
    pub fn standard_error(&self) -> f64 {
        if self.is_empty() {
            0.0
        } else {
            self.0.stdev() / 1e9 / (self.len() as f64).sqrt()
        }
    }

    /// The longest latency; zero when empty.
    pub fn max(&self) -> Duration {
        // The first bucket is the only one whose upper edge says more than was seen.
        let max = self.0.max();
        Duration::from_nanos(if self.0.lowest_equivalent(max) == 0 {
            0
        } else {
            max
        })
    }

    /// The latency that the share `quantile` (0 to 1) of all latencies does not exceed; zero when empty.
    pub fn quantile(&self, quantile: f64) -> Duration {
        // The middle of the bucket, not its upper edge, halves the error and takes away its sign.
        let nanos = self.0.value_at_quantile(quantile);
        Duration::from_nanos(self.0.median_equivalent(nanos)).min(self.max())
    }

    /// The latency of the given rank, counted from one.
    pub fn at_rank(&self, rank: u64) -> Duration {
        if self.is_empty() {
            return Duration::ZERO;
        }
        // Half a rank below is well inside the bucket whatever the rounding of the division.
        self.quantile((rank.clamp(1, self.len()) as f64 - 0.5) / self.len() as f64)
    }

    /// The share of latencies above `limit`, 0 to 1; zero when empty.
    pub fn share_above(&self, limit: Duration) -> f64 {
        if self.is_empty() {
            0.0
        } else {
            1.0 - self.0.quantile_below(nanos(limit))
        }
    }

    /// The occupied buckets as data that can be stored and merged.
    pub fn to_buckets(&self) -> Buckets {
        let median = |value| self.0.median_equivalent(value);
        Buckets(
            self.0
                .iter_recorded()
                .map(|b| (median(b.value_iterated_to()), b.count_at_value()))
                .collect(),
        )
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Histogram")
            .field("len", &self.len())
            .field("p50", &self.quantile(0.5))
            .field("max", &self.max())
            .finish()
    }
}

/// The occupied buckets of a histogram: pairs of a latency in nanoseconds and its count, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Buckets(pub Vec<(u64, u64)>);

impl Buckets {
    /// How many latencies were counted.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the counts of other buckets.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let mut merged = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a.0 <= b.0 => mine.next(),
                (Some(_), None) => mine.next(),
                (_, Some(_)) => theirs.next(),
                (None, None) => break,
            };
            let Some(&(latency, count)) = next else { break };
            match merged.last_mut() {
                Some((last, total)) if *last == latency => *total += count,
                _ => merged.push((latency, count)),
            }
        }
        self.0 = merged;
    }

    /// The latency that the share `quantile` of all latencies does not exceed; zero when empty.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = (quantile * self.len() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for &(latency, count) in &self.0 {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(latency);
            }
        }
        Duration::from_nanos(self.0.last().map_or(0, |(latency, _)| *latency))
    }

    /// A histogram of these latencies.
    pub fn to_histogram(&self, precision: Precision) -> Histogram {
        let mut histogram = Histogram::new(precision);
        histogram.merge_buckets(self);
        histogram
    }
}

fn nanos(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact_quantile(sorted: &[u64], quantile: f64) -> u64 {
        let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
        sorted[rank - 1]
    }

    proptest! {
        #[test]
        fn percentiles_stay_within_their_stated_error(
            mut values in prop::collection::vec(1_000_u64..60_000_000_000, 1..400),
            quantile in 0.0..=1.0_f64,
        ) {
            let mut full = Histogram::new(Precision::Full);
            let mut window = Histogram::new(Precision::Window);
            for value in &values {
                full.record(Duration::from_nanos(*value));
                window.record(Duration::from_nanos(*value));
            }
            values.sort_unstable();
            let truth = exact_quantile(&values, quantile) as f64;
            let error = |histogram: &Histogram| (histogram.quantile(quantile).as_nanos() as f64 - truth).abs();
            prop_assert!(error(&full) <= truth * 0.001 + 64.0);
            prop_assert!(error(&window) <= truth * 0.01 + 64.0);
        }

        #[test]
        fn halves_merged_are_the_whole(values in prop::collection::vec(1_000_u64..10_000_000_000, 2..300)) {
            let mut whole = Histogram::new(Precision::Full);
            let mut halves = [Histogram::new(Precision::Full), Histogram::new(Precision::Full)];
            for (index, value) in values.iter().enumerate() {
                whole.record(Duration::from_nanos(*value));
                halves[index % 2].record(Duration::from_nanos(*value));
            }
            let [mut left, right] = halves;
            let mut stored = left.to_buckets();
            stored.merge(&right.to_buckets());
            left.merge(&right);
            prop_assert_eq!(left.to_buckets(), whole.to_buckets());
            prop_assert_eq!(&stored, &whole.to_buckets());
            prop_assert_eq!(stored.to_histogram(Precision::Full).to_buckets(), stored);
        }
    }

    #[test]
    fn an_empty_histogram_answers_zero_and_a_latency_beyond_the_range_counts_as_the_longest() {
        let mut histogram = Histogram::new(Precision::Window);
        assert_eq!(
            (histogram.quantile(0.99), histogram.at_rank(3)),
            (Duration::ZERO, Duration::ZERO)
        );
        histogram.record(Duration::MAX);
        assert_eq!(histogram.len(), 1);
        assert!(histogram.max() >= LONGEST);
    }
}
