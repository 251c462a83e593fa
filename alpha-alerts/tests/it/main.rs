//! What only shows when the parts of the crate work together, or beside something that is not ours.
#![expect(clippy::unwrap_used, reason = "a test may fail there")]

#[cfg(feature = "alertmanager-config")]
mod alertmanager_config;
mod dispatcher;
mod instances;
mod kill;
#[cfg(all(feature = "full", feature = "testing"))]
mod notifiers;
mod oncall;
mod routing;
mod simulate;
#[cfg(all(feature = "sqlite", feature = "postgres", feature = "testing"))]
mod store;
