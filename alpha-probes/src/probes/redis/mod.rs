//! The probe `redis`.

mod info;
mod session;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;
use url::Url;

use crate::certificate::TlsClient;
use crate::check::ProbeConfig;
use crate::dial::{Endpoint, Progress, before, finding, invalid};
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::secret::SecretRef;
use crate::text;

use info::{Hits, Info};

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

/// The port of Redis when nothing else is said.
const DEFAULT_PORT: u16 = 6379;

static KIND: ProbeKind = ProbeKind {
    name: "redis",
    summary: "a Redis server: whether it answers, hit ratio, memory, persistence, replication",
    metrics: &[
        Metric::gauge("connected", Unit::Boolean, "Whether it answered"),
        Metric::gauge("connect_time", Unit::Seconds, "How long the TCP connection took"),
        Metric::gauge("ping_time", Unit::Seconds, "How long a PING took"),
        Metric::gauge("uptime", Unit::Seconds, "How long it has been running"),
        Metric::gauge(
            "loading",
            Unit::Boolean,
            "Whether it is still reading its data from disk",
        ),
        Metric::gauge(
            "clients",
            Unit::Count,
            "Connected clients, replicas not among them",
        ),
        Metric::gauge("clients_max", Unit::Count, "Clients that it lets in"),
        Metric::gauge(
            "clients_share",
            Unit::Ratio,
            "Connected clients of those that it lets in",
        ),
        Metric::gauge(
            "clients_blocked",
            Unit::Count,
            "Clients that wait in a blocking command",
        ),
        Metric::counter(
            "rejected_connections",
            Unit::Count,
            "Clients turned away because there were too many",
        ),
        Metric::gauge("memory_used", Unit::Bytes, "Memory its data and buffers take"),
        Metric::gauge(
            "memory_max",
            Unit::Bytes,
            "Memory it may take; absent where there is no limit",
        ),
        Metric::gauge(
            "memory_share",
            Unit::Ratio,
            "Memory taken of what it may take; absent where there is no limit",
        ),
        Metric::counter("evicted_keys", Unit::Count, "Keys thrown out for want of memory"),
        Metric::gauge("keys", Unit::Count, "Keys in the configured database"),
        Metric::gauge(
            "operations",
            Unit::PerSecond,
            "Commands it works off at the moment",
        ),
        Metric::counter("hits", Unit::Count, "Reads that found their key"),
        Metric::counter("misses", Unit::Count, "Reads that did not find their key"),
        Metric::gauge(
            "hit_ratio",
            Unit::Ratio,
            "Reads that found their key since it was last looked at; absent where nothing was read",
        ),
        Metric::gauge(
            "save_age",
            Unit::Seconds,
            "Since the last snapshot was saved, or since it started",
        ),
        Metric::gauge("unsaved_changes", Unit::Count, "Changes since the last snapshot"),
        Metric::gauge(
            "save_failed",
            Unit::Boolean,
            "Whether the last snapshot could not be saved",
        ),
        Metric::gauge(
            "aof_enabled",
            Unit::Boolean,
            "Whether it keeps an append-only file",
        ),
        Metric::gauge(
            "aof_failed",
            Unit::Boolean,
            "Whether the append-only file could not be written or rewritten",
        ),
        Metric::gauge("replicas", Unit::Count, "Replicas that follow it"),
        Metric::gauge(
            "replication_connected",
            Unit::Boolean,
            "Replica: whether it is connected to its primary",
        ),
        Metric::gauge(
            "replication_lag",
            Unit::Seconds,
            "Replica: since it last heard of its primary. Primary: since it last heard of each replica",
        ),
        Metric::gauge(
            "replication_lag_bytes",
            Unit::Bytes,
            "Primary: how far each replica is behind",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "loading == true",
            sustained: "",
            says: "Redis is reading its data from disk and refuses commands until that is done",
            remedy: "Wait; if it does not end, read the log of Redis for the size of the data and for errors.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "save_failed == true",
            sustained: "",
            says: "the last snapshot could not be saved, so that Redis may refuse every write",
            remedy: "Look for a full disk and for missing memory (vm.overcommit_memory), then run BGSAVE.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "aof_failed == true",
            sustained: "",
            says: "the append-only file could not be written, so that Redis may refuse every write",
            remedy: "Look for a full disk under the folder of the append-only file, then run BGREWRITEAOF.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "has(replication_connected) && replication_connected == false",
            sustained: "2 of 2",
            says: "this replica has lost its primary {primary}",
            remedy: "Check that the primary runs and can be reached from the replica, then read INFO replication.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "has(memory_share) && memory_share > 95% && maxmemory_policy == \"noeviction\"",
            sustained: "",
            says: "{memory_share} of the memory limit is used and nothing is evicted: writes fail at 100 %",
            remedy: "Find what grew (redis-cli --bigkeys), free it, raise maxmemory, or choose an eviction policy.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "has(clients_share) && clients_share > 95%",
            sustained: "",
            says: "{clients} of {clients_max} clients are connected",
            remedy: "Find who holds the connections (CLIENT LIST), fix its pool, or raise maxclients.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(memory_share) && memory_share > 80% && maxmemory_policy == \"noeviction\"",
            sustained: "",
            says: "{memory_share} of the memory limit is used and nothing is evicted: writes fail at 100 %",
            remedy: "Find what grew (redis-cli --bigkeys), free it, raise maxmemory, or choose an eviction policy.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(clients_share) && clients_share > 80%",
            sustained: "",
            says: "{clients} of {clients_max} clients are connected",
            remedy: "Find who holds the connections (CLIENT LIST), fix its pool, or raise maxclients.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(replication_lag) && replication_lag > 30s",
            sustained: "2 of 3",
            says: "replication is {replication_lag} behind",
            remedy: "Check the network between the two and the load of the replica (INFO replication).",
        },
    ],
};

/// The table `redis` of a check: an address in `url`, or in `host`, `port`, `database` and `tls`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RedisConfig {
    /// The address, `redis://host:6379/0`, or `rediss://` for TLS. Instead of the keys below; holds no password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The host. Default: `localhost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port. Default: 6379.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The database whose keys are counted. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<u16>,
    /// Whether the server speaks TLS; its certificate must be valid then. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// The account, where it isn't `default`. It needs the right to run PING and INFO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// The authorities to trust instead of this machine's, a PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// What an address says, whether it was written as one or in parts.
struct Address {
    host: String,
    port: u16,
    database: u16,
    tls: bool,
    username: Option<String>,
}

impl RedisConfig {
    fn address(&self) -> Result<Address> {
        let Some(url) = &self.url else {
            return Ok(Address {
                host: self.host.clone().unwrap_or_else(|| "localhost".to_owned()),
                port: self.port.unwrap_or(DEFAULT_PORT),
                database: self.database.unwrap_or(0),
                tls: self.tls.unwrap_or(false),
                username: self.username.clone(),
            });
        };
        let has_parts =
            self.host.is_some() || self.port.is_some() || self.database.is_some() || self.tls.is_some();
        if has_parts {
            return Err(invalid(text!(
                "url: it stands for host, port, database and tls; keep one or the others"
            )));
        }
        // The address itself is not repeated: it may hold a password.
        let expected = || {
            invalid(text!(
                "url: expected an address such as \"redis://localhost:6379/0\" or \"rediss://…\" for TLS"
            ))
        };
        let url = Url::parse(url).map_err(|_| expected())?;
        if url.password().is_some() {
            return Err(invalid(text!(
                "url: a password does not belong into it: use password = { env = \"…\" } or { file = \"…\" }"
            )));
        }
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(expected()),
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(expected)?;
        let database = url.path().trim_start_matches('/');
        let username = Some(url.username()).filter(|name| !name.is_empty());
        Ok(Address {
            host: host.to_owned(),
            port: url.port().unwrap_or(DEFAULT_PORT),
            database: match database {
                "" => 0,
                number => number.parse().map_err(|_| expected())?,
            },
            tls,
            username: self.username.clone().or(username.map(str::to_owned)),
        })
    }
}

impl ProbeConfig for RedisConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let address = self.address()?;
        if address.host.is_empty() || address.port == 0 {
            return Err(invalid(text!(
                "host: expected a name or an address, and port: 1 to 65535"
            )));
        }
        let endpoint = Endpoint::new(&address.host, address.port);
        let password = self
            .password
            .as_ref()
            .map(|reference| resources.secrets.resolve(reference))
            .transpose()?;
        if address.username.is_some() && password.is_none() {
            return Err(invalid(text!("password: an account needs one")));
        }
        let tls = match address.tls {
            true => {
                let name = ServerName::try_from(endpoint.host.clone())
                    .map_err(|_| invalid(text!("host: expected a name or an address")))?;
                Some((TlsClient::new(resources, self.ca_file.as_deref(), &[])?, name))
            }
            false => None,
        };
        Ok(Arc::new(RedisProbe {
            target: endpoint.to_string(),
            endpoint,
            tls,
            username: address.username,
            password,
            database: address.database,
            earlier: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct RedisProbe {
    target: String,
    endpoint: Endpoint,
    tls: Option<(TlsClient, ServerName<'static>)>,
    username: Option<String>,
    password: Option<SecretString>,
    database: u16,
    earlier: Mutex<Option<Earlier>>,
}

/// The last look at the hits.
#[derive(Debug)]
struct Earlier {
    hits: Hits,
    at: Timestamp,
}

#[async_trait]
impl Probe for RedisProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let mut progress = Progress::new(&self.endpoint);
        let asked = self.ask(context.clock.now(), &mut progress);
        match timeout_at(before(context.deadline), asked).await {
            Ok(answer) => {
                let (reply, ping_time) = match answer {
                    Ok(answer) => answer,
                    Err(error) => return finding(error),
                };
                let info = Info::read(&reply);
                let now = context.clock.now();
                let mut observation = info.observe(now, self.database);
                self.add_hit_ratio(&info, now, &mut observation);
                observation = observation
                    .with_bool("connected", true)
                    .with_seconds("ping_time", ping_time);
                Ok(match progress.connect_time {
                    Some(time) => observation.with_seconds("connect_time", time),
                    None => observation,
                })
            }
            Err(_) => finding(progress.timed_out()),
        }
    }
}

impl RedisProbe {
    /// The ratio of what was read since the last look, or since the start where this is the first.
    fn add_hit_ratio(&self, info: &Info<'_>, now: Timestamp, observation: &mut Observation) {
        let Some(hits) = info.hits() else { return };
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let before = earlier.replace(Earlier {
            hits: hits.clone(),
            at: now,
        });
        let window = before.and_then(|before| Some((hits.since(&before.hits)?, before.at)));
        let since = window.as_ref().map(|(_, at)| *at).or_else(|| info.started(now));
        let counted = window.map_or(hits, |(added, _)| added);
        if let Some(ratio) = counted.ratio() {
            observation.push("hit_ratio", ratio, Unit::Ratio, Vec::new());
            let since = since.map(|at| at.to_string());
            observation.facts.insert("hit_ratio_since".into(), since.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn config(toml: &str) -> RedisConfig {
        let mut config = RedisConfig::default();
        for line in toml.lines() {
            let (key, value) = line.split_once(" = ").unwrap();
            let value = value.to_owned();
            match key {
                "url" => config.url = Some(value),
                "host" => config.host = Some(value),
                "username" => config.username = Some(value),
                _ => unreachable!(),
            }
        }
        config
    }

    #[test]
    fn an_address_is_written_as_one_or_in_parts() {
        for (toml, expected) in [
            ("host = cache", "cache:6379"),
            ("url = redis://cache", "cache:6379"),
            ("url = redis://cache:6380/3", "cache:6380"),
            ("url = redis://[::1]:6380", "[::1]:6380"),
        ] {
            let probe = config(toml).build(&Resources::default()).unwrap();
            assert_eq!(probe.target(), expected, "{toml}");
        }
        assert_eq!(
            RedisConfig::default()
                .build(&Resources::default())
                .unwrap()
                .target(),
            "localhost:6379"
        );
        assert_eq!(config("url = redis://cache/3").address().unwrap().database, 3);
        assert!(config("url = rediss://cache").address().unwrap().tls);
    }

    #[test]
    fn bad_values_are_refused_with_the_key_and_without_the_password() {
        for (toml, expected) in [
            ("url = cache:6379", "url: expected an address"),
            ("url = http://cache", "url: expected an address"),
            ("url = redis://cache/first", "url: expected an address"),
            (
                "url = redis://:hunter2@cache",
                "url: a password does not belong into it",
            ),
            ("url = redis://cache\nhost = other", "url: it stands for host"),
            ("host = cache\nusername = alpha", "password: an account needs one"),
            ("host = ", "host: expected"),
        ] {
            let error = config(toml).build(&Resources::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().starts_with(expected), "{toml}: {error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
