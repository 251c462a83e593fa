//! Silences as Alertmanager's clients post them, with Alertmanager's rules for changing one.

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::posted::Instant;
use super::refusal::Refusal;
use crate::label::Labels;
use crate::matcher::{Matcher, Operator};
use crate::silence::{Silence, SilenceState};

/// The body of a `POST /api/v2/silences`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    id: Option<String>,
    matchers: Option<Vec<BodyMatcher>>,
    starts_at: Option<Instant>,
    ends_at: Option<Instant>,
    created_by: Option<String>,
    comment: Option<String>,
    annotations: Option<Labels>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BodyMatcher {
    name: Option<String>,
    value: Option<String>,
    is_regex: Option<bool>,
    is_equal: Option<bool>,
}

/// A silence that was posted and is valid in itself.
#[derive(Debug)]
pub(super) struct PostedSilence {
    /// The silence to change, where one was named.
    pub(super) id: Option<String>,
    matchers: Vec<Matcher>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: String,
    comment: String,
    annotations: Labels,
}

/// Reads and checks a silence; refusals come in the order in which Alertmanager looks.
pub(super) fn read_silence(body: &[u8], now: Timestamp) -> Result<PostedSilence, Refusal> {
    let required = |what: &str| Refusal::validation(602, format!("{what} in body is required"));
    if body.is_empty() {
        return Err(required("silence"));
    }
    let body: Option<Body> =
        serde_json::from_slice(body).map_err(|error| Refusal::unreadable("silence", &error))?;
    let Some(body) = body else {
        return Err(required("comment"));
    };
    let comment = body.comment.ok_or_else(|| required("comment"))?;
    let created_by = body.created_by.ok_or_else(|| required("createdBy"))?;
    let ends_at = body
        .ends_at
        .and_then(|instant| instant.0)
        .ok_or_else(|| required("endsAt"))?;
    let matchers = body.matchers.ok_or_else(|| required("matchers"))?;
    if matchers.is_empty() {
        let message = "matchers in body should have at least 1 items".to_owned();
        return Err(Refusal::validation(612, message));
    }
    for (index, matcher) in matchers.iter().enumerate() {
        let missing = if matcher.is_regex.is_none() {
            "isRegex"
        } else if matcher.name.is_none() {
            "name"
        } else if matcher.value.is_none() {
            "value"
        } else {
            continue;
        };
        return Err(required(&format!("matchers.{index}.{missing}")));
    }
    let starts_at = body
        .starts_at
        .and_then(|instant| instant.0)
        .ok_or_else(|| required("startsAt"))?;
    if starts_at >= ends_at {
        let message = "Failed to create silence: start time must be before end time";
        return Err(Refusal::sentence(400, message));
    }
    if ends_at < now {
        let message = "Failed to create silence: end time can't be in the past";
        return Err(Refusal::sentence(400, message));
    }
    let mut compiled = Vec::with_capacity(matchers.len());
    for (index, matcher) in matchers.into_iter().enumerate() {
        compiled.push(matcher.compile(index)?);
    }
    if compiled.iter().all(asks_for_nothing) {
        let message = "silence invalid: at least one matcher must not match the empty string";
        return Err(Refusal::sentence(400, message));
    }
    Ok(PostedSilence {
        id: body.id.filter(|id| !id.is_empty()),
        matchers: compiled,
        starts_at,
        ends_at,
        created_by,
        comment,
        annotations: body.annotations.unwrap_or_default(),
    })
}

/// Whether a matcher asks for the empty value; `!=` and `!~` are taken as meant, as Alertmanager does.
fn asks_for_nothing(matcher: &Matcher) -> bool {
    matches!(matcher.operator(), Operator::Equal | Operator::Matches) && matcher.matches_value("")
}

impl BodyMatcher {
    fn compile(self, index: usize) -> Result<Matcher, Refusal> {
        let name = self.name.unwrap_or_default();
        let invalid = |reason: &dyn std::fmt::Display| {
            Refusal::sentence(
                400,
                format!("silence invalid: invalid label matcher {index}: {reason}"),
            )
        };
        if name.is_empty() {
            return Err(invalid(&"invalid label name \"\""));
        }
        let operator = match (self.is_equal.unwrap_or(true), self.is_regex.unwrap_or(false)) {
            (true, false) => Operator::Equal,
            (false, false) => Operator::NotEqual,
            (true, true) => Operator::Matches,
            (false, true) => Operator::NotMatches,
        };
        Matcher::new(&name, operator, &self.value.unwrap_or_default())
            .map_err(|error| invalid(&error.to_text()))
    }
}

impl PostedSilence {
    /// The silence to keep, and the one that it replaces.
    ///
    /// A change keeps the identity as long as it does not rewrite the past: the same matchers, an active one keeps its
    /// start, a pending one still starts in the future. Otherwise the old one ends and a new one with identity `new_id`
    /// begins, not before `now`.
    pub(super) fn into_silence(
        self,
        previous: Option<Silence>,
        now: Timestamp,
        new_id: Uuid,
    ) -> (Silence, Option<Uuid>) {
        let kept = previous
            .as_ref()
            .filter(|previous| self.can_update(previous, now));
        let (id, starts_at) = match kept {
            Some(kept) => (kept.id, self.starts_at),
            None => (new_id, self.starts_at.max(now)),
        };
        let recurrence = kept.and_then(|kept| kept.recurrence.clone());
        let replaced = previous
            .filter(|previous| previous.id != id && previous.state_at(now) != SilenceState::Expired)
            .map(|previous| previous.id);
        let silence = Silence {
            id,
            matchers: self.matchers,
            starts_at,
            ends_at: self.ends_at,
            updated_at: now,
            created_by: self.created_by,
            comment: self.comment,
            annotations: self.annotations,
            recurrence,
        };
        (silence, replaced)
    }

    fn can_update(&self, previous: &Silence, now: Timestamp) -> bool {
        self.matchers == previous.matchers
            && match previous.state_at(now) {
                SilenceState::Active => self.starts_at.as_second() == previous.starts_at.as_second(),
                SilenceState::Pending => self.starts_at >= now,
                SilenceState::Expired => false,
            }
    }
}
