//! The probe `container`, and what runs in Docker here.

mod daemon;
mod state;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::check::ProbeConfig;
use crate::condition::nearest;
use crate::config::Period;
use crate::dial::{before, invalid};
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

use daemon::{Daemon, Daemons};

/// Where Docker listens when nothing else is said.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// A minute: how long a container that crashed must be up again before it counts as recovered. Docker itself waits up
/// to a minute between two restarts.
const DEFAULT_SETTLE: Period = Period::from_secs(60);

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

const READ_THE_LOG: &str = "Read its last lines (docker logs --tail 50 {name}). Exit code 137 is a kill, 139 a crash in \
                            its code, 127 a missing program. Start it again only when it does not sign blocks, or when its twin surely does not.";

static KIND: ProbeKind = ProbeKind {
    name: "container",
    summary: "a Docker container: state, health, restarts, image, uptime; one question to Docker for all of them",
    metrics: &[
        Metric::gauge(
            "running",
            Unit::Boolean,
            "Whether its program runs: not stopped, paused or between two restarts",
        ),
        Metric::gauge(
            "uptime",
            Unit::Seconds,
            "Since it was last started; absent while it isn't running",
        ),
        Metric::counter(
            "restarts",
            Unit::Count,
            "How often Docker restarted it because its program had ended",
        ),
        Metric::gauge(
            "restarted",
            Unit::Boolean,
            "Whether Docker restarted it since it was last looked at",
        ),
        Metric::gauge(
            "crash_looping",
            Unit::Boolean,
            "Whether it is between two restarts, or up for less than `settle` after one",
        ),
        Metric::gauge(
            "exit_code",
            Unit::Count,
            "How its program ended; absent while it runs",
        ),
        Metric::gauge(
            "oom_killed",
            Unit::Boolean,
            "Whether the kernel killed it for want of memory",
        ),
        Metric::gauge(
            "healthy",
            Unit::Boolean,
            "What its health check says; absent where it has none or hasn't come to a result",
        ),
        Metric::gauge(
            "restarts_signer",
            Unit::Boolean,
            "Whether Docker starts it again by itself although it signs blocks; absent where `signer` is not set",
        ),
        Metric::gauge(
            "failing_health_checks",
            Unit::Count,
            "How many times in a row its health check failed",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "state == \"restarting\"",
            sustained: "",
            says: "{name} crashes and is restarted again and again: {restarts} restarts, last exit code {exit_code}",
            remedy: READ_THE_LOG,
        },
        DefaultRule {
            level: Level::Critical,
            when: "crash_looping == true && running == true",
            sustained: "",
            says: "{name} was restarted {restarts} times and has been up for {uptime} only",
            remedy: READ_THE_LOG,
        },
        DefaultRule {
            level: Level::Critical,
            when: "state == \"exited\" && oom_killed == true",
            sustained: "",
            says: "{name} has stopped: it ran out of memory and was killed",
            remedy: "Give it more memory (deploy.resources.limits.memory, docker update --memory) or find what it leaks.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "state == \"exited\" && oom_killed == false",
            sustained: "",
            says: "{name} has stopped with exit code {exit_code}",
            remedy: READ_THE_LOG,
        },
        DefaultRule {
            level: Level::Critical,
            when: "state == \"paused\"",
            sustained: "",
            says: "{name} is paused: it keeps its connections and answers nothing",
            remedy: "Find out who paused it (docker events --since 24h --filter event=pause), then docker unpause {name}.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "running == false && state != \"restarting\" && state != \"exited\" && state != \"paused\"",
            sustained: "",
            says: "{name} is not running, its state is {state}",
            remedy: "See why with docker inspect {name}, field State.Error.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "health == \"unhealthy\"",
            sustained: "",
            says: "{name} runs but its health check fails: {health_output}",
            remedy: "Run its health check by hand inside (docker exec {name} …) and read its log.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "delta(restarts, 15m) > 2 && crash_looping == false",
            sustained: "",
            says: "{name} keeps crashing: {value} restarts within 15 minutes",
            remedy: READ_THE_LOG,
        },
        DefaultRule {
            level: Level::Warning,
            when: "restarted == true",
            sustained: "",
            says: "{name} crashed and was restarted since it was last looked at, {restarts} times in all",
            remedy: READ_THE_LOG,
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(restarts_signer) == true && restarts_signer == true",
            sustained: "",
            says: "{name} signs blocks, and Docker starts it again at once after a crash (restart policy {restart_policy})",
            remedy: "A signer that is back within seconds may vote twice and be slashed: docker update --restart=no {name}, and start it by its runbook.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "oom_killed == true",
            sustained: "",
            says: "the kernel killed a process of {name} for want of memory",
            remedy: "Give it more memory (deploy.resources.limits.memory, docker update --memory) or find what it leaks.",
        },
    ],
};

/// The table `container` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ContainerConfig {
    /// The name of the container, or its id in full. Required.
    pub name: String,
    /// Where Docker listens: `unix:///path/of/socket` or `tcp://host:port`. Default: `unix:///var/run/docker.sock`.
    pub host: String,
    /// How long a container that crashed must be up again before it counts as recovered. Default: `1m`.
    pub settle: Period,
    /// Whether a node in it signs blocks: a restart policy is then a warning, because Docker starts it again within
    /// seconds of a crash, and its database may have lost the last votes it cast. Default: false.
    pub signer: bool,
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            host: DEFAULT_HOST.to_owned(),
            settle: DEFAULT_SETTLE,
            signer: false,
        }
    }
}

impl ProbeConfig for ContainerConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let name = self.name.trim_start_matches('/');
        if name.is_empty() {
            return Err(invalid(text!(
                "name: expected the name of a container, as docker ps shows it"
            )));
        }
        Ok(Arc::new(ContainerProbe {
            name: name.to_owned(),
            settle: self.settle,
            is_signer: self.signer,
            daemon: resources.shared::<Daemons>().at(&self.host)?,
            seen: Mutex::default(),
        }))
    }
}

/// A container as the list of Docker shows it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Container {
    /// Its id in full.
    pub id: String,
    /// Its name without the slash in front.
    pub name: String,
    /// The name of its image as it was written when the container was made.
    pub image: String,
    /// The id of its image.
    pub image_id: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub state: String,
    /// The state in Docker's words: `Up 3 hours (healthy)`.
    pub status: String,
    /// Its ports, those that are published on the host among them.
    pub ports: Vec<Port>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The networks it is in, with its address there where it has one.
    pub networks: BTreeMap<String, Option<IpAddr>>,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// The port inside.
    pub inside: u16,
    /// Where it is published on the host, where it is: address and port.
    pub published: Option<(IpAddr, u16)>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// All containers of the Docker at `host` ([`DEFAULT_HOST`] in general), running or not, by name.
///
/// An answer that is less than a second old is given again, so that any number of callers at a time ask Docker once.
///
/// # Errors
/// `Unreachable` where nothing listens, `Denied` where Docker is not for this user, `Timeout` after `deadline`,
/// `InvalidConfig` for a `host` that is none.
pub async fn list(resources: &Resources, host: &str, deadline: Instant) -> Result<Vec<Container>> {
    let daemon = resources.shared::<Daemons>().at(host)?;
    Ok(daemon.containers(before(deadline)).await?.to_vec())
}

#[derive(Debug)]
struct ContainerProbe {
    name: String,
    settle: Period,
    is_signer: bool,
    daemon: Arc<Daemon>,
    seen: Mutex<Option<Seen>>,
}

/// What was known of the container after the last look.
#[derive(Clone, Debug)]
struct Seen {
    id: String,
    restarts: u64,
}

#[async_trait]
impl Probe for ContainerProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        self.daemon.host()
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let ending = before(context.deadline);
        let containers = self.daemon.containers(ending).await?;
        let found = containers
            .iter()
            .find(|container| container.name == self.name || container.id == self.name);
        let Some(container) = found else {
            return Ok(self.missing(&containers));
        };
        let now = context.clock.now();
        let Some(details) = self.daemon.details(container, now, ending).await? else {
            // It was in the list and is gone: removed while it was looked at.
            return Ok(self.missing(&[]));
        };
        let mut observation = state::observe(container, &details, now, self.settle.0, self.is_signer);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = seen.replace(Seen {
            id: container.id.clone(),
            restarts: details.restarts,
        });
        let restarted =
            earlier.is_some_and(|earlier| earlier.id == container.id && earlier.restarts < details.restarts);
        observation.push(
            "restarted",
            f64::from(u8::from(restarted)),
            Unit::Boolean,
            Vec::new(),
        );
        Ok(observation)
    }
}

impl ContainerProbe {
    /// That there is no such container: a finding, because it was there when somebody wrote the check.
    fn missing(&self, others: &[Container]) -> Observation {
        let names = others.iter().map(|container| container.name.as_str());
        let why = match nearest(&self.name, names) {
            Some(nearest) => text!(
                "there is no container {name}; the nearest is {nearest}",
                name = &self.name,
                nearest = nearest
            ),
            None => text!("there is no container {name}", name = &self.name),
        };
        Observation::failed(why)
            .with_bool("running", false)
            .with_fact("name", self.name.as_str())
            .with_fact("state", "missing")
    }
}
