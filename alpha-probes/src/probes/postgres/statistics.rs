//! What PostgreSQL tells of itself: <https://www.postgresql.org/docs/current/monitoring-stats.html>.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::time::Instant;

use super::PostgresProbe;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::Context;
use crate::text;

/// The oldest version that is asked: 12 of 2019, whose `pg_stat_replication` first tells when a standby last spoke.
const OLDEST: i64 = 120_000;

/// One row about the server and the database.
///
/// The statement knows what it may see: without the role `pg_read_all_stats` the columns of other sessions are empty,
/// and counting them would find nobody idle and nothing long.
const SERVER: &str = "
WITH me AS (
    SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all, pg_is_in_recovery() AS is_standby
), clients AS (
    SELECT pid, usename, datname, application_name, state, xact_start
    FROM pg_stat_activity
    WHERE backend_type = 'client backend'
), oldest AS (
    SELECT * FROM clients WHERE pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1
), here AS (
    SELECT * FROM pg_stat_database WHERE datname = current_database()
), rows AS (
    SELECT sum(n_dead_tup) AS dead, sum(n_live_tup + n_dead_tup) AS everything FROM pg_stat_user_tables
), wal AS (
    SELECT CASE WHEN is_standby THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS position FROM me
)
SELECT
    current_setting('server_version') AS version,
    is_standby,
    sees_all,
    extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS uptime,
    CASE WHEN sees_all THEN (SELECT count(*) FROM clients)
         ELSE (SELECT sum(numbackends) FROM pg_stat_database) END::float8 AS connections,
    (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0))::float8 AS connections_max,
    CASE WHEN sees_all THEN (SELECT count(*) FROM clients WHERE state LIKE 'idle in transaction%') END::float8
        AS connections_idle_in_transaction,
    CASE WHEN sees_all THEN
        coalesce((SELECT extract(epoch FROM clock_timestamp() - xact_start) FROM oldest), 0) END::float8
        AS longest_transaction,
    (SELECT format('user %s, database %s, application %s, pid %s, %s', usename, datname,
        coalesce(nullif(application_name, ''), '-'), pid, state) FROM oldest) AS longest_transaction_by,
    (SELECT xact_commit FROM here)::float8 AS commits,
    (SELECT xact_rollback FROM here)::float8 AS rollbacks,
    (SELECT deadlocks FROM here)::float8 AS deadlocks,
    (SELECT temp_bytes FROM here)::float8 AS temporary_bytes,
    (SELECT blks_hit FROM here)::float8 AS blocks_hit,
    (SELECT blks_read FROM here)::float8 AS blocks_read,
    coalesce((SELECT stats_reset FROM here), pg_postmaster_start_time())::text AS counted_since,
    extract(epoch FROM coalesce((SELECT stats_reset FROM here), pg_postmaster_start_time()))::float8
        AS counted_since_seconds,
    pg_database_size(current_database())::float8 AS database_size,
    CASE WHEN NOT is_standby THEN (SELECT dead / nullif(everything, 0) FROM rows) END::float8 AS dead_rows,
    (SELECT greatest(max(age(datfrozenxid)), max(mxid_age(datminmxid))) FROM pg_database)::float8 / 2147483648
        AS xid_age,
    CASE WHEN is_standby THEN EXISTS (SELECT FROM pg_stat_wal_receiver) END AS replication_connected,
    CASE WHEN is_standby THEN
        CASE WHEN EXISTS (SELECT FROM pg_stat_wal_receiver) AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
             THEN 0
             ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END
        END::float8 AS replication_lag,
    (SELECT count(*) FROM pg_replication_slots WHERE NOT active)::float8 AS slots_inactive,
    (SELECT max(pg_wal_lsn_diff(position, restart_lsn)) FROM pg_replication_slots, wal)::float8 AS wal_retained,
    (SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements')
        AS statements_schema
FROM me";

/// A row for each standby, on a primary.
///
/// `replay_lag` stays at its last value where a standby stops answering, so that the silence counts as well. A copy
/// that is being made is no standby.
const STANDBYS: &str = "
SELECT
    coalesce(nullif(application_name, ''), pid::text) AS standby,
    coalesce(host(client_addr), 'local') AS address,
    CASE WHEN replay_lsn IS NULL THEN NULL
         WHEN replay_lsn >= pg_current_wal_lsn() THEN 0
         ELSE greatest(coalesce(extract(epoch FROM replay_lag), 0),
                       extract(epoch FROM clock_timestamp() - reply_time)) END::float8 AS lag,
    pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8 AS lag_bytes
FROM pg_stat_replication
WHERE state IS DISTINCT FROM 'backup'
ORDER BY 1, 2
LIMIT 100";

/// How often blocks were found in memory and how often not, since the counters began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blocks {
    hit: f64,
    read: f64,
    /// When the counters began.
    began: String,
    at: Timestamp,
}

impl Blocks {
    /// What was added since `earlier`; nothing where the counters began anew.
    fn since(&self, earlier: &Self) -> Option<Self> {
        let is_same = self.began == earlier.began && self.hit >= earlier.hit && self.read >= earlier.read;
        is_same.then(|| Self {
            hit: self.hit - earlier.hit,
            read: self.read - earlier.read,
            began: self.began.clone(),
            at: earlier.at,
        })
    }

    /// The share found in memory; nothing where none was asked for.
    fn ratio(&self) -> Option<f64> {
        let all = self.hit + self.read;
        (all > 0.0).then(|| self.hit / all)
    }
}

impl PostgresProbe {
    /// Everything that is asked on one connection.
    ///
    /// # Errors
    /// The outer one is of the connection; the inner one says that the server is too old.
    pub(super) async fn take_stock(
        &self,
        context: &Context<'_>,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Result<Observation>> {
        let started = Instant::now();
        let version =
            raw_sql("SELECT current_setting('server_version_num')::int8, current_setting('server_version')")
                .fetch_one(&mut *connection)
                .await?;
        let query_time = started.elapsed();
        let number: i64 = version.try_get(0)?;
        if number < OLDEST {
            let text = text!(
                "PostgreSQL at {target} is version {version}; 12 is the oldest that can be asked",
                target = &self.target,
                version = version.try_get::<String, _>(1)?
            );
            return Ok(Err(Error::new(ErrorKind::TooOld, text)));
        }
        let row = raw_sql(SERVER).fetch_one(&mut *connection).await?;
        let mut observation = Observation::new().with_seconds("query_time", query_time);
        self.tell_server(&row, context.clock.now(), &mut observation)?;
        if !row.try_get::<bool, _>("is_standby")? {
            tell_standbys(connection, &mut observation).await?;
        }
        let schema: Option<String> = row.try_get("statements_schema")?;
        self.tell_statements(connection, schema, number, &mut observation)
            .await?;
        self.tell_queries(connection, &mut observation).await?;
        Ok(Ok(observation))
    }

    fn tell_server(&self, row: &PgRow, now: Timestamp, observation: &mut Observation) -> sqlx::Result<()> {
        let is_standby: bool = row.try_get("is_standby")?;
        let role = if is_standby { "standby" } else { "primary" };
        for (fact, value) in [
            ("version", Some(row.try_get("version")?)),
            ("role", Some(role.to_owned())),
            ("user", Some(self.login.user.clone())),
            ("database", Some(self.login.database.clone())),
            ("longest_transaction_by", row.try_get("longest_transaction_by")?),
        ] {
            if let Some(value) = value {
                observation.facts.insert(fact.into(), value.into());
            }
        }
        for name in ["sees_all", "replication_connected"] {
            if let Some(yes) = row.try_get::<Option<bool>, _>(name)? {
                observation.push(name, f64::from(u8::from(yes)), Unit::Boolean, Vec::new());
            }
        }
        for (name, unit) in [
            ("uptime", Unit::Seconds),
            ("connections", Unit::Count),
            ("connections_max", Unit::Count),
            ("connections_idle_in_transaction", Unit::Count),
            ("longest_transaction", Unit::Seconds),
            ("commits", Unit::Count),
            ("rollbacks", Unit::Count),
            ("deadlocks", Unit::Count),
            ("temporary_bytes", Unit::Bytes),
            ("database_size", Unit::Bytes),
            ("dead_rows", Unit::Ratio),
            ("xid_age", Unit::Ratio),
            ("replication_lag", Unit::Seconds),
            ("slots_inactive", Unit::Count),
            ("wal_retained", Unit::Bytes),
        ] {
            if let Some(value) = row.try_get::<Option<f64>, _>(name)? {
                // Two clocks that differ do not make a negative age.
                observation.push(name, value.max(0.0), unit, Vec::new());
            }
        }
        if let (Some(used), Some(limit)) = (
            observation.value("connections"),
            observation.value("connections_max"),
        ) {
            observation.push(
                "connections_share",
                used / limit.max(1.0),
                Unit::Ratio,
                Vec::new(),
            );
        }
        let seconds: f64 = row.try_get("counted_since_seconds")?;
        let began_at = Timestamp::from_second(seconds as i64).unwrap_or(now);
        let blocks = Blocks {
            hit: row.try_get("blocks_hit")?,
            read: row.try_get("blocks_read")?,
            began: row.try_get("counted_since")?,
            at: now,
        };
        self.tell_cache(blocks, began_at, observation);
        Ok(())
    }

    /// The ratio of what was read since the last look, or since the counters began where this is the first.
    fn tell_cache(&self, blocks: Blocks, began: Timestamp, observation: &mut Observation) {
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let before = earlier.replace(blocks.clone());
        let added = before.and_then(|before| blocks.since(&before));
        let counted = added.unwrap_or(Blocks { at: began, ..blocks });
        if let Some(ratio) = counted.ratio() {
            observation.push("cache_hit", ratio, Unit::Ratio, Vec::new());
            observation
                .facts
                .insert("cache_hit_since".into(), counted.at.to_string().into());
        }
    }

    /// The slow statements, as far as the extension that counts them is there and loaded.
    async fn tell_statements(
        &self,
        connection: &mut PgConnection,
        schema: Option<String>,
        version: i64,
        observation: &mut Observation,
    ) -> sqlx::Result<()> {
        let Some(schema) = schema else {
            observation
                .facts
                .insert("pg_stat_statements".into(), "not installed".into());
            return Ok(());
        };
        raw_sql("SAVEPOINT statements").execute(&mut *connection).await?;
        let sql = slow_statements(&schema, version, self.slow);
        match raw_sql(AssertSqlSafe(sql)).fetch_one(&mut *connection).await {
            Ok(row) => {
                let count: f64 = row.try_get(0)?;
                observation.push("slow_statements", count, Unit::Count, Vec::new());
                let slowest: String = row.try_get(1)?;
                let slowest = serde_json::from_str(&slowest).unwrap_or(Value::Null);
                if count > 0.0 {
                    observation.facts.insert("slowest_statements".into(), slowest);
                }
                Ok(())
            }
            Err(sqlx::Error::Database(refused)) => {
                raw_sql("ROLLBACK TO SAVEPOINT statements")
                    .execute(&mut *connection)
                    .await?;
                let why = refused.message().to_owned();
                observation.facts.insert("pg_stat_statements".into(), why.into());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn tell_queries(
        &self,
        connection: &mut PgConnection,
        observation: &mut Observation,
    ) -> sqlx::Result<()> {
        let mut errors = Vec::new();
        for query in &self.queries {
            match query.ask(connection).await? {
                Ok(mut measurements) => observation.measurements.append(&mut measurements),
                Err(why) => errors.push(Value::from(format!("{}: {why}", query.name))),
            }
        }
        observation.push("queries_failed", errors.len() as f64, Unit::Count, Vec::new());
        if !errors.is_empty() {
            observation.facts.insert("query_errors".into(), errors.into());
        }
        Ok(())
    }
}

async fn tell_standbys(connection: &mut PgConnection, observation: &mut Observation) -> sqlx::Result<()> {
    let rows = raw_sql(STANDBYS).fetch_all(&mut *connection).await?;
    observation.push("standbys", rows.len() as f64, Unit::Count, Vec::new());
    for row in rows {
        let labels = vec![
            ("standby".into(), row.try_get("standby")?),
            ("address".into(), row.try_get("address")?),
        ];
        if let Some(lag) = row.try_get::<Option<f64>, _>("lag")? {
            observation.push("replication_lag", lag.max(0.0), Unit::Seconds, labels.clone());
        }
        if let Some(bytes) = row.try_get::<Option<f64>, _>("lag_bytes")? {
            observation.push("replication_lag_bytes", bytes.max(0.0), Unit::Bytes, labels);
        }
    }
    Ok(())
}

/// How many statements of this database are slow, and the five slowest.
///
/// Constants in the text of these are replaced by parameters. Other statements are kept as they were written, the
/// passwords in them included, and are left out.
fn slow_statements(schema: &str, version: i64, slow: Duration) -> String {
    let mean = if version >= 130_000 {
        "mean_exec_time"
    } else {
        "mean_time"
    };
    let limit = slow.as_millis();
    format!(
        "WITH slow AS (
            SELECT left(query, 200) AS query, calls, round({mean}::numeric / 1000, 3) AS mean_seconds
            FROM {schema}.pg_stat_statements
            WHERE {mean} > {limit}
                AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND query ~* '^\\s*(select|insert|update|delete|with|merge)\\s'
        ), slowest AS (SELECT * FROM slow ORDER BY mean_seconds DESC LIMIT 5)
        SELECT (SELECT count(*) FROM slow)::float8,
            coalesce((SELECT json_agg(row_to_json(slowest)) FROM slowest), '[]')::text"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_count_since_the_last_look_unless_the_counters_began_anew() {
        let blocks = |hit, read, began: &str| Blocks {
            hit,
            read,
            began: began.to_owned(),
            at: Timestamp::UNIX_EPOCH,
        };
        let earlier = blocks(990.0, 10.0, "monday");
        assert_eq!(
            blocks(991.0, 19.0, "monday").since(&earlier).unwrap().ratio(),
            Some(0.1)
        );
        assert_eq!(earlier.since(&earlier).unwrap().ratio(), None);
        assert_eq!(blocks(991.0, 19.0, "tuesday").since(&earlier), None);
        assert_eq!(blocks(5.0, 19.0, "monday").since(&earlier), None);
    }
}
