//! What a run of checks found: data first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::check::{Check, CheckId};
use crate::judge::Judgement;
use crate::observation::Measurement;
use crate::status::Status;
use crate::suite::Asked;
use crate::text;
use crate::text::Text;

/// What one check found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct CheckReport {
    /// The check.
    pub name: CheckId,
    /// The kind of its probe.
    pub kind: &'static str,
    /// The judgement.
    pub status: Status,
    /// Why, with the actual value.
    #[schemars(with = "String")]
    pub reason: Text,
    /// The value that decided, as a person reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub remedy: Option<Text>,
    /// Since when the status is what it is, as far as is known.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// When the probe was asked.
    #[schemars(with = "String")]
    pub observed_at: Timestamp,
    /// How long the probe took.
    #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub elapsed: Duration,
    /// What it measured.
    pub measurements: Vec<Measurement>,
    /// What else it saw.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<Cow<'static, str>, Value>,
    /// Where a person reads what to do.
    pub runbook: Arc<str>,
    /// The failing check that explains this one, so that nobody is told twice. The status is not changed by it.
    pub suppressed_by: Option<CheckId>,
    /// Whether the status changes so often that each change means little.
    pub flapping: bool,
}

impl CheckReport {
    /// The report of one result; who explains it is known only when the others are.
    pub(crate) fn new(check: &Check, asked: Asked, judgement: Judgement) -> Self {
        let mut observation = asked.outcome.unwrap_or_default();
        // A report is kept until the next one, of thousands of checks.
        observation.measurements.shrink_to_fit();
        Self {
            name: check.id.clone(),
            kind: check.probe.kind().name,
            status: judgement.status,
            reason: judgement.reason,
            value: judgement.value,
            limit: judgement.limit,
            remedy: judgement.remedy,
            since: judgement.since,
            observed_at: asked.observed_at,
            elapsed: asked.elapsed,
            measurements: observation.measurements,
            facts: observation.facts,
            runbook: Arc::clone(&check.runbook),
            suppressed_by: None,
            flapping: judgement.flapping,
        }
    }

    /// The report of a check that nobody has asked yet, which is no reason to call it well.
    pub(crate) fn not_asked_yet(check: &Check, now: Timestamp) -> Self {
        Self {
            name: check.id.clone(),
            kind: check.probe.kind().name,
            status: Status::Unknown,
            reason: text!("not asked yet"),
            value: None,
            limit: None,
            remedy: None,
            since: None,
            observed_at: now,
            elapsed: Duration::ZERO,
            measurements: Vec::new(),
            facts: BTreeMap::new(),
            runbook: Arc::clone(&check.runbook),
            suppressed_by: None,
            flapping: false,
        }
    }
}

/// What a set of checks found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct SuiteReport {
    /// The worst status; unknown where there are no checks, because nothing was looked at.
    pub verdict: Status,
    /// When the run began.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// How long all of it took.
    #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
    #[schemars(with = "f64")]
    pub elapsed: Duration,
    /// One a check, in the order of the set.
    pub checks: Vec<CheckReport>,
}

impl SuiteReport {
    /// The report of a run that began at `started_at`.
    pub(crate) fn new(started_at: Timestamp, elapsed: Duration, checks: Vec<CheckReport>) -> Self {
        let worst = checks.iter().map(|check| check.status).reduce(Status::worst);
        Self {
            verdict: worst.unwrap_or(Status::Unknown),
            started_at,
            elapsed,
            checks,
        }
    }

    /// The JSON schema of a serialised report, which is a contract: keys are added, never renamed or removed.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }

    /// The reports, worst first, then root causes before what they explain, then by name.
    pub fn worst_first(&self) -> Vec<&CheckReport> {
        let mut checks: Vec<_> = self.checks.iter().collect();
        checks.sort_by_key(|check| {
            (
                std::cmp::Reverse(check.status.rank()),
                check.suppressed_by.is_some(),
                check.name.clone(),
            )
        });
        checks
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
