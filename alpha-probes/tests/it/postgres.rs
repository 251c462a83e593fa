//! The probe `postgres` against real servers.

use std::sync::Arc;
use std::time::Duration;

use alpha_probes::check::ProbeConfig as _;
use alpha_probes::probes::PostgresConfig;
use alpha_probes::probes::postgres::SslMode;
use alpha_probes::{ErrorKind, Observation, Period, Probe, Resources, Result, SecretRef, Status};
use sqlx::{Connection as _, Executor as _, PgConnection};
use testbed::{POSTGRES_PASSWORD, Postgres};

use crate::support::{SECRET, ask_within, failure, judged, knowing};

fn config(server: &Postgres) -> PostgresConfig {
    let mut config = PostgresConfig::default();
    config.host = Some("127.0.0.1".to_owned());
    config.port = Some(server.port());
    config.password = Some(SecretRef::Env(SECRET.to_owned()));
    config
}

fn probe(config: &PostgresConfig) -> Arc<dyn Probe> {
    let probe = config.build(&knowing(POSTGRES_PASSWORD)).unwrap();
    assert!(!format!("{probe:?}").contains(POSTGRES_PASSWORD));
    probe
}

async fn look(probe: &dyn Probe) -> Result<Observation> {
    ask_within(probe, Duration::from_secs(20)).await
}

async fn observe(config: &PostgresConfig) -> Result<Observation> {
    look(&*probe(config)).await
}

async fn client(server: &Postgres) -> PgConnection {
    PgConnection::connect(&server.url()).await.unwrap()
}

#[tokio::test]
async fn a_server_that_is_well() {
    let server = testbed::need!(Postgres::start_with(&[
        ("max_connections", "13"),
        ("superuser_reserved_connections", "3"),
    ]));
    let probe = probe(&config(&server));
    let first = look(&*probe).await.unwrap();
    assert_eq!(first.failure, None);
    for (name, expected) in [
        ("connected", 1.0),
        ("sees_all", 1.0),
        ("connections", 1.0),
        ("connections_max", 10.0),
        ("connections_share", 0.1),
        ("connections_idle_in_transaction", 0.0),
        ("longest_transaction", 0.0),
        ("standbys", 0.0),
        ("slots_inactive", 0.0),
        ("queries_failed", 0.0),
    ] {
        assert_eq!(first.value(name), Some(expected), "{name}");
    }
    assert!(first.value("database_size").unwrap() > 1e6);
    assert!(first.value("xid_age").unwrap() < 0.01);
    assert!((0.0..=1.0).contains(&first.value("cache_hit").unwrap()));
    assert_eq!(first.facts["role"], "primary");
    assert_eq!(first.facts["pg_stat_statements"], "not installed");
    for measurement in &first.measurements {
        let metric = probe
            .kind()
            .metrics
            .iter()
            .find(|metric| metric.name == measurement.name);
        assert_eq!(
            metric.map(|metric| metric.unit),
            Some(measurement.unit),
            "{measurement}"
        );
    }

    // The connection is kept.
    let second = look(&*probe).await.unwrap();
    assert_eq!(second.value("connect_time"), first.value("connect_time"));
    assert_eq!(second.value("connections"), Some(1.0));
    // As of the first look, not as of the start.
    assert_ne!(
        second.facts.get("cache_hit_since"),
        first.facts.get("cache_hit_since")
    );

    let mut idle = client(&server).await;
    idle.execute("BEGIN; SELECT 1").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let third = look(&*probe).await.unwrap();
    assert_eq!(third.value("connections_idle_in_transaction"), Some(1.0));
    assert!(third.value("longest_transaction").unwrap() >= 0.2);
    let by = third.facts["longest_transaction_by"].as_str().unwrap();
    assert!(
        by.contains("user postgres") && by.contains("idle in transaction"),
        "{by}"
    );
}

#[tokio::test]
async fn own_queries_yield_numbers_and_cannot_write() {
    let server = testbed::need!(Postgres::start());
    let mut admin = client(&server).await;
    admin
        .execute(
            "CREATE TABLE users (plan text, seen timestamptz);
             INSERT INTO users VALUES ('free', now()), ('free', now()), ('paid', now() - interval '9 days');
             CREATE SEQUENCE counter;
             CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS 'DELETE FROM users RETURNING 1';",
        )
        .await
        .unwrap();
    let mut config = config(&server);
    for (name, sql) in [
        (
            "active_users",
            "SELECT count(*) FROM users WHERE seen > now() - interval '1 day';",
        ),
        (
            "users",
            "SELECT plan, count(*)::numeric FROM users GROUP BY plan ORDER BY plan -- by plan",
        ),
        ("nobody", "SELECT avg(1) FROM users WHERE false"),
        ("typo", "SELECT count(*) FROM user_s"),
        ("writes", "DELETE FROM users RETURNING 1"),
        (
            "hides",
            "WITH gone AS (DELETE FROM users RETURNING 1) SELECT count(*) FROM gone",
        ),
        (
            "breaks_out",
            "SELECT 1) AS a; DELETE FROM users; SELECT (SELECT 1",
        ),
        ("calls", "SELECT sneak()"),
        ("counts", "SELECT nextval('counter')"),
        (
            "unlocks",
            "SELECT set_config('transaction_read_only', 'off', true)::bool::int FROM users",
        ),
    ] {
        config.queries.insert(name.to_owned(), sql.to_owned());
    }
    let probe = probe(&config);
    for _ in 0..2 {
        let observation = look(&*probe).await.unwrap();
        assert_eq!(observation.value("active_users"), Some(2.0));
        let users: Vec<_> = observation
            .measurements
            .iter()
            .filter(|measurement| measurement.name == "users")
            .map(|measurement| format!("{measurement} {}", measurement.value))
            .collect();
        assert_eq!(users, [r#"users{plan="free"} 2"#, r#"users{plan="paid"} 1"#]);
        assert_eq!(observation.value("nobody"), None);
        let errors = observation.facts["query_errors"].as_array().unwrap();
        let failed: Vec<_> = errors
            .iter()
            .map(|error| error.as_str().unwrap().split(':').next().unwrap())
            .collect();
        assert_eq!(
            failed,
            [
                "breaks_out",
                "calls",
                "counts",
                "hides",
                "typo",
                "unlocks",
                "writes"
            ]
        );
        assert_eq!(observation.value("queries_failed"), Some(7.0));
        assert!(
            errors[4]
                .as_str()
                .unwrap()
                .contains("relation \"user_s\" does not exist")
        );
    }
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(left, 3);
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_finding_and_comes_back() {
    let mut server = testbed::need!(Postgres::start());
    let probe = probe(&config(&server));
    assert_eq!(look(&*probe).await.unwrap().failure, None);
    // The kept connection is closed, which is no news once the server is back.
    server.stop();
    server.restart();
    assert_eq!(look(&*probe).await.unwrap().failure, None);
    server.kill();
    let observation = look(&*probe).await.unwrap();
    assert_eq!(observation.value("connected"), Some(0.0));
    let expected = format!("connection refused by 127.0.0.1:{}", server.port());
    assert_eq!(failure(&observation), expected);
}

fn signal(pid: u32, signal: &str) {
    let kill = std::process::Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(kill.unwrap().success());
}

#[tokio::test]
async fn a_server_that_hangs_is_a_finding_within_the_deadline() {
    let server = testbed::need!(Postgres::start());
    let probe = probe(&config(&server));
    signal(server.pid(), "-STOP");
    let observation = ask_within(&*probe, Duration::from_millis(300)).await.unwrap();
    let why = failure(&observation);
    assert!(why.starts_with("no connection to 127.0.0.1"), "{why}");
    signal(server.pid(), "-CONT");
    assert_eq!(look(&*probe).await.unwrap().failure, None);
}

#[tokio::test]
async fn a_slow_query_ends_on_the_server_too() {
    let server = testbed::need!(Postgres::start());
    let mut config = config(&server);
    config
        .queries
        .insert("slow".to_owned(), "SELECT 1 FROM pg_sleep(60)".to_owned());
    let observation = ask_within(&*probe(&config), Duration::from_secs(2))
        .await
        .unwrap();
    let errors = observation.facts["query_errors"].to_string();
    assert!(
        errors.contains("canceling statement due to statement timeout"),
        "{errors}"
    );
    let mut admin = client(&server).await;
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' \
                  AND pid <> pg_backend_pid()";
    let asleep: i64 = sqlx::query_scalar(asleep).fetch_one(&mut admin).await.unwrap();
    assert_eq!(asleep, 0);
}

#[tokio::test]
async fn who_is_refused_learns_who_he_is_and_never_the_password() {
    let server = testbed::need!(Postgres::start());
    let config = config(&server);
    let probe = config.build(&knowing("correct-horse")).unwrap();
    let error = look(&*probe).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(
        error.to_string(),
        format!(
            "PostgreSQL at 127.0.0.1:{} refused the user postgres for the database postgres: \
             password authentication failed for user \"postgres\"",
            server.port()
        )
    );
    assert!(!format!("{} {error:?} {probe:?}", error.to_text()).contains("correct-horse"));

    let mut without = config.clone();
    without.password = None;
    let error = look(&*without.build(&Resources::default()).unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);

    let mut elsewhere = config.clone();
    elsewhere.database = Some("alpha_social".to_owned());
    let error = observe(&elsewhere).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "there is no database alpha_social at 127.0.0.1:{} (asked as postgres)",
            server.port()
        )
    );

    let mut encrypted = config.clone();
    encrypted.sslmode = Some(SslMode::VerifyFull);
    let why = failure(&observe(&encrypted).await.unwrap());
    assert!(why.starts_with("no TLS connection with 127.0.0.1"), "{why}");
}

#[tokio::test]
async fn a_server_that_is_full_is_a_finding() {
    let server = testbed::need!(Postgres::start_with(&[
        ("max_connections", "4"),
        ("superuser_reserved_connections", "0"),
        ("max_wal_senders", "0"),
    ]));
    let mut occupants = Vec::new();
    for _ in 0..4 {
        occupants.push(client(&server).await);
    }
    let why = failure(&observe(&config(&server)).await.unwrap());
    assert!(
        why.contains("has too many connections and lets nobody in"),
        "{why}"
    );
}

#[tokio::test]
async fn a_user_with_few_rights_says_what_it_cannot_see() {
    let server = testbed::need!(Postgres::start());
    let mut admin = client(&server).await;
    let create = format!("CREATE USER alpha PASSWORD '{POSTGRES_PASSWORD}'");
    admin.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    admin.execute("BEGIN; SELECT 1").await.unwrap();
    let mut config = config(&server);
    config.user = Some("alpha".to_owned());
    config.database = Some("postgres".to_owned());
    let probe = probe(&config);
    let observation = look(&*probe).await.unwrap();
    assert_eq!(observation.value("sees_all"), Some(0.0));
    assert!(observation.value("connections").unwrap() >= 2.0);
    // Nothing is told of transactions that cannot be seen.
    assert_eq!(observation.value("longest_transaction"), None);
    assert_eq!(observation.value("connections_idle_in_transaction"), None);
    for sql in ["COMMIT", "GRANT pg_monitor TO alpha", "BEGIN; SELECT 1"] {
        admin.execute(sql).await.unwrap();
    }
    let observation = look(&*probe).await.unwrap();
    assert_eq!(observation.value("sees_all"), Some(1.0));
    assert_eq!(observation.value("connections_idle_in_transaction"), Some(1.0));
}

#[tokio::test]
async fn slow_statements_are_listed_without_secrets() {
    let server = testbed::need!(Postgres::start_with(&[(
        "shared_preload_libraries",
        "pg_stat_statements"
    )]));
    let mut admin = client(&server).await;
    admin
        .execute("CREATE EXTENSION pg_stat_statements")
        .await
        .unwrap();
    admin.execute("SELECT pg_sleep(0.2), 'hunter2'").await.unwrap();
    admin
        .execute("DO $$ BEGIN PERFORM pg_sleep(0.2), 'hunter2'; END $$")
        .await
        .unwrap();
    let mut config = config(&server);
    config.slow = Period(Duration::from_millis(100));
    let observation = observe(&config).await.unwrap();
    assert!(observation.value("slow_statements").unwrap() >= 1.0);
    let slowest = observation.facts["slowest_statements"].to_string();
    assert!(slowest.contains("pg_sleep($1)"), "{slowest}");
    assert!(!slowest.contains("hunter2"), "{slowest}");
}

#[tokio::test]
async fn a_standby_and_its_primary() {
    let mut primary = testbed::need!(Postgres::start());
    let standby = testbed::need!(primary.standby());
    let on_standby = probe(&config(&standby));
    let on_primary = probe(&config(&primary));
    let mut admin = client(&primary).await;
    admin
        .execute("CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS number")
        .await
        .unwrap();

    // It catches up.
    let caught_up = async || {
        for _ in 0..200 {
            let observation = look(&*on_standby).await.unwrap();
            if observation.value("replication_lag") == Some(0.0) {
                return observation;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the standby does not catch up");
    };
    let observation = caught_up().await;
    assert_eq!(observation.facts["role"], "standby");
    assert_eq!(observation.value("replication_connected"), Some(1.0));
    assert_eq!(observation.value("dead_rows"), None);

    let observation = look(&*on_primary).await.unwrap();
    assert_eq!(observation.value("standbys"), Some(1.0));
    let lag = observation.measurement("replication_lag_bytes").unwrap();
    assert!(lag.labels.contains(&("address".into(), "127.0.0.1".to_owned())));

    // It receives and does not replay: what it shows is as old as its last transaction.
    let mut paused = client(&standby).await;
    paused.execute("SELECT pg_wal_replay_pause()").await.unwrap();
    admin.execute("INSERT INTO numbers VALUES (0)").await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let observation = look(&*on_standby).await.unwrap();
    assert!(observation.value("replication_lag").unwrap() >= 0.5);
    let observation = look(&*on_primary).await.unwrap();
    assert!(observation.value("replication_lag_bytes").unwrap() > 0.0);
    assert!(observation.value("replication_lag").unwrap() > 0.0);
    paused.execute("SELECT pg_wal_replay_resume()").await.unwrap();
    let _ = caught_up().await;

    // It has everything of a primary that is gone, and says that it hears nothing of it.
    primary.kill();
    for _ in 0..200 {
        let observation = look(&*on_standby).await.unwrap();
        if observation.value("replication_connected") == Some(0.0) {
            assert!(observation.value("replication_lag").unwrap() > 0.0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the standby does not notice that its primary is gone");
}

#[tokio::test]
async fn something_else_at_the_port_is_a_finding() {
    use tokio::io::AsyncWriteExt as _;

    for (answer, expected) in [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "does not speak the protocol of PostgreSQL",
        ),
        ("", "closed the connection before it answered"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = PostgresConfig::default();
        config.host = Some("127.0.0.1".to_owned());
        config.port = Some(listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
        let probe = config.build(&Resources::default()).unwrap();
        let why = failure(&look(&*probe).await.unwrap());
        assert!(why.ends_with(expected), "{why}");
    }
}

#[tokio::test]
async fn what_an_operator_is_told() {
    let server = testbed::need!(Postgres::start_with(&[("max_connections", "13")]));
    let told = async |config: &PostgresConfig| {
        let report = judged(probe(config)).await;
        (report.status, report.reason.to_string())
    };
    let (status, reason) = told(&config(&server)).await;
    assert_eq!(status, Status::Ok, "{reason}");

    let mut broken = config(&server);
    broken
        .queries
        .insert("users".to_owned(), "SELECT count(*) FROM users".to_owned());
    let (status, reason) = told(&broken).await;
    assert_eq!(status, Status::Warning);
    assert_eq!(
        reason,
        "1 of the configured queries failed: users: relation \"users\" does not exist"
    );

    let mut occupants = Vec::new();
    for _ in 0..9 {
        occupants.push(client(&server).await);
    }
    let (status, reason) = told(&config(&server)).await;
    assert_eq!(
        (status, reason.as_str()),
        (Status::Critical, "10 of 10 connections are used")
    );
    drop(occupants);

    let refused = config(&server).build(&knowing("correct-horse")).unwrap();
    assert_eq!(judged(refused).await.status, Status::Unknown);
}
