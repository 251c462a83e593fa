//! What must survive, and the one transaction that everything goes through.
//!
//! The dispatcher of one instance, the leader, holds all live records in memory and is the only writer of them; a
//! [`Fence`] makes sure of that when several instances share a store. Everything that follows from a command or a timer is
//! one [`Changes`], committed as one transaction: records, notifications into the outbox, what was suppressed, the audit
//! log, and the commands that are done with. Any instance may claim notifications from the outbox and tell them.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::AuditEntry;
use crate::command::Command;
use crate::error::Result;
use crate::incident::IncidentId;
use crate::label::Fingerprint;
use crate::notification::{GroupKey, IntegrationId, Notification, NotificationId};

/// Keeps what must survive. Every implementation passes [`testing::store`](crate::testing::store).
///
/// What a method acknowledged survives the death of the process at any instruction. A method that fails, or whose future
/// is dropped, has either done all or nothing.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// What it is, for messages: `memory`, the file, or the server and database without the password.
    fn name(&self) -> &str;

    /// Whether other instances may use it at the same time. Where not, a new holder of the lease takes it at once.
    fn is_shared(&self) -> bool;

    /// Takes or renews the right to write records, for `lease.holder` until `lease.until`; `None` while another holder's
    /// time has not passed. A new holder gets a higher fence than every one before, and a renewal keeps its fence.
    ///
    /// Where the store is not shared, a new holder means that the former is dead: it need not wait, and all claims are
    /// over.
    async fn lead(&self, lease: &Lease) -> Result<Option<Fence>>;

    /// Gives the right back, so that another instance need not wait.
    async fn resign(&self, fence: Fence) -> Result<()>;

    /// All live records. One transaction's view.
    async fn load(&self) -> Result<Vec<(Key, Bytes)>>;

    /// Commits `changes` as one transaction. Each notification whose integration and group have no older one waiting is
    /// claimed by `claim` at once, and returned.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) where `fence` is not the newest,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) where a notification or an audit entry is there already;
    /// nothing is written then. After [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) it may have been written
    /// although the answer was lost: [`load`](Self::load) tells.
    async fn commit(&self, fence: Fence, changes: &Changes, claim: &Claim) -> Result<Vec<Delivery>>;

    /// Claims up to `limit` notifications that are due, the most severe first, of each integration and group only the
    /// oldest.
    ///
    /// Those of one integration and group that were surely never told are taken into the newest of them first
    /// ([`Notification::taking_in`]), and recorded as merged; it goes on with their count of attempts, because there being
    /// more to tell makes the receiver no better. One that may have been told (its last attempt was uncertain,
    /// or its claim ran out) is returned as it is, so that its repetition is a duplicate with the same key.
    async fn claim(&self, claim: &Claim, limit: usize, except: &[IntegrationId]) -> Result<Vec<Delivery>>;

    /// Records how attempts ended. A settlement whose claim was lost meanwhile changes nothing.
    async fn settle(&self, worker: &str, settlements: &[Settlement]) -> Result<()>;

    /// When the next notification is due, those claimed now included with the end of their claim. One that stands behind
    /// another of its integration and group counts with that one.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// Keeps commands that an instance which does not lead has accepted, for the one that does.
    async fn submit(&self, commands: &[Command]) -> Result<()>;

    /// The oldest `limit` commands that were submitted, with their positions; [`Changes::consumed`] removes them.
    async fn submitted(&self, limit: usize) -> Result<Vec<(u64, Command)>>;

    /// Waits until another instance may have changed something; for ever where there is no other. One task waits at a
    /// time; dropping the future misses nothing.
    async fn wake(&self);

    /// What became of everything that concerned these groups, the oldest first.
    async fn trail(&self, groups: &[GroupKey]) -> Result<Trail>;

    /// Notifications in the outbox in one of `states`, the newest first, at most `limit`.
    async fn notifications(&self, states: &[DeliveryState], limit: usize) -> Result<Vec<TrailEntry>>;

    /// The audit log after position `after`, the oldest first, at most `limit`.
    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>>;

    /// Forgets settled notifications and suppressions from before `before`; how many. The audit log is kept.
    async fn prune(&self, before: Timestamp) -> Result<u64>;
}

/// A right to write, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who wants it; a name that no other run of any instance has.
    pub holder: String,
    /// Now.
    pub now: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// Proof of leadership: the store refuses a lower one than it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// Names one record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub id: Box<str>,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// An alert, by fingerprint.
    Alert,
    /// What each integration was last told of a group, by group key.
    Group,
    /// A silence or a maintenance window, by id.
    Silence,
    /// An incident with its timeline and its place in the escalation, by id.
    Incident,
    /// The last signal of a heartbeat, by name.
    Heartbeat,
    /// An override or a swap of an on-call schedule, by id.
    Override,
    /// A hand-over report, by id.
    Handover,
    /// What there is only one of, such as the last hash of the audit log.
    Singleton,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Alert,
        Self::Group,
        Self::Silence,
        Self::Incident,
        Self::Heartbeat,
        Self::Override,
        Self::Handover,
        Self::Singleton,
    ];

    /// The word that is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Group => "group",
            Self::Silence => "silence",
            Self::Incident => "incident",
            Self::Heartbeat => "heartbeat",
            Self::Override => "override",
            Self::Handover => "handover",
            Self::Singleton => "singleton",
        }
    }

    /// The kind that is stored as `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// All that follows from one command or timer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Changes {
    /// Records to write, their JSON. Of a repeated key the last counts.
    pub puts: Vec<(Key, Bytes)>,
    /// Records to remove, after `puts`.
    pub deletes: Vec<Key>,
    /// Notifications for the outbox, in order.
    pub notifications: Vec<Notification>,
    /// Waiting notifications that have lost their purpose.
    pub cancels: Vec<Cancel>,
    /// What was kept from a receiver, and by what.
    pub suppressions: Vec<Suppressed>,
    /// For the audit log, in order.
    pub audit: Vec<AuditEntry>,
    /// Positions of [`Store::submitted`] that are done with.
    pub consumed: Vec<u64>,
}

impl Changes {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Takes back the escalation notifications ([`Reason::Escalation`](crate::Reason::Escalation)) of an incident that wait.
///
/// One that is on its way is told once more at most: where its attempt fails, it is cancelled instead of tried again. What
/// the same [`Changes`] add is not cancelled, and neither is one that took in something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The incident.
    pub incident: IncidentId,
    /// Why, such as `acknowledged by mei`.
    pub because: String,
}

/// Who claims, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who; a name that no other run of any instance has.
    pub worker: String,
    /// Now.
    pub now: Timestamp,
    /// When others may claim it again, because the worker must have died.
    pub until: Timestamp,
}

/// A claimed notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What to tell.
    pub notification: Notification,
    /// How many attempts there were before.
    pub attempts: u32,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which notification.
    pub id: NotificationId,
    /// When.
    pub at: Timestamp,
    /// How.
    pub verdict: Verdict,
    /// Notifications to add in the same transaction, such as those for the fallback receiver. One whose id is in the
    /// outbox already is not added again.
    pub follow_ups: Vec<Notification>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it; with what the receiver calls it.
    Sent(Option<String>),
    /// To be tried again.
    Retry {
        /// Not before.
        not_before: Timestamp,
        /// What the receiver said.
        because: String,
        /// Whether the receiver surely did not take it.
        is_certain: bool,
    },
    /// Given back untried, such as at a graceful stop or while the receiver's rate is used up. It counts as no attempt.
    Released {
        /// Not before.
        not_before: Timestamp,
    },
    /// Given up.
    DeadLettered {
        /// Why.
        because: String,
    },
}

/// What was kept from a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// When it was decided.
    pub at: Timestamp,
    /// The group.
    pub group: GroupKey,
    /// The receiver that was not told.
    pub receiver: std::sync::Arc<str>,
    /// Which alerts.
    pub alerts: Vec<Fingerprint>,
    /// By what.
    pub by: Suppression,
}

/// What kept an alert from a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppression {
    /// A silence.
    Silence(String),
    /// An alert that explains it.
    Inhibition(Fingerprint),
    /// A mute time interval, or being outside of all active ones.
    TimeInterval(String),
    /// The receiver does not want to hear of ends.
    ResolvedNotWanted,
    /// It was over before the group was told for the first time.
    OverBeforeTold,
    /// The receiver has no integration.
    NoIntegration,
}

/// What became of everything that concerned some groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trail {
    /// Notifications, the oldest first.
    pub notifications: Vec<TrailEntry>,
    /// What was kept back, the oldest first.
    pub suppressed: Vec<Suppressed>,
}

/// A notification and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailEntry {
    /// The notification.
    pub notification: Notification,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts there were.
    pub attempts: u32,
    /// When it came to where it stands.
    pub changed_at: Timestamp,
    /// The last that was said about it: the receiver's reference, the refusal, why it was cancelled.
    pub detail: Option<String>,
    /// The notification that took it in.
    pub merged_into: Option<NotificationId>,
    /// When it will be tried next.
    pub next_attempt_at: Option<Timestamp>,
}

/// Where a notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waiting, or claimed and on its way.
    Pending,
    /// The receiver took it.
    Sent,
    /// A newer one took it in.
    Merged,
    /// It lost its purpose.
    Cancelled,
    /// Given up, and handed to the fallback receiver.
    DeadLettered,
}
