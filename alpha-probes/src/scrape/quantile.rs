//! Quantiles of a histogram that a page exposes as buckets.

use std::collections::BTreeMap;

/// The buckets of a histogram, added over all its series: how many values were at most so large.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets(BTreeMap<Bound, f64>);

/// The upper end of a bucket; ordered as numbers are.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound(f64);

impl Eq for Bound {}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Buckets {
    /// Adds a series: `count` values were at most `bound`. False where the bound is no number or the count is none.
    pub(crate) fn add(&mut self, bound: &str, count: f64) -> bool {
        let Ok(bound) = bound.parse::<f64>() else {
            return false;
        };
        if bound.is_nan() || !(count.is_finite() && count >= 0.0) {
            return false;
        }
        *self.0.entry(Bound(bound)).or_default() += count;
        true
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was added since `earlier`; `None` where the target restarted or its buckets changed meanwhile.
    pub(crate) fn since(&self, earlier: &Self) -> Option<Self> {
        let has_same_bounds = self.0.keys().eq(earlier.0.keys());
        let grown = self.0.iter().zip(earlier.0.values());
        let difference: BTreeMap<_, _> = grown.map(|((bound, now), then)| (*bound, now - then)).collect();
        let is_growing = difference.values().all(|count| *count >= 0.0);
        (has_same_bounds && is_growing).then_some(Self(difference))
    }

    /// How many values there are in all.
    pub(crate) fn count(&self) -> f64 {
        self.0.values().copied().fold(0.0, f64::max)
    }

    /// The value that `share` (0 to 1) of all values do not exceed; `None` where there are no values.
    ///
    /// Interpolates within the bucket as the `histogram_quantile` of Prometheus does: values are taken to be spread
    /// evenly over their bucket, the lowest bucket begins at zero, and what lies beyond the last finite bound is
    /// reported as that bound.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.count();
        if total <= 0.0 {
            return None;
        }
        let rank = share * total;
        let (mut lower, mut below) = (None::<f64>, 0.0);
        for (&Bound(bound), &count) in &self.0 {
            if count >= rank && count > below {
                return match (bound.is_finite(), lower) {
                    (false, lower) => lower,
                    (true, None) if bound <= 0.0 => Some(bound),
                    (true, lower) => {
                        let lower = lower.unwrap_or(0.0);
                        Some(lower + (bound - lower) * ((rank - below) / (count - below)).clamp(0.0, 1.0))
                    }
                };
            }
            // A scrape between two increments may catch a bucket below its predecessor.
            below = below.max(count);
            lower = Some(bound);
        }
        lower
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets(counts: &[(&str, f64)]) -> Buckets {
        let mut buckets = Buckets::default();
        for (bound, count) in counts {
            assert!(buckets.add(bound, *count));
        }
        buckets
    }

    #[test]
    fn quantiles_lie_where_prometheus_puts_them() {
        let requests = buckets(&[("0.1", 50.0), ("0.5", 90.0), ("1", 100.0), ("+Inf", 100.0)]);
        assert_eq!(requests.quantile(0.5), Some(0.1));
        assert_eq!(requests.quantile(0.25), Some(0.05));
        let p95 = requests.quantile(0.95).unwrap();
        assert!((p95 - 0.75).abs() < 1e-9, "{p95}");
        let beyond = buckets(&[("1", 1.0), ("+Inf", 10.0)]);
        assert_eq!(beyond.quantile(0.99), Some(1.0));
        assert_eq!(buckets(&[("1", 0.0), ("+Inf", 0.0)]).quantile(0.5), None);
        assert_eq!(buckets(&[("+Inf", 4.0)]).quantile(0.5), None);
    }

    #[test]
    fn only_what_was_added_counts_and_a_restart_is_noticed() {
        let before = buckets(&[("1", 1000.0), ("2", 1000.0), ("+Inf", 1000.0)]);
        let after = buckets(&[("1", 1000.0), ("2", 1010.0), ("+Inf", 1010.0)]);
        let added = after.since(&before).unwrap();
        assert_eq!(added.count(), 10.0);
        assert_eq!(added.quantile(0.5), Some(1.5));
        assert_eq!(before.since(&after), None);
        assert_eq!(after.since(&buckets(&[("1", 0.0)])), None);
    }

    #[test]
    fn series_are_added_and_nonsense_is_refused() {
        let mut sum = buckets(&[("1", 1.0), ("1.0", 2.0)]);
        assert_eq!(sum.count(), 3.0);
        for (bound, count) in [("much", 1.0), ("NaN", 1.0), ("1", -1.0), ("1", f64::NAN)] {
            assert!(!sum.add(bound, count), "{bound} {count}");
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_finite_and_grow_with_the_share(
            counts in proptest::collection::vec((-100.0..100.0f64, 0.0..1e6f64), 0..8),
            shares in (0.0..=1.0f64, 0.0..=1.0f64),
        ) {
            let mut buckets = Buckets::default();
            let mut total = 0.0;
            let mut sorted = counts;
            sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
            sorted.dedup_by(|one, other| one.0 == other.0);
            for (bound, count) in sorted {
                total += count;
                buckets.add(&bound.to_string(), total);
            }
            buckets.add("+Inf", total);
            let (low, high) = (shares.0.min(shares.1), shares.0.max(shares.1));
            if let (Some(low), Some(high)) = (buckets.quantile(low), buckets.quantile(high)) {
                prop_assert!(low.is_finite() && high.is_finite());
                prop_assert!(low <= high + 1e-9);
            }
        }
    }
}
