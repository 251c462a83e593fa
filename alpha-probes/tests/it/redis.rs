//! The probe `redis` against real servers.

use std::sync::Arc;
use std::time::Duration;

use alpha_probes::check::ProbeConfig as _;
use alpha_probes::probes::RedisConfig;
use alpha_probes::{ErrorKind, Observation, Probe, Resources, Result, SecretRef, Status};
use testbed::Redis;

use crate::support::{SECRET, ask_within, failure, judged, knowing, observe};

fn config(redis: &Redis) -> RedisConfig {
    let mut config = RedisConfig::default();
    config.url = Some(redis.url());
    config
}

fn probe(config: &RedisConfig) -> Arc<dyn Probe> {
    config.build(&Resources::default()).unwrap()
}

async fn look(probe: &dyn Probe) -> Result<Observation> {
    ask_within(probe, Duration::from_secs(10)).await
}

/// What the probe sees that logs in with `password`.
async fn observe_with(config: &mut RedisConfig, password: &str) -> Result<Observation> {
    config.password = Some(SecretRef::Env(SECRET.to_owned()));
    let probe = config.build(&knowing(password))?;
    assert!(!format!("{probe:?}").contains(password));
    look(&*probe).await
}

#[tokio::test]
async fn a_server_that_is_well() {
    let redis = testbed::need!(Redis::start_with(&["--maxmemory", "100mb"]));
    let probe = probe(&config(&redis));
    redis.cli(&["MSET", "a", "1", "b", "2"]);
    redis.cli(&["GET", "a"]);
    let first = look(&*probe).await.unwrap();
    assert_eq!(first.failure, None);
    for (name, expected) in [
        ("connected", 1.0),
        ("loading", 0.0),
        ("keys", 2.0),
        ("memory_max", 104_857_600.0),
        ("save_failed", 0.0),
        ("aof_enabled", 0.0),
        ("aof_failed", 0.0),
        ("hit_ratio", 1.0),
        ("replicas", 0.0),
    ] {
        assert_eq!(first.value(name), Some(expected), "{name}");
    }
    assert!(first.value("ping_time").unwrap() < 1.0);
    assert!(first.value("clients").unwrap() >= 1.0);
    assert!(first.value("memory_share").unwrap() < 0.5);
    assert_eq!(first.facts["role"], "master");
    assert_eq!(first.facts["maxmemory_policy"], "noeviction");

    // Nothing was read since.
    assert_eq!(look(&*probe).await.unwrap().value("hit_ratio"), None);

    // One hit in a past of many does not hide that nothing is hit any more.
    for _ in 0..3 {
        redis.cli(&["GET", "nothing"]);
    }
    redis.cli(&["GET", "b"]);
    assert_eq!(look(&*probe).await.unwrap().value("hit_ratio"), Some(0.25));
}

#[tokio::test]
async fn what_it_measures_is_what_its_kind_promises() {
    let redis = testbed::need!(Redis::start());
    let probe = probe(&config(&redis));
    let observation = look(&*probe).await.unwrap();
    for measurement in &observation.measurements {
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
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_finding() {
    let mut redis = testbed::need!(Redis::start());
    let probe = probe(&config(&redis));
    redis.kill();
    let observation = look(&*probe).await.unwrap();
    let why = failure(&observation);
    assert_eq!(why, format!("connection refused by 127.0.0.1:{}", redis.port()));
}

#[tokio::test]
async fn a_server_that_hangs_is_a_finding_within_the_deadline() {
    let redis = testbed::need!(Redis::start());
    let probe = probe(&config(&redis));
    redis.pause();
    let observation = ask_within(&*probe, Duration::from_millis(300)).await.unwrap();
    let why = failure(&observation);
    assert!(why.starts_with("no first byte from 127.0.0.1"), "{why}");
    redis.resume();
    assert_eq!(look(&*probe).await.unwrap().failure, None);
}

#[tokio::test]
async fn a_wrong_password_is_not_a_finding() {
    let redis = testbed::need!(Redis::start_with(&["--requirepass", "battery-staple"]));
    let mut config = config(&redis);
    let error = observe(&config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().ends_with("wants a password"), "{error}");

    let error = observe_with(&mut config, "correct-horse").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let said = format!("{} {error:?}", error.to_text());
    assert!(said.contains("refused the user default: WRONGPASS"), "{said}");
    assert!(!said.contains("correct-horse"), "{said}");
    assert_eq!(
        observe_with(&mut config, "battery-staple").await.unwrap().failure,
        None
    );

    redis.cli(&[
        "-a",
        "battery-staple",
        "ACL",
        "SETUSER",
        "alpha",
        "on",
        ">battery-staple",
        "+ping",
    ]);
    config.username = Some("alpha".to_owned());
    let error = observe_with(&mut config, "battery-staple").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(
        error.to_string().contains("refused the user alpha: NOPERM"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_full_is_a_finding() {
    let redis = testbed::need!(Redis::start_with(&["--maxclients", "1"]));
    let occupant = std::net::TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    // The server must have seen it.
    while !redis.cli(&["PING"]).contains("max number of clients") {}
    // The server closes at once, and a reset may overtake its reason; that it does not answer is a finding either way.
    let mut why = String::new();
    for _ in 0..50 {
        let observation = observe(&config(&redis)).await.unwrap();
        why = failure(&observation);
        if why.ends_with("has too many clients and lets nobody in") {
            break;
        }
    }
    assert!(why.ends_with("has too many clients and lets nobody in"), "{why}");
    drop(occupant);
}

#[tokio::test]
async fn a_failed_snapshot_is_seen() {
    let redis = testbed::need!(Redis::start());
    redis.cli(&["SET", "a", "1"]);
    redis.cli(&["CONFIG", "SET", "dbfilename", "dump.rdb"]);
    // The temporary file that a snapshot is written to cannot be renamed onto a folder.
    std::fs::create_dir(redis.folder().join("dump.rdb")).unwrap();
    assert!(redis.cli(&["SAVE"]).contains("ERR"));
    redis.cli(&["BGSAVE"]);
    while redis
        .cli(&["INFO", "persistence"])
        .contains("rdb_bgsave_in_progress:1")
    {}
    let observation = observe(&config(&redis)).await.unwrap();
    assert_eq!(observation.value("save_failed"), Some(1.0));
}

#[tokio::test]
async fn a_replica_and_its_primary() {
    let mut primary = testbed::need!(Redis::start_with(&["--repl-diskless-sync-delay", "0"]));
    let port = primary.port().to_string();
    let replica = testbed::need!(Redis::start_with(&["--replicaof", "127.0.0.1", &port]));
    while !replica
        .cli(&["INFO", "replication"])
        .contains("master_link_status:up")
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let observation = observe(&config(&replica)).await.unwrap();
    assert_eq!(observation.value("replication_connected"), Some(1.0));
    assert_eq!(observation.facts["primary"], format!("127.0.0.1:{port}"));
    assert!(observation.value("replication_lag").unwrap() < 30.0);

    while !primary.cli(&["INFO", "replication"]).contains("state=online") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let observation = observe(&config(&primary)).await.unwrap();
    assert_eq!(observation.value("replicas"), Some(1.0));
    let lag = observation.measurement("replication_lag_bytes").unwrap();
    assert_eq!(lag.labels[0].1, format!("127.0.0.1:{}", replica.port()));

    primary.kill();
    while replica
        .cli(&["INFO", "replication"])
        .contains("master_link_status:up")
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let observation = observe(&config(&replica)).await.unwrap();
    assert_eq!(observation.value("replication_connected"), Some(0.0));
}

#[tokio::test]
async fn tls_is_verified() {
    let redis = testbed::need!(Redis::start_tls());
    let mut config = RedisConfig::default();
    config.url = Some(format!("rediss://localhost:{}", redis.port()));
    let why = failure(&observe(&config).await.unwrap());
    assert!(why.contains("certificate"), "{why}");
    config.ca_file = Some(redis.authority());
    assert_eq!(observe(&config).await.unwrap().failure, None);
    config.url = Some(format!("redis://localhost:{}", redis.port()));
    assert!(observe(&config).await.unwrap().failure.is_some());
}

#[tokio::test]
async fn a_server_that_speaks_something_else_or_too_much() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    for (answer, repeated, expected) in [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            1,
            "does not speak the protocol of Redis",
        ),
        ("", 1, "closed the connection before it answered"),
        ("+PONG\r\n$99999999\r\n", 100_000, "answered with more than 1 MB"),
        ("*1000000000\r\n", 1, "closed the connection before it answered"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = [0; 64];
            let _ = stream.read(&mut command).await;
            for _ in 0..repeated {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        let mut config = RedisConfig::default();
        config.url = Some(format!("redis://127.0.0.1:{port}"));
        let why = failure(&observe(&config).await.unwrap());
        assert!(why.ends_with(expected), "{why}");
    }
}

#[tokio::test]
async fn what_an_operator_is_told() {
    let redis = testbed::need!(Redis::start_with(&["--maxmemory", "3mb"]));
    let told = async || {
        let report = judged(probe(&config(&redis))).await;
        (report.status, report.reason.to_string())
    };
    assert_eq!(told().await.0, Status::Ok);
    // Filled until it refuses.
    let value = "x".repeat(64 * 1024);
    let mut keys = 0..;
    while redis.cli(&["SET", &format!("key{}", keys.next().unwrap()), &value]) == "OK" {}
    let (status, reason) = told().await;
    assert!(matches!(status, Status::Critical | Status::Warning), "{reason}");
    assert!(
        reason.ends_with("of the memory limit is used and nothing is evicted: writes fail at 100 %"),
        "{reason}"
    );
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert_eq!(told().await.0, Status::Ok);
}
