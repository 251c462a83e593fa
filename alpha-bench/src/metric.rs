//! The numbers that thresholds and rules speak about.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::text;

/// A number of a report that can be judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// A percentile of the response time, as a share between 0 and 1; a duration.
    Percentile(f64),
    /// The mean response time; a duration.
    Mean,
    /// The longest response time; a duration.
    Max,
    /// The share of requests that failed.
    Errors,
    /// The share of the intended requests that was really sent; 1 in a closed load.
    Rate,
    /// Requests finished in a second.
    Throughput,
}

/// What a metric is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Duration,
    /// A share between 0 and 1.
    Share,
    /// A number a second.
    PerSecond,
}

impl Metric {
    /// What the metric is measured in.
    pub fn unit(self) -> Unit {
        match self {
            Self::Percentile(_) | Self::Mean | Self::Max => Unit::Duration,
            Self::Errors | Self::Rate => Unit::Share,
            Self::Throughput => Unit::PerSecond,
        }
    }

    /// Reads a metric at the begin of `rule`; answers it and what follows.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a word that is no metric.
    pub(crate) fn parse_prefix(rule: &str) -> Result<(Self, &str)> {
        let rule = rule.trim();
        // Written as in the maintenance plan, section on automatic rollback.
        if let Some(rest) = rule.strip_prefix("response time") {
            return Ok((Self::Percentile(0.95), rest.trim()));
        }
        let end = rule
            .find(|c: char| c.is_whitespace() || "<>+-=".contains(c))
            .unwrap_or(rule.len());
        let (word, rest) = rule.split_at(end);
        let metric = match word {
            "mean" => Self::Mean,
            "max" => Self::Max,
            "errors" => Self::Errors,
            "rate" => Self::Rate,
            "throughput" => Self::Throughput,
            _ => word
                .strip_prefix('p')
                .and_then(|digits| digits.replace('_', ".").parse::<f64>().ok())
                .filter(|percent| (0.0..100.0).contains(percent) && *percent > 0.0)
                .map(|percent| Self::Percentile(percent / 100.0))
                .ok_or_else(|| {
                    Error::invalid(text!(
                        "unknown metric `{word}`; known are p50, p95, p99, p99.9, mean, max, errors, rate, throughput and response time",
                        word = word
                    ))
                })?,
        };
        Ok((metric, rest.trim()))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(share) => write!(formatter, "p{}", tidy(share * 100.0)),
            Self::Mean => formatter.write_str("mean"),
            Self::Max => formatter.write_str("max"),
            Self::Errors => formatter.write_str("errors"),
            Self::Rate => formatter.write_str("rate"),
            Self::Throughput => formatter.write_str("throughput"),
        }
    }
}

impl Unit {
    /// Reads a number of this unit: `200ms`, `1%`, `500/s`.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for another unit or no number.
    pub(crate) fn parse(self, value: &str) -> Result<f64> {
        let value = value.trim();
        let number = |digits: &str| {
            digits
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() && *number >= 0.0)
        };
        let (parsed, example) = match self {
            Self::Duration => {
                let duration = value
                    .parse::<jiff::SignedDuration>()
                    .ok()
                    .and_then(|d| Duration::try_from(d).ok());
                (duration.map(|duration| duration.as_secs_f64()), "200ms")
            }
            Self::Share => (
                value
                    .strip_suffix('%')
                    .and_then(number)
                    .map(|percent| percent / 100.0),
                "1%",
            ),
            Self::PerSecond => (value.strip_suffix("/s").and_then(number), "500/s"),
        };
        parsed.ok_or_else(|| {
            Error::invalid(text!(
                "`{value}` is not a value here; write it like {example}",
                value = value,
                example = example
            ))
        })
    }

    /// Shows a number of this unit so that it reads back as exactly the same number.
    pub(crate) fn show_exactly(self, value: f64) -> String {
        match self {
            Self::Duration => format!("{:#}", jiff::SignedDuration::from_secs_f64(value)).replace(' ', ""),
            unit => unit.show(value),
        }
    }

    /// Shows a number of this unit as a person writes it.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Duration => show_seconds(value),
            Self::Share => format!("{}%", tidy(value * 100.0)),
            Self::PerSecond => format!("{}/s", tidy(value)),
        }
    }
}

/// Three significant digits in the unit that keeps the number readable: `85.2µs`, `12.0ms`, `3.41s`.
pub(crate) fn show_seconds(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 0.000_000_5 => return "0s".to_owned(),
        s if s < 0.000_999_5 => (s * 1e6, "µs"),
        s if s < 0.999_5 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let decimals = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.decimals$}{unit}")
}

/// At most three decimals, without trailing zeros.
pub(crate) fn tidy(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_three_significant_digits() {
        let shown: Vec<_> = [0.0, 85.23e-6, 999.6e-6, 0.012, 0.1234, 3.41, 75.0]
            .map(show_seconds)
            .to_vec();
        assert_eq!(
            shown,
            ["0s", "85.2µs", "1.00ms", "12.0ms", "123ms", "3.41s", "75.0s"]
        );
    }
}
