//! P0 to P3, as the maintenance plan defines them (M5).

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::label::Labels;

/// How bad it is, and with it how soon somebody must act (M5).
///
/// There is no order on purpose: `P0 < P1` would read as "less severe". Use [`is_at_least`](Self::is_at_least).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// At once: the chain halted, the main service is down, data is lost, an exploit runs.
    #[serde(alias = "p0")]
    P0,
    /// Within an hour: one validator is offline, part of the API is broken, the database is badly slow.
    #[serde(alias = "p1")]
    P1,
    /// Within four hours: resources run high, minor features fail, things are slightly slow.
    #[serde(alias = "p2")]
    P2,
    /// Within a day: documentation, requests, small changes of configuration.
    #[serde(alias = "p3")]
    P3,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::P0, Self::P1, Self::P2, Self::P3];

    /// Whether this is as bad as `other` or worse.
    pub fn is_at_least(self, other: Self) -> bool {
        self.rank() <= other.rank()
    }

    /// The worse of two.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if self.is_at_least(other) { self } else { other }
    }

    /// 0 for P0 to 3 for P3: what is sent first has the lower rank.
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// `P0` to `P3`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Which label says how bad an alert is, and what its values mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SeverityConfig {
    /// The label. Default: `severity`.
    pub label: String,
    /// What further values of the label mean; `P0` to `P3` in either case always mean themselves. Default: `page`,
    /// `critical` and `error` are P1, `warning` is P2, `info` and `none` are P3. Nothing foreign is P0 by default,
    /// because P0 calls everybody.
    pub values: BTreeMap<String, Severity>,
    /// What an alert without the label, or with an unknown value, counts as. Default: P2.
    pub otherwise: Severity,
}

impl Default for SeverityConfig {
    fn default() -> Self {
        Self {
            label: "severity".to_owned(),
            values: [
                ("page", Severity::P1),
                ("critical", Severity::P1),
                ("error", Severity::P1),
                ("warning", Severity::P2),
                ("info", Severity::P3),
                ("none", Severity::P3),
            ]
            .map(|(value, severity)| (value.to_owned(), severity))
            .into(),
            otherwise: Severity::P2,
        }
    }
}

impl SeverityConfig {
    /// How bad an alert with these labels is.
    pub fn of(&self, labels: &Labels) -> Severity {
        let Some(value) = labels.get(&self.label) else {
            return self.otherwise;
        };
        Severity::ALL
            .into_iter()
            .find(|severity| severity.name().eq_ignore_ascii_case(value))
            .or_else(|| self.values.get(value).copied())
            .unwrap_or(self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_in_either_case_and_the_words_of_others() {
        let config = SeverityConfig::default();
        let of = |value: &str| config.of(&Labels::new([("severity", value)]));
        assert_eq!(of("P0"), Severity::P0);
        assert_eq!(of("p3"), Severity::P3);
        assert_eq!(of("critical"), Severity::P1);
        assert_eq!(of("unheard of"), Severity::P2);
        assert_eq!(config.of(&Labels::default()), Severity::P2);
    }

    #[test]
    fn at_least_means_as_bad_or_worse() {
        assert!(Severity::P0.is_at_least(Severity::P1));
        assert!(!Severity::P2.is_at_least(Severity::P1));
        assert_eq!(Severity::P3.worst(Severity::P1), Severity::P1);
    }
}
