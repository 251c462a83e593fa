//! A history in an SQLite file.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool, Transaction};

use super::*;
use crate::history::{Appended, Compaction, History, Retention};

/// Each brings the schema from the version before it, which is its index, to the next.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE history_series (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        check_name TEXT NOT NULL,
        name TEXT NOT NULL,
        labels TEXT NOT NULL,
        unit TEXT NOT NULL,
        UNIQUE (check_name, name, labels, unit)
    ) STRICT;
    CREATE TABLE history_sample (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        series INTEGER NOT NULL REFERENCES history_series (id),
        at INTEGER NOT NULL,
        value REAL NOT NULL,
        UNIQUE (series, at)
    ) STRICT;
    CREATE TABLE history_rollup (
        series INTEGER NOT NULL REFERENCES history_series (id),
        resolution INTEGER NOT NULL,
        start INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        minimum REAL NOT NULL,
        maximum REAL NOT NULL,
        mean REAL NOT NULL,
        last REAL NOT NULL,
        last_at INTEGER NOT NULL,
        sketch BLOB NOT NULL,
        PRIMARY KEY (series, resolution, start)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE history_state (
        check_name TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        stored_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE history_progress (rolled_up INTEGER NOT NULL) STRICT;
    INSERT INTO history_progress (rolled_up) VALUES (0);
"];

/// Rows of one statement, few sizes so that their statements are prepared once.
const CHUNKS: [usize; 4] = [1000, 100, 10, 1];

/// A history in an SQLite file, readable by its owner only, with nothing to install.
///
/// What was acknowledged survives the death of the process. It is written to the operating system and not forced to
/// the disk each time (`synchronous = NORMAL` in WAL mode): a power cut may take the last moments, and damages nothing.
#[derive(Debug)]
pub struct SqliteHistory {
    name: String,
    pool: SqlitePool,
    retention: Retention,
    ids: SeriesIds,
}

impl SqliteHistory {
    /// Opens the file, and makes it where it is missing; its folder must be there.
    ///
    /// Tables begin with `history_`, so that the file may hold other things too.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Denied`] where the file cannot be opened or made, [`ErrorKind::Malformed`]
    /// where it is no database, [`ErrorKind::InvalidConfig`] where a newer Alpha wrote it.
    pub async fn open(path: impl AsRef<Path>, retention: Retention) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        // SQLite gives the files beside the first its mode.
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        if let Err(error) = made
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            let kind = match error.kind() {
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Io,
            };
            let message = text!("could not open the history {name}", name = &name);
            return Err(Error::new(kind, message).with_source(error));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("journal_size_limit", "67108864")
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(2 * PATIENCE)
            .connect_with(options)
            .await
            .map_err(|error| failed(Doing::Opening, &name, error))?;
        let history = Self {
            name,
            pool,
            retention,
            ids: SeriesIds::default(),
        };
        history.migrate().await?;
        Ok(history)
    }

    /// Closes the file, so that everything is in it and none is left beside it.
    pub async fn close(self) {
        self.pool.close().await;
    }

    async fn migrate(&self) -> Result<()> {
        let opening = |error| failed(Doing::Opening, &self.name, error);
        let mut transaction = self.writing().await.map_err(opening)?;
        let steps = async {
            sqlx::query("CREATE TABLE IF NOT EXISTS history_version (version INTEGER NOT NULL) STRICT")
                .execute(&mut *transaction)
                .await?;
            let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM history_version")
                .fetch_one(&mut *transaction)
                .await?;
            Ok(found.unwrap_or(0))
        };
        let found = steps.await.map_err(opening)?;
        let version = check_version(&self.name, found, MIGRATIONS.len())?;
        for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
            sqlx::raw_sql(*migration)
                .execute(&mut *transaction)
                .await
                .map_err(opening)?;
            sqlx::query("INSERT INTO history_version (version) VALUES (?)")
                .bind(index as i64 + 1)
                .execute(&mut *transaction)
                .await
                .map_err(opening)?;
        }
        transaction.commit().await.map_err(opening)
    }

    /// A transaction that is the only one to write.
    async fn writing(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    async fn try_append(&self, batch: &Batch) -> sqlx::Result<usize> {
        let mut ids = self.ids.known(&batch.series);
        let mut transaction = self.writing().await?;
        add_series(&mut transaction, &batch.series, &mut ids).await?;
        let rows = batch.numbered(&ids);
        for chunk in chunks(&rows) {
            let statement = values(
                "INSERT INTO history_sample (series, at, value) VALUES ",
                3,
                chunk.len(),
                " ON CONFLICT DO NOTHING",
            );
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for (series, at, value) in chunk {
                query = query.bind(series).bind(at).bind(value);
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        self.ids.learn(&batch.series, &ids);
        Ok(rows.len())
    }

    async fn try_points(&self, query: &Query) -> sqlx::Result<Vec<(StoredSeries, Vec<Point>)>> {
        let mut transaction = self.pool.begin().await?;
        let rows: Vec<(i64, String, String, String)> = sqlx::query_as(
            "SELECT id, name, labels, unit FROM history_series
             WHERE check_name = ?1 AND (?2 IS NULL OR name = ?2)",
        )
        .bind(query.check.as_str())
        .bind(&query.name)
        .fetch_all(&mut *transaction)
        .await?;
        let series = rows.into_iter().map(|(id, name, labels, unit)| StoredSeries {
            id,
            name,
            labels,
            unit,
        });
        let series = asked(query, series.collect());
        let mut fresh = match query.resolution {
            Resolution::Raw => Vec::new(),
            _ => fresh(&mut transaction, &query.check).await?,
        };
        fresh.sort_unstable_by_key(|(series, at, _)| (*series, *at));
        let mut answer = Vec::new();
        for series in series {
            let points = match query.resolution {
                Resolution::Raw => raw_points(raw(&mut transaction, series.id, query).await?),
                resolution => {
                    let stored = rolled(&mut transaction, series.id, query).await?;
                    let first = fresh.partition_point(|(id, ..)| *id < series.id);
                    let end = fresh.partition_point(|(id, ..)| *id <= series.id);
                    merged(stored, roll_up(&fresh[first..end], &[resolution]), query)
                }
            };
            answer.push((series, points));
        }
        Ok(answer)
    }

    /// Rolls up one batch; how many rows it had.
    async fn roll_up(&self) -> sqlx::Result<u64> {
        let mut transaction = self.writing().await?;
        let rows: Vec<(i64, i64, i64, f64)> = sqlx::query_as(
            "SELECT id, series, at, value FROM history_sample
             WHERE id > (SELECT rolled_up FROM history_progress) ORDER BY id LIMIT ?",
        )
        .bind(BATCH)
        .fetch_all(&mut *transaction)
        .await?;
        let Some((last, ..)) = rows.last() else {
            return Ok(0);
        };
        let last = *last;
        let values: Vec<_> = rows
            .iter()
            .map(|&(_, series, at, value)| (series, at, value))
            .collect();
        let mut rollups = roll_up(&values, &Resolution::ROLLED);
        let known = stored(&mut transaction, &rollups).await?;
        join(&mut rollups, known);
        write_rollups(&mut transaction, &rollups).await?;
        sqlx::query("UPDATE history_progress SET rolled_up = ?")
            .bind(last)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(rows.len() as u64)
    }

    async fn drop_old(&self, now: Timestamp) -> sqlx::Result<u64> {
        let mut transaction = self.writing().await?;
        // What was not rolled up yet is kept however old it is. Going by series makes use of the index.
        let mut dropped = sqlx::query(
            "DELETE FROM history_sample WHERE series IN (SELECT id FROM history_series)
             AND at < ? AND id <= (SELECT rolled_up FROM history_progress)",
        )
        .bind(self.retention.cutoff(Resolution::Raw, now))
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        for resolution in Resolution::ROLLED {
            let rows = sqlx::query(
                "DELETE FROM history_rollup WHERE series IN (SELECT id FROM history_series)
                 AND resolution = ? AND start < ?",
            )
            .bind(seconds(resolution))
            .bind(self.retention.cutoff(resolution, now))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
            dropped += rows;
            // Every value is in the roll-up of its day, so that a series can only end with one of those.
            if resolution == Resolution::Day && rows > 0 {
                sqlx::query(
                    "DELETE FROM history_series
                     WHERE NOT EXISTS (SELECT 1 FROM history_sample WHERE series = history_series.id)
                     AND NOT EXISTS (SELECT 1 FROM history_rollup WHERE series = history_series.id)",
                )
                .execute(&mut *transaction)
                .await?;
            }
        }
        sqlx::query("DELETE FROM history_state WHERE stored_at < ?")
            .bind(self.retention.state_cutoff(now))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(dropped)
    }
}

#[async_trait]
impl History for SqliteHistory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn append(&self, samples: &[Sample]) -> Result<Appended> {
        let batch = Batch::of(samples);
        let mut result = self.try_append(&batch).await;
        if let Err(sqlx::Error::Database(error)) = &result
            && error.is_foreign_key_violation()
        {
            self.ids.forget();
            result = self.try_append(&batch).await;
        }
        let kept = result.map_err(|error| failed(Doing::Writing, &self.name, error))?;
        Ok(Appended {
            kept,
            refused: samples.len() - kept,
        })
    }

    async fn points(&self, query: &Query) -> Result<Vec<Trace>> {
        let answer = self.try_points(query).await;
        let answer = answer.map_err(|error| failed(Doing::Reading, &self.name, error))?;
        traces(&self.name, answer)
    }

    async fn load_states(&self) -> Result<Vec<(CheckId, Value)>> {
        let rows = sqlx::query_as("SELECT check_name, state FROM history_state ORDER BY check_name")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| failed(Doing::Reading, &self.name, error))?;
        states(&self.name, rows)
    }

    async fn store_states(&self, states: &[(CheckId, Value)], now: Timestamp) -> Result<()> {
        let writing = async {
            let mut transaction = self.writing().await?;
            for (check, state) in states {
                sqlx::query(
                    "INSERT OR REPLACE INTO history_state (check_name, state, stored_at) VALUES (?, ?, ?)",
                )
                .bind(check.as_str())
                .bind(state.to_string())
                .bind(now.as_microsecond())
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await
        };
        writing
            .await
            .map_err(|error| failed(Doing::Writing, &self.name, error))
    }

    async fn compact(&self, now: Timestamp) -> Result<Compaction> {
        let writing = |error| failed(Doing::Writing, &self.name, error);
        let mut rolled_up = 0;
        loop {
            let rows = self.roll_up().await.map_err(writing)?;
            rolled_up += rows;
            if rows < BATCH.unsigned_abs() {
                break;
            }
        }
        let dropped = self.drop_old(now).await.map_err(writing)?;
        Ok(Compaction { rolled_up, dropped })
    }
}

/// Fills in the numbers that are missing; a series that its check has no room for stays without one.
async fn add_series(
    transaction: &mut Transaction<'_, Sqlite>,
    series: &[(CheckId, SeriesKey)],
    ids: &mut [Option<i64>],
) -> sqlx::Result<()> {
    let mut free_places: HashMap<&CheckId, usize> = HashMap::new();
    for ((check, key), id) in series.iter().zip(ids).filter(|(_, id)| id.is_none()) {
        let labels = written(key);
        *id = sqlx::query_scalar(
            "SELECT id FROM history_series WHERE check_name = ? AND name = ? AND labels = ? AND unit = ?",
        )
        .bind(check.as_str())
        .bind(&key.name)
        .bind(&labels)
        .bind(key.unit)
        .fetch_optional(&mut **transaction)
        .await?;
        if id.is_some() {
            continue;
        }
        if !free_places.contains_key(check) {
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM history_series WHERE check_name = ?")
                .bind(check.as_str())
                .fetch_one(&mut **transaction)
                .await?;
            let counts = HashMap::from([(check.as_str().to_owned(), count)]);
            free_places.insert(check, free(&counts, check));
        }
        let Some(places) = free_places.get_mut(check).filter(|places| **places > 0) else {
            continue;
        };
        *places -= 1;
        let result =
            sqlx::query("INSERT INTO history_series (check_name, name, labels, unit) VALUES (?, ?, ?, ?)")
                .bind(check.as_str())
                .bind(&key.name)
                .bind(&labels)
                .bind(key.unit)
                .execute(&mut **transaction)
                .await?;
        *id = Some(result.last_insert_rowid());
    }
    Ok(())
}

/// The values of a check that no roll-up has yet. The plus sign keeps SQLite from going by series.
async fn fresh(
    transaction: &mut Transaction<'_, Sqlite>,
    check: &CheckId,
) -> sqlx::Result<Vec<(i64, i64, f64)>> {
    sqlx::query_as(
        "SELECT series, at, value FROM history_sample WHERE id > (SELECT rolled_up FROM history_progress)
         AND +series IN (SELECT id FROM history_series WHERE check_name = ?)",
    )
    .bind(check.as_str())
    .fetch_all(&mut **transaction)
    .await
}

/// The values of a series, newest first.
async fn raw(
    transaction: &mut Transaction<'_, Sqlite>,
    series: i64,
    query: &Query,
) -> sqlx::Result<Vec<(i64, f64)>> {
    sqlx::query_as(
        "SELECT at, value FROM history_sample WHERE series = ? AND at >= ? AND at < ? ORDER BY at DESC LIMIT ?",
    )
    .bind(series)
    .bind(query.from.as_microsecond())
    .bind(query.until.as_microsecond())
    .bind(limit(query))
    .fetch_all(&mut **transaction)
    .await
}

/// The roll-ups of a series that are stored, newest first.
async fn rolled(
    transaction: &mut Transaction<'_, Sqlite>,
    series: i64,
    query: &Query,
) -> sqlx::Result<Vec<StoredRollup>> {
    sqlx::query_as(
        "SELECT series, resolution, start, samples, minimum, maximum, mean, last, last_at, sketch FROM history_rollup
         WHERE series = ? AND resolution = ? AND start >= ? AND start < ? ORDER BY start DESC LIMIT ?",
    )
    .bind(series)
    .bind(seconds(query.resolution))
    .bind(query.from.as_microsecond())
    .bind(query.until.as_microsecond())
    .bind(limit(query))
    .fetch_all(&mut **transaction)
    .await
}

/// Those of `rollups` that are stored already.
async fn stored(
    transaction: &mut Transaction<'_, Sqlite>,
    rollups: &BTreeMap<RollupKey, Rollup>,
) -> sqlx::Result<Vec<StoredRollup>> {
    let keys: Vec<_> = rollups.keys().collect();
    let keys = serde_json::to_string(&keys).unwrap_or_default();
    sqlx::query_as(
        "SELECT series, resolution, start, samples, minimum, maximum, mean, last, last_at, sketch
         FROM json_each(?) AS asked CROSS JOIN history_rollup
         ON series = asked.value ->> 0 AND resolution = asked.value ->> 1 AND start = asked.value ->> 2",
    )
    .bind(keys)
    .fetch_all(&mut **transaction)
    .await
}

async fn write_rollups(
    transaction: &mut Transaction<'_, Sqlite>,
    rollups: &BTreeMap<RollupKey, Rollup>,
) -> sqlx::Result<()> {
    let rollups: Vec<_> = rollups.iter().collect();
    for chunk in chunks(&rollups) {
        let statement = values(
            "INSERT OR REPLACE INTO history_rollup
             (series, resolution, start, samples, minimum, maximum, mean, last, last_at, sketch) VALUES ",
            10,
            chunk.len(),
            "",
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for ((series, resolution, start), rollup) in chunk {
            query = query
                .bind(series)
                .bind(resolution)
                .bind(start)
                .bind(rollup.count.cast_signed())
                .bind(rollup.min)
                .bind(rollup.max)
                .bind(rollup.mean)
                .bind(rollup.last)
                .bind(rollup.last_at)
                .bind(rollup.sketch.encode());
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Rows in pieces of few different sizes.
fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rest.len())?;
        let (chunk, after) = rest.split_at(size);
        rest = after;
        Some(chunk)
    })
}

/// A statement with so many rows of so many placeholders.
fn values(before: &str, columns: usize, rows: usize, after: &str) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("{before}{}{after}", vec![row; rows].join(","))
}
