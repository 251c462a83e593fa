//! What a candidate must not do beside its baseline: `response time +50 %`, `errors > 5 %`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::metric::{Metric, tidy};
use crate::text;
use crate::threshold::Relation;

/// A condition under which a candidate is rejected, written as in the maintenance plan's section on automatic rollback.
///
/// `response time +50 %` speaks of the 95th percentile; `p99 +20 %`, `mean +10 %` and `throughput -10 %` are relative to
/// the baseline as well. `errors > 5 %` and `p95 > 200ms` are limits of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What is judged.
    pub metric: Metric,
    /// From where on the candidate is rejected.
    pub limit: RuleLimit,
}

/// From where on a candidate is rejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RuleLimit {
    /// Candidate divided by baseline, above one for a rule with `+` and below for one with `-`.
    Ratio(f64),
    /// A value of the candidate alone, on this side of which it is rejected.
    Value(Relation, f64),
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(rule: &str) -> Result<Self> {
        let (metric, rest) = Metric::parse_prefix(rule)?;
        let wrong = || {
            Error::invalid(text!(
                "`{rule}` is not a rule; write it like response time +50 % or errors > 5 %",
                rule = rule.trim()
            ))
        };
        if let Some((relation, value)) = Relation::parse_prefix(rest) {
            return Ok(Self {
                metric,
                limit: RuleLimit::Value(relation, metric.unit().parse(value)?),
            });
        }
        // A share of a share, such as errors +50 %, says nothing when the baseline has none.
        if matches!(metric, Metric::Errors | Metric::Rate | Metric::Max) {
            return Err(wrong());
        }
        let percent = rest.strip_suffix('%').map(str::trim).ok_or_else(wrong)?;
        let change: f64 = percent.parse().map_err(|_| wrong())?;
        if !(percent.starts_with(['+', '-']) && change.is_finite() && change != 0.0 && change > -100.0) {
            return Err(wrong());
        }
        Ok(Self {
            metric,
            limit: RuleLimit::Ratio(1.0 + change / 100.0),
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            RuleLimit::Ratio(ratio) => {
                let sign = if ratio > 1.0 { "+" } else { "" };
                write!(
                    formatter,
                    "{} {sign}{} %",
                    self.metric,
                    tidy((ratio - 1.0) * 100.0)
                )
            }
            RuleLimit::Value(relation, value) => {
                write!(
                    formatter,
                    "{} {} {}",
                    self.metric,
                    relation.as_str(),
                    self.metric.unit().show_exactly(value)
                )
            }
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Rule {
    fn schema_name() -> Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["response time +50 %", "errors > 5 %", "p99 +20 %"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_the_plan_writes_them() {
        let read = |text: &str| text.parse::<Rule>().unwrap();
        assert_eq!(read("response time +50 %"), read("p95 +50%"));
        assert_eq!(read("response time +50 %").limit, RuleLimit::Ratio(1.5));
        assert_eq!(
            read("errors > 5 %").limit,
            RuleLimit::Value(Relation::Above, 0.05)
        );
        for text in ["p95 +50 %", "throughput -10 %", "errors > 5%", "p99.9 > 200ms"] {
            assert_eq!(read(text).to_string(), text);
        }
    }

    #[test]
    fn a_wrong_rule_is_answered_with_an_example() {
        for text in [
            "p95 50%",
            "errors +50%",
            "p95 +0 %",
            "throughput -100 %",
            "p95 +x %",
            "p95",
        ] {
            let message = text.parse::<Rule>().unwrap_err().to_string();
            assert_eq!(
                message,
                format!("`{text}` is not a rule; write it like response time +50 % or errors > 5 %")
            );
        }
    }
}
