//! What is kept of many values: numbers that merge, and a sketch of their distribution.

use jiff::Timestamp;

use crate::history::Point;

/// Half the ratio between the edges of a bucket: a percentile is off by at most 1 % of itself.
const ERROR: f64 = 0.01;

/// Sizes below are zero, sizes above are this: far beyond anything measured, and safe from overflow.
const SMALLEST: f64 = 1e-280;
const LARGEST: f64 = 1e280;

/// What is added to the index of a bucket so that the greatest size that is not zero has a positive key.
const OFFSET: i32 = 40_000;

/// The most buckets of one sketch, about 2 kB on disk.
///
/// They cover sizes that differ by a factor of 28,000 when every one of them is in use. Of values spread more widely
/// the lowest share one bucket, so that low percentiles lose their precision and high ones keep it.
const MAX_BUCKETS: usize = 512;

/// The first byte of an encoded sketch.
#[cfg(any(feature = "history-sqlite", feature = "history-postgres"))]
const ENCODING: u8 = 1;

/// The distribution of values in buckets whose edges grow by a constant factor, sorted by key.
///
/// After Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees"
/// (VLDB 2019). Which buckets exist depends on the values alone and not on their order or grouping, so that merging is
/// exact: the sketch of an hour is the same from its minutes as from its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sketch(Vec<(i32, u32)>);

impl Sketch {
    fn add(&mut self, value: f64) {
        self.count(key(value), 1);
        self.collapse();
    }

    #[cfg(any(test, feature = "history-sqlite", feature = "history-postgres"))]
    fn merge(&mut self, other: &Self) {
        for &(key, count) in &other.0 {
            self.count(key, count);
        }
        self.collapse();
    }

    fn count(&mut self, key: i32, count: u32) {
        match self.0.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(index) => self.0[index].1 = self.0[index].1.saturating_add(count),
            Err(index) => self.0.insert(index, (key, count)),
        }
    }

    fn collapse(&mut self) {
        let Some(surplus) = self.0.len().checked_sub(MAX_BUCKETS) else {
            return;
        };
        let low = self
            .0
            .drain(..surplus)
            .fold(0_u32, |sum, (_, count)| sum.saturating_add(count));
        if let Some(lowest) = self.0.first_mut() {
            lowest.1 = lowest.1.saturating_add(low);
        }
    }

    /// The value below or at which the share `quantile` of all values lies.
    fn quantile(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.0.iter().map(|(_, count)| u64::from(*count)).sum();
        let rank = quantile * total.saturating_sub(1) as f64;
        let mut seen = 0_u64;
        self.0
            .iter()
            .find(|(_, count)| {
                seen += u64::from(*count);
                seen as f64 > rank
            })
            .map(|(key, _)| middle(*key))
    }

    /// As bytes: a version, then for each bucket the distance of its key from the last and its count.
    #[cfg(any(feature = "history-sqlite", feature = "history-postgres"))]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![ENCODING];
        let mut last = 0_i64;
        for &(key, count) in &self.0 {
            let distance = i64::from(key) - last;
            last = i64::from(key);
            write_varint(((distance << 1) ^ (distance >> 63)) as u64, &mut bytes);
            write_varint(u64::from(count), &mut bytes);
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote; nothing where it is damaged.
    #[cfg(any(feature = "history-sqlite", feature = "history-postgres"))]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&ENCODING, mut rest) = bytes.split_first()? else {
            return None;
        };
        let mut buckets = Vec::new();
        let mut last = 0_i64;
        while !rest.is_empty() {
            let distance = read_varint(&mut rest)?;
            let distance = (distance >> 1) as i64 ^ -((distance & 1) as i64);
            last = last.checked_add(distance)?;
            let key = i32::try_from(last).ok()?;
            let count = u32::try_from(read_varint(&mut rest)?).ok()?;
            let ascends = buckets.last().is_none_or(|(before, _)| *before < key);
            if !ascends || buckets.len() == MAX_BUCKETS {
                return None;
            }
            buckets.push((key, count));
        }
        Some(Self(buckets))
    }
}

#[cfg(any(feature = "history-sqlite", feature = "history-postgres"))]
fn write_varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(any(feature = "history-sqlite", feature = "history-postgres"))]
fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn growth() -> f64 {
    (1.0 + ERROR) / (1.0 - ERROR)
}

/// The bucket of a value; keys are ordered as the values are.
fn key(value: f64) -> i32 {
    let size = value.abs();
    if size < SMALLEST {
        return 0;
    }
    let index = (size.min(LARGEST).ln() / growth().ln()).ceil() as i32;
    (index + OFFSET) * if value < 0.0 { -1 } else { 1 }
}

/// The value that is at most 1 % away from every value in the bucket.
fn middle(key: i32) -> f64 {
    if key == 0 {
        return 0.0;
    }
    let size = growth().powi(key.abs() - OFFSET) * 2.0 / (growth() + 1.0);
    size * f64::from(key.signum())
}

/// What is kept of the values of one step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rollup {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
    pub(crate) last: f64,
    /// Microseconds since 1970.
    pub(crate) last_at: i64,
    pub(crate) sketch: Sketch,
}

impl Rollup {
    /// The roll-up of one value.
    pub(crate) fn new(at: i64, value: f64) -> Self {
        let mut sketch = Sketch::default();
        sketch.add(value);
        Self {
            count: 1,
            min: value,
            max: value,
            mean: value,
            last: value,
            last_at: at,
            sketch,
        }
    }

    pub(crate) fn add(&mut self, at: i64, value: f64) {
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.mean += (value - self.mean) / self.count as f64;
        if at >= self.last_at {
            (self.last, self.last_at) = (value, at);
        }
        self.sketch.add(value);
    }

    /// Takes in the values of `other`. The mean is exact but for rounding, everything else wholly.
    #[cfg(any(test, feature = "history-sqlite", feature = "history-postgres"))]
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.mean += (other.mean - self.mean) * (other.count as f64 / self.count as f64);
        if other.last_at >= self.last_at {
            (self.last, self.last_at) = (other.last, other.last_at);
        }
        self.sketch.merge(&other.sketch);
    }

    /// The point of the step that starts at `start`, in microseconds.
    pub(crate) fn to_point(&self, start: i64) -> Point {
        let quantile = |quantile| {
            self.sketch
                .quantile(quantile)
                .map_or(self.last, |value| value.clamp(self.min, self.max))
        };
        Point {
            at: instant(start),
            count: self.count,
            min: self.min,
            max: self.max,
            mean: self.mean,
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            last: self.last,
            last_at: instant(self.last_at),
        }
    }
}

/// The point of a single value.
pub(crate) fn raw_point(at: i64, value: f64) -> Point {
    Point {
        at: instant(at),
        count: 1,
        min: value,
        max: value,
        mean: value,
        p50: value,
        p95: value,
        p99: value,
        last: value,
        last_at: instant(at),
    }
}

/// The instant of so many microseconds since 1970, or the nearest one that there is.
pub(crate) fn instant(at: i64) -> Timestamp {
    let nearest = if at < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(at).unwrap_or(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rollup(values: &[f64]) -> Rollup {
        let mut values = values.iter().enumerate();
        let (_, first) = values.next().unwrap();
        let mut rollup = Rollup::new(0, *first);
        for (index, value) in values {
            rollup.add(index as i64, *value);
        }
        rollup
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        let point = rollup(&values).to_point(0);
        for (found, exact) in [(point.p50, 500.0), (point.p95, 950.0), (point.p99, 990.0)] {
            assert!(
                (found - exact).abs() <= 0.01 * exact,
                "{found} instead of {exact}"
            );
        }
        assert_eq!((point.min, point.max, point.mean), (1.0, 1000.0, 500.5));
    }

    #[test]
    fn one_value_is_its_own_percentile() {
        for value in [0.0, -3.7, 1e-300, 1e300, f64::MAX, 42.0] {
            let point = rollup(&[value]).to_point(0);
            assert_eq!((point.p50, point.p99, point.mean), (value, value, value));
        }
    }

    #[test]
    fn values_spread_too_widely_lose_the_low_percentiles_only() {
        let values: Vec<f64> = (0..2000).map(|index| 1.03_f64.powi(index)).collect();
        let rollup = rollup(&values);
        assert_eq!(rollup.sketch.0.len(), MAX_BUCKETS);
        let (p99, exact) = (rollup.to_point(0).p99, values[1979]);
        assert!((p99 - exact).abs() <= 0.01 * exact, "{p99} instead of {exact}");
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            -1e6..1e6,
            0.001..10.0,
            Just(0.0),
            -1e300..1e300,
            (-280_i32..280).prop_map(|power| 10_f64.powi(power)),
        ];
        prop::collection::vec(value, 1..1500)
    }

    proptest! {
        #[test]
        fn merging_is_exact(values in values(), size in 1_usize..200) {
            let whole = rollup(&values);
            let mut parts = values.chunks(size).enumerate().map(|(chunk, values)| {
                let mut part = rollup(values);
                part.last_at += (chunk * size) as i64;
                part
            });
            let mut merged = parts.next().unwrap();
            parts.for_each(|part| merged.merge(&part));
            prop_assert_eq!(&merged.sketch, &whole.sketch);
            prop_assert_eq!(
                (merged.count, merged.min, merged.max, merged.last, merged.last_at),
                (whole.count, whole.min, whole.max, whole.last, whole.last_at)
            );
            let size = values.iter().fold(0_f64, |size, value| size.max(value.abs()));
            prop_assert!((merged.mean - whole.mean).abs() <= 1e-9 * size);
        }

        #[test]
        fn percentiles_are_within_one_percent(
            mut values in prop::collection::vec(prop_oneof![-50.0_f64..50.0, 0.1_f64..0.2], 1..500),
        ) {
            // Half a thousand buckets hold these values without sharing one.
            for value in &mut values {
                if value.abs() < 0.01 {
                    *value = 0.0;
                }
            }
            let rollup = rollup(&values);
            prop_assume!(rollup.sketch.0.len() < MAX_BUCKETS);
            values.sort_by(f64::total_cmp);
            for quantile in [0.0, 0.25, 0.5, 0.95, 0.99, 1.0] {
                let exact = values[(quantile * (values.len() - 1) as f64) as usize];
                let found = rollup.sketch.quantile(quantile).unwrap();
                prop_assert!((found - exact).abs() <= 0.010_001 * exact.abs(), "{found} {exact}");
            }
        }

        #[test]
        #[cfg(any(feature = "history-sqlite", feature = "history-postgres"))]
        fn what_was_encoded_is_decoded(values in values()) {
            let sketch = rollup(&values).sketch;
            prop_assert_eq!(Sketch::decode(&sketch.encode()), Some(sketch));
        }

        #[test]
        #[cfg(any(feature = "history-sqlite", feature = "history-postgres"))]
        fn damaged_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(sketch) = Sketch::decode(&bytes) {
                let _ = sketch.quantile(0.5);
                prop_assert!(sketch.0.len() <= MAX_BUCKETS);
            }
        }
    }
}
