//! How words of the command line become values.

use alpha_alerts::{Period, Severity};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A person and a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stint {
    /// Who.
    pub person: String,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
}

pub(super) fn period(text: &str) -> Result<Period, String> {
    Period::parse(text)
}

pub(super) fn severity(text: &str) -> Result<Severity, String> {
    Severity::ALL
        .into_iter()
        .find(|severity| severity.name().eq_ignore_ascii_case(text))
        .ok_or_else(|| "expected P0, P1, P2 or P3".to_owned())
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim_matches('"').to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// An instant with an offset, or a time of the clock on the wall here.
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let local = text.parse::<jiff::civil::DateTime>();
    let local =
        local.map_err(|_| "expected a time such as 2026-01-31T08:30 or 2026-01-31T08:30:00Z".to_owned())?;
    let zoned = TimeZone::system().to_zoned(local);
    zoned
        .map(|zoned| zoned.timestamp())
        .map_err(|error| error.to_string())
}

pub(super) fn stint(text: &str) -> Result<Stint, String> {
    let expected = || "expected PERSON@FROM/UNTIL".to_owned();
    let (person, span) = text.split_once('@').ok_or_else(expected)?;
    let (from, until) = span.split_once('/').ok_or_else(expected)?;
    Ok(Stint {
        person: person.to_owned(),
        starts_at: instant(from)?,
        ends_at: instant(until)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_what_is_expected_is_told() {
        assert_eq!(pair("a=\"b=c\""), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("=b").is_err() && pair("a").is_err());
        assert_eq!(severity("p1"), Ok(Severity::P1));
        assert!(severity("P4").is_err());
        assert_eq!(
            instant("2026-01-31T08:30:00+08:00"),
            Ok("2026-01-31T00:30:00Z".parse().unwrap())
        );
        assert!(instant("soon").unwrap_err().contains("2026-01-31T08:30"));
        let read = stint("mei@2026-02-02T09:00Z/2026-02-09T09:00Z").unwrap();
        assert_eq!(read.person, "mei");
        assert_eq!(read.ends_at.duration_since(read.starts_at).as_hours(), 168);
        assert!(stint("mei@soon").is_err());
    }
}
