//! The probe `substrate.chain`: whether the chain makes blocks at all, seen from several nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::look::{Look, Silence};
use super::node::{self, Node};
use super::peers::highest_peer;
use super::{answer_by, different_chains, given_up};
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;
use crate::text::Text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_chain",
    summary: "whether the chain makes blocks, as seen from one or several of its nodes",
    metrics: &[
        Metric::gauge(
            "block_age",
            Unit::Seconds,
            "how long ago the newest block that any of the nodes knows was made",
        ),
        Metric::gauge(
            "block_age_slots",
            Unit::Count,
            "the same, counted in slots of the chain",
        ),
        Metric::gauge(
            "best",
            Unit::Count,
            "the greatest height that any of the nodes knows",
        ),
        Metric::gauge("vantages", Unit::Count, "nodes that could be asked"),
        Metric::gauge(
            "vantages_unreachable",
            Unit::Count,
            "nodes that could not be asked",
        ),
        Metric::gauge(
            "is_confirmed",
            Unit::Boolean,
            "whether a second node, or the peers of the only one, know no newer block",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "block_age > 120s && block_age_slots > 20 && is_confirmed == true",
            sustained: "",
            says: "the network has halted: no new block for {block_age}, the last is #{best}",
            remedy: "This is not one node's fault: look at the validators' channel and at the runtime's last upgrade before restarting anything.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "block_age > 120s && block_age_slots > 20 && is_confirmed == false",
            sustained: "",
            says: "no new block for {block_age}, the last is #{best}: either this node has stalled or the network has halted, a single vantage cannot tell which",
            remedy: "Ask a second, independent node, and name it in `nodes`.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "block_age > 60s && block_age_slots > 10",
            sustained: "",
            says: "no new block for {block_age}, the last is #{best}",
            remedy: "Watch it: a minute more and it counts as halted.",
        },
    ],
};

/// The table `substrate.chain` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ChainConfig {
    /// Addresses of nodes of the chain, best two that share neither host nor operator.
    pub nodes: Vec<Url>,
}

impl ChainConfig {
    /// The chain of these nodes.
    pub fn new(nodes: Vec<Url>) -> Self {
        Self { nodes }
    }
}

impl ProbeConfig for ChainConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let nodes = self.nodes.iter().map(|url| node::open(resources, url, None));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let Some(first) = nodes.first() else {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!("`nodes` names no node: expected at least one address"),
            ));
        };
        Ok(Arc::new(ChainProbe {
            target: first.rpc.address(),
            nodes,
        }))
    }
}

#[derive(Debug)]
struct ChainProbe {
    nodes: Vec<Arc<Node>>,
    target: String,
}

/// What one node says about the chain.
struct Vantage {
    look: Look,
    silence: Silence,
    /// The greatest height among its peers, where it tells.
    peers_best: Option<u64>,
}

#[async_trait]
impl Probe for ChainProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let vantages = join_all(self.nodes.iter().map(|node| vantage(node, context))).await;
        let mut seen: Vec<(String, Vantage)> = Vec::new();
        let mut failures = Vec::new();
        for (node, vantage) in self.nodes.iter().zip(vantages) {
            match vantage {
                Ok(vantage) => seen.push((node.rpc.address(), vantage)),
                Err(error) => failures.push(error),
            }
        }
        let Some((_, first)) = seen.first() else {
            return none_answered(failures);
        };
        refuse_different_chains(&seen)?;
        let age = seen.iter().map(|(_, vantage)| vantage.silence.length).min();
        let age = age.unwrap_or_default();
        let best = seen.iter().map(|(_, vantage)| vantage.look.best.number).max();
        let best = best.unwrap_or_default();
        let peers_agree = seen
            .iter()
            .filter_map(|(_, vantage)| vantage.peers_best)
            .any(|peers| peers <= best);
        let observation = first.look.observation();
        let unreachable: Vec<Value> = failures
            .iter()
            .map(|error| error.to_text().to_string().into())
            .collect();
        let mut observation = observation
            .with_seconds("block_age", age)
            .with("block_age_slots", first.look.slots_in(age), Unit::Count)
            .with("best", best as f64, Unit::Count)
            .with("vantages", seen.len() as f64, Unit::Count)
            .with("vantages_unreachable", failures.len() as f64, Unit::Count)
            .with_bool("is_confirmed", seen.len() > 1 || peers_agree)
            .with_fact("signal", first.silence.signal);
        if !unreachable.is_empty() {
            observation = observation.with_fact("unreachable", unreachable);
        }
        Ok(observation)
    }
}

async fn vantage(node: &Node, context: &Context<'_>) -> Result<Vantage> {
    let answer = async {
        let look = node.look(context).await?;
        let silence = node.silence(&look, context).await?;
        // Asked for only where it matters: it is the one question here that a node may refuse.
        let is_late = silence.length > Duration::from_secs(60);
        let peers_best = if is_late { highest_peer(node).await } else { None };
        Ok(Vantage {
            look,
            silence,
            peers_best,
        })
    };
    match answer_by(context, answer).await {
        Ok(vantage) => vantage,
        Err(after) => Err(Error::new(
            ErrorKind::Timeout,
            given_up(&node.rpc.address(), after),
        )),
    }
}

/// From one place an unreachable node says nothing about its network. That none of several answers is a finding.
fn none_answered(mut failures: Vec<Error>) -> Result<Observation> {
    let silent = |error: &Error| matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout);
    if failures.len() > 1 && failures.iter().all(silent) {
        let causes: Vec<Text> = failures.iter().map(Error::to_text).collect();
        return Ok(Observation::failed(text!(
            "none of the {count} nodes answers, so the network has halted or cannot be reached from here: {causes}",
            count = failures.len(),
            causes = causes
        )));
    }
    Err(failures.swap_remove(0))
}

fn refuse_different_chains(seen: &[(String, Vantage)]) -> Result<()> {
    let Some(((first, reference), others)) = seen.split_first() else {
        return Ok(());
    };
    for (other, vantage) in others {
        if vantage.look.genesis != reference.look.genesis {
            return Err(different_chains(
                (first, &reference.look.genesis),
                (other, &vantage.look.genesis),
            ));
        }
    }
    Ok(())
}
