//! Signs of life, and what follows when one is missing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Due, State};
use crate::alert::Alert;
use crate::command::Signal;
use crate::config::HeartbeatConfig;
use crate::group::later;
use crate::label::Labels;
use crate::store::{Changes, Kind};

/// The name of the alert of a missing heartbeat.
const ALERT_NAME: &str = "HeartbeatMissing";

/// What was last heard of something that should report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The last success.
    pub last_success_at: Option<Timestamp>,
    /// The last start that no success or failure followed.
    pub started_at: Option<Timestamp>,
    /// The last failure since the last success.
    pub failed_at: Option<Timestamp>,
    /// Since when it is expected: the first time it was known.
    pub expected_since: Timestamp,
    /// Whether its alert fires.
    pub is_missing: bool,
}

impl Heartbeat {
    fn new(now: Timestamp) -> Self {
        Self {
            last_success_at: None,
            started_at: None,
            failed_at: None,
            expected_since: now,
            is_missing: false,
        }
    }

    /// When its alert fires, if nothing is heard until then.
    pub(super) fn missing_at(&self, config: &HeartbeatConfig) -> Timestamp {
        if let Some(failed_at) = self.failed_at {
            return failed_at;
        }
        let last = self.last_success_at.unwrap_or(self.expected_since);
        let expected = later(later(last, config.every.0), config.grace.0);
        match self.started_at {
            // A run that has started must end within the grace time.
            Some(started_at) => expected.min(later(started_at, config.grace.0)),
            None => expected,
        }
    }
}

impl State {
    /// Takes a sign of life. One of a heartbeat that is not configured is dropped: the inbound API refuses it before.
    pub(super) fn hear(
        &mut self,
        now: Timestamp,
        name: &str,
        signal: Signal,
        at: Timestamp,
        changes: &mut Changes,
    ) {
        let rules = self.rules.clone();
        let Some(config) = rules.heartbeat(name) else {
            return;
        };
        let mut heartbeat = self
            .heartbeats
            .remove(name)
            .unwrap_or_else(|| Heartbeat::new(now));
        self.due
            .remove(&(heartbeat.missing_at(config), Due::Heartbeat(name.to_owned())));
        match signal {
            Signal::Start => heartbeat.started_at = Some(at),
            Signal::Success => {
                heartbeat.last_success_at = Some(at);
                heartbeat.started_at = None;
                heartbeat.failed_at = None;
            }
            Signal::Failure => {
                heartbeat.failed_at = Some(at);
                heartbeat.started_at = None;
            }
        }
        if heartbeat.is_missing && signal == Signal::Success {
            heartbeat.is_missing = false;
            let alert = Self::heartbeat_alert(config, &heartbeat, now).resolved(now);
            self.receive(now, &[alert], changes);
        }
        if !heartbeat.is_missing {
            self.due
                .insert((heartbeat.missing_at(config), Due::Heartbeat(name.to_owned())));
        }
        changes.put(Kind::Heartbeat, name, &heartbeat);
        self.heartbeats.insert(name.to_owned(), heartbeat);
    }

    pub(super) fn miss_heartbeat(&mut self, name: &str, now: Timestamp, changes: &mut Changes) {
        let rules = self.rules.clone();
        let (Some(config), Some(mut heartbeat)) = (rules.heartbeat(name), self.heartbeats.remove(name))
        else {
            return;
        };
        heartbeat.is_missing = true;
        let alert = Self::heartbeat_alert(config, &heartbeat, now);
        self.receive(now, &[alert], changes);
        changes.put(Kind::Heartbeat, name, &heartbeat);
        self.heartbeats.insert(name.to_owned(), heartbeat);
    }

    /// Looks when each heartbeat will be missed, expects new ones from now on, and ends the alerts of those that are not
    /// expected any more.
    pub(super) fn schedule_heartbeats(&mut self, now: Timestamp, changes: &mut Changes) {
        let rules = self.rules.clone();
        let gone: Vec<String> = self
            .heartbeats
            .keys()
            .filter(|name| rules.heartbeat(name).is_none())
            .cloned()
            .collect();
        for name in gone {
            self.heartbeats.remove(&name);
            changes.delete(Kind::Heartbeat, name.as_str());
            let orphans: Vec<Alert> = self
                .alerts
                .values()
                .filter(|alert| alert.name() == ALERT_NAME && alert.labels.get("heartbeat") == Some(&name))
                .map(|alert| alert.clone().resolved(now))
                .collect();
            self.receive(now, &orphans, changes);
        }
        for config in rules.heartbeats() {
            let heartbeat = self
                .heartbeats
                .entry(config.name.clone())
                .or_insert_with(|| Heartbeat::new(now));
            if !heartbeat.is_missing {
                self.due
                    .insert((heartbeat.missing_at(config), Due::Heartbeat(config.name.clone())));
            }
        }
    }

    fn heartbeat_alert(config: &HeartbeatConfig, heartbeat: &Heartbeat, now: Timestamp) -> Alert {
        let severity = config.severity.name();
        let mut labels = vec![
            ("alertname", ALERT_NAME),
            ("heartbeat", config.name.as_str()),
            ("severity", severity),
        ];
        labels.extend(
            config
                .labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let summary = match (heartbeat.failed_at, heartbeat.last_success_at) {
            (Some(failed_at), _) => format!("{} reported a failure at {failed_at}", config.name),
            (None, Some(last)) => format!("{} was last heard of at {last}", config.name),
            (None, None) => format!("{} was never heard of", config.name),
        };
        let annotations = config
            .annotations
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        let annotations = annotations.chain([("summary", summary.as_str())]);
        Alert::firing(Labels::new(labels), now).with_annotations(Labels::new(annotations))
    }
}
