//! The probe `substrate.sync`: whether a node keeps up with its network.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::look::Look;
use super::node::{self, Node};
use super::peers::highest_peer;
use super::{different_chains, within};
use crate::check::ProbeConfig;
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_sync",
    summary: "whether a node keeps up with its network, compared with other nodes and its peers",
    metrics: &[
        Metric::gauge("best", Unit::Count, "height of the node's best block"),
        Metric::gauge("reference", Unit::Count, "the greatest height known elsewhere"),
        Metric::gauge(
            "references",
            Unit::Count,
            "other nodes, peers and targets of synchronisation that could be compared with",
        ),
        Metric::gauge(
            "blocks_behind",
            Unit::Count,
            "blocks that are known elsewhere but not here",
        ),
        Metric::gauge("block_age", Unit::Seconds, "how long no new block came"),
        Metric::gauge(
            "block_age_slots",
            Unit::Count,
            "the same, counted in slots of the chain",
        ),
        Metric::gauge(
            "is_syncing",
            Unit::Boolean,
            "whether the node says that it is catching up",
        ),
        Metric::gauge(
            "is_catching_up",
            Unit::Boolean,
            "whether it is catching up and its best block was not seen standing still",
        ),
        Metric::gauge(
            "is_starting",
            Unit::Boolean,
            "whether its process is so young that standing still says nothing yet",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "blocks_behind > 5 && block_age > 60s && is_catching_up == false && is_starting == false",
            sustained: "",
            says: "the node has stalled: {blocks_behind} blocks behind, and no new one for {block_age}",
            remedy: "Look at its log for a failed import and at its disk; a signing node is restarted only by the restart runbook.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "references == 0 && block_age > 60s && block_age_slots > 10 && is_starting == false",
            sustained: "",
            says: "no new block for {block_age} and nobody to compare with: the node has stalled, is cut off, or the network has halted",
            remedy: "Look at its peers first, then ask another node of the chain and name it in `references`.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "blocks_behind > 5 && block_age > 30s && is_catching_up == false && is_starting == false",
            sustained: "",
            says: "the node lags: {blocks_behind} blocks behind, and no new one for {block_age}",
            remedy: "Look at its log, its disk and its peers.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "blocks_behind > 5 && is_catching_up == true",
            sustained: "",
            says: "the node is catching up: {blocks_behind} blocks behind",
            remedy: "Wait, and do not let it serve or sign before it is done.",
        },
    ],
};

/// The table `substrate.sync` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SyncConfig {
    /// The address of the node's JSON-RPC.
    pub node: Url,
    /// Other nodes of the same chain to compare with. Default: none, its peers only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Url>,
    /// The address of its metrics, which tell when it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Url>,
}

impl SyncConfig {
    /// The node at this address, compared with its peers.
    pub fn new(node: Url) -> Self {
        Self {
            node,
            references: Vec::new(),
            metrics: None,
        }
    }
}

impl ProbeConfig for SyncConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, self.metrics.as_ref())?;
        let references = self.references.iter().map(|url| node::open(resources, url, None));
        Ok(Arc::new(SyncProbe {
            target: node.rpc.address(),
            references: references.collect::<Result<_>>()?,
            node,
        }))
    }
}

#[derive(Debug)]
struct SyncProbe {
    node: Arc<Node>,
    references: Vec<Arc<Node>>,
    target: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SyncState {
    #[serde(default)]
    highest_block: Option<u64>,
}

impl SyncProbe {
    /// Heights known elsewhere, one for each source that could be asked.
    async fn heights(&self, look: &Look, context: &Context<'_>) -> Result<Vec<u64>> {
        let others = join_all(self.references.iter().map(|other| async {
            let look = within(context, &other.rpc.address(), other.look(context)).await;
            (other.rpc.address(), look)
        }));
        let (others, peers, state) = tokio::join!(
            others,
            highest_peer(&self.node),
            self.node.rpc.call::<SyncState>("system_syncState", &[]),
        );
        let mut heights = Vec::new();
        for (other, reference) in others {
            match reference {
                Ok(reference) if reference.genesis != look.genesis => {
                    return Err(different_chains(
                        (&self.target, &look.genesis),
                        (&other, &reference.genesis),
                    ));
                }
                Ok(reference) => heights.push(reference.best.number),
                Err(error) => tracing::debug!(%other, %error, "could not ask a reference"),
            }
        }
        heights.extend(peers);
        // Without peers this repeats the node's own height, and with them it is the median of theirs.
        if look.health.peers > 0 {
            heights.extend(state.ok().and_then(|state| state.highest_block));
        }
        Ok(heights)
    }
}

#[async_trait]
impl Probe for SyncProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let look = within(context, &self.target, self.node.look(context)).await?;
        let heights = self.heights(&look, context).await?;
        let reference = heights.iter().copied().max();
        let silence = self.node.silence(&look, context).await?;
        let stands_still = self.node.memory().best.flat_for(Instant::now()) > look.overdue();
        let behind = reference.map_or(0, |reference| reference.saturating_sub(look.best.number));
        Ok(look
            .observation()
            .with("best", look.best.number as f64, Unit::Count)
            .with(
                "reference",
                reference.unwrap_or(look.best.number) as f64,
                Unit::Count,
            )
            .with("references", heights.len() as f64, Unit::Count)
            .with("blocks_behind", behind as f64, Unit::Count)
            .with_seconds("block_age", silence.length)
            .with("block_age_slots", look.slots_in(silence.length), Unit::Count)
            .with_bool("is_syncing", look.health.is_syncing)
            .with_bool("is_catching_up", look.health.is_syncing && !stands_still)
            .with_bool("is_starting", look.is_starting())
            .with_fact("signal", silence.signal))
    }
}
