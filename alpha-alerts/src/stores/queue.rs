//! What every store does with the notifications of one integration and group.
//!
//! Only the oldest of a queue is ever on its way, so that one which may have been told is always the oldest, and those
//! behind it surely were not.

use crate::incident::IncidentId;
use crate::notification::{Notification, Reason};
use crate::store::Delivery;

/// What a notification is late for when no receiver refused it: it stood behind one that was on its way.
const BEHIND_ANOTHER: &str = "an earlier notification was still on its way";

/// A notification of a queue that nobody has told yet, as a store keeps it.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Its place in the outbox.
    pub(super) sequence: u64,
    pub(super) notification: Notification,
    pub(super) attempts: u32,
    /// Whether it may have been told although nobody knows.
    pub(super) is_uncertain: bool,
    /// The incident whose acknowledgement makes it pointless.
    pub(super) incident: Option<IncidentId>,
    /// What was last said about it.
    pub(super) detail: Option<String>,
}

/// What is told of a queue now.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// The place of what is told.
    pub(super) sequence: u64,
    pub(super) delivery: Delivery,
    pub(super) incident: Option<IncidentId>,
    /// The places of those it takes in, whose record now says so.
    pub(super) merged: Vec<u64>,
}

/// What is told of a queue whose waiting notifications, the oldest first, are `waiting`; `None` where it has none.
pub(super) fn take(waiting: Vec<Waiting>) -> Option<Taken> {
    let mut waiting = waiting.into_iter();
    let oldest = waiting.next()?;
    let mut taken = Taken {
        sequence: oldest.sequence,
        delivery: Delivery {
            notification: oldest.notification,
            attempts: oldest.attempts,
        },
        incident: oldest.incident,
        merged: Vec::new(),
    };
    // Whoever may have heard it already must hear the same again, to know it for a duplicate.
    if oldest.is_uncertain {
        return Some(taken);
    }
    let late = taken.delivery.notification.late.as_ref();
    let because = oldest
        .detail
        .or_else(|| late.map(|late| late.because.clone()))
        .unwrap_or_else(|| BEHIND_ANOTHER.to_owned());
    for newer in waiting {
        let delivery = &mut taken.delivery;
        delivery.notification = newer.notification.taking_in(&delivery.notification, &because);
        // The receiver is no better for there being more to tell: backing off goes on.
        delivery.attempts = delivery.attempts.max(newer.attempts);
        // News that somebody waits for must not go down with a page that has become pointless.
        if taken.incident != newer.incident {
            taken.incident = None;
        }
        taken.merged.push(taken.sequence);
        taken.sequence = newer.sequence;
    }
    Some(taken)
}

/// The incident whose acknowledgement makes a notification pointless: that of an escalation.
pub(super) fn incident_to_cancel(notification: &Notification) -> Option<IncidentId> {
    match notification.reason {
        Reason::Escalation { .. } => notification.incident,
        _ => None,
    }
}
