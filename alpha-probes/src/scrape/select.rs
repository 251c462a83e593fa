//! Choosing samples by name and labels: `http_requests_total{status=~"5..",method!="HEAD"}`.

use std::borrow::Cow;
use std::fmt;

use regex::Regex;

use super::page::{self, Sample};
use crate::condition::nearest;
use crate::observation::Labels;
use crate::text;
use crate::text::Text;

/// The size that a compiled pattern may have, in bytes.
const MAX_PATTERN: usize = 1 << 16;

/// A name and what its labels must be, in the notation of Prometheus.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    name: String,
    matchers: Vec<Matcher>,
}

#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    value: String,
    is_negated: bool,
    pattern: Option<Regex>,
}

impl Selector {
    /// Reads `name` or `name{label="value"}`, with `=`, `!=`, `=~` and `!~`.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, Text> {
        let malformed = || {
            text!(
                "\"{found}\" is no selector: expected a metric such as name or name{label=\"value\"}",
                found = text
            )
        };
        let (name, rest) = match text.trim_ascii().split_once('{') {
            Some((name, rest)) => (
                name,
                Some(rest.trim_ascii_end().strip_suffix('}').ok_or_else(malformed)?),
            ),
            None => (text, None),
        };
        let name = name.trim_ascii();
        let is_name = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name
                .chars()
                .all(|next| next.is_ascii_alphanumeric() || next == '_' || next == ':' || next == '.');
        if !is_name {
            return Err(malformed());
        }
        let mut matchers = Vec::new();
        let mut rest = rest.unwrap_or_default().trim_ascii();
        while !rest.is_empty() {
            let (matcher, after) = Matcher::read(rest).ok_or_else(malformed)??;
            matchers.push(matcher);
            let after = after.trim_ascii_start();
            rest = match after.strip_prefix(',') {
                Some(after) => after.trim_ascii_start(),
                None if after.is_empty() => after,
                None => return Err(malformed()),
            };
        }
        Ok(Self {
            name: name.to_owned(),
            matchers,
        })
    }

    /// The name of the metric.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same labels of the series `name` + `suffix`, such as `_bucket`.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        Self {
            name: format!("{}{suffix}", self.name),
            matchers: self.matchers.clone(),
        }
    }

    /// The labels of `sample` where it is selected.
    pub(crate) fn select<'a>(&self, sample: &Sample<'a>) -> Option<Vec<(&'a str, Cow<'a, str>)>> {
        if sample.name != self.name {
            return None;
        }
        let labels = sample.labels()?;
        // As in Prometheus, a label that is absent counts as empty.
        let value = |label: &str| {
            labels
                .iter()
                .find(|(key, _)| *key == label)
                .map_or("", |(_, value)| value)
        };
        self.matchers
            .iter()
            .all(|matcher| matcher.matches(value(&matcher.label)))
            .then_some(labels)
    }

    /// The value of the first sample that it selects; lines that are none of the format are passed over.
    #[allow(dead_code, reason = "for pages of a known node")]
    pub(crate) fn first(&self, page: &str) -> Option<f64> {
        page::samples(page)
            .flatten()
            .find(|sample| self.select(sample).is_some())
            .map(|sample| sample.value)
    }

    /// `labels` as those of a measurement.
    pub(crate) fn measured(labels: Vec<(&str, Cow<'_, str>)>) -> Labels {
        page::owned(labels)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        for (index, matcher) in self.matchers.iter().enumerate() {
            formatter.write_str(if index == 0 { "{" } else { "," })?;
            let operator = match (matcher.is_negated, &matcher.pattern) {
                (false, None) => "=",
                (true, None) => "!=",
                (false, Some(_)) => "=~",
                (true, Some(_)) => "!~",
            };
            write!(formatter, "{}{operator}\"{}\"", matcher.label, matcher.value)?;
        }
        if !self.matchers.is_empty() {
            formatter.write_str("}")?;
        }
        Ok(())
    }
}

impl Matcher {
    /// Reads one matcher and yields what follows it; `None` where it is none.
    fn read(text: &str) -> Option<Result<(Self, &str), Text>> {
        let end = text.find(['=', '!'])?;
        let (label, rest) = text.split_at(end);
        let label = label.trim_ascii();
        let is_label = !label.is_empty()
            && label
                .chars()
                .all(|next| next.is_ascii_alphanumeric() || next == '_' || next == '.');
        let (operator, rest) = ["=~", "!~", "!=", "="]
            .into_iter()
            .find_map(|operator| Some((operator, rest.strip_prefix(operator)?)))?;
        let (value, rest) = page::quoted(rest.trim_ascii_start())?;
        if !is_label {
            return None;
        }
        let value = page::unescape(value).into_owned();
        let pattern = match operator.ends_with('~') {
            true => match anchored(&value) {
                Ok(pattern) => Some(pattern),
                Err(refused) => return Some(Err(refused)),
            },
            false => None,
        };
        let matcher = Self {
            label: label.to_owned(),
            value,
            is_negated: operator.starts_with('!'),
            pattern,
        };
        Some(Ok((matcher, rest)))
    }

    fn matches(&self, value: &str) -> bool {
        let is_match = match &self.pattern {
            Some(pattern) => pattern.is_match(value),
            None => self.value == value,
        };
        is_match != self.is_negated
    }
}

/// A pattern that must match the whole, as in Prometheus.
fn anchored(pattern: &str) -> Result<Regex, Text> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .dot_matches_new_line(true)
        .size_limit(MAX_PATTERN)
        .build()
        .map_err(|_| text!("\"{pattern}\" is no regular expression", pattern = pattern))
}

/// The name on the page that is most like `wanted`, where any is like it.
pub(crate) fn nearest_name<'a>(page: &'a str, wanted: &str) -> Option<&'a str> {
    let mut names: Vec<_> = page::samples(page).flatten().map(|sample| sample.name).collect();
    // The series of one metric follow each other.
    names.dedup();
    nearest(wanted, names.into_iter())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "\
# TYPE substrate_block_height gauge
substrate_block_height{status=\"best\",chain=\"dev\"} 120
substrate_block_height{status=\"finalized\",chain=\"dev\"} 117
http_requests_total{code=\"200\"} 10
http_requests_total{code=\"502\"} 3
";

    fn values(selector: &str) -> Vec<f64> {
        let selector = Selector::parse(selector).unwrap();
        let selected = |sample: &Sample<'_>| selector.select(sample).is_some();
        let samples = page::samples(PAGE).flatten().filter(selected);
        samples.map(|sample| sample.value).collect()
    }

    #[test]
    fn samples_are_selected_by_name_and_labels() {
        assert_eq!(values("substrate_block_height"), [120.0, 117.0]);
        assert_eq!(values("substrate_block_height{status=\"best\"}"), [120.0]);
        assert_eq!(values("substrate_block_height{status!=\"best\"}"), [117.0]);
        assert_eq!(values("http_requests_total{code=~\"5..\"}"), [3.0]);
        assert_eq!(values("http_requests_total{code!~\"5..|2\"}"), [10.0]);
        assert_eq!(
            values("http_requests_total{ host = \"\", code=\"200\", }"),
            [10.0]
        );
        assert_eq!(values("substrate_block"), [0.0; 0]);
    }

    #[test]
    fn selectors_print_as_they_are_written() {
        for text in ["up", "up{job=\"a\",code!=\"1\",x=~\"a.*\",y!~\"b\"}"] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_an_example() {
        for text in [
            "",
            "1up",
            "up{",
            "up{x}",
            "up{x=1}",
            "up{x=\"1\" y=\"2\"}",
            "up}",
            "a b",
            "sum(up)",
        ] {
            let refused = Selector::parse(text).unwrap_err().to_string();
            assert!(refused.ends_with("name{label=\"value\"}"), "{text}: {refused}");
        }
        let refused = Selector::parse("up{x=~\"(\"}").unwrap_err();
        assert_eq!(refused.to_string(), "\"(\" is no regular expression");
    }

    #[test]
    fn a_wrong_name_finds_the_nearest() {
        assert_eq!(
            nearest_name(PAGE, "substrate_blok_height"),
            Some("substrate_block_height")
        );
        assert_eq!(
            nearest_name(PAGE, "http_request_total"),
            Some("http_requests_total")
        );
        assert_eq!(nearest_name(PAGE, "up"), None);
        assert_eq!(nearest_name("", "up"), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[a-z{}\"\\\\=!~,() ]{0,40}|.{0,30}") {
            if let Ok(selector) = Selector::parse(&text) {
                let _ = selector.first(PAGE);
            }
        }
    }
}
