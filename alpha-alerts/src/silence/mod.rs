//! Silences and maintenance windows: alerts that nobody wants to hear of for a time.

mod index;
mod recurrence;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::label::Labels;
use crate::matcher::{Matcher, Operator};
use crate::text;

pub use index::Silences;
pub use recurrence::{Frequency, Recurrence};

/// Keeps the alerts that all its matchers match from every receiver, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its identity.
    pub id: Uuid,
    /// Which alerts; at least one, and not all of them match the empty value.
    pub matchers: Vec<Matcher>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; expiring it sets this to the present.
    pub ends_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Further notes, such as the ticket of a maintenance window.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// Whether the time from `starts_at` to `ends_at` comes again, as a maintenance window does every week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Recurrence>,
}

/// Where a silence stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SilenceState {
    /// It will silence alerts later.
    Pending,
    /// It silences alerts.
    Active,
    /// It never will again.
    Expired,
}

impl Silence {
    /// Where it stands at `now`. A recurring one is pending between two of its windows.
    pub fn state_at(&self, now: Timestamp) -> SilenceState {
        let Some(recurrence) = &self.recurrence else {
            return if now >= self.ends_at {
                SilenceState::Expired
            } else if now >= self.starts_at {
                SilenceState::Active
            } else {
                SilenceState::Pending
            };
        };
        match recurrence.window_at(self.starts_at, self.ends_at, now) {
            Some((start, _)) if start <= now => SilenceState::Active,
            Some(_) => SilenceState::Pending,
            None => SilenceState::Expired,
        }
    }

    /// When its state changes next, or nothing where it has expired.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let (start, end) = match &self.recurrence {
            Some(recurrence) => recurrence.window_at(self.starts_at, self.ends_at, now)?,
            None => (self.starts_at, self.ends_at),
        };
        [start, end].into_iter().find(|change| *change > now)
    }

    /// Whether it concerns an alert with these labels, at whatever time.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// Ends it at `now`: what was pending never starts, what was active ends, and no further window opens.
    pub fn expire(&mut self, now: Timestamp) {
        if self.state_at(now) == SilenceState::Expired {
            return;
        }
        match &mut self.recurrence {
            Some(recurrence) => recurrence.until = Some(now),
            None => {
                self.starts_at = self.starts_at.min(now);
                self.ends_at = now;
            }
        }
        self.updated_at = now;
    }

    /// Whether it can be taken at `now`, by Alertmanager's rules.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] without a matcher, with matchers that all match the empty value, and so every alert
    /// that lacks their labels, with an end before its start or in the past, or with a recurrence whose windows overlap
    /// or whose zone is unknown.
    pub fn check(&self, now: Timestamp) -> Result<()> {
        let refuse = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        if self.matchers.is_empty() {
            return refuse(text!("a silence needs at least one matcher"));
        }
        if self.matchers.iter().all(matches_nothing_in_particular) {
            return refuse(text!(
                "a silence needs at least one matcher that does not match the empty value"
            ));
        }
        if self.ends_at <= self.starts_at {
            return refuse(text!("the silence ends before it starts"));
        }
        if let Some(recurrence) = &self.recurrence {
            recurrence.check(self.starts_at, self.ends_at)?;
        }
        if self.state_at(now) == SilenceState::Expired {
            return refuse(text!("the silence ends in the past"));
        }
        Ok(())
    }
}

/// Whether a matcher asks for the empty value. Conditions with `!=` and `!~` are taken as meant, as Alertmanager does.
fn matches_nothing_in_particular(matcher: &Matcher) -> bool {
    match matcher.operator() {
        Operator::Equal | Operator::Matches => matcher.matches_value(""),
        Operator::NotEqual | Operator::NotMatches => false,
    }
}
