//! A history in a database: the same tables in SQLite and PostgreSQL.
//!
//! A value is one narrow row. Compaction reads the rows that came in since it ran last, in the order they came, and
//! merges them into the roll-ups of their minute, hour and day in the same transaction that notes how far it got; so a
//! late value finds its roll-up, none is counted twice, and being killed half-way costs nothing. What has not been
//! rolled up yet is merged in when roll-ups are read.
//!
//! Instants are microseconds since 1970 in UTC, in both databases, so that what is read is what was written.

#[cfg(feature = "history-postgres")]
mod postgres;
#[cfg(feature = "history-sqlite")]
mod sqlite;

#[cfg(feature = "history-postgres")]
pub use postgres::PostgresHistory;
#[cfg(feature = "history-sqlite")]
pub use sqlite::SqliteHistory;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::rollup::{Rollup, Sketch, raw_point};
use super::{SeriesKey, sorted, unit};
use crate::check::CheckId;
use crate::error::{Error, ErrorKind, Result};
use crate::history::{MAX_SERIES, Point, Query, Resolution, Sample, Trace};
use crate::text;

/// How long a statement waits for another process, or for a free connection, before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections of one history; a writer and a few readers.
const CONNECTIONS: u32 = 4;

/// Rows that one transaction of compaction takes, so that appending never waits long.
const BATCH: i64 = 10_000;

/// What a database was asked to do when it failed.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Opening,
    Reading,
    Writing,
}

/// One row of a roll-up: its series, its resolution in seconds and the start of its step.
type RollupKey = (i64, i64, i64);

/// A series as the database knows it.
#[derive(Debug)]
struct StoredSeries {
    id: i64,
    name: String,
    labels: String,
    unit: String,
}

/// A batch sorted out: its distinct series, and its rows pointing at them.
#[derive(Debug, Default)]
struct Batch {
    series: Vec<(CheckId, SeriesKey)>,
    /// The index of the series, the instant and the value.
    rows: Vec<(usize, i64, f64)>,
    refused: usize,
}

impl Batch {
    fn of(samples: &[Sample]) -> Self {
        let mut batch = Self::default();
        let mut indices: HashMap<(CheckId, SeriesKey), usize> = HashMap::new();
        for sample in samples {
            let Some(key) = SeriesKey::of(sample) else {
                batch.refused += 1;
                continue;
            };
            let key = (sample.check.clone(), key);
            let index = *indices.entry(key).or_insert_with_key(|key| {
                batch.series.push(key.clone());
                batch.series.len() - 1
            });
            let row = (index, sample.at.as_microsecond(), sample.measurement.value);
            batch.rows.push(row);
        }
        batch
    }

    /// The rows with the numbers of their series; those of a series that has none are left out.
    fn numbered(&self, ids: &[Option<i64>]) -> Vec<(i64, i64, f64)> {
        let rows = self.rows.iter();
        rows.filter_map(|&(series, at, value)| Some((ids[series]?, at, value)))
            .collect()
    }
}

/// The numbers of the series that were used before.
///
/// A number is never given to another series, so that one whose series was dropped meanwhile is refused by the
/// database and asked for again.
#[derive(Debug, Default)]
struct SeriesIds(Mutex<HashMap<(CheckId, SeriesKey), i64>>);

impl SeriesIds {
    fn known(&self, series: &[(CheckId, SeriesKey)]) -> Vec<Option<i64>> {
        let ids = self.lock();
        series.iter().map(|key| ids.get(key).copied()).collect()
    }

    fn learn(&self, series: &[(CheckId, SeriesKey)], ids: &[Option<i64>]) {
        let mut known = self.lock();
        for (key, id) in series.iter().zip(ids) {
            if let Some(id) = id
                && !known.contains_key(key)
            {
                known.insert(key.clone(), *id);
            }
        }
    }

    fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(CheckId, SeriesKey), i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Labels as they are written: a JSON object with its keys sorted.
fn written(key: &SeriesKey) -> String {
    let labels: BTreeMap<_, _> = key
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    serde_json::to_string(&labels).unwrap_or_default()
}

/// Rows grouped into the roll-ups they belong to.
fn roll_up(rows: &[(i64, i64, f64)], resolutions: &[Resolution]) -> BTreeMap<RollupKey, Rollup> {
    let mut rollups = BTreeMap::new();
    for &(series, at, value) in rows {
        for resolution in resolutions {
            let key = (series, seconds(*resolution), resolution.start_of(at));
            rollups
                .entry(key)
                .and_modify(|rollup: &mut Rollup| rollup.add(at, value))
                .or_insert_with(|| Rollup::new(at, value));
        }
    }
    rollups
}

/// A resolution as it is written.
fn seconds(resolution: Resolution) -> i64 {
    resolution.step().as_secs().cast_signed()
}

/// How many series each check may still add, when it has `counts` now.
fn free(counts: &HashMap<String, i64>, check: &CheckId) -> usize {
    let count = counts.get(check.as_str()).copied().unwrap_or_default();
    MAX_SERIES.saturating_sub(usize::try_from(count).unwrap_or(MAX_SERIES))
}

/// A roll-up as the databases have it.
#[derive(Debug)]
struct StoredRollup {
    key: RollupKey,
    rollup: Rollup,
}

impl<'r, R> FromRow<'r, R> for StoredRollup
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    f64: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let damaged = || sqlx::Error::Decode("a roll-up cannot be read".into());
        let sketch: Vec<u8> = row.try_get("sketch")?;
        Ok(Self {
            key: (
                row.try_get("series")?,
                row.try_get("resolution")?,
                row.try_get("start")?,
            ),
            rollup: Rollup {
                count: u64::try_from(row.try_get::<i64, _>("samples")?).map_err(|_| damaged())?,
                min: row.try_get("minimum")?,
                max: row.try_get("maximum")?,
                mean: row.try_get("mean")?,
                last: row.try_get("last")?,
                last_at: row.try_get("last_at")?,
                sketch: Sketch::decode(&sketch).ok_or_else(damaged)?,
            },
        })
    }
}

/// New roll-ups joined with what is stored of them.
fn join(rollups: &mut BTreeMap<RollupKey, Rollup>, stored: Vec<StoredRollup>) {
    for StoredRollup { key, mut rollup } in stored {
        if let Some(new) = rollups.get_mut(&key) {
            rollup.merge(new);
            *new = rollup;
        }
    }
}

/// The series that a query asks for out of those of its check.
fn asked(query: &Query, series: Vec<StoredSeries>) -> Vec<StoredSeries> {
    let labels = query.labels.as_ref().map(|labels| {
        let labels: BTreeMap<String, String> = sorted(labels).into_iter().collect();
        serde_json::to_string(&labels).unwrap_or_default()
    });
    let mut series = series;
    series.retain(|series| labels.as_ref().is_none_or(|labels| *labels == series.labels));
    series
}

/// The answer for one series from its stored roll-ups and what is not rolled up yet.
fn merged(stored: Vec<StoredRollup>, fresh: BTreeMap<RollupKey, Rollup>, query: &Query) -> Vec<Point> {
    let stored = stored.into_iter();
    let mut rollups: BTreeMap<i64, Rollup> = stored.map(|row| (row.key.2, row.rollup)).collect();
    let (from, until) = (query.from.as_microsecond(), query.until.as_microsecond());
    for ((_, _, start), rollup) in fresh {
        if (from..until).contains(&start) {
            rollups
                .entry(start)
                .and_modify(|stored| stored.merge(&rollup))
                .or_insert(rollup);
        }
    }
    let surplus = rollups.len().saturating_sub(query.limit);
    let rollups = rollups.iter().skip(surplus);
    rollups.map(|(start, rollup)| rollup.to_point(*start)).collect()
}

/// The answer for one series from its values, which come newest first.
fn raw_points(newest_first: Vec<(i64, f64)>) -> Vec<Point> {
    let values = newest_first.into_iter().rev();
    values.map(|(at, value)| raw_point(at, value)).collect()
}

/// The trace of one series; nothing where it has no point.
fn trace(name: &str, series: StoredSeries, points: Vec<Point>) -> Result<Option<Trace>> {
    if points.is_empty() {
        return Ok(None);
    }
    let labels: Option<BTreeMap<String, String>> = serde_json::from_str(&series.labels).ok();
    let (Some(labels), Some(unit)) = (labels, unit(&series.unit)) else {
        return Err(damaged(name));
    };
    Ok(Some(Trace {
        name: series.name,
        labels: labels
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect(),
        unit,
        points,
    }))
}

/// The traces of all series that have a point, by name and labels.
fn traces(name: &str, answer: Vec<(StoredSeries, Vec<Point>)>) -> Result<Vec<Trace>> {
    let traces = answer.into_iter();
    let traces = traces.filter_map(|(series, points)| trace(name, series, points).transpose());
    let mut traces: Vec<Trace> = traces.collect::<Result<_>>()?;
    traces.sort_by(|one, other| (&one.name, &one.labels).cmp(&(&other.name, &other.labels)));
    Ok(traces)
}

/// States as they are read; one that cannot be read makes the history damaged.
fn states(name: &str, rows: Vec<(String, String)>) -> Result<Vec<(CheckId, Value)>> {
    rows.into_iter()
        .map(|(check, state)| {
            let check = check.parse().map_err(|_| damaged(name))?;
            let state = serde_json::from_str(&state).map_err(|error| damaged(name).with_source(error))?;
            Ok((check, state))
        })
        .collect()
}

/// Whether a database of this schema version can be used; what is missing is added by the caller.
fn check_version(name: &str, found: i64, known: usize) -> Result<usize> {
    match usize::try_from(found) {
        Ok(version) if version <= known => Ok(version),
        _ => Err(Error::new(
            ErrorKind::InvalidConfig,
            text!(
                "the history {name} was written by a newer Alpha (schema {found}, this one knows {known}): use that one",
                name = name,
                found = found,
                known = known
            ),
        )),
    }
}

fn damaged(name: &str) -> Error {
    Error::new(
        ErrorKind::Malformed,
        text!(
            "the history {name} is damaged: move it away to begin a new one, or restore it from a backup",
            name = name
        ),
    )
}

/// What a failure of the database means; the message never holds the address' password.
fn failed(doing: Doing, name: &str, error: sqlx::Error) -> Error {
    let code = error
        .as_database_error()
        .and_then(|error| error.code())
        .map(|code| code.into_owned());
    let kind = match &error {
        sqlx::Error::Configuration(_) => ErrorKind::InvalidConfig,
        sqlx::Error::PoolTimedOut => ErrorKind::Timeout,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => ErrorKind::Unreachable,
        _ => code.as_deref().map_or(ErrorKind::Malformed, kind_of_code),
    };
    // The words of the driver around the words of the database add nothing.
    let source: Box<dyn std::error::Error + Send + Sync> = match error.as_database_error() {
        Some(error) => error.message().to_owned().into(),
        None => error.to_string().into(),
    };
    let message = match doing {
        _ if is_damage(&error, code.as_deref()) => damaged(name),
        Doing::Opening => Error::new(kind, text!("could not open the history {name}", name = name)),
        Doing::Reading => Error::new(kind, text!("could not read the history {name}", name = name)),
        Doing::Writing => Error::new(kind, text!("could not write the history {name}", name = name)),
    };
    message.with_source(source)
}

/// SQLite's codes have up to four digits (<https://sqlite.org/rescode.html>), PostgreSQL's have five characters
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn kind_of_code(code: &str) -> ErrorKind {
    if code.len() == 5 {
        return match (&code[..2], code) {
            ("28", _) | (_, "42501" | "25006") => ErrorKind::Denied,
            ("08" | "57", _) => ErrorKind::Unreachable,
            ("53", _) => ErrorKind::Overloaded,
            ("3D", _) => ErrorKind::InvalidConfig,
            _ => ErrorKind::Malformed,
        };
    }
    match primary(code) {
        Some(3 | 8 | 23) => ErrorKind::Denied,
        Some(5 | 6) => ErrorKind::Timeout,
        Some(10 | 13 | 14) => ErrorKind::Io,
        _ => ErrorKind::Malformed,
    }
}

/// Whether the database says that its own files are damaged, or what it holds cannot be read.
fn is_damage(error: &sqlx::Error, code: Option<&str>) -> bool {
    match code {
        Some(code) if code.len() == 5 => code.starts_with("XX"),
        Some(code) => matches!(primary(code), Some(11 | 26)),
        None => matches!(error, sqlx::Error::Decode(_)),
    }
}

/// The limit of a query as the databases take it.
fn limit(query: &Query) -> i64 {
    i64::try_from(query.limit).unwrap_or(i64::MAX)
}

/// The first byte of an extended code of SQLite.
fn primary(code: &str) -> Option<u32> {
    code.parse::<u32>().ok().map(|code| code & 0xff)
}
