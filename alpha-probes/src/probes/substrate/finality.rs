//! The probe `substrate.finality`: whether blocks become final, and who keeps them from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parity_scale_codec::Decode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::account::Account;
use super::look::Look;
use super::node::{self, Node};
use super::rounds::{Quorum, stuck};
use super::session::Session;
use super::{named_accounts, within};
use crate::check::ProbeConfig;
use crate::error::{ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_finality",
    summary: "whether blocks become final, how far behind, and which voters are missing",
    metrics: &[
        Metric::gauge("best", Unit::Count, "height of the best block"),
        Metric::gauge("finalized", Unit::Count, "height of the last final block"),
        Metric::gauge("finality_lag", Unit::Count, "blocks that are not final yet"),
        Metric::gauge(
            "finality_age",
            Unit::Seconds,
            "how long ago the last final block was made, or since when it was seen unchanged",
        ),
        Metric::gauge("voters", Unit::Count, "votes there are"),
        Metric::gauge("voters_needed", Unit::Count, "votes that make a block final"),
        Metric::gauge(
            "voters_missing",
            Unit::Count,
            "voters missing in the last round that could be judged",
        ),
        Metric::gauge(
            "quorum_margin",
            Unit::Count,
            "votes beyond those needed: how many voters may still stop",
        ),
        Metric::gauge(
            "quorum_short",
            Unit::Count,
            "votes that the open round is short of and does not get",
        ),
        Metric::gauge(
            "rounds_judged",
            Unit::Count,
            "rounds of the present set of voters that could be judged so far",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "quorum_short > 0",
            sustained: "",
            says: "finality has stopped: {quorum_short} more votes are needed and do not come, missing are {missing}",
            remedy: "Bring the missing validators back, one at a time and never with a copied keystore; nothing else makes blocks final again.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "quorum_short == 0 && finality_lag >= 50",
            sustained: "",
            says: "{finality_lag} blocks are not final, so many that validators slow down",
            remedy: "Look at which voters are missing and at whether the network is split in two.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "quorum_short == 0 && finality_lag > 10 && finality_lag < 50 && finality_age > 2m",
            sustained: "",
            says: "finality stands still: {finality_lag} blocks are not final, the last final one is {finality_age} old",
            remedy: "Look at which voters are missing and at whether the network is split in two.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "quorum_short == 0 && finality_lag > 2 && finality_lag <= 10 && finality_age > 10m",
            sustained: "",
            says: "no block has become final for {finality_age}",
            remedy: "Look at which voters are missing and at whether the chain makes blocks.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "finality_lag > 10 && finality_age > 60s",
            sustained: "",
            says: "finality lags: {finality_lag} blocks are not final, the last final one is {finality_age} old",
            remedy: "Watch it: a minute more and it counts as standing still.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "voters_missing > 0 && quorum_margin == 0",
            sustained: "",
            says: "the next validator that stops takes finality along: missing already are {missing}",
            remedy: "Restart no validator now, and bring the missing ones back.",
        },
    ],
};

/// A lag from which it is worth waiting a second for a second look at the vote.
const SUSPICIOUS_LAG: u64 = 5;

/// The table `substrate.finality` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FinalityConfig {
    /// The address of the node's JSON-RPC.
    pub node: Url,
    /// What people call the validators, by the addresses of their stashes: `{ alice = "5Grw…" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
}

impl FinalityConfig {
    /// Finality as the node at this address sees it.
    pub fn new(node: Url) -> Self {
        Self {
            node,
            names: BTreeMap::new(),
        }
    }
}

impl ProbeConfig for FinalityConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, None)?;
        for (name, account) in named_accounts("names", &self.names)? {
            node.call_by_name(account, &name);
        }
        Ok(Arc::new(FinalityProbe {
            target: node.rpc.address(),
            node,
        }))
    }
}

/// The vote for finality.
#[derive(Debug, Default)]
struct Vote {
    total: u64,
    threshold: u64,
    /// What the last round that could be judged says.
    quorum: Option<Quorum>,
    rounds_judged: u64,
}

#[derive(Debug)]
struct FinalityProbe {
    node: Arc<Node>,
    target: String,
}

/// The keys that vote for finality, by the place of their validator.
pub(super) async fn voter_keys(node: &Node, look: &Look) -> Result<Vec<Account>> {
    if !look.runtime.version.has("GrandpaApi") {
        return Ok(Vec::new());
    }
    let at = Some(look.best.hash.as_str());
    let bytes = node
        .runtime_call("GrandpaApi_grandpa_authorities", &[], at)
        .await?;
    let keys = Vec::<([u8; 32], u64)>::decode(&mut bytes.as_slice());
    let keys = keys.map_err(|_| node.not_understood("GrandpaApi_grandpa_authorities"))?;
    Ok(keys.into_iter().map(|(key, _)| Account(key)).collect())
}

impl FinalityProbe {
    /// The vote as it stands and what is known of it; `None` where this chain or this node has none.
    ///
    /// A look at one moment of a round says nothing while the vote runs. Where finality lags, the open round has been
    /// open for long, and a second look a second later tells it from one that has just begun.
    async fn vote(&self, look: &Look) -> Result<Option<Vote>> {
        self.node.sample_rounds();
        let first = match self.node.round_state().await {
            Ok(state) => state,
            Err(refusal) if refusal.kind == ErrorKind::NotApplicable => return Ok(None),
            Err(refusal) => return Err(refusal.into()),
        };
        let mut vote = {
            let memory = self.node.memory();
            Vote {
                total: first.best.total_weight,
                threshold: first.best.threshold_weight,
                quorum: memory.rounds.quorum().cloned(),
                rounds_judged: memory.rounds.judged(),
            }
        };
        let is_known = vote.quorum.as_ref().is_some_and(|quorum| quorum.is_stuck);
        if is_known || look.finality_lag() < SUSPICIOUS_LAG {
            return Ok(Some(vote));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = self.node.round_state().await?;
        let open = stuck(&second.best);
        let is_same = (first.set_id, first.best.round) == (second.set_id, second.best.round);
        let is_under_way = first.best.prevotes.current_weight > 0 && second.best.prevotes.current_weight > 0;
        if is_same && is_under_way && open.is_stuck {
            vote.quorum = Some(open);
        }
        Ok(Some(vote))
    }

    /// The missing voters as people know them: by the accounts they vote for.
    async fn missing(&self, look: &Look, quorum: &Quorum) -> Result<Vec<String>> {
        if quorum.absent.is_empty() {
            return Ok(Vec::new());
        }
        let prefix = self.node.address_prefix().await;
        let keys = voter_keys(&self.node, look).await?;
        let session = match Session::read(&self.node, &look.best.hash).await {
            Ok(session) => Some(session),
            Err(error) if error.kind() == ErrorKind::NotApplicable => None,
            Err(error) => return Err(error),
        };
        // Both lists are made from the same one at the start of a session, and have its order.
        let validators = session.filter(|session| session.validators.len() == keys.len());
        let account = |key: &Account| {
            let place = keys.iter().position(|known| known == key)?;
            Some(validators.as_ref()?.validators[place])
        };
        Ok(quorum
            .absent
            .iter()
            .map(|key| self.node.name(&account(key).unwrap_or(*key), prefix))
            .collect())
    }
}

#[async_trait]
impl Probe for FinalityProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        within(context, &self.target, async {
            let look = self.node.look(context).await?;
            let age = self.node.finality_age(&look)?;
            let vote = self.vote(&look).await?;
            let lag = look.finality_lag();
            let mut observation = look
                .observation()
                .with("best", look.best.number as f64, Unit::Count)
                .with("finalized", look.finalized.number as f64, Unit::Count)
                .with("finality_lag", lag as f64, Unit::Count)
                .with_seconds("finality_age", age);
            let known = match &vote {
                None => "none here: this chain has no vote, or this node does not follow it",
                Some(Vote { quorum: None, .. }) => "not judged yet: no round was seen to its end",
                Some(_) => "judged",
            };
            let vote = vote.unwrap_or_default();
            let quorum = vote.quorum.unwrap_or_else(|| Quorum {
                total: vote.total,
                threshold: vote.threshold,
                cast: vote.total,
                ..Quorum::default()
            });
            let missing = self.missing(&look, &quorum).await?;
            let short = if quorum.is_stuck {
                quorum.threshold.saturating_sub(quorum.cast)
            } else {
                0
            };
            for (name, value) in [
                ("voters", quorum.total),
                ("voters_needed", quorum.threshold),
                ("voters_missing", quorum.absent.len() as u64),
                ("quorum_margin", quorum.cast.saturating_sub(quorum.threshold)),
                ("quorum_short", short),
                ("rounds_judged", vote.rounds_judged),
            ] {
                observation = observation.with(name, value as f64, Unit::Count);
            }
            observation = observation.with_fact("vote", known);
            if !missing.is_empty() {
                observation = observation
                    .with_fact("missing", missing.join(", "))
                    .with_fact("missing_voters", Value::from(missing));
            }
            Ok(observation)
        })
        .await
    }
}
