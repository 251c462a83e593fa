//! Incidents: a group that somebody must act on, from the first page to the post-mortem.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::label::{Fingerprint, Labels};
use crate::notification::{GroupKey, IntegrationId, NotificationId};
use crate::severity::Severity;
use crate::text;

/// The number of an incident, counted up from 1, so that a person can say it on the telephone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub u64);

/// Something somebody must act on. Opened when a group with an escalation policy begins to fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// The group it was opened for.
    pub group: GroupKey,
    /// The labels of the group.
    pub group_labels: Labels,
    /// One line of what it is about.
    pub title: String,
    /// The worst its alerts ever were.
    pub severity: Severity,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// By when somebody must have acknowledged it (M5).
    pub respond_by: Timestamp,
    /// Who took it, and when.
    pub acknowledged: Option<Acknowledgement>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// Where its escalation stands; `None` once nobody has to be paged any more.
    pub escalation: Option<Escalation>,
    /// Whether its deadline passed before anybody took it.
    #[serde(default)]
    pub is_overdue: bool,
    /// The alerts that fired at the last look, sorted.
    #[serde(default)]
    pub alerts: Vec<Fingerprint>,
    /// Everything that happened, the oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// Somebody took care.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
}

/// Where an escalation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    /// The policy.
    pub policy: String,
    /// The next step, counted from 0.
    pub step: usize,
    /// How often the policy has been gone through, counted from 0.
    pub round: u32,
    /// When the next step is due.
    pub due_at: Timestamp,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happening {
    /// It was opened.
    Opened,
    /// Alerts joined.
    AlertsFired {
        /// How many.
        count: usize,
        /// The labels of the first few.
        examples: Vec<Labels>,
    },
    /// Alerts were over.
    AlertsResolved {
        /// How many.
        count: usize,
        /// The labels of the first few.
        examples: Vec<Labels>,
    },
    /// It got worse.
    SeverityRaised {
        /// How bad it is now.
        to: Severity,
    },
    /// Somebody was paged.
    Paged {
        /// Whom: a person, or a receiver.
        whom: String,
        /// The step of the policy, counted from 1.
        step: usize,
        /// The round, counted from 1.
        round: u32,
        /// By which integration.
        integration: IntegrationId,
        /// The notification.
        notification: NotificationId,
    },
    /// A step had nobody to page and was skipped.
    StepSkipped {
        /// The step, counted from 1.
        step: usize,
        /// Why nobody.
        because: String,
    },
    /// Nobody acknowledged it in time.
    ResponseOverdue,
    /// Somebody took it.
    Acknowledged {
        /// Who.
        by: String,
    },
    /// Somebody gave it back, or it fired on after its acknowledgement ran out.
    Unacknowledged {
        /// Who, or what.
        by: String,
    },
    /// It is over, because its alerts are, or because somebody says so.
    Resolved {
        /// Who, or `alerts`.
        by: String,
    },
    /// It fired again soon after it was over.
    Reopened,
    /// Somebody wrote something down.
    Note {
        /// Who.
        by: String,
        /// What.
        text: String,
    },
}

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// Nobody has taken it.
    Triggered,
    /// Somebody takes care.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl Incident {
    /// Where it stands.
    pub fn state(&self) -> IncidentState {
        if self.resolved_at.is_some() {
            IncidentState::Resolved
        } else if self.acknowledged.is_some() {
            IncidentState::Acknowledged
        } else {
            IncidentState::Triggered
        }
    }

    /// The labels of the group, and of the alerts that its timeline shows.
    pub fn alert_labels(&self) -> Vec<&Labels> {
        let shown = self.timeline.iter().filter_map(|entry| match &entry.what {
            Happening::AlertsFired { examples, .. } => Some(examples),
            _ => None,
        });
        std::iter::once(&self.group_labels)
            .chain(shown.flatten())
            .collect()
    }

    /// Writes into the timeline.
    pub fn record(&mut self, at: Timestamp, what: Happening) {
        self.timeline.push(TimelineEntry { at, what });
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for IncidentId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.trim_start_matches('#').parse().map(Self).map_err(|_| {
            Error::new(
                ErrorKind::InvalidInput,
                text!("`{text}` is no incident: expected its number", text = text),
            )
        })
    }
}
