//! The probe `substrate.performance`: whether a node takes in and makes blocks fast enough for its slots.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::node::{self, Node};
use super::within;
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::scrape::Buckets;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_performance",
    summary: "whether a node takes in and makes blocks within a third of a slot",
    metrics: &[
        Metric::gauge(
            "import_time_p95",
            Unit::Seconds,
            "the time that 95 % of the blocks of the last ten minutes took to be checked and taken in; absent where none came",
        ),
        Metric::gauge("import_share", Unit::Ratio, "the same as a share of a slot"),
        Metric::gauge(
            "proposal_time_p95",
            Unit::Seconds,
            "the time that 95 % of the node's own blocks of the last ten minutes took to be made; absent where it made none",
        ),
        Metric::gauge("proposal_share", Unit::Ratio, "the same as a share of a slot"),
        Metric::gauge("blocks_imported", Unit::Count, "blocks that this is judged by"),
        Metric::gauge(
            "blocks_proposed",
            Unit::Count,
            "own blocks that this is judged by",
        ),
        Metric::gauge("slot", Unit::Seconds, "how long a slot lasts"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Warning,
            when: "has(import_share) == true && blocks_imported >= 20 && import_share > 33.4%",
            sustained: "10m",
            says: "taking in a block takes {import_time_p95}, {import_share} of a slot",
            remedy: "Look at the disk (disk_io) and the processors (cpu, pressure): a validator this slow misses its slots. Compare with the reference hardware (benchmark machine).",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(proposal_share) == true && blocks_proposed >= 3 && proposal_share > 33.4%",
            sustained: "10m",
            says: "making a block takes {proposal_time_p95}, {proposal_share} of a slot: its blocks may come too late",
            remedy: "Look at the disk (disk_io) and the processors (cpu, pressure): a validator this slow misses its slots. Compare with the reference hardware (benchmark machine).",
        },
    ],
};

/// Which blocks count.
const WINDOW: Duration = Duration::from_secs(600);

/// How many looks are remembered at most; one that is asked more often looks back over less.
const MAX_LOOKS: usize = 128;

/// The table `substrate.performance` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PerformanceConfig {
    /// The address of the node's JSON-RPC, which tells how long a slot lasts.
    pub node: Url,
    /// The address of its metrics, which tell how long blocks take: `http://127.0.0.1:9615/metrics`.
    pub metrics: Url,
}

impl PerformanceConfig {
    /// The node at this address, with its metrics at that.
    pub fn new(node: Url, metrics: Url) -> Self {
        Self { node, metrics }
    }
}

impl ProbeConfig for PerformanceConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, Some(&self.metrics))?;
        Ok(Arc::new(PerformanceProbe {
            target: node.rpc.address(),
            node,
            looks: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct PerformanceProbe {
    node: Arc<Node>,
    target: String,
    looks: Mutex<VecDeque<Counted>>,
}

/// The histograms at one look, which count since the process was started.
#[derive(Clone, Debug)]
struct Counted {
    at: Instant,
    imports: Buckets,
    proposals: Buckets,
}

/// Notes a look and tells what came since the oldest one within the window; all that there is where there is none, or
/// where the process was started anew.
fn recent(looks: &mut VecDeque<Counted>, counted: Counted) -> (Buckets, Buckets) {
    let is_old = |look: &Counted| counted.at.saturating_duration_since(look.at) > WINDOW;
    while looks.front().is_some_and(is_old) || looks.len() >= MAX_LOOKS {
        looks.pop_front();
    }
    let since = looks.front().and_then(|oldest| {
        let imports = counted.imports.since(&oldest.imports)?;
        Some((imports, counted.proposals.since(&oldest.proposals)?))
    });
    let since = since.unwrap_or_else(|| {
        looks.clear();
        (counted.imports.clone(), counted.proposals.clone())
    });
    looks.push_back(counted);
    since
}

#[async_trait]
impl Probe for PerformanceProbe {
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
            let name = "substrate_block_verification_and_import_time";
            let imports = page.histogram(name).ok_or_else(|| {
                Error::new(
                    ErrorKind::TooOld,
                    text!(
                        "the metrics of {node} have no {metric}",
                        node = &self.target,
                        metric = name
                    ),
                )
            })?;
            // A node that signs nothing makes no blocks and has no such histogram.
            let proposals = page.histogram("substrate_proposer_block_proposal_time");
            let counted = Counted {
                at: Instant::now(),
                imports,
                proposals: proposals.unwrap_or_default(),
            };
            let (imports, proposals) = {
                let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
                recent(&mut looks, counted)
            };
            let slot = look.runtime.slot.as_secs_f64();
            let mut observation = look.observation().with("slot", slot, Unit::Seconds);
            for ((blocks, time, share), buckets) in [
                (("blocks_imported", "import_time_p95", "import_share"), imports),
                (
                    ("blocks_proposed", "proposal_time_p95", "proposal_share"),
                    proposals,
                ),
            ] {
                observation = observation.with(blocks, buckets.count(), Unit::Count);
                if let Some(p95) = buckets.quantile(0.95) {
                    observation =
                        observation
                            .with(time, p95, Unit::Seconds)
                            .with(share, p95 / slot, Unit::Ratio);
                }
            }
            Ok(observation)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(quick: f64, slow: f64) -> Counted {
        let mut imports = Buckets::default();
        imports.add("0.5", quick);
        imports.add("5", quick + slow);
        imports.add("+Inf", quick + slow);
        Counted {
            at: Instant::now(),
            imports,
            proposals: Buckets::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_slow_long_ago_does_not_count_and_a_restart_begins_anew() {
        let mut looks = VecDeque::new();
        let mut p95 = |quick, slow| recent(&mut looks, counted(quick, slow)).0.quantile(0.95);
        // A sync at the start of the process was slow.
        assert!(p95(100.0, 900.0).unwrap() > 4.0);
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(p95(200.0, 900.0).unwrap() <= 0.5);
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(p95(200.0, 990.0).unwrap() > 4.0);
        tokio::time::advance(Duration::from_secs(601)).await;
        assert!(p95(290.0, 990.0).unwrap() > 4.0, "nothing recent to compare with");
        assert!(p95(1.0, 0.0).unwrap() <= 0.5, "a new process");
    }
}
