//! The containers of the Docker daemon.

use std::collections::BTreeSet;
use std::path::Path;

use alpha_probes::probes::{ContainerConfig, docker};
use alpha_probes::{ErrorKind, Resources, Text, text};
use alpha_upgrade::platforms::DockerPlatform;
use alpha_upgrade::{Platform as _, SignerEvidence};
use tokio::time::Instant;

use super::{Found, PATIENCE, check};

/// What the daemon told.
#[derive(Default)]
pub(super) struct Containers {
    /// The containers that are to run, if there are any.
    pub(super) found: Option<Found>,
    /// The TCP ports of this host that lead into containers.
    pub(super) ports: Vec<u16>,
    /// Why the daemon could not be asked although it is there.
    pub(super) note: Option<Text>,
}

/// Where Docker listens unless somebody changed it.
const SOCKET: &str = "/var/run/docker.sock";

/// By this label Compose marks what it is to keep running.
const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// Asking a busy daemon takes longer than asking a port.
const DAEMON_PATIENCE: std::time::Duration = PATIENCE.saturating_mul(10);

pub(super) async fn discover(resources: &Resources) -> Containers {
    let containers =
        match docker::list(resources, docker::DEFAULT_HOST, Instant::now() + DAEMON_PATIENCE).await {
            Ok(containers) => containers,
            Err(error) if error.kind() == ErrorKind::Unreachable => return Containers::default(),
            Err(error) => {
                let note = text!("containers were not looked at: {cause}", cause = error.to_text());
                return Containers {
                    note: Some(note),
                    ..Containers::default()
                };
            }
        };
    let ports = containers.iter().flat_map(|container| &container.ports);
    let published = ports
        .filter(|port| port.protocol == "tcp")
        .filter_map(|port| port.published);
    let ports = published.map(|(_, port)| port).collect();
    let signers = signers().await;
    let checks: Vec<_> = containers
        .iter()
        .filter(|container| is_meant_to_run(container))
        .map(|container| {
            let mut found = check(format!("container/{}", container.name));
            let mut config = ContainerConfig::default();
            config.name.clone_from(&container.name);
            config.signer = signers.contains(&container.name);
            found.container = Some(config);
            found
        })
        .collect();
    let found = (!checks.is_empty()).then(|| Found::new(text!("the containers of Docker"), checks));
    Containers {
        found,
        ports,
        note: None,
    }
}

/// The containers that must be taken for signers of blocks. None where Docker does not let itself be asked: the checks of
/// the containers themselves then say so.
async fn signers() -> BTreeSet<String> {
    let services = async {
        let platform = DockerPlatform::connect(Path::new(SOCKET)).await?;
        platform.services().await
    };
    let services = match tokio::time::timeout(DAEMON_PATIENCE, services).await {
        Ok(Ok(services)) => services,
        Ok(Err(error)) => {
            tracing::debug!(%error, "could not ask Docker how its containers are started");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    let signers = services
        .into_iter()
        .filter(|service| SignerEvidence::of(service).is_some());
    signers.map(|service| service.name).collect()
}

/// A job that ended well, or a container that nobody ever started, is not missed.
fn is_meant_to_run(container: &docker::Container) -> bool {
    let is_service = container.labels.contains_key(COMPOSE_SERVICE);
    match container.state.as_str() {
        "exited" => is_service || !container.status.starts_with("Exited (0)"),
        "created" | "removing" => is_service,
        _ => true,
    }
}
