use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use alpha_probes::histories::{MemoryHistory, MemoryLimits, PostgresHistory, SqliteHistory};
use alpha_probes::history::{self, History, Query, Resolution, Retention, Sample};
use alpha_probes::{CheckId, ErrorKind, Labels, Measurement, Unit, testing};
use jiff::Timestamp;
use secrecy::SecretString;
use tempfile::TempDir;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn check(name: &str) -> CheckId {
    name.parse().unwrap()
}

fn sample(check: &CheckId, second: i64, value: f64) -> Sample {
    Sample {
        check: check.clone(),
        at: at(second),
        measurement: Measurement {
            name: "used".into(),
            value,
            unit: Unit::Bytes,
            labels: Labels::new(),
        },
    }
}

async fn sqlite(folder: &TempDir) -> SqliteHistory {
    let path = folder.path().join("history.db");
    SqliteHistory::open(path, Retention::default()).await.unwrap()
}

async fn postgres(server: &testbed::Postgres) -> PostgresHistory {
    PostgresHistory::open(&SecretString::from(server.url()), Retention::default())
        .await
        .unwrap()
}

fn memory() -> MemoryHistory {
    let limits = Resolution::ROLLED
        .into_iter()
        .fold(MemoryLimits::values(2000), |limits, resolution| {
            limits.with(resolution, 1000)
        });
    MemoryHistory::new(limits, Retention::default())
}

#[tokio::test]
async fn memory_conforms() {
    testing::history(&memory()).await;
}

#[tokio::test]
async fn sqlite_conforms() {
    let folder = TempDir::new().unwrap();
    testing::history(&sqlite(&folder).await).await;
}

#[tokio::test]
async fn postgres_conforms() {
    let server = testbed::need!(testbed::Postgres::start());
    testing::history(&postgres(&server).await).await;
}

/// Everything of a check, value by value.
async fn values(history: &dyn History, check: &CheckId) -> Vec<f64> {
    let traces = history.points(&everything(check, Resolution::Raw)).await.unwrap();
    let points = traces.iter().flat_map(|trace| &trace.points);
    points.map(|point| point.last).collect()
}

/// How many values of a check the roll-ups per day counted.
async fn count(history: &dyn History, check: &CheckId) -> u64 {
    let traces = history.points(&everything(check, Resolution::Day)).await.unwrap();
    let points = traces.iter().flat_map(|trace| &trace.points);
    points.map(|point| point.count).sum()
}

fn everything(check: &CheckId, resolution: Resolution) -> Query {
    let mut query = Query::new(check.clone(), at(0), at(i64::from(u32::MAX)), resolution);
    query.limit = usize::MAX;
    query
}

/// Small numbers in an order that is the same in every run.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

/// Whatever is done in whatever order, a database answers as memory does.
async fn agrees_with_memory(database: &dyn History, seed: u64) {
    let memory = memory();
    let mut number = numbers(seed);
    let checks = [check("agree/one"), check("agree/two")];
    let now = 1_780_315_200;
    for _ in 0..60 {
        if number(4) == 0 {
            memory.compact(at(now)).await.unwrap();
            database.compact(at(now)).await.unwrap();
        }
        let batch: Vec<_> = (0..number(30))
            .map(|_| {
                let mut sample = sample(
                    &checks[number(2) as usize],
                    now - number(40_000) as i64,
                    number(1000) as f64 / 7.0,
                );
                if number(3) == 0 {
                    sample.measurement.labels = vec![("mount".into(), number(3).to_string())];
                }
                sample
            })
            .collect();
        assert_eq!(
            memory.append(&batch).await.unwrap(),
            database.append(&batch).await.unwrap()
        );
        let from = now - number(50_000) as i64;
        for resolution in [
            Resolution::Raw,
            Resolution::Minute,
            Resolution::Hour,
            Resolution::Day,
        ] {
            let mut query = Query::new(
                checks[0].clone(),
                at(from),
                at(from + number(40_000) as i64),
                resolution,
            );
            query.limit = 1 + number(100) as usize;
            let mut expected = memory.points(&query).await.unwrap();
            let mut found = database.points(&query).await.unwrap();
            // The order of adding is another one, and so is the last digit of a mean.
            for trace in expected.iter_mut().chain(&mut found) {
                for point in &mut trace.points {
                    point.mean = (point.mean * 1e6).round();
                }
            }
            assert_eq!(found, expected, "{query:?}");
        }
    }
}

#[tokio::test]
async fn sqlite_answers_as_memory_does() {
    for seed in 0..5 {
        let folder = TempDir::new().unwrap();
        agrees_with_memory(&sqlite(&folder).await, seed).await;
    }
}

#[tokio::test]
async fn postgres_answers_as_memory_does() {
    let server = testbed::need!(testbed::Postgres::start());
    agrees_with_memory(&postgres(&server).await, 1).await;
}

/// Appends by two users of one database while it is compacted, and expects each value to be counted once.
async fn two_write_at_once(one: impl History + 'static, two: impl History + 'static) {
    let (one, two) = (std::sync::Arc::new(one), std::sync::Arc::new(two));
    let check = check("both");
    let writers = [
        (std::sync::Arc::clone(&one) as std::sync::Arc<dyn History>, 0),
        (two, 1),
    ];
    let mut tasks = Vec::new();
    for (history, offset) in writers {
        let check = check.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..50 {
                let batch: Vec<_> = (0..40)
                    .map(|index| sample(&check, 1_780_000_000 + 2 * (40 * round + index) + offset, 1.0))
                    .collect();
                history.append(&batch).await.unwrap();
                if round % 5 == 0 {
                    history.compact(at(1_780_000_000)).await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    one.compact(at(1_780_000_000)).await.unwrap();
    assert_eq!(values(&one, &check).await.len(), 4000);
    assert_eq!(count(&one, &check).await, 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_an_sqlite_file() {
    let folder = TempDir::new().unwrap();
    two_write_at_once(sqlite(&folder).await, sqlite(&folder).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_a_postgres_database() {
    let server = testbed::need!(testbed::Postgres::start());
    two_write_at_once(postgres(&server).await, postgres(&server).await).await;
}

#[tokio::test]
async fn an_sqlite_file_is_its_owners_alone_and_keeps_everything() {
    let folder = TempDir::new().unwrap();
    let history = sqlite(&folder).await;
    let check = check("disk");
    let batch: Vec<_> = (0..100).map(|second| sample(&check, second, 1.0)).collect();
    history.append(&batch).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    assert_eq!(files.len(), 3, "the file, its log and its index");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file:?}");
    }
    history.close().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(values(&sqlite(&folder).await, &check).await.len(), 100);
}

/// Opens a history that cannot be opened.
async fn refusal(path: &Path) -> (ErrorKind, String) {
    let error = SqliteHistory::open(path, Retention::default()).await.unwrap_err();
    (error.kind(), error.to_text().to_string())
}

#[tokio::test]
async fn a_file_that_is_no_history_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notes.txt");
    let notes = "not a database\n".repeat(1000);
    std::fs::write(&path, &notes).unwrap();
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, ErrorKind::Malformed);
    assert_eq!(
        message,
        format!(
            "the history {} is damaged: move it away to begin a new one, or restore it from a backup: \
             file is not a database",
            path.display()
        )
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}

#[tokio::test]
async fn a_damaged_file_is_told_and_the_undamaged_part_stays() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history.db");
    let history = sqlite(&folder).await;
    let check = check("disk");
    let batch: Vec<_> = (0..20_000)
        .map(|second| sample(&check, second, second as f64))
        .collect();
    history.append(&batch).await.unwrap();
    history.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle - 60_000..middle + 60_000].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let history = sqlite(&folder).await;
    let error = history
        .points(&everything(&check, Resolution::Raw))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.to_string().contains("is damaged"), "{error}");
    history.close().await;
    assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes.len() as u64);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("none/history.db");
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, ErrorKind::Io);
    assert_eq!(
        message,
        format!(
            "could not open the history {}: No such file or directory (os error 2)",
            path.display()
        )
    );
}

#[tokio::test]
async fn an_sqlite_file_of_a_newer_alpha_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history.db");
    sqlite(&folder).await.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let newer = sqlx::query("INSERT INTO history_version VALUES (99)");
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
async fn a_postgres_database_of_a_newer_alpha_is_refused() {
    let server = testbed::need!(testbed::Postgres::start());
    postgres(&server).await.close().await;
    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    let newer = sqlx::query("INSERT INTO history_version VALUES (99)");
    newer.execute(&pool).await.unwrap();
    let error = PostgresHistory::open(&server.url().into(), Retention::default()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn a_postgres_that_is_away_is_told_without_its_password_and_used_again() {
    let mut server = testbed::need!(testbed::Postgres::start());
    let history = postgres(&server).await;
    let check = check("disk");
    history.append(&[sample(&check, 1, 1.0)]).await.unwrap();
    server.stop();
    let error = history.append(&[sample(&check, 2, 2.0)]).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let shown = format!("{error:?} {} {history:?}", error.to_text());
    assert!(!shown.contains(testbed::POSTGRES_PASSWORD), "{shown}");
    server.restart();
    history.append(&[sample(&check, 2, 2.0)]).await.unwrap();
    assert_eq!(values(&history, &check).await, [1.0, 2.0]);

    let wrong = server.url().replace(testbed::POSTGRES_PASSWORD, "hunter2");
    let error = PostgresHistory::open(&wrong.into(), Retention::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    for (url, kind) in [
        (
            format!("postgres://alpha:hunter2@127.0.0.1:{}/none", testbed::free_port()),
            ErrorKind::Unreachable,
        ),
        (server.url() + "_none", ErrorKind::InvalidConfig),
        ("mysql://alpha:hunter2@db".to_owned(), ErrorKind::InvalidConfig),
        (
            "postgres://alpha:hunter2@db:notaport/x".to_owned(),
            ErrorKind::InvalidConfig,
        ),
    ] {
        let error = PostgresHistory::open(&url.clone().into(), Retention::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_new_buffer_is_filled_from_the_history() {
    use alpha_probes::condition::Series as _;
    use alpha_probes::series::SeriesBuffer;

    let folder = TempDir::new().unwrap();
    let history = sqlite(&folder).await;
    let check = check("disk");
    let now = 1_780_315_200;
    let batch: Vec<_> = (0..3 * 8640)
        .map(|run| sample(&check, now - 3 * 86_400 + 10 * (run + 1), run as f64))
        .collect();
    history.append(&batch).await.unwrap();
    history.compact(at(now)).await.unwrap();
    let hour = Duration::from_secs(3600);
    let windows = [("used".to_owned(), hour / 12), ("used".to_owned(), 60 * hour)];
    let mut buffer = SeriesBuffer::new(windows);
    history::restore(&mut buffer, &history, &check, at(now))
        .await
        .unwrap();
    let read = |seconds: i64| {
        let mut points = Vec::new();
        buffer.points("used", &Labels::new(), at(now - seconds), &mut points);
        points
    };
    assert_eq!(read(300).len(), 31);
    let long = read(60 * 3600);
    assert!(long.len() > 60, "{} points", long.len());
    let first = long[0].0.as_second() - (now - 60 * 3600);
    assert!((0..=7200).contains(&first), "the first point is {first} s late");
    assert_eq!(*long.last().unwrap(), (at(now), (3 * 8640 - 1) as f64));
    // A counter may be followed through: each value is at its own instant.
    assert!(
        long.iter()
            .all(|(at, value)| *value as i64 * 10 == at.as_second() - now + 3 * 86_400 - 10)
    );
}

/// This test binary again, running [`child`] on its own.
fn child_command(path: &Path, part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "history::child", "--ignored", "--nocapture"])
        .env("ALPHA_HISTORY", path)
        .env("ALPHA_HISTORY_PART", part);
    command
}

/// What the tests below run in a process of its own: for being killed, and for being somewhere without room or rights.
#[tokio::test]
#[ignore = "run by other tests"]
async fn child() {
    let path = std::env::var_os("ALPHA_HISTORY").unwrap();
    let part = std::env::var("ALPHA_HISTORY_PART").unwrap();
    let history = match SqliteHistory::open(path, Retention::default()).await {
        Ok(history) => history,
        Err(error) => return println!("failed {:?} {}", error.kind(), error.to_text()),
    };
    let check = check("killed");
    let mut next: i64 = part.parse().unwrap();
    loop {
        let batch: Vec<_> = (next..next + 20)
            .map(|id| sample(&check, BEGIN + id, id as f64))
            .collect();
        if let Err(error) = history.append(&batch).await {
            println!("failed {:?} {}", error.kind(), error.to_text());
            break;
        }
        next += 20;
        println!("kept {next}");
        if next % 100 == 0 {
            history.compact(at(BEGIN)).await.unwrap();
            let state = (check.clone(), next.into());
            history.store_states(&[state], at(BEGIN)).await.unwrap();
            println!("state {next}");
        }
    }
    println!("values {}", values(&history, &check).await.len());
}

/// The instant of the first value of [`child`].
const BEGIN: i64 = 1_780_300_000;

fn last_number(output: &str, word: &str) -> Option<i64> {
    let numbers = output.lines().filter_map(|line| line.strip_prefix(word));
    numbers
        .filter_map(|number| number.trim().parse().ok())
        .next_back()
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_minus_nine() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history.db");
    let check = check("killed");
    let mut number = numbers(9);
    let (mut next, mut state, mut acknowledged) = (0, None, 0);
    for round in 0..60 {
        let mut child = child_command(&path, &next.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut output = String::new();
        // Some are killed while they open the file, most in the middle of writing.
        if round % 6 != 0 {
            while !output.contains("kept") && stdout.read_line(&mut output).unwrap() > 0 {}
        }
        tokio::time::sleep(Duration::from_micros(number(30_000))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        stdout.read_to_string(&mut output).unwrap();
        assert!(!output.contains("failed"), "{output}");
        if let Some(kept) = last_number(&output, "kept ") {
            acknowledged += 1;
            next = kept;
        }
        state = last_number(&output, "state ").or(state);

        let history = sqlite(&folder).await;
        let values = values(&history, &check).await;
        // A batch may have been kept without the word having got out, but wholly.
        let kept = values.len() as i64;
        assert!(
            kept == next || kept == next + 20,
            "{kept} kept, {next} acknowledged"
        );
        assert!(values.iter().zip(0..).all(|(value, id)| *value == f64::from(id)));
        assert_eq!(count(&history, &check).await, values.len() as u64);
        let stored = history.load_states().await.unwrap();
        let stored = stored.first().and_then(|(_, state)| state.as_i64());
        assert!(stored >= state, "{stored:?} stored, {state:?} acknowledged");
        next = kept;
        history.close().await;
    }
    assert!(acknowledged >= 50, "only {acknowledged} rounds wrote anything");
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    // A file system of 2 MB of its own, which only this child sees.
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history.db");
    let script = r#"mount -t tmpfs -o size=2m none "$0" && exec "$@""#;
    let child = child_command(&path, "0");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--map-root-user", "sh", "-c", script])
        .arg(folder.path());
    command.arg(child.get_program()).args(child.get_args());
    command.env("ALPHA_HISTORY", &path).env("ALPHA_HISTORY_PART", "0");
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
    let failure = output.lines().find(|line| line.contains("failed ")).unwrap();
    assert!(
        failure.ends_with(&format!(
            "failed Io could not write the history {}: database or disk is full",
            path.display()
        )),
        "{failure}"
    );
    // What was kept before can be read on the full disk.
    let kept = last_number(&output, "kept ").unwrap();
    assert!(kept > 100, "{output}");
    assert_eq!(last_number(&output, "values "), Some(kept), "{output}");
}

#[tokio::test]
async fn a_folder_without_rights_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("history.db");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anywhere; nobody may not, and must be able to read this program.
    let program = folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let child = child_command(&path, "0");
    let mut command = Command::new(program);
    command.args(child.get_args()).current_dir("/");
    command.env("ALPHA_HISTORY", &path).env("ALPHA_HISTORY_PART", "0");
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.contains(&format!(
            "failed Denied could not open the history {}: Permission denied (os error 13)",
            path.display()
        )),
        "{output}"
    );
}
