//! Named times, as people write them down: `monday:friday`, `09:00` to `17:00`, `-3:-1`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A name for times that routes refer to. A moment belongs to it where one of `time_intervals` contains it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TimeIntervalConfig {
    /// What routes call it.
    pub name: String,
    /// The times; a moment that one of them contains belongs to it.
    pub time_intervals: Vec<IntervalConfig>,
}

/// Times that satisfy all that is given here; what is left out is satisfied by every moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct IntervalConfig {
    /// Times of the day, at least one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeRange>,
    /// Days of the week, at least one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<WeekdayRange>,
    /// Days of the month, at least one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days_of_month: Vec<DayOfMonthRange>,
    /// Months, at least one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub months: Vec<MonthRange>,
    /// Years, at least one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub years: Vec<YearRange>,
    /// The time zone in which all this is meant, by its IANA name or `Local`. Default: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// A part of the day, from a minute to the one before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeRange {
    /// The first minute, such as `09:00`.
    pub start_time: TimeOfDay,
    /// The minute after the last one, such as `17:00`; `24:00` is the end of the day.
    pub end_time: TimeOfDay,
}

/// A minute of the day, 0 to 1440, written as `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub(crate) u16);

/// Days of the week from one to another, Sunday first: `monday:friday`, `saturday`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekdayRange {
    /// The first, 0 for Sunday to 6 for Saturday.
    pub(crate) first: u8,
    /// The last.
    pub(crate) last: u8,
}

/// Days of the month from one to another, negative ones counted from its end: `1:7`, `-3:-1`, `15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayOfMonthRange {
    /// The first, 1 to 31 or -31 to -1.
    pub(crate) first: i8,
    /// The last.
    pub(crate) last: i8,
}

/// Months from one to another: `january:march`, `5:8`, `december`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthRange {
    /// The first, 1 to 12.
    pub(crate) first: u8,
    /// The last.
    pub(crate) last: u8,
}

/// Years from one to another: `2026:2028`, `2026`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YearRange {
    /// The first.
    pub(crate) first: i32,
    /// The last.
    pub(crate) last: i32,
}

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = |part: &str| {
            (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| part.parse::<u16>().ok())
                .flatten()
        };
        text.split_once(':')
            .and_then(|(hour, minute)| Some((digits(hour)?, digits(minute)?)))
            .filter(|&(hour, minute)| (hour < 24 && minute < 60) || (hour, minute) == (24, 0))
            .map(|(hour, minute)| Self(hour * 60 + minute))
            .ok_or_else(|| format!("expected a time such as \"09:00\", at most \"24:00\", found \"{text}\""))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// The two ends of `first:last`, lower case and trimmed, or twice the same of a single one.
fn ends(text: &str) -> Result<(String, String), String> {
    let text = text.to_lowercase();
    let mut parts = text.split(':').map(|part| part.trim().to_owned());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(only), None, _) => Ok((only.clone(), only)),
        (Some(first), Some(last), None) => Ok((first, last)),
        _ => Err(format!(
            "expected one value or two with a colon between them, found \"{text}\""
        )),
    }
}

impl FromStr for WeekdayRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = ends(text)?;
        let day = |name: &str| {
            (0..7)
                .zip(WEEKDAYS)
                .find(|(_, known)| *known == name)
                .map(|(day, _)| day)
                .ok_or_else(|| format!("expected a day of the week such as \"monday\", found \"{name}\""))
        };
        let (first, last) = (day(&first)?, day(&last)?);
        if first > last {
            return Err(format!(
                "\"{text}\" ends before it starts, because a week starts on sunday: write two ranges"
            ));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for WeekdayRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |day: u8| WEEKDAYS[usize::from(day)];
        write_range(formatter, name(self.first), name(self.last))
    }
}

impl FromStr for DayOfMonthRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = ends(text)?;
        let day = |number: &str| {
            number
                .parse::<i8>()
                .ok()
                .filter(|day| *day != 0 && (-31..=31).contains(day))
                .ok_or_else(|| {
                    format!("expected a day of the month, 1 to 31 or -31 to -1, found \"{number}\"")
                })
        };
        let (first, last) = (day(&first)?, day(&last)?);
        if first < 0 && last > 0 {
            return Err(format!(
                "\"{text}\" starts at a day counted from the end of the month, so it must end at one too"
            ));
        }
        // Whether `10:-20` is empty depends on the month. Only what is empty in every month is refused, taking the
        // shortest month as measure, as Alertmanager does.
        let in_february = |day: i8| if day < 0 { 28 + day } else { day };
        if in_february(first) > in_february(last) {
            return Err(format!("\"{text}\" always ends before it starts"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for DayOfMonthRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_range(formatter, self.first, self.last)
    }
}

impl FromStr for MonthRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = ends(text)?;
        let month = |name: &str| {
            (1..=12)
                .zip(MONTHS)
                .find(|(number, known)| *known == name || number.to_string() == name)
                .map(|(number, _)| number)
                .ok_or_else(|| format!("expected a month such as \"january\" or \"1\", found \"{name}\""))
        };
        let (first, last) = (month(&first)?, month(&last)?);
        if first > last {
            return Err(format!(
                "\"{text}\" ends before it starts, because a year starts in january: write two ranges"
            ));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for MonthRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |month: u8| MONTHS[usize::from(month) - 1];
        write_range(formatter, name(self.first), name(self.last))
    }
}

impl FromStr for YearRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = ends(text)?;
        let year = |number: &str| {
            number
                .parse::<i32>()
                .map_err(|_| format!("expected a year such as \"2026\", found \"{number}\""))
        };
        let (first, last) = (year(&first)?, year(&last)?);
        if first > last {
            return Err(format!("\"{text}\" ends before it starts"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for YearRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_range(formatter, self.first, self.last)
    }
}

fn write_range<T: fmt::Display + PartialEq>(
    formatter: &mut fmt::Formatter<'_>,
    first: T,
    last: T,
) -> fmt::Result {
    if first == last {
        return write!(formatter, "{first}");
    }
    write!(formatter, "{first}:{last}")
}

/// Reads from text and writes as text, numbers accepted where a range of one is meant.
macro_rules! written_as_text {
    ($type:ident, $expected:literal, $example:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $type;

                    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                        formatter.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $expected, "examples": [$example] })
            }
        }
    };
}

written_as_text!(TimeOfDay, "a time such as \"09:00\", at most \"24:00\"", "09:00");
written_as_text!(
    WeekdayRange,
    "days of the week such as \"monday:friday\"",
    "monday:friday"
);
written_as_text!(
    DayOfMonthRange,
    "days of the month such as \"1:7\" or \"-3:-1\"",
    "1:7"
);
written_as_text!(
    MonthRange,
    "months such as \"january:march\" or \"5\"",
    "january:march"
);
written_as_text!(YearRange, "years such as \"2026:2028\"", "2026:2028");
