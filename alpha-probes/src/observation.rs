//! What a probe saw: named measurements with units, and facts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::Text;

/// What the number of a [`Measurement`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// Things, or a number without a dimension.
    Count,
    /// A share, 0 to 1.
    Ratio,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Things in a second.
    PerSecond,
    /// Bytes in a second.
    BytesPerSecond,
    /// An instant, in seconds since 1970-01-01 UTC.
    UnixSeconds,
    /// 1 for yes, 0 for no.
    Boolean,
}

impl Unit {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Ratio => "ratio",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::PerSecond => "per_second",
            Self::BytesPerSecond => "bytes_per_second",
            Self::UnixSeconds => "unix_seconds",
            Self::Boolean => "boolean",
        }
    }

    /// `value` as a person reads it: `91 %`, `1.5 GB`, `230 ms`, `yes`.
    pub fn format(self, value: f64) -> String {
        match self {
            Self::Count => format_number(value),
            Self::Ratio => format!("{} %", format_number(value * 100.0)),
            Self::Seconds => format_seconds(value),
            Self::Bytes => format_bytes(value),
            Self::PerSecond => format!("{}/s", format_number(value)),
            Self::BytesPerSecond => format!("{}/s", format_bytes(value)),
            Self::UnixSeconds => {
                Timestamp::from_second(value as i64).map_or_else(|_| value.to_string(), |at| at.to_string())
            }
            Self::Boolean => if value == 0.0 { "no" } else { "yes" }.to_owned(),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// At most three significant digits below a thousand, whole numbers above.
fn format_number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || value.fract() == 0.0 || size >= 1000.0 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        trim(format!("{value:.1}"))
    } else if size >= 1.0 {
        trim(format!("{value:.2}"))
    } else {
        trim(format!("{value:.4}"))
    }
}

fn trim(number: String) -> String {
    if !number.contains('.') {
        return number;
    }
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn format_bytes(value: f64) -> String {
    let (mut value, mut unit) = (value, "B");
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if value.abs() < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    format!("{} {unit}", trim(format!("{value:.1}")))
}

fn format_seconds(value: f64) -> String {
    let size = value.abs();
    if size < 1e-3 && size > 0.0 {
        return format!("{} µs", trim(format!("{:.0}", value * 1e6)));
    }
    if size < 1.0 {
        return format!("{} ms", trim(format!("{:.1}", value * 1e3)));
    }
    if size < 60.0 {
        return format!("{} s", trim(format!("{value:.1}")));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let (major, minor, of) = match size {
        size if size < 3600.0 => (60.0, 1.0, ("min", "s")),
        size if size < 86_400.0 => (3600.0, 60.0, ("h", "min")),
        _ => (86_400.0, 3600.0, ("d", "h")),
    };
    let whole = (size / major).floor();
    match ((size - whole * major) / minor).floor() {
        0.0 => format!("{sign}{whole} {}", of.0),
        rest => format!("{sign}{whole} {} {rest} {}", of.0, of.1),
    }
}

/// Names that tell two measurements of one name apart, such as a mount or a device; a handful at most.
pub type Labels = Vec<(Cow<'static, str>, String)>;

/// One number with its name and unit.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Measurement {
    /// Lower-case words joined by `_`, without the unit: `response_time`, `used`.
    pub name: Cow<'static, str>,
    /// The number, in the unit's base: seconds, bytes, 0 to 1.
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
    /// Tells it from others of the same name.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "labels_as_map")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub labels: Labels,
}

fn labels_as_map<S: serde::Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|(key, value)| (key, value)))
}

impl Measurement {
    /// The value as a person reads it.
    pub fn display_value(&self) -> String {
        self.unit.format(self.value)
    }
}

impl fmt::Display for Measurement {
    /// `used{mount="/data"}`: the name with its labels, without the value.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        for (index, (key, value)) in self.labels.iter().enumerate() {
            let open = if index == 0 { "{" } else { "," };
            write!(formatter, "{open}{key}=\"{value}\"")?;
        }
        if !self.labels.is_empty() {
            formatter.write_str("}")?;
        }
        Ok(())
    }
}

/// What came back from a target as a document; conditions reach into it with `[BODY]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// It was JSON.
    Json(Value),
    /// It was something else; bytes that are no UTF-8 are replaced.
    Text(String),
}

/// Everything one probe saw at one time. Holds no judgement.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Observation {
    /// Numbers.
    pub measurements: Vec<Measurement>,
    /// Everything that is not a number: versions, names, identities, states.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<Cow<'static, str>, Value>,
    /// Set when the target did not answer at all, or not in its own protocol: why.
    ///
    /// A check whose conditions do not mention `[CONNECTED]` is critical then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Text>,
    /// The document the target answered with. Not kept after judgement.
    #[serde(skip)]
    pub body: Option<Body>,
    /// The headers that came with the document, names in lower case; conditions reach into them with `[HEADER]`. Not kept
    /// after judgement.
    #[serde(skip)]
    pub headers: Vec<(String, String)>,
}

impl Observation {
    /// An observation of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The observation of a target that did not answer, or not in its own protocol: a finding, not an error.
    pub fn failed(why: Text) -> Self {
        Self {
            failure: Some(why),
            ..Self::default()
        }
    }

    /// Adds a number.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: f64, unit: Unit) -> Self {
        self.push(name, value, unit, Labels::new());
        self
    }

    /// Adds a number that needs labels to be told from others of its name.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: f64, unit: Unit, labels: Labels) {
        self.measurements.push(Measurement {
            name: name.into(),
            value,
            unit,
            labels,
        });
    }

    /// Adds a span of time, in seconds.
    #[must_use]
    pub fn with_seconds(self, name: impl Into<Cow<'static, str>>, duration: Duration) -> Self {
        self.with(name, duration.as_secs_f64(), Unit::Seconds)
    }

    /// Adds a yes or no.
    #[must_use]
    pub fn with_bool(self, name: impl Into<Cow<'static, str>>, value: bool) -> Self {
        self.with(name, f64::from(u8::from(value)), Unit::Boolean)
    }

    /// Adds a fact.
    #[must_use]
    pub fn with_fact(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.facts.insert(name.into(), value.into());
        self
    }

    /// The first measurement of that name.
    pub fn measurement(&self, name: &str) -> Option<&Measurement> {
        self.measurements
            .iter()
            .find(|measurement| measurement.name == name)
    }

    /// The value of the first measurement of that name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.measurement(name).map(|measurement| measurement.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_a_person_says_them() {
        for (unit, value, expected) in [
            (Unit::Ratio, 0.913, "91.3 %"),
            (Unit::Ratio, 1.0, "100 %"),
            (Unit::Bytes, 1_530_000_000.0, "1.5 GB"),
            (Unit::Bytes, 100.0, "100 B"),
            (Unit::Seconds, 0.2304, "230.4 ms"),
            (Unit::Seconds, 0.000_09, "90 µs"),
            (Unit::Seconds, 0.0, "0 ms"),
            (Unit::Seconds, 90.0, "1 min 30 s"),
            (Unit::Seconds, 7200.0, "2 h"),
            (Unit::Seconds, 950_400.0, "11 d"),
            (Unit::Count, 12_345_678.0, "12345678"),
            (Unit::Count, 0.25, "0.25"),
            (Unit::PerSecond, 12.5, "12.5/s"),
            (Unit::Boolean, 1.0, "yes"),
            (Unit::UnixSeconds, 0.0, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(unit.format(value), expected);
        }
    }

    #[test]
    fn a_measurement_is_called_by_its_name_and_labels() {
        let labels = vec![
            ("mount".into(), "/data".to_owned()),
            ("device".into(), "sda1".to_owned()),
        ];
        let measurement = Measurement {
            name: "used".into(),
            value: 0.5,
            unit: Unit::Ratio,
            labels,
        };
        assert_eq!(measurement.to_string(), r#"used{mount="/data",device="sda1"}"#);
    }
}
