//! The probe `substrate.signer`: whether anybody but its own node signs with a validator's keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use super::account::Account;
use super::header::Claim;
use super::look::Look;
use super::node::{self, Node};
use super::session::Session;
use super::slots::Slots;
use super::{different_chains, hex, not_an_account, storage, within};
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_signer",
    summary: "whether another node holds a validator's session keys, or made blocks that its own node did not build",
    metrics: &[
        Metric::gauge(
            "key_holders",
            Unit::Count,
            "nodes of those asked that hold the account's session keys",
        ),
        Metric::gauge(
            "nodes_silent",
            Unit::Count,
            "nodes that could not be asked whether they hold them",
        ),
        Metric::gauge(
            "foreign_blocks",
            Unit::Count,
            "blocks by the account within a day that its own node did not build",
        ),
        Metric::gauge(
            "blocks_judged",
            Unit::Count,
            "blocks by the account that were compared with what its node built",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "key_holders > 1",
            sustained: "",
            says: "{key_holders} nodes hold the same session keys: {holders}",
            remedy: "Stop all of them but one now, by their processes; then remove the keystore from those that must not sign, or rotate the keys.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "has(foreign_blocks) == true && foreign_blocks > 0",
            sustained: "",
            says: "{foreign_blocks} blocks carry this validator's signature that its own node did not build",
            remedy: "Another node signs with its keys: find it and stop it now, then rotate the keys.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "nodes_silent > 0",
            sustained: "3 of 5",
            says: "cannot tell whether these hold the session keys too: {silent}",
            remedy: "Ask them over loopback: a node tells nobody else what keys it holds.",
        },
    ],
};

/// For how long a block that somebody else made is told.
const NEWS: Duration = Duration::from_secs(86_400);

/// How long one comparison of blocks with what was built goes on before a new one begins: blocks that were built and
/// never became part of the chain would hide as many foreign ones for as long as it lasts.
const COMPARISON: Duration = Duration::from_secs(1800);

/// The most blocks that are looked through in one look; after a longer pause the comparison begins anew.
const MAX_BLOCKS: u64 = 256;

/// The table `substrate.signer` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SignerConfig {
    /// The address of the validator's own JSON-RPC, reached over loopback: it tells nobody else what keys it holds.
    pub node: Url,
    /// The address of the validator's stash.
    pub account: String,
    /// The address of the node's metrics, which tell how many blocks it built: `http://127.0.0.1:9615/metrics`.
    /// Without them only the holders of the keys are looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Url>,
    /// Other nodes that might hold the same keys: standbys, the machine it was moved from. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Url>,
}

impl SignerConfig {
    /// The validator `account`, whose own node is at that address.
    pub fn new(node: Url, account: &str) -> Self {
        Self {
            node,
            account: account.to_owned(),
            metrics: None,
            others: Vec::new(),
        }
    }
}

impl ProbeConfig for SignerConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let account =
            Account::parse(&self.account).ok_or_else(|| not_an_account("account", &self.account))?;
        if self.metrics.is_none() && self.others.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!("there is nothing to compare with: set `metrics`, `others`, or both"),
            ));
        }
        let node = node::open(resources, &self.node, self.metrics.as_ref())?;
        let others = self.others.iter().map(|url| node::open(resources, url, None));
        Ok(Arc::new(SignerProbe {
            target: node.rpc.address(),
            others: others.collect::<Result<_>>()?,
            has_metrics: self.metrics.is_some(),
            node,
            account,
            tally: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct SignerProbe {
    node: Arc<Node>,
    others: Vec<Arc<Node>>,
    has_metrics: bool,
    account: Account,
    target: String,
    tally: Mutex<Tally>,
}

/// What was built, compared with what carries the signature.
///
/// The two are read one after the other, so that a block may be counted on one side only. Every look therefore compares
/// the blocks up to the best one of the look *before* it with what has been built by now, and begins a comparison with
/// the blocks *after* those that the first look saw: a block can then be missing among the signed ones, which hides a
/// foreign one for half an hour at most, and never among the built ones, which would accuse somebody.
#[derive(Debug, Default)]
struct Tally {
    comparison: Option<Comparison>,
    /// When foreign blocks were found, and how many.
    found: Vec<(Instant, u64)>,
    judged: u64,
}

#[derive(Debug)]
struct Comparison {
    began: Instant,
    /// How many blocks had been built when it began.
    built_before: f64,
    /// The process that counts.
    process: Option<i64>,
    /// Up to which height blocks were looked through, where any were.
    seen_until: Option<u64>,
    /// The height of the best block at the last look.
    best: u64,
    signed: u64,
    /// How many of the signed ones were told as foreign.
    told: u64,
}

/// What one look shows.
#[derive(Clone, Copy, Debug)]
struct Sight {
    now: Instant,
    best: u64,
    built: f64,
    process: Option<i64>,
}

impl Tally {
    /// The heights whose blocks are to be looked through now; none where a comparison has only just begun.
    fn heights(&mut self, sight: Sight) -> Option<std::ops::RangeInclusive<u64>> {
        let goes_on = self.comparison.as_ref().is_some_and(|comparison| {
            comparison.process == sight.process
                && comparison.built_before <= sight.built
                && sight.now - comparison.began < COMPARISON
                && sight.best.saturating_sub(comparison.best) <= MAX_BLOCKS
        });
        if !goes_on {
            self.comparison = Some(Comparison {
                began: sight.now,
                built_before: sight.built,
                process: sight.process,
                seen_until: None,
                best: sight.best,
                signed: 0,
                told: 0,
            });
            return None;
        }
        let comparison = self.comparison.as_mut()?;
        let Some(seen) = comparison.seen_until else {
            // The second look: what was best at the first may still have been counted on one side only.
            comparison.seen_until = Some(sight.best);
            comparison.best = sight.best;
            return None;
        };
        let until = comparison.best;
        comparison.best = sight.best;
        (seen < until).then(|| seen + 1..=until)
    }

    /// Takes in that `signed` blocks of the heights up to `until` carry the signature.
    fn count(&mut self, sight: Sight, until: u64, signed: u64) {
        let Some(comparison) = &mut self.comparison else {
            return;
        };
        comparison.seen_until = Some(until);
        comparison.signed += signed;
        self.judged += signed;
        let built = (sight.built - comparison.built_before).max(0.0) as u64;
        let foreign = comparison.signed.saturating_sub(built);
        if foreign > comparison.told {
            self.found.push((sight.now, foreign - comparison.told));
            comparison.told = foreign;
        }
    }

    /// How many foreign blocks were found within a day.
    fn foreign(&mut self, now: Instant) -> u64 {
        self.found
            .retain(|(at, _)| now.saturating_duration_since(*at) < NEWS);
        self.found.iter().map(|(_, count)| count).sum()
    }
}

impl SignerProbe {
    /// The sets of session keys that act for the account now or soon.
    async fn keys(&self, session: &Session, at: &str) -> Result<Vec<Vec<u8>>> {
        let key = storage::map_key("Session", "NextKeys", &self.account.0);
        let mut sets: Vec<Vec<u8>> = self.node.storage_at(&key, at).await?.into_iter().collect();
        let queued = session
            .queued
            .iter()
            .filter(|(account, _)| *account == self.account);
        sets.extend(queued.map(|(_, keys)| keys.clone()));
        sets.dedup();
        if sets.is_empty() {
            return Err(Error::new(
                ErrorKind::NotApplicable,
                text!("the account has no session keys, so that nobody can hold them"),
            ));
        }
        Ok(sets)
    }

    /// Whether a node holds any of the sets. Asks only whether, and changes nothing.
    async fn holds(node: &Node, sets: &[Vec<u8>]) -> Result<bool> {
        for keys in sets {
            if node
                .rpc
                .call("author_hasSessionKeys", &[json!(hex::encode(keys))])
                .await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Who holds the keys, by peer id, and who could not be asked.
    async fn holders(
        &self,
        look: &Look,
        sets: &[Vec<u8>],
        context: &Context<'_>,
    ) -> Result<(BTreeMap<String, String>, Vec<String>)> {
        let mut holders = BTreeMap::new();
        let mut silent = Vec::new();
        let own = self.node.rpc.address();
        if Self::holds(&self.node, sets).await? {
            holders.insert(look.peer_id.clone().unwrap_or_else(|| own.clone()), own);
        }
        let asked = join_all(self.others.iter().map(|other| async {
            let address = other.rpc.address();
            let answer = within(context, &address, async {
                let genesis = other.genesis().await?;
                let peer_id: String = other.rpc.call("system_localPeerId", &[]).await?;
                Ok((genesis, peer_id, Self::holds(other, sets).await))
            });
            (address.clone(), answer.await)
        }));
        for (address, answer) in asked.await {
            match answer {
                Ok((genesis, ..)) if genesis != look.genesis => {
                    return Err(different_chains(
                        (&self.target, &look.genesis),
                        (&address, &genesis),
                    ));
                }
                // The same node by another address is not another node.
                Ok((_, peer_id, Ok(true))) => {
                    holders.entry(peer_id).or_insert(address);
                }
                Ok((_, _, Ok(false))) => {}
                Ok((_, _, Err(error))) | Err(error) => {
                    tracing::debug!(node = %address, %error, "could not ask whether a node holds the keys");
                    silent.push(address);
                }
            }
        }
        Ok((holders, silent))
    }

    /// Compares what carries the account's signature with what its node built.
    async fn compare(&self, look: &Look, session: &Session, context: &Context<'_>) -> Result<(u64, u64)> {
        let page = self.node.page(context).await?;
        // A node that signs nothing has no such histogram, and has built nothing.
        let built = page
            .value("substrate_proposer_block_constructed_count")
            .unwrap_or(0.0);
        let sight = Sight {
            now: Instant::now(),
            best: look.best.number,
            built,
            process: look.process_start.map(jiff::Timestamp::as_second),
        };
        let heights = self.tally().heights(sight);
        if let Some(heights) = heights
            && let Some(slots) = self.node.slots(look).await?
        {
            let until = *heights.end();
            let claims = self.node.claims(heights).await?;
            let signed = claims
                .iter()
                .filter(|(_, claim)| self.is_ours(claim, &slots, session));
            let signed = signed.count() as u64;
            self.tally().count(sight, until, signed);
        }
        let mut tally = self.tally();
        Ok((tally.foreign(sight.now), tally.judged))
    }

    fn is_ours(&self, claim: &Claim, slots: &Slots, session: &Session) -> bool {
        let author = slots
            .author(claim)
            .and_then(|author| usize::try_from(author).ok());
        author.is_some() && author == session.place(&self.account)
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Probe for SignerProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        within(context, &self.target, async {
            let look = self.node.look(context).await?;
            let session = Session::read(&self.node, &look.best.hash).await?;
            let sets = self.keys(&session, &look.best.hash).await?;
            let (holders, silent) = self.holders(&look, &sets, context).await?;
            let prefix = self.node.address_prefix().await;
            let mut observation = look
                .observation()
                .with("key_holders", holders.len() as f64, Unit::Count)
                .with("nodes_silent", silent.len() as f64, Unit::Count)
                .with_fact("account", self.node.name(&self.account, prefix));
            if self.has_metrics {
                let (foreign, judged) = self.compare(&look, &session, context).await?;
                observation = observation
                    .with("foreign_blocks", foreign as f64, Unit::Count)
                    .with("blocks_judged", judged as f64, Unit::Count);
            }
            if !holders.is_empty() {
                let shown = |(id, address): (String, String)| format!("{address} ({id})");
                let holders: Vec<_> = holders.into_iter().map(shown).collect();
                observation = observation.with_fact("holders", holders.join(", "));
            }
            if !silent.is_empty() {
                observation = observation.with_fact("silent", silent.join(", "));
            }
            Ok(observation)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One look every ten seconds: the best height, the blocks built, and the heights that carry the signature.
    async fn foreign(looks: &[(u64, u64)], signed: &[u64]) -> u64 {
        let mut tally = Tally::default();
        for (best, built) in looks {
            let sight = Sight {
                now: Instant::now(),
                best: *best,
                built: *built as f64,
                process: Some(1),
            };
            if let Some(heights) = tally.heights(sight) {
                let count = signed.iter().filter(|height| heights.contains(height)).count();
                tally.count(sight, *heights.end(), count as u64);
            }
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        tally.foreign(Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_that_the_node_built_accuse_nobody_whenever_they_are_counted() {
        // The block of height 12 is counted as built before, with and after the look that first shows it.
        for built in [[1, 1, 2, 2, 2], [1, 2, 2, 2, 2], [2, 2, 2, 2, 2]] {
            let looks: Vec<_> = [10, 12, 14, 16, 18].into_iter().zip(built).collect();
            assert_eq!(foreign(&looks, &[12]).await, 0, "{built:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_that_it_did_not_build_are_found_and_told_once() {
        let looks = [(10, 5), (11, 5), (14, 5), (15, 5), (18, 5), (19, 5)];
        assert_eq!(foreign(&looks, &[13]).await, 1);
        assert_eq!(foreign(&looks, &[12, 13, 17]).await, 3);
        assert_eq!(foreign(&looks, &[9, 11]).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_begins_anew_and_a_long_pause_begin_a_new_comparison() {
        assert_eq!(
            foreign(&[(10, 50), (12, 50), (14, 0), (16, 1), (18, 1), (20, 1)], &[15]).await,
            0
        );
        assert_eq!(
            foreign(&[(10, 5), (11, 5), (9000, 900), (9001, 900)], &[5000]).await,
            0
        );
    }
}
