//! Alerts as Alertmanager's clients post them: JSON to [`Alert`]s, with Alertmanager's defaults and refusals.
//!
//! The usual batch is read in one pass straight into the alerts. Only where that fails are the elements looked at one
//! by one, so that what is good of a mixed batch is kept. Alertmanager keeps it only where the bad alerts are well typed;
//! here one alert of a wrong type takes no other with it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::refusal::Refusal;
use crate::alert::Alert;
use crate::label::Labels;

/// What was read of a body.
#[derive(Debug, Default)]
pub struct Posted {
    /// Alerts to keep.
    pub alerts: Vec<Alert>,
    /// How many were refused.
    pub refused: usize,
    /// What to answer where some were refused.
    pub refusal: Option<Refusal>,
}

/// Reads the body of a `POST /api/v2/alerts`. Never fails as a whole where the body is a JSON array: what is good is
/// in [`Posted::alerts`], and why the rest is not in [`Posted::refusal`].
pub fn read_alerts(body: &[u8], now: Timestamp, resolve_timeout: Duration) -> Posted {
    if body.is_empty() {
        return Posted::nothing(Refusal::validation(602, "alerts in body is required".to_owned()));
    }
    // Bytes that are no UTF-8 become replacement characters, as they do in Go: better a blemished text than no alert.
    let text = String::from_utf8_lossy(body);
    let reading = Reading { now, resolve_timeout };
    match serde_json::from_str::<Option<Vec<PostedAlert>>>(&text) {
        Ok(posted) => reading.judge(posted.unwrap_or_default().into_iter().map(Ok::<_, Refusal>)),
        Err(error) if error.classify() == Category::Data => match serde_json::from_str::<Vec<Value>>(&text) {
            Ok(elements) => reading.judge(elements.into_iter().enumerate().map(|(index, element)| {
                read_element(element)
                    .map_err(|error| Refusal::unreadable("alerts", &format!("alert {index}: {error}")))
            })),
            Err(error) => Posted::nothing(Refusal::unreadable("alerts", &error)),
        },
        Err(error) => Posted::nothing(Refusal::unreadable("alerts", &error)),
    }
}

/// Reads one alert leniently: as in Go, a label whose value is `null` is an empty one.
fn read_element(mut element: Value) -> serde_json::Result<PostedAlert> {
    for set in ["labels", "annotations"] {
        if let Some(Value::Object(set)) = element.get_mut(set) {
            set.retain(|_, value| !value.is_null());
        }
    }
    PostedAlert::deserialize(element)
}

impl Posted {
    fn nothing(refusal: Refusal) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::default()
        }
    }
}

/// What one reading needs to know.
#[derive(Clone, Copy)]
struct Reading {
    now: Timestamp,
    resolve_timeout: Duration,
}

impl Reading {
    /// Sorts the good from the bad. Of several refusals the one that Alertmanager comes upon first is told: wrong
    /// types, then what its schema forbids, then what its alerts may not be.
    fn judge(self, posted: impl ExactSizeIterator<Item = Result<PostedAlert, Refusal>>) -> Posted {
        let mut alerts = Vec::with_capacity(posted.len());
        let (mut unreadable, mut invalid) = (None, None);
        let mut wrong: Vec<String> = Vec::new();
        let mut refused = 0;
        for (index, read) in posted.enumerate() {
            let outcome = read
                .map_err(Judgement::Unreadable)
                .and_then(|alert| self.alert(alert, index));
            match outcome {
                Ok(alert) => alerts.push(alert),
                Err(judgement) => {
                    refused += 1;
                    match judgement {
                        Judgement::Unreadable(refusal) => _ = unreadable.get_or_insert(refusal),
                        Judgement::Invalid(refusal) => _ = invalid.get_or_insert(refusal),
                        Judgement::Wrong(message) => wrong.push(message),
                    }
                }
            }
        }
        let wrong = (!wrong.is_empty()).then(|| Refusal::sentence(400, wrong.join("; ")));
        Posted {
            alerts,
            refused,
            refusal: unreadable.or(invalid).or(wrong),
        }
    }

    fn alert(self, posted: PostedAlert, index: usize) -> Result<Alert, Judgement> {
        if !is_request_uri(&posted.generator_url) {
            return Err(Judgement::Invalid(Refusal::validation(
                601,
                format!(
                    "{index}.generatorURL in body must be of type uri: {:?}",
                    posted.generator_url
                ),
            )));
        }
        let labels = posted.labels.ok_or_else(|| {
            Judgement::Invalid(Refusal::validation(
                602,
                format!("{index}.labels in body is required"),
            ))
        })?;
        let labels = without_empty_values(labels);
        let starts_at = posted.starts_at.or(posted.ends_at).unwrap_or(self.now);
        let ends_at = posted.ends_at.unwrap_or_else(|| {
            self.now
                .saturating_add(self.resolve_timeout)
                .unwrap_or(Timestamp::MAX)
        });
        if ends_at < starts_at {
            return Err(Judgement::Wrong("start time must be before end time".to_owned()));
        }
        if labels.is_empty() {
            return Err(Judgement::Wrong("at least one label pair required".to_owned()));
        }
        for (set, what) in [(&labels, "label set"), (&posted.annotations, "annotations")] {
            // Names are sorted, so that an empty one comes first.
            if set.iter().next().is_some_and(|(name, _)| name.is_empty()) {
                return Err(Judgement::Wrong(format!("invalid {what}: invalid name \"\"")));
            }
        }
        Ok(Alert {
            labels,
            annotations: posted.annotations,
            starts_at,
            ends_at,
            updated_at: self.now,
            is_timeout: posted.ends_at.is_none(),
            generator_url: posted.generator_url,
        })
    }
}

/// Why an alert is not kept.
enum Judgement {
    Unreadable(Refusal),
    Invalid(Refusal),
    Wrong(String),
}

fn without_empty_values(labels: Labels) -> Labels {
    if labels.iter().any(|(_, value)| value.is_empty()) {
        Labels::new(labels.iter().filter(|(_, value)| !value.is_empty()))
    } else {
        labels
    }
}

/// Whether Go's `url.ParseRequestURI` would take it: a path, or anything after a scheme. The empty text is no URI but
/// allowed.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.starts_with('/') {
        return !text.contains(|character: char| character.is_ascii_control());
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
        && !rest.is_empty()
        && !text.contains(|character: char| character.is_ascii_control())
}

/// One alert as it was posted.
#[derive(Default)]
struct PostedAlert {
    labels: Option<Labels>,
    annotations: Labels,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    generator_url: Box<str>,
}

impl<'de> Deserialize<'de> for PostedAlert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AlertVisitor;

        impl<'de> Visitor<'de> for AlertVisitor {
            type Value = PostedAlert;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an alert such as {\"labels\": {\"alertname\": \"NodeDown\"}}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PostedAlert, A::Error> {
                let mut alert = PostedAlert::default();
                while let Some(field) = map.next_key::<Field>()? {
                    match field {
                        Field::Labels => alert.labels = map.next_value()?,
                        Field::Annotations => {
                            alert.annotations = map.next_value::<Option<_>>()?.unwrap_or_default();
                        }
                        Field::StartsAt => alert.starts_at = map.next_value::<Instant>()?.0,
                        Field::EndsAt => alert.ends_at = map.next_value::<Instant>()?.0,
                        Field::GeneratorUrl => {
                            alert.generator_url = map.next_value::<Option<_>>()?.unwrap_or_default();
                        }
                        Field::Unknown => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(alert)
            }
        }

        deserializer.deserialize_map(AlertVisitor)
    }
}

/// The keys of an alert; others are ignored, as newer clients may send more.
#[derive(Deserialize)]
#[serde(field_identifier)]
enum Field {
    #[serde(rename = "labels")]
    Labels,
    #[serde(rename = "annotations")]
    Annotations,
    #[serde(rename = "startsAt")]
    StartsAt,
    #[serde(rename = "endsAt")]
    EndsAt,
    #[serde(rename = "generatorURL")]
    GeneratorUrl,
    #[serde(other)]
    Unknown,
}

/// An instant that may be missing: `null`, the empty text, and Go's zero time all mean that nothing was said.
pub(super) struct Instant(pub(super) Option<Timestamp>);

/// The first instant of the year 1 in Unix seconds, which Go's programs send for a time that was never set.
const GO_ZERO_TIME: i128 = -62_135_596_800;

impl Instant {
    /// RFC 3339; without a zone it is UTC, as go-openapi's date-time has it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let refused = |error: &dyn fmt::Display| {
            format!("\"{text}\" is no time such as \"2026-01-31T08:30:00Z\": {error}")
        };
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            let is_said = timestamp.as_nanosecond() != GO_ZERO_TIME * 1_000_000_000;
            return Ok(Self(is_said.then_some(timestamp)));
        }
        if !text.contains(':') {
            return Err(refused(&"it has no time of day"));
        }
        let civil: DateTime = text.parse().map_err(|error| refused(&error))?;
        let zoned = civil.to_zoned(TimeZone::UTC).map_err(|error| refused(&error))?;
        Ok(Self(Some(zoned.timestamp())))
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InstantVisitor;

        impl<'de> Visitor<'de> for InstantVisitor {
            type Value = Instant;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time such as \"2026-01-31T08:30:00Z\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Instant, E> {
                Instant::parse(text).map_err(E::custom)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Instant, E> {
                Ok(Instant(None))
            }
        }

        deserializer.deserialize_any(InstantVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn read(body: &str) -> Posted {
        read_alerts(body.as_bytes(), now(), Duration::from_secs(300))
    }

    fn refusal(body: &str) -> (u16, String) {
        let posted = read(body);
        assert!(posted.alerts.is_empty(), "{body} was taken");
        let refusal = posted.refusal.unwrap();
        (refusal.status(), refusal.body())
    }

    #[test]
    fn what_is_missing_has_alertmanagers_defaults() {
        let posted = read(r#"[{"labels":{"a":"1","b":""},"annotations":null,"unknown":{"x":[1]}}]"#);
        let alert = &posted.alerts[0];
        assert_eq!(alert.labels, Labels::new([("a", "1")]));
        assert_eq!(alert.starts_at, now());
        assert_eq!(alert.ends_at, "2026-01-01T12:05:00Z".parse().unwrap());
        assert!(alert.is_timeout && posted.refusal.is_none());
        let ended = read(r#"[{"labels":{"a":"1"},"endsAt":"2026-01-01T11:00:00Z"}]"#);
        assert_eq!(ended.alerts[0].starts_at, ended.alerts[0].ends_at);
        assert!(!ended.alerts[0].is_timeout);
    }

    #[test]
    fn the_usual_writings_of_a_time_are_read() {
        for (text, expected) in [
            (
                "2026-01-01T00:00:00.123456789Z",
                Some("2026-01-01T00:00:00.123456789Z"),
            ),
            ("2026-01-01T00:00:00+08:00", Some("2025-12-31T16:00:00Z")),
            ("2026-01-01T00:00:00", Some("2026-01-01T00:00:00Z")),
            ("2026-01-01 00:00:00", Some("2026-01-01T00:00:00Z")),
            ("0001-01-01T00:00:00Z", None),
            ("0001-01-01T00:00:00.000Z", None),
            ("", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(Instant::parse(text).unwrap().0, expected, "{text}");
        }
        for wrong in [
            "yesterday",
            "2026-01-01",
            "2026-13-01T00:00:00Z",
            "99999-01-01T00:00:00Z",
        ] {
            assert!(Instant::parse(wrong).is_err(), "{wrong} was read");
        }
    }

    #[test]
    fn refusals_have_alertmanagers_statuses_and_words() {
        let json = |code: u16, message: &str| format!("{{\"code\":{code},\"message\":{message:?}}}");
        assert_eq!(refusal(""), (422, json(602, "alerts in body is required")));
        assert_eq!(refusal("[{}]"), (422, json(602, "0.labels in body is required")));
        assert_eq!(
            refusal(r#"[{"labels":{"a":"1"},"generatorURL":"foo"}]"#),
            (
                422,
                r#"{"code":601,"message":"0.generatorURL in body must be of type uri: \"foo\""}"#.to_owned()
            )
        );
        for empty in [
            r#"[{"labels":{}}]"#,
            r#"[{"labels":{"a":""}}]"#,
            r#"[{"labels":{"a":null}}]"#,
        ] {
            assert_eq!(
                refusal(empty),
                (400, "\"at least one label pair required\"\n".to_owned())
            );
        }
        for reversed in [
            r#"[{"labels":{"a":"1"},"startsAt":"2026-01-01T12:10:00Z"}]"#,
            r#"[{"labels":{"a":"1"},"startsAt":"2026-01-01T12:00:00Z","endsAt":"2026-01-01T11:00:00Z"}]"#,
        ] {
            assert_eq!(
                refusal(reversed),
                (400, "\"start time must be before end time\"\n".to_owned())
            );
        }
        for unreadable in [
            "{",
            "{}",
            "[",
            "\"x\"",
            "[1]",
            "[null]",
            r#"[{"labels":{"a":1}}]"#,
            "[] []",
        ] {
            let (status, body) = refusal(unreadable);
            assert_eq!(status, 400, "{unreadable}");
            assert!(
                body.starts_with("{\"code\":400,\"message\":\"parsing alerts body"),
                "{body}"
            );
        }
        assert!(read("null").refusal.is_none());
        assert!(read("[]").refusal.is_none());
    }

    #[test]
    fn what_is_good_of_a_mixed_batch_is_kept() {
        for (bad, status) in [
            (r#"{"labels":{}}"#, 400),
            (r#"{"labels":{"a":1}}"#, 400),
            (r#"{"labels":{"a":"1"},"startsAt":"soon"}"#, 400),
            ("7", 400),
            ("null", 400),
            ("{}", 422),
        ] {
            let posted = read(&format!(
                r#"[{{"labels":{{"a":"1"}}}},{bad},{{"labels":{{"a":"2"}}}}]"#
            ));
            assert_eq!((posted.alerts.len(), posted.refused), (2, 1), "{bad}");
            assert_eq!(posted.refusal.unwrap().status(), status, "{bad}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_blemish_only_themselves() {
        let posted = read_alerts(b"[{\"labels\":{\"a\":\"x\xff\"}}]", now(), Duration::ZERO);
        assert_eq!(posted.alerts[0].labels.get("a"), Some("x\u{fffd}"));
    }
}
