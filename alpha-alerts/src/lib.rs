//! Routes alerts of severity P0 to P3 to the person who must act, and loses none of them on the way. It knows nothing of
//! probes: whoever embeds it turns what was found into an [`Alert`].

mod alert;
pub mod audit;
mod clock;
pub mod command;
pub mod config;
pub mod dispatcher;
mod error;
pub mod escalation;
pub mod exposition;
pub mod group;
mod hash;
#[cfg(feature = "inbound")]
pub mod inbound;
pub mod incident;
mod inhibit;
mod label;
pub mod matcher;
pub mod memory;
mod notification;
pub mod notifier;
pub mod notifiers;
pub mod oncall;
mod period;
mod quote;
mod route;
mod rules;
mod secret;
mod severity;
pub mod silence;
pub mod simulate;
pub mod state;
pub mod store;
pub mod stores;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
mod time_interval;

pub use alert::Alert;
pub use clock::{Clock, SystemClock};
pub use command::Command;
pub use config::Config;
pub use dispatcher::{Dispatcher, DispatcherBuilder};
pub use error::{Error, ErrorKind, Result};
pub use inhibit::Inhibitor;
pub use label::{Fingerprint, Labels};
pub use notification::{Event, GroupKey, IntegrationId, Lateness, Notification, NotificationId, Reason};
pub use notifier::Notifier;
pub use period::Period;
pub use route::{Explanation, GroupBy, Outcome, Route, RouteTree, Visit};
pub use rules::{IntegrationSpec, Integrations, Rules};
pub use secret::{NoSecrets, SecretRef, Secrets};
pub use severity::{Severity, SeverityConfig};
pub use silence::{Silence, SilenceState, Silences};
pub use state::State;
pub use store::Store;
pub use text::{Text, Translate};
pub use time_interval::TimeIntervals;
