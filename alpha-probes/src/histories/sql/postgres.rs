//! A history in a PostgreSQL database.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};

use super::*;
use crate::history::{Appended, Compaction, History, Retention};

/// Each brings the schema from the version before it, which is its index, to the next.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE history_series (
        id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        check_name TEXT NOT NULL,
        name TEXT NOT NULL,
        labels TEXT NOT NULL,
        unit TEXT NOT NULL,
        UNIQUE (check_name, name, labels, unit)
    );
    CREATE TABLE history_sample (
        id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        series BIGINT NOT NULL REFERENCES history_series (id),
        at BIGINT NOT NULL,
        value DOUBLE PRECISION NOT NULL,
        UNIQUE (series, at)
    );
    CREATE TABLE history_rollup (
        series BIGINT NOT NULL REFERENCES history_series (id),
        resolution BIGINT NOT NULL,
        start BIGINT NOT NULL,
        samples BIGINT NOT NULL,
        minimum DOUBLE PRECISION NOT NULL,
        maximum DOUBLE PRECISION NOT NULL,
        mean DOUBLE PRECISION NOT NULL,
        last DOUBLE PRECISION NOT NULL,
        last_at BIGINT NOT NULL,
        sketch BYTEA NOT NULL,
        PRIMARY KEY (series, resolution, start)
    );
    CREATE TABLE history_state (
        check_name TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        stored_at BIGINT NOT NULL
    );
    CREATE TABLE history_progress (rolled_up BIGINT NOT NULL);
    INSERT INTO history_progress (rolled_up) VALUES (0);
"];

/// The advisory lock of all histories of one database: writers share it, compaction and migration take it alone.
///
/// Numbers of rows are given out before their transactions commit. Without the lock, compaction could go past a row
/// that becomes visible only afterwards, and never count it.
const LOCK: i64 = i64::from_be_bytes(*b"alphahis");

/// How long one transaction may take in all.
const DEADLINE: Duration = Duration::from_secs(60);

/// A history in a PostgreSQL database, version 12 or later.
///
/// What was acknowledged is as safe as the server's own `synchronous_commit` makes it.
pub struct PostgresHistory {
    name: String,
    pool: PgPool,
    options: PgConnectOptions,
    retention: Retention,
    ids: SeriesIds,
}

impl fmt::Debug for PostgresHistory {
    /// Without the connection's options, which hold the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("PostgresHistory");
        debug.field("name", &self.name).finish_non_exhaustive()
    }
}

impl PostgresHistory {
    /// Connects to `postgres://user:password@host:port/database`, and makes the tables where they are missing.
    ///
    /// Tables begin with `history_` and are in the first schema of the user's search path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an address that is none, for a database that does not exist, or one that a
    /// newer Alpha wrote; [`ErrorKind::Unreachable`], [`ErrorKind::Timeout`] or [`ErrorKind::Denied`] as the server
    /// answers.
    pub async fn open(url: &SecretString, retention: Retention) -> Result<Self> {
        // The driver's own words about a wrong address may repeat parts of it.
        let refused = || {
            Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "the address of the history is none of a PostgreSQL database: expected postgres://user:password@host:port/database"
                ),
            )
        };
        // The driver takes any scheme.
        let url = url.expose_secret();
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(refused());
        }
        let options: PgConnectOptions = url.parse().map_err(|_| refused())?;
        let name = format!(
            "postgres://{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_else(|| options.get_username())
        );
        let options = options
            .application_name("alpha")
            .options([("statement_timeout", DEADLINE.as_millis().to_string())]);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.clone());
        let history = Self {
            name,
            pool,
            options,
            retention,
            ids: SeriesIds::default(),
        };
        match history.connect().await {
            Ok(()) => history.migrate().await?,
            Err(error) => return Err(failed(Doing::Opening, &history.name, error)),
        }
        Ok(history)
    }

    /// Closes the connections.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// Connects once, besides the pool: a pool goes on trying for as long as it may, and then cannot tell why.
    async fn connect(&self) -> sqlx::Result<()> {
        let connecting = PgConnection::connect_with(&self.options);
        match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(connection) => connection?.close().await,
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    async fn migrate(&self) -> Result<()> {
        let opening = |error| failed(Doing::Opening, &self.name, error);
        let mut transaction = self.alone().await.map_err(opening)?;
        let steps = async {
            sqlx::query("CREATE TABLE IF NOT EXISTS history_version (version BIGINT NOT NULL)")
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
            sqlx::query("INSERT INTO history_version (version) VALUES ($1)")
                .bind(index as i64 + 1)
                .execute(&mut *transaction)
                .await
                .map_err(opening)?;
        }
        transaction.commit().await.map_err(opening)
    }

    /// A transaction beside which nobody compacts.
    async fn shared(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock_shared($1)")
            .bind(LOCK)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }

    /// A transaction beside which nobody writes.
    async fn alone(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }

    async fn try_append(&self, batch: &Batch) -> sqlx::Result<usize> {
        let mut ids = self.ids.known(&batch.series);
        let mut transaction = self.shared().await?;
        add_series(&mut transaction, &batch.series, &mut ids).await?;
        let rows = batch.numbered(&ids);
        // Two writers of the same rows wait for each other in the same order, and so never for ever.
        let mut sorted = rows.clone();
        sorted.sort_unstable_by_key(|(series, at, _)| (*series, *at));
        let series: Vec<i64> = sorted.iter().map(|row| row.0).collect();
        let instants: Vec<i64> = sorted.iter().map(|row| row.1).collect();
        let values: Vec<f64> = sorted.iter().map(|row| row.2).collect();
        sqlx::query(
            "INSERT INTO history_sample (series, at, value)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::double precision[]) ON CONFLICT DO NOTHING",
        )
        .bind(series)
        .bind(instants)
        .bind(values)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.ids.learn(&batch.series, &ids);
        Ok(rows.len())
    }

    async fn try_points(&self, query: &Query) -> sqlx::Result<Vec<(StoredSeries, Vec<Point>)>> {
        // One picture of roll-ups, progress and values.
        let mut transaction = self
            .pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let rows: Vec<(i64, String, String, String)> = sqlx::query_as(
            "SELECT id, name, labels, unit FROM history_series
             WHERE check_name = $1 AND ($2::text IS NULL OR name = $2)",
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
        let mut fresh: Vec<(i64, i64, f64)> = match query.resolution {
            Resolution::Raw => Vec::new(),
            _ => {
                sqlx::query_as(
                    "SELECT series, at, value FROM history_sample
                     WHERE id > (SELECT rolled_up FROM history_progress)
                     AND series IN (SELECT id FROM history_series WHERE check_name = $1)",
                )
                .bind(query.check.as_str())
                .fetch_all(&mut *transaction)
                .await?
            }
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
        let mut transaction = self.alone().await?;
        let rows: Vec<(i64, i64, i64, f64)> = sqlx::query_as(
            "SELECT id, series, at, value FROM history_sample
             WHERE id > (SELECT rolled_up FROM history_progress) ORDER BY id LIMIT $1",
        )
        .bind(BATCH)
        .fetch_all(&mut *transaction)
        .await?;
        let Some((last, ..)) = rows.last() else {
            return Ok(0);
        };
        let values: Vec<_> = rows
            .iter()
            .map(|&(_, series, at, value)| (series, at, value))
            .collect();
        let mut rollups = roll_up(&values, &Resolution::ROLLED);
        let known = stored(&mut transaction, &rollups).await?;
        join(&mut rollups, known);
        write_rollups(&mut transaction, &rollups).await?;
        sqlx::query("UPDATE history_progress SET rolled_up = $1")
            .bind(last)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(rows.len() as u64)
    }

    async fn drop_old(&self, now: Timestamp) -> sqlx::Result<u64> {
        let mut transaction = self.alone().await?;
        // What was not rolled up yet is kept however old it is.
        let mut dropped = sqlx::query(
            "DELETE FROM history_sample WHERE series IN (SELECT id FROM history_series)
             AND at < $1 AND id <= (SELECT rolled_up FROM history_progress)",
        )
        .bind(self.retention.cutoff(Resolution::Raw, now))
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        for resolution in Resolution::ROLLED {
            let rows = sqlx::query(
                "DELETE FROM history_rollup WHERE series IN (SELECT id FROM history_series)
                 AND resolution = $1 AND start < $2",
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
        sqlx::query("DELETE FROM history_state WHERE stored_at < $1")
            .bind(self.retention.state_cutoff(now))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(dropped)
    }

    async fn try_store(&self, states: &[(CheckId, Value)], now: Timestamp) -> sqlx::Result<()> {
        // Of a check that comes twice the last counts; one statement may touch a row only once.
        let states: BTreeMap<&str, String> = states
            .iter()
            .map(|(check, state)| (check.as_str(), state.to_string()))
            .collect();
        let (checks, states): (Vec<&str>, Vec<String>) = states.into_iter().unzip();
        sqlx::query(
            "INSERT INTO history_state (check_name, state, stored_at)
             SELECT *, $3 FROM unnest($1::text[], $2::text[])
             ON CONFLICT (check_name) DO UPDATE SET state = excluded.state, stored_at = excluded.stored_at",
        )
        .bind(checks)
        .bind(states)
        .bind(now.as_microsecond())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What `work` yields, unless the server stays silent for too long.
    async fn within<T>(&self, doing: Doing, work: impl Future<Output = sqlx::Result<T>> + Send) -> Result<T> {
        let result = tokio::time::timeout(DEADLINE, work).await;
        match result.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(done) => Ok(done),
            Err(sqlx::Error::PoolTimedOut) => {
                let why = self.connect().await.err().unwrap_or(sqlx::Error::PoolTimedOut);
                Err(failed(doing, &self.name, why))
            }
            Err(error) => Err(failed(doing, &self.name, error)),
        }
    }
}

#[async_trait]
impl History for PostgresHistory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn append(&self, samples: &[Sample]) -> Result<Appended> {
        let batch = Batch::of(samples);
        let appending = async {
            match self.try_append(&batch).await {
                Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                    self.ids.forget();
                    self.try_append(&batch).await
                }
                result => result,
            }
        };
        let kept = self.within(Doing::Writing, appending).await?;
        Ok(Appended {
            kept,
            refused: samples.len() - kept,
        })
    }

    async fn points(&self, query: &Query) -> Result<Vec<Trace>> {
        let answer = self.within(Doing::Reading, self.try_points(query)).await?;
        traces(&self.name, answer)
    }

    async fn load_states(&self) -> Result<Vec<(CheckId, Value)>> {
        let statement = r#"SELECT check_name, state FROM history_state ORDER BY check_name COLLATE "C""#;
        let rows = sqlx::query_as(statement).fetch_all(&self.pool);
        states(&self.name, self.within(Doing::Reading, rows).await?)
    }

    async fn store_states(&self, states: &[(CheckId, Value)], now: Timestamp) -> Result<()> {
        self.within(Doing::Writing, self.try_store(states, now)).await
    }

    async fn compact(&self, now: Timestamp) -> Result<Compaction> {
        let mut rolled_up = 0;
        loop {
            let rows = self.within(Doing::Writing, self.roll_up()).await?;
            rolled_up += rows;
            if rows < BATCH.unsigned_abs() {
                break;
            }
        }
        let dropped = self.within(Doing::Writing, self.drop_old(now)).await?;
        Ok(Compaction { rolled_up, dropped })
    }
}

/// Fills in the numbers that are missing; a series that its check has no room for stays without one.
async fn add_series(
    transaction: &mut Transaction<'_, Postgres>,
    series: &[(CheckId, SeriesKey)],
    ids: &mut [Option<i64>],
) -> sqlx::Result<()> {
    read_series(transaction, series, ids).await?;
    let mut checks: Vec<&str> = series
        .iter()
        .zip(&*ids)
        .filter(|(_, id)| id.is_none())
        .map(|((check, _), _)| check.as_str())
        .collect();
    if checks.is_empty() {
        return Ok(());
    }
    checks.dedup();
    let counts: Vec<(String, i64)> = sqlx::query_as(
        "SELECT check_name, count(*) FROM history_series WHERE check_name = ANY($1) GROUP BY check_name",
    )
    .bind(checks)
    .fetch_all(&mut **transaction)
    .await?;
    let counts: HashMap<String, i64> = counts.into_iter().collect();
    let mut places: HashMap<&CheckId, usize> = HashMap::new();
    let mut new: Vec<(&str, &str, String, &str)> = Vec::new();
    for ((check, key), _) in series.iter().zip(&*ids).filter(|(_, id)| id.is_none()) {
        let places = places.entry(check).or_insert_with(|| free(&counts, check));
        if *places > 0 {
            *places -= 1;
            new.push((check.as_str(), &key.name, written(key), key.unit));
        }
    }
    new.sort();
    sqlx::query(
        "INSERT INTO history_series (check_name, name, labels, unit)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING",
    )
    .bind(new.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(new.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(new.iter().map(|row| row.2.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|row| row.3).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    read_series(transaction, series, ids).await
}

/// Fills in the numbers that are missing of series that are there.
async fn read_series(
    transaction: &mut Transaction<'_, Postgres>,
    series: &[(CheckId, SeriesKey)],
    ids: &mut [Option<i64>],
) -> sqlx::Result<()> {
    let missing: Vec<usize> = (0..series.len()).filter(|index| ids[*index].is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let labels: Vec<String> = missing.iter().map(|index| written(&series[*index].1)).collect();
    let column = |of: fn(&(CheckId, SeriesKey)) -> &str| -> Vec<&str> {
        missing.iter().map(|index| of(&series[*index])).collect()
    };
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT asked.place, known.id
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
             AS asked (place, check_name, name, labels, unit)
         JOIN history_series AS known USING (check_name, name, labels, unit)",
    )
    .bind(missing.iter().map(|index| *index as i64).collect::<Vec<_>>())
    .bind(column(|(check, _)| check.as_str()))
    .bind(column(|(_, key)| &key.name))
    .bind(labels)
    .bind(column(|(_, key)| key.unit))
    .fetch_all(&mut **transaction)
    .await?;
    for (index, id) in found {
        ids[index as usize] = Some(id);
    }
    Ok(())
}

/// The values of a series, newest first.
async fn raw(
    transaction: &mut Transaction<'_, Postgres>,
    series: i64,
    query: &Query,
) -> sqlx::Result<Vec<(i64, f64)>> {
    sqlx::query_as(
        "SELECT at, value FROM history_sample WHERE series = $1 AND at >= $2 AND at < $3
         ORDER BY at DESC LIMIT $4",
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
    transaction: &mut Transaction<'_, Postgres>,
    series: i64,
    query: &Query,
) -> sqlx::Result<Vec<StoredRollup>> {
    sqlx::query_as(
        "SELECT series, resolution, start, samples, minimum, maximum, mean, last, last_at, sketch FROM history_rollup
         WHERE series = $1 AND resolution = $2 AND start >= $3 AND start < $4 ORDER BY start DESC LIMIT $5",
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
    transaction: &mut Transaction<'_, Postgres>,
    rollups: &BTreeMap<RollupKey, Rollup>,
) -> sqlx::Result<Vec<StoredRollup>> {
    sqlx::query_as(
        "SELECT series, resolution, start, samples, minimum, maximum, mean, last, last_at, sketch
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS asked (series, resolution, start)
         JOIN history_rollup USING (series, resolution, start)",
    )
    .bind(rollups.keys().map(|key| key.0).collect::<Vec<_>>())
    .bind(rollups.keys().map(|key| key.1).collect::<Vec<_>>())
    .bind(rollups.keys().map(|key| key.2).collect::<Vec<_>>())
    .fetch_all(&mut **transaction)
    .await
}

async fn write_rollups(
    transaction: &mut Transaction<'_, Postgres>,
    rollups: &BTreeMap<RollupKey, Rollup>,
) -> sqlx::Result<()> {
    let numbers = |of: fn(&Rollup) -> f64| -> Vec<f64> { rollups.values().map(of).collect() };
    sqlx::query(
        "INSERT INTO history_rollup
         (series, resolution, start, samples, minimum, maximum, mean, last, last_at, sketch)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::double precision[],
             $6::double precision[], $7::double precision[], $8::double precision[], $9::bigint[], $10::bytea[])
         ON CONFLICT (series, resolution, start) DO UPDATE SET samples = excluded.samples,
             minimum = excluded.minimum, maximum = excluded.maximum, mean = excluded.mean,
             last = excluded.last, last_at = excluded.last_at, sketch = excluded.sketch",
    )
    .bind(rollups.keys().map(|key| key.0).collect::<Vec<_>>())
    .bind(rollups.keys().map(|key| key.1).collect::<Vec<_>>())
    .bind(rollups.keys().map(|key| key.2).collect::<Vec<_>>())
    .bind(
        rollups
            .values()
            .map(|rollup| rollup.count.cast_signed())
            .collect::<Vec<_>>(),
    )
    .bind(numbers(|rollup| rollup.min))
    .bind(numbers(|rollup| rollup.max))
    .bind(numbers(|rollup| rollup.mean))
    .bind(numbers(|rollup| rollup.last))
    .bind(rollups.values().map(|rollup| rollup.last_at).collect::<Vec<_>>())
    .bind(
        rollups
            .values()
            .map(|rollup| rollup.sketch.encode())
            .collect::<Vec<_>>(),
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
