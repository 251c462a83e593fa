//! The probe `postgres`.

mod queries;
mod session;
mod statistics;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::time::timeout_at;
use url::Url;

use crate::check::ProbeConfig;
use crate::config::Period;
use crate::dial::{Endpoint, Progress, before, finding, invalid};
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::secret::SecretRef;
use crate::text;

use queries::Query;
use session::{Login, Session};
use statistics::Blocks;

/// The port of PostgreSQL when nothing else is said.
const DEFAULT_PORT: u16 = 5432;

/// A second: a statement that takes longer in the mean is slow.
const DEFAULT_SLOW: Period = Period::from_secs(1);

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "postgres",
    summary: "a PostgreSQL server: whether it answers, connections, transactions, replication, cache, your own queries",
    metrics: &[
        Metric::gauge("connected", Unit::Boolean, "Whether it answered"),
        Metric::gauge(
            "connect_time",
            Unit::Seconds,
            "How long connecting and logging in took for the connection in use, which is kept",
        ),
        Metric::gauge(
            "query_time",
            Unit::Seconds,
            "How long a trivial query took, as SELECT 1 is",
        ),
        Metric::gauge("uptime", Unit::Seconds, "How long it has been running"),
        Metric::gauge(
            "sees_all",
            Unit::Boolean,
            "Whether the user may see the sessions of others",
        ),
        Metric::gauge("connections", Unit::Count, "Connections of clients"),
        Metric::gauge(
            "connections_max",
            Unit::Count,
            "Connections for users that are no superusers",
        ),
        Metric::gauge(
            "connections_share",
            Unit::Ratio,
            "Connections of those there may be",
        ),
        Metric::gauge(
            "connections_idle_in_transaction",
            Unit::Count,
            "Connections that hold a transaction open and do nothing",
        ),
        Metric::gauge(
            "longest_transaction",
            Unit::Seconds,
            "How long the oldest transaction has been open",
        ),
        Metric::counter(
            "commits",
            Unit::Count,
            "Transactions of this database that were committed",
        ),
        Metric::counter(
            "rollbacks",
            Unit::Count,
            "Transactions of this database that were rolled back",
        ),
        Metric::counter("deadlocks", Unit::Count, "Deadlocks in this database"),
        Metric::counter(
            "temporary_bytes",
            Unit::Bytes,
            "Written to temporary files by queries that lacked memory",
        ),
        Metric::gauge(
            "cache_hit",
            Unit::Ratio,
            "Blocks of this database found in memory since it was last looked at; absent where none was read",
        ),
        Metric::gauge("database_size", Unit::Bytes, "Size of this database on disk"),
        Metric::gauge(
            "dead_rows",
            Unit::Ratio,
            "Rows of this database that wait for a vacuum; absent on a standby",
        ),
        Metric::gauge(
            "xid_age",
            Unit::Ratio,
            "How far the oldest transaction id is on its way to the wraparound at which PostgreSQL refuses to write",
        ),
        Metric::gauge(
            "standbys",
            Unit::Count,
            "Primary: standbys and subscribers that follow it",
        ),
        Metric::gauge(
            "replication_connected",
            Unit::Boolean,
            "Standby: whether it receives from its primary",
        ),
        Metric::gauge(
            "replication_lag",
            Unit::Seconds,
            "Standby: age of what it replayed last, 0 when it has replayed all. Primary: how far each standby is behind",
        ),
        Metric::gauge(
            "replication_lag_bytes",
            Unit::Bytes,
            "Primary: how far each standby is behind",
        ),
        Metric::gauge(
            "slots_inactive",
            Unit::Count,
            "Replication slots that nobody reads from",
        ),
        Metric::gauge(
            "wal_retained",
            Unit::Bytes,
            "Log that is kept for the replication slot furthest behind",
        ),
        Metric::gauge(
            "slow_statements",
            Unit::Count,
            "Statements slower than `slow` in the mean; absent where pg_stat_statements is not installed",
        ),
        Metric::gauge("queries_failed", Unit::Count, "How many of `queries` failed"),
    ],
    is_open: true,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "connections_share > 95%",
            sustained: "",
            says: "{connections} of {connections_max} connections are used",
            remedy: "See who holds them (SELECT usename, state, count(*) FROM pg_stat_activity GROUP BY 1, 2), fix that pool.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "has(replication_connected) && replication_connected == false",
            sustained: "2 of 2",
            says: "this standby receives nothing from its primary",
            remedy: "Check that the primary runs and can be reached, then the log of the standby for why it was refused.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "has(replication_lag) && replication_lag > 5m",
            sustained: "2 of 3",
            says: "replication is {replication_lag} behind",
            remedy: "Look for a long query on the standby, a full disk or a slow network; do not fail over to it.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "xid_age > 75%",
            sustained: "",
            says: "{xid_age} of all transaction ids are used up; at 100 % PostgreSQL refuses to write",
            remedy: "End the oldest transactions and drop unused replication slots, then VACUUM the database with the highest age(datfrozenxid).",
        },
        DefaultRule {
            level: Level::Warning,
            when: "connections_share > 80%",
            sustained: "",
            says: "{connections} of {connections_max} connections are used",
            remedy: "See who holds them (SELECT usename, state, count(*) FROM pg_stat_activity GROUP BY 1, 2), fix that pool.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(replication_lag) && replication_lag > 30s",
            sustained: "2 of 3",
            says: "replication is {replication_lag} behind",
            remedy: "Look for a long query on the standby, a full disk or a slow network; do not fail over to it.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "xid_age > 40%",
            sustained: "",
            says: "{xid_age} of all transaction ids are used up; at 100 % PostgreSQL refuses to write",
            remedy: "Find what holds autovacuum back: old transactions, unused replication slots, prepared transactions.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(longest_transaction) && longest_transaction > 30m",
            sustained: "",
            says: "a transaction has been open for {longest_transaction}: {longest_transaction_by}",
            remedy: "It keeps vacuum from cleaning up and may hold locks. Ask its owner, or end it (SELECT pg_terminate_backend(pid)).",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(wal_retained) && wal_retained > 20GB",
            sustained: "",
            says: "{wal_retained} of the log are kept for a replication slot, which may fill the disk",
            remedy: "See pg_replication_slots; drop the slot of a standby that does not come back.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "delta(deadlocks, 15m) > 0",
            sustained: "",
            says: "{value} deadlocks within 15 minutes",
            remedy: "Read the log of PostgreSQL for the statements involved; let all of them take their locks in one order.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "queries_failed > 0",
            sustained: "",
            says: "{queries_failed} of the configured queries failed: {query_errors}",
            remedy: "Run the query by hand as the same user; correct it, or grant what it lacks.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "sees_all == false",
            sustained: "",
            says: "the user {user} cannot see the sessions of others, so that long transactions and lag stay hidden",
            remedy: "As a superuser: GRANT pg_monitor TO {user}.",
        },
    ],
};

/// Whether the connection is encrypted and the server proves who it is; the words of libpq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server can; the server proves nothing.
    #[default]
    Prefer,
    /// Encrypted; the server proves nothing.
    Require,
    /// Encrypted, with a certificate of a trusted authority.
    VerifyCa,
    /// Encrypted, with a certificate of a trusted authority for this host.
    VerifyFull,
}

impl SslMode {
    const ALL: [(&'static str, Self); 5] = [
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    fn as_libpq(self) -> PgSslMode {
        match self {
            Self::Disable => PgSslMode::Disable,
            Self::Prefer => PgSslMode::Prefer,
            Self::Require => PgSslMode::Require,
            Self::VerifyCa => PgSslMode::VerifyCa,
            Self::VerifyFull => PgSslMode::VerifyFull,
        }
    }
}

/// The table `postgres` of a check: an address in `url`, or in `host`, `port`, `user`, `database` and `sslmode`.
///
/// The user needs no right but to connect; with `GRANT pg_monitor` it sees the sessions of others too.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// The address, `postgres://user@host:5432/database?sslmode=verify-full`. Instead of the keys below; holds no
    /// password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The host, or the folder of its unix socket. Default: `localhost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port. Default: 5432.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Who logs in. Default: `postgres`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The database. Default: the name of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Whether the connection is encrypted and the server proves who it is. Default: `prefer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sslmode: Option<SslMode>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// The authorities to trust instead of this machine's, a PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A statement that takes longer in the mean is slow, which is known where the extension `pg_stat_statements` is
    /// installed. Default: `1s`.
    pub slow: Period,
    /// Queries of your own, by the name of the measurement they yield: `active_users = "SELECT count(*) FROM …"`. One
    /// column is a number; columns that are texts become labels, and each row a measurement (at most 100). They run in
    /// a transaction that cannot write, within the time of the check.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, String>,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: None,
            host: None,
            port: None,
            user: None,
            database: None,
            sslmode: None,
            password: None,
            ca_file: None,
            slow: DEFAULT_SLOW,
            queries: BTreeMap::new(),
        }
    }
}

/// What an address says, whether it was written as one or in parts.
#[derive(Debug, PartialEq)]
struct Address {
    host: String,
    port: u16,
    user: String,
    database: String,
    sslmode: SslMode,
}

impl PostgresConfig {
    fn address(&self) -> Result<Address> {
        let (host, port, user, database, sslmode) = match &self.url {
            Some(url) => {
                let has_parts = self.host.is_some()
                    || self.port.is_some()
                    || self.user.is_some()
                    || self.database.is_some()
                    || self.sslmode.is_some();
                if has_parts {
                    return Err(invalid(text!(
                        "url: it stands for host, port, user, database and sslmode; keep one or the others"
                    )));
                }
                parts(url)?
            }
            None => (
                self.host.clone(),
                self.port,
                self.user.clone(),
                self.database.clone(),
                self.sslmode,
            ),
        };
        let user = user.unwrap_or_else(|| "postgres".to_owned());
        Ok(Address {
            host: host.unwrap_or_else(|| "localhost".to_owned()),
            port: port.unwrap_or(DEFAULT_PORT),
            database: database.unwrap_or_else(|| user.clone()),
            user,
            sslmode: sslmode.unwrap_or_default(),
        })
    }
}

type Parts = (
    Option<String>,
    Option<u16>,
    Option<String>,
    Option<String>,
    Option<SslMode>,
);

/// The parts of an address; it is never repeated in an error, as it may hold a password.
fn parts(url: &str) -> Result<Parts> {
    let expected = || {
        invalid(text!(
            "url: expected an address such as \"postgres://user@localhost:5432/database\""
        ))
    };
    let url = Url::parse(url).map_err(|_| expected())?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(expected());
    }
    let mut sslmode = None;
    for (key, value) in url.query_pairs() {
        match &*key {
            "sslmode" => {
                let known = SslMode::ALL.iter().find(|(word, _)| *word == value);
                let (_, mode) = known.ok_or_else(|| {
                    invalid(text!(
                        "url: sslmode is one of disable, prefer, require, verify-ca and verify-full"
                    ))
                })?;
                sslmode = Some(*mode);
            }
            "password" => return Err(password_in_url()),
            _ => {
                return Err(invalid(text!(
                    "url: the only option known in it is sslmode, found {found}",
                    found = &*key
                )));
            }
        }
    }
    if url.password().is_some() {
        return Err(password_in_url());
    }
    let decoded = |text: &str| {
        let text = percent_encoding::percent_decode_str(text).decode_utf8();
        text.map(|text| Some(text.into_owned()).filter(|text| !text.is_empty()))
            .map_err(|_| expected())
    };
    // A folder of a unix socket is written with its slashes encoded; an address in brackets without them.
    let host = decoded(url.host_str().unwrap_or_default())?;
    let host = host.map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
    let database = decoded(url.path().trim_start_matches('/'))?;
    Ok((host, url.port(), decoded(url.username())?, database, sslmode))
}

fn password_in_url() -> crate::Error {
    invalid(text!(
        "url: a password does not belong into it: use password = { env = \"…\" } or { file = \"…\" }"
    ))
}

impl ProbeConfig for PostgresConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let Address {
            host,
            port,
            user,
            database,
            sslmode,
        } = self.address()?;
        if host.is_empty() || port == 0 {
            return Err(invalid(text!(
                "host: expected a name or an address, and port: 1 to 65535"
            )));
        }
        let queries = self
            .queries
            .iter()
            .map(|(name, sql)| Query::new(name, sql))
            .collect::<Result<_>>()?;
        // Every option is set, so that none is taken from the environment.
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&host)
            .port(port)
            .username(&user)
            .database(&database)
            .ssl_mode(sslmode.as_libpq())
            .application_name("alpha")
            // Poolers in front of PostgreSQL refuse it.
            .extra_float_digits(None)
            .statement_cache_capacity(0)
            .disable_statement_logging();
        let password = self
            .password
            .as_ref()
            .map(|reference| resources.secrets.resolve(reference))
            .transpose()?;
        options = options.password(password.as_ref().map_or("", |password| password.expose_secret()));
        if let Some(path) = &self.ca_file {
            let authorities = std::fs::read(path).map_err(|error| {
                invalid(text!(
                    "ca_file: {path} cannot be read: {cause}",
                    path = path.display().to_string(),
                    cause = error.to_string()
                ))
            })?;
            options = options.ssl_root_cert_from_pem(authorities);
        }
        let endpoint = Endpoint::new(&host, port);
        Ok(Arc::new(PostgresProbe {
            target: endpoint.to_string(),
            endpoint,
            login: Login {
                options,
                user,
                database,
            },
            slow: self.slow.0,
            queries,
            session: tokio::sync::Mutex::default(),
            earlier: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct PostgresProbe {
    target: String,
    endpoint: Endpoint,
    login: Login,
    slow: Duration,
    queries: Vec<Query>,
    /// The connection, while nobody uses it. A look that is given up takes it along, so that the next one connects anew
    /// instead of meeting answers to old questions.
    session: tokio::sync::Mutex<Option<Session>>,
    /// The blocks as they were at the last look.
    earlier: Mutex<Option<Blocks>>,
}

#[async_trait]
impl Probe for PostgresProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let mut progress = Progress::new(&self.endpoint);
        let ending = before(context.deadline);
        let asked = self.ask(context, ending, &mut progress);
        match timeout_at(ending, asked).await {
            Ok(Ok(observation)) => Ok(observation.with_bool("connected", true)),
            Ok(Err(error)) => finding(error),
            Err(_) => finding(progress.timed_out()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn with_url(url: &str) -> PostgresConfig {
        PostgresConfig {
            url: Some(url.to_owned()),
            ..PostgresConfig::default()
        }
    }

    #[test]
    fn an_address_is_written_as_one_or_in_parts() {
        let address = |host: &str, port, user: &str, database: &str, sslmode| Address {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            database: database.to_owned(),
            sslmode,
        };
        assert_eq!(
            PostgresConfig::default().address().unwrap(),
            address("localhost", 5432, "postgres", "postgres", SslMode::Prefer)
        );
        for (url, expected) in [
            (
                "postgres://db",
                address("db", 5432, "postgres", "postgres", SslMode::Prefer),
            ),
            (
                "postgresql://alpha@db:5433",
                address("db", 5433, "alpha", "alpha", SslMode::Prefer),
            ),
            (
                "postgres://al%40pha@[::1]/alpha_social?sslmode=verify-full",
                address("::1", 5432, "al@pha", "alpha_social", SslMode::VerifyFull),
            ),
            (
                "postgres://%2Fvar%2Frun%2Fpostgresql/alpha",
                address("/var/run/postgresql", 5432, "postgres", "alpha", SslMode::Prefer),
            ),
        ] {
            assert_eq!(with_url(url).address().unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn bad_values_are_refused_with_the_key_and_without_the_password() {
        let with_query = |name: &str, sql: &str| PostgresConfig {
            queries: BTreeMap::from([(name.to_owned(), sql.to_owned())]),
            ..PostgresConfig::default()
        };
        let with_both = PostgresConfig {
            host: Some("db".to_owned()),
            ..with_url("postgres://db")
        };
        let with_file = PostgresConfig {
            ca_file: Some("/nowhere/ca.pem".into()),
            ..PostgresConfig::default()
        };
        for (config, expected) in [
            (with_url("db:5432"), "url: expected an address"),
            (with_url("mysql://db"), "url: expected an address"),
            (
                with_url("postgres://a:hunter2@db"),
                "url: a password does not belong into it",
            ),
            (
                with_url("postgres://a@db?password=hunter2"),
                "url: a password does not belong into it",
            ),
            (
                with_url("postgres://db?sslmode=yes"),
                "url: sslmode is one of disable, ",
            ),
            (
                with_url("postgres://db?options=x"),
                "url: the only option known in it is sslmode, found options",
            ),
            (with_both, "url: it stands for host"),
            (with_file, "ca_file: /nowhere/ca.pem cannot be read"),
            (
                with_query("connections", "SELECT 1"),
                "queries: connections is measured already",
            ),
            (
                with_query("active users", "SELECT 1"),
                "queries: \"active users\" is no name",
            ),
            (with_query("users", " ; "), "queries: users is empty"),
        ] {
            let error = config.build(&Resources::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
