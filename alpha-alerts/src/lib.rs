//! Routes alerts of severity P0 to P3 to the person who must act, and loses none of them on the way. It knows nothing of
//! probes: whoever embeds it turns what was found into an [`Alert`].
//!
//! ```
//! use std::sync::Arc;
//! use alpha_alerts::memory::{MemoryStore, RecordingNotifier};
//! use alpha_alerts::notifiers::Environment;
//! use alpha_alerts::{Alert, Command, Config, Dispatcher, Labels, NoSecrets};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let config: Config = serde_json::from_value(serde_json::json!({
//!     "route": { "receiver": "ops", "group_by": ["alertname"], "group_wait": "0s" },
//!     "receivers": [{ "name": "ops" }],
//! }))?;
//! let ops = Arc::new(RecordingNotifier::new());
//! let environment = Environment::new(Arc::new(NoSecrets));
//! let dispatcher = Dispatcher::builder(config, Arc::new(MemoryStore::new()), environment)
//!     .with_notifier("ops", ops.clone())
//!     .start()
//!     .await?;
//! let labels = Labels::new([("alertname", "ChainHalted"), ("severity", "P0")]);
//! let alert = Alert::firing(labels, dispatcher.clock().now());
//! dispatcher.execute(Command::Alerts(vec![alert])).await?; // durable from here on
//! assert_eq!(ops.wait_for(1).await[0].alerts[0].name(), "ChainHalted");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! The nouns:
//! - An [`Alert`] is identified by its [`Labels`], fires from a start to an end, and has a [`Severity`] by one of its labels.
//! - A [`Route`] leads it to a receiver and into a group; [`silence`]s, inhibitions ([`Inhibitor`]) and [`TimeIntervals`] keep it
//!   back, on record. What is decided is a [`Notification`] in the outbox of a [`Store`].
//! - A [`Notifier`] tells a notification once; each receiver is an adapter in [`notifiers`], behind a feature.
//! - An [`incident`] is a group that somebody must act on; an [`escalation`] policy pages whoever [`oncall`] says, until somebody
//!   acknowledges.
//! - The [`Dispatcher`] is the one loop: a [`Command`] is carried out by the pure [`State`], made durable as one transaction and
//!   only then answered. [`simulate`](mod@simulate) runs the same state on a virtual clock.
//! - A [`Config`] is everything an operator decides, [`Rules`] are it compiled.
//!
//! Features: `slack`, `pagerduty` and `webhook` are on by default; `sendgrid`, `email`, `telegram`, `discord`, `teams`, `matrix`,
//! `ntfy`, `dingtalk`, `feishu`, `wecom`, `telephone` and `command` add receivers, `sqlite` and `postgres` durable stores,
//! `inbound` the HTTP APIs, `alertmanager-config` the reader of Alertmanager's configuration files, `full` all of them, and
//! `testing` doubles and conformance suites for tests.
//!
//! It does not look at anything itself, does not repair anything, and reads neither the environment nor files of its own accord
//! ([`Secrets`] hands secrets in). It is no chat bot: the one thing it hears from receivers is an acknowledgement.

mod alert;
#[cfg(feature = "alertmanager-config")]
pub mod alertmanager;
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
pub mod knowledge;
mod label;
mod markdown;
pub mod matcher;
pub mod memory;
mod notification;
pub mod notifier;
pub mod notifiers;
pub mod oncall;
mod period;
mod post_mortem;
mod quote;
mod route;
pub mod rules;
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
pub use post_mortem::PostMortem;
pub use route::{Explanation, GroupBy, Outcome, Route, RouteTree, Visit};
pub use rules::{IntegrationSpec, Integrations, Rules};
pub use secret::{NoSecrets, SecretRef, Secrets};
pub use severity::{Severity, SeverityConfig};
pub use silence::{Silence, SilenceState, Silences};
pub use state::State;
pub use store::Store;
pub use text::{Text, Translate};
pub use time_interval::TimeIntervals;
