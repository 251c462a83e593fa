//! One Docker, asked once for all checks.
//!
//! A round of checks lists the containers once. What the list does not carry (restarts, exit codes, the output of
//! health checks) is asked of a container by itself, but only where it can have changed: a container that has been up
//! for longer than what is known of it is old cannot have restarted since.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerSummary, PortSummary};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::state::{Details, uptime_at_least};
use super::{Container, Port};
use crate::dial::invalid;
use crate::error::{Error, ErrorKind, Result};
use crate::text;
use crate::text::Text;

/// How long a list is taken for the present.
const LIST_HOLDS: Duration = Duration::from_secs(1);

/// How long the details of a running container are believed without asking again. They do not change while it runs, but
/// for a process in it that the kernel kills.
const DETAILS_HOLD: Duration = Duration::from_secs(300);

/// Longer than any deadline; the caller's counts.
const CLIENT_TIMEOUT: u64 = 3600;

/// The Dockers that are asked, by the host as it was written.
#[derive(Debug, Default)]
pub(super) struct Daemons(Mutex<HashMap<String, Arc<Daemon>>>);

impl Daemons {
    /// The one at `host`.
    pub(super) fn at(&self, host: &str) -> Result<Arc<Daemon>> {
        let is_host = host.starts_with('/')
            || ["unix://", "tcp://", "http://"]
                .iter()
                .any(|scheme| host.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if !is_host {
            return Err(invalid(text!(
                "host: expected unix:///path/of/socket or tcp://host:port, found \"{found}\"",
                found = host
            )));
        }
        let mut daemons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let daemon = daemons.entry(host.to_owned()).or_insert_with(|| {
            Arc::new(Daemon {
                host: host.to_owned(),
                client: Mutex::default(),
                list: tokio::sync::Mutex::default(),
                details: Mutex::default(),
            })
        });
        Ok(Arc::clone(daemon))
    }
}

/// One Docker.
#[derive(Debug)]
pub(super) struct Daemon {
    host: String,
    /// Present once its version is known; absent again after any failure, as it may come back as another version.
    client: Mutex<Option<Docker>>,
    list: tokio::sync::Mutex<Option<List>>,
    details: Mutex<HashMap<String, Known>>,
}

/// The answer to the last question for all containers, be it a refusal.
#[derive(Debug)]
struct List {
    at: Instant,
    answer: Result<Arc<[Container]>, (ErrorKind, Text)>,
}

/// What is known of one container.
#[derive(Clone, Debug)]
struct Known {
    at: Instant,
    details: Arc<Details>,
}

impl Daemon {
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// All containers, by name. Callers at the same time share one question, and its failure too.
    pub(super) async fn containers(&self, ending: Instant) -> Result<Arc<[Container]>> {
        let Ok(mut list) = timeout_at(ending, self.list.lock()).await else {
            return Err(self.silence());
        };
        let answer = match &*list {
            Some(list) if list.at.elapsed() < LIST_HOLDS => list.answer.clone(),
            _ => {
                // A caller that runs out of time says nothing about the time of those that wait behind it.
                let Ok(asked) = timeout_at(ending, self.ask_for_all()).await else {
                    return Err(self.silence());
                };
                let answer = asked.map_err(|error| (error.kind(), error.to_text()));
                *list = Some(List {
                    at: Instant::now(),
                    answer: answer.clone(),
                });
                answer
            }
        };
        answer.map_err(|(kind, text)| Error::new(kind, text))
    }

    async fn ask_for_all(&self) -> Result<Arc<[Container]>> {
        let client = self.client().await?;
        let options = ListContainersOptions {
            all: true,
            ..ListContainersOptions::default()
        };
        let summaries = client
            .list_containers(Some(options))
            .await
            .map_err(|error| self.refusal(&error))?;
        let mut containers: Vec<_> = summaries.into_iter().map(Container::from).collect();
        containers.sort_by(|one, other| one.name.cmp(&other.name));
        let mut details = self.details.lock().unwrap_or_else(PoisonError::into_inner);
        details.retain(|id, _| containers.iter().any(|container| container.id == *id));
        Ok(containers.into())
    }

    /// What the list does not say of `container`; nothing where it was removed meanwhile.
    pub(super) async fn details(
        &self,
        container: &Container,
        now: Timestamp,
        ending: Instant,
    ) -> Result<Option<Arc<Details>>> {
        let known = {
            let details = self.details.lock().unwrap_or_else(PoisonError::into_inner);
            details.get(&container.id).cloned()
        };
        if let Some(known) = known
            && is_unchanged(container, &known, now)
        {
            return Ok(Some(known.details));
        }
        let Ok(asked) = timeout_at(ending, self.ask_for(container)).await else {
            return Err(self.silence());
        };
        let details = asked?.map(Arc::new);
        if let Some(details) = &details {
            let known = Known {
                at: Instant::now(),
                details: Arc::clone(details),
            };
            let mut all = self.details.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(container.id.clone(), known);
        }
        Ok(details)
    }

    async fn ask_for(&self, container: &Container) -> Result<Option<Details>> {
        let client = self.client().await?;
        let answer = client
            .inspect_container(&container.id, None::<InspectContainerOptions>)
            .await;
        match answer {
            Ok(answer) => Ok(Some(Details::from(answer))),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.refusal(&error)),
        }
    }

    /// A client that speaks a version both sides know.
    async fn client(&self) -> Result<Docker> {
        let known = {
            let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
            client.clone()
        };
        if let Some(client) = known {
            return Ok(client);
        }
        let version = bollard::API_DEFAULT_VERSION;
        let client = match self
            .host
            .strip_prefix("tcp://")
            .or(self.host.strip_prefix("http://"))
        {
            Some(address) => Docker::connect_with_http(address, CLIENT_TIMEOUT, version),
            None => Docker::connect_with_socket(&self.host, CLIENT_TIMEOUT, version),
        };
        let client = client.map_err(|error| self.refusal(&error))?;
        let client = client
            .negotiate_version()
            .await
            .map_err(|error| self.refusal(&error))?;
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(client.clone());
        Ok(client)
    }

    fn silence(&self) -> Error {
        let text = text!("Docker at {host} did not answer in time", host = &self.host);
        Error::new(ErrorKind::Timeout, text)
    }

    /// What it means that a question failed.
    fn refusal(&self, error: &bollard::errors::Error) -> Error {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let host = &self.host;
        let cause = innermost_io(error);
        let is_denied = cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied);
        let (kind, text) = match error {
            _ if is_denied => (
                ErrorKind::Denied,
                text!(
                    "Docker at {host} is not for this user: be root or in the group docker",
                    host = host
                ),
            ),
            bollard::errors::Error::DockerResponseServerError {
                status_code: 401 | 403,
                message,
            } => (
                ErrorKind::Denied,
                text!("Docker at {host} refused: {said}", host = host, said = message),
            ),
            bollard::errors::Error::DockerResponseServerError { message, .. } => (
                ErrorKind::Malformed,
                text!(
                    "Docker at {host} could not answer: {said}",
                    host = host,
                    said = message
                ),
            ),
            bollard::errors::Error::SocketNotFoundError(_) => (
                ErrorKind::Unreachable,
                text!(
                    "there is no Docker at {host}: the socket does not exist",
                    host = host
                ),
            ),
            bollard::errors::Error::JsonDataError { .. } | bollard::errors::Error::JsonSerdeError { .. } => (
                ErrorKind::Malformed,
                text!("what answers at {host} is not Docker", host = host),
            ),
            error => {
                let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
                (
                    ErrorKind::Unreachable,
                    text!(
                        "Docker at {host} cannot be reached: {cause}",
                        host = host,
                        cause = cause
                    ),
                )
            }
        };
        Error::new(kind, text)
    }
}

/// Whether what is known of `container` still holds: it runs, and has since before that was asked.
fn is_unchanged(container: &Container, known: &Known, now: Timestamp) -> bool {
    let age = known.at.elapsed();
    let started = known.details.started_at;
    container.state == "running"
        && container.health() == known.details.health
        && known.details.health.as_deref() != Some("unhealthy")
        && started.is_some_and(|started| started <= now)
        && age < DETAILS_HOLD
        && uptime_at_least(&container.status).is_some_and(|uptime| uptime > age + LIST_HOLDS)
}

/// The error of the operating system at the bottom of `error`.
fn innermost_io<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        found = error.downcast_ref::<std::io::Error>().or(found);
        next = error.source();
    }
    found
}

impl From<ContainerSummary> for Container {
    fn from(summary: ContainerSummary) -> Self {
        // Links to it make further names, with the name of the other container in front.
        let names = summary.names.unwrap_or_default();
        let name = names
            .iter()
            .map(|name| name.trim_start_matches('/'))
            .find(|name| !name.contains('/'));
        let networks = summary.network_settings.and_then(|settings| settings.networks);
        let address = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let mut ports: Vec<_> = summary
            .ports
            .unwrap_or_default()
            .into_iter()
            .map(Port::from)
            .collect();
        ports.sort_by_key(|port| (port.inside, port.published));
        Self {
            name: name.unwrap_or_default().to_owned(),
            id: summary.id.unwrap_or_default(),
            image: summary.image.unwrap_or_default(),
            image_id: summary.image_id.unwrap_or_default(),
            state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
            status: summary.status.unwrap_or_default(),
            ports,
            labels: summary.labels.unwrap_or_default().into_iter().collect(),
            networks: networks
                .unwrap_or_default()
                .into_iter()
                .map(|(network, settings)| (network, address(settings.ip_address)))
                .collect(),
        }
    }
}

impl From<PortSummary> for Port {
    fn from(port: PortSummary) -> Self {
        let address = port.ip.and_then(|ip| ip.parse().ok());
        Self {
            inside: port.private_port,
            published: address.zip(port.public_port),
            protocol: port.typ.map(|protocol| protocol.to_string()).unwrap_or_default(),
        }
    }
}
