use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use alpha_alerts::ErrorKind;

use super::*;

async fn refusal(path: &Path) -> (ErrorKind, String) {
    let error = SqliteStore::open(path).await.unwrap_err();
    (error.kind(), error.to_text().to_string())
}

#[tokio::test]
async fn only_its_owner_reads_the_file() {
    let folder = TempDir::new().unwrap();
    let store = sqlite(&folder).await;
    let fence = lead(&store, "one", 0).await;
    let changes = puts(vec![put("a", "1")]);
    store.commit(fence, &changes, &claim("one", 0)).await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert_eq!(files, 3, "the file, its log and the log's index");
    store.close().await;
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1);
}

#[tokio::test]
async fn what_was_closed_is_there_when_it_is_opened_again() {
    let folder = TempDir::new().unwrap();
    let store = sqlite(&folder).await;
    let first = lead(&store, "one", 0).await;
    let all: Vec<_> = (0..500).map(|id| put(&format!("{id}"), "old")).collect();
    let mut changes = puts(all);
    changes.notifications = vec![notification(1, "a", 0), notification(2, "a", 0)];
    let told = store.commit(first, &changes, &claim("one", 0)).await.unwrap();
    store.close().await;

    let store = sqlite(&folder).await;
    let second = lead(&store, "two", 1).await;
    assert!(second > first);
    // Nobody needs to wait for the dead, and what they held may have been told.
    assert_eq!(store.claim(&claim("two", 1), 10, &[]).await.unwrap(), told);
    // The places of records are known again: those that are there are overwritten, and gaps are filled.
    let mut changes = puts((300..700).map(|id| put(&format!("{id}"), "new")).collect());
    changes.deletes = (100..200).map(|id| put(&format!("{id}"), "").0).collect();
    store.commit(second, &changes, &claim("two", 2)).await.unwrap();
    let changes = puts((1000..1050).map(|id| put(&format!("{id}"), "late")).collect());
    store.commit(second, &changes, &claim("two", 2)).await.unwrap();
    let mut expected: Vec<_> = (0..100)
        .chain(200..300)
        .map(|id| put(&id.to_string(), "old"))
        .collect();
    expected.extend((300..700).map(|id| put(&id.to_string(), "new")));
    expected.extend((1000..1050).map(|id| put(&id.to_string(), "late")));
    expected.sort();
    assert_eq!(load(&store).await, expected);
}

#[tokio::test]
async fn two_processes_with_one_file_do_not_overwrite_each_other() {
    let folder = TempDir::new().unwrap();
    let (one, two) = (sqlite(&folder).await, sqlite(&folder).await);
    let first = lead(&one, "one", 0).await;
    let records =
        |ids: std::ops::Range<u32>, body: &str| puts(ids.map(|id| put(&format!("{id:03}"), body)).collect());
    one.commit(first, &records(0..10, "1"), &claim("one", 0))
        .await
        .unwrap();
    let second = lead(&two, "two", 1).await;
    two.commit(second, &records(5..20, "2"), &claim("two", 1))
        .await
        .unwrap();
    let error = one.commit(first, &records(0..30, "3"), &claim("one", 2)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Fenced);
    let third = lead(&one, "one again", 3).await;
    one.commit(third, &records(15..25, "4"), &claim("one", 3))
        .await
        .unwrap();
    let mut expected = records(0..5, "1").puts;
    expected.extend(records(5..15, "2").puts);
    expected.extend(records(15..25, "4").puts);
    assert_eq!(load(&two).await, expected);
}

/// A commit whose future is dropped anywhere has done all or nothing, and the next one knows what is there.
async fn survives_being_dropped(store: &dyn Store, fence: Fence, seed: u64) {
    let mut number = numbers(seed);
    let (mut cut, mut expected) = (0, BTreeMap::new());
    for round in 0..120_u64 {
        let ids = number(200)..number(200) + 100;
        let body = round.to_string();
        let changes = puts(ids.map(|id| put(&format!("{id}"), &body)).collect());
        let claim = claim("one", 0);
        let committing = store.commit(fence, &changes, &claim);
        let patience = Duration::from_micros(number(3000));
        let answer = tokio::time::timeout(patience, committing).await;
        let mut with: BTreeMap<_, _> = expected.clone();
        with.extend(changes.puts);
        match answer {
            Ok(answer) => {
                answer.unwrap();
                let found: BTreeMap<_, _> = load(store).await.into_iter().collect();
                assert!(found == with, "round {round} of seed {seed}");
            }
            // It may still be on its way. Whoever leads waits for it.
            Err(_) => {
                cut += 1;
                assert_eq!(lead(store, "one", 0).await, fence);
                let found: BTreeMap<_, _> = load(store).await.into_iter().collect();
                assert!(found == with || found == expected, "round {round} of seed {seed}");
                expected = found;
                continue;
            }
        }
        expected = with;
    }
    assert!(cut > 5, "only {cut} were dropped");
}

#[tokio::test]
async fn a_dropped_commit_to_sqlite_is_all_or_nothing() {
    let folder = TempDir::new().unwrap();
    let store = sqlite(&folder).await;
    let fence = lead(&store, "one", 0).await;
    survives_being_dropped(&store, fence, 3).await;
}

#[tokio::test]
async fn a_dropped_commit_to_postgres_is_all_or_nothing() {
    let server = testbed::need!(testbed::Postgres::start());
    let store = postgres(&server).await;
    let fence = lead(&store, "one", 0).await;
    survives_being_dropped(&store, fence, 4).await;
}

#[tokio::test]
async fn what_is_no_database_is_told_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("alerts.db");
    let notes = "who is on call?\n".repeat(200);
    std::fs::write(&path, &notes).unwrap();
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, ErrorKind::Corrupt);
    assert_eq!(
        message,
        format!(
            "the store {} is damaged: move it away to begin a new one, or restore it from a backup: \
             file is not a database",
            path.display()
        )
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}

#[tokio::test]
async fn a_damaged_file_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("alerts.db");
    let store = sqlite(&folder).await;
    let fence = lead(&store, "one", 0).await;
    let body = "x".repeat(300);
    let changes = puts((0..5000).map(|id| put(&format!("{id}"), &body)).collect());
    store.commit(fence, &changes, &claim("one", 0)).await.unwrap();
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle - 60_000..middle + 60_000].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let store = sqlite(&folder).await;
    let error = store.load().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let message = error.to_string();
    let named = format!("the store {} is damaged", path.display());
    assert!(message.starts_with(&named), "{message}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("none/alerts.db");
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, ErrorKind::Io);
    assert_eq!(
        message,
        format!(
            "could not open the store {}: No such file or directory (os error 2)",
            path.display()
        )
    );
}

#[tokio::test]
async fn a_file_of_a_newer_alpha_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("alerts.db");
    sqlite(&folder).await.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let newer = sqlx::query("INSERT INTO alert_version VALUES (99)");
    newer.execute(&pool).await.unwrap();
    pool.close().await;
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, ErrorKind::InvalidConfig);
    assert!(
        message.ends_with("was written by a newer Alpha (schema 99, this one knows 1): use that one"),
        "{message}"
    );
}

#[tokio::test]
async fn a_postgres_that_is_away_is_told_without_its_password_and_used_again() {
    let mut server = testbed::need!(testbed::Postgres::start());
    let store = postgres(&server).await;
    let fence = lead(&store, "one", 0).await;
    let one = puts(vec![put("a", "1")]);
    store.commit(fence, &one, &claim("one", 0)).await.unwrap();
    server.stop();
    let error = store.commit(fence, &one, &claim("one", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let shown = format!("{error:?} {} {store:?}", error.to_text());
    assert!(!shown.contains(testbed::POSTGRES_PASSWORD), "{shown}");
    server.restart();
    let two = puts(vec![put("b", "2")]);
    store.commit(fence, &two, &claim("one", 2)).await.unwrap();
    assert_eq!(load(&store).await, [put("a", "1"), put("b", "2")]);

    let wrong = server.url().replace(testbed::POSTGRES_PASSWORD, "hunter2");
    for (url, kind) in [
        (wrong, ErrorKind::Denied),
        (
            format!("postgres://alpha:hunter2@127.0.0.1:{}/none", testbed::free_port()),
            ErrorKind::Unavailable,
        ),
        (server.url() + "_none", ErrorKind::InvalidConfig),
        ("mysql://alpha:hunter2@db".to_owned(), ErrorKind::InvalidConfig),
        (
            "postgres://alpha:hunter2@db:notaport/x".to_owned(),
            ErrorKind::InvalidConfig,
        ),
    ] {
        let error = PostgresStore::connect(&url.clone().into()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    let newer = sqlx::query("INSERT INTO alert_version VALUES (99)");
    newer.execute(&pool).await.unwrap();
    let error = PostgresStore::connect(&server.url().into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

/// Fills a disk, is refused, makes room, and goes on: run by the test below where there is little of it.
#[tokio::test]
#[ignore = "run by another test"]
async fn on_a_small_disk() {
    let path = std::env::var("ALPHA_STORE").unwrap();
    let ballast = Path::new(&path).with_file_name("ballast");
    std::fs::write(&ballast, vec![1; 700_000]).unwrap();
    let store = child_store().await.unwrap();
    let fence = lead(&*store, "one", 0).await;
    let mut kept: Vec<(Key, bytes::Bytes)> = Vec::new();
    let batch = |round: usize| -> Vec<_> {
        (0..20)
            .map(|id| put(&format!("{round:06}/{id:02}"), &"x".repeat(200)))
            .collect()
    };
    let mut round = 0;
    let error = loop {
        let mut changes = puts(batch(round));
        changes.notifications = vec![notification(round as u128, &format!("g{round}"), 0)];
        match store.commit(fence, &changes, &claim("one", 0)).await {
            Ok(told) => assert_eq!(told.len(), 1),
            Err(error) => break error,
        }
        kept.extend(changes.puts);
        round += 1;
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.to_text().to_string(),
        format!("could not write to the store {path}: database or disk is full")
    );
    assert!(round > 20, "{round}");
    assert!(
        load(&*store).await == kept,
        "what was kept can be read on the full disk"
    );
    let groups = [format!("g{round}").into()];
    let trail = store.trail(&groups).await.unwrap();
    assert!(trail.notifications.is_empty(), "half of it was written");
    std::fs::remove_file(&ballast).unwrap();
    let mut changes = puts(batch(round));
    changes.notifications = vec![notification(round as u128, &format!("g{round}"), 0)];
    let told = store.commit(fence, &changes, &claim("one", 0)).await.unwrap();
    assert_eq!(told.len(), 1);
    kept.extend(changes.puts);
    assert!(load(&*store).await == kept);
    println!("went on after {round} rounds");
}

#[tokio::test]
async fn a_full_disk_is_told_and_used_again_when_there_is_room() {
    // A file system of 3 MB of its own, which only this child sees.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("alerts.db");
    let script = r#"mount -t tmpfs -o size=3m none "$0" && exec "$@""#;
    let child = child_command("store::faults::on_a_small_disk", path.to_str().unwrap());
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--map-root-user", "sh", "-c", script])
        .arg(folder.path())
        .arg(child.get_program())
        .args(child.get_args())
        .env("ALPHA_STORE", &path);
    let output = command.output();
    let output = output.as_ref().map(|output| {
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    });
    let made = output
        .as_ref()
        .is_ok_and(|output| output.contains("running 1 test"));
    let missing = || testbed::Missing(format!("no right to mount a small file system: {output:?}"));
    testbed::need!(made.then_some(()).ok_or_else(missing));
    let output = output.unwrap();
    assert!(output.contains("went on after"), "{output}");
}
