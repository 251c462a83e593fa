//! What ended long ago is forgotten.

use jiff::Timestamp;
use uuid::Uuid;

use super::State;
use crate::incident::IncidentId;
use crate::store::{Changes, Kind};

impl State {
    /// Forgets silences, incidents, overrides and hand-overs that ended before `before`.
    pub fn forget_ended(&mut self, before: Timestamp, changes: &mut Changes) {
        let silences: Vec<Uuid> = self
            .silences
            .iter()
            .filter(|silence| silence.ends_at < before)
            .map(|silence| silence.id)
            .collect();
        for id in silences {
            self.silences.remove(id);
            changes.delete(Kind::Silence, id.to_string());
        }
        let incidents: Vec<IncidentId> = self
            .incidents
            .values()
            .filter(|incident| incident.resolved_at.is_some_and(|at| at < before))
            // The newest number is kept, so that none is given twice.
            .filter(|incident| incident.id.0 < self.last_incident)
            .map(|incident| incident.id)
            .collect();
        for id in incidents {
            self.incidents.remove(&id);
            self.incident_of.retain(|_, newest| *newest != id);
            self.place_of.remove(&id);
            changes.delete(Kind::Incident, id.to_string());
        }
        for entry in self.overrides.forget_ended(before) {
            changes.delete(Kind::Override, entry.id.to_string());
        }
        let handovers: Vec<Uuid> = self
            .handovers
            .values()
            .filter(|report| report.ends_at < before)
            .map(|report| report.id)
            .collect();
        for id in handovers {
            self.handovers.remove(&id);
            changes.delete(Kind::Handover, id.to_string());
        }
    }
}
