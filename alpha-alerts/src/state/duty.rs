//! Who is on duty changes, and shifts are handed over.

use jiff::Timestamp;
use uuid::Uuid;

use super::State;
use crate::oncall::{HandoverReport, Override};
use crate::store::{Changes, Kind};

impl State {
    pub(super) fn put_overrides(&mut self, now: Timestamp, overrides: &[Override], changes: &mut Changes) {
        for entry in overrides {
            let detail = format!(
                "{} {} is on duty in {} from {} to {}",
                entry.id, entry.person, entry.schedule, entry.starts_at, entry.ends_at
            );
            self.log_act(now, &entry.created_by, "override.put", detail, changes);
            changes.put(Kind::Override, entry.id.to_string(), entry);
            self.overrides.put(entry.clone());
        }
    }

    pub(super) fn remove_override(&mut self, now: Timestamp, id: Uuid, by: &str, changes: &mut Changes) {
        for entry in self.overrides.remove(id) {
            changes.delete(Kind::Override, entry.id.to_string());
            self.log_act(now, by, "override.remove", entry.id.to_string(), changes);
        }
    }

    pub(super) fn put_handover(&mut self, now: Timestamp, report: &HandoverReport, changes: &mut Changes) {
        self.log_act(
            now,
            &report.created_by,
            "handover.put",
            report.id.to_string(),
            changes,
        );
        changes.put(Kind::Handover, report.id.to_string(), report);
        self.handovers.insert(report.id, report.clone());
    }

    pub(super) fn accept_handover(&mut self, now: Timestamp, id: Uuid, by: &str, changes: &mut Changes) {
        let Some(report) = self.handovers.get_mut(&id) else {
            return;
        };
        report.accept(now, by);
        changes.put(Kind::Handover, id.to_string(), report);
        self.log_act(now, by, "handover.accept", id.to_string(), changes);
    }
}
