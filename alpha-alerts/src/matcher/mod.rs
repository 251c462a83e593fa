//! Conditions on labels: `severity=~"P0|P1"`.

mod classic;

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::label::Labels;
use crate::text;

/// A condition on one label. A label that is not there has the empty value.
#[derive(Clone)]
pub struct Matcher {
    name: Box<str>,
    operator: Operator,
    value: Box<str>,
    /// `value`, anchored at both ends; only for the two operators that need it.
    regex: Option<Arc<Regex>>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`: the whole value matches a regular expression.
    Matches,
    /// `!~`
    NotMatches,
}

impl Operator {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::NotMatches => "!~",
        }
    }

    /// The operator that `text` starts with, and what follows it.
    fn split(text: &str) -> Option<(Self, &str)> {
        // The longer ones first: `=~` starts with `=`.
        [Self::Matches, Self::NotMatches, Self::NotEqual, Self::Equal]
            .into_iter()
            .find_map(|operator| Some((operator, text.strip_prefix(operator.symbol())?)))
    }
}

impl Matcher {
    /// A condition; regular expressions are anchored at both ends, as Prometheus' are.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the name is empty or the expression is wrong.
    pub fn new(name: &str, operator: Operator, value: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                text!("a matcher needs the name of a label before its operator"),
            ));
        }
        let regex = match operator {
            Operator::Equal | Operator::NotEqual => None,
            Operator::Matches | Operator::NotMatches => {
                let regex = Regex::new(&format!("^(?s:{value})$")).map_err(|error| {
                    Error::new(
                        ErrorKind::InvalidInput,
                        text!(
                            "`{value}` is no regular expression in the matcher on {name}",
                            value = value,
                            name = name
                        ),
                    )
                    .with_source(error)
                })?;
                Some(Arc::new(regex))
            }
        };
        Ok(Self {
            name: name.into(),
            operator,
            value: value.into(),
            regex,
        })
    }

    /// Reads one matcher, such as `severity=~"P0|P1"`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where it is none, or more than one.
    pub fn parse(text: &str) -> Result<Self> {
        classic::parse(text)
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// What it compares with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label with this value satisfies it.
    pub fn matches_value(&self, value: &str) -> bool {
        let is_match = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => *self.value == *value,
        };
        is_match == matches!(self.operator, Operator::Equal | Operator::Matches)
    }

    /// Whether `labels` satisfy it.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.name).unwrap_or_default())
    }
}

/// Reads matchers with commas between them, with or without braces around them: `{severity="P0", chain=~"a|b"}`.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] where one of them is none.
pub fn parse_list(text: &str) -> Result<Vec<Matcher>> {
    classic::parse_list(text)
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator, &self.value) == (&other.name, other.operator, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}{}{:?}",
            self.name,
            self.operator.symbol(),
            self.value
        )
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// As Alertmanager's API writes it.
#[derive(Serialize, Deserialize)]
#[serde(rename = "matcher")]
struct Wire {
    name: String,
    value: String,
    #[serde(rename = "isRegex")]
    is_regex: bool,
    #[serde(rename = "isEqual", default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Serialize for Matcher {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire {
            name: self.name.to_string(),
            value: self.value.to_string(),
            is_regex: self.regex.is_some(),
            is_equal: matches!(self.operator, Operator::Equal | Operator::Matches),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let operator = match (wire.is_equal, wire.is_regex) {
            (true, false) => Operator::Equal,
            (false, false) => Operator::NotEqual,
            (true, true) => Operator::Matches,
            (false, true) => Operator::NotMatches,
        };
        Self::new(&wire.name, operator, &wire.value)
            .map_err(|error| serde::de::Error::custom(error.to_text()))
    }
}
