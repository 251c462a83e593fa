//! One alert: what is wrong with what, since when, and until when it counts as firing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::label::{Fingerprint, Labels};

/// Something that is wrong, identified by its labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What identifies it: `alertname`, `severity`, `instance` and so on.
    pub labels: Labels,
    /// What explains it: `summary`, `description`, `runbook_url` and so on.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// Since when.
    pub starts_at: Timestamp,
    /// Resolved from here on. In the future while it fires.
    pub ends_at: Timestamp,
    /// When it was last told.
    pub updated_at: Timestamp,
    /// Whether `ends_at` is only the resolve timeout, because the sender did not say when it ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_timeout: bool,
    /// Where it was made, such as a graph of the expression.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub generator_url: Box<str>,
}

impl Alert {
    /// An alert that fires from `starts_at` until somebody says that it is over.
    pub fn firing(labels: Labels, starts_at: Timestamp) -> Self {
        Self {
            labels,
            annotations: Labels::default(),
            starts_at,
            ends_at: Timestamp::MAX,
            updated_at: starts_at,
            is_timeout: false,
            generator_url: Box::default(),
        }
    }

    /// The same alert with its explanations.
    #[must_use]
    pub fn with_annotations(mut self, annotations: Labels) -> Self {
        self.annotations = annotations;
        self
    }

    /// The same alert, over since `ends_at`.
    #[must_use]
    pub fn resolved(mut self, ends_at: Timestamp) -> Self {
        self.ends_at = ends_at;
        self.updated_at = ends_at;
        self.is_timeout = false;
        self
    }

    /// Its identity.
    pub fn fingerprint(&self) -> Fingerprint {
        self.labels.fingerprint()
    }

    /// The label `alertname`, empty where there is none.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or_default()
    }

    /// Whether it is over at `now`.
    pub fn is_resolved_at(&self, now: Timestamp) -> bool {
        self.ends_at <= now
    }

    /// What is known after `newer` was told about the same alert as `self`.
    ///
    /// The rules are Alertmanager's (`types.Alert.Merge`, and the provider's test for overlap): tellings whose times
    /// overlap are one incident, with the earliest start; an end that somebody stated outranks a mere timeout; a
    /// telling that does not overlap starts anew.
    #[must_use]
    pub fn merged_with(&self, newer: Self) -> Self {
        let overlaps = (newer.ends_at > self.starts_at && newer.ends_at < self.ends_at)
            || (newer.starts_at > self.starts_at && newer.starts_at < self.ends_at);
        if !overlaps {
            return newer;
        }
        if newer.updated_at < self.updated_at {
            return Self::joined(&newer, self.clone());
        }
        Self::joined(self, newer)
    }

    fn joined(older: &Self, mut younger: Self) -> Self {
        younger.starts_at = younger.starts_at.min(older.starts_at);
        let younger_is_over = younger.is_resolved_at(younger.updated_at);
        let older_is_over = older.is_resolved_at(younger.updated_at);
        let older_end_counts = if younger_is_over {
            older_is_over
        } else {
            !older.is_timeout
        };
        if older_end_counts && older.ends_at > younger.ends_at {
            younger.ends_at = older.ends_at;
        }
        younger
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    fn at(minute: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + minute.minutes()
    }

    fn alert(starts: i64, ends: i64, updated: i64, is_timeout: bool) -> Alert {
        let mut alert = Alert::firing(Labels::new([("alertname", "X")]), at(starts));
        alert.ends_at = at(ends);
        alert.updated_at = at(updated);
        alert.is_timeout = is_timeout;
        alert
    }

    #[test]
    fn a_resend_keeps_the_earliest_start_and_the_new_timeout() {
        let merged = alert(0, 5, 0, true).merged_with(alert(1, 6, 1, true));
        assert_eq!((merged.starts_at, merged.ends_at), (at(0), at(6)));
    }

    #[test]
    fn an_end_that_was_stated_outranks_a_timeout() {
        let merged = alert(0, 60, 0, false).merged_with(alert(1, 6, 1, true));
        assert_eq!(merged.ends_at, at(60));
        let merged = alert(0, 60, 0, true).merged_with(alert(1, 6, 1, true));
        assert_eq!(merged.ends_at, at(6));
    }

    #[test]
    fn a_resolve_ends_it_although_the_older_end_is_later() {
        let merged = alert(0, 5, 0, true).merged_with(alert(0, 2, 2, false));
        assert!(merged.is_resolved_at(at(2)));
        assert_eq!(merged.starts_at, at(0));
    }

    #[test]
    fn what_fires_again_after_the_end_starts_anew() {
        let merged = alert(0, 2, 2, false).merged_with(alert(10, 15, 10, true));
        assert_eq!(merged.starts_at, at(10));
    }
}
