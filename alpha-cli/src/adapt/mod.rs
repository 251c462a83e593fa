//! The only place where probes and alerts meet: what a check found becomes an alert, and its end the end of the alert.
//!
//! - [`ready_made`] holds the maintenance plan's severities, kind by kind.
//! - A [`Policy`] is these together with the configuration: it says how bad a finding is and writes the alert.
//! - [`Findings`] remembers the latest finding of every check and what was told of it, and says what has to be told now.
//!
//! All of it is pure: `alpha serve` hands in reports and the time, and carries the alerts to the dispatcher.

mod findings;
mod policy;
pub mod ready_made;
mod words;

pub use findings::Findings;
pub use policy::Policy;
pub(crate) use words::{alerts_error, reworded};
