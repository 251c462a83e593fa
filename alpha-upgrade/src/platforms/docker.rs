//! Containers of one Docker daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions, StartContainerOptions};
use futures_util::{StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind, Result};
use crate::platform::{Environment, Platform, Service};

/// How long the daemon may take for one answer, in seconds.
const PATIENCE_SECONDS: u64 = 30;

/// How long a started container may take to be reported as running.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How many containers are inspected at once.
const CONCURRENT_INSPECTIONS: usize = 8;

/// The containers of the Docker daemon behind a Unix socket.
#[derive(Debug)]
pub struct DockerPlatform {
    socket: PathBuf,
    client: Docker,
}

impl DockerPlatform {
    /// Connects to the daemon at `socket`, usually `/var/run/docker.sock`, and settles on a version of its API.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] where this user may not use the socket, [`ErrorKind::Unreachable`] where nothing answers.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let unreachable = |error: bollard::errors::Error| {
            explain(error, &format!("could not reach Docker at {}", socket.display()))
        };
        let address = socket.to_string_lossy();
        let client = Docker::connect_with_unix(&address, PATIENCE_SECONDS, bollard::API_DEFAULT_VERSION)
            .map_err(unreachable)?;
        let client = client.negotiate_version().await.map_err(unreachable)?;
        Ok(Self {
            socket: socket.to_owned(),
            client,
        })
    }

    async fn inspect(&self, name: &str) -> Result<ContainerInspectResponse> {
        self.client
            .inspect_container(name, None::<InspectContainerOptions>)
            .await
            .map_err(|error| explain(error, &format!("could not inspect container {name}")))
    }
}

#[async_trait]
impl Platform for DockerPlatform {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn services(&self) -> Result<Vec<Service>> {
        let options = ListContainersOptions {
            all: true,
            ..ListContainersOptions::default()
        };
        let containers = self
            .client
            .list_containers(Some(options))
            .await
            .map_err(|error| {
                explain(
                    error,
                    &format!("could not list the containers at {}", self.socket.display()),
                )
            })?;
        let ids = containers.into_iter().filter_map(|container| container.id);
        futures_util::stream::iter(ids)
            .map(|id| async move {
                match self.inspect(&id).await {
                    Ok(container) => Ok(Some(service(container))),
                    // It was removed between the two questions.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffered(CONCURRENT_INSPECTIONS)
            .try_filter_map(|service| async { Ok(service) })
            .try_collect()
            .await
    }

    async fn start(&self, name: &str) -> Result<()> {
        let failed = |error| explain(error, &format!("could not start container {name}"));
        self.client
            .start_container(name, None::<StartContainerOptions>)
            .await
            .map_err(failed)?;
        let running = async {
            loop {
                let container = self.inspect(name).await?;
                if container
                    .state
                    .and_then(|state| state.running)
                    .unwrap_or_default()
                {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let late = || {
            Error::new(
                ErrorKind::Failed,
                format!("could not start container {name}: it does not stay up"),
            )
        };
        tokio::time::timeout(START_PATIENCE, running)
            .await
            .map_err(|_| late())?
    }
}

fn service(container: ContainerInspectResponse) -> Service {
    let config = container.config.unwrap_or_default();
    let command = config
        .entrypoint
        .unwrap_or_default()
        .into_iter()
        .chain(config.cmd.unwrap_or_default());
    let environment = config
        .env
        .unwrap_or_default()
        .into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair, String::new()),
        });
    Service {
        name: container
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        image: config.image.unwrap_or_default(),
        command: command.collect(),
        environment: Environment(environment.collect()),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        mounts: container
            .mounts
            .unwrap_or_default()
            .into_iter()
            .filter_map(|mount| mount.destination)
            .collect(),
        is_running: container
            .state
            .and_then(|state| state.running)
            .unwrap_or_default(),
    }
}

fn explain(error: bollard::errors::Error, what: &str) -> Error {
    let mut kind = ErrorKind::Unreachable;
    if let bollard::errors::Error::DockerResponseServerError { status_code, .. } = &error {
        kind = if *status_code == 404 {
            ErrorKind::NotFound
        } else {
            ErrorKind::Failed
        };
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(source) = cause {
        let io = source.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            kind = ErrorKind::Denied;
        }
        cause = source.source();
    }
    Error::new(kind, what).with_source(error)
}
