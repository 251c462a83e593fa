//! What was measured, kept for days to years: every value for a while, then roll-ups per minute, hour and day.
//!
//! A roll-up keeps how many values there were, the least, the greatest, the mean, the last one, and a sketch from which
//! percentiles are read with a relative error of at most 1 %. Sketches merge without loss, so that the 95th percentile of
//! a day is that of its values and not an average of averages.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::CheckId;
use crate::config::Period;
use crate::error::{Error, ErrorKind, Result};
use crate::histories::MemoryHistory;
use crate::observation::{Labels, Measurement, Unit};
use crate::report::CheckReport;
use crate::resources::Resources;
use crate::secret::SecretRef;
use crate::series::SeriesBuffer;
use crate::text;

/// Keeps what was measured, and what an engine has to remember between two runs.
///
/// The contract:
/// - Every method happens wholly or not at all, also when its future is dropped or the process is killed. What a
///   durable history acknowledged is there after `kill -9`.
/// - [`append`](Self::append) may be repeated: a value that is already there, of the same measurement and instant, is
///   not counted twice while its raw value is kept.
/// - Values may come late and in any order.
/// - Memory and disk are bounded by [`Retention`] and by [`MAX_SERIES`] per check.
/// - Several processes may use one durable history at once.
#[async_trait]
pub trait History: fmt::Debug + Send + Sync {
    /// Which history this is, as a person would point at it; holds no secret.
    fn name(&self) -> &str;

    /// Adds values.
    async fn append(&self, batch: &[Sample]) -> Result<Appended>;

    /// The values that `query` asks for, one [`Trace`] a set of labels, ordered by name and labels.
    async fn points(&self, query: &Query) -> Result<Vec<Trace>>;

    /// What was stored last of every check by [`store_states`](Self::store_states).
    async fn load_states(&self) -> Result<Vec<(CheckId, Value)>>;

    /// Remembers what an engine has to know of these checks next time: since when they fail, what is pending.
    async fn store_states(&self, states: &[(CheckId, Value)], now: Timestamp) -> Result<()>;

    /// Rolls up what came in and drops what is older than its retention. Meant to be called every minute or so.
    async fn compact(&self, now: Timestamp) -> Result<Compaction>;
}

#[async_trait]
impl<H: History + ?Sized> History for Arc<H> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn append(&self, batch: &[Sample]) -> Result<Appended> {
        (**self).append(batch).await
    }

    async fn points(&self, query: &Query) -> Result<Vec<Trace>> {
        (**self).points(query).await
    }

    async fn load_states(&self) -> Result<Vec<(CheckId, Value)>> {
        (**self).load_states().await
    }

    async fn store_states(&self, states: &[(CheckId, Value)], now: Timestamp) -> Result<()> {
        (**self).store_states(states, now).await
    }

    async fn compact(&self, now: Timestamp) -> Result<Compaction> {
        (**self).compact(now).await
    }
}

/// The most series of one check, each name, unit and set of labels being one; values of further ones are refused.
pub const MAX_SERIES: usize = 1000;

/// The longest name of a measurement that is kept, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

/// The longest labels of a measurement that are kept, in bytes of JSON.
pub const MAX_LABELS_BYTES: usize = 1024;

/// One value of one check.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The check that measured it.
    pub check: CheckId,
    /// When; kept to the microsecond.
    pub at: Timestamp,
    /// What.
    pub measurement: Measurement,
}

impl Sample {
    /// Everything that a report measured.
    pub fn of(report: &CheckReport) -> impl Iterator<Item = Self> + '_ {
        report.measurements.iter().map(|measurement| Self {
            check: report.name.clone(),
            at: report.observed_at,
            measurement: measurement.clone(),
        })
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Values that are kept now, including those that were there before.
    pub kept: usize,
    /// Values that are not: no number, a name or labels too long, or one series too many of a check.
    pub refused: usize,
}

/// What [`History::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Values that went into roll-ups.
    pub rolled_up: u64,
    /// Values and roll-ups that had outlived their retention.
    pub dropped: u64,
}

/// How fine an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Every value.
    Raw,
    /// One point a minute.
    Minute,
    /// One point an hour.
    Hour,
    /// One point a day, in UTC.
    Day,
}

impl Resolution {
    /// The three that roll up.
    pub const ROLLED: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// How much time one point covers; zero for [`Resolution::Raw`].
    pub const fn step(self) -> Duration {
        Duration::from_secs(match self {
            Self::Raw => 0,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        })
    }

    /// The finest that covers `span` in at most some two thousand points of a check that runs every ten seconds.
    pub fn covering(span: Duration) -> Self {
        match span.as_secs() / 3600 {
            0..6 => Self::Raw,
            6..36 => Self::Minute,
            36..2160 => Self::Hour,
            _ => Self::Day,
        }
    }

    /// The start of the step that `at` lies in, both in microseconds.
    pub(crate) fn start_of(self, at: i64) -> i64 {
        let step = i64::try_from(self.step().as_micros()).unwrap_or(i64::MAX).max(1);
        at - at.rem_euclid(step)
    }
}

/// Which values to read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Query {
    /// Of which check.
    pub check: CheckId,
    /// Of which measurement; all where none.
    pub name: Option<String>,
    /// With exactly which labels, in any order; all where none.
    pub labels: Option<Labels>,
    /// From this instant on. A roll-up counts when its step starts then or later.
    pub from: Timestamp,
    /// Up to and without this instant.
    pub until: Timestamp,
    /// How fine.
    pub resolution: Resolution,
    /// The most points of each trace; the newest are kept. Default: 10,000.
    pub limit: usize,
}

impl Query {
    /// Everything that `check` measured from `from` up to `until`.
    pub fn new(check: CheckId, from: Timestamp, until: Timestamp, resolution: Resolution) -> Self {
        Self {
            check,
            name: None,
            labels: None,
            from,
            until,
            resolution,
            limit: 10_000,
        }
    }

    /// Of this measurement only.
    #[must_use]
    pub fn of(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With exactly these labels only.
    #[must_use]
    pub fn labelled(mut self, labels: Labels) -> Self {
        self.labels = Some(labels);
        self
    }
}

/// The points of one measurement with one set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// As in [`Measurement::name`].
    pub name: String,
    /// Sorted by name.
    pub labels: Labels,
    /// What the values count.
    pub unit: Unit,
    /// Oldest first; steps without a value have no point.
    pub points: Vec<Point>,
}

impl Trace {
    /// The last value of each point with its instant, as a [`forecast`](crate::forecast) takes them.
    pub fn values(&self) -> Vec<(Timestamp, f64)> {
        self.points
            .iter()
            .map(|point| (point.last_at, point.last))
            .collect()
    }
}

/// One value, or the roll-up of those of one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Point {
    /// The instant of the value, or the start of the step.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// How many values.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The median, within 1 %.
    pub p50: f64,
    /// The 95th percentile, within 1 %.
    pub p95: f64,
    /// The 99th percentile, within 1 %.
    pub p99: f64,
    /// The last value.
    pub last: f64,
    /// When that was.
    #[schemars(with = "String")]
    pub last_at: Timestamp,
}

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retention {
    /// Every value. Default: `2d`.
    pub raw: Period,
    /// One point a minute. Default: `14d`, so that this week can be held against the last.
    pub minute: Period,
    /// One point an hour. Default: `400d`, a year and a month.
    pub hour: Period,
    /// One point a day. Default: `3650d`.
    pub day: Period,
    /// What an engine remembered of a check that nobody asked for any more. Default: `90d`.
    pub state: Period,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |count: u64| Period::from_secs(86_400 * count);
        Self {
            raw: days(2),
            minute: days(14),
            hour: days(400),
            day: days(3650),
            state: days(90),
        }
    }
}

impl Retention {
    /// The instant before which a point of that resolution has outlived its use, in microseconds.
    pub(crate) fn cutoff(&self, resolution: Resolution, now: Timestamp) -> i64 {
        let kept = match resolution {
            Resolution::Raw => self.raw,
            Resolution::Minute => self.minute,
            Resolution::Hour => self.hour,
            Resolution::Day => self.day,
        };
        before(now, kept)
    }

    /// The instant before which a state has outlived its use, in microseconds.
    pub(crate) fn state_cutoff(&self, now: Timestamp) -> i64 {
        before(now, self.state)
    }
}

fn before(now: Timestamp, period: Period) -> i64 {
    let micros = i64::try_from(period.0.as_micros()).unwrap_or(i64::MAX);
    now.as_microsecond().saturating_sub(micros)
}

/// Where the history is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HistoryConfig {
    /// The file of an embedded SQLite database, made where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<PathBuf>,
    /// Where the address of a PostgreSQL database is kept, with user and password: `postgres://...`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<SecretRef>,
    /// How long what is kept.
    pub retention: Retention,
}

impl HistoryConfig {
    /// Opens the history; without a place it is in memory and ends with the process.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for two places, or one that this build has no support for; otherwise as opening
    /// the place itself.
    pub async fn open(&self, resources: &Resources) -> Result<Arc<dyn History>> {
        match (&self.sqlite, &self.postgres) {
            (Some(_), Some(_)) => Err(Error::new(
                ErrorKind::InvalidConfig,
                text!("a history has one place: keep either sqlite or postgres"),
            )),
            #[cfg(feature = "history-sqlite")]
            (Some(path), None) => {
                let history = crate::histories::SqliteHistory::open(path, self.retention).await?;
                Ok(Arc::new(history))
            }
            #[cfg(feature = "history-postgres")]
            (None, Some(secret)) => {
                let url = resources.secrets.resolve(secret)?;
                let history = crate::histories::PostgresHistory::open(&url, self.retention).await?;
                Ok(Arc::new(history))
            }
            (None, None) => {
                let limits = crate::histories::MemoryLimits::default();
                Ok(Arc::new(MemoryHistory::new(limits, self.retention)))
            }
            #[allow(unreachable_patterns, reason = "which arms are left depends on the features")]
            (sqlite, _) => {
                let _ = resources;
                let place = if sqlite.is_some() { "sqlite" } else { "postgres" };
                Err(Error::new(
                    ErrorKind::InvalidConfig,
                    text!("this build keeps no history in {place}", place = place),
                ))
            }
        }
    }
}

/// Fills a buffer that is still empty with what the history knows, so that conditions which look back need not wait.
///
/// The last two hours are taken value by value, what lies before at the resolution that its length asks for.
///
/// # Errors
/// As [`History::points`].
pub async fn restore(
    buffer: &mut SeriesBuffer,
    history: &dyn History,
    check: &CheckId,
    now: Timestamp,
) -> Result<()> {
    let mut spans: Vec<(String, Duration)> = Vec::new();
    for (name, span) in buffer.windows() {
        match spans.iter_mut().find(|(known, _)| known == name) {
            Some((_, longest)) => *longest = span.max(*longest),
            None => spans.push((name.to_owned(), span)),
        }
    }
    let recent = Duration::from_secs(2 * 3600);
    for (name, span) in spans {
        let from = now.checked_sub(span).unwrap_or(Timestamp::MIN);
        let middle = now.checked_sub(recent).unwrap_or(Timestamp::MIN).max(from);
        let end = now
            .checked_add(Duration::from_micros(1))
            .unwrap_or(Timestamp::MAX);
        let parts = [
            (from, middle, Resolution::covering(span)),
            (middle, end, Resolution::Raw),
        ];
        for (from, until, resolution) in parts {
            if from >= until {
                continue;
            }
            let query = Query::new(check.clone(), from, until, resolution).of(&name);
            for trace in history.points(&query).await? {
                for (at, value) in trace.values() {
                    if at < until {
                        buffer.push(&trace.name, &trace.labels, at, value);
                    }
                }
            }
        }
    }
    Ok(())
}
