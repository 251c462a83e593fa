//! Changes a running system step by step, and takes each step back when it fails. Today it knows one change: starting a
//! container that has stopped, where that cannot put a second signer on the network.
//!
//! ```
//! use alpha_upgrade::{MemoryPlatform, Platform, RestartPlan, Service};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let platform = MemoryPlatform::new()
//!     .with_stopped(Service::new("alpha-api").with_command(["python", "app.py"]))
//!     .with_stopped(Service::new("alpha-validator-1").with_command(["node", "--validator"]));
//! let services = platform.services().await.unwrap();
//!
//! let plan = RestartPlan::new(&services, &["alpha-api", "alpha-validator-1"]);
//! assert_eq!(plan.restarts, ["alpha-api"]);
//! assert_eq!(plan.refusals[0].service, "alpha-validator-1");
//! # });
//! ```
//!
//! - [`Service`] is what a platform tells about one container; [`SignerEvidence`] says whether it signs blocks.
//! - [`RestartPlan`] is pure: it can be printed, tested and refused before anything is done.
//! - [`Platform`] does it; `platforms::docker` is the real one, [`MemoryPlatform`] the one for tests.
//!
//! Not here yet: blue/green, canary and rolling releases, gates, automatic rollback, disaster recovery, upkeep, and
//! the interlocks that prove by chain data that a signer is dead. Until they are, a signer is never restarted.

mod error;
mod memory;
mod platform;
pub mod platforms;
mod restart;
mod signer;

pub use error::{Error, ErrorKind, Result};
pub use memory::MemoryPlatform;
pub use platform::{Platform, Service};
pub use restart::{Refusal, RefusalReason, RestartPlan};
pub use signer::SignerEvidence;
