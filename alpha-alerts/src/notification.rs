//! What a receiver is told: the alerts of one group, as they were when it was decided to tell.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::alert::Alert;
use crate::incident::IncidentId;
use crate::label::Labels;
use crate::severity::Severity;

/// A name that many hold: text that is cheap to clone.
macro_rules! shared_name {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    };
}

pub(crate) use shared_name;

shared_name! {
    /// The identity of a group, as Alertmanager writes it: the matchers that lead to its route, then the labels it is
    /// grouped by: `{}/{severity="P0"}:{alertname="NodeDown"}`.
    GroupKey
}

shared_name! {
    /// One way of one receiver: `receiver/kind/index`, such as `ops/slack/0`.
    IntegrationId
}

/// The identity of a notification, which every attempt and every duplicate carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NotificationId(pub Uuid);

impl fmt::Display for NotificationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What happened to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// At least one alert fires.
    Firing,
    /// Somebody takes care of it: whoever pages should stop.
    Acknowledged,
    /// All of it is over.
    Resolved,
}

/// Why the receiver is told now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The first notification of the group.
    New,
    /// Alerts joined the group since the last one.
    MoreFiring,
    /// Some alerts of the group are over.
    SomeResolved,
    /// All alerts of the group are over.
    AllResolved,
    /// Nothing changed, and `repeat_interval` has passed.
    Repeated,
    /// A step of an escalation policy.
    Escalation {
        /// The policy.
        policy: String,
        /// The step, counted from 1.
        step: usize,
        /// How often the policy has been gone through, counted from 1.
        round: u32,
    },
    /// Somebody acknowledged the incident.
    Acknowledged {
        /// Who.
        by: String,
    },
    /// Another receiver could not be told.
    Fallback {
        /// That receiver's integration.
        failed: IntegrationId,
        /// Why it could not be told.
        because: String,
    },
    /// Somebody tries the receiver out.
    Test,
}

/// Why a notification comes late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lateness {
    /// When it should first have been sent.
    pub since: Timestamp,
    /// What stood in the way, such as `HTTP 500`.
    pub because: String,
    /// How many earlier notifications this one takes in.
    pub merged: u32,
}

/// The alerts of one group for one integration, as they were when it was decided to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its identity: the idempotency key of every attempt.
    pub id: NotificationId,
    /// The name of the receiver.
    pub receiver: Arc<str>,
    /// The integration of the receiver that is told. Notifications of one integration and group are told in order.
    pub integration: IntegrationId,
    /// The group.
    pub group: GroupKey,
    /// The labels the group is grouped by.
    pub group_labels: Labels,
    /// What happened.
    pub event: Event,
    /// Why now.
    pub reason: Reason,
    /// The worst severity among the alerts.
    pub severity: Severity,
    /// The alerts, those that fire first, then by start.
    pub alerts: Vec<Alert>,
    /// The incident it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// When it was decided.
    pub created_at: Timestamp,
    /// Set where it comes late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Lateness>,
}

impl Notification {
    /// The alerts that fire at `created_at`.
    pub fn firing(&self) -> impl Iterator<Item = &Alert> {
        self.alerts
            .iter()
            .filter(|alert| !alert.is_resolved_at(self.created_at))
    }

    /// The alerts that are over at `created_at`.
    pub fn resolved(&self) -> impl Iterator<Item = &Alert> {
        self.alerts
            .iter()
            .filter(|alert| alert.is_resolved_at(self.created_at))
    }

    /// The labels that all its alerts share.
    pub fn common_labels(&self) -> Labels {
        Self::common(self.alerts.iter().map(|alert| &alert.labels))
    }

    /// The annotations that all its alerts share.
    pub fn common_annotations(&self) -> Labels {
        Self::common(self.alerts.iter().map(|alert| &alert.annotations))
    }

    fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
        let first = sets.next().cloned().unwrap_or_default();
        sets.fold(first, |common, labels| common.common_with(labels))
    }

    /// What to tell when `earlier`, of the same integration and group, was never told: the newest state of each alert,
    /// those that only `earlier` knew included, and since when it is late.
    #[must_use]
    pub fn taking_in(mut self, earlier: &Self, because: &str) -> Self {
        let known: std::collections::HashSet<_> = self.alerts.iter().map(Alert::fingerprint).collect();
        let missed = earlier
            .alerts
            .iter()
            .filter(|alert| !known.contains(&alert.fingerprint()));
        self.alerts.extend(missed.cloned());
        self.severity = self.severity.worst(earlier.severity);
        let (since, merged) = match &earlier.late {
            Some(late) => (late.since, late.merged + 1),
            None => (earlier.created_at, 1),
        };
        self.late = Some(Lateness {
            since,
            because: because.to_owned(),
            merged,
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(alerts: Vec<Alert>, at: &str) -> Notification {
        Notification {
            id: NotificationId(Uuid::nil()),
            receiver: "ops".into(),
            integration: "ops/slack/0".into(),
            group: "{}:{}".into(),
            group_labels: Labels::default(),
            event: Event::Firing,
            reason: Reason::New,
            severity: Severity::P1,
            alerts,
            incident: None,
            created_at: at.parse().unwrap(),
            late: None,
        }
    }

    #[test]
    fn what_was_never_told_is_taken_in() {
        let start: Timestamp = "2026-01-01T10:02:00Z".parse().unwrap();
        let end: Timestamp = "2026-01-01T10:09:00Z".parse().unwrap();
        let fired = Alert::firing(Labels::new([("alertname", "X")]), start);
        let other = Alert::firing(Labels::new([("alertname", "Y")]), start);
        let earlier = notification(vec![fired.clone(), other.clone()], "2026-01-01T10:02:00Z");
        let newer = notification(vec![fired.resolved(end)], "2026-01-01T10:09:00Z");
        let told = newer.taking_in(&earlier, "HTTP 500");
        assert_eq!(told.alerts.len(), 2);
        assert_eq!(told.resolved().map(Alert::name).collect::<Vec<_>>(), ["X"]);
        assert_eq!(told.firing().map(Alert::name).collect::<Vec<_>>(), ["Y"]);
        let late = told.late.unwrap();
        assert_eq!((late.since, late.merged), (start, 1));
    }
}
