//! The lines of a page.
//!
//! The format: <https://prometheus.io/docs/instrumenting/exposition_formats/> (0.0.4, with quoted names as in 1.0.0)
//! and <https://prometheus.io/docs/specs/om/open_metrics_spec/>, of which timestamps and exemplars are passed over.

use std::borrow::Cow;

use crate::observation::Labels;

/// The labels that one line may have; a page with more of them is broken or hostile.
const MAX_LABELS: usize = 128;

/// One line of a page that holds a number. The name and the value are read, the labels are on demand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    /// The name of the metric with the suffix of its series, as in `http_requests_total`.
    pub(crate) name: &'a str,
    /// The number; `NaN` and the infinities are numbers here.
    pub(crate) value: f64,
    /// What stands between the braces, known to be well-formed.
    labels: &'a str,
}

/// A line that is none of the format, counted from 1, and what it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The samples of a page in its order. Comments, types and units are passed over; nothing is read after `# EOF`.
pub(crate) fn samples(page: &str) -> impl Iterator<Item = Result<Sample<'_>, Malformed>> {
    page.split('\n')
        .enumerate()
        .map(|(index, line)| (index, line.trim_ascii()))
        .take_while(|(_, line)| *line != "# EOF")
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            Sample::read(line).ok_or_else(|| Malformed {
                line: index + 1,
                text: line.chars().take(60).collect(),
            })
        })
}

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let end = line.find(|next: char| !is_name(next)).unwrap_or(line.len());
        let (mut name, mut rest) = line.split_at(end);
        let mut labels = "";
        rest = rest.trim_ascii_start();
        if let Some(inside) = rest.strip_prefix('{') {
            let close = closing_brace(inside)?;
            labels = inside[..close].trim_ascii();
            rest = &inside[close + 1..];
        } else if rest.len() == line.len() - end {
            // A name that runs into its value is none.
            return None;
        }
        if name.is_empty() {
            // A name that is no plain word stands quoted among the labels, first.
            let (quoted, after) = quoted(labels)?;
            let after = after.trim_ascii_start();
            labels = match after.strip_prefix(',') {
                Some(after) => after.trim_ascii_start(),
                None if after.is_empty() => after,
                None => return None,
            };
            name = quoted;
        }
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let mut fields = rest.split_ascii_whitespace();
        let value = number(fields.next()?)?;
        match fields.next() {
            None | Some("#") => {}
            // A timestamp.
            Some(field) => {
                number(field)?;
            }
        }
        Some(Self { name, value, labels })
    }

    /// The labels in the order of the line; `None` where they are not well-formed.
    pub(crate) fn labels(&self) -> Option<Vec<(&'a str, Cow<'a, str>)>> {
        let mut labels = Vec::new();
        let mut rest = self.labels;
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=')?;
            let key = key.trim_ascii();
            let key = match quoted(key) {
                Some((key, "")) => key,
                Some(_) => return None,
                None => key,
            };
            let (value, after) = quoted(after.trim_ascii_start())?;
            if key.is_empty() || labels.len() == MAX_LABELS {
                return None;
            }
            labels.push((key, unescape(value)));
            let after = after.trim_ascii_start();
            rest = match after.strip_prefix(',') {
                Some(after) => after.trim_ascii_start(),
                None if after.is_empty() => after,
                None => return None,
            };
        }
        Some(labels)
    }
}

/// `labels` as those of a measurement.
pub(super) fn owned(labels: Vec<(&str, Cow<'_, str>)>) -> Labels {
    labels
        .into_iter()
        .map(|(key, value)| (key.to_owned().into(), value.into_owned()))
        .collect()
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':'
}

/// `Inf`, `+Inf`, `-Inf`, `NaN` and decimal numbers, as Go writes them.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Where the brace that was opened before `inside` closes; braces in quotes do not count.
fn closing_brace(inside: &str) -> Option<usize> {
    let mut is_quoted = false;
    let mut bytes = inside.bytes().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => {
                bytes.next();
            }
            b'}' if !is_quoted => return Some(index),
            _ => {}
        }
    }
    None
}

/// What stands in the quotes that `text` begins with, still escaped, and what follows them.
pub(super) fn quoted(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut bytes = inside.bytes().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((&inside[..index], &inside[index + 1..])),
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    None
}

/// Undoes `\\`, `\"` and `\n`; any other backslash stays, as Prometheus leaves it.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let meant = match (character, characters.peek()) {
            ('\\', Some('n')) => '\n',
            ('\\', Some(&escaped @ ('\\' | '"'))) => escaped,
            _ => {
                plain.push(character);
                continue;
            }
        };
        characters.next();
        plain.push(meant);
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> Option<(String, f64, String)> {
        let sample = Sample::read(line)?;
        let labels: Vec<_> = sample
            .labels()?
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        Some((sample.name.to_owned(), sample.value, labels.join(" ")))
    }

    #[test]
    fn lines_read_as_the_formats_say() {
        for (line, name, value, labels) in [
            ("up 1", "up", 1.0, ""),
            ("up  1  ", "up", 1.0, ""),
            ("up{} 1 1395066363000", "up", 1.0, ""),
            (
                "a:b_total{x=\"1\"} 1027 1395066363000",
                "a:b_total",
                1027.0,
                "x=1",
            ),
            ("a { x = \"1\" , y=\"2\", } 3", "a", 3.0, "x=1 y=2"),
            ("a{x=\"{}, \\\" \\\\ \\n\"} 1e+06", "a", 1e6, "x={}, \" \\ \n"),
            (
                "a_bucket{le=\"+Inf\"} 5 # {trace=\"x\"} 0.67 1.5",
                "a_bucket",
                5.0,
                "le=+Inf",
            ),
            ("a 1.5 1520879607.789", "a", 1.5, ""),
            ("a +Inf", "a", f64::INFINITY, ""),
            ("{\"my.metric\",x=\"1\"} 2", "my.metric", 2.0, "x=1"),
            ("{\"my.metric\"} 2", "my.metric", 2.0, ""),
            ("a{\"my.label\"=\"1\"} 2", "a", 2.0, "my.label=1"),
        ] {
            assert_eq!(
                read(line),
                Some((name.to_owned(), value, labels.to_owned())),
                "{line}"
            );
        }
        assert!(read("a NaN").unwrap().1.is_nan());
    }

    #[test]
    fn what_is_no_line_of_the_format_is_refused() {
        for line in [
            "<!DOCTYPE html>",
            "{\"verdict\": \"ok\"}",
            "up",
            "up one",
            "up 1 later",
            "1up 1",
            "up{ 1",
            "up{x=1} 1",
            "up{x} 1",
            "up{x=\"1\" y=\"2\"} 1",
            "up{=\"1\"} 1",
            "{} 1",
            "404",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn a_page_ends_where_it_says_so_and_errors_name_their_line() {
        let page = "# HELP up Whether.\n# TYPE up gauge\n\nup 1\r\n<html>\n# EOF\nup 2\n";
        let read: Vec<_> = samples(page).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].as_ref().unwrap().value, 1.0);
        let malformed = read[1].as_ref().unwrap_err();
        assert_eq!((malformed.line, malformed.text.as_str()), (5, "<html>"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(page in "[a-z_:{}\"\\\\=,# \n0-9.+eINaf-]{0,200}|.{0,60}") {
            for sample in samples(&page).flatten() {
                let _ = sample.labels();
            }
        }

        #[test]
        fn what_is_written_is_read_again(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
            labels in proptest::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", ".{0,12}"), 0..4),
            value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO,
        ) {
            let written: Vec<_> = labels
                .iter()
                .map(|(key, value)| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                    format!("{key}=\"{value}\"")
                })
                .collect();
            let line = format!("{name}{{{}}} {value:e}", written.join(","));
            let sample = Sample::read(&line).unwrap();
            prop_assert_eq!(sample.name, &name);
            prop_assert_eq!(sample.value, value);
            let read: Vec<_> = sample
                .labels()
                .unwrap()
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.into_owned()))
                .collect();
            prop_assert_eq!(read, labels);
        }
    }
}
