//! Bars that a run must keep: `p95 < 200ms`, `errors < 1%`, `rate >= 99%`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::text;

/// A bar that a run must keep, written as `p95 < 200ms`, `errors < 1%`, `rate >= 99%` or `throughput > 500/s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What is judged.
    pub metric: Metric,
    /// On which side of the limit it must stay.
    pub relation: Relation,
    /// The limit: seconds, a share or a number a second, as the metric has it.
    pub limit: f64,
}

/// On which side of its limit a number must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Relation {
    /// Whether `value` stays on its side.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
        }
    }

    /// Reads a relation at the begin of `rule`; answers it and what follows.
    pub(crate) fn parse_prefix(rule: &str) -> Option<(Self, &str)> {
        let all = [
            ("<=", Self::AtMost),
            (">=", Self::AtLeast),
            ("<", Self::Below),
            (">", Self::Above),
        ];
        all.into_iter()
            .find_map(|(sign, relation)| Some((relation, rule.strip_prefix(sign)?)))
    }

    /// The sign that stands for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }
}

/// How a threshold or a whole run was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every threshold was kept.
    Pass,
    /// A threshold was broken, or no request succeeded at all.
    Breach,
    /// Too few samples: the truth may lie on either side.
    Undecided,
    /// The generator could not do what it was asked for, so that the numbers do not describe the target.
    GeneratorSaturated,
}

impl Verdict {
    /// The name in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Breach => "breach",
            Self::Undecided => "undecided",
            Self::GeneratorSaturated => "generator_saturated",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Threshold {
    /// Judges a value of which the truth lies between `low` and `high`: the whole interval has to be on one side.
    pub fn judge(&self, low: f64, high: f64) -> Verdict {
        match (
            self.relation.holds(low, self.limit),
            self.relation.holds(high, self.limit),
        ) {
            (true, true) => Verdict::Pass,
            (false, false) => Verdict::Breach,
            _ => Verdict::Undecided,
        }
    }
}

impl FromStr for Threshold {
    type Err = Error;

    fn from_str(rule: &str) -> Result<Self> {
        let (metric, rest) = Metric::parse_prefix(rule)?;
        let (relation, limit) = Relation::parse_prefix(rest).ok_or_else(|| {
            Error::invalid(text!(
                "`{rule}` is not a threshold; write it like p95 < 200ms",
                rule = rule.trim()
            ))
        })?;
        Ok(Self {
            metric,
            relation,
            limit: metric.unit().parse(limit)?,
        })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.metric.unit().show_exactly(self.limit);
        write!(formatter, "{} {} {limit}", self.metric, self.relation.as_str())
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["p95 < 200ms", "errors < 1%", "rate >= 99%"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_as_they_are_shown() {
        for text in [
            "p95 < 200ms",
            "p99.9 <= 1s",
            "errors < 1%",
            "rate >= 99%",
            "throughput > 500/s",
            "mean < 1ms500µs",
        ] {
            assert_eq!(text.parse::<Threshold>().unwrap().to_string(), text);
        }
        assert_eq!("p99_9<1.5s".parse::<Threshold>().unwrap().limit, 1.5);
        assert_eq!(
            " response time < 2s ".parse::<Threshold>().unwrap().metric,
            Metric::Percentile(0.95)
        );
    }

    #[test]
    fn a_wrong_threshold_is_answered_with_what_was_expected() {
        let message = |rule: &str| rule.parse::<Threshold>().unwrap_err().to_string();
        insta::assert_snapshot!(message("p101 < 1s"), @"unknown metric `p101`; known are p50, p95, p99, p99.9, mean, max, errors, rate, throughput and response time");
        insta::assert_snapshot!(message("p95 = 1s"), @"`p95 = 1s` is not a threshold; write it like p95 < 200ms");
        insta::assert_snapshot!(message("p95 < 200"), @"`200` is not a value here; write it like 200ms");
        insta::assert_snapshot!(message("errors < 1"), @"`1` is not a value here; write it like 1%");
        insta::assert_snapshot!(message("throughput > 5"), @"`5` is not a value here; write it like 500/s");
    }

    #[test]
    fn an_interval_across_the_limit_decides_nothing() {
        let threshold: Threshold = "p95 < 200ms".parse().unwrap();
        assert_eq!(threshold.judge(0.1, 0.19), Verdict::Pass);
        assert_eq!(threshold.judge(0.2, 0.3), Verdict::Breach);
        assert_eq!(threshold.judge(0.19, 0.21), Verdict::Undecided);
    }
}
