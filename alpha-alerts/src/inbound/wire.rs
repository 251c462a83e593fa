//! Alerts and silences in the shapes of Alertmanager's API v2.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::backend::AlertView;
use crate::label::{Fingerprint, Labels};
use crate::matcher::Matcher;
use crate::silence::{Silence, SilenceState};

/// An instant with milliseconds, as go-openapi writes a date-time.
#[derive(Clone, Copy)]
pub(super) struct Moment(pub(super) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

#[derive(Serialize)]
pub(super) struct Receiver<'a> {
    pub(super) name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireAlert<'a> {
    annotations: &'a Labels,
    ends_at: Moment,
    pub(super) fingerprint: Fingerprint,
    receivers: Vec<Receiver<'a>>,
    starts_at: Moment,
    status: AlertStatus<'a>,
    updated_at: Moment,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
    pub(super) labels: &'a Labels,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertStatus<'a> {
    inhibited_by: &'a [Fingerprint],
    muted_by: &'a [String],
    silenced_by: &'a [Uuid],
    state: &'static str,
}

impl<'a> WireAlert<'a> {
    pub(super) fn new(view: &'a AlertView) -> Self {
        let alert = &view.alert;
        let is_suppressed =
            !(view.silenced_by.is_empty() && view.inhibited_by.is_empty() && view.muted_by.is_empty());
        let state = if is_suppressed { "suppressed" } else { "active" };
        Self {
            annotations: &alert.annotations,
            ends_at: Moment(alert.ends_at),
            fingerprint: alert.fingerprint(),
            receivers: view
                .receivers
                .iter()
                .map(|name: &Arc<str>| Receiver { name })
                .collect(),
            starts_at: Moment(alert.starts_at),
            status: AlertStatus {
                inhibited_by: &view.inhibited_by,
                muted_by: &view.muted_by,
                silenced_by: &view.silenced_by,
                state,
            },
            updated_at: Moment(alert.updated_at),
            generator_url: &alert.generator_url,
            labels: &alert.labels,
        }
    }
}

/// Whether every filter matches the labels.
pub(super) fn alert_filter(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

/// Whether every filter is one of the silence's own matchers, as Alertmanager filters silences.
pub(super) fn silence_filter(filters: &[Matcher], silence: &Silence) -> bool {
    filters.iter().all(|filter| silence.matchers.contains(filter))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireSilence<'a> {
    id: Uuid,
    status: SilenceStatus,
    updated_at: Moment,
    #[serde(skip_serializing_if = "Labels::is_empty")]
    annotations: &'a Labels,
    comment: &'a str,
    created_by: &'a str,
    ends_at: Moment,
    matchers: &'a [Matcher],
    starts_at: Moment,
}

#[derive(Serialize)]
struct SilenceStatus {
    state: &'static str,
}

impl<'a> WireSilence<'a> {
    pub(super) fn new(silence: &'a Silence, now: Timestamp) -> Self {
        Self {
            id: silence.id,
            status: SilenceStatus {
                state: silence_state(silence, now),
            },
            updated_at: Moment(silence.updated_at),
            annotations: &silence.annotations,
            comment: &silence.comment,
            created_by: &silence.created_by,
            ends_at: Moment(silence.ends_at),
            matchers: &silence.matchers,
            starts_at: Moment(silence.starts_at),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        self.status.state
    }
}

/// The word for where a silence stands.
pub(super) fn silence_state(silence: &Silence, now: Timestamp) -> &'static str {
    match silence.state_at(now) {
        SilenceState::Pending => "pending",
        SilenceState::Active => "active",
        SilenceState::Expired => "expired",
    }
}

/// Active ones by their end, then pending ones by their start, then expired ones, the latest first.
pub(super) fn silence_order(silence: &Silence, now: Timestamp) -> (u8, i128, Reverse<i128>) {
    match silence.state_at(now) {
        SilenceState::Active => (0, silence.ends_at.as_nanosecond(), Reverse(0)),
        SilenceState::Pending => (1, silence.starts_at.as_nanosecond(), Reverse(0)),
        SilenceState::Expired => (2, 0, Reverse(silence.ends_at.as_nanosecond())),
    }
}
