//! Platforms against the real thing, and the contract they all keep.
#![expect(clippy::unwrap_used, reason = "a test may fail there")]

use alpha_upgrade::platforms::DockerPlatform;
use alpha_upgrade::{ErrorKind, MemoryPlatform, Platform, RestartPlan, Service};

/// What every platform does: a stopped service is started once, a running one stays as it is, an unknown one is told.
async fn conforms(platform: &dyn Platform, stopped: &str) {
    let is_running = async || {
        let services = platform.services().await.unwrap();
        services
            .iter()
            .find(|service| service.name == stopped)
            .expect("the service is known")
            .is_running
    };
    assert!(!is_running().await);
    platform.start(stopped).await.unwrap();
    assert!(is_running().await);
    platform.start(stopped).await.unwrap();
    assert!(is_running().await);
    let unknown = platform.start("no-such-service").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound, "{unknown}");
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&MemoryPlatform::new().with_stopped(Service::new("api")), "api").await;
}

#[tokio::test]
async fn docker_conforms() {
    let docker = testbed::need!(testbed::Docker::start());
    let container = docker.create(&[], &["sleep", "300"]);
    let platform = DockerPlatform::connect(docker.socket()).await.unwrap();
    conforms(&platform, container.name()).await;
}

#[tokio::test]
async fn a_stopped_validator_is_refused_and_stays_stopped() {
    let docker = testbed::need!(testbed::Docker::start());
    let validator = docker.create(&[], &["sleep", "300", "--validator"]);
    let platform = DockerPlatform::connect(docker.socket()).await.unwrap();
    let services = platform.services().await.unwrap();
    let plan = RestartPlan::new(&services, &[validator.name()]);
    assert!(plan.restarts.is_empty());
    assert_eq!(plan.refusals[0].service, validator.name());
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_unreachable() {
    let folder = std::env::temp_dir().join("no-such-folder/docker.sock");
    let error = DockerPlatform::connect(&folder).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}
