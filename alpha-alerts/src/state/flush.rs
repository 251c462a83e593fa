//! The moment a group is looked at: who has to be told what, and what is kept back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Due, GroupId, State};
use crate::alert::Alert;
use crate::group::{Told, later, reason_to_tell};
use crate::label::{Fingerprint, Labels};
use crate::notification::{Event, GroupKey, Notification, Reason};
use crate::route::Route;
use crate::rules::IntegrationSpec;
use crate::severity::Severity;
use crate::store::{Changes, Kind, Suppressed, Suppression};

/// The alerts of a group at one moment, each part sorted by fingerprint.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Fire, and nothing keeps them back.
    pub(super) firing: Vec<Fingerprint>,
    /// Are over.
    pub(super) resolved: Vec<Fingerprint>,
    /// Fire, and are kept back.
    pub(super) suppressed: BTreeMap<Fingerprint, Suppression>,
}

/// The group as one integration should know it.
struct Known<'a> {
    firing: Cow<'a, [Fingerprint]>,
    resolved: Cow<'a, [Fingerprint]>,
}

impl Members {
    /// What an integration that was last told `told` should know. An alert that it was told of and that was silenced since
    /// still fires for it; one that was kept back all the time was never there.
    fn as_known_to(
        &self,
        told: Option<&Told>,
        were_suppressed: &BTreeMap<Fingerprint, Suppression>,
    ) -> Known<'_> {
        let was_told = |fingerprint: &Fingerprint| {
            told.is_some_and(|told| told.firing.binary_search(fingerprint).is_ok())
        };
        let mut known = Known {
            firing: Cow::Borrowed(&self.firing),
            resolved: Cow::Borrowed(&self.resolved),
        };
        if self.suppressed.keys().any(was_told) {
            let firing = known.firing.to_mut();
            firing.extend(self.suppressed.keys().filter(|fingerprint| was_told(fingerprint)));
            firing.sort_unstable();
        }
        let is_unknown =
            |fingerprint: &Fingerprint| were_suppressed.contains_key(fingerprint) && !was_told(fingerprint);
        if self.resolved.iter().any(is_unknown) {
            known
                .resolved
                .to_mut()
                .retain(|fingerprint| !is_unknown(fingerprint));
        }
        known
    }
}

/// What one notification is about.
pub(super) struct Subject<'a> {
    pub(super) group: &'a GroupKey,
    pub(super) group_labels: &'a Labels,
    pub(super) receiver: &'a Arc<str>,
    pub(super) alerts: Vec<Alert>,
    pub(super) incident: Option<crate::incident::IncidentId>,
}

impl State {
    /// Looks at a group, tells whoever has to be told, and forgets the alerts that are over.
    ///
    /// What is silenced or inhibited is not told that it fires. That it is over is told all the same to whoever was told
    /// that it fires: keeping creation back is what a silence is for, keeping the end back only leaves pages open.
    pub(super) fn flush(&mut self, id: GroupId, now: Timestamp, changes: &mut Changes) {
        let Some(mut group) = self.groups.remove(&id) else {
            return;
        };
        let rules = self.rules.clone();
        let Some(route) = rules.routes().routes().get(id.route as usize) else {
            return;
        };
        let muted_by = self.muting(route, now);
        let members = self.members_of(&group.members, muted_by.as_ref(), now);
        let mut is_changed = group.flushed_at.is_none();

        let fresh = members
            .suppressed
            .iter()
            .filter(|(fingerprint, by)| group.suppressed.get(fingerprint) != Some(by));
        is_changed |= record_suppressions(fresh, &group.key, &route.receiver, now, changes);
        is_changed |= group.suppressed != members.suppressed;
        let were_suppressed = std::mem::replace(&mut group.suppressed, members.suppressed.clone());

        if muted_by.is_none() {
            let incident = self.update_incident(route, id, &group, &members, now, changes);
            let integrations = rules.integrations(&route.receiver);
            for integration in integrations {
                let told = group.told.get(&integration.id);
                let known = members.as_known_to(told, &were_suppressed);
                let reason = reason_to_tell(
                    told,
                    &known.firing,
                    &known.resolved,
                    integration.send_resolved,
                    route.repeat_interval,
                    now,
                );
                let Some(reason) = reason else { continue };
                if reason == Reason::Repeated && members.firing.is_empty() {
                    continue;
                }
                is_changed = true;
                let shown_resolved: &[Fingerprint] = if integration.send_resolved {
                    &known.resolved
                } else {
                    &[]
                };
                if members.firing.is_empty() && shown_resolved.is_empty() {
                    let over = known
                        .resolved
                        .iter()
                        .map(|fingerprint| (fingerprint, &Suppression::ResolvedNotWanted));
                    record_suppressions(over, &group.key, &route.receiver, now, changes);
                } else {
                    let subject = Subject {
                        group: &group.key,
                        group_labels: &group.labels,
                        receiver: &route.receiver,
                        alerts: self.snapshot(members.firing.iter().chain(shown_resolved)),
                        incident,
                    };
                    let notification = self.notification(subject, integration, reason, now);
                    changes.notifications.push(notification);
                }
                let told = Told {
                    at: now,
                    firing: known.firing.into_owned(),
                    resolved: known.resolved.into_owned(),
                };
                group.told.insert(integration.id.clone(), told);
            }
            if integrations.is_empty() {
                let unheard = members
                    .firing
                    .iter()
                    .filter(|fingerprint| !were_suppressed.contains_key(fingerprint))
                    .map(|fingerprint| (*fingerprint, Suppression::NoIntegration))
                    .collect::<BTreeMap<_, _>>();
                is_changed |= record_suppressions(&unheard, &group.key, &route.receiver, now, changes);
                group.suppressed.extend(
                    members
                        .firing
                        .iter()
                        .map(|fingerprint| (*fingerprint, Suppression::NoIntegration)),
                );
            }
            group.suppressed.extend(
                were_suppressed
                    .into_iter()
                    .filter(|(fingerprint, _)| members.resolved.binary_search(fingerprint).is_ok()),
            );
            self.drop_resolved(id, &mut group, &members.resolved, &route.receiver, now, changes);
        }

        let record_id = self.record_id(id.route, &group.key);
        if group.members.is_empty() {
            changes.delete(Kind::Group, record_id);
            return;
        }
        group.flushed_at = Some(now);
        if is_changed && let Some(record) = group.to_record() {
            changes.put(Kind::Group, record_id, &record);
        }
        // From the time it was due, so that a busy moment does not shift every later one.
        let next = later(group.flush_at, route.group_interval);
        group.flush_at = if next > now {
            next
        } else {
            later(now, route.group_interval)
        };
        self.due.insert((group.flush_at, Due::Group(id)));
        self.groups.insert(id, group);
    }

    /// What mutes the route at `now`.
    pub(crate) fn muting(&self, route: &Route, now: Timestamp) -> Option<Suppression> {
        let intervals = self.rules.time_intervals();
        let muted = route
            .mute_time_intervals
            .iter()
            .find(|name| intervals.contains(name, now));
        if let Some(name) = muted {
            return Some(Suppression::TimeInterval(name.clone()));
        }
        let is_active = route.active_time_intervals.is_empty()
            || route
                .active_time_intervals
                .iter()
                .any(|name| intervals.contains(name, now));
        (!is_active)
            .then(|| Suppression::TimeInterval(format!("outside {}", route.active_time_intervals.join(", "))))
    }

    fn members_of<'a>(
        &self,
        fingerprints: impl IntoIterator<Item = &'a Fingerprint>,
        muted_by: Option<&Suppression>,
        now: Timestamp,
    ) -> Members {
        let mut members = Members::default();
        for fingerprint in fingerprints {
            let Some(alert) = self.alerts.get(fingerprint) else {
                continue;
            };
            if alert.is_resolved_at(now) {
                members.resolved.push(*fingerprint);
                continue;
            }
            match muted_by
                .cloned()
                .or_else(|| self.suppression(*fingerprint, &alert.labels, now))
            {
                Some(by) => {
                    members.suppressed.insert(*fingerprint, by);
                }
                None => members.firing.push(*fingerprint),
            }
        }
        members.firing.sort_unstable();
        members.resolved.sort_unstable();
        members
    }

    /// The silence or the alert that keeps an alert back.
    pub fn suppression(
        &self,
        fingerprint: Fingerprint,
        labels: &Labels,
        now: Timestamp,
    ) -> Option<Suppression> {
        let inhibiting = self.inhibitor.inhibiting(labels, fingerprint, now);
        inhibiting.map(Suppression::Inhibition).or_else(|| {
            let silence = self.silences.silencing(labels, now).next()?;
            Some(Suppression::Silence(silence.id.to_string()))
        })
    }

    /// The alerts as they are now, in the order they are shown: what fires first, then by start and name.
    pub(super) fn snapshot<'a>(&self, fingerprints: impl Iterator<Item = &'a Fingerprint>) -> Vec<Alert> {
        fingerprints
            .filter_map(|fingerprint| self.alerts.get(fingerprint).cloned())
            .collect()
    }

    pub(super) fn notification(
        &mut self,
        subject: Subject<'_>,
        integration: &IntegrationSpec,
        reason: Reason,
        now: Timestamp,
    ) -> Notification {
        let mut alerts = subject.alerts;
        alerts.sort_by(|left, right| {
            let order = |alert: &Alert| (alert.is_resolved_at(now), alert.starts_at);
            order(left)
                .cmp(&order(right))
                .then_with(|| left.labels.iter().cmp(right.labels.iter()))
        });
        let is_over = alerts.iter().all(|alert| alert.is_resolved_at(now));
        Notification {
            id: self.new_notification_id(),
            receiver: subject.receiver.clone(),
            integration: integration.id.clone(),
            group: subject.group.clone(),
            group_labels: subject.group_labels.clone(),
            event: match &reason {
                Reason::Acknowledged { .. } => Event::Acknowledged,
                _ if is_over => Event::Resolved,
                _ => Event::Firing,
            },
            reason,
            severity: self.worst_severity(&alerts),
            alerts,
            incident: subject.incident,
            created_at: now,
            late: None,
        }
    }

    pub(super) fn worst_severity(&self, alerts: &[Alert]) -> Severity {
        let severities = alerts.iter().map(|alert| self.rules.severity().of(&alert.labels));
        severities
            .reduce(Severity::worst)
            .unwrap_or(self.rules.severity().otherwise)
    }

    /// Takes the alerts that are over out of their group, and forgets those that are in no other.
    fn drop_resolved(
        &mut self,
        id: GroupId,
        group: &mut super::Group,
        resolved: &[Fingerprint],
        receiver: &Arc<str>,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        let knows = |told: &Told, fingerprint| {
            told.firing.binary_search(fingerprint).is_ok() || told.resolved.binary_search(fingerprint).is_ok()
        };
        let never_told = resolved.iter().filter(|fingerprint| {
            !group.suppressed.contains_key(fingerprint)
                && !group.told.values().any(|told| knows(told, fingerprint))
        });
        let over = never_told.map(|fingerprint| (fingerprint, &Suppression::OverBeforeTold));
        record_suppressions(over, &group.key, receiver, now, changes);
        for fingerprint in resolved {
            group.members.remove(fingerprint);
            group.suppressed.remove(fingerprint);
            let is_elsewhere = self.alerts.get(fingerprint).is_some_and(|alert| {
                let routes = self.rules.routes().matching(&alert.labels);
                routes.into_iter().any(|route| {
                    let other = GroupId::new(route, &alert.labels);
                    other != id
                        && self
                            .groups
                            .get(&other)
                            .is_some_and(|group| group.members.contains(fingerprint))
                })
            });
            if !is_elsewhere {
                self.alerts.remove(fingerprint);
                self.inhibitor.forget(*fingerprint);
                changes.delete(Kind::Alert, fingerprint.to_string());
            }
        }
    }
}

/// Notes what is kept back, a row for each cause; whether there was anything.
fn record_suppressions<'a>(
    suppressed: impl IntoIterator<Item = (&'a Fingerprint, &'a Suppression)>,
    group: &GroupKey,
    receiver: &Arc<str>,
    now: Timestamp,
    changes: &mut Changes,
) -> bool {
    let mut by_cause: BTreeMap<&Suppression, Vec<Fingerprint>> = BTreeMap::new();
    for (fingerprint, by) in suppressed {
        by_cause.entry(by).or_default().push(*fingerprint);
    }
    let is_any = !by_cause.is_empty();
    changes
        .suppressions
        .extend(by_cause.into_iter().map(|(by, alerts)| Suppressed {
            at: now,
            group: group.clone(),
            receiver: receiver.clone(),
            alerts,
            by: by.clone(),
        }));
    is_any
}
