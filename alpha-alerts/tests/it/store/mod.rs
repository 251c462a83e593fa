//! The stores: that they follow the contract, agree with each other, and keep their word when something dies.
#![expect(clippy::unwrap_used, reason = "a test may fail there")]

mod agreement;
mod faults;
mod kill;
mod shared;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use alpha_alerts::store::{Changes, Claim, Fence, Key, Kind, Lease, Store};
use alpha_alerts::stores::{MemoryStore, PostgresStore, SqliteStore};
use alpha_alerts::{Alert, Event, Labels, Notification, NotificationId, Reason, Severity, testing};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use uuid::Uuid;

async fn sqlite(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path().join("alerts.db")).await.unwrap()
}

async fn postgres(server: &testbed::Postgres) -> PostgresStore {
    PostgresStore::connect(&server.url().into()).await.unwrap()
}

#[tokio::test]
async fn memory_conforms() {
    testing::store::conformance(&MemoryStore::new()).await;
}

#[tokio::test]
async fn sqlite_conforms() {
    let folder = TempDir::new().unwrap();
    testing::store::conformance(&sqlite(&folder).await).await;
}

#[tokio::test]
async fn postgres_conforms() {
    let server = testbed::need!(testbed::Postgres::start());
    testing::store::conformance(&postgres(&server).await).await;
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_315_200 + second).unwrap()
}

fn claim(worker: &str, second: i64) -> Claim {
    Claim {
        worker: worker.to_owned(),
        now: at(second),
        until: at(second + 60),
    }
}

fn lease(holder: &str, second: i64) -> Lease {
    Lease {
        holder: holder.to_owned(),
        now: at(second),
        until: at(second + 10),
    }
}

async fn lead(store: &dyn Store, holder: &str, second: i64) -> Fence {
    store.lead(&lease(holder, second)).await.unwrap().unwrap()
}

fn notification(id: u128, group: &str, second: i64) -> Notification {
    Notification {
        id: NotificationId(Uuid::from_u128(id)),
        receiver: Arc::from("ops"),
        integration: "ops/slack/0".into(),
        group: group.into(),
        group_labels: Labels::default(),
        event: Event::Firing,
        reason: Reason::New,
        severity: Severity::P2,
        alerts: vec![Alert::firing(
            Labels::new([("alertname", id.to_string())]),
            at(second),
        )],
        incident: None,
        created_at: at(second),
        late: None,
    }
}

fn put(id: &str, body: &str) -> (Key, bytes::Bytes) {
    let key = Key {
        kind: Kind::Alert,
        id: id.into(),
    };
    (key, body.to_owned().into())
}

fn puts(puts: Vec<(Key, bytes::Bytes)>) -> Changes {
    let mut changes = Changes::default();
    changes.puts = puts;
    changes
}

async fn load(store: &dyn Store) -> Vec<(Key, bytes::Bytes)> {
    let mut records = store.load().await.unwrap();
    records.sort();
    records
}

/// Numbers in an order that is the same in every run with the same seed.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    move |below| random.u64(..below)
}

/// This test binary again, running one of its ignored tests on its own against `store`.
fn child_command(test: &str, store: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("ALPHA_STORE", store);
    command
}

/// The store that [`child_command`] names.
async fn child_store() -> alpha_alerts::Result<Arc<dyn Store>> {
    let name = std::env::var("ALPHA_STORE").unwrap();
    if name.starts_with("postgres:") {
        return Ok(Arc::new(PostgresStore::connect(&name.into()).await?));
    }
    Ok(Arc::new(SqliteStore::open(Path::new(&name)).await?))
}

fn until_later(now: Timestamp) -> Timestamp {
    now + SignedDuration::from_mins(1)
}
