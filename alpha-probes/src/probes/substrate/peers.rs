//! The probe `substrate.peers`: whether a node is connected to its network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parity_scale_codec::Decode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::look::Look;
use super::node::{self, Node};
use super::within;
use crate::check::ProbeConfig;
use crate::error::{ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;

/// How many peers a node of a large network has at least; Parity's own alerting rules use the same.
const DEFAULT_FLOOR: u64 = 3;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_peers",
    summary: "whether a node has enough peers, or is isolated while it calls itself synchronised",
    metrics: &[
        Metric::gauge("peers", Unit::Count, "peers that the node is connected to"),
        Metric::gauge("peers_floor", Unit::Count, "peers that it should have at least"),
        Metric::gauge("is_below_floor", Unit::Boolean, "whether it has fewer"),
        Metric::gauge(
            "below_floor_for",
            Unit::Seconds,
            "how long it has been seen to have fewer, without a break",
        ),
        Metric::gauge(
            "is_isolated",
            Unit::Boolean,
            "whether it has no peers although it is not meant to be alone",
        ),
        Metric::gauge(
            "is_syncing",
            Unit::Boolean,
            "whether the node says that it is catching up",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "is_isolated == true",
            sustained: "60s",
            says: "the node is isolated: it has no peers, and that it calls itself synchronised means nothing",
            remedy: "Look at its bootnodes, its firewall and its peer-to-peer port; its height and its health are not to be believed until then.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "below_floor_for > 15m && is_isolated == false",
            sustained: "",
            says: "only {peers} peers for {below_floor_for}, expected at least {peers_floor}",
            remedy: "Look at its bootnodes, its firewall and its peer-to-peer port.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "is_isolated == true",
            sustained: "",
            says: "the node has no peers",
            remedy: "Look at its bootnodes, its firewall and its peer-to-peer port.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "is_below_floor == true && is_isolated == false",
            sustained: "3m",
            says: "only {peers} peers, expected at least {peers_floor}",
            remedy: "Look at its bootnodes, its firewall and its peer-to-peer port.",
        },
    ],
};

/// The table `substrate.peers` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PeersConfig {
    /// The address of the node's JSON-RPC.
    pub node: Url,
    /// How many peers it has at least. Default: 3, or one less than the validators where there are fewer than four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// Whether it is meant to have no peers at all. Default: false, but a node without bootnodes that finalises blocks
    /// by itself is taken for one.
    #[serde(default)]
    pub solo: bool,
}

impl PeersConfig {
    /// The node at this address.
    pub fn new(node: Url) -> Self {
        Self {
            node,
            min: None,
            solo: false,
        }
    }
}

impl ProbeConfig for PeersConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, None)?;
        Ok(Arc::new(PeersProbe {
            target: node.rpc.address(),
            config: self.clone(),
            node,
        }))
    }
}

/// The greatest height among the peers of a node; `None` where it has none or does not tell strangers.
pub(super) async fn highest_peer(node: &Node) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Peer {
        best_number: u64,
    }
    let peers: Vec<Peer> = node.rpc.call("system_peers", &[]).await.ok()?;
    peers.iter().map(|peer| peer.best_number).max()
}

#[derive(Debug)]
struct PeersProbe {
    node: Arc<Node>,
    target: String,
    config: PeersConfig,
}

impl PeersProbe {
    async fn floor(&self, look: &Look) -> Result<u64> {
        if self.config.solo {
            return Ok(0);
        }
        if let Some(floor) = self.config.min {
            return Ok(floor);
        }
        let validators = self
            .node
            .storage("Session", "Validators", &look.best.hash)
            .await?;
        // A list starts with its length; where the chain has no sessions there is no list.
        let count = validators.and_then(|bytes| Vec::<[u8; 32]>::decode(&mut bytes.as_slice()).ok());
        Ok(count.map_or(DEFAULT_FLOOR, |validators| {
            DEFAULT_FLOOR.min((validators.len() as u64).saturating_sub(1))
        }))
    }

    /// Whether the node needs no peers: it was told so, or it finds none to look for and finalises blocks by itself.
    async fn is_solo(&self, look: &Look, context: &Context<'_>) -> bool {
        if self.config.solo {
            return true;
        }
        if !look.is_alone() || look.finality_lag() > 2 {
            return false;
        }
        let silence = self.node.silence(look, context).await;
        silence.is_ok_and(|silence| silence.length < Duration::from_secs(60))
    }
}

#[async_trait]
impl Probe for PeersProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let look = within(context, &self.target, self.node.look(context)).await?;
        let is_solo = self.is_solo(&look, context).await;
        let floor = match self.floor(&look).await {
            _ if is_solo => 0,
            Ok(floor) => floor,
            // The state of the best block may be gone by now; the question was about peers.
            Err(error) if error.kind() == ErrorKind::Denied => DEFAULT_FLOOR,
            Err(error) => return Err(error),
        };
        let peers = look.health.peers;
        let is_below = peers < floor;
        let below_for = self.node.memory().few_peers.see(is_below, Instant::now());
        Ok(look
            .observation()
            .with("peers", peers as f64, Unit::Count)
            .with("peers_floor", floor as f64, Unit::Count)
            .with_bool("is_below_floor", is_below)
            .with_seconds("below_floor_for", below_for)
            .with_bool("is_isolated", peers == 0 && floor > 0)
            .with_bool("is_syncing", look.health.is_syncing)
            .with_fact("solo", is_solo))
    }
}
