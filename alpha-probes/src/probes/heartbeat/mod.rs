//! The probe `heartbeat`: whether a job that runs by itself reports in time.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod state;

pub use state::{HeartbeatState, Pings, Schedule, Signal};

use crate::check::ProbeConfig;
use crate::config::Period;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "heartbeat",
    summary: "Whether a job that runs by itself, such as a backup, reports in time",
    metrics: &[
        Metric::gauge("up", Unit::Boolean, "Whether the job reported in time"),
        Metric::gauge(
            "late",
            Unit::Boolean,
            "Whether it is overdue, but still within the grace time",
        ),
        Metric::gauge(
            "down",
            Unit::Boolean,
            "Whether it failed, or did not report within the grace time",
        ),
        Metric::gauge("never", Unit::Boolean, "Whether it never reported at all"),
        Metric::gauge(
            "age",
            Unit::Seconds,
            "Time since its last report, where there was one",
        ),
        Metric::gauge(
            "duration",
            Unit::Seconds,
            "How long its last run took, where it reported the beginning too",
        ),
        Metric::gauge("running", Unit::Count, "Runs that began and did not end yet"),
        Metric::counter("pings", Unit::Count, "Reports that came"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "down == true",
            sustained: "",
            says: "{job} failed or did not report in time; its last report: {last}",
            remedy: "See whether the job ran and what it said; run it by hand once the cause is gone.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "late == true",
            sustained: "",
            says: "{job} is late; its last report: {last}",
            remedy: "See whether the job still runs, and whether it takes longer than usual.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "never == true",
            sustained: "",
            says: "{job} has never reported",
            remedy: "Let the job report at its end, and run it once.",
        },
    ],
};

/// Where the pings of jobs are looked up.
pub trait HeartbeatSource: fmt::Debug + Send + Sync {
    /// What is known of the job; nothing where nobody waits for it.
    fn pings(&self, job: &str) -> Option<Pings>;
}

/// The pings of all jobs that are waited for, in memory. Found among the shared [`Resources`], so that whoever receives
/// pings and the checks of one process meet here.
#[derive(Debug, Default)]
pub struct Heartbeats(Mutex<BTreeMap<String, Pings>>);

impl Heartbeats {
    /// Waits for the pings of a job from `now` on; does nothing where it does so already.
    pub fn expect(&self, job: &str, now: Timestamp) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.entry(job.to_owned()).or_insert_with(|| Pings::waiting(now));
    }

    /// Takes in a ping. Whether anybody waits for it; pings of strangers fill no memory.
    pub fn ping(&self, job: &str, signal: Signal, run: Option<&str>, now: Timestamp) -> bool {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let job = jobs.get_mut(job);
        job.map(|pings| pings.take(signal, run, now)).is_some()
    }

    /// Puts back what was kept before a restart.
    pub fn restore(&self, job: &str, pings: Pings) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.insert(job.to_owned(), pings);
    }
}

impl HeartbeatSource for Heartbeats {
    fn pings(&self, job: &str) -> Option<Pings> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(job)
            .cloned()
    }
}

/// An hour: how long a job may be late when the configuration does not say.
const GRACE: Duration = Duration::from_secs(3600);

/// The table `heartbeat` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HeartbeatConfig {
    /// A file that the job touches when it ends well: `touch /run/backup.done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The name under which the job sends pings, where this process receives any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The job reports at least this often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// The job reports at these instants: five fields as in crontab, `30 2 * * *`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of `cron`. Default: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How long after it is due, or after the beginning of a run, the report may come. Default: `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Period>,
}

impl ProbeConfig for HeartbeatConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let wrong = |message| Error::new(ErrorKind::InvalidConfig, message);
        let schedule = match (self.period, &self.cron) {
            (Some(period), None) if !period.0.is_zero() => Schedule::Every(period.0),
            (None, Some(cron)) => Schedule::cron(cron, self.time_zone.as_deref())?,
            _ => return Err(wrong(text!("expected exactly one of the keys period and cron"))),
        };
        if self.cron.is_none() && self.time_zone.is_some() {
            return Err(wrong(text!("time_zone: means nothing without the key cron")));
        }
        let grace = self.grace.map_or(GRACE, |grace| grace.0);
        let (target, source) = match (&self.file, &self.job) {
            (Some(path), None) => (path.display().to_string(), Source::File(path.clone())),
            (None, Some(job)) if !job.is_empty() => {
                let registry: Arc<Heartbeats> = resources.shared();
                registry.expect(job, resources.clock.now());
                (job.clone(), Source::Pings(registry))
            }
            _ => return Err(wrong(text!("expected exactly one of the keys file and job"))),
        };
        Ok(Arc::new(Heartbeat {
            target,
            source,
            schedule,
            grace,
        }))
    }
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Pings(Arc<dyn HeartbeatSource>),
}

/// Watches one job.
#[derive(Debug)]
pub struct Heartbeat {
    target: String,
    source: Source,
    schedule: Schedule,
    grace: Duration,
}

impl Heartbeat {
    /// Watches a job whose pings `source` knows.
    pub fn new(job: &str, source: Arc<dyn HeartbeatSource>, schedule: Schedule, grace: Duration) -> Self {
        Self {
            target: job.to_owned(),
            source: Source::Pings(source),
            schedule,
            grace,
        }
    }

    fn pings(&self) -> Result<Pings> {
        match &self.source {
            Source::Pings(source) => source.pings(&self.target).ok_or_else(|| {
                Error::new(
                    ErrorKind::NotApplicable,
                    text!("nobody waits for pings of {job}", job = &self.target),
                )
            }),
            Source::File(path) => match path.metadata().and_then(|metadata| metadata.modified()) {
                Ok(written) => {
                    let last = Timestamp::try_from(written).unwrap_or(Timestamp::MIN);
                    let mut pings = Pings::default();
                    pings.take(Signal::Success, None, last);
                    Ok(pings)
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Pings::default()),
                Err(cause) => Err(super::file::unreadable(path, cause)),
            },
        }
    }
}

#[async_trait]
impl Probe for Heartbeat {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let now = context.clock.now();
        let pings = self.pings()?;
        let state = pings.state(&self.schedule, self.grace, now);
        let mut observation = Observation::new()
            .with_fact("job", self.target.as_str())
            .with_fact("state", state.as_str())
            .with_bool("up", state == HeartbeatState::Up)
            .with_bool("late", state == HeartbeatState::Late)
            .with_bool("down", state == HeartbeatState::Down)
            .with_bool("never", pings.last.is_none())
            .with("running", pings.running.len() as f64, Unit::Count)
            .with("pings", pings.count as f64, Unit::Count)
            .with_fact(
                "last",
                pings.last.map_or_else(|| "-".to_owned(), |last| last.to_string()),
            );
        if let Some(last) = pings.last {
            let age = now.duration_since(last).as_secs_f64().max(0.0);
            observation = observation.with("age", age, Unit::Seconds);
        }
        if let Some(duration) = pings.duration {
            observation = observation.with_seconds("duration", duration);
        }
        if let Some(due) = pings
            .last
            .or(pings.since)
            .and_then(|last| self.schedule.after(last))
        {
            observation = observation.with_fact("due", due.to_string());
        }
        Ok(observation)
    }
}
