//! Health checks and metrics for Substrate nodes and the services around them. This crate only observes: nothing in
//! it changes what it looks at, and it knows nothing of paging.
//!
//! ```
//! use alpha_probes::memory::ScriptedProbe;
//! use alpha_probes::rule::Rules;
//! use alpha_probes::suite::Suite;
//! use alpha_probes::{Check, Observation, Status, Unit};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let probe = ScriptedProbe::new("queue").then(Observation::new().with("waiting", 12.0, Unit::Count));
//! let rules = Rules::default().warn_when("[waiting] > 10")?.crit_when("[waiting] > 100")?;
//! let check = Check::new("queue", probe)?.with_rules(rules);
//!
//! let report = Suite::new(vec![check])?.run().await;
//! assert_eq!(report.verdict, Status::Warning);
//! assert_eq!(report.checks[0].reason.to_string(), "waiting is 12, limit > 10");
//! # Ok::<(), alpha_probes::Error>(())
//! # }).unwrap();
//! ```
//!
//! The nouns:
//! - A [`Probe`] asks one question of one target and yields an [`Observation`]: measurements with units, and facts. It does
//!   not judge. Each kind is an adapter in [`probes`], behind a feature.
//! - A [`condition`] is parsed once and evaluated often; [`rule::Rules`] give it a level, a duration and hysteresis, and
//!   [`judge`] turns an observation into a [`Status`] with a reason that shows the actual value.
//! - A [`Check`] is a probe, when it runs and how it is judged; [`CheckConfig`] is its table in a configuration.
//! - A [`suite::Suite`] runs checks once, a [`monitor::Monitor`] for ever; both name the root cause of what fails together.
//! - A [`history::History`] keeps what was seen; [`forecast`] says where it is heading; [`exposition`] shows it to Prometheus.
//!
//! A finding is not an error: a node that is down is [`Status::Critical`]. What could not be asked is
//! [`Status::Unknown`] with the reason, and nothing is ever ok because something was missing.
//!
//! Features: `http` and `host` are on by default; `access-log`, `command`, `dns`, `docker`, `icmp`, `log`, `postgres`,
//! `prometheus`, `redis`, `substrate`, `systemd` and `tls` each add their probes, `history-sqlite` and
//! `history-postgres` a durable history, `full` all of them, and `testing` doubles and conformance suites for tests.
//!
//! It does not page, restart, delete or repair anything, reads no configuration files, and fetches no secrets by itself
//! ([`Secrets`] hands them in).

#[cfg(feature = "tls")]
mod certificate;
pub mod check;
mod clock;
pub mod condition;
pub mod config;
pub mod dependency;
mod dial;
mod error;
pub mod exposition;
pub mod flapping;
pub mod forecast;
pub mod histories;
pub mod history;
#[cfg(feature = "http")]
mod http_client;
pub mod judge;
pub mod memory;
pub mod monitor;
mod observation;
pub mod probe;
pub mod probes;
mod report;
mod resources;
pub mod rule;
pub mod schedule;
#[cfg(any(feature = "prometheus", feature = "substrate"))]
mod scrape;
mod secret;
pub mod series;
mod status;
pub mod suite;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;

pub use check::{Check, CheckConfig, CheckId};
pub use clock::{Clock, SystemClock};
pub use config::Period;
pub use error::{Error, ErrorKind, Result};
pub use observation::{Body, Labels, Measurement, Observation, Unit};
pub use probe::{Context, Probe, ProbeKind};
pub use report::{CheckReport, SuiteReport};
pub use resources::Resources;
pub use secret::{NoSecrets, SecretRef, Secrets};
pub use status::Status;
pub use text::{Text, Translate};
