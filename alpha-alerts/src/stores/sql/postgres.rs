//! A store in a PostgreSQL database.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::Mutex;

use super::*;
use crate::audit::AuditEntry;
use crate::command::Command;
use crate::notification::IntegrationId;
use crate::store::{Cancel, Changes, Lease, Store, Trail};

/// Each brings the schema from the version before it, which is its index, to the next.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE alert_record (
        kind TEXT NOT NULL,
        id BYTEA NOT NULL,
        body BYTEA NOT NULL,
        PRIMARY KEY (kind, id)
    );
    CREATE TABLE alert_outbox (
        sequence BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        id BYTEA NOT NULL UNIQUE,
        group_hash BIGINT NOT NULL,
        integration TEXT NOT NULL,
        group_key BYTEA NOT NULL,
        incident BIGINT,
        priority BIGINT NOT NULL,
        state BIGINT NOT NULL DEFAULT 0,
        not_before BIGINT NOT NULL,
        attempts BIGINT NOT NULL DEFAULT 0,
        worker TEXT,
        claimed_until BIGINT,
        is_uncertain BOOLEAN NOT NULL DEFAULT FALSE,
        created_at BIGINT NOT NULL,
        changed_at BIGINT NOT NULL,
        detail TEXT,
        cancelled TEXT,
        merged_into BYTEA,
        body BYTEA NOT NULL
    );
    CREATE INDEX alert_outbox_group ON alert_outbox (group_hash);
    CREATE INDEX alert_outbox_queue ON alert_outbox (group_hash, integration, sequence) WHERE state = 0;
    CREATE INDEX alert_outbox_due ON alert_outbox (priority, not_before, sequence) WHERE state = 0 AND worker IS NULL;
    CREATE INDEX alert_outbox_claimed ON alert_outbox (claimed_until) WHERE state = 0 AND worker IS NOT NULL;
    CREATE INDEX alert_outbox_incident ON alert_outbox (incident) WHERE state = 0 AND incident IS NOT NULL;
    CREATE INDEX alert_outbox_over ON alert_outbox (changed_at) WHERE state <> 0;
    CREATE TABLE alert_suppression (
        sequence BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        at BIGINT NOT NULL,
        group_hash BIGINT NOT NULL,
        body BYTEA NOT NULL
    );
    CREATE INDEX alert_suppression_group ON alert_suppression (group_hash);
    CREATE INDEX alert_suppression_at ON alert_suppression (at);
    CREATE TABLE alert_audit (
        sequence BIGINT PRIMARY KEY,
        body BYTEA NOT NULL
    );
    CREATE TABLE alert_inbox (
        position BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        body BYTEA NOT NULL
    );
    CREATE TABLE alert_lease (fence BIGINT NOT NULL, holder TEXT, until BIGINT NOT NULL);
    INSERT INTO alert_lease (fence, until) VALUES (0, 0);
"];

/// The advisory lock that whoever adds to the outbox or to the inbox takes.
///
/// Numbers of rows are given out before their transactions commit. Without the lock, one that stands earlier in a queue
/// could become visible when a later one is on its way already.
const LOCK: i64 = i64::from_be_bytes(*b"alphaout");

/// The advisory lock under which the tables are made.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"alphaale");

/// Where the stores of one database tell each other of changes.
const CHANNEL: &str = "alert_store";

/// Connections of one store, one of which only listens.
const CONNECTIONS: u32 = 6;

/// After so long the server ends a transaction in which nothing happens. A future that is dropped at the wrong moment can leave
/// one behind, with its locks, in a connection that the driver keeps waiting; others wait for [`PATIENCE`], which is longer.
const ABANDONED_AFTER: Duration = Duration::from_secs(3);

/// How long one transaction may take in all.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often a transaction is tried that the server ended so that another one could go on.
const TRIES: u32 = 5;

/// How long to wait before listening is tried again, from the first time to the most.
const LISTEN_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A store in a PostgreSQL database, version 12 or later, which several instances may share.
///
/// What was acknowledged is as safe as the server's own `synchronous_commit` makes it. The instances' clocks must agree to
/// within a small part of the lease, because who leads and what is claimed ends at an instant.
pub struct PostgresStore {
    name: String,
    pool: PgPool,
    options: PgConnectOptions,
    /// Tells this store's own changes from those of others.
    tag: String,
    listener: Mutex<Option<PgListener>>,
}

impl fmt::Debug for PostgresStore {
    /// Without the connection's options, which hold the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("PostgresStore");
        debug.field("name", &self.name).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database`, and makes the tables where they are missing.
    ///
    /// Tables begin with `alert_` and are in the first schema of the user's search path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an address that is none, for a database that does not exist, or one that a newer
    /// Alpha wrote; [`ErrorKind::Unavailable`] or [`ErrorKind::Denied`] as the server answers.
    pub async fn connect(url: &SecretString) -> Result<Self> {
        // The driver's own words about a wrong address may repeat parts of it.
        let refused = || {
            Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "the address of the store is none of a PostgreSQL database: expected postgres://user:password@host:port/database"
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
            .options([
                ("statement_timeout", DEADLINE.as_millis().to_string()),
                (
                    "idle_in_transaction_session_timeout",
                    ABANDONED_AFTER.as_millis().to_string(),
                ),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.clone());
        let store = Self {
            name,
            pool,
            options,
            tag: Uuid::new_v4().simple().to_string(),
            listener: Mutex::new(None),
        };
        store
            .try_connect()
            .await
            .map_err(|error| failed(Doing::Opening, &store.name, error))?;
        store
            .migrate()
            .await
            .map_err(|failure| failure.told(Doing::Opening, &store.name))?;
        Ok(store)
    }

    /// Closes the connections.
    pub async fn close(self) {
        self.listener.lock().await.take();
        self.pool.close().await;
    }

    /// Connects once, besides the pool: a pool goes on trying for as long as it may, and then cannot tell why.
    async fn try_connect(&self) -> sqlx::Result<()> {
        let connecting = PgConnection::connect_with(&self.options);
        match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(connection) => connection?.close().await,
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    async fn migrate(&self) -> Result<(), Failure> {
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, MIGRATION_LOCK).await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS alert_version (version BIGINT NOT NULL)")
            .execute(&mut *transaction)
            .await?;
        let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM alert_version")
            .fetch_one(&mut *transaction)
            .await?;
        let version = check_version(&self.name, found.unwrap_or(0), MIGRATIONS.len())?;
        for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
            sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO alert_version (version) VALUES ($1)")
                .bind(index as i64 + 1)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// What `work` yields, tried again where the server ended it in favour of another, unless it takes too long in all.
    async fn within<'a, T: Send>(
        &'a self,
        doing: Doing,
        work: impl Fn() -> BoxFuture<'a, Result<T, Failure>> + Send + Sync,
    ) -> Result<T> {
        let trying = async {
            let mut tries = 1;
            loop {
                match work().await {
                    Err(Failure::Sql(error)) if tries < TRIES && is_in_favour_of_another(&error) => {
                        tries += 1
                    }
                    result => return result,
                }
            }
        };
        let result = tokio::time::timeout(DEADLINE, trying).await;
        match result.unwrap_or(Err(Failure::Sql(sqlx::Error::PoolTimedOut))) {
            Ok(done) => Ok(done),
            Err(Failure::Sql(sqlx::Error::PoolTimedOut)) => {
                let why = self
                    .try_connect()
                    .await
                    .err()
                    .unwrap_or(sqlx::Error::PoolTimedOut);
                Err(failed(doing, &self.name, why))
            }
            Err(failure) => Err(failure.told(doing, &self.name)),
        }
    }

    /// Tells the other instances once the transaction is committed.
    async fn notify(&self, transaction: &mut Transaction<'_, Postgres>) -> sqlx::Result<()> {
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(&self.tag)
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }

    async fn try_lead(&self, lease: &Lease) -> Result<Option<Fence>, Failure> {
        let until = micros_not_before(lease.until);
        let number: Option<i64> = sqlx::query_scalar(
            "UPDATE alert_lease SET fence = CASE WHEN holder = $1 THEN fence ELSE fence + 1 END, holder = $1, until = $2
             WHERE holder IS NULL OR holder = $1 OR until <= $3 RETURNING fence",
        )
        .bind(lease.holder.as_str())
        .bind(until)
        .bind(micros(lease.now))
        .fetch_optional(&self.pool)
        .await?;
        Ok(number.map(fence))
    }

    async fn try_resign(&self, fence: Fence) -> Result<(), Failure> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE alert_lease SET holder = NULL, until = 0 WHERE fence = $1")
            .bind(fence.0.cast_signed())
            .execute(&mut *transaction)
            .await?;
        self.notify(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn try_commit(
        &self,
        fence: Fence,
        changes: &Changes,
        claim: &Claim,
    ) -> Result<Vec<Delivery>, Failure> {
        let mut new = New::all(&self.name, &changes.notifications)?;
        let mut transaction = self.pool.begin().await?;
        // The lock on the row keeps others from taking over until this is written.
        let number: i64 = sqlx::query_scalar("SELECT fence FROM alert_lease FOR SHARE")
            .fetch_one(&mut *transaction)
            .await?;
        if number != fence.0.cast_signed() {
            return Err(fenced(&self.name).into());
        }
        put(&mut transaction, &changes.puts).await?;
        delete(&mut transaction, &changes.deletes).await?;
        for cancel in &changes.cancels {
            cancel_incident(&mut transaction, cancel, claim.now).await?;
        }
        if !new.is_empty() {
            lock(&mut transaction, LOCK).await?;
            let occupied = occupied(&mut transaction, &new).await?;
            New::claim_first_of_each(&mut new, occupied);
            add(&mut transaction, &new, claim.now, Some(claim)).await?;
        }
        suppress(&self.name, &mut transaction, &changes.suppressions).await?;
        log(&self.name, &mut transaction, &changes.audit).await?;
        if !changes.consumed.is_empty() {
            let positions: Vec<i64> = changes
                .consumed
                .iter()
                .map(|position| position.cast_signed())
                .collect();
            sqlx::query("DELETE FROM alert_inbox WHERE position = ANY($1)")
                .bind(positions)
                .execute(&mut *transaction)
                .await?;
        }
        if !changes.is_empty() {
            self.notify(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(New::deliveries(&new))
    }

    async fn try_claim(
        &self,
        claim: &Claim,
        count: usize,
        except: &[IntegrationId],
    ) -> Result<Vec<Delivery>, Failure> {
        let mut transaction = self.pool.begin().await?;
        release(&mut transaction, claim.now).await?;
        // Heads that another instance is about to claim are its own.
        let heads: Vec<i64> = sqlx::query_scalar(
            "SELECT sequence FROM alert_outbox AS due
             WHERE state = 0 AND worker IS NULL AND not_before <= $1 AND integration <> ALL($2)
             AND NOT EXISTS (
                 SELECT 1 FROM alert_outbox AS older WHERE older.state = 0 AND older.group_hash = due.group_hash
                 AND older.integration = due.integration AND older.sequence < due.sequence)
             ORDER BY priority, not_before, sequence LIMIT $3 FOR UPDATE SKIP LOCKED",
        )
        .bind(micros(claim.now))
        .bind(except.iter().map(IntegrationId::as_str).collect::<Vec<_>>())
        .bind(limit(count))
        .fetch_all(&mut *transaction)
        .await?;
        if heads.is_empty() {
            transaction.commit().await?;
            return Ok(Vec::new());
        }
        let rows: Vec<Stored> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {STORED} FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (sequence, place)
             JOIN alert_outbox AS head ON head.sequence = asked.sequence
             JOIN alert_outbox AS outbox ON outbox.state = 0 AND outbox.group_hash = head.group_hash
                 AND outbox.integration = head.integration AND outbox.group_key = head.group_key
             ORDER BY asked.place, outbox.sequence FOR UPDATE OF outbox"
        )))
        .bind(heads)
        .fetch_all(&mut *transaction)
        .await?;
        let taken = taken(&self.name, rows)?;
        write_claims(&mut transaction, &Claiming::of(&self.name, &taken)?, claim).await?;
        transaction.commit().await?;
        Ok(taken.into_iter().map(|taken| taken.delivery).collect())
    }

    async fn try_settle(&self, worker: &str, settlements: &[Settlement]) -> Result<(), Failure> {
        let settled: Vec<_> = settlements.iter().map(Settled::of).collect();
        let mut transaction = self.pool.begin().await?;
        let kept: Vec<Vec<u8>> = sqlx::query_scalar(
            "UPDATE alert_outbox SET
                 state = CASE WHEN settled.state = 0 AND cancelled IS NOT NULL THEN 3 ELSE settled.state END,
                 attempts = attempts + settled.attempted,
                 worker = NULL,
                 claimed_until = NULL,
                 not_before = coalesce(settled.not_before, alert_outbox.not_before),
                 is_uncertain = coalesce(settled.is_uncertain, alert_outbox.is_uncertain),
                 changed_at = settled.at,
                 detail = CASE WHEN settled.state <> 0 THEN settled.detail
                     ELSE coalesce(cancelled, settled.detail, alert_outbox.detail) END
             FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::boolean[], $7::text[])
                 AS settled (id, at, state, attempted, not_before, is_uncertain, detail)
             WHERE alert_outbox.id = settled.id AND alert_outbox.state = 0 AND alert_outbox.worker = $8
             RETURNING alert_outbox.id",
        )
        .bind(settled.iter().map(|settled| settled.id).collect::<Vec<_>>())
        .bind(settled.iter().map(|settled| settled.at).collect::<Vec<_>>())
        .bind(settled.iter().map(|settled| settled.state).collect::<Vec<_>>())
        .bind(settled.iter().map(|settled| settled.attempted).collect::<Vec<_>>())
        .bind(settled.iter().map(|settled| settled.not_before).collect::<Vec<_>>())
        .bind(settled.iter().map(|settled| settled.is_uncertain).collect::<Vec<_>>())
        .bind(settled.iter().map(|settled| settled.detail.map(storable)).collect::<Vec<_>>())
        .bind(worker)
        .fetch_all(&mut *transaction)
        .await?;
        let follow_ups = follow_ups(settlements, &kept);
        if !follow_ups.is_empty() {
            lock(&mut transaction, LOCK).await?;
            for (follow_up, at) in follow_ups {
                let present: Option<i64> =
                    sqlx::query_scalar("SELECT sequence FROM alert_outbox WHERE id = $1")
                        .bind(follow_up.id.0.as_bytes().as_slice())
                        .fetch_optional(&mut *transaction)
                        .await?;
                if present.is_none() {
                    add(&mut transaction, &New::all(&self.name, [follow_up])?, at, None).await?;
                }
            }
        }
        // What was not sent may be told by another instance, and so may what stood behind what was.
        if !kept.is_empty() {
            self.notify(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn try_submit(&self, commands: &[Command]) -> Result<(), Failure> {
        let bodies = commands.iter().map(|command| json(&self.name, command));
        let bodies: Vec<Vec<u8>> = bodies.collect::<Result<_>>()?;
        let mut transaction = self.pool.begin().await?;
        lock(&mut transaction, LOCK).await?;
        sqlx::query(
            "INSERT INTO alert_inbox (body)
             SELECT body FROM unnest($1::bytea[]) WITH ORDINALITY AS new (body, place) ORDER BY place",
        )
        .bind(bodies)
        .execute(&mut *transaction)
        .await?;
        self.notify(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn try_trail(&self, groups: &[GroupKey]) -> Result<Trail, Failure> {
        let hashes: Vec<i64> = groups.iter().map(|group| group_hash(group.as_str())).collect();
        let mut transaction = self
            .pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let rows: Vec<Stored> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {STORED} FROM alert_outbox AS outbox WHERE group_hash = ANY($1) ORDER BY sequence"
        )))
        .bind(&hashes)
        .fetch_all(&mut *transaction)
        .await?;
        let bodies = sqlx::query_scalar(
            "SELECT body FROM alert_suppression WHERE group_hash = ANY($1) ORDER BY sequence",
        )
        .bind(&hashes)
        .fetch_all(&mut *transaction)
        .await?;
        Ok(Trail {
            notifications: entries(&self.name, rows, Some(groups))?,
            suppressed: suppressions(&self.name, bodies, groups)?,
        })
    }

    async fn try_prune(&self, before: Timestamp) -> Result<u64, Failure> {
        let mut dropped = 0;
        for statement in [
            "DELETE FROM alert_outbox WHERE sequence IN
             (SELECT sequence FROM alert_outbox WHERE state <> 0 AND changed_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
            "DELETE FROM alert_suppression WHERE sequence IN
             (SELECT sequence FROM alert_suppression WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        ] {
            loop {
                let rows = sqlx::query(statement)
                    .bind(micros(before))
                    .bind(BATCH)
                    .execute(&self.pool)
                    .await?
                    .rows_affected();
                dropped += rows;
                if rows < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(dropped)
    }

    /// Waits for one word from another instance; returns without one where some may have been missed.
    async fn listen(&self, listener: &mut Option<PgListener>) -> sqlx::Result<()> {
        let listener = match listener {
            Some(listener) => listener,
            None => {
                let mut new = PgListener::connect_with(&self.pool).await?;
                new.ignore_pool_close_event(false);
                new.listen(CHANNEL).await?;
                *listener = Some(new);
                // What came before is not heard of.
                return Ok(());
            }
        };
        loop {
            match listener.try_recv().await? {
                Some(word) if word.payload() == self.tag => {}
                Some(_) | None => break,
            }
        }
        // One look serves for all that was said until now.
        while listener.next_buffered().is_some() {}
        Ok(())
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn lead(&self, lease: &Lease) -> Result<Option<Fence>> {
        self.within(Doing::Writing, || self.try_lead(lease).boxed()).await
    }

    async fn resign(&self, fence: Fence) -> Result<()> {
        self.within(Doing::Writing, || self.try_resign(fence).boxed())
            .await
    }

    async fn load(&self) -> Result<Vec<(Key, Bytes)>> {
        let rows: Vec<(String, Vec<u8>, Vec<u8>)> = self
            .within(Doing::Reading, || {
                sqlx::query_as("SELECT kind, id, body FROM alert_record")
                    .fetch_all(&self.pool)
                    .map_err(Failure::from)
                    .boxed()
            })
            .await?;
        let records = rows.into_iter().map(|(kind, id, body)| {
            let id = String::from_utf8(id).map_err(|error| damaged(&self.name).with_source(error))?;
            record(&self.name, (kind, id, body))
        });
        records.collect()
    }

    async fn commit(&self, fence: Fence, changes: &Changes, claim: &Claim) -> Result<Vec<Delivery>> {
        self.within(Doing::Writing, || self.try_commit(fence, changes, claim).boxed())
            .await
    }

    async fn claim(&self, claim: &Claim, limit: usize, except: &[IntegrationId]) -> Result<Vec<Delivery>> {
        self.within(Doing::Writing, || self.try_claim(claim, limit, except).boxed())
            .await
    }

    async fn settle(&self, worker: &str, settlements: &[Settlement]) -> Result<()> {
        if settlements.is_empty() {
            return Ok(());
        }
        self.within(Doing::Writing, || self.try_settle(worker, settlements).boxed())
            .await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let due: Option<i64> = self
            .within(Doing::Reading, || {
                sqlx::query_scalar(NEXT_DUE.as_str())
                    .fetch_one(&self.pool)
                    .map_err(Failure::from)
                    .boxed()
            })
            .await?;
        due.map(|due| instant(&self.name, due)).transpose()
    }

    async fn submit(&self, commands: &[Command]) -> Result<()> {
        if commands.is_empty() {
            return Ok(());
        }
        self.within(Doing::Writing, || self.try_submit(commands).boxed())
            .await
    }

    async fn submitted(&self, count: usize) -> Result<Vec<(u64, Command)>> {
        let rows: Vec<(i64, Vec<u8>)> = self
            .within(Doing::Reading, || {
                sqlx::query_as("SELECT position, body FROM alert_inbox ORDER BY position LIMIT $1")
                    .bind(limit(count))
                    .fetch_all(&self.pool)
                    .map_err(Failure::from)
                    .boxed()
            })
            .await?;
        rows.into_iter()
            .map(|(position, body)| Ok((position.cast_unsigned(), parsed(&self.name, &body)?)))
            .collect()
    }

    async fn wake(&self) {
        let mut listener = self.listener.lock().await;
        let (mut pause, most) = LISTEN_AGAIN;
        while let Err(error) = self.listen(&mut listener).await {
            tracing::debug!(store = %self.name, %error, "cannot listen for other instances, trying again");
            *listener = None;
            tokio::time::sleep(pause).await;
            pause = most.min(2 * pause);
        }
    }

    async fn trail(&self, groups: &[GroupKey]) -> Result<Trail> {
        self.within(Doing::Reading, || self.try_trail(groups).boxed())
            .await
    }

    async fn notifications(&self, states: &[DeliveryState], count: usize) -> Result<Vec<TrailEntry>> {
        let states: Vec<i64> = states.iter().map(|state| state_number(*state)).collect();
        let rows: Vec<Stored> = self
            .within(Doing::Reading, || {
                let statement = format!(
                    "SELECT {STORED} FROM alert_outbox AS outbox WHERE state = ANY($1) ORDER BY sequence DESC LIMIT $2"
                );
                sqlx::query_as(AssertSqlSafe(statement))
                    .bind(&states)
                    .bind(limit(count))
                    .fetch_all(&self.pool)
                    .map_err(Failure::from)
                    .boxed()
            })
            .await?;
        entries(&self.name, rows, None)
    }

    async fn audit(&self, after: u64, count: usize) -> Result<Vec<AuditEntry>> {
        let bodies: Vec<Vec<u8>> = self
            .within(Doing::Reading, || {
                sqlx::query_scalar(
                    "SELECT body FROM alert_audit WHERE sequence > $1 ORDER BY sequence LIMIT $2",
                )
                .bind(i64::try_from(after).unwrap_or(i64::MAX))
                .bind(limit(count))
                .fetch_all(&self.pool)
                .map_err(Failure::from)
                .boxed()
            })
            .await?;
        bodies.iter().map(|body| parsed(&self.name, body)).collect()
    }

    async fn prune(&self, before: Timestamp) -> Result<u64> {
        self.within(Doing::Writing, || self.try_prune(before).boxed())
            .await
    }
}

/// Whether the server ended a transaction because two stood in each other's way.
fn is_in_favour_of_another(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// PostgreSQL's text has no NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

async fn lock(transaction: &mut Transaction<'_, Postgres>, lock: i64) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(lock)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn put(transaction: &mut Transaction<'_, Postgres>, puts: &[(Key, Bytes)]) -> sqlx::Result<()> {
    if puts.is_empty() {
        return Ok(());
    }
    // Of a key that comes twice the last counts; one statement may touch a row only once.
    let puts: BTreeMap<&Key, &Bytes> = puts.iter().map(|(key, body)| (key, body)).collect();
    sqlx::query(
        "INSERT INTO alert_record (kind, id, body) SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[])
         ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
    )
    .bind(puts.keys().map(|key| key.kind.name()).collect::<Vec<_>>())
    .bind(puts.keys().map(|key| key.id.as_bytes()).collect::<Vec<_>>())
    .bind(puts.values().map(|body| &body[..]).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn delete(transaction: &mut Transaction<'_, Postgres>, deletes: &[Key]) -> sqlx::Result<()> {
    if deletes.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM alert_record USING unnest($1::text[], $2::bytea[]) AS gone (kind, id)
         WHERE alert_record.kind = gone.kind AND alert_record.id = gone.id",
    )
    .bind(deletes.iter().map(|key| key.kind.name()).collect::<Vec<_>>())
    .bind(deletes.iter().map(|key| key.id.as_bytes()).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Gives back the claims that are over. Nobody knows whether their workers told anything.
async fn release(transaction: &mut Transaction<'_, Postgres>, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE alert_outbox SET worker = NULL, claimed_until = NULL, is_uncertain = TRUE,
             state = CASE WHEN cancelled IS NULL THEN 0 ELSE 3 END,
             detail = coalesce(cancelled, detail),
             changed_at = CASE WHEN cancelled IS NULL THEN changed_at ELSE $1 END
         WHERE sequence IN (
             SELECT sequence FROM alert_outbox WHERE state = 0 AND worker IS NOT NULL AND claimed_until <= $1
             FOR UPDATE SKIP LOCKED)",
    )
    .bind(micros(now))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn cancel_incident(
    transaction: &mut Transaction<'_, Postgres>,
    cancel: &Cancel,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE alert_outbox SET
             state = CASE WHEN worker IS NULL THEN 3 ELSE 0 END,
             changed_at = CASE WHEN worker IS NULL THEN $1 ELSE changed_at END,
             detail = CASE WHEN worker IS NULL THEN $2 ELSE detail END,
             cancelled = $2
         WHERE state = 0 AND incident = $3",
    )
    .bind(micros(now))
    .bind(storable(&cancel.because))
    .bind(incident_number(Some(cancel.incident)))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// The queues of new notifications in which something waits already.
async fn occupied(
    transaction: &mut Transaction<'_, Postgres>,
    new: &[New<'_>],
) -> sqlx::Result<HashSet<(i64, String)>> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT group_hash, integration FROM alert_outbox WHERE state = 0 AND group_hash = ANY($1)",
    )
    .bind(new.iter().map(|new| new.group_hash).collect::<Vec<_>>())
    .fetch_all(&mut **transaction)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Adds to the outbox, due at once; those that are claimed are claimed by `claim`.
async fn add(
    transaction: &mut Transaction<'_, Postgres>,
    new: &[New<'_>],
    now: Timestamp,
    claim: Option<&Claim>,
) -> sqlx::Result<()> {
    let is_claimed = |new: &New<'_>| claim.is_some() && new.is_claimed;
    let severities = new.iter().map(|new| i64::from(new.notification.severity.rank()));
    let created = new.iter().map(|new| micros(new.notification.created_at));
    sqlx::query(
        "INSERT INTO alert_outbox (id, group_hash, integration, group_key, incident, priority, created_at, body,
             not_before, changed_at, worker, claimed_until)
         SELECT id, group_hash, integration, group_key, incident, priority, created_at, body, $10, $10,
             CASE WHEN is_claimed THEN $11 END, CASE WHEN is_claimed THEN $12::bigint END
         FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[],
             $8::bytea[], $9::boolean[]) WITH ORDINALITY AS new (id, group_hash, integration, group_key, incident,
             priority, created_at, body, is_claimed, place)
         ORDER BY place",
    )
    .bind(new.iter().map(|new| new.notification.id.0.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.group_hash).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.notification.integration.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.notification.group.as_str().as_bytes()).collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.incident).collect::<Vec<_>>())
    .bind(severities.collect::<Vec<_>>())
    .bind(created.collect::<Vec<_>>())
    .bind(new.iter().map(|new| new.body.as_slice()).collect::<Vec<_>>())
    .bind(new.iter().map(is_claimed).collect::<Vec<_>>())
    .bind(micros(now))
    .bind(claim.map(|claim| claim.worker.as_str()))
    .bind(claim.map(until))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn write_claims(
    transaction: &mut Transaction<'_, Postgres>,
    claiming: &Claiming,
    claim: &Claim,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE alert_outbox SET worker = $1, claimed_until = $2 WHERE sequence = ANY($3)")
        .bind(claim.worker.as_str())
        .bind(until(claim))
        .bind(&claiming.plain)
        .execute(&mut **transaction)
        .await?;
    if claiming.grown.is_empty() {
        return Ok(());
    }
    let grown = &claiming.grown;
    sqlx::query(
        "UPDATE alert_outbox SET worker = $1, claimed_until = $2, attempts = grown.attempts, priority = grown.priority,
             incident = grown.incident, body = grown.body
         FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[])
             AS grown (sequence, attempts, priority, incident, body)
         WHERE alert_outbox.sequence = grown.sequence",
    )
    .bind(claim.worker.as_str())
    .bind(until(claim))
    .bind(grown.iter().map(|grown| grown.sequence).collect::<Vec<_>>())
    .bind(grown.iter().map(|grown| grown.attempts).collect::<Vec<_>>())
    .bind(grown.iter().map(|grown| grown.priority).collect::<Vec<_>>())
    .bind(grown.iter().map(|grown| grown.incident).collect::<Vec<_>>())
    .bind(grown.iter().map(|grown| grown.body.as_slice()).collect::<Vec<_>>())
    .execute(&mut **transaction)
    .await?;
    sqlx::query(
        "UPDATE alert_outbox SET state = 2, merged_into = merged.into_id, changed_at = $1
         FROM unnest($2::bigint[], $3::bytea[]) AS merged (sequence, into_id)
         WHERE alert_outbox.sequence = merged.sequence",
    )
    .bind(micros(claim.now))
    .bind(
        claiming
            .merged
            .iter()
            .map(|(sequence, _)| *sequence)
            .collect::<Vec<_>>(),
    )
    .bind(
        claiming
            .merged
            .iter()
            .map(|(_, into)| into.as_slice())
            .collect::<Vec<_>>(),
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn suppress(
    name: &str,
    transaction: &mut Transaction<'_, Postgres>,
    suppressions: &[Suppressed],
) -> Result<(), Failure> {
    if suppressions.is_empty() {
        return Ok(());
    }
    let bodies = suppressions.iter().map(|suppressed| json(name, suppressed));
    let hashes = suppressions
        .iter()
        .map(|suppressed| group_hash(suppressed.group.as_str()));
    sqlx::query(
        "INSERT INTO alert_suppression (at, group_hash, body)
         SELECT at, group_hash, body FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])
             WITH ORDINALITY AS new (at, group_hash, body, place) ORDER BY place",
    )
    .bind(
        suppressions
            .iter()
            .map(|suppressed| micros(suppressed.at))
            .collect::<Vec<_>>(),
    )
    .bind(hashes.collect::<Vec<_>>())
    .bind(bodies.collect::<Result<Vec<_>>>()?)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn log(
    name: &str,
    transaction: &mut Transaction<'_, Postgres>,
    audit: &[AuditEntry],
) -> Result<(), Failure> {
    if audit.is_empty() {
        return Ok(());
    }
    let bodies = audit.iter().map(|entry| json(name, entry));
    sqlx::query("INSERT INTO alert_audit (sequence, body) SELECT * FROM unnest($1::bigint[], $2::bytea[])")
        .bind(
            audit
                .iter()
                .map(|entry| entry.sequence.cast_signed())
                .collect::<Vec<_>>(),
        )
        .bind(bodies.collect::<Result<Vec<_>>>()?)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
