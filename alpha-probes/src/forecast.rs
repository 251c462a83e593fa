//! Where a measurement is heading, and how sure that is: a robust slope with a band.
//!
//! The slope is that of Theil and Sen, the median of the slopes between all pairs of values, so that up to 29 % of the
//! values may be arbitrarily wrong. Its band holds the true slope nine times in ten: Sen's interval ("Estimates of the
//! regression coefficient based on Kendall's tau", 1968), the order statistics of the pairwise slopes around the
//! median. That interval takes values for independent, which those of a disk that fills are not; it is widened by the
//! factor that Yue and Wang (2004) give for the correlation of each value with the next. Where values wander so freely
//! that this is not enough, as of a random walk, the band is at least as wide as their steps make the way between the
//! ends uncertain. A test measures how often the band holds the truth; of random walks it is rather eight times in ten.
//!
//! A forecast says what happens if all goes on as it did. It knows nothing of the prune job on Sunday.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::observation::Unit;
use crate::text;
use crate::text::Text;

/// The fewest values that a trend is taken from; below it, the interval of the slope means nothing.
pub const MIN_POINTS: usize = 10;

/// The most values that a trend is taken from, evenly chosen from more: 45,000 pairs, some milliseconds.
pub const MAX_POINTS: usize = 300;

/// Ten years: what lies further ahead is not in sight.
pub const HORIZON: Duration = Duration::from_secs(3650 * 86_400);

/// The share of cases in which the band holds the truth.
pub const CONFIDENCE: f64 = 0.9;

/// The normal quantile that belongs to [`CONFIDENCE`] on both sides.
const QUANTILE: f64 = 1.645;

/// Where one value is this much like the last, the values wander and nothing pulls them back.
const WANDERING: f64 = 0.7;

/// How much more the median slope of a random walk varies than the slope between its ends: the root of 6/5 as of least
/// squares, and a little for steps that look smaller once the trend is taken off them.
const WANDERING_EXCESS: f64 = 1.3;

/// No measurement is this large; sums of such numbers may have no value.
const LARGEST: f64 = 1e200;

/// The most that one value may be correlated with the next; at 1 no number of values would tell anything.
const MAX_CORRELATION: f64 = 0.98;

/// A number with its band.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Band {
    /// The lower edge.
    pub low: f64,
    /// The best guess.
    pub expected: f64,
    /// The upper edge.
    pub high: f64,
}

/// How values moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// The instant of the newest value.
    at: Timestamp,
    /// Where the trend stands at that instant.
    level: f64,
    /// Change per second.
    slope: Band,
}

/// When a limit is reached if the trend goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is reached already.
    Reached,
    /// On the way there.
    In {
        /// The best guess.
        expected: Duration,
        /// At the steepest slope of the band.
        earliest: Duration,
        /// At the flattest slope of the band; none where that does not get there within [`HORIZON`].
        latest: Option<Duration>,
    },
    /// The best guess does not get there, the steepest slope of the band does.
    Unclear {
        /// At that slope.
        earliest: Duration,
    },
    /// No slope of the band gets there within [`HORIZON`].
    NotInSight,
}

/// What to do about a limit that values move towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// The limit is reached, or is expected to be within 30 days.
    Now,
    /// The limit may be reached within 91 days.
    WithinThreeMonths,
    /// It is not.
    Fine,
}

impl Trend {
    /// The trend of these values, oldest first; what is no number is left out.
    ///
    /// # Errors
    /// The reason in words where there are fewer than [`MIN_POINTS`] values, or all of one instant.
    pub fn of(points: &[(Timestamp, f64)]) -> Result<Self, Text> {
        Self::fitted(points, MAX_POINTS)
    }

    /// The same from at most `most` of the values, evenly chosen.
    pub(crate) fn fitted(points: &[(Timestamp, f64)], most: usize) -> Result<Self, Text> {
        let finite: Vec<_> = points.iter().filter(|(_, value)| value.abs() < LARGEST).collect();
        let (Some((first, _)), Some((at, _))) = (finite.first(), finite.last()) else {
            return Err(too_little(0, Duration::ZERO));
        };
        let span = span(*first, *at);
        if finite.len() < MIN_POINTS || span.is_zero() {
            return Err(too_little(finite.len(), span));
        }
        let count = finite.len().min(most);
        let points: Vec<(f64, f64)> = (0..count)
            .map(|index| finite[index * (finite.len() - 1) / (count - 1)])
            .map(|(then, value)| (then.duration_since(*at).as_secs_f64(), *value))
            .collect();
        let slopes = pairwise_slopes(&points);
        let slope = middle(&slopes);
        let residuals: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
        let correlation = correlation(&residuals);
        let (low, high) = interval(&slopes, points.len(), correlation);
        let wander = match correlation > WANDERING {
            true => QUANTILE * WANDERING_EXCESS * length(&residuals) / span.as_secs_f64(),
            false => 0.0,
        };
        // The level is that of the last tenth, so that a step, as when something large was deleted, is not spread over
        // the past.
        let mut newest = residuals[points.len() - (points.len() / 10).max(5)..].to_vec();
        newest.sort_unstable_by(f64::total_cmp);
        Ok(Self {
            at: *at,
            level: middle(&newest),
            slope: Band {
                low: slopes[low].min(slope - wander),
                expected: slope,
                high: slopes[high].max(slope + wander),
            },
        })
    }

    /// Change per second, with the band that holds it nine times in ten.
    pub fn slope_per_second(&self) -> Band {
        self.slope
    }

    /// Where the trend stands at `instant`, with its band; the single value then lies about it as the past ones do.
    pub fn value_at(&self, instant: Timestamp) -> Band {
        let ahead = instant.duration_since(self.at).as_secs_f64();
        let edges = [self.slope.low * ahead, self.slope.high * ahead];
        Band {
            low: self.level + edges[0].min(edges[1]),
            expected: self.level + self.slope.expected * ahead,
            high: self.level + edges[0].max(edges[1]),
        }
    }

    /// When the trend gets to `limit`, from above or from below, counted from `now`.
    ///
    /// A limit above the level is reached from below and one below it from above; one that was passed before the first
    /// value cannot be told from one to come.
    pub fn reaches(&self, limit: f64, now: Timestamp) -> Reach {
        let distance = limit - self.level;
        let passed = now.duration_since(self.at).as_secs_f64();
        let until = |slope: f64| {
            let seconds = distance / slope - passed;
            let ahead = slope * distance > 0.0 && seconds <= HORIZON.as_secs_f64();
            ahead.then(|| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default())
        };
        let (steep, flat) = match distance > 0.0 {
            true => (self.slope.high, self.slope.low),
            false => (self.slope.low, self.slope.high),
        };
        match (until(self.slope.expected), until(steep)) {
            _ if distance == 0.0 => Reach::Reached,
            (Some(Duration::ZERO), _) => Reach::Reached,
            (Some(expected), earliest) => Reach::In {
                expected,
                earliest: earliest.unwrap_or(expected),
                latest: until(flat),
            },
            (None, Some(earliest)) => Reach::Unclear { earliest },
            (None, None) => Reach::NotInSight,
        }
    }

    /// What to do about values that must stay below `limit`, such as the size of a disk.
    pub fn advice(&self, limit: f64, now: Timestamp) -> Advice {
        let days = |count: u64| Duration::from_secs(86_400 * count);
        if self.value_at(now).expected >= limit {
            return Advice::Now;
        }
        match self.reaches(limit, now) {
            Reach::Reached => Advice::Now,
            Reach::In { expected, .. } if expected <= days(30) => Advice::Now,
            Reach::In { earliest, .. } | Reach::Unclear { earliest } if earliest <= days(91) => {
                Advice::WithinThreeMonths
            }
            _ => Advice::Fine,
        }
    }

    /// The change as a person says it: `1.2 GB a day, 0.9 GB to 1.4 GB`.
    pub fn growth(&self, unit: Unit) -> Text {
        let daily = |slope: f64| unit.format(slope * 86_400.0);
        text!(
            "{growth} a day, {low} to {high}",
            growth = daily(self.slope.expected),
            low = daily(self.slope.low),
            high = daily(self.slope.high)
        )
    }
}

impl Reach {
    /// When the limit is reached: `in 11 days, 8 to 16`.
    pub fn to_text(self) -> Text {
        match self {
            Self::Reached => text!("already"),
            Self::In {
                expected,
                earliest,
                latest: Some(latest),
            } => {
                let (count, size) = counted(expected);
                let (earliest, latest) = (floor(earliest, size), ceil(latest, size));
                if earliest == latest {
                    return text!("in {time}", time = count);
                }
                text!(
                    "in {time}, {earliest} to {latest}",
                    time = count,
                    earliest = earliest,
                    latest = latest
                )
            }
            Self::In {
                expected, earliest, ..
            } => {
                let (count, size) = counted(expected);
                let earliest = floor(earliest, size);
                text!(
                    "in {time}, {earliest} at the earliest",
                    time = count,
                    earliest = earliest
                )
            }
            Self::Unclear { earliest } => {
                text!(
                    "no clear trend, in {time} at the earliest",
                    time = counted(earliest).0
                )
            }
            Self::NotInSight => text!("not in sight"),
        }
    }

    /// The same of something that fills up: `full in 11 days, 8 to 16`.
    pub fn to_full_text(self) -> Text {
        match self {
            Self::NotInSight => text!("not filling up"),
            Self::Unclear { .. } => text!("not clearly filling up: {when}", when = self.to_text()),
            _ => text!("full {when}", when = self.to_text()),
        }
    }
}

impl Advice {
    /// The advice as a person reads it.
    pub fn to_text(self) -> Text {
        match self {
            Self::Now => text!("extend it now"),
            Self::WithinThreeMonths => text!("extend it within three months"),
            Self::Fine => text!("nothing to do"),
        }
    }
}

fn too_little(points: usize, span: Duration) -> Text {
    text!(
        "too little is known for a forecast: {count} values over {span}, expected at least {needed}",
        count = points,
        span = Unit::Seconds.format(span.as_secs_f64()),
        needed = MIN_POINTS
    )
}

fn span(first: Timestamp, last: Timestamp) -> Duration {
    let span: SignedDuration = last.duration_since(first);
    Duration::try_from(span).unwrap_or_default()
}

/// A time as a count of the unit that fits it, and the seconds of that unit.
fn counted(time: Duration) -> (Text, u64) {
    let seconds = time.as_secs();
    let round = |size: u64| (seconds + size / 2) / size;
    match seconds {
        0..7200 => (text!("{count} min", count = round(60).max(1)), 60),
        7200..172_800 => (text!("{count} h", count = round(3600)), 3600),
        _ => (text!("{count} days", count = round(86_400)), 86_400),
    }
}

/// Whole units, rounded down unless it is a twentieth that is missing.
fn floor(time: Duration, size: u64) -> u64 {
    (time.as_secs() + size / 20) / size
}

/// Whole units, rounded up unless it is a twentieth that is too much.
fn ceil(time: Duration, size: u64) -> u64 {
    time.as_secs().saturating_sub(size / 20).div_ceil(size)
}

/// The slopes between all pairs of different instants, in ascending order; one at least.
fn pairwise_slopes(points: &[(f64, f64)]) -> Vec<f64> {
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (index, (x1, y1)) in points.iter().enumerate() {
        for (x2, y2) in &points[index + 1..] {
            if x1 != x2 {
                slopes.push((y2 - y1) / (x2 - x1));
            }
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    slopes
}

/// The median of sorted numbers.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        sorted[half - 1].midpoint(sorted[half])
    } else {
        sorted[half]
    }
}

/// Which of the sorted slopes are the edges of the band.
fn interval(slopes: &[f64], points: usize, correlation: f64) -> (usize, usize) {
    let n = points as f64;
    let variance = n * (n - 1.0) * (2.0 * n + 5.0) / 18.0;
    let widened = variance * (1.0 + correlation) / (1.0 - correlation);
    let half = QUANTILE * widened.sqrt() / 2.0;
    let middle = (slopes.len() as f64 - 1.0) / 2.0;
    let low = (middle - half).floor().max(0.0) as usize;
    let high = ((middle + half).ceil() as usize).min(slopes.len() - 1);
    (low, high)
}

/// How much each value is like the one before, 0 to [`MAX_CORRELATION`].
fn correlation(residuals: &[f64]) -> f64 {
    let mean = residuals.iter().sum::<f64>() / residuals.len() as f64;
    let square = |value: f64| (value - mean) * (value - mean);
    let all: f64 = residuals.iter().map(|value| square(*value)).sum();
    let pairs: f64 = residuals
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    if all > 0.0 {
        (pairs / all).clamp(0.0, MAX_CORRELATION)
    } else {
        0.0
    }
}

/// How far the steps from value to value lead on average when they are independent.
fn length(residuals: &[f64]) -> f64 {
    let steps = residuals.windows(2).map(|pair| pair[1] - pair[0]);
    steps.map(|step| step * step).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: f64 = 86_400.0;

    fn at(second: f64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + second as i64).unwrap()
    }

    /// Values an hour apart.
    fn hourly(count: usize, value: impl FnMut(f64) -> f64) -> Vec<(Timestamp, f64)> {
        let hours = (0..count).map(|hour| hour as f64 * 3600.0);
        hours.clone().map(at).zip(hours.map(value)).collect()
    }

    /// Normal numbers, the same in every run.
    fn normal(mut seed: u64) -> impl FnMut() -> f64 {
        let mut uniform = move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }

    #[test]
    fn a_line_is_followed_exactly() {
        let points = hourly(48, |second| 50.0 + 2.0 * second / DAY);
        let trend = Trend::of(&points).unwrap();
        let now = points.last().unwrap().0;
        let slope = trend.slope_per_second();
        for edge in [slope.low, slope.expected, slope.high] {
            assert!((edge * DAY - 2.0).abs() < 1e-9);
        }
        let level = 50.0 + 2.0 * 47.0 / 24.0;
        let reach = trend.reaches(level + 22.0, now);
        assert_eq!(reach.to_full_text().to_string(), "full in 11 days");
        assert_eq!(trend.reaches(level + 1.0, now).to_text().to_string(), "in 12 h");
        let in_a_day = trend.value_at(at(47.0 * 3600.0 + DAY));
        assert!((in_a_day.expected - level - 2.0).abs() < 1e-9);
        assert_eq!(trend.growth(Unit::Count).to_string(), "2 a day, 2 to 2");
    }

    #[test]
    fn a_band_is_told_as_people_say_it() {
        let mut noise = normal(3);
        let points = hourly(72, |second| 50.0 + 2.0 * second / DAY + 2.0 * noise());
        let trend = Trend::of(&points).unwrap();
        let now = points.last().unwrap().0;
        insta::assert_snapshot!(trend.reaches(80.0, now).to_full_text(), @"full in 12 days, 9 to 18");
        insta::assert_snapshot!(trend.reaches(500.0, now).to_text(), @"in 230 days, 181 to 327");
        insta::assert_snapshot!(trend.reaches(20.0, now).to_text(), @"not in sight");
        insta::assert_snapshot!(trend.growth(Unit::Count), @"1.93 a day, 1.36 to 2.44");
    }

    #[test]
    fn a_third_of_wrong_values_does_not_bend_the_slope() {
        let mut index = 0;
        let points = hourly(100, |second| {
            index += 1;
            if index % 4 == 0 { 1e9 } else { second / DAY }
        });
        let slope = Trend::of(&points).unwrap().slope_per_second();
        assert!((slope.expected * DAY - 1.0).abs() < 0.05, "{slope:?}");
    }

    #[test]
    fn what_stands_still_or_falls_is_said_so() {
        let flat = hourly(48, |_| 70.0);
        let now = flat.last().unwrap().0;
        let trend = Trend::of(&flat).unwrap();
        assert_eq!(trend.reaches(100.0, now), Reach::NotInSight);
        assert_eq!(trend.reaches(70.0, now), Reach::Reached);
        assert_eq!(trend.advice(100.0, now), Advice::Fine);
        let falling = hourly(48, |second| 70.0 - second / DAY);
        let trend = Trend::of(&falling).unwrap();
        assert_eq!(trend.reaches(100.0, now), Reach::NotInSight);
        assert_eq!(
            trend.reaches(100.0, now).to_full_text().to_string(),
            "not filling up"
        );
        // Free space that runs out is a limit reached from above.
        assert_eq!(trend.reaches(0.0, now).to_text().to_string(), "in 68 days");
    }

    #[test]
    fn noise_without_a_trend_is_called_unclear() {
        let mut noise = normal(5);
        let points = hourly(100, |second| 50.0 - 0.01 * second / DAY + noise());
        let trend = Trend::of(&points).unwrap();
        let reach = trend.reaches(60.0, points.last().unwrap().0);
        assert!(
            matches!(reach, Reach::Unclear { .. } | Reach::In { latest: None, .. }),
            "{reach:?}"
        );
    }

    #[test]
    fn too_few_values_say_so() {
        let points = hourly(9, |_| 1.0);
        assert_eq!(
            Trend::of(&points).unwrap_err().to_string(),
            "too little is known for a forecast: 9 values over 8 h, expected at least 10"
        );
        let at_once = vec![(at(0.0), 1.0); 20];
        assert!(Trend::of(&at_once).is_err());
        let no_numbers = hourly(20, |_| f64::NAN);
        assert!(Trend::of(&no_numbers).is_err());
    }

    #[test]
    fn time_that_passed_since_the_last_value_counts() {
        let points = hourly(48, |second| second / DAY);
        let trend = Trend::of(&points).unwrap();
        let last = 47.0 * 3600.0;
        let limit = last / DAY + 10.0;
        assert_eq!(
            trend.reaches(limit, at(last + 4.0 * DAY)).to_text().to_string(),
            "in 6 days"
        );
        assert_eq!(trend.reaches(limit, at(last + 11.0 * DAY)), Reach::Reached);
        assert_eq!(trend.advice(limit, at(last + 11.0 * DAY)), Advice::Now);
    }

    #[test]
    fn advice_follows_the_plan() {
        let points = hourly(48, |second| second / DAY);
        let trend = Trend::of(&points).unwrap();
        let now = points.last().unwrap().0;
        for (days, advice) in [
            (-1.0, Advice::Now),
            (20.0, Advice::Now),
            (60.0, Advice::WithinThreeMonths),
            (200.0, Advice::Fine),
        ] {
            assert_eq!(trend.advice(2.0 + days, now), advice, "{days} days");
        }
    }

    #[test]
    fn a_step_counts_from_where_it_landed() {
        // 30 are deleted near the end; the slope stays and the level is the new one.
        let points = hourly(200, |second| {
            second / DAY - if second > 170.0 * 3600.0 { 30.0 } else { 0.0 }
        });
        let trend = Trend::of(&points).unwrap();
        let level = trend.value_at(points.last().unwrap().0).expected;
        assert!((level - (199.0 / 24.0 - 30.0)).abs() < 1.0, "{level}");
    }

    /// The share of 400 series of `count` values whose band holds the true slope, 1 a step.
    fn coverage(count: usize, mut series: impl FnMut(u64, usize) -> Vec<f64>) -> f64 {
        let runs = 400;
        let held = (0..runs).filter(|run| {
            let noise = series(*run, count);
            let points: Vec<_> = noise
                .iter()
                .enumerate()
                .map(|(step, noise)| (at(step as f64), step as f64 + noise))
                .collect();
            let slope = Trend::of(&points).unwrap().slope_per_second();
            (slope.low..=slope.high).contains(&1.0)
        });
        held.count() as f64 / runs as f64
    }

    #[test]
    fn the_band_holds_the_truth_nine_times_in_ten() {
        let independent = coverage(50, |run, count| {
            let mut normal = normal(run);
            (0..count).map(|_| 20.0 * normal()).collect()
        });
        let odd = coverage(50, |run, count| {
            let mut normal = normal(run + 1000);
            (0..count).map(|_| 20.0 * normal().powi(3)).collect()
        });
        // Each value is much like the one before, as of a disk whose files come and go.
        let correlated = coverage(80, |run, count| {
            let mut normal = normal(run + 2000);
            let mut level = 0.0;
            (0..count)
                .map(|_| {
                    level = 0.7 * level + 20.0 * normal();
                    level
                })
                .collect()
        });
        // Growth itself comes in random pieces, and nothing ever pulls it back.
        let wandering = coverage(80, |run, count| {
            let mut normal = normal(run + 3000);
            let mut level = 0.0;
            (0..count)
                .map(|_| {
                    level += 2.0 * normal();
                    level
                })
                .collect()
        });
        let found = (independent, odd, correlated, wandering);
        for share in [independent, odd, correlated] {
            assert!((0.85..=0.97).contains(&share), "{found:?}");
        }
        assert!((0.80..=0.97).contains(&wandering), "{found:?}");
    }

    proptest! {
        #[test]
        fn nothing_that_was_measured_breaks_it(
            points in prop::collection::vec((0_i64..1_000_000_000, prop::num::f64::ANY), 0..60),
            limit in prop::num::f64::NORMAL,
        ) {
            let mut points: Vec<_> = points
                .into_iter()
                .map(|(second, value)| (at(second as f64), value))
                .collect();
            points.sort_by_key(|(at, _)| *at);
            if let Ok(trend) = Trend::of(&points) {
                let now = points.last().unwrap().0;
                let _ = trend.reaches(limit, now).to_full_text().to_string();
                let _ = trend.advice(limit, now);
                let slope = trend.slope_per_second();
                prop_assert!(slope.low <= slope.expected && slope.expected <= slope.high);
            }
        }
    }
}
