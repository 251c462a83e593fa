//! Conditions on labels: `severity=~"P0|P1"`.

mod classic;
mod pattern;
mod utf8;

use std::fmt;

use pattern::Pattern;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::label::Labels;
use crate::quote::Quoted;
use crate::text;

/// A condition on one label. A label that is not there has the empty value.
#[derive(Clone)]
pub struct Matcher {
    name: Box<str>,
    operator: Operator,
    value: Box<str>,
    /// What `value` says as an expression; only for the two operators that need it.
    pattern: Option<Pattern>,
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
    /// A condition. Regular expressions are in Go's syntax and must match the whole value.
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
        let pattern = match operator {
            Operator::Equal | Operator::NotEqual => None,
            Operator::Matches | Operator::NotMatches => {
                let pattern = Pattern::new(value).map_err(|error| {
                    // The whole error draws the expression over several lines; the last one says what is wrong.
                    let error = error.to_string();
                    let reason = error.lines().last().unwrap_or_default();
                    Error::new(
                        ErrorKind::InvalidInput,
                        text!(
                            "`{value}` is no regular expression in the matcher on {name}: {reason}",
                            value = value,
                            name = name,
                            reason = reason.strip_prefix("error: ").unwrap_or(reason)
                        ),
                    )
                })?;
                Some(pattern)
            }
        };
        Ok(Self {
            name: name.into(),
            operator,
            value: value.into(),
            pattern,
        })
    }

    /// Reads one matcher, such as `severity=~"P0|P1"`, without braces. Both of Alertmanager's syntaxes are understood, as
    /// [`parse_list`] does.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where it is none, or more than one.
    pub fn parse(text: &str) -> Result<Self> {
        either(utf8::parse(text), classic::parse(text))
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
        let is_match = match &self.pattern {
            Some(pattern) => pattern.is_match(value),
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
/// Alertmanager has two syntaxes: the classic one (0.22 to 0.26), where values need no quotes and a backslash before
/// most characters stands for itself, and the one since 0.27, where names may be quoted too and Go's escapes count. As
/// Alertmanager itself does by default, both are tried, and the classic one wins where they disagree.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] where both refuse.
pub fn parse_list(text: &str) -> Result<Vec<Matcher>> {
    either(utf8::parse_list(text), classic::parse_list(text))
}

fn either<T>(utf8: Result<T>, classic: Result<T>) -> Result<T> {
    match (classic, utf8) {
        (Ok(matchers), _) => Ok(matchers),
        (Err(_), Ok(matchers)) => Ok(matchers),
        // Of the two, the newer parser says where it stumbled.
        (Err(_), Err(error)) => Err(error),
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator, &self.value) == (&other.name, other.operator, &other.value)
    }
}

impl Eq for Matcher {}

/// As Alertmanager writes it: `severity=~"P0|P1"`, with quotes around a name that needs them.
impl fmt::Display for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = self.operator.symbol();
        if self.name.contains(utf8::is_reserved) {
            return write!(formatter, "{}{symbol}{}", Quoted(&self.name), Quoted(&self.value));
        }
        write!(formatter, "{}{symbol}\"", self.name)?;
        for part in self.value.split_inclusive(['\\', '\n', '"']) {
            let plain = part.trim_end_matches(['\\', '\n', '"']);
            formatter.write_str(plain)?;
            formatter.write_str(match &part[plain.len()..] {
                "\\" => "\\\\",
                "\n" => "\\n",
                "\"" => "\\\"",
                _ => "",
            })?;
        }
        formatter.write_str("\"")
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
            is_regex: self.pattern.is_some(),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> String {
        match parse_list(text) {
            Ok(matchers) => matchers.iter().map(|matcher| format!("[{matcher}]")).collect(),
            Err(error) => format!("refused: {error}"),
        }
    }

    /// The examples of Alertmanager's documentation and of its own tests of both parsers.
    #[test]
    fn both_syntaxes_are_read() {
        for (text, matchers) in [
            (r#"severity="P0""#, r#"[severity="P0"]"#),
            ("severity=P0", r#"[severity="P0"]"#),
            (
                r#"{foo = "bar", dings != "bums", }"#,
                r#"[foo="bar"][dings!="bums"]"#,
            ),
            ("foo=bar,dings!=bums", r#"[foo="bar"][dings!="bums"]"#),
            (r#"{foo=~"a|b",bar!~"c.*"}"#, r#"[foo=~"a|b"][bar!~"c.*"]"#),
            (
                r#"{quote="She said: \"Hi, ladies!\""}"#,
                r#"[quote="She said: \"Hi, ladies!\""]"#,
            ),
            (r#"statuscode=~"5..""#, r#"[statuscode=~"5.."]"#),
            ("{}", ""),
            ("", ""),
            ("foo=", r#"[foo=""]"#),
            ("foo=bar=baz", r#"[foo="bar=baz"]"#),
            (r#"{foo="bar""#, r#"[foo="bar"]"#),
            (r#"foo="bar"}"#, r#"[foo="bar"]"#),
            (r#"foo="bar\t""#, r#"[foo="bar\\t"]"#),
            (r#"foo="bar\nbaz""#, r#"[foo="bar\nbaz"]"#),
            (r#""foo"="bar\t""#, "[foo=\"bar\t\"]"),
            (r#"{"foo bar"=~"a b"}"#, r#"["foo bar"=~"a b"]"#),
            (r#"节点="一号""#, r#"[节点="一号"]"#),
            (r#""foo🙂"="\U0001F642\x41\101\u00e9""#, "[foo🙂=\"🙂AAé\"]"),
            (r#"foo="a,b",bar=c"#, r#"[foo="a,b"][bar="c"]"#),
            (r"foo=a\b", r#"[foo="a\\b"]"#),
        ] {
            assert_eq!(read(text), matchers, "{text}");
        }
    }

    #[test]
    fn what_neither_reads_is_refused_with_the_place() {
        insta::assert_snapshot!(
            [
                "foo",
                "=bar",
                "{foo=bar,,baz=qux}",
                r#"foo="bar"#,
                r#"foo=b"ar"#,
                r#""foo"="\q""#,
                r#"{"foo"=bar"#,
                r#""foo"=bar}"#,
                "foo=~(",
                "1foo!bar",
            ]
            .map(read)
            .join("\n"),
        );
        assert!(
            Matcher::parse("a=b,c=d").is_ok(),
            "a comma belongs to a classic value without quotes"
        );
        assert!(Matcher::parse(r#""a"=b,c=d"#).is_err());
        assert!(Matcher::parse("{a=b}").is_err());
    }

    #[test]
    fn a_label_that_is_not_there_is_empty() {
        let labels = Labels::new([("severity", "P1")]);
        let matches = |text: &str| Matcher::parse(text).unwrap().matches(&labels);
        assert!(matches("severity=~P0|P1"));
        assert!(matches("chain="));
        assert!(matches("chain!=alpha"));
        assert!(!matches("chain=~.+"));
        assert!(matches("chain!~.+"));
        assert!(!matches("severity!~P.*"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(name in "[a-z :é\"\\\\]{1,8}", value in "\\PC{0,12}|[\\\\\"\nnta,{}]{0,8}") {
            for operator in [Operator::Equal, Operator::NotEqual] {
                let matcher = Matcher::new(&name, operator, &value).unwrap();
                prop_assert_eq!(parse_list(&format!("{{{matcher}}}")).unwrap(), vec![matcher]);
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in any::<String>(), other in "[a-z=!~,{}\"\\\\ ]{0,24}", pattern in "[a-d\\\\\\[\\](){}|^$.*+?:,&~0-9pQEx-]{0,16}") {
            let _ = (parse_list(&text), parse_list(&other), Matcher::new("a", Operator::Matches, &pattern));
        }
    }
}
