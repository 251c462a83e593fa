//! How sure a number is.
//!
//! Distributions come from `statrs`; what stands here is their use: which interval answers which question.

use std::time::Duration;

use statrs::distribution::{Beta, ContinuousCDF, Normal, StudentsT};

use crate::histogram::{Buckets, Histogram};

/// The share of intervals that hold the truth, for every interval of this crate.
pub const CONFIDENCE: f64 = 0.95;

/// How many samples must lie beyond a percentile before it is called reliable; with ten, the error of the rank is about
/// a third of the tail.
pub const SAMPLES_BEYOND: f64 = 10.0;

/// The two-sided quantile of the normal distribution that belongs to [`CONFIDENCE`], 1.96.
pub(crate) fn normal_quantile() -> f64 {
    Normal::standard().inverse_cdf(0.5 + CONFIDENCE / 2.0)
}

/// The two-sided quantile of Student's t distribution; at least one degree of freedom.
pub(crate) fn student_quantile(freedom: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, freedom.max(1.0)) {
        Ok(distribution) => distribution.inverse_cdf(0.5 + CONFIDENCE / 2.0),
        Err(_) => normal_quantile(),
    }
}

/// The exact interval of Clopper and Pearson for a share of which `hits` in `trials` were seen.
///
/// It never claims more than the sample holds: no failure in 50 requests still leaves up to 7 % possible.
pub fn share_interval(hits: u64, trials: u64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (hits, misses) = (hits.min(trials) as f64, trials.saturating_sub(hits) as f64);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(p, |beta| beta.inverse_cdf(p));
    let low = if hits == 0.0 {
        0.0
    } else {
        quantile(hits, misses + 1.0, tail)
    };
    let high = if misses == 0.0 {
        1.0
    } else {
        quantile(hits + 1.0, misses, 1.0 - tail)
    };
    (low, high)
}

/// A percentile with the interval that holds the true one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QuantileInterval {
    pub(crate) value: Duration,
    pub(crate) low: Duration,
    pub(crate) high: Duration,
    pub(crate) reliable: bool,
}

/// The interval of a percentile by ranks, after Woodruff (1952), with the variance between windows.
///
/// Latencies of one second resemble each other, so that a million of them say less than a million independent ones
/// would. How much less is estimated from how unevenly the slow ones are spread over the windows (the design effect of
/// cluster sampling); it widens the interval and is never allowed to narrow it.
pub(crate) fn quantile_interval(
    histogram: &Histogram,
    windows: &[&Buckets],
    quantile: f64,
) -> QuantileInterval {
    let count = histogram.len() as f64;
    let value = histogram.quantile(quantile);
    let effect = design_effect(windows, value);
    let spread = normal_quantile() * (count * quantile * (1.0 - quantile) * effect).sqrt();
    let rank = quantile * count;
    let reliable = count * (1.0 - quantile).min(quantile) / effect >= SAMPLES_BEYOND;
    QuantileInterval {
        value,
        low: histogram
            .at_rank((rank - spread).floor().max(1.0) as u64)
            .min(value),
        high: histogram.at_rank((rank + spread).ceil() as u64 + 1).max(value),
        reliable,
    }
}

/// By how much the scatter between windows exceeds that of independent samples; at least one.
fn design_effect(windows: &[&Buckets], limit: Duration) -> f64 {
    let limit = limit.as_nanos() as f64;
    let counts: Vec<(f64, f64)> = windows
        .iter()
        .filter(|window| !window.is_empty())
        .map(|window| {
            let above = window
                .0
                .iter()
                .filter(|(latency, _)| *latency as f64 > limit)
                .map(|(_, count)| count)
                .sum::<u64>();
            (window.len() as f64, above as f64)
        })
        .collect();
    let windows = counts.len() as f64;
    let total: f64 = counts.iter().map(|(count, _)| count).sum();
    let share = counts.iter().map(|(_, above)| above).sum::<f64>() / total.max(1.0);
    let independent = total * share * (1.0 - share);
    if windows < 2.0 || independent <= 0.0 {
        return 1.0;
    }
    let between: f64 = counts
        .iter()
        .map(|(count, above)| (above - share * count).powi(2))
        .sum();
    (between * windows / (windows - 1.0) / independent).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Precision;

    #[test]
    fn exact_intervals_agree_with_the_tables() {
        // Clopper and Pearson (1934); the values are those of R's binom.test.
        let close = |(low, high): (f64, f64), expected: (f64, f64)| {
            assert!(
                (low - expected.0).abs() < 1e-4 && (high - expected.1).abs() < 1e-4,
                "{low} {high}"
            );
        };
        close(share_interval(0, 50), (0.0, 0.071_12));
        close(share_interval(5, 100), (0.016_43, 0.112_83));
        close(share_interval(10, 10), (0.691_50, 1.0));
        close(share_interval(0, 0), (0.0, 1.0));
        assert!((student_quantile(4.0) - 2.7764).abs() < 1e-3);
        assert!((normal_quantile() - 1.959_96).abs() < 1e-3);
    }

    fn covered(bursty: bool) -> (f64, f64) {
        let mut random = fastrand::Rng::with_seed(42);
        let (mut hits, mut width) = (0.0, 0.0);
        // A fifth of the seconds, or of the requests, is slow; the true p90 is the median of the slow ones.
        let slow = |random: &mut fastrand::Rng| 100.0 * (1.0 + random.f64());
        for _ in 0..300 {
            let mut whole = Histogram::new(Precision::Window);
            let mut windows = Vec::new();
            for _ in 0..60 {
                let mut window = Histogram::new(Precision::Window);
                let slow_second = random.f64() < 0.2;
                for _ in 0..20 {
                    let is_slow = if bursty { slow_second } else { random.f64() < 0.2 };
                    let ms = if is_slow {
                        slow(&mut random)
                    } else {
                        1.0 + random.f64()
                    };
                    window.record(Duration::from_secs_f64(ms / 1000.0));
                }
                whole.merge(&window);
                windows.push(window.to_buckets());
            }
            let interval = quantile_interval(&whole, &windows.iter().collect::<Vec<_>>(), 0.9);
            let truth = Duration::from_millis(150);
            hits += f64::from(interval.low <= truth && truth <= interval.high);
            width += (interval.high - interval.low).as_secs_f64();
        }
        (hits / 300.0, width)
    }

    #[test]
    fn percentile_intervals_hold_the_truth_even_when_slowness_comes_in_bursts() {
        let (independent, narrow) = covered(false);
        let (bursts, wide) = covered(true);
        assert!(independent > 0.92, "{independent}");
        assert!(bursts > 0.88, "{bursts}");
        assert!(
            wide > 2.0 * narrow,
            "bursts leave fewer independent samples: {wide} {narrow}"
        );
    }

    #[test]
    fn a_percentile_with_nothing_beyond_it_is_not_reliable() {
        let mut histogram = Histogram::new(Precision::Full);
        for _ in 0..500 {
            histogram.record(Duration::from_millis(3));
        }
        assert!(!quantile_interval(&histogram, &[], 0.99).reliable);
        assert!(quantile_interval(&histogram, &[], 0.9).reliable);
    }
}
