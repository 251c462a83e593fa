//! What one look at a node shows.

use std::sync::Arc;
use std::time::Duration;

use blake2::digest::consts::U8;
use blake2::{Blake2b, Digest as _};
use jiff::Timestamp;
use serde::Deserialize;

use super::header::Claim;
use super::hex;
use crate::observation::Observation;

/// The runtime that the chain runs.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) version: RuntimeVersion,
    pub(crate) consensus: Consensus,
    /// How long a slot lasts.
    pub(crate) slot: Duration,
}

/// The answer of `state_getRuntimeVersion`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuntimeVersion {
    pub(crate) spec_name: String,
    pub(crate) spec_version: u32,
    #[serde(default)]
    pub(crate) transaction_version: u32,
    apis: Vec<(String, u32)>,
}

impl RuntimeVersion {
    /// Whether the runtime offers the interface of that name.
    pub(crate) fn has(&self, api: &str) -> bool {
        let id = api_id(api);
        self.apis.iter().any(|(known, _)| *known == id)
    }
}

/// The name of a runtime interface as a version lists it.
pub(crate) fn api_id(api: &str) -> String {
    hex::encode(&Blake2b::<U8>::digest(api))
}

/// How blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consensus {
    /// By lot, empty slots by assignment.
    Babe,
    /// In turn.
    Aura,
    /// In turn, but whether a slot is used is for the relay chain to say.
    ParachainAura,
    /// Some other way.
    Other,
}

/// The answer of `system_health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    pub(crate) peers: u64,
    pub(crate) is_syncing: bool,
    #[serde(default)]
    pub(crate) should_have_peers: bool,
}

/// A block at the end of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) hash: String,
    pub(crate) claim: Option<Claim>,
    /// What the chain says the time was.
    pub(crate) time: Option<Timestamp>,
}

/// One look at a node.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) now: Timestamp,
    pub(crate) best: Head,
    pub(crate) finalized: Head,
    pub(crate) health: Health,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) genesis: String,
    pub(crate) peer_id: Option<String>,
    pub(crate) roles: Vec<String>,
    /// When the process that answered was started, where its metrics are known.
    pub(crate) process_start: Option<Timestamp>,
    pub(crate) is_legacy: bool,
}

/// How long no block came, and how that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    pub(crate) length: Duration,
    /// `timestamp`: the chain's own clock says so. `watched`: it was seen unchanged for so long.
    pub(crate) signal: &'static str,
}

impl Look {
    /// How old a block is by its own timestamp.
    pub(crate) fn age(&self, head: &Head) -> Option<Duration> {
        let age = self.now.duration_since(head.time?);
        Some(Duration::try_from(age).unwrap_or_default())
    }

    /// After how long without a block a chain is late: ten slots, and at least a minute.
    pub(crate) fn overdue(&self) -> Duration {
        (self.runtime.slot * 10).max(Duration::from_secs(60))
    }

    /// So many slots fit into `length`.
    pub(crate) fn slots_in(&self, length: Duration) -> f64 {
        length.as_secs_f64() / self.runtime.slot.as_secs_f64()
    }

    /// The blocks that are not final yet.
    pub(crate) fn finality_lag(&self) -> u64 {
        self.best.number.saturating_sub(self.finalized.number)
    }

    /// Whether the node has no peers, was not told where to find any, and signs nothing: a development node, or one
    /// that somebody forgot to connect.
    pub(crate) fn is_alone(&self) -> bool {
        self.health.peers == 0 && !self.health.should_have_peers && !self.is_authority()
    }

    /// Whether the node was started to sign blocks and votes.
    pub(crate) fn is_authority(&self) -> bool {
        self.roles.iter().any(|role| role == "Authority")
    }

    /// How long its process has been running, where its metrics are known.
    pub(crate) fn uptime(&self) -> Option<Duration> {
        Duration::try_from(self.now.duration_since(self.process_start?)).ok()
    }

    /// Whether the process is so young that standing still says nothing yet.
    pub(crate) fn is_starting(&self) -> bool {
        self.uptime().is_some_and(|uptime| uptime < self.overdue())
    }

    /// An observation that tells who answered.
    pub(crate) fn observation(&self) -> Observation {
        let version = &self.runtime.version;
        let mut observation = Observation::new()
            .with_fact("genesis", self.genesis.as_str())
            .with_fact("spec_name", version.spec_name.as_str())
            .with_fact("spec_version", version.spec_version);
        if let Some(peer_id) = &self.peer_id {
            observation = observation.with_fact("peer_id", peer_id.as_str());
        }
        if let Some(start) = self.process_start {
            observation = observation.with_fact("process_start", start.to_string());
        }
        if self.is_legacy {
            observation = observation.with_fact("legacy_port", 9933);
        }
        observation
    }
}
