//! A store in an SQLite file.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::LazyLock;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Sqlite, SqlitePool, Transaction};
use tokio::sync::Mutex;

use super::*;
use crate::audit::AuditEntry;
use crate::command::Command;
use crate::notification::IntegrationId;
use crate::store::{Cancel, Changes, Lease, Store, Trail};

/// Each brings the schema from the version before it, which is its index, to the next.
///
/// Records have no index: whoever leads knows where each is. New ones are then written side by side, where an index over
/// their names would touch a page of its own for nearly each of them.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE alert_record (
        place INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE alert_outbox (
        sequence INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        group_hash INTEGER NOT NULL,
        integration TEXT NOT NULL,
        group_key BLOB NOT NULL,
        incident INTEGER,
        priority INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,
        not_before INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        worker TEXT,
        claimed_until INTEGER,
        is_uncertain INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        detail TEXT,
        cancelled TEXT,
        merged_into BLOB,
        body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX alert_outbox_id ON alert_outbox (id);
    CREATE INDEX alert_outbox_group ON alert_outbox (group_hash);
    CREATE INDEX alert_outbox_queue ON alert_outbox (group_hash, integration, sequence) WHERE state = 0;
    CREATE INDEX alert_outbox_due ON alert_outbox (priority, not_before, sequence) WHERE state = 0 AND worker IS NULL;
    CREATE INDEX alert_outbox_claimed ON alert_outbox (claimed_until) WHERE state = 0 AND worker IS NOT NULL;
    CREATE INDEX alert_outbox_incident ON alert_outbox (incident) WHERE state = 0 AND incident IS NOT NULL;
    CREATE INDEX alert_outbox_over ON alert_outbox (changed_at) WHERE state <> 0;
    CREATE TABLE alert_suppression (
        sequence INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        group_hash INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX alert_suppression_group ON alert_suppression (group_hash);
    CREATE INDEX alert_suppression_at ON alert_suppression (at);
    CREATE TABLE alert_audit (
        sequence INTEGER PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE alert_inbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE alert_lease (fence INTEGER NOT NULL, holder TEXT, until INTEGER NOT NULL) STRICT;
    INSERT INTO alert_lease (fence, until) VALUES (0, 0);
"];

/// Connections that read beside the one that writes.
const READERS: u32 = 3;

/// Rows of one statement, few sizes so that their statements are prepared once: powers of two up to this one, so that
/// any number of rows is a handful of statements.
const LARGEST: usize = 256;

/// What an acknowledgement of a [`SqliteStore`] survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut too: each transaction waits for the disk (`synchronous = FULL`). The default.
    #[default]
    PowerCut,
    /// The death of the process. A power cut may take the last moments, and damages nothing (`synchronous = NORMAL`).
    ProcessDeath,
}

/// A store in an SQLite file, readable by its owner only, with nothing to install.
///
/// One process uses it. Another that begins to lead takes over at once, and the first is told so when it writes next.
#[derive(Debug)]
pub struct SqliteStore {
    name: String,
    /// One connection, because SQLite has one writer at a time.
    writer: SqlitePool,
    readers: SqlitePool,
    /// Where the records are; absent while a transaction is under way, so that nothing is believed after one that broke off.
    places: Mutex<Option<Places>>,
}

/// Where each record is, known to the one that leads.
#[derive(Debug)]
struct Places {
    /// Under which fence it was read. Whoever writes after has another one.
    fence: i64,
    places: HashMap<Key, i64>,
    /// Places that records have left.
    free: Vec<i64>,
    /// Behind all places.
    end: i64,
}

/// What a transaction does to [`Places`], once it is committed.
#[derive(Debug, Default)]
struct Moves {
    added: HashMap<Key, i64>,
    removed: HashMap<Key, i64>,
    taken_free: usize,
    taken_new: i64,
}

impl Places {
    fn of(fence: i64, rows: Vec<(i64, String, String)>) -> Option<Self> {
        let mut places = HashMap::with_capacity(rows.len());
        let (mut free, mut end) = (Vec::new(), 1);
        for (place, kind, id) in rows {
            free.extend(end..place);
            end = place + 1;
            let kind = Kind::from_name(&kind)?;
            let id = id.into_boxed_str();
            places.insert(Key { kind, id }, place);
        }
        // Those side by side are taken one after the other.
        free.reverse();
        Some(Self {
            fence,
            places,
            free,
            end,
        })
    }

    /// Where a record is written: where it is, or else where there is room.
    fn place(&self, key: &Key, moves: &mut Moves) -> i64 {
        if let Some(place) = self.places.get(key).or_else(|| moves.added.get(key)) {
            return *place;
        }
        let left = self.free.len() - moves.taken_free;
        let place = if left > 0 {
            moves.taken_free += 1;
            self.free[left - 1]
        } else {
            moves.taken_new += 1;
            self.end + moves.taken_new - 1
        };
        moves.added.insert(key.clone(), place);
        place
    }

    /// Where a record is that goes away; `None` where there is none, or it is gone already: a place that were given back
    /// twice would be given to two records.
    fn leave(&self, key: &Key, moves: &mut Moves) -> Option<i64> {
        if moves.removed.contains_key(key) {
            return None;
        }
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => moves.added.remove(key)?,
        };
        moves.removed.insert(key.clone(), place);
        Some(place)
    }

    fn apply(&mut self, moves: Moves) {
        self.free.truncate(self.free.len() - moves.taken_free);
        self.end += moves.taken_new;
        self.places.extend(moves.added);
        for (key, place) in moves.removed {
            self.places.remove(&key);
            self.free.push(place);
        }
    }
}

impl SqliteStore {
    /// Opens the file, and makes it where it is missing; its folder must be there. What it acknowledges survives a power
    /// cut.
    ///
    /// Tables begin with `alert_`, so that the file may hold other things too.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Denied`] where the file cannot be opened or made, [`ErrorKind::Corrupt`] where it
    /// is no database, [`ErrorKind::InvalidConfig`] where a newer Alpha wrote it.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Durability::default()).await
    }

    /// The same with a choice of what an acknowledgement survives.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_with(path: impl AsRef<Path>, durability: Durability) -> Result<Self> {
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
            let message = text!("could not open the store {name}", name = &name);
            return Err(Error::new(kind, message).with_source(error));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                Durability::PowerCut => SqliteSynchronous::Full,
                Durability::ProcessDeath => SqliteSynchronous::Normal,
            })
            .pragma("journal_size_limit", "67108864")
            .statement_cache_capacity(200)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(2 * PATIENCE)
                // There is no network that could have dropped it.
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(|error| failed(Doing::Opening, &name, error))?;
        let store = Self {
            name,
            writer,
            readers: pool(READERS).connect_lazy_with(options.pragma("query_only", "1")),
            places: Mutex::new(None),
        };
        store
            .migrate()
            .await
            .map_err(|failure| failure.told(Doing::Opening, &store.name))?;
        Ok(store)
    }

    /// Closes the file, so that everything is in it and none is left beside it.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn migrate(&self) -> Result<(), Failure> {
        let mut transaction = self.writing().await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS alert_version (version INTEGER NOT NULL) STRICT")
            .execute(&mut *transaction)
            .await?;
        let found: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM alert_version")
            .fetch_one(&mut *transaction)
            .await?;
        let version = check_version(&self.name, found.unwrap_or(0), MIGRATIONS.len())?;
        for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
            sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO alert_version (version) VALUES (?)")
                .bind(index as i64 + 1)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// A transaction that is the only one to write.
    async fn writing(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        match self.writer.begin_with("BEGIN IMMEDIATE").await {
            // For want of room SQLite ends a transaction by itself, which the driver does not notice: it takes the
            // connection for one inside of a transaction, for ever.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                self.writer.begin_with("BEGIN IMMEDIATE").await
            }
            begun => begun,
        }
    }

    fn reading(&self, error: sqlx::Error) -> Error {
        failed(Doing::Reading, &self.name, error)
    }

    fn not_written(&self, failure: impl Into<Failure>) -> Error {
        failure.into().told(Doing::Writing, &self.name)
    }

    async fn try_lead(&self, lease: &Lease) -> Result<Fence, Failure> {
        let mut transaction = self.writing().await?;
        let (number, holder): (i64, Option<String>) = sqlx::query_as("SELECT fence, holder FROM alert_lease")
            .fetch_one(&mut *transaction)
            .await?;
        let is_new = holder.as_ref() != Some(&lease.holder);
        let number = number + i64::from(is_new);
        sqlx::query("UPDATE alert_lease SET fence = ?, holder = ?, until = ?")
            .bind(number)
            .bind(lease.holder.as_str())
            .bind(micros_not_before(lease.until))
            .execute(&mut *transaction)
            .await?;
        if is_new {
            // Whoever led before was the only user, and is dead.
            release(&mut transaction, lease.now, i64::MAX).await?;
        }
        transaction.commit().await?;
        Ok(fence(number))
    }

    async fn try_commit(
        &self,
        fence: Fence,
        changes: &Changes,
        claim: &Claim,
    ) -> Result<Vec<Delivery>, Failure> {
        let mut new = New::all(&self.name, &changes.notifications)?;
        let mut known = self.places.lock().await;
        let mut transaction = self.writing().await?;
        let number: i64 = sqlx::query_scalar("SELECT fence FROM alert_lease")
            .fetch_one(&mut *transaction)
            .await?;
        if number != fence.0.cast_signed() {
            return Err(fenced(&self.name).into());
        }
        let mut moves = Moves::default();
        let mut places = None;
        if !changes.puts.is_empty() || !changes.deletes.is_empty() {
            let read = match known.take().filter(|places| places.fence == number) {
                Some(places) => places,
                None => self.read_places(&mut transaction, number).await?,
            };
            put(&mut transaction, &changes.puts, &read, &mut moves).await?;
            let left: Vec<i64> = changes
                .deletes
                .iter()
                .filter_map(|key| read.leave(key, &mut moves))
                .collect();
            if !left.is_empty() {
                let statement = "DELETE FROM alert_record WHERE place IN (SELECT value FROM json_each(?))";
                change(&mut transaction, statement, &left).await?;
            }
            places = Some(read);
        }
        for cancel in &changes.cancels {
            cancel_incident(&mut transaction, cancel, claim.now).await?;
        }
        if !new.is_empty() {
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
            let statement = "DELETE FROM alert_inbox WHERE position IN (SELECT value FROM json_each(?))";
            change(&mut transaction, statement, &positions).await?;
        }
        transaction.commit().await?;
        if let Some(mut places) = places {
            places.apply(moves);
            *known = Some(places);
        }
        Ok(New::deliveries(&new))
    }

    async fn read_places(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        fence: i64,
    ) -> Result<Places, Failure> {
        let rows = sqlx::query_as("SELECT place, kind, id FROM alert_record ORDER BY place")
            .fetch_all(&mut **transaction)
            .await?;
        Ok(Places::of(fence, rows).ok_or_else(|| damaged(&self.name))?)
    }

    async fn try_claim(
        &self,
        claim: &Claim,
        count: usize,
        except: &[IntegrationId],
    ) -> Result<Vec<Delivery>, Failure> {
        let mut transaction = self.writing().await?;
        release(&mut transaction, claim.now, micros(claim.now)).await?;
        let except: Vec<&str> = except.iter().map(IntegrationId::as_str).collect();
        let rows: Vec<Stored> = sqlx::query_as(CLAIMABLE.as_str())
            .bind(micros(claim.now))
            .bind(json_text(&except))
            .bind(limit(count))
            .fetch_all(&mut *transaction)
            .await?;
        let taken = taken(&self.name, rows)?;
        if !taken.is_empty() {
            write_claims(&mut transaction, &Claiming::of(&self.name, &taken)?, claim).await?;
        }
        transaction.commit().await?;
        Ok(taken.into_iter().map(|taken| taken.delivery).collect())
    }

    async fn try_settle(&self, worker: &str, settlements: &[Settlement]) -> Result<(), Failure> {
        let settled: Vec<_> = settlements.iter().map(Settled::of).collect();
        let mut transaction = self.writing().await?;
        let mut kept: Vec<Vec<u8>> = Vec::with_capacity(settled.len());
        for chunk in chunks(&settled) {
            let mut query = sqlx::query_scalar(SETTLE.of(chunk.len()));
            for settled in chunk {
                query = query
                    .bind(settled.id)
                    .bind(settled.at)
                    .bind(settled.state)
                    .bind(settled.attempted)
                    .bind(settled.not_before)
                    .bind(settled.is_uncertain)
                    .bind(settled.detail);
            }
            kept.extend(query.bind(worker).fetch_all(&mut *transaction).await?);
        }
        for (follow_up, at) in follow_ups(settlements, &kept) {
            let present: Option<i64> = sqlx::query_scalar("SELECT sequence FROM alert_outbox WHERE id = ?")
                .bind(follow_up.id.0.as_bytes().as_slice())
                .fetch_optional(&mut *transaction)
                .await?;
            if present.is_none() {
                add(&mut transaction, &New::all(&self.name, [follow_up])?, at, None).await?;
            }
        }
        Ok(transaction.commit().await?)
    }

    async fn try_trail(&self, groups: &[GroupKey]) -> Result<Trail, Failure> {
        let hashes: Vec<i64> = groups.iter().map(|group| group_hash(group.as_str())).collect();
        let hashes = json_text(&hashes);
        let mut transaction = self.readers.begin().await?;
        let rows: Vec<Stored> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {STORED} FROM alert_outbox AS outbox
             WHERE group_hash IN (SELECT value FROM json_each(?)) ORDER BY sequence"
        )))
        .bind(hashes.as_str())
        .fetch_all(&mut *transaction)
        .await?;
        let bodies = sqlx::query_scalar(
            "SELECT body FROM alert_suppression
             WHERE group_hash IN (SELECT value FROM json_each(?)) ORDER BY sequence",
        )
        .bind(hashes.as_str())
        .fetch_all(&mut *transaction)
        .await?;
        Ok(Trail {
            notifications: entries(&self.name, rows, Some(groups))?,
            suppressed: suppressions(&self.name, bodies, groups)?,
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn lead(&self, lease: &Lease) -> Result<Option<Fence>> {
        let fence = self.try_lead(lease).await;
        fence.map(Some).map_err(|failure| self.not_written(failure))
    }

    async fn resign(&self, fence: Fence) -> Result<()> {
        sqlx::query("UPDATE alert_lease SET holder = NULL, until = 0 WHERE fence = ?")
            .bind(fence.0.cast_signed())
            .execute(&self.writer)
            .await
            .map_err(|error| self.not_written(error))?;
        Ok(())
    }

    async fn load(&self) -> Result<Vec<(Key, Bytes)>> {
        let rows: Vec<_> = sqlx::query_as("SELECT kind, id, body FROM alert_record ORDER BY place")
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.reading(error))?;
        rows.into_iter().map(|row| record(&self.name, row)).collect()
    }

    async fn commit(&self, fence: Fence, changes: &Changes, claim: &Claim) -> Result<Vec<Delivery>> {
        let committed = self.try_commit(fence, changes, claim).await;
        committed.map_err(|failure| self.not_written(failure))
    }

    async fn claim(&self, claim: &Claim, limit: usize, except: &[IntegrationId]) -> Result<Vec<Delivery>> {
        let claimed = self.try_claim(claim, limit, except).await;
        claimed.map_err(|failure| self.not_written(failure))
    }

    async fn settle(&self, worker: &str, settlements: &[Settlement]) -> Result<()> {
        let settled = self.try_settle(worker, settlements).await;
        settled.map_err(|failure| self.not_written(failure))
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let due: Option<i64> = sqlx::query_scalar(NEXT_DUE.as_str())
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.reading(error))?;
        due.map(|due| instant(&self.name, due)).transpose()
    }

    async fn submit(&self, commands: &[Command]) -> Result<()> {
        let bodies = commands.iter().map(|command| json(&self.name, command));
        let bodies: Vec<_> = bodies.collect::<Result<_>>()?;
        let writing = async {
            let mut transaction = self.writing().await?;
            for chunk in chunks(&bodies) {
                let mut query = sqlx::query(SUBMIT.of(chunk.len()));
                for body in chunk {
                    query = query.bind(body.as_slice());
                }
                query.execute(&mut *transaction).await?;
            }
            transaction.commit().await
        };
        writing.await.map_err(|error| self.not_written(error))
    }

    async fn submitted(&self, count: usize) -> Result<Vec<(u64, Command)>> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT position, body FROM alert_inbox ORDER BY position LIMIT ?")
                .bind(limit(count))
                .fetch_all(&self.readers)
                .await
                .map_err(|error| self.reading(error))?;
        rows.into_iter()
            .map(|(position, body)| Ok((position.cast_unsigned(), parsed(&self.name, &body)?)))
            .collect()
    }

    async fn wake(&self) {
        std::future::pending().await
    }

    async fn trail(&self, groups: &[GroupKey]) -> Result<Trail> {
        let trail = self.try_trail(groups).await;
        trail.map_err(|failure| failure.told(Doing::Reading, &self.name))
    }

    async fn notifications(&self, states: &[DeliveryState], count: usize) -> Result<Vec<TrailEntry>> {
        let states: Vec<i64> = states.iter().map(|state| state_number(*state)).collect();
        let rows: Vec<Stored> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT {STORED} FROM alert_outbox AS outbox
             WHERE state IN (SELECT value FROM json_each(?)) ORDER BY sequence DESC LIMIT ?"
        )))
        .bind(json_text(&states))
        .bind(limit(count))
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.reading(error))?;
        entries(&self.name, rows, None)
    }

    async fn audit(&self, after: u64, count: usize) -> Result<Vec<AuditEntry>> {
        let bodies: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT body FROM alert_audit WHERE sequence > ? ORDER BY sequence LIMIT ?")
                .bind(i64::try_from(after).unwrap_or(i64::MAX))
                .bind(limit(count))
                .fetch_all(&self.readers)
                .await
                .map_err(|error| self.reading(error))?;
        bodies.iter().map(|body| parsed(&self.name, body)).collect()
    }

    async fn prune(&self, before: Timestamp) -> Result<u64> {
        let mut dropped = 0;
        for statement in [
            "DELETE FROM alert_outbox WHERE sequence IN
             (SELECT sequence FROM alert_outbox WHERE state <> 0 AND changed_at < ? LIMIT ?)",
            "DELETE FROM alert_suppression WHERE sequence IN
             (SELECT sequence FROM alert_suppression WHERE at < ? LIMIT ?)",
        ] {
            loop {
                let rows = sqlx::query(statement)
                    .bind(micros(before))
                    .bind(BATCH)
                    .execute(&self.writer)
                    .await
                    .map_err(|error| self.not_written(error))?
                    .rows_affected();
                dropped += rows;
                if rows < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(dropped)
    }
}

/// Writes records where they are, or where there is room.
async fn put(
    transaction: &mut Transaction<'_, Sqlite>,
    puts: &[(Key, Bytes)],
    places: &Places,
    moves: &mut Moves,
) -> sqlx::Result<()> {
    for chunk in chunks(puts) {
        let mut query = sqlx::query(PUT.of(chunk.len()));
        for (key, body) in chunk {
            query = query
                .bind(places.place(key, moves))
                .bind(key.kind.name())
                .bind(&*key.id)
                .bind(&body[..]);
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Runs a statement over numbers.
async fn change(
    transaction: &mut Transaction<'_, Sqlite>,
    statement: &'static str,
    numbers: &[i64],
) -> sqlx::Result<()> {
    let query = sqlx::query(statement).bind(json_text(numbers));
    query.execute(&mut **transaction).await?;
    Ok(())
}

/// Gives back the claims that end at `until` or before. Nobody knows whether their workers told anything.
async fn release(transaction: &mut Transaction<'_, Sqlite>, now: Timestamp, until: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE alert_outbox SET worker = NULL, claimed_until = NULL, is_uncertain = 1,
             state = CASE WHEN cancelled IS NULL THEN 0 ELSE 3 END,
             detail = coalesce(cancelled, detail),
             changed_at = CASE WHEN cancelled IS NULL THEN changed_at ELSE ? END
         WHERE state = 0 AND worker IS NOT NULL AND claimed_until <= ?",
    )
    .bind(micros(now))
    .bind(until)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn cancel_incident(
    transaction: &mut Transaction<'_, Sqlite>,
    cancel: &Cancel,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE alert_outbox SET
             state = CASE WHEN worker IS NULL THEN 3 ELSE 0 END,
             changed_at = CASE WHEN worker IS NULL THEN ?1 ELSE changed_at END,
             detail = CASE WHEN worker IS NULL THEN ?2 ELSE detail END,
             cancelled = ?2
         WHERE state = 0 AND incident = ?3",
    )
    .bind(micros(now))
    .bind(cancel.because.as_str())
    .bind(incident_number(Some(cancel.incident)))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// The queues of new notifications in which something waits already.
async fn occupied(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &[New<'_>],
) -> sqlx::Result<HashSet<(i64, String)>> {
    let hashes: Vec<i64> = new.iter().map(|new| new.group_hash).collect();
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT group_hash, integration FROM json_each(?) AS asked
         CROSS JOIN alert_outbox INDEXED BY alert_outbox_queue ON state = 0 AND group_hash = asked.value",
    )
    .bind(json_text(&hashes))
    .fetch_all(&mut **transaction)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Adds to the outbox, due at once; those that are claimed are claimed by `claim`.
async fn add(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &[New<'_>],
    now: Timestamp,
    claim: Option<&Claim>,
) -> sqlx::Result<()> {
    let now = micros(now);
    for chunk in chunks(new) {
        let mut query = sqlx::query(ADD.of(chunk.len()));
        for new in chunk {
            let claim = claim.filter(|_| new.is_claimed);
            let notification = new.notification;
            query = query
                .bind(notification.id.0.as_bytes().as_slice())
                .bind(new.group_hash)
                .bind(notification.integration.as_str())
                .bind(notification.group.as_str().as_bytes())
                .bind(new.incident)
                .bind(i64::from(notification.severity.rank()))
                .bind(now)
                .bind(claim.map(|claim| claim.worker.as_str()))
                .bind(claim.map(until))
                .bind(micros(notification.created_at))
                .bind(now)
                .bind(new.body.as_slice());
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

async fn write_claims(
    transaction: &mut Transaction<'_, Sqlite>,
    claiming: &Claiming,
    claim: &Claim,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE alert_outbox SET worker = ?, claimed_until = ?
         WHERE sequence IN (SELECT value FROM json_each(?))",
    )
    .bind(claim.worker.as_str())
    .bind(until(claim))
    .bind(json_text(&claiming.plain))
    .execute(&mut **transaction)
    .await?;
    for grown in &claiming.grown {
        sqlx::query(
            "UPDATE alert_outbox SET worker = ?, claimed_until = ?, attempts = ?, priority = ?, incident = ?, body = ?
             WHERE sequence = ?",
        )
        .bind(claim.worker.as_str())
        .bind(until(claim))
        .bind(grown.attempts)
        .bind(grown.priority)
        .bind(grown.incident)
        .bind(grown.body.as_slice())
        .bind(grown.sequence)
        .execute(&mut **transaction)
        .await?;
    }
    for chunk in chunks(&claiming.merged) {
        let mut query = sqlx::query(MERGE.of(chunk.len()));
        for (sequence, into) in chunk {
            query = query.bind(sequence).bind(into.as_slice());
        }
        query.bind(micros(claim.now)).execute(&mut **transaction).await?;
    }
    Ok(())
}

async fn suppress(
    name: &str,
    transaction: &mut Transaction<'_, Sqlite>,
    suppressions: &[Suppressed],
) -> Result<(), Failure> {
    for chunk in chunks(suppressions) {
        let mut query = sqlx::query(SUPPRESS.of(chunk.len()));
        for suppressed in chunk {
            query = query
                .bind(micros(suppressed.at))
                .bind(group_hash(suppressed.group.as_str()))
                .bind(json(name, suppressed)?);
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

async fn log(
    name: &str,
    transaction: &mut Transaction<'_, Sqlite>,
    audit: &[AuditEntry],
) -> Result<(), Failure> {
    for chunk in chunks(audit) {
        let mut query = sqlx::query(LOG.of(chunk.len()));
        for entry in chunk {
            query = query.bind(entry.sequence.cast_signed()).bind(json(name, entry)?);
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Numbers or names as SQLite's `json_each` takes them.
fn json_text<T: Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).unwrap_or_default()
}

/// Rows in pieces of few different sizes, the largest first.
fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = LARGEST.min(1 << rest.len().checked_ilog2()?);
        let (chunk, after) = rest.split_at(size);
        rest = after;
        Some(chunk)
    })
}

/// The texts of a statement with rows of placeholders, one for each size of [`chunks`].
#[derive(Debug)]
struct Sizes(Vec<String>);

impl Sizes {
    fn new(before: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let sizes = (0..=LARGEST.ilog2()).map(|power| 1 << power);
        Self(
            sizes
                .map(|size| format!("{before}{}{after}", vec![row.as_str(); size].join(",")))
                .collect(),
        )
    }

    fn of(&self, rows: usize) -> &str {
        &self.0[rows.ilog2() as usize]
    }
}

static PUT: LazyLock<Sizes> = LazyLock::new(|| {
    Sizes::new(
        "INSERT OR REPLACE INTO alert_record (place, kind, id, body) VALUES ",
        4,
        "",
    )
});

static ADD: LazyLock<Sizes> = LazyLock::new(|| {
    Sizes::new(
        "INSERT INTO alert_outbox (id, group_hash, integration, group_key, incident, priority, not_before, worker,
         claimed_until, created_at, changed_at, body) VALUES ",
        12,
        "",
    )
});

static MERGE: LazyLock<Sizes> = LazyLock::new(|| {
    Sizes::new(
        "WITH merged (sequence, into_id) AS (VALUES ",
        2,
        ") UPDATE alert_outbox SET state = 2, merged_into = merged.into_id, changed_at = ? FROM merged
         WHERE alert_outbox.sequence = merged.sequence",
    )
});

/// A notification that was cancelled on its way is not tried again.
static SETTLE: LazyLock<Sizes> = LazyLock::new(|| {
    Sizes::new(
        "WITH settled (id, at, state, attempted, not_before, is_uncertain, detail) AS (VALUES ",
        7,
        ") UPDATE alert_outbox SET
             state = CASE WHEN settled.state = 0 AND cancelled IS NOT NULL THEN 3 ELSE settled.state END,
             attempts = attempts + settled.attempted,
             worker = NULL,
             claimed_until = NULL,
             not_before = coalesce(settled.not_before, alert_outbox.not_before),
             is_uncertain = coalesce(settled.is_uncertain, alert_outbox.is_uncertain),
             changed_at = settled.at,
             detail = CASE WHEN settled.state <> 0 THEN settled.detail
                 ELSE coalesce(cancelled, settled.detail, alert_outbox.detail) END
         FROM settled WHERE alert_outbox.id = settled.id AND +alert_outbox.state = 0 AND alert_outbox.worker = ?
         RETURNING alert_outbox.id",
    )
});

static SUPPRESS: LazyLock<Sizes> = LazyLock::new(|| {
    Sizes::new(
        "INSERT INTO alert_suppression (at, group_hash, body) VALUES ",
        3,
        "",
    )
});

static LOG: LazyLock<Sizes> =
    LazyLock::new(|| Sizes::new("INSERT INTO alert_audit (sequence, body) VALUES ", 2, ""));

static SUBMIT: LazyLock<Sizes> =
    LazyLock::new(|| Sizes::new("INSERT INTO alert_inbox (body) VALUES ", 1, ""));

/// The oldest of each queue that is due, and with each the queue behind it.
static CLAIMABLE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH head AS MATERIALIZED (
             SELECT priority, not_before, sequence, group_hash, integration, group_key FROM alert_outbox AS due
             WHERE state = 0 AND worker IS NULL AND not_before <= ?
             AND integration NOT IN (SELECT value FROM json_each(?))
             AND NOT EXISTS (
                 SELECT 1 FROM alert_outbox AS older WHERE older.state = 0 AND older.group_hash = due.group_hash
                 AND older.integration = due.integration AND older.sequence < due.sequence)
             ORDER BY priority, not_before, sequence LIMIT ?
         )
         SELECT {STORED} FROM head CROSS JOIN alert_outbox AS outbox
         ON outbox.state = 0 AND outbox.group_hash = head.group_hash AND outbox.integration = head.integration
             AND outbox.group_key = head.group_key
         ORDER BY head.priority, head.not_before, head.sequence, outbox.sequence"
    )
});
