//! The syntax of nginx' `log_format`, and lines written in it.

use jiff::Timestamp;
use jiff::fmt::strtime;

use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// nginx' format `combined`, which it uses when none is named.
pub(super) const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// A compiled format: a text before each variable, and one after the last.
#[derive(Debug)]
pub(super) struct Format {
    begin: String,
    variables: Vec<(Variable, String)>,
}

/// The variables that are looked at; the others are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Status,
    Request,
    Path,
    Bytes,
    Duration,
    LocalTime,
    IsoTime,
    UnixTime,
    Other,
}

impl Variable {
    fn named(name: &str) -> Self {
        match name {
            "status" => Self::Status,
            "request" => Self::Request,
            "request_uri" | "uri" => Self::Path,
            "body_bytes_sent" | "bytes_sent" => Self::Bytes,
            "request_time" => Self::Duration,
            "time_local" => Self::LocalTime,
            "time_iso8601" => Self::IsoTime,
            "msec" => Self::UnixTime,
            _ => Self::Other,
        }
    }
}

/// What one line says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Entry<'a> {
    pub(super) status: u16,
    /// Without the query, which may hold secrets.
    pub(super) path: Option<&'a str>,
    pub(super) bytes: Option<u64>,
    /// Seconds.
    pub(super) duration: Option<f64>,
    pub(super) at: Option<Timestamp>,
}

impl Format {
    /// Compiles a format.
    pub(super) fn parse(format: &str) -> Result<Self> {
        let format = if format == "combined" { COMBINED } else { format };
        let mut parts = format.split('$');
        let begin = parts.next().unwrap_or_default().to_owned();
        let mut variables = Vec::new();
        for part in parts {
            let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            let (name, after) = match part.strip_prefix('{').and_then(|part| part.split_once('}')) {
                Some((name, after)) => (name, after),
                None => part.split_at(part.find(|letter| !is_name(letter)).unwrap_or(part.len())),
            };
            if name.is_empty() {
                return Err(refused(text!("a $ must be followed by the name of a variable")));
            }
            variables.push((Variable::named(name), after.to_owned()));
        }
        let glued = variables.split_last().map_or(&[][..], |(_, all)| all);
        if glued.iter().any(|(_, after)| after.is_empty()) {
            return Err(refused(text!("two variables must have something between them")));
        }
        if !variables
            .iter()
            .any(|(variable, _)| *variable == Variable::Status)
        {
            return Err(refused(text!("it must hold $status")));
        }
        Ok(Self { begin, variables })
    }

    /// Whether lines tell how long a request took.
    pub(super) fn has_duration(&self) -> bool {
        self.variables
            .iter()
            .any(|(variable, _)| *variable == Variable::Duration)
    }

    /// Reads a line; nothing where it is not in this format.
    pub(super) fn read<'a>(&self, line: &'a str) -> Option<Entry<'a>> {
        let mut rest = line.strip_prefix(self.begin.as_str())?;
        let mut entry = Entry::default();
        for (index, (variable, after)) in self.variables.iter().enumerate() {
            let is_last = index + 1 == self.variables.len();
            let (value, next) = match (is_last, after.as_str()) {
                (true, "") => (rest, ""),
                (true, after) => (rest.strip_suffix(after)?, ""),
                (false, after) => rest.split_once(after)?,
            };
            rest = next;
            match variable {
                Variable::Status => {
                    entry.status = value.parse().ok().filter(|status| (100..1000).contains(status))?
                }
                // What is no HTTP is logged as it came.
                Variable::Request => entry.path = value.split(' ').nth(1).map(without_query),
                Variable::Path => entry.path = Some(without_query(value)),
                Variable::Bytes => entry.bytes = value.parse().ok(),
                Variable::Duration => {
                    entry.duration = value.parse().ok().filter(|seconds: &f64| *seconds >= 0.0)
                }
                Variable::LocalTime => {
                    let time = strtime::parse("%d/%b/%Y:%H:%M:%S %z", value).ok();
                    entry.at = time.and_then(|time| time.to_timestamp().ok());
                }
                Variable::IsoTime => entry.at = value.parse().ok(),
                Variable::UnixTime => {
                    let seconds: f64 = value.parse().ok()?;
                    entry.at = Timestamp::from_millisecond((seconds * 1e3) as i64).ok();
                }
                Variable::Other => {}
            }
        }
        Some(entry)
    }
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn refused(why: crate::Text) -> Error {
    Error::new(
        ErrorKind::InvalidConfig,
        text!(
            "format: expected nginx' log_format, or \"combined\": {why}",
            why = why
        ),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_format_is_read() {
        let format = Format::parse("combined").unwrap();
        let entry = format
            .read(r#"10.0.0.1 - - [10/Oct/2023:13:55:36 +0200] "GET /a/b?token=secret HTTP/1.1" 502 157 "-" "curl/7.88 \x22x\x22""#)
            .unwrap();
        let expected = Entry {
            status: 502,
            path: Some("/a/b"),
            bytes: Some(157),
            duration: None,
            at: Some("2023-10-10T11:55:36Z".parse().unwrap()),
        };
        assert_eq!(entry, expected);
        assert!(!format.has_duration());
    }

    #[test]
    fn other_formats_are_read_as_they_are_written() {
        let format = Format::parse(
            r#"{"t":"$time_iso8601","s":$status,"u":"${request_uri}","d":$request_time,"m":$msec}"#,
        )
        .unwrap();
        let entry = format
            .read(r#"{"t":"2024-01-31T10:00:00+00:00","s":200,"u":"/x","d":0.250,"m":1706695200.123}"#)
            .unwrap();
        assert_eq!(
            (entry.status, entry.path, entry.duration),
            (200, Some("/x"), Some(0.25))
        );
        assert_eq!(entry.at.unwrap().as_millisecond(), 1_706_695_200_123);
    }

    #[test]
    fn a_request_that_is_no_http_still_counts() {
        let format = Format::parse("combined").unwrap();
        let entry = format
            .read(r#"10.0.0.1 - - [10/Oct/2023:13:55:36 +0200] "\x16\x03\x01" 400 157 "-" "-""#)
            .unwrap();
        assert_eq!((entry.status, entry.path), (400, None));
        assert_eq!(format.read("something else"), None);
    }

    #[test]
    fn a_format_that_cannot_be_read_back_is_refused() {
        for (format, expected) in [
            (
                "$status$request",
                "two variables must have something between them",
            ),
            (
                "$request $ $status",
                "a $ must be followed by the name of a variable",
            ),
            ("$request", "it must hold $status"),
        ] {
            let error = Format::parse(format).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "\\PC{0,200}", format in "[$a-z_{} \"]{0,40}\\$status[ \"]{0,3}") {
            if let Ok(format) = Format::parse(&format) {
                let _ = format.read(&line);
            }
        }
    }
}
