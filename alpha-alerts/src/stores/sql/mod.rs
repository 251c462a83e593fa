//! A store in a database: the same tables in SQLite and PostgreSQL.
//!
//! Instants are microseconds since 1970 in UTC. What is to happen not before an instant is rounded up to the next one, so
//! that it never happens early. Bodies are JSON as bytes, so that what is read is what was written.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::collections::HashSet;
use std::hash::Hasher;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};
use uuid::Uuid;

#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sqlite::{Durability, SqliteStore};

use super::queue::{self, Taken, Waiting};
use super::{fenced, repeated};
use crate::error::{Error, ErrorKind, Result};
use crate::incident::IncidentId;
use crate::notification::{GroupKey, Notification, NotificationId};
use crate::store::{
    Claim, Delivery, DeliveryState, Fence, Key, Kind, Settlement, Suppressed, TrailEntry, Verdict,
};
use crate::text;

/// How long a statement waits for another process, or for a free connection, before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Rows that one transaction of pruning drops, so that nobody waits long for it.
const BATCH: i64 = 1000;

/// What a database was asked to do when it failed.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Opening,
    Reading,
    Writing,
}

/// Why a transaction did not come about.
#[derive(Debug)]
enum Failure {
    /// The database said so.
    Sql(sqlx::Error),
    /// The rules say so.
    Refused(Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Failure {
    fn told(self, doing: Doing, name: &str) -> Error {
        match self {
            Self::Sql(error) => failed(doing, name, error),
            Self::Refused(error) => error,
        }
    }
}

/// An instant as it is written.
fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// An instant before which something must not happen.
fn micros_not_before(at: Timestamp) -> i64 {
    let floor = at.as_microsecond();
    let is_between = at.as_nanosecond() > i128::from(floor) * 1000;
    floor + i64::from(is_between)
}

/// An instant as it was written.
fn instant(name: &str, micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| damaged(name).with_source(error))
}

/// A state as it is written.
fn state_number(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => 0,
        DeliveryState::Sent => 1,
        DeliveryState::Merged => 2,
        DeliveryState::Cancelled => 3,
        DeliveryState::DeadLettered => 4,
    }
}

fn state_of_number(number: i64) -> Option<DeliveryState> {
    use DeliveryState::{Cancelled, DeadLettered, Merged, Pending, Sent};
    [Pending, Sent, Merged, Cancelled, DeadLettered]
        .into_iter()
        .find(|state| state_number(*state) == number)
}

/// A short stand-in for a group in indexes. Two groups with the same one wait for each other now and then, and are never
/// mixed up: what is read is compared with the group itself.
fn group_hash(group: &str) -> i64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(group.as_bytes());
    hasher.finish().cast_signed()
}

/// What is written as JSON.
fn json(name: &str, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        let message = text!(
            "what should be written to the store {name} has no JSON",
            name = name
        );
        Error::new(ErrorKind::InvalidInput, message).with_source(error)
    })
}

/// What was written as JSON.
fn parsed<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| damaged(name).with_source(error))
}

/// A record as it is read.
fn record(name: &str, (kind, id, body): (String, String, Vec<u8>)) -> Result<(Key, Bytes)> {
    let kind = Kind::from_name(&kind).ok_or_else(|| damaged(name))?;
    let id = id.into_boxed_str();
    Ok((Key { kind, id }, body.into()))
}

/// A notification on its way into the outbox.
#[derive(Debug)]
struct New<'a> {
    notification: &'a Notification,
    group_hash: i64,
    incident: Option<i64>,
    body: Vec<u8>,
    is_claimed: bool,
}

impl<'a> New<'a> {
    fn all(name: &str, notifications: impl IntoIterator<Item = &'a Notification>) -> Result<Vec<Self>> {
        let notifications = notifications.into_iter();
        let new = |notification: &'a Notification| {
            Ok(Self {
                notification,
                group_hash: group_hash(notification.group.as_str()),
                incident: incident_number(queue::incident_to_cancel(notification)),
                body: json(name, notification)?,
                is_claimed: false,
            })
        };
        notifications.map(new).collect()
    }

    /// Claims the first of each queue that is not `occupied`.
    fn claim_first_of_each(new: &mut [Self], mut occupied: HashSet<(i64, String)>) {
        let mut first: HashSet<(i64, &str)> = HashSet::with_capacity(new.len());
        for new in new {
            let integration = new.notification.integration.as_str();
            // The set of what waited before is empty nearly always, and then costs no text.
            let is_free =
                occupied.is_empty() || !occupied.contains(&(new.group_hash, integration.to_owned()));
            new.is_claimed = is_free && first.insert((new.group_hash, integration));
        }
        occupied.clear();
    }

    /// What was claimed.
    fn deliveries(new: &[Self]) -> Vec<Delivery> {
        let claimed = new.iter().filter(|new| new.is_claimed);
        claimed
            .map(|new| Delivery {
                notification: new.notification.clone(),
                attempts: 0,
            })
            .collect()
    }
}

fn incident_number(incident: Option<IncidentId>) -> Option<i64> {
    incident.map(|incident| incident.0.cast_signed())
}

/// How an attempt ended, as it is written.
#[derive(Debug)]
struct Settled<'a> {
    id: &'a [u8],
    at: i64,
    state: i64,
    /// Whether it was an attempt at all.
    attempted: i64,
    not_before: Option<i64>,
    is_uncertain: Option<bool>,
    detail: Option<&'a str>,
}

impl<'a> Settled<'a> {
    fn of(settlement: &'a Settlement) -> Self {
        let settled = Self {
            id: settlement.id.0.as_bytes(),
            at: micros(settlement.at),
            state: state_number(DeliveryState::Pending),
            attempted: 1,
            not_before: None,
            is_uncertain: None,
            detail: None,
        };
        match &settlement.verdict {
            Verdict::Sent(reference) => Self {
                state: state_number(DeliveryState::Sent),
                detail: reference.as_deref(),
                ..settled
            },
            Verdict::Retry {
                not_before,
                because,
                is_certain,
            } => Self {
                not_before: Some(micros_not_before(*not_before)),
                is_uncertain: Some(!is_certain),
                detail: Some(because),
                ..settled
            },
            Verdict::Released { not_before } => Self {
                attempted: 0,
                not_before: Some(micros_not_before(*not_before)),
                ..settled
            },
            Verdict::DeadLettered { because } => Self {
                state: state_number(DeliveryState::DeadLettered),
                detail: Some(because),
                ..settled
            },
        }
    }
}

/// The follow-ups of those settlements whose claim was not lost.
fn follow_ups<'a>(settlements: &'a [Settlement], kept: &[Vec<u8>]) -> Vec<(&'a Notification, Timestamp)> {
    let kept: HashSet<&[u8]> = kept.iter().map(Vec::as_slice).collect();
    settlements
        .iter()
        .filter(|settlement| kept.contains(settlement.id.0.as_bytes().as_slice()))
        .flat_map(|settlement| {
            settlement
                .follow_ups
                .iter()
                .map(|follow_up| (follow_up, settlement.at))
        })
        .collect()
}

/// The columns of [`Stored`], of the table that a statement calls `outbox`.
const STORED: &str = "outbox.sequence, outbox.group_key, outbox.integration, outbox.state, outbox.not_before,
    outbox.attempts, outbox.worker IS NOT NULL AS is_claimed, outbox.is_uncertain, outbox.incident, outbox.changed_at,
    outbox.detail, outbox.merged_into, outbox.body";

/// A row of the outbox.
#[derive(Debug)]
struct Stored {
    sequence: i64,
    group_key: Vec<u8>,
    integration: String,
    state: i64,
    not_before: i64,
    attempts: i64,
    is_claimed: bool,
    is_uncertain: bool,
    incident: Option<i64>,
    changed_at: i64,
    detail: Option<String>,
    merged_into: Option<Vec<u8>>,
    body: Vec<u8>,
}

impl<'r, R> FromRow<'r, R> for Stored
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
    Option<Vec<u8>>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            sequence: row.try_get("sequence")?,
            group_key: row.try_get("group_key")?,
            integration: row.try_get("integration")?,
            state: row.try_get("state")?,
            not_before: row.try_get("not_before")?,
            attempts: row.try_get("attempts")?,
            is_claimed: row.try_get("is_claimed")?,
            is_uncertain: row.try_get("is_uncertain")?,
            incident: row.try_get("incident")?,
            changed_at: row.try_get("changed_at")?,
            detail: row.try_get("detail")?,
            merged_into: row.try_get("merged_into")?,
            body: row.try_get("body")?,
        })
    }
}

impl Stored {
    fn notification(&self, name: &str) -> Result<Notification> {
        parsed(name, &self.body)
    }

    fn attempts(&self) -> u32 {
        u32::try_from(self.attempts).unwrap_or(u32::MAX)
    }

    fn waiting(self, name: &str) -> Result<Waiting> {
        Ok(Waiting {
            sequence: self.sequence.cast_unsigned(),
            notification: self.notification(name)?,
            attempts: self.attempts(),
            is_uncertain: self.is_uncertain,
            incident: self.incident.map(|incident| IncidentId(incident.cast_unsigned())),
            detail: self.detail,
        })
    }

    fn entry(self, name: &str) -> Result<TrailEntry> {
        let state = state_of_number(self.state).ok_or_else(|| damaged(name))?;
        let is_waiting = state == DeliveryState::Pending && !self.is_claimed;
        let merged_into = self.merged_into.as_deref().map(Uuid::from_slice).transpose();
        Ok(TrailEntry {
            notification: self.notification(name)?,
            state,
            attempts: self.attempts(),
            changed_at: instant(name, self.changed_at)?,
            next_attempt_at: is_waiting.then(|| instant(name, self.not_before)).transpose()?,
            merged_into: merged_into
                .map_err(|error| damaged(name).with_source(error))?
                .map(NotificationId),
            detail: self.detail,
        })
    }
}

/// Rows as entries, those of other groups with the same hash left out.
fn entries(name: &str, rows: Vec<Stored>, groups: Option<&[GroupKey]>) -> Result<Vec<TrailEntry>> {
    rows.into_iter()
        .filter(|row| groups.is_none_or(|groups| is_among(groups, &row.group_key)))
        .map(|row| row.entry(name))
        .collect()
}

/// Suppressions as they are read, those of other groups with the same hash left out.
fn suppressions(name: &str, bodies: Vec<Vec<u8>>, groups: &[GroupKey]) -> Result<Vec<Suppressed>> {
    let mut suppressions = Vec::with_capacity(bodies.len());
    for body in bodies {
        let suppressed: Suppressed = parsed(name, &body)?;
        if groups.contains(&suppressed.group) {
            suppressions.push(suppressed);
        }
    }
    Ok(suppressions)
}

fn is_among(groups: &[GroupKey], group: &[u8]) -> bool {
    groups.iter().any(|key| key.as_str().as_bytes() == group)
}

/// What is told of each queue, from the rows of all of them in the order in which the queues are told.
fn taken(name: &str, rows: Vec<Stored>) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(head) = rows.next() {
        let queue = (head.integration.clone(), head.group_key.clone());
        let mut waiting = vec![head.waiting(name)?];
        while let Some(row) = rows.next_if(|row| row.integration == queue.0 && row.group_key == queue.1) {
            waiting.push(row.waiting(name)?);
        }
        taken.extend(queue::take(waiting));
    }
    Ok(taken)
}

/// What took others in.
#[derive(Debug)]
struct Grown {
    sequence: i64,
    attempts: i64,
    priority: i64,
    incident: Option<i64>,
    body: Vec<u8>,
}

/// What a claim writes.
#[derive(Debug, Default)]
struct Claiming {
    /// The places of those that are told as they were.
    plain: Vec<i64>,
    /// Those that took others in.
    grown: Vec<Grown>,
    /// The places of those that were taken in, and by which notification.
    merged: Vec<(i64, [u8; 16])>,
}

impl Claiming {
    fn of(name: &str, taken: &[Taken]) -> Result<Self> {
        let mut claiming = Self::default();
        for taken in taken {
            let sequence = taken.sequence.cast_signed();
            if taken.merged.is_empty() {
                claiming.plain.push(sequence);
                continue;
            }
            let notification = &taken.delivery.notification;
            claiming.grown.push(Grown {
                sequence,
                attempts: i64::from(taken.delivery.attempts),
                priority: i64::from(notification.severity.rank()),
                incident: incident_number(taken.incident),
                body: json(name, notification)?,
            });
            let id = notification.id.0.into_bytes();
            let merged = taken.merged.iter();
            claiming
                .merged
                .extend(merged.map(|place| (place.cast_signed(), id)));
        }
        Ok(claiming)
    }
}

/// A limit as the databases take it.
fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A fence as it is read.
fn fence(number: i64) -> Fence {
    Fence(number.cast_unsigned())
}

/// Whether a database of this schema version can be used; what is missing is added by the caller.
fn check_version(name: &str, found: i64, known: usize) -> Result<usize> {
    match usize::try_from(found) {
        Ok(version) if version <= known => Ok(version),
        _ => Err(Error::new(
            ErrorKind::InvalidConfig,
            text!(
                "the store {name} was written by a newer Alpha (schema {found}, this one knows {known}): use that one",
                name = name,
                found = found,
                known = known
            ),
        )),
    }
}

fn damaged(name: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        text!(
            "the store {name} is damaged: move it away to begin a new one, or restore it from a backup",
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
        _ => code.as_deref().map_or(ErrorKind::Unavailable, kind_of_code),
    };
    // The words of the driver around the words of the database add nothing.
    let source: Box<dyn std::error::Error + Send + Sync> = match error.as_database_error() {
        Some(error) => error.message().to_owned().into(),
        None => error.to_string().into(),
    };
    let message = match doing {
        _ if kind == ErrorKind::Conflict => repeated(name),
        _ if kind == ErrorKind::Corrupt || matches!(error, sqlx::Error::Decode(_)) => damaged(name),
        Doing::Opening => Error::new(kind, text!("could not open the store {name}", name = name)),
        Doing::Reading => Error::new(kind, text!("could not read the store {name}", name = name)),
        Doing::Writing => Error::new(kind, text!("could not write to the store {name}", name = name)),
    };
    message.with_source(source)
}

/// SQLite's codes have up to four digits (<https://sqlite.org/rescode.html>), PostgreSQL's have five characters
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). What is not known to stay is worth another try.
fn kind_of_code(code: &str) -> ErrorKind {
    if code.len() == 5 {
        return match (&code[..2], code) {
            ("28", _) | (_, "42501") => ErrorKind::Denied,
            ("3D", _) => ErrorKind::InvalidConfig,
            (_, "23505") => ErrorKind::Conflict,
            ("42" | "XX", _) => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
    }
    // The first byte of an extended code says which error it is, the rest of it where.
    match code.parse::<u32>().ok().map(|code| code & 0xff) {
        Some(3 | 8 | 23) => ErrorKind::Denied,
        Some(1 | 11 | 26) => ErrorKind::Corrupt,
        Some(14) => ErrorKind::Io,
        Some(19) => ErrorKind::Conflict,
        _ => ErrorKind::Unavailable,
    }
}

/// The end of a claim as it is written.
fn until(claim: &Claim) -> i64 {
    micros_not_before(claim.until)
}

/// The first end of a claim, or the first that is due of those that stand at the head of their queue.
static NEXT_DUE: LazyLock<String> = LazyLock::new(|| {
    let heads = (0..4).map(|priority| {
        format!(
            "SELECT (SELECT not_before FROM alert_outbox AS due
             WHERE state = 0 AND worker IS NULL AND priority = {priority} AND NOT EXISTS (
                 SELECT 1 FROM alert_outbox AS older WHERE older.state = 0 AND older.group_hash = due.group_hash
                 AND older.integration = due.integration AND older.sequence < due.sequence)
             ORDER BY not_before LIMIT 1) AS due_at"
        )
    });
    let heads: Vec<String> = heads.collect();
    format!(
        "SELECT min(due_at) FROM (
             SELECT min(claimed_until) AS due_at FROM alert_outbox WHERE state = 0 AND worker IS NOT NULL
             UNION ALL {}) AS head",
        heads.join(" UNION ALL ")
    )
});
