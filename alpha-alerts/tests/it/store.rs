#![expect(clippy::unwrap_used, reason = "a test may fail there")]

use alpha_alerts::stores::{MemoryStore, PostgresStore, SqliteStore};
use alpha_alerts::testing;
use tempfile::TempDir;

async fn sqlite(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(folder.path().join("alerts.db")).await.unwrap()
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

async fn postgres(server: &testbed::Postgres) -> PostgresStore {
    PostgresStore::connect(&server.url().into()).await.unwrap()
}

#[tokio::test]
async fn postgres_conforms() {
    let server = testbed::need!(testbed::Postgres::start());
    testing::store::conformance(&postgres(&server).await).await;
}
