//! A check: a probe, when it runs, and how what it sees is judged.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::Period;
use crate::error::{Error, ErrorKind, Result};
use crate::probe::{Probe, ProbeKind};
use crate::probes::*;
use crate::resources::Resources;
use crate::rule::Rules;
use crate::text;

/// The name of a check: letters, digits, `.`, `_`, `-`, `/` and `:`, at most 120 bytes; unique in a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub struct CheckId(#[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,119}$"))] Arc<str>);

impl CheckId {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for CheckId {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
        let starts_well = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !starts_well || name.len() > 120 || !name.bytes().all(allowed) {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "\"{name}\" is no name for a check: expected letters, digits and ._-/: (at most 120), a letter or digit first",
                    name = name
                ),
            ));
        }
        Ok(Self(name.into()))
    }
}

impl Serialize for CheckId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CheckId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Ten seconds: what a check may take when it doesn't say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A minute: how often a check runs when it doesn't say.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// A probe, when it runs, and how what it sees is judged. Cheap to clone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// Its name, unique in a set.
    pub id: CheckId,
    /// What asks.
    pub probe: Arc<dyn Probe>,
    /// How often, from start to start.
    pub every: Duration,
    /// After how long a missing answer is an answer.
    pub timeout: Duration,
    /// How it is judged.
    pub rules: Arc<Rules>,
    /// The checks whose failure explains a failure of this one.
    pub parents: Vec<CheckId>,
    /// Where a person reads what to do, a path or an address.
    pub runbook: Arc<str>,
}

impl Check {
    /// A check of `probe` with the default rules of its kind, every minute, within ten seconds.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a name that is none.
    pub fn new(id: &str, probe: impl Probe + 'static) -> Result<Self> {
        let probe: Arc<dyn Probe> = Arc::new(probe);
        Ok(Self {
            id: id.parse()?,
            every: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            rules: Arc::new(Rules::defaults(probe.kind())),
            parents: Vec::new(),
            runbook: default_runbook(probe.kind()),
            probe,
        })
    }

    /// The same check judged by `rules`.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = Arc::new(rules);
        self
    }

    /// The same check, running every `every`.
    #[must_use]
    pub fn with_interval(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// The same check, given up after `timeout`.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same check, explained by `parents`.
    #[must_use]
    pub fn with_parents(mut self, parents: Vec<CheckId>) -> Self {
        self.parents = parents;
        self
    }
}

fn default_runbook(kind: &ProbeKind) -> Arc<str> {
    format!("docs/runbooks/{}.md", kind.name).into()
}

/// The configuration table of one kind of probe.
pub trait ProbeConfig {
    /// The kind it configures.
    fn kind(&self) -> &'static ProbeKind;

    /// Builds the probe; reads neither environment nor files but for what `resources` hand out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key and what is expected.
    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>>;
}

macro_rules! check_config {
    ($($(#[$gate:meta])* $field:ident: $config:ident => $kind:path,)*) => {
        /// One `[[check]]` of a configuration: what every check has, and exactly one table that names its probe.
        #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct CheckConfig {
            /// The name, unique in the file.
            pub name: String,
            /// How often, from start to start. Default: `1m`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub every: Option<Period>,
            /// After how long a missing answer is an answer. Default: `10s`, at most `every`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub timeout: Option<Period>,
            /// Conditions that must all hold; the check is critical when one does not. Gatus' are accepted unchanged.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub conditions: Vec<String>,
            /// The check is a warning while this holds. Replaces the default warnings of the kind.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub warn: Option<String>,
            /// The check is critical while this holds. Replaces the default critical rules of the kind.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub crit: Option<String>,
            /// How long (`2m`) or how often (`3 of 5`) a rule must apply before it counts. Default: at once.
            #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
            pub sustained: Option<String>,
            /// Once `warn` or `crit` applied, it goes on applying until this holds (hysteresis).
            #[serde(skip_serializing_if = "Option::is_none")]
            pub clear: Option<String>,
            /// Whether the default rules of the kind apply where `conditions`, `warn` and `crit` are silent. Default: true.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub defaults: Option<bool>,
            /// Names of the checks whose failure explains a failure of this one.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub depends_on: Vec<CheckId>,
            /// Where a person reads what to do. Default: the runbook of the kind.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub runbook: Option<String>,
            /// Goes along with whatever is told about this check, such as `component = "api"`; probes themselves make nothing
            /// of it. In `alpha serve`, `severity = "P1"` says how bad it is when the check is critical. Default: none.
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub labels: BTreeMap<String, String>,
            $(
                $(#[$gate])*
                #[doc = concat!("Asks by the probe `", stringify!($field), "`.")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$config>,
            )*
        }

        impl CheckConfig {
            /// The tables of probes that are present; exactly one is right.
            fn probes(&self) -> Vec<&dyn ProbeConfig> {
                let mut present: Vec<&dyn ProbeConfig> = Vec::new();
                $(
                    $(#[$gate])*
                    present.extend(self.$field.as_ref().map(|config| config as &dyn ProbeConfig));
                )*
                present
            }

            /// The names of all tables of probes that this build knows.
            pub fn probe_tables() -> Vec<&'static str> {
                vec![$($(#[$gate])* stringify!($field),)*]
            }
        }

        /// All kinds of probe that this build knows.
        pub(crate) fn kinds() -> Vec<&'static ProbeKind> {
            let mut kinds: Vec<&'static ProbeKind> = Vec::new();
            $(
                $(#[$gate])*
                kinds.extend($kind);
            )*
            kinds
        }
    };
}

check_config! {
    #[cfg(feature = "http")] http: HttpConfig => http::KINDS,
    tcp: TcpConfig => tcp::KINDS,
    #[cfg(feature = "dns")] dns: DnsConfig => dns::KINDS,
    #[cfg(feature = "icmp")] icmp: IcmpConfig => icmp::KINDS,
    #[cfg(feature = "tls")] tls: TlsConfig => tls::KINDS,
    #[cfg(feature = "postgres")] postgres: PostgresConfig => postgres::KINDS,
    #[cfg(feature = "redis")] redis: RedisConfig => redis::KINDS,
    #[cfg(feature = "docker")] container: ContainerConfig => docker::KINDS,
    #[cfg(feature = "host")] cpu: CpuConfig => host::cpu::KINDS,
    #[cfg(feature = "host")] memory: MemoryConfig => host::memory::KINDS,
    #[cfg(feature = "host")] load: LoadConfig => host::load::KINDS,
    #[cfg(feature = "host")] filesystem: FilesystemConfig => host::filesystem::KINDS,
    #[cfg(feature = "host")] disk_io: DiskIoConfig => host::disk_io::KINDS,
    #[cfg(feature = "host")] network_io: NetworkIoConfig => host::network_io::KINDS,
    #[cfg(feature = "host")] file_descriptors: FileDescriptorsConfig => host::file_descriptors::KINDS,
    #[cfg(feature = "host")] clock: ClockConfig => host::clock::KINDS,
    #[cfg(feature = "host")] pressure: PressureConfig => host::pressure::KINDS,
    #[cfg(feature = "host")] process: ProcessConfig => process::KINDS,
    #[cfg(feature = "systemd")] systemd: SystemdConfig => systemd::KINDS,
    file: FileConfig => file::KINDS,
    #[cfg(feature = "log")] log: LogConfig => log::KINDS,
    #[cfg(feature = "access-log")] access_log: AccessLogConfig => access_log::KINDS,
    #[cfg(feature = "prometheus")] prometheus: PrometheusConfig => prometheus::KINDS,
    heartbeat: HeartbeatConfig => heartbeat::KINDS,
    #[cfg(feature = "command")] command: CommandConfig => command::KINDS,
    #[cfg(feature = "substrate")] substrate: SubstrateConfig => substrate::KINDS,
}

/// One thing that is wrong with a [`CheckConfig`], and the key it stands at.
#[derive(Debug)]
pub struct Problem {
    /// The key inside the check's table, such as `warn` or `http.url`; empty for the check as a whole.
    pub key: String,
    /// What is wrong and what was expected.
    pub error: Error,
}

impl CheckConfig {
    /// Builds the check.
    ///
    /// # Errors
    /// All problems at once, each with the key it stands at.
    pub fn build(&self, resources: &Resources) -> Result<Check, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut note = |key: &str, error| {
            problems.push(Problem {
                key: key.to_owned(),
                error,
            })
        };
        let id = self
            .name
            .parse::<CheckId>()
            .map_err(|error| note("name", error))
            .ok();
        let every = self.every.map_or(DEFAULT_INTERVAL, |period| period.0);
        if every.is_zero() {
            note(
                "every",
                Error::new(
                    ErrorKind::InvalidConfig,
                    text!("a check cannot run every zero seconds"),
                ),
            );
        }
        let timeout = self.timeout.map_or(DEFAULT_TIMEOUT.min(every), |period| period.0);
        if timeout.is_zero() {
            note(
                "timeout",
                Error::new(
                    ErrorKind::InvalidConfig,
                    text!("a timeout of zero leaves no time to answer"),
                ),
            );
        }
        let probe = match self.probes().as_slice() {
            [config] => match config.build(resources) {
                Ok(probe) => Some(probe),
                Err(error) => {
                    note(config.kind().name, error);
                    None
                }
            },
            [] => {
                note(
                    "",
                    Error::new(
                        ErrorKind::InvalidConfig,
                        text!(
                            "this check has no probe: add one table of {tables}",
                            tables = Self::probe_tables().join(", ")
                        ),
                    ),
                );
                None
            }
            several => {
                let names: Vec<_> = several.iter().map(|config| config.kind().name).collect();
                note(
                    "",
                    Error::new(
                        ErrorKind::InvalidConfig,
                        text!(
                            "this check has several probes ({probes}): keep one, and give the others checks of their own",
                            probes = names.join(", ")
                        ),
                    ),
                );
                None
            }
        };
        let rules = probe
            .as_ref()
            .and_then(|probe| match Rules::shared(self, probe.kind(), resources) {
                Ok(rules) => Some(rules),
                Err(mut wrong) => {
                    problems.append(&mut wrong);
                    None
                }
            });
        match (id, probe, rules, problems.is_empty()) {
            (Some(id), Some(probe), Some(rules), true) => Ok(Check {
                id,
                every,
                timeout,
                rules,
                parents: self.depends_on.clone(),
                runbook: self
                    .runbook
                    .as_deref()
                    .map_or_else(|| default_runbook(probe.kind()), Arc::from),
                probe,
            }),
            _ => Err(problems),
        }
    }
}
