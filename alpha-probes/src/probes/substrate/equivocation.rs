//! The probe `substrate.equivocation`: whether anybody makes two blocks for one slot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::account::Account;
use super::forks::{self, BlockLedger, Double, HeadWatch};
use super::look::Look;
use super::node::{self, Node};
use super::session::Session;
use super::{different_chains, named_accounts, within};
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_equivocation",
    summary: "whether a validator makes two blocks for one slot, which is what two nodes with the same keys do",
    metrics: &[
        Metric::gauge(
            "equivocations",
            Unit::Count,
            "slots with two blocks by one of the validators that are looked at, seen within a day",
        ),
        Metric::gauge(
            "foreign_equivocations",
            Unit::Count,
            "the same by any other validator",
        ),
        Metric::gauge(
            "expected_slash",
            Unit::Ratio,
            "the share of their stake that a chain with staking takes for what was seen",
        ),
        Metric::gauge(
            "blocks_compared",
            Unit::Count,
            "different blocks that were seen so far, forks among them",
        ),
        Metric::gauge("vantages", Unit::Count, "nodes that could be asked"),
        Metric::gauge(
            "vantages_live",
            Unit::Count,
            "nodes that tell of every block as it comes, forks too; the others are asked for their best chain only",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "equivocations > 0",
            sustained: "",
            says: "two blocks for one slot, made by {equivocators}: its keys sign on two nodes, and {expected_slash} of its stake is at risk",
            remedy: "Find the second node that signs with these keys and stop one of the two now; leave it stopped, then rotate the keys.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "foreign_equivocations > 0",
            sustained: "",
            says: "another validator made two blocks for one slot: {foreign_equivocators}",
            remedy: "Tell its operator: its keys sign on two nodes.",
        },
    ],
};

/// For how long an equivocation is told after it was seen. A chain bars the validator within an epoch, and a slash
/// waits for days, but who made two blocks once has two signers until somebody stops one.
const NEWS: Duration = Duration::from_secs(86_400);

/// How many blocks below the best one are compared in one look.
const MAX_HEADERS: u64 = 32;

/// How many names a list has at most.
const MAX_NAMES: usize = 20;

/// The table `substrate.equivocation` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EquivocationConfig {
    /// The addresses of JSON-RPC of nodes of one chain; the more, the more forks are seen. One is enough to see what
    /// its peers tell it.
    pub nodes: Vec<Url>,
    /// Our validators, by what people call them and the addresses of their stashes: `{ alice = "5Grw…" }`. Two blocks by
    /// any other are a warning. Default: all are ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub validators: BTreeMap<String, String>,
}

impl EquivocationConfig {
    /// All validators, as the nodes at these addresses see them.
    pub fn new(nodes: Vec<Url>) -> Self {
        Self {
            nodes,
            validators: BTreeMap::new(),
        }
    }

    /// Only this one, or this one too.
    #[must_use]
    pub fn with_validator(mut self, name: &str, address: &str) -> Self {
        self.validators.insert(name.to_owned(), address.to_owned());
        self
    }
}

impl ProbeConfig for EquivocationConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let nodes = self.nodes.iter().map(|url| node::open(resources, url, None));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let Some(first) = nodes.first() else {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!("`nodes` is empty: expected the address of at least one node"),
            ));
        };
        let mut ours = BTreeSet::new();
        for (name, account) in named_accounts("validators", &self.validators)? {
            nodes.iter().for_each(|node| node.call_by_name(account, &name));
            ours.insert(account);
        }
        Ok(Arc::new(EquivocationProbe {
            target: first.rpc.address(),
            nodes,
            ours,
            ledger: Arc::default(),
            watches: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct EquivocationProbe {
    nodes: Vec<Arc<Node>>,
    ours: BTreeSet<Account>,
    target: String,
    ledger: Arc<Mutex<BlockLedger>>,
    /// One for each node, from the first look on.
    watches: Mutex<Vec<HeadWatch>>,
}

impl EquivocationProbe {
    /// The nodes that could be looked at, with what was seen; they are of one chain.
    async fn looks(&self, context: &Context<'_>) -> Result<Vec<(&Node, Look)>> {
        let looks = join_all(self.nodes.iter().map(|node| async {
            let look = within(context, &node.rpc.address(), node.look(context)).await;
            (&**node, look)
        }));
        let mut seen: Vec<(&Node, Look)> = Vec::new();
        let mut refused = None;
        for (node, look) in looks.await {
            match look {
                Ok(look) => seen.push((node, look)),
                Err(error) => {
                    tracing::debug!(node = %node.rpc.address(), %error, "could not ask a vantage point");
                    refused = refused.or(Some(error));
                }
            }
        }
        match (seen.first(), refused) {
            (None, Some(error)) => return Err(error),
            (None, None) => unreachable!("a check without nodes is not built"),
            (Some((node, first)), _) => {
                if let Some((other, look)) = seen.iter().find(|(_, look)| look.genesis != first.genesis) {
                    return Err(different_chains(
                        (&node.rpc.address(), &first.genesis),
                        (&other.rpc.address(), &look.genesis),
                    ));
                }
            }
        }
        Ok(seen)
    }

    /// Notes the latest blocks of the best chain of a node and the best ones of its peers, which may lie beside it.
    async fn note(&self, node: &Node, look: &Look) -> Result<()> {
        let best = look.best.number;
        let chain = node.claims(best.saturating_sub(MAX_HEADERS).max(1)..=best);
        let (chain, peers) = tokio::join!(chain, best_of_peers(node));
        let mut claims = chain?;
        for hash in peers {
            claims.extend(node.claim(hash).await?);
        }
        let now = Instant::now();
        let mut ledger = forks::lock(&self.ledger);
        for (hash, claim) in claims {
            ledger.note(&look.genesis, &hash, claim, now);
        }
        Ok(())
    }

    /// Listens to every node from now on, and tells how many of them speak at present.
    fn listen(&self) -> usize {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if watches.is_empty() {
            let start = |node: &Arc<Node>| HeadWatch::start(node.rpc.url(), Arc::clone(&self.ledger));
            watches.extend(self.nodes.iter().map(start));
        }
        watches.iter().filter(|watch| watch.is_live()).count()
    }

    async fn observe_now(&self, context: &Context<'_>) -> Result<Observation> {
        let looks = self.looks(context).await?;
        let (node, look) = &looks[0];
        let Some(slots) = node.slots(look).await? else {
            return Err(Error::new(
                ErrorKind::NotApplicable,
                text!(
                    "the slots of this chain do not belong to one validator each, so that two blocks for one prove nothing"
                ),
            ));
        };
        let accounts = match Session::read(node, &look.best.hash).await {
            Ok(session) if session.validators.len() == slots.authorities.len() => session.validators,
            Ok(_) => slots.authorities.clone(),
            Err(error) if error.kind() == ErrorKind::NotApplicable => slots.authorities.clone(),
            Err(error) => return Err(error),
        };
        forks::lock(&self.ledger).follow(&look.genesis);
        let live = self.listen();
        for noted in join_all(looks.iter().map(|(node, look)| self.note(node, look))).await {
            noted?;
        }
        let (doubles, compared) = {
            let mut ledger = forks::lock(&self.ledger);
            let author = |claim: &_| {
                let place = usize::try_from(slots.author(claim)?).ok()?;
                accounts.get(place).copied()
            };
            let doubles = ledger.doubles_since(Instant::now().checked_sub(NEWS), author);
            (doubles, ledger.noted())
        };
        let is_ours = |double: &Double| {
            self.ours.is_empty() || double.account.is_some_and(|account| self.ours.contains(&account))
        };
        let (ours, foreign): (Vec<_>, Vec<_>) = doubles.into_iter().partition(is_ours);
        let prefix = node.address_prefix().await;
        let name = |double: &Double| match &double.account {
            Some(account) => node.name(account, prefix),
            None => format!("slot {}", double.claim.slot),
        };
        let offenders: BTreeSet<_> = ours.iter().chain(&foreign).map(name).collect();
        let mut observation = look
            .observation()
            .with("equivocations", ours.len() as f64, Unit::Count)
            .with("foreign_equivocations", foreign.len() as f64, Unit::Count)
            .with(
                "expected_slash",
                expected_slash(offenders.len(), accounts.len()),
                Unit::Ratio,
            )
            .with("blocks_compared", compared as f64, Unit::Count)
            .with("vantages", looks.len() as f64, Unit::Count)
            .with("vantages_live", live as f64, Unit::Count);
        for (fact, doubles) in [("equivocators", &ours), ("foreign_equivocators", &foreign)] {
            let names: BTreeSet<_> = doubles.iter().map(name).take(MAX_NAMES).collect();
            if !names.is_empty() {
                observation = observation.with_fact(fact, names.into_iter().collect::<Vec<_>>().join(", "));
            }
        }
        if let Some(latest) = ours.first().or(foreign.first()) {
            observation = observation
                .with_fact("slot", latest.claim.slot)
                .with_fact("headers", latest.hashes.clone());
        }
        Ok(observation)
    }
}

/// The best blocks of a node's peers; none where it does not tell strangers.
async fn best_of_peers(node: &Node) -> BTreeSet<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Peer {
        best_hash: String,
    }
    let peers: Result<Vec<Peer>, _> = node.rpc.call("system_peers", &[]).await;
    let peers = peers.unwrap_or_default();
    peers.into_iter().map(|peer| peer.best_hash).collect()
}

/// The share of the stake that `offenders` of `validators` lose: `min(1, (3k/n)²)`, as `pallet-babe` and
/// `pallet-grandpa` reckon for equivocations of one session.
fn expected_slash(offenders: usize, validators: usize) -> f64 {
    if validators == 0 {
        return 0.0;
    }
    (3.0 * offenders as f64 / validators as f64).powi(2).min(1.0)
}

#[async_trait]
impl Probe for EquivocationProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        within(context, &self.target, self.observe_now(context)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_is_the_square_of_three_times_the_share_of_offenders() {
        for (offenders, validators, share) in [
            (0, 4, 0.0),
            (1, 4, 0.5625),
            (1, 3, 1.0),
            (1, 10, 0.09),
            (5, 5, 1.0),
            (1, 0, 0.0),
        ] {
            assert!((expected_slash(offenders, validators) - share).abs() < 1e-12);
        }
    }
}
