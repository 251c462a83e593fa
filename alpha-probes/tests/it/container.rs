//! The probe `container` against a real Docker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alpha_probes::check::ProbeConfig as _;
use alpha_probes::config::Period;
use alpha_probes::probes::{ContainerConfig, docker};
use alpha_probes::{ErrorKind, Observation, Probe, Resources, Status};
use testbed::Docker;
use tokio::time::Instant;

use crate::support::{ask_within, failure, judged, observe};

fn config(name: &str) -> ContainerConfig {
    let mut config = ContainerConfig::default();
    config.name = name.to_owned();
    config
}

async fn look(probe: &dyn Probe) -> Observation {
    ask_within(probe, Duration::from_secs(20)).await.unwrap()
}

async fn seen(name: &str) -> Observation {
    let probe = config(name).build(&Resources::default()).unwrap();
    look(&*probe).await
}

#[tokio::test]
async fn a_container_through_its_life() {
    let docker = testbed::need!(Docker::start());
    let container = docker.create(&["--publish", "127.0.0.1::80"], &["sleep", "1000"]);
    let created = seen(container.name()).await;
    assert_eq!(created.facts["state"], "created");
    assert_eq!(created.value("running"), Some(0.0));

    container.start();
    let running = seen(container.name()).await;
    assert_eq!(running.facts["state"], "running");
    assert_eq!(running.facts["image"], docker.image());
    assert_eq!(running.facts["health"], "none");
    assert_eq!(running.value("running"), Some(1.0));
    assert_eq!(running.value("restarts"), Some(0.0));
    assert_eq!(running.value("crash_looping"), Some(0.0));
    assert_eq!(running.value("exit_code"), None);
    assert!(running.value("uptime").unwrap() < 30.0);
    for measurement in &running.measurements {
        let probe = config(container.name()).build(&Resources::default()).unwrap();
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

    let resources = Resources::default();
    let deadline = Instant::now() + Duration::from_secs(20);
    let all = docker::list(&resources, docker::DEFAULT_HOST, deadline)
        .await
        .unwrap();
    let mine = all.iter().find(|other| other.name == container.name()).unwrap();
    assert_eq!(mine.id, container.id());
    assert_eq!(mine.ports[0].inside, 80);
    assert_eq!(mine.ports[0].protocol, "tcp");
    assert!(mine.ports[0].published.unwrap().0.is_loopback());
    assert!(mine.labels.contains_key(testbed::LABEL));
    assert_eq!(mine.networks["bridge"].unwrap().to_string(), container.address());

    container.pause();
    let paused = seen(container.name()).await;
    assert_eq!(paused.facts["state"], "paused");
    assert_eq!(paused.value("running"), Some(0.0));
    container.unpause();

    container.kill();
    let killed = seen(container.name()).await;
    assert_eq!(killed.facts["state"], "exited");
    assert_eq!(killed.value("exit_code"), Some(137.0));
    assert_eq!(killed.value("uptime"), None);

    container.remove();
    let gone = seen(container.name()).await;
    assert_eq!(
        failure(&gone),
        format!("there is no container {}", container.name())
    );
    assert_eq!(gone.facts["state"], "missing");
}

#[tokio::test]
async fn a_crash_loop_is_seen_at_the_first_look() {
    let docker = testbed::need!(Docker::start());
    let container = docker.run(&["--restart", "always"], &["sh", "-c", "sleep 0.3; exit 3"]);
    container.settle_where("{{.RestartCount}}", |count| count.parse::<u32>().unwrap() >= 2);
    let observation = seen(container.name()).await;
    assert_eq!(observation.value("crash_looping"), Some(1.0));
    assert!(observation.value("restarts").unwrap() >= 2.0);
    if observation.facts["state"] == "restarting" {
        assert_eq!(observation.value("exit_code"), Some(3.0));
    }
}

#[tokio::test]
async fn a_crash_between_two_looks_is_seen() {
    let docker = testbed::need!(Docker::start());
    let container = docker.run(&["--restart", "always"], &["sh", "-c", "sleep 1000 & wait"]);
    let mut config = config(container.name());
    config.settle = Period(Duration::ZERO);
    let probe = config.build(&Resources::default()).unwrap();
    let before = look(&*probe).await;
    assert_eq!(before.value("restarted"), Some(0.0));
    // Longer than the list holds, so that the same Docker is asked again.
    container.exec(&["killall", "sleep"]);
    container.settle("{{.RestartCount}} {{.State.Status}}", "1 running");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let after = look(&*probe).await;
    assert_eq!(after.value("restarts"), Some(1.0));
    assert_eq!(after.value("restarted"), Some(1.0));
    assert_eq!(after.value("crash_looping"), Some(0.0));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(look(&*probe).await.value("restarted"), Some(0.0));
}

#[tokio::test]
async fn health_checks_are_believed() {
    let docker = testbed::need!(Docker::start());
    let health = |command: &str| {
        docker.run(
            &[
                "--health-interval",
                "200ms",
                "--health-retries",
                "2",
                "--health-cmd",
                command,
            ],
            &["sleep", "1000"],
        )
    };
    let (well, ill) = (health("true"), health("echo the disk is full; false"));
    well.settle("{{.State.Health.Status}}", "healthy");
    ill.settle("{{.State.Health.Status}}", "unhealthy");
    let well = seen(well.name()).await;
    assert_eq!(well.value("healthy"), Some(1.0));
    assert_eq!(well.facts["health"], "healthy");
    let ill = seen(ill.name()).await;
    assert_eq!(ill.value("healthy"), Some(0.0));
    assert_eq!(ill.value("running"), Some(1.0));
    assert!(ill.value("failing_health_checks").unwrap() >= 2.0);
    assert_eq!(ill.facts["health_output"], "the disk is full");
}

/// Stands between a probe and Docker, and counts the questions.
async fn counting_proxy(socket: std::path::PathBuf) -> (tempfile::TempDir, String, Arc<[AtomicUsize; 2]>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let counted = Arc::clone(&counts);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut docker = tokio::net::UnixStream::connect(&socket).await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let length = client.read(&mut head).await.unwrap();
                let text = String::from_utf8_lossy(&head[..length]).into_owned();
                if text.contains("/containers/json") {
                    counted[0].fetch_add(1, Ordering::Relaxed);
                    // Everybody shall have asked by then.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                } else if text.contains("/containers/") {
                    counted[1].fetch_add(1, Ordering::Relaxed);
                }
                docker.write_all(&head[..length]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut docker).await;
            });
        }
    });
    let host = format!("unix://{}", path.display());
    (folder, host, counts)
}

#[tokio::test]
async fn many_checks_ask_once() {
    let docker = testbed::need!(Docker::start());
    let containers: Vec<_> = (0..3).map(|_| docker.run(&[], &["sleep", "1000"])).collect();
    let (_folder, host, counts) = counting_proxy(docker.socket().to_owned()).await;
    let resources = Resources::default();
    let probes: Vec<_> = containers
        .iter()
        .map(|container| {
            let mut config = config(container.name());
            config.host = host.clone();
            config.build(&resources).unwrap()
        })
        .collect();
    let round = async || {
        let looks: Vec<_> = probes
            .iter()
            .cloned()
            .map(|probe| tokio::spawn(async move { look(&*probe).await.value("running") }))
            .collect();
        for look in looks {
            assert_eq!(look.await.unwrap(), Some(1.0));
        }
        [
            counts[0].load(Ordering::Relaxed),
            counts[1].load(Ordering::Relaxed),
        ]
    };
    // One list, and each container once.
    assert_eq!(round().await, [1, 3]);
    // Docker says that they have been up for longer than what is known of them is old, so that none is asked again.
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let _ = round().await;
    let asked = counts[1].load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(round().await, [3, asked]);
}

#[tokio::test]
async fn a_container_removed_while_it_is_looked_at_is_missing() {
    let docker = testbed::need!(Docker::start());
    let container = docker.run(&[], &["sleep", "1000"]);
    let (_folder, host, _) = counting_proxy(docker.socket().to_owned()).await;
    let resources = Resources::default();
    let deadline = Instant::now() + Duration::from_secs(20);
    // The list is kept for a second, and the container is still in it.
    let all = docker::list(&resources, &host, deadline).await.unwrap();
    assert!(all.iter().any(|other| other.name == container.name()));
    container.remove();
    let mut config = config(container.name());
    config.host = host;
    let probe = config.build(&resources).unwrap();
    let observation = look(&*probe).await;
    assert_eq!(
        failure(&observation),
        format!("there is no container {}", container.name())
    );
}

#[tokio::test]
async fn a_docker_that_is_not_there_is_no_finding_about_the_container() {
    let mut config = config("node");
    config.host = "unix:///nowhere/docker.sock".to_owned();
    let error = observe(&config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(
        error.to_string(),
        "there is no Docker at unix:///nowhere/docker.sock: the socket does not exist"
    );

    config.host = format!("tcp://127.0.0.1:{}", testbed::free_port());
    let error = observe(&config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");

    // Something else listens there, and says nothing.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("silent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    config.host = path.display().to_string();
    let probe = config.build(&Resources::default()).unwrap();
    let error = ask_within(&*probe, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);

    for (name, host, expected) in [
        ("", docker::DEFAULT_HOST, "name: expected"),
        ("node", "ssh://host", "host: expected unix"),
        ("node", "tcp://", "host: expected unix"),
        ("node", "", "host: expected unix"),
    ] {
        config.name = name.to_owned();
        config.host = host.to_owned();
        let error = observe(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn what_an_operator_is_told() {
    let docker = testbed::need!(Docker::start());
    let told = async |name: &str| {
        let report = judged(config(name).build(&Resources::default()).unwrap()).await;
        let reason = report.reason.to_string().replace(name, "NAME");
        (report.status, reason)
    };
    let well = docker.run(&[], &["sleep", "1000"]);
    assert_eq!(told(well.name()).await.0, Status::Ok);
    well.pause();
    let (status, reason) = told(well.name()).await;
    assert_eq!(status, Status::Critical);
    assert_eq!(
        reason,
        "NAME is paused: it keeps its connections and answers nothing"
    );

    let ended = docker.run(&[], &["sh", "-c", "exit 4"]);
    ended.settle("{{.State.Status}}", "exited");
    let (status, reason) = told(ended.name()).await;
    assert_eq!(
        (status, reason.as_str()),
        (Status::Critical, "NAME has stopped with exit code 4")
    );
    ended.remove();
    let (status, reason) = told(ended.name()).await;
    assert_eq!(status, Status::Critical);
    assert!(reason.contains("there is no container NAME"), "{reason}");

    let created = docker.create(&[], &["sleep", "1000"]);
    let (status, reason) = told(created.name()).await;
    assert_eq!(status, Status::Critical);
    assert_eq!(reason, "NAME is not running, its state is created");

    let crashing = docker.run(&["--restart", "always"], &["sh", "-c", "sleep 0.2; exit 3"]);
    crashing.settle_where("{{.RestartCount}}", |count| count.parse::<u32>().unwrap() >= 1);
    let (status, reason) = told(crashing.name()).await;
    assert_eq!(status, Status::Critical);
    let is_told =
        reason.starts_with("NAME was restarted ") || reason.starts_with("NAME crashes and is restarted");
    assert!(is_told, "{reason}");

    let health = [
        "--health-interval",
        "200ms",
        "--health-retries",
        "1",
        "--health-cmd",
        "echo no peers; false",
    ];
    let ill = docker.run(&health, &["sleep", "1000"]);
    ill.settle("{{.State.Health.Status}}", "unhealthy");
    let (status, reason) = told(ill.name()).await;
    assert_eq!(status, Status::Critical);
    assert_eq!(reason, "NAME runs but its health check fails: no peers");

    let mut config = config("node");
    config.host = "unix:///nowhere/docker.sock".to_owned();
    let report = judged(config.build(&Resources::default()).unwrap()).await;
    assert_eq!(report.status, Status::Unknown);
}
