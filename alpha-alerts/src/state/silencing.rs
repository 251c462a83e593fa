//! Silences are put and ended.

use jiff::Timestamp;
use uuid::Uuid;

use super::State;
use super::record::AUDIT;
use crate::silence::{Silence, SilenceState};
use crate::store::{Changes, Kind};

impl State {
    pub(super) fn put_silence(&mut self, now: Timestamp, silence: &Silence, changes: &mut Changes) {
        let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
        let detail = format!(
            "{} {{{}}} from {} to {}: {}",
            silence.id,
            matchers.join(", "),
            silence.starts_at,
            silence.ends_at,
            silence.comment
        );
        self.log_act(now, &silence.created_by, "silence.put", detail, changes);
        changes.put(Kind::Silence, silence.id.to_string(), silence);
        self.silences.put(silence.clone());
    }

    pub(super) fn expire_silence(&mut self, now: Timestamp, id: Uuid, by: &str, changes: &mut Changes) {
        let Some(silence) = self.silences.get(id) else {
            return;
        };
        if silence.state_at(now) == SilenceState::Expired {
            return;
        }
        let mut silence = silence.clone();
        silence.expire(now);
        changes.put(Kind::Silence, id.to_string(), &silence);
        self.silences.put(silence);
        self.log_act(now, by, "silence.expire", id.to_string(), changes);
    }

    /// Adds to the audit log.
    pub(super) fn log_act(
        &mut self,
        now: Timestamp,
        actor: &str,
        action: &str,
        detail: String,
        changes: &mut Changes,
    ) {
        changes.audit.push(self.audit.append(now, actor, action, detail));
        changes.put(Kind::Singleton, AUDIT, &self.audit);
    }
}
