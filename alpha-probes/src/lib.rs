//! Health checks and metrics for Substrate nodes and the services around them. This crate only observes: nothing in
//! it changes what it looks at, and it knows nothing of paging.

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
