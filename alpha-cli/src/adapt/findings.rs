//! The latest finding of every check, and what the dispatcher was told of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use alpha_alerts::{Alert, Fingerprint};
use alpha_probes::{CheckId, CheckReport, Status};
use jiff::Timestamp;

use super::policy::{JOB, Policy};

/// An alert whose words alone changed, such as the value in its summary, is told again at most this often.
const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// Remembers what was found and what was told, and says what has to be told now.
///
/// - A check that is wrong because of another has no alert of its own; the alert of the other names it.
/// - What was wrong and cannot be seen any more goes on being wrong: not seeing it resolves nothing.
/// - What was told by an earlier process is adopted, so that a restart neither repeats an alert nor forgets to end one.
#[derive(Debug)]
pub struct Findings {
    policy: Policy,
    checks: HashSet<CheckId>,
    latest: HashMap<CheckId, Arc<CheckReport>>,
    explains: HashMap<CheckId, BTreeSet<CheckId>>,
    told: HashMap<CheckId, Told>,
    /// Alerts of an earlier process that have no check any more.
    stale: Vec<Alert>,
    dirty: BTreeSet<CheckId>,
}

#[derive(Debug)]
struct Told {
    alert: Alert,
    at: Timestamp,
}

impl Findings {
    /// Nothing found and nothing told yet of `checks`.
    pub fn new(policy: Policy, checks: impl IntoIterator<Item = CheckId>) -> Self {
        Self {
            policy,
            checks: checks.into_iter().collect(),
            latest: HashMap::new(),
            explains: HashMap::new(),
            told: HashMap::new(),
            stale: Vec::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Takes over the alerts that an earlier process told and that still fire at `now`; others are none of its business.
    pub fn adopt<'a>(&mut self, alerts: impl IntoIterator<Item = &'a Alert>, now: Timestamp) {
        for alert in alerts {
            let is_ours = alert.labels.get("job") == Some(JOB)
                && alert.labels.get("instance") == Some(self.policy.instance());
            if !is_ours || alert.is_resolved_at(now) {
                continue;
            }
            let check = alert
                .labels
                .get("check")
                .and_then(|name| name.parse::<CheckId>().ok());
            match check.filter(|check| self.checks.contains(check) && !self.told.contains_key(check)) {
                Some(check) => {
                    let alert = alert.clone();
                    self.told.insert(check, Told { alert, at: now });
                }
                None => self.stale.push(alert.clone()),
            }
        }
    }

    /// Another configuration. What is told stays told as long as its check is there.
    pub fn replace(&mut self, policy: Policy, checks: impl IntoIterator<Item = CheckId>) {
        self.policy = policy;
        self.checks = checks.into_iter().collect();
        let is_known = |check: &CheckId| self.checks.contains(check);
        self.latest.retain(|check, _| is_known(check));
        self.explains.retain(|check, _| is_known(check));
        for explained in self.explains.values_mut() {
            explained.retain(is_known);
        }
        // Severities and labels may have changed, and what was removed has to be ended.
        self.dirty.extend(self.latest.keys().cloned());
        self.dirty.extend(self.told.keys().cloned());
    }

    /// Notes what a check found.
    pub fn note(&mut self, report: Arc<CheckReport>) {
        let check = report.name.clone();
        if !self.checks.contains(&check) {
            return;
        }
        let before = self
            .latest
            .get(&check)
            .and_then(|report| report.suppressed_by.clone());
        if before != report.suppressed_by {
            if let Some(cause) = before {
                if let Some(explained) = self.explains.get_mut(&cause) {
                    explained.remove(&check);
                }
                self.dirty.insert(cause);
            }
            if let Some(cause) = &report.suppressed_by {
                self.explains
                    .entry(cause.clone())
                    .or_default()
                    .insert(check.clone());
                self.dirty.insert(cause.clone());
            }
        }
        self.latest.insert(check.clone(), report);
        self.dirty.insert(check);
    }

    /// Whether anything may have to be told.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.stale.is_empty()
    }

    /// What has to be told at `now`. It is due until [`told`](Self::told) says that it was.
    pub fn due(&mut self, now: Timestamp) -> Vec<Alert> {
        let mut due: Vec<Alert> = self
            .stale
            .iter()
            .map(|alert| self.policy.withdrawn(alert, now))
            .collect();
        let mut settled = Vec::new();
        for check in &self.dirty {
            match self.due_of(check, now) {
                Due::Nothing => settled.push(check.clone()),
                Due::Later => {}
                Due::Now(alerts) => due.extend(alerts),
            }
        }
        for check in settled {
            self.dirty.remove(&check);
        }
        due
    }

    fn due_of(&self, check: &CheckId, now: Timestamp) -> Due {
        let told = self.told.get(check);
        let ends = |end: &dyn Fn(&Alert) -> Alert| match told {
            Some(told) => Due::Now(vec![end(&told.alert)]),
            None => Due::Nothing,
        };
        if !self.checks.contains(check) {
            return ends(&|alert| self.policy.withdrawn(alert, now));
        }
        let Some(report) = self.latest.get(check) else {
            return Due::Nothing;
        };
        if let Some(cause) = &report.suppressed_by {
            return ends(&|alert| {
                let at = report.observed_at.max(alert.starts_at);
                self.policy.explained(alert, cause.as_str(), at)
            });
        }
        let explains: Vec<&str> = self
            .explains
            .get(check)
            .into_iter()
            .flatten()
            .map(CheckId::as_str)
            .collect();
        let Some(wanted) = self.policy.alert(report, &explains) else {
            return ends(&|alert| self.policy.over(alert, report));
        };
        let Some(told) = told else {
            return Due::Now(vec![wanted]);
        };
        let was_seen = told.alert.labels.get("status") != Some(&*Status::Unknown.to_string());
        if report.status == Status::Unknown && was_seen {
            return told.refreshed(self.policy.unseen(&told.alert, report), now);
        }
        if told.alert.labels == wanted.labels {
            return told.refreshed(wanted, now);
        }
        Due::Now(vec![self.policy.over(&told.alert, report), wanted])
    }

    /// Notes that `alerts`, which were due, are durable.
    pub fn told(&mut self, alerts: Vec<Alert>, now: Timestamp) {
        let ended: HashSet<Fingerprint> = alerts
            .iter()
            .filter(|alert| alert.is_resolved_at(now))
            .map(Alert::fingerprint)
            .collect();
        self.stale.retain(|alert| !ended.contains(&alert.fingerprint()));
        self.told
            .retain(|_, told| !ended.contains(&told.alert.fingerprint()));
        for alert in alerts.into_iter().filter(|alert| !alert.is_resolved_at(now)) {
            let check = alert
                .labels
                .get("check")
                .and_then(|name| name.parse::<CheckId>().ok());
            if let Some(check) = check {
                self.told.insert(check, Told { alert, at: now });
            }
        }
    }
}

enum Due {
    Nothing,
    Later,
    Now(Vec<Alert>),
}

impl Told {
    /// The same alert in other words, where they are worth telling.
    fn refreshed(&self, wanted: Alert, now: Timestamp) -> Due {
        if self.alert.annotations == wanted.annotations {
            return Due::Nothing;
        }
        // Whom it explains is worth telling at once: it keeps others from looking in the wrong place.
        let explains = |alert: &Alert| alert.annotations.get("explains").map(str::to_owned);
        if explains(&self.alert) != explains(&wanted) {
            return Due::Now(vec![wanted]);
        }
        let age = now.duration_since(self.at);
        if age.unsigned_abs() < REFRESH_EVERY && !age.is_negative() {
            return Due::Later;
        }
        Due::Now(vec![wanted])
    }
}

#[cfg(test)]
mod tests;
