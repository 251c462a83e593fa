//! The clock was set back.

use std::time::Duration;

use jiff::Timestamp;

use super::{Due, State};
use crate::group::later;
use crate::store::{Changes, Kind};

impl State {
    /// Sees to it that nothing waits for as much longer as the clock was set back by: groups keep to their beat,
    /// escalations and deadlines move along, and what was heard in what is now the future was heard now.
    pub fn set_back(&mut self, now: Timestamp, by: Duration, changes: &mut Changes) {
        let rules = self.rules.clone();
        for (id, group) in &mut self.groups {
            let Some(route) = rules.routes().routes().get(id.route as usize) else {
                continue;
            };
            let wait = if group.flushed_at.is_some() {
                route.group_interval
            } else {
                route.group_wait
            };
            let latest = later(now, wait);
            if group.flush_at > latest {
                self.due.remove(&(group.flush_at, Due::Group(*id)));
                group.flush_at = latest;
                self.due.insert((latest, Due::Group(*id)));
            }
            for told in group.told.values_mut() {
                told.at = told.at.min(now);
            }
        }
        for (fingerprint, alert) in &mut self.alerts {
            if alert.updated_at <= now {
                continue;
            }
            // Otherwise what is told next would count as the older word.
            alert.updated_at = now;
            alert.starts_at = alert.starts_at.min(now);
            if alert.ends_at != Timestamp::MAX {
                alert.ends_at = earlier(alert.ends_at, by).max(alert.starts_at);
            }
            self.inhibitor.observe(alert);
            changes.put(Kind::Alert, fingerprint.to_string(), alert);
        }
        let mut incidents = std::mem::take(&mut self.incidents);
        for incident in incidents
            .values_mut()
            .filter(|incident| incident.resolved_at.is_none())
        {
            self.unschedule(incident);
            incident.respond_by = earlier(incident.respond_by, by);
            if let Some(escalation) = &mut incident.escalation {
                escalation.due_at = earlier(escalation.due_at, by);
            }
            self.schedule(incident);
            changes.put(Kind::Incident, incident.id.to_string(), incident);
        }
        self.incidents = incidents;
        let mut heartbeats = std::mem::take(&mut self.heartbeats);
        for (name, heartbeat) in &mut heartbeats {
            let Some(config) = rules.heartbeat(name) else {
                continue;
            };
            self.due
                .remove(&(heartbeat.missing_at(config), Due::Heartbeat(name.clone())));
            heartbeat.expected_since = heartbeat.expected_since.min(now);
            for heard in [&mut heartbeat.last_success_at, &mut heartbeat.started_at] {
                *heard = heard.map(|at| at.min(now));
            }
            if !heartbeat.is_missing {
                self.due
                    .insert((heartbeat.missing_at(config), Due::Heartbeat(name.clone())));
            }
            changes.put(Kind::Heartbeat, name.as_str(), heartbeat);
        }
        self.heartbeats = heartbeats;
    }
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
