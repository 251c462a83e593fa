//! The probes `substrate.*`: one question of a Substrate node each.
//!
//! They are safe to ask: only methods that change nothing are called. All checks of one node share a client, and an
//! answer serves all of them for most of a second, so that ten questions do not make a hundred calls. Every
//! observation tells who answered (peer id, genesis, runtime version), because a port answers for whoever holds it.
//!
//! What cannot be asked is never taken for a good answer: a pallet that the chain does not have is
//! [`NotApplicable`](crate::ErrorKind::NotApplicable), a method that the node refuses is
//! [`Denied`](crate::ErrorKind::Denied), one that it does not know is [`TooOld`](crate::ErrorKind::TooOld).
//!
//! Thresholds are counted in slots of the chain and in seconds, whichever is later, and follow the alerting rules of
//! polkadot-sdk where it has any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::probe::{Context, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;
use crate::text::Text;

pub(crate) mod account;
mod chain;
mod client;
mod clock;
mod discover;
mod equivocation;
mod exposure;
mod finality;
mod forks;
mod header;
pub(crate) mod hex;
mod identity;
mod keys;
pub(crate) mod look;
mod metrics;
mod node;
mod peers;
mod performance;
mod pool;
mod process;
mod rounds;
mod rpc;
mod runtime;
mod session;
mod signer;
mod slashes;
pub(crate) mod slots;
pub(crate) mod storage;
mod sync;
mod validator;
mod watch;

use account::Account;
pub use chain::ChainConfig;
pub use client::ClientConfig;
pub use clock::SlotClockConfig;
pub use discover::{Discovered, discover};
pub use equivocation::EquivocationConfig;
pub use exposure::ExposureConfig;
pub use finality::FinalityConfig;
pub use identity::NodeConfig;
pub use keys::KeysConfig;
pub use peers::PeersConfig;
pub use performance::PerformanceConfig;
pub use pool::PoolConfig;
pub use process::NodeProcessConfig;
pub use runtime::RuntimeConfig;
pub use signer::SignerConfig;
pub use slashes::SlashesConfig;
pub use sync::SyncConfig;
pub use validator::ValidatorConfig;

/// The kinds of probe in this module.
pub(crate) const KINDS: &[&ProbeKind] = &[
    &identity::KIND,
    &chain::KIND,
    &sync::KIND,
    &peers::KIND,
    &finality::KIND,
    &validator::KIND,
    &keys::KIND,
    &pool::KIND,
    &runtime::KIND,
    &clock::KIND,
    &exposure::KIND,
    &equivocation::KIND,
    &signer::KIND,
    &slashes::KIND,
    &process::KIND,
    &performance::KIND,
    &client::KIND,
];

/// The table `substrate` of a check: one question, such as `substrate.finality = { node = "http://127.0.0.1:9944" }`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubstrateConfig {
    /// Does a node answer here, and which one?
    Node(NodeConfig),
    /// Does the chain make blocks?
    Chain(ChainConfig),
    /// Does the node keep up with its network?
    Sync(SyncConfig),
    /// Is the node connected to its network?
    Peers(PeersConfig),
    /// Do blocks become final, and who is missing?
    Finality(FinalityConfig),
    /// Do validators do what they are there for?
    Validator(ValidatorConfig),
    /// Does a validator's node hold the right keys?
    Keys(KeysConfig),
    /// Do transactions pile up?
    Pool(PoolConfig),
    /// Which runtime runs, and is another coming?
    Runtime(RuntimeConfig),
    /// Do the clocks agree?
    Clock(SlotClockConfig),
    /// May strangers command the node?
    Exposure(ExposureConfig),
    /// Does a validator make two blocks for one slot?
    Equivocation(EquivocationConfig),
    /// Does anybody else sign with a validator's keys?
    Signer(SignerConfig),
    /// Is a slash about to be taken?
    Slashes(SlashesConfig),
    /// Does the node's program keep running, whole?
    Process(NodeProcessConfig),
    /// Is the node fast enough for its slots?
    Performance(PerformanceConfig),
    /// Is the node's client too old?
    Client(ClientConfig),
}

impl SubstrateConfig {
    fn question(&self) -> &dyn ProbeConfig {
        match self {
            Self::Node(config) => config,
            Self::Chain(config) => config,
            Self::Sync(config) => config,
            Self::Peers(config) => config,
            Self::Finality(config) => config,
            Self::Validator(config) => config,
            Self::Keys(config) => config,
            Self::Pool(config) => config,
            Self::Runtime(config) => config,
            Self::Clock(config) => config,
            Self::Exposure(config) => config,
            Self::Equivocation(config) => config,
            Self::Signer(config) => config,
            Self::Slashes(config) => config,
            Self::Process(config) => config,
            Self::Performance(config) => config,
            Self::Client(config) => config,
        }
    }
}

impl ProbeConfig for SubstrateConfig {
    fn kind(&self) -> &'static ProbeKind {
        self.question().kind()
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        self.question().build(resources)
    }
}

/// Awaits an answer until shortly before the deadline, so that a node that hangs is a finding of its own and not only
/// an overrun; the error is for how long it was waited.
async fn answer_by<T>(context: &Context<'_>, answer: impl Future<Output = T> + Send) -> Result<T, Duration> {
    let left = context.deadline.saturating_duration_since(Instant::now());
    let patience = left - (left / 10).min(Duration::from_millis(500));
    tokio::time::timeout(patience, answer).await.map_err(|_| patience)
}

/// As [`answer_by`], where a node that hangs kept the question from being asked.
async fn within<T>(
    context: &Context<'_>,
    node: &str,
    answer: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    match answer_by(context, answer).await {
        Ok(answer) => answer,
        Err(after) => Err(Error::new(ErrorKind::Timeout, given_up(node, after))),
    }
}

fn given_up(node: &str, after: Duration) -> Text {
    text!(
        "{node} takes the question and does not answer within {seconds} s",
        node = node,
        seconds = format!("{:.1}", after.as_secs_f64())
    )
}

/// Reads the accounts of a table of names; all that are wrong are told at once.
fn named_accounts(key: &str, names: &BTreeMap<String, String>) -> Result<Vec<(String, Account)>> {
    let mut accounts = Vec::new();
    let mut wrong = Vec::new();
    for (name, address) in names {
        match Account::parse(address) {
            Some(account) => accounts.push((name.clone(), account)),
            None => wrong.push(
                not_an_account(&format!("{key}.{name}"), address)
                    .message()
                    .clone(),
            ),
        }
    }
    if wrong.is_empty() {
        Ok(accounts)
    } else {
        Err(Error::new(ErrorKind::InvalidConfig, Text::list(wrong)))
    }
}

/// That two nodes, each an address and the hash of its chain's first block, cannot be judged together.
fn different_chains(first: (&str, &str), other: (&str, &str)) -> Error {
    Error::new(
        ErrorKind::InvalidConfig,
        text!(
            "{first} and {other} are nodes of different chains, genesis {one} and {two}, and cannot be compared",
            first = first.0,
            other = other.0,
            one = first.1,
            two = other.1
        ),
    )
}

fn not_an_account(key: &str, found: &str) -> Error {
    Error::new(
        ErrorKind::InvalidConfig,
        text!(
            "`{key}` is no account: expected an address such as 5Grw…, found \"{found}\"",
            key = key,
            found = found
        ),
    )
}
