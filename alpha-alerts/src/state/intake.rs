//! Alerts come in and find their groups.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::record::GroupRecord;
use super::{Due, FnvSet, Group, GroupId, State};
use crate::alert::Alert;
use crate::group::later;
use crate::label::Fingerprint;
use crate::notification::GroupKey;
use crate::store::{Changes, Kind};

impl State {
    /// Takes alerts in. One that is over and was not known to fire is nothing to anybody, and is dropped.
    pub(super) fn receive(&mut self, now: Timestamp, alerts: &[Alert], changes: &mut Changes) {
        for alert in alerts {
            let fingerprint = alert.fingerprint();
            let known = self.alerts.get(&fingerprint);
            if known.is_none() && alert.is_resolved_at(now) {
                continue;
            }
            let alert = match known {
                Some(known) => known.merged_with(alert.clone()),
                None => alert.clone(),
            };
            changes.put(Kind::Alert, fingerprint.to_string(), &alert);
            self.place(fingerprint, &alert, now, None);
            self.inhibitor.observe(&alert);
            self.alerts.insert(fingerprint, alert);
        }
    }

    /// Puts an alert into the group of each route that it matches.
    fn place(
        &mut self,
        fingerprint: Fingerprint,
        alert: &Alert,
        now: Timestamp,
        stored: Option<&mut HashMap<Box<str>, GroupRecord>>,
    ) {
        let mut stored = stored;
        let rules = self.rules.clone();
        for route in rules.routes().matching(&alert.labels) {
            let id = GroupId::new(route, &alert.labels);
            let is_overdue = later(alert.starts_at, route.group_wait) <= now;
            if let Some(group) = self.groups.get_mut(&id) {
                group.members.insert(fingerprint);
                if group.flushed_at.is_none() && is_overdue && group.flush_at > now {
                    self.due.remove(&(group.flush_at, Due::Group(id)));
                    group.flush_at = now;
                    self.due.insert((now, Due::Group(id)));
                }
                continue;
            }
            let labels = route.group_labels(&alert.labels);
            let key = route.group_key(&labels);
            let record = stored
                .as_deref_mut()
                .and_then(|stored| stored.remove(&record_id(&route.receiver, &key)));
            let flush_at = match &record {
                Some(record) => later(record.flushed_at, route.group_interval).max(now),
                // An alert that has been firing for longer than the wait was probably delayed on its way here.
                None if is_overdue => now,
                None => later(now, route.group_wait),
            };
            let (flushed_at, told, suppressed) = match record {
                Some(record) => (Some(record.flushed_at), record.told, record.suppressed),
                None => (None, BTreeMap::new(), BTreeMap::new()),
            };
            self.due.insert((flush_at, Due::Group(id)));
            self.groups.insert(
                id,
                Group {
                    key,
                    labels,
                    members: FnvSet::from_iter([fingerprint]),
                    flush_at,
                    flushed_at,
                    told,
                    suppressed,
                },
            );
        }
    }

    /// Builds everything that follows from the records anew: groups, the index of inhibitions, what is due.
    pub(super) fn adopt(
        &mut self,
        mut stored: HashMap<Box<str>, GroupRecord>,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        self.groups.clear();
        self.due.clear();
        self.inhibitor = self.rules.inhibitor();
        let alerts = std::mem::take(&mut self.alerts);
        for (fingerprint, alert) in &alerts {
            self.place(*fingerprint, alert, now, Some(&mut stored));
            self.inhibitor.observe(alert);
        }
        self.alerts = alerts;
        for orphan in stored.into_keys() {
            changes.delete(Kind::Group, orphan);
        }
        self.schedule_incidents();
        self.schedule_heartbeats(now, changes);
    }

    /// The key of a group's record. Two routes may have the same matchers, and differ only in their receiver.
    pub(super) fn record_id(&self, route: u32, key: &GroupKey) -> Box<str> {
        let receiver = self
            .rules
            .routes()
            .routes()
            .get(route as usize)
            .map_or("", |route| &*route.receiver);
        record_id(receiver, key)
    }
}

fn record_id(receiver: &str, key: &GroupKey) -> Box<str> {
    format!("{receiver} {key}").into_boxed_str()
}
