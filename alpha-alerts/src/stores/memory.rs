//! A store that forgets everything with its process.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::queue::{self, Waiting};
use super::{fenced, repeated};
use crate::audit::AuditEntry;
use crate::command::Command;
use crate::error::Result;
use crate::incident::IncidentId;
use crate::notification::{GroupKey, IntegrationId, Notification, NotificationId};
use crate::store::{
    Cancel, Changes, Claim, Delivery, DeliveryState, Fence, Key, Lease, Settlement, Store, Suppressed, Trail,
    TrailEntry, Verdict,
};

/// Keeps everything in memory: for tests, simulations, and where losing all with the process is acceptable.
///
/// It follows the same rules as the databases, and its transactions cannot fail half-way.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Content>);

const NAME: &str = "memory";

/// One integration and one group: what is told in order.
type Queue = (IntegrationId, GroupKey);

#[derive(Debug, Default)]
struct Content {
    fence: u64,
    /// Who leads.
    leader: Option<String>,
    records: HashMap<Key, Bytes>,
    /// By their place.
    outbox: BTreeMap<u64, Row>,
    last_sequence: u64,
    /// The places of those that are pending.
    queues: HashMap<Queue, BTreeSet<u64>>,
    places: HashMap<NotificationId, u64>,
    suppressed: Vec<Suppressed>,
    audit: BTreeMap<u64, AuditEntry>,
    inbox: BTreeMap<u64, Command>,
    last_position: u64,
}

/// A notification with where it stands.
#[derive(Debug)]
struct Row {
    notification: Notification,
    state: DeliveryState,
    not_before: Timestamp,
    attempts: u32,
    /// Who tells it now, and until when nobody else does.
    claimed: Option<(String, Timestamp)>,
    is_uncertain: bool,
    /// The incident whose acknowledgement makes it pointless.
    incident: Option<IncidentId>,
    /// Why it became pointless while somebody told it.
    cancelled: Option<String>,
    changed_at: Timestamp,
    detail: Option<String>,
    merged_into: Option<NotificationId>,
}

impl Row {
    fn queue(&self) -> Queue {
        let notification = &self.notification;
        (notification.integration.clone(), notification.group.clone())
    }

    fn entry(&self) -> TrailEntry {
        let is_waiting = self.state == DeliveryState::Pending && self.claimed.is_none();
        TrailEntry {
            notification: self.notification.clone(),
            state: self.state,
            attempts: self.attempts,
            changed_at: self.changed_at,
            detail: self.detail.clone(),
            merged_into: self.merged_into,
            next_attempt_at: is_waiting.then_some(self.not_before),
        }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// Adds to the outbox, claimed where nothing older waits and `claim` is there; what was claimed.
    fn add(
        &mut self,
        notification: &Notification,
        now: Timestamp,
        claim: Option<&Claim>,
    ) -> Option<Delivery> {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let row = Row {
            notification: notification.clone(),
            state: DeliveryState::Pending,
            not_before: now,
            attempts: 0,
            claimed: None,
            is_uncertain: false,
            incident: queue::incident_to_cancel(notification),
            cancelled: None,
            changed_at: now,
            detail: None,
            merged_into: None,
        };
        let places = self.queues.entry(row.queue()).or_default();
        let claim = claim.filter(|_| places.is_empty());
        places.insert(sequence);
        self.places.insert(notification.id, sequence);
        let claimed = claim.map(|claim| (claim.worker.clone(), claim.until));
        self.outbox.insert(sequence, Row { claimed, ..row });
        claim.map(|_| Delivery {
            notification: notification.clone(),
            attempts: 0,
        })
    }

    /// Takes a notification out of its queue for good.
    fn finish(&mut self, sequence: u64, state: DeliveryState, at: Timestamp, detail: Option<String>) {
        let Some(row) = self.outbox.get_mut(&sequence) else {
            return;
        };
        row.state = state;
        row.claimed = None;
        row.changed_at = at;
        row.detail = detail;
        let queue = row.queue();
        if let Some(places) = self.queues.get_mut(&queue) {
            places.remove(&sequence);
            if places.is_empty() {
                self.queues.remove(&queue);
            }
        }
    }

    /// Gives back what dead workers hold: the claims whose end `is_over`.
    fn release(&mut self, now: Timestamp, is_over: impl Fn(Timestamp) -> bool) {
        let mut pointless = Vec::new();
        for sequence in self.queues.values().flatten() {
            let Some(row) = self.outbox.get_mut(sequence) else {
                continue;
            };
            if row.claimed.as_ref().is_some_and(|(_, until)| is_over(*until)) {
                row.claimed = None;
                row.is_uncertain = true;
                pointless.extend(row.cancelled.take().map(|because| (*sequence, because)));
            }
        }
        for (sequence, because) in pointless {
            self.finish(sequence, DeliveryState::Cancelled, now, Some(because));
        }
    }

    fn cancel(&mut self, incident: IncidentId, because: &str, now: Timestamp) {
        let mut pointless = Vec::new();
        for sequence in self.queues.values().flatten() {
            let Some(row) = self.outbox.get_mut(sequence) else {
                continue;
            };
            if row.incident != Some(incident) {
                continue;
            }
            if row.claimed.is_some() {
                row.cancelled = Some(because.to_owned());
            } else {
                pointless.push(*sequence);
            }
        }
        for sequence in pointless {
            self.finish(sequence, DeliveryState::Cancelled, now, Some(because.to_owned()));
        }
    }

    /// What is told of the queue whose oldest is at `head`, claimed.
    fn claim(&mut self, head: u64, claim: &Claim) -> Option<Delivery> {
        let queue = self.outbox.get(&head)?.queue();
        let places = self.queues.get(&queue)?;
        let waiting = places.iter().filter_map(|sequence| {
            let row = self.outbox.get(sequence)?;
            Some(Waiting {
                sequence: *sequence,
                notification: row.notification.clone(),
                attempts: row.attempts,
                is_uncertain: row.is_uncertain,
                incident: row.incident,
                detail: row.detail.clone(),
            })
        });
        let taken = queue::take(waiting.collect())?;
        let delivery = taken.delivery;
        for sequence in taken.merged {
            let detail = self.outbox.get(&sequence)?.detail.clone();
            self.finish(sequence, DeliveryState::Merged, claim.now, detail);
            if let Some(row) = self.outbox.get_mut(&sequence) {
                row.merged_into = Some(delivery.notification.id);
            }
        }
        let row = self.outbox.get_mut(&taken.sequence)?;
        row.notification = delivery.notification.clone();
        row.attempts = delivery.attempts;
        row.incident = taken.incident;
        row.claimed = Some((claim.worker.clone(), claim.until));
        Some(delivery)
    }

    fn settle(&mut self, worker: &str, settlement: &Settlement) {
        let Some(&sequence) = self.places.get(&settlement.id) else {
            return;
        };
        let Some(row) = self.outbox.get_mut(&sequence) else {
            return;
        };
        if row.claimed.as_ref().is_none_or(|(holder, _)| holder != worker) {
            return;
        }
        let at = settlement.at;
        if !matches!(settlement.verdict, Verdict::Released { .. }) {
            row.attempts += 1;
        }
        match &settlement.verdict {
            Verdict::Sent(reference) => self.finish(sequence, DeliveryState::Sent, at, reference.clone()),
            Verdict::DeadLettered { because } => {
                self.finish(sequence, DeliveryState::DeadLettered, at, Some(because.clone()));
            }
            Verdict::Retry { .. } | Verdict::Released { .. } if row.cancelled.is_some() => {
                let because = row.cancelled.take();
                self.finish(sequence, DeliveryState::Cancelled, at, because);
            }
            Verdict::Retry {
                not_before,
                because,
                is_certain,
            } => {
                row.claimed = None;
                row.not_before = *not_before;
                row.is_uncertain = !is_certain;
                row.changed_at = at;
                row.detail = Some(because.clone());
            }
            Verdict::Released { not_before } => {
                row.claimed = None;
                row.not_before = *not_before;
                row.changed_at = at;
            }
        }
        for follow_up in &settlement.follow_ups {
            if !self.places.contains_key(&follow_up.id) {
                self.add(follow_up, at, None);
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> &str {
        NAME
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn lead(&self, lease: &Lease) -> Result<Option<Fence>> {
        let content = &mut *self.content();
        if content.leader.as_deref() != Some(&lease.holder) {
            content.fence += 1;
            // Whoever led before was the only user, and is dead.
            content.release(lease.now, |_| true);
        }
        content.leader = Some(lease.holder.clone());
        Ok(Some(Fence(content.fence)))
    }

    async fn resign(&self, fence: Fence) -> Result<()> {
        let content = &mut *self.content();
        if content.fence == fence.0 {
            content.leader = None;
        }
        Ok(())
    }

    async fn load(&self) -> Result<Vec<(Key, Bytes)>> {
        let content = self.content();
        let records = content.records.iter();
        Ok(records.map(|(key, body)| (key.clone(), body.clone())).collect())
    }

    async fn commit(&self, fence: Fence, changes: &Changes, claim: &Claim) -> Result<Vec<Delivery>> {
        let content = &mut *self.content();
        if content.fence != fence.0 {
            return Err(fenced(NAME));
        }
        let mut sequence = content
            .audit
            .last_key_value()
            .map_or(0, |(sequence, _)| *sequence);
        for entry in &changes.audit {
            if entry.sequence <= sequence {
                return Err(repeated(NAME));
            }
            sequence = entry.sequence;
        }
        let notifications = &changes.notifications;
        let mut ids = HashSet::with_capacity(notifications.len());
        for Notification { id, .. } in notifications {
            if content.places.contains_key(id) || !ids.insert(*id) {
                return Err(repeated(NAME));
            }
        }
        for (key, body) in &changes.puts {
            content.records.insert(key.clone(), body.clone());
        }
        for key in &changes.deletes {
            content.records.remove(key);
        }
        for Cancel { incident, because } in &changes.cancels {
            content.cancel(*incident, because, claim.now);
        }
        let claimed = notifications
            .iter()
            .filter_map(|notification| content.add(notification, claim.now, Some(claim)))
            .collect();
        content.suppressed.extend(changes.suppressions.iter().cloned());
        let audit = changes.audit.iter();
        content
            .audit
            .extend(audit.map(|entry| (entry.sequence, entry.clone())));
        for position in &changes.consumed {
            content.inbox.remove(position);
        }
        Ok(claimed)
    }

    async fn claim(&self, claim: &Claim, limit: usize, except: &[IntegrationId]) -> Result<Vec<Delivery>> {
        let content = &mut *self.content();
        content.release(claim.now, |until| until <= claim.now);
        let heads = content.queues.iter();
        let mut due: Vec<_> = heads
            .filter(|((integration, _), _)| !except.contains(integration))
            .filter_map(|(_, places)| {
                let sequence = *places.first()?;
                let row = content.outbox.get(&sequence)?;
                let is_due = row.claimed.is_none() && row.not_before <= claim.now;
                is_due.then(|| (row.notification.severity.rank(), row.not_before, sequence))
            })
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        let heads = due.into_iter();
        Ok(heads
            .filter_map(|(_, _, head)| content.claim(head, claim))
            .collect())
    }

    async fn settle(&self, worker: &str, settlements: &[Settlement]) -> Result<()> {
        let content = &mut *self.content();
        for settlement in settlements {
            content.settle(worker, settlement);
        }
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let content = self.content();
        let heads = content.queues.values();
        let due = heads.filter_map(|places| {
            let row = content.outbox.get(places.first()?)?;
            Some(row.claimed.as_ref().map_or(row.not_before, |(_, until)| *until))
        });
        Ok(due.min())
    }

    async fn submit(&self, commands: &[Command]) -> Result<()> {
        let content = &mut *self.content();
        for command in commands {
            content.last_position += 1;
            content.inbox.insert(content.last_position, command.clone());
        }
        Ok(())
    }

    async fn submitted(&self, limit: usize) -> Result<Vec<(u64, Command)>> {
        let content = self.content();
        let oldest = content.inbox.iter().take(limit);
        Ok(oldest
            .map(|(position, command)| (*position, command.clone()))
            .collect())
    }

    async fn wake(&self) {
        std::future::pending().await
    }

    async fn trail(&self, groups: &[GroupKey]) -> Result<Trail> {
        let content = self.content();
        let rows = content.outbox.values();
        let suppressed = content.suppressed.iter();
        Ok(Trail {
            notifications: rows
                .filter(|row| groups.contains(&row.notification.group))
                .map(Row::entry)
                .collect(),
            suppressed: suppressed
                .filter(|suppressed| groups.contains(&suppressed.group))
                .cloned()
                .collect(),
        })
    }

    async fn notifications(&self, states: &[DeliveryState], limit: usize) -> Result<Vec<TrailEntry>> {
        let content = self.content();
        let newest_first = content.outbox.values().rev();
        let asked = newest_first.filter(|row| states.contains(&row.state));
        Ok(asked.take(limit).map(Row::entry).collect())
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>> {
        let content = self.content();
        let entries = content.audit.range(after.saturating_add(1)..);
        Ok(entries.take(limit).map(|(_, entry)| entry.clone()).collect())
    }

    async fn prune(&self, before: Timestamp) -> Result<u64> {
        let content = &mut *self.content();
        let is_kept = |row: &Row| row.state == DeliveryState::Pending || row.changed_at >= before;
        let count = content.outbox.len() + content.suppressed.len();
        content.outbox.retain(|_, row| is_kept(row));
        let outbox = &content.outbox;
        content.places.retain(|_, sequence| outbox.contains_key(sequence));
        content.suppressed.retain(|suppressed| suppressed.at >= before);
        Ok((count - content.outbox.len() - content.suppressed.len()) as u64)
    }
}
