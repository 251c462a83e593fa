//! The probe `substrate.pool`: transactions that wait.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::node::{self, Node};
use super::within;
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// How many transactions a node keeps where `--pool-limit` does not say otherwise.
const DEFAULT_LIMIT: u64 = 8192;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_pool",
    summary: "how many transactions wait in a node's pool, and whether they become more and more",
    metrics: &[
        Metric::gauge(
            "ready",
            Unit::Count,
            "transactions that could go into the next block",
        ),
        Metric::gauge(
            "pooled",
            Unit::Count,
            "transactions that the pool holds, ready or not",
        ),
        Metric::gauge(
            "pool_limit",
            Unit::Count,
            "transactions that the pool holds at most",
        ),
        Metric::gauge("pool_usage", Unit::Ratio, "how much of the limit is used"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "pool_usage >= 100%",
            sustained: "",
            says: "the transaction pool is full: {pooled} of {pool_limit}, new transactions are dropped",
            remedy: "Look whether blocks are made and full, and whether one sender floods the pool.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "pool_usage > 80%",
            sustained: "",
            says: "the transaction pool is nearly full: {pooled} of {pool_limit}",
            remedy: "Look whether blocks are made and full, and whether one sender floods the pool.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "ready > 0 && min(ready, 10m) > 0 && delta(ready, 10m) > 100",
            sustained: "10m",
            says: "transactions pile up: {ready} are ready and become more",
            remedy: "Look whether blocks are made and full, and whether one sender floods the pool.",
        },
    ],
};

/// The table `substrate.pool` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PoolConfig {
    /// The address of the node's JSON-RPC, which tells who answers.
    pub node: Url,
    /// The address of its metrics: `http://127.0.0.1:9615/metrics`. The RPC would send every transaction whole.
    pub metrics: Url,
    /// How many transactions the pool holds at most, as in the node's `--pool-limit`. Default: 8192, the node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl PoolConfig {
    /// The pool of the node at this address, with its metrics at that.
    pub fn new(node: Url, metrics: Url) -> Self {
        Self {
            node,
            metrics,
            limit: None,
        }
    }
}

impl ProbeConfig for PoolConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if limit == 0 {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!("`limit` is 0, and a pool that holds nothing cannot be judged"),
            ));
        }
        let node = node::open(resources, &self.node, Some(&self.metrics))?;
        Ok(Arc::new(PoolProbe {
            target: node.rpc.address(),
            node,
            limit,
        }))
    }
}

#[derive(Debug)]
struct PoolProbe {
    node: Arc<Node>,
    limit: u64,
    target: String,
}

#[async_trait]
impl Probe for PoolProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        within(context, &self.target, async {
            let look = self.node.look(context).await?;
            let page = self.node.page(context).await?;
            let missing = |name: &str| {
                Error::new(
                    ErrorKind::TooOld,
                    text!(
                        "the metrics of {node} have no {metric}",
                        node = &self.target,
                        metric = name
                    ),
                )
            };
            let name = "substrate_ready_transactions_number";
            let ready = page.value(name).ok_or_else(|| missing(name))?;
            // Nodes with the older pool, which is not aware of forks, tell the ready ones only.
            let watched = page.value("substrate_sub_txpool_watched_txs");
            let unwatched = page.value("substrate_sub_txpool_unwatched_txs");
            let pooled = match (watched, unwatched) {
                (None, None) => ready,
                (watched, unwatched) => watched.unwrap_or(0.0) + unwatched.unwrap_or(0.0),
            };
            let pooled = pooled.max(ready);
            let limit = self.limit as f64;
            Ok(look
                .observation()
                .with("ready", ready, Unit::Count)
                .with("pooled", pooled, Unit::Count)
                .with("pool_limit", limit, Unit::Count)
                .with("pool_usage", pooled / limit, Unit::Ratio))
        })
        .await
    }
}
