//! Incidents are opened, escalated, taken and closed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::flush::{Members, Subject};
use super::{Due, Group, GroupId, State};
use crate::alert::Alert;
use crate::group::later;
use crate::incident::{Acknowledgement, Happening, Incident, IncidentId};
use crate::label::{Fingerprint, Labels};
use crate::notification::{IntegrationId, NotificationId, Reason};
use crate::route::Route;
use crate::rules::IntegrationSpec;
use crate::severity::Severity;
use crate::store::{Cancel, Changes, Kind};

/// A group that fires again within this time after its incident was over is the same incident.
const REOPEN_WITHIN: Duration = Duration::from_secs(300);

/// Of many alerts that fire or end at once, a timeline shows the labels of so many.
const EXAMPLES: usize = 5;

/// While all alerts of an incident are kept back, its next step is looked at again after this time.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

impl State {
    /// Brings the incident of a group in line with its alerts: opens it, notes what changed, closes it.
    pub(super) fn update_incident(
        &mut self,
        route: &Route,
        group_id: GroupId,
        group: &Group,
        members: &Members,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Option<IncidentId> {
        let known = self.incident_of.get(&group.key).copied();
        let open = known.filter(|id| {
            self.incidents
                .get(id)
                .is_some_and(|incident| incident.resolved_at.is_none())
        });
        let told = group.told.keys().cloned().collect();
        if members.firing.is_empty() {
            let is_over = members.suppressed.is_empty();
            if let (Some(id), true) = (open, is_over) {
                self.close(id, "alerts", told, now, changes);
            }
            return open;
        }
        let policy = self.rules.policy_for(route.escalation.as_deref(), Severity::P0);
        if open.is_none() && policy.is_none() {
            return None;
        }
        if open.is_none() && known.is_some_and(|id| self.was_closed_by_hand(id, members, changes)) {
            return None;
        }
        let firing = self.snapshot(members.firing.iter());
        let severity = self.worst_severity(&firing);
        let id = match open {
            Some(id) => id,
            None => {
                let policy = self.rules.policy_for(route.escalation.as_deref(), severity)?;
                self.open(known, &policy, group, &firing, now)
            }
        };
        self.place_of.insert(id, group_id);
        let mut incident = self.incidents.remove(&id)?;
        let before = incident.clone();
        note_alerts(&mut incident, members, &firing, now);
        if !incident.severity.is_at_least(severity) {
            incident.severity = severity;
            incident.record(now, Happening::SeverityRaised { to: severity });
            if let Some(policy) = self.rules.policy_for(route.escalation.as_deref(), severity) {
                self.start_escalation(&mut incident, &policy, now);
            }
        }
        self.store_incident(incident, Some(&before), changes);
        Some(id)
    }

    /// Whether somebody closed the incident although these same alerts fire on, and no other has joined them.
    fn was_closed_by_hand(&mut self, id: IncidentId, members: &Members, changes: &mut Changes) -> bool {
        let Some(incident) = self.incidents.get_mut(&id) else {
            return false;
        };
        let still_fires = |fingerprint: &Fingerprint| {
            members.firing.binary_search(fingerprint).is_ok() || members.suppressed.contains_key(fingerprint)
        };
        let count = incident.alerts.len();
        incident.alerts.retain(still_fires);
        if incident.alerts.len() != count {
            changes.put(Kind::Incident, id.to_string(), incident);
        }
        members
            .firing
            .iter()
            .all(|fingerprint| incident.alerts.binary_search(fingerprint).is_ok())
    }

    /// Opens an incident, or the last one again where it was over only a moment ago.
    fn open(
        &mut self,
        last: Option<IncidentId>,
        policy: &str,
        group: &Group,
        firing: &[Alert],
        now: Timestamp,
    ) -> IncidentId {
        let recent = last.and_then(|id| self.incidents.remove(&id));
        let reopened = match recent {
            Some(mut incident)
                if incident
                    .resolved_at
                    .is_some_and(|at| later(at, REOPEN_WITHIN) >= now) =>
            {
                incident.resolved_at = None;
                incident.acknowledged = None;
                incident.record(now, Happening::Reopened);
                Some(incident)
            }
            Some(incident) => {
                self.incidents.insert(incident.id, incident);
                None
            }
            None => None,
        };
        let mut incident = reopened.unwrap_or_else(|| {
            self.last_incident += 1;
            let severity = self.worst_severity(firing);
            let mut incident = Incident {
                id: IncidentId(self.last_incident),
                group: group.key.clone(),
                group_labels: group.labels.clone(),
                title: title(firing),
                severity,
                opened_at: now,
                respond_by: self.rules.policies().respond_by(policy, severity, now),
                acknowledged: None,
                resolved_at: None,
                escalation: None,
                is_overdue: false,
                alerts: Vec::new(),
                timeline: Vec::new(),
            };
            incident.record(now, Happening::Opened);
            incident
        });
        self.start_escalation(&mut incident, policy, now);
        let id = incident.id;
        self.incident_of.insert(group.key.clone(), id);
        self.incidents.insert(id, incident);
        id
    }

    fn start_escalation(&mut self, incident: &mut Incident, policy: &str, now: Timestamp) {
        self.unschedule(incident);
        incident.escalation = self.rules.policies().begin(policy, now);
        incident.respond_by = self
            .rules
            .policies()
            .respond_by(policy, incident.severity, incident.opened_at);
        self.schedule(incident);
    }

    /// Pages whoever is next.
    pub(super) fn escalate(&mut self, id: IncidentId, now: Timestamp, changes: &mut Changes) {
        let Some(mut incident) = self.incidents.remove(&id) else {
            return;
        };
        let before = incident.clone();
        if !incident.is_overdue && incident.acknowledged.is_none() && incident.respond_by <= now {
            incident.is_overdue = true;
            incident.record(now, Happening::ResponseOverdue);
        }
        let alerts = self.alerts_of(id, now);
        let is_kept_back = !alerts.is_empty()
            && alerts.iter().all(|alert| {
                self.suppression(alert.fingerprint(), &alert.labels, now)
                    .is_some()
            });
        if is_kept_back {
            if let Some(escalation) = incident
                .escalation
                .as_mut()
                .filter(|escalation| escalation.due_at <= now)
            {
                escalation.due_at = later(now, LOOK_AGAIN_AFTER);
            }
            self.schedule(&incident);
            self.store_incident(incident, Some(&before), changes);
            return;
        }
        let rules = self.rules.clone();
        let advance = rules
            .policies()
            .advance(&incident, now, rules.on_call(), &self.overrides);
        if let Some(advance) = advance {
            for skipped in advance.skipped {
                incident.record(
                    now,
                    Happening::StepSkipped {
                        step: skipped.step,
                        because: skipped.because.to_string(),
                    },
                );
            }
            for page in advance.pages {
                let available: Vec<IntegrationId> = rules
                    .integrations(&page.receiver)
                    .iter()
                    .map(|integration| integration.id.clone())
                    .collect();
                let reason = Reason::Escalation {
                    policy: before
                        .escalation
                        .as_ref()
                        .map(|escalation| escalation.policy.clone())
                        .unwrap_or_default(),
                    step: page.step,
                    round: page.round,
                };
                for integration in page.integrations(&available) {
                    let notification =
                        self.tell_incident(&incident, integration, &alerts, reason.clone(), now, changes);
                    incident.record(
                        now,
                        Happening::Paged {
                            whom: page.receiver.to_string(),
                            step: page.step,
                            round: page.round,
                            integration: integration.clone(),
                            notification,
                        },
                    );
                }
            }
            incident.escalation = advance.escalation;
        }
        self.schedule(&incident);
        self.store_incident(incident, Some(&before), changes);
    }

    pub(super) fn acknowledge(&mut self, now: Timestamp, id: IncidentId, by: &str, changes: &mut Changes) {
        let Some(mut incident) = self.incidents.remove(&id) else {
            return;
        };
        let before = incident.clone();
        if incident.resolved_at.is_none() && incident.acknowledged.is_none() {
            self.unschedule(&incident);
            incident.acknowledged = Some(Acknowledgement {
                at: now,
                by: by.to_owned(),
            });
            incident.record(now, Happening::Acknowledged { by: by.to_owned() });
            changes.cancels.push(Cancel {
                incident: id,
                because: format!("acknowledged by {by}"),
            });
            let alerts = self.alerts_of(id, now);
            let reason = Reason::Acknowledged { by: by.to_owned() };
            let told = self.told_of(id);
            self.tell_everybody(&incident, told, &alerts, &reason, now, changes);
            self.log_act(now, by, "incident.acknowledge", id.to_string(), changes);
        }
        self.store_incident(incident, Some(&before), changes);
    }

    pub(super) fn unacknowledge(&mut self, now: Timestamp, id: IncidentId, by: &str, changes: &mut Changes) {
        let Some(mut incident) = self.incidents.remove(&id) else {
            return;
        };
        let before = incident.clone();
        if incident.resolved_at.is_none() && incident.acknowledged.take().is_some() {
            incident.record(now, Happening::Unacknowledged { by: by.to_owned() });
            // The next step is due at once: whoever had it does not have it any more.
            if let Some(escalation) = &mut incident.escalation {
                escalation.due_at = now;
            }
            self.schedule(&incident);
            self.log_act(now, by, "incident.unacknowledge", id.to_string(), changes);
        }
        self.store_incident(incident, Some(&before), changes);
    }

    pub(super) fn resolve(&mut self, now: Timestamp, id: IncidentId, by: &str, changes: &mut Changes) {
        let is_open = self
            .incidents
            .get(&id)
            .is_some_and(|incident| incident.resolved_at.is_none());
        if is_open {
            let told = self.told_of(id);
            let alerts = self.alerts_of(id, now);
            self.close(id, by, told, now, changes);
            // Nobody wants to hear of these again, although they fire on.
            if let Some(incident) = self.incidents.get_mut(&id) {
                incident.alerts = alerts.iter().map(Alert::fingerprint).collect();
                incident.alerts.sort_unstable();
                changes.put(Kind::Incident, id.to_string(), incident);
            }
            self.log_act(now, by, "incident.resolve", id.to_string(), changes);
        }
    }

    pub(super) fn note(
        &mut self,
        now: Timestamp,
        id: IncidentId,
        by: &str,
        text: &str,
        changes: &mut Changes,
    ) {
        let Some(mut incident) = self.incidents.remove(&id) else {
            return;
        };
        incident.record(
            now,
            Happening::Note {
                by: by.to_owned(),
                text: text.to_owned(),
            },
        );
        self.store_incident(incident, None, changes);
    }

    fn close(
        &mut self,
        id: IncidentId,
        by: &str,
        told: Vec<IntegrationId>,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        let Some(mut incident) = self.incidents.remove(&id) else {
            return;
        };
        self.unschedule(&incident);
        incident.resolved_at = Some(now);
        incident.escalation = None;
        let over = std::mem::take(&mut incident.alerts);
        let ended: Vec<Alert> = self
            .snapshot(over.iter())
            .into_iter()
            .map(|alert| {
                if alert.is_resolved_at(now) {
                    alert
                } else {
                    alert.resolved(now)
                }
            })
            .collect();
        if !ended.is_empty() {
            incident.record(
                now,
                Happening::AlertsResolved {
                    count: ended.len(),
                    examples: examples(&ended),
                },
            );
        }
        incident.record(now, Happening::Resolved { by: by.to_owned() });
        changes.cancels.push(Cancel {
            incident: id,
            because: format!("resolved by {by}"),
        });
        self.tell_everybody(&incident, told, &ended, &Reason::AllResolved, now, changes);
        self.store_incident(incident, None, changes);
    }

    /// Tells everybody who was paged, and who is not told by the group's own route, what became of the incident.
    fn tell_everybody(
        &mut self,
        incident: &Incident,
        by_route: Vec<IntegrationId>,
        alerts: &[Alert],
        reason: &Reason,
        now: Timestamp,
        changes: &mut Changes,
    ) {
        let paged = incident.timeline.iter().filter_map(|entry| match &entry.what {
            Happening::Paged { integration, .. } => Some(integration.clone()),
            _ => None,
        });
        let mut integrations: BTreeSet<IntegrationId> = paged.collect();
        match reason {
            Reason::Acknowledged { .. } => integrations.extend(by_route),
            // The route tells its own integrations that the group is over.
            _ => integrations.retain(|integration| !by_route.contains(integration)),
        }
        for integration in integrations {
            self.tell_incident(incident, &integration, alerts, reason.clone(), now, changes);
        }
    }

    fn tell_incident(
        &mut self,
        incident: &Incident,
        integration: &IntegrationId,
        alerts: &[Alert],
        reason: Reason,
        now: Timestamp,
        changes: &mut Changes,
    ) -> NotificationId {
        let receiver: Arc<str> = integration
            .as_str()
            .rsplitn(3, '/')
            .nth(2)
            .unwrap_or_default()
            .into();
        let subject = Subject {
            group: &incident.group,
            group_labels: &incident.group_labels,
            receiver: &receiver,
            alerts: alerts.to_vec(),
            incident: Some(incident.id),
        };
        let spec = IntegrationSpec {
            id: integration.clone(),
            send_resolved: true,
        };
        let notification = self.notification(subject, &spec, reason, now);
        let id = notification.id;
        changes.notifications.push(notification);
        id
    }

    /// The alerts of an incident that fire.
    fn alerts_of(&self, id: IncidentId, now: Timestamp) -> Vec<Alert> {
        let group = self.place_of.get(&id).and_then(|place| self.groups.get(place));
        let mut alerts = group.map_or_else(Vec::new, |group| self.snapshot(group.members.iter()));
        alerts.retain(|alert| !alert.is_resolved_at(now));
        alerts
    }

    /// The integrations that the route of an incident's group has told of it.
    fn told_of(&self, id: IncidentId) -> Vec<IntegrationId> {
        let group = self.place_of.get(&id).and_then(|place| self.groups.get(place));
        group.map_or_else(Vec::new, |group| group.told.keys().cloned().collect())
    }

    /// Keeps an incident, and stores it unless it is as it was `before`.
    fn store_incident(&mut self, incident: Incident, before: Option<&Incident>, changes: &mut Changes) {
        if before != Some(&incident) {
            changes.put(Kind::Incident, incident.id.to_string(), &incident);
        }
        self.incidents.insert(incident.id, incident);
    }

    pub(super) fn schedule(&mut self, incident: &Incident) {
        if incident.resolved_at.is_none()
            && incident.acknowledged.is_none()
            && let Some(at) = next_look(incident)
        {
            self.due.insert((at, Due::Incident(incident.id)));
        }
    }

    pub(super) fn unschedule(&mut self, incident: &Incident) {
        if let Some(at) = next_look(incident) {
            self.due.remove(&(at, Due::Incident(incident.id)));
        }
    }

    /// Finds the group of each incident and schedules the open ones anew, after a start or a reload.
    pub(super) fn schedule_incidents(&mut self) {
        let places = self
            .groups
            .iter()
            .filter_map(|(place, group)| Some((*self.incident_of.get(&group.key)?, *place)));
        self.place_of = places.collect();
        let incidents = std::mem::take(&mut self.incidents);
        for incident in incidents.values() {
            self.schedule(incident);
        }
        self.incidents = incidents;
    }
}

/// When an open incident has to be looked at.
fn next_look(incident: &Incident) -> Option<Timestamp> {
    let deadline = (!incident.is_overdue).then_some(incident.respond_by);
    let step = incident.escalation.as_ref().map(|escalation| escalation.due_at);
    [deadline, step].into_iter().flatten().min()
}

/// Writes down which alerts joined and which are over since the last look.
fn note_alerts(incident: &mut Incident, members: &Members, firing: &[Alert], now: Timestamp) {
    let joined: Vec<&Alert> = firing
        .iter()
        .filter(|alert| incident.alerts.binary_search(&alert.fingerprint()).is_err())
        .collect();
    let gone = incident
        .alerts
        .iter()
        .filter(|fingerprint| members.resolved.binary_search(fingerprint).is_ok())
        .count();
    if !joined.is_empty() {
        let shown = joined.iter().take(EXAMPLES);
        incident.record(
            now,
            Happening::AlertsFired {
                count: joined.len(),
                examples: shown.map(|alert| alert.labels.clone()).collect(),
            },
        );
    }
    if gone > 0 {
        incident.record(
            now,
            Happening::AlertsResolved {
                count: gone,
                examples: Vec::new(),
            },
        );
    }
    let kept = incident
        .alerts
        .iter()
        .copied()
        .filter(|fingerprint| members.suppressed.contains_key(fingerprint));
    let mut alerts: Vec<Fingerprint> = members.firing.iter().copied().chain(kept).collect();
    alerts.sort_unstable();
    incident.alerts = alerts;
}

fn examples(alerts: &[Alert]) -> Vec<Labels> {
    alerts
        .iter()
        .take(EXAMPLES)
        .map(|alert| alert.labels.clone())
        .collect()
}

/// The summary of the first alert, or its name, and how many there are.
fn title(alerts: &[Alert]) -> String {
    let Some(first) = alerts.first() else {
        return String::new();
    };
    let what = first.annotations.get("summary").unwrap_or(first.name());
    match alerts.len() {
        1 => what.to_owned(),
        count => format!("{what} (+{})", count - 1),
    }
}
