//! Everything that is so at this moment, and what follows when something is asked or time passes.
//!
//! Pure: no clock, no I/O. [`State::apply`] and [`State::tick`] take `now`, change the state in memory, and write down in
//! [`Changes`] what must be made durable before anybody is told that it happened. Where the store refuses the changes, the
//! state is thrown away and loaded anew.

mod check;
mod clock;
mod duty;
mod flush;
mod heartbeats;
mod incidents;
mod intake;
mod record;
mod retention;
mod silencing;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::alert::Alert;
use crate::audit::AuditChain;
use crate::command::Command;
use crate::error::Result;
use crate::group::Told;
use crate::incident::{Incident, IncidentId};
use crate::inhibit::Inhibitor;
use crate::label::{Fingerprint, Labels};
use crate::notification::{GroupKey, IntegrationId, NotificationId};
use crate::oncall::{HandoverReport, Overrides};
use crate::route::Route;
use crate::rules::Rules;
use crate::silence::Silences;
use crate::store::{Changes, Key, Kind, Suppression};

pub use heartbeats::Heartbeat;

type FnvMap<K, V> = HashMap<K, V, BuildHasherDefault<fnv::FnvHasher>>;
type FnvSet<K> = HashSet<K, BuildHasherDefault<fnv::FnvHasher>>;

/// Alerts, groups, silences, incidents and heartbeats as they are.
#[derive(Debug)]
pub struct State {
    rules: Arc<Rules>,
    alerts: FnvMap<Fingerprint, Alert>,
    groups: FnvMap<GroupId, Group>,
    silences: Silences,
    inhibitor: Inhibitor,
    incidents: BTreeMap<IncidentId, Incident>,
    /// The newest incident of each group, which may be over.
    incident_of: HashMap<GroupKey, IncidentId>,
    heartbeats: BTreeMap<String, Heartbeat>,
    /// Where the group of an incident is.
    place_of: HashMap<IncidentId, GroupId>,
    overrides: Overrides,
    handovers: BTreeMap<Uuid, HandoverReport>,
    audit: AuditChain,
    last_incident: u64,
    due: BTreeSet<(Timestamp, Due)>,
    random: fastrand::Rng,
}

/// A group in memory: its route, and the fingerprint of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct GroupId {
    route: u32,
    labels: Fingerprint,
}

impl GroupId {
    /// The group that an alert with these labels belongs to on a route.
    fn new(route: &Route, labels: &Labels) -> Self {
        Self {
            route: u32::try_from(route.index).unwrap_or(u32::MAX),
            labels: route.group_fingerprint(labels),
        }
    }
}

/// What has to be looked at when its time comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Group(GroupId),
    Incident(IncidentId),
    Heartbeat(String),
}

/// Alerts that are told together.
#[derive(Clone, Debug)]
pub struct Group {
    key: GroupKey,
    labels: Labels,
    members: FnvSet<Fingerprint>,
    flush_at: Timestamp,
    flushed_at: Option<Timestamp>,
    told: BTreeMap<IntegrationId, Told>,
    /// What keeps its firing alerts back, as far as it was recorded.
    suppressed: BTreeMap<Fingerprint, Suppression>,
}

impl Group {
    /// Its identity.
    pub fn key(&self) -> &GroupKey {
        &self.key
    }

    /// The labels it is grouped by.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Its alerts.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Fingerprint> + '_ {
        self.members.iter().copied()
    }

    /// When its integrations are told next, if there is something to tell.
    pub fn flush_at(&self) -> Timestamp {
        self.flush_at
    }

    /// What each integration was last told.
    pub fn told(&self) -> impl Iterator<Item = (&IntegrationId, &Told)> {
        self.told.iter()
    }
}

impl State {
    /// Nothing yet.
    pub fn new(rules: Arc<Rules>, seed: u64) -> Self {
        Self {
            inhibitor: rules.inhibitor(),
            rules,
            alerts: FnvMap::default(),
            groups: FnvMap::default(),
            silences: Silences::default(),
            incidents: BTreeMap::new(),
            incident_of: HashMap::new(),
            heartbeats: BTreeMap::new(),
            place_of: HashMap::new(),
            overrides: Overrides::new(),
            handovers: BTreeMap::new(),
            audit: AuditChain::default(),
            last_incident: 0,
            due: BTreeSet::new(),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The state that was stored, under these rules, which may be other than those it was stored under. What no rule has
    /// a use for any more is removed in `changes`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where a record cannot be understood; it names the record.
    pub fn load(
        rules: Arc<Rules>,
        records: Vec<(Key, Bytes)>,
        now: Timestamp,
        seed: u64,
        changes: &mut Changes,
    ) -> Result<Self> {
        let mut state = Self::new(rules, seed);
        let mut groups = HashMap::new();
        for (key, body) in records {
            match key.kind {
                Kind::Alert => {
                    let alert: Alert = record::decode(&key, &body)?;
                    state.alerts.insert(alert.fingerprint(), alert);
                }
                Kind::Group => {
                    groups.insert(key.id.clone(), record::decode(&key, &body)?);
                }
                Kind::Silence => {
                    state.silences.put(record::decode(&key, &body)?);
                }
                Kind::Incident => {
                    let incident: Incident = record::decode(&key, &body)?;
                    state.last_incident = state.last_incident.max(incident.id.0);
                    state.incident_of.insert(incident.group.clone(), incident.id);
                    state.incidents.insert(incident.id, incident);
                }
                Kind::Heartbeat => {
                    state
                        .heartbeats
                        .insert(key.id.to_string(), record::decode(&key, &body)?);
                }
                Kind::Override => state.overrides.put(record::decode(&key, &body)?),
                Kind::Handover => {
                    let report: HandoverReport = record::decode(&key, &body)?;
                    state.handovers.insert(report.id, report);
                }
                Kind::Singleton => state.audit = record::decode(&key, &body)?,
            }
        }
        // Incidents are loaded in no order: the newest of a group is the one that counts.
        for (id, incident) in &state.incidents {
            state.incident_of.insert(incident.group.clone(), *id);
        }
        state.adopt(groups, now, changes);
        Ok(state)
    }

    /// Goes on under other rules. What was told stays told, so that a reload tells nobody anything twice.
    pub fn set_rules(&mut self, rules: Arc<Rules>, now: Timestamp, changes: &mut Changes) {
        let groups = std::mem::take(&mut self.groups);
        let records = groups
            .into_iter()
            .filter_map(|(id, group)| Some((self.record_id(id.route, &group.key), group.into_record()?)))
            .collect();
        self.rules = rules;
        self.adopt(records, now, changes);
    }

    /// Carries out a command; [`Self::tick`] with the same `now` follows it, because its effects may be due at once.
    pub fn apply(&mut self, now: Timestamp, command: &Command, changes: &mut Changes) {
        match command {
            Command::Alerts(alerts) => self.receive(now, alerts, changes),
            Command::PutSilence(silence) => self.put_silence(now, silence, changes),
            Command::ExpireSilence { id, by } => self.expire_silence(now, *id, by, changes),
            Command::Acknowledge { incident, by } => self.acknowledge(now, *incident, by, changes),
            Command::Unacknowledge { incident, by } => self.unacknowledge(now, *incident, by, changes),
            Command::Resolve { incident, by } => self.resolve(now, *incident, by, changes),
            Command::Note { incident, by, text } => self.note(now, *incident, by, text, changes),
            Command::Heartbeat { name, signal, at } => self.hear(now, name, *signal, *at, changes),
            Command::PutOverrides(overrides) => self.put_overrides(now, overrides, changes),
            Command::RemoveOverride { id, by } => self.remove_override(now, *id, by, changes),
            Command::PutHandover(report) => self.put_handover(now, report, changes),
            Command::AcceptHandover { id, by } => self.accept_handover(now, *id, by, changes),
        }
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Timestamp, changes: &mut Changes) {
        while let Some((at, due)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            self.due.pop_first();
            match due {
                Due::Group(id) => self.flush(id, now, changes),
                Due::Incident(id) => self.escalate(id, now, changes),
                Due::Heartbeat(name) => self.miss_heartbeat(&name, now, changes),
            }
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The rules.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The alerts that are known, in no order.
    pub fn alerts(&self) -> impl Iterator<Item = (Fingerprint, &Alert)> {
        self.alerts
            .iter()
            .map(|(fingerprint, alert)| (*fingerprint, alert))
    }

    /// One alert.
    pub fn alert(&self, fingerprint: Fingerprint) -> Option<&Alert> {
        self.alerts.get(&fingerprint)
    }

    /// The groups, with the index of their route, in no order.
    pub fn groups(&self) -> impl Iterator<Item = (usize, &Group)> {
        self.groups.iter().map(|(id, group)| (id.route as usize, group))
    }

    /// The silences.
    pub fn silences(&self) -> &Silences {
        &self.silences
    }

    /// The incidents, the oldest first.
    pub fn incidents(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.incidents.values()
    }

    /// One incident.
    pub fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.incidents.get(&id)
    }

    /// The heartbeats by name.
    pub fn heartbeats(&self) -> impl Iterator<Item = (&str, &Heartbeat)> {
        self.heartbeats
            .iter()
            .map(|(name, heartbeat)| (name.as_str(), heartbeat))
    }

    /// The overrides of the on-call schedules.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// The hand-over reports.
    pub fn handovers(&self) -> impl Iterator<Item = &HandoverReport> {
        self.handovers.values()
    }

    fn new_notification_id(&mut self) -> NotificationId {
        NotificationId(uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes()).into_uuid())
    }
}

#[cfg(test)]
mod tests;
