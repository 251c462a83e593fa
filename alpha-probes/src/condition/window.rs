//! Functions over the past of one measurement. Pure: points in, a number out.

use jiff::{SignedDuration, Timestamp};

use super::expression::Function;
use crate::forecast::{self, Trend};

/// One value and when it was seen.
pub(super) type Point = (Timestamp, f64);

/// Forecasts of more points are computed from so many, evenly chosen: a condition is asked with every result.
const MAX_FITTED: usize = 128;

impl Function {
    /// How many points it needs before it says anything.
    ///
    /// Two make a difference; five make a percentile that is not just the largest; a trend needs as many as every
    /// forecast.
    pub(super) fn points_needed(self) -> usize {
        match self {
            Self::Rate | Self::Delta | Self::Average | Self::Minimum | Self::Maximum | Self::Changed => 2,
            Self::Percentile(_) => 5,
            Self::Forecast(_) => forecast::MIN_POINTS,
        }
    }

    /// Its value over `points`, which are ordered by time; `None` where they tell nothing, such as several at one instant.
    pub(super) fn apply(self, points: &mut [Point], now: Timestamp) -> Option<f64> {
        let (first, last) = (*points.first()?, *points.last()?);
        match self {
            Self::Rate => {
                let elapsed = seconds_between(first.0, last.0);
                (elapsed > 0.0).then(|| increase(points) / elapsed)
            }
            Self::Delta => Some(last.1 - first.1),
            Self::Average => Some(points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64),
            Self::Minimum => points.iter().map(|point| point.1).reduce(f64::min),
            Self::Maximum => points.iter().map(|point| point.1).reduce(f64::max),
            Self::Percentile(percent) => Some(percentile(points, f64::from(percent) / 100.0)),
            Self::Forecast(ahead) => {
                let trend = Trend::fitted(points, MAX_FITTED).ok()?;
                let then = now.checked_add(SignedDuration::try_from(ahead).ok()?).ok()?;
                Some(trend.value_at(then).expected)
            }
            Self::Changed => {
                let unchanged_since = points
                    .iter()
                    .rev()
                    .take_while(|point| point.1 == last.1)
                    .last()
                    .unwrap_or(&last);
                Some(seconds_between(unchanged_since.0, now).max(0.0))
            }
        }
    }
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// By how much a counter grew. Where it fell it was restarted, and what it shows now has come since.
fn increase(points: &[Point]) -> f64 {
    points
        .windows(2)
        .map(|pair| match pair[1].1 - pair[0].1 {
            growth if growth >= 0.0 => growth,
            _ => pair[1].1,
        })
        .sum()
}

/// The value below which `share` of the points lie, interpolated between the two nearest.
fn percentile(points: &mut [Point], share: f64) -> f64 {
    points.sort_unstable_by(|left, right| left.1.total_cmp(&right.1));
    let rank = share * (points.len() - 1) as f64;
    let (below, above) = (points[rank.floor() as usize].1, points[rank.ceil() as usize].1);
    below + (above - below) * rank.fract()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn points(values: &[f64]) -> Vec<Point> {
        values
            .iter()
            .enumerate()
            .map(|(minute, value)| (at(60 * minute as i64), *value))
            .collect()
    }

    fn apply(function: Function, values: &[f64]) -> Option<f64> {
        function.apply(&mut points(values), at(60 * (values.len() as i64 - 1)))
    }

    #[test]
    fn a_counter_that_restarts_goes_on_counting() {
        assert_eq!(apply(Function::Rate, &[0.0, 60.0, 120.0]), Some(1.0));
        assert_eq!(apply(Function::Rate, &[100.0, 160.0, 60.0]), Some(1.0));
        assert_eq!(
            Function::Rate.apply(&mut [(at(0), 1.0), (at(0), 2.0)], at(0)),
            None
        );
    }

    #[test]
    fn a_percentile_lies_between_the_values_beside_it() {
        let hundred: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(apply(Function::Percentile(95), &hundred), Some(95.0));
        assert_eq!(apply(Function::Percentile(50), &[1.0, 2.0, 3.0, 4.0]), Some(2.5));
        assert_eq!(apply(Function::Percentile(99), &[7.0]), Some(7.0));
    }

    #[test]
    fn one_odd_value_does_not_bend_a_forecast() {
        let mut values: Vec<f64> = (0..60).map(f64::from).collect();
        values[30] = 1e9;
        let forecast = apply(Function::Forecast(Duration::from_secs(600)), &values).unwrap();
        assert!((forecast - 69.0).abs() < 1e-6, "{forecast}");
    }

    #[test]
    fn thousands_of_points_are_fitted_by_a_sample_that_ends_now() {
        let values: Vec<f64> = (0..10_000).map(f64::from).collect();
        let forecast = apply(Function::Forecast(Duration::from_secs(60)), &values).unwrap();
        assert!((forecast - 10_000.0).abs() < 1e-6, "{forecast}");
    }

    #[test]
    fn a_value_has_changed_when_it_first_was_what_it_is() {
        assert_eq!(apply(Function::Changed, &[1.0, 2.0, 2.0, 2.0]), Some(120.0));
        assert_eq!(apply(Function::Changed, &[2.0, 2.0, 2.0]), Some(120.0));
        assert_eq!(apply(Function::Changed, &[1.0, 2.0]), Some(0.0));
    }
}
