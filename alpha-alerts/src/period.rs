//! Spans of time as people write them.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time written as people write it: `500ms`, `30s`, `1m 30s`, `14d`. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

impl Period {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads `500ms`, `30s`, `1m 30s`, `14d`; a day has 24 hours and a week seven days.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("expected a duration such as \"30s\", \"5m\" or \"14d\", found \"{text}\"");
        let span: jiff::Span = text.trim().parse().map_err(|_| refused())?;
        let relative = jiff::SpanRelativeTo::days_are_24_hours();
        let duration = span.to_duration(relative).map_err(|_| refused())?;
        Duration::try_from(duration).map(Self).map_err(|_| refused())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        for (size, unit) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
            if self.0.subsec_nanos() == 0 && seconds >= size && seconds.is_multiple_of(size) {
                return write!(formatter, "{}{unit}", seconds / size);
            }
        }
        write!(formatter, "{}ms", self.0.as_millis())
    }
}

impl From<Duration> for Period {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Period;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration such as \"30s\", \"5m\" or \"14d\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
                Period::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration such as 500ms, 30s, 1m 30s or 14d",
            "examples": ["30s", "5m", "14d"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_read_and_print_as_people_write_them() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("90s", 90),
            ("14d", 1_209_600),
            ("2w", 1_209_600),
        ] {
            assert_eq!(Period::parse(text).unwrap(), Period::from_secs(seconds));
        }
        assert_eq!(Period::parse("1m 30s").unwrap().to_string(), "90s");
        assert_eq!(Period(Duration::from_millis(1500)).to_string(), "1500ms");
        assert_eq!(Period::from_secs(0).to_string(), "0ms");
        for wrong in ["", "30", "-5s", "soon", "1 month"] {
            assert!(Period::parse(wrong).is_err(), "{wrong} was read");
        }
    }
}
