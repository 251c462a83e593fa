//! One node as all its checks see it: who answers, where its chain stands, and since when.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use parity_scale_codec::Decode;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::account::{Account, GENERIC_PREFIX};
use super::header::{Claim, Header};
use super::hex;
use super::look::{Consensus, Head, Health, Look, Runtime, RuntimeVersion, Silence};
use super::metrics::{self, Page};
use super::rounds::{RoundLedger, RoundState};
use super::rpc::{ROUND, Refusal, Rpc};
use super::slots::{SlotLedger, Slots};
use super::storage::{self, Metadata, Presence};
use super::watch::{Spell, Watched};
use crate::error::{Error, ErrorKind, Result};
use crate::http_client::HttpClient;
use crate::probe::Context;
use crate::resources::Resources;
use crate::text;
use crate::text::Text;

/// The slot duration to reckon with where a chain does not tell its own.
const ASSUMED_SLOT: Duration = Duration::from_secs(6);

/// For how long a single look watches a chain whose clock is not to be believed, to see a block come.
const GLANCE: Duration = Duration::from_secs(3);

/// How many headers are remembered, by whom they were made; a few hours of the fastest chains.
const MAX_CLAIMS: usize = 1024;

/// How many of the latest blocks are read for who made them, at first and at most in one look.
const MAX_HEADERS: u64 = 64;

/// All nodes that the checks of a process ask, by address.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Mutex<HashMap<Url, Arc<Node>>>);

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) rpc: Rpc,
    metrics: Mutex<Option<HttpClient>>,
    page: tokio::sync::Mutex<Option<(Instant, Page)>>,
    names: Mutex<BTreeMap<Account, String>>,
    memory: Mutex<Memory>,
    runtime: tokio::sync::Mutex<Option<Arc<Runtime>>>,
    metadata: tokio::sync::Mutex<Option<(u32, Arc<Metadata>)>>,
    claims: Mutex<HashMap<String, Option<Claim>>>,
    sampler: Mutex<Option<Sampler>>,
}

/// What outlives a single look.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Who answered last.
    pub(crate) peer_id: Watched<String>,
    /// The hash of the best block.
    pub(crate) best: Watched<String>,
    /// The hash of the last final block.
    pub(crate) finalized: Watched<String>,
    /// The version of the runtime.
    pub(crate) spec_version: Watched<u32>,
    /// That there are too few peers.
    pub(crate) few_peers: Spell,
    /// Blocks came while their timestamps stood far back: this chain keeps a time of its own.
    has_own_time: bool,
    /// Who used their slots.
    pub(crate) slots: SlotLedger,
    /// Who voted.
    pub(crate) rounds: RoundLedger,
}

/// Looks at the vote every second for as long as somebody asks about it.
#[derive(Debug)]
struct Sampler {
    task: tokio::task::JoinHandle<()>,
    wanted_at: Arc<Mutex<Instant>>,
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Nodes {
    /// The node at `url`.
    fn node(&self, url: &Url) -> Result<Arc<Node>> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(url) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(Node::new(url)?);
        nodes.insert(url.clone(), Arc::clone(&node));
        Ok(node)
    }
}

/// The node at `url`, shared by all checks built from `resources`; its metrics are known to all of them once one of
/// them names them.
pub(crate) fn open(resources: &Resources, url: &Url, metrics: Option<&Url>) -> Result<Arc<Node>> {
    let node = resources.shared::<Nodes>().node(url)?;
    if let Some(metrics) = metrics {
        *lock(&node.metrics) = Some(metrics::client(metrics, resources)?);
    }
    Ok(node)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    pub(crate) fn new(url: &Url) -> Result<Self> {
        Ok(Self {
            rpc: Rpc::new(url)?,
            metrics: Mutex::default(),
            page: tokio::sync::Mutex::default(),
            names: Mutex::default(),
            memory: Mutex::default(),
            runtime: tokio::sync::Mutex::default(),
            metadata: tokio::sync::Mutex::default(),
            claims: Mutex::default(),
            sampler: Mutex::default(),
        })
    }

    /// What outlives a single look.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// From now on calls `account` by `name`.
    pub(crate) fn call_by_name(&self, account: Account, name: &str) {
        lock(&self.names).insert(account, name.to_owned());
    }

    /// How people know `account`: its name, if it has one, and its address.
    pub(crate) fn name(&self, account: &Account, prefix: u16) -> String {
        let address = account.address(prefix);
        match lock(&self.names).get(account) {
            Some(name) => format!("{name} ({address})"),
            None => address,
        }
    }

    /// Looks at the node once: who it is and where its chain stands.
    ///
    /// # Errors
    /// Whatever keeps any part of that from being known.
    pub(crate) async fn look(&self, context: &Context<'_>) -> Result<Look> {
        let now = context.clock.now();
        let (best, finalized, health, runtime, genesis, peer_id, roles, process_start) = tokio::try_join!(
            self.head("chain_getBlockHash"),
            self.head("chain_getFinalizedHead"),
            async { Ok(self.rpc.call::<Health>("system_health", &[]).await?) },
            self.runtime(),
            self.genesis(),
            async {
                Ok(Refusal::unless_missing(
                    self.rpc.call::<String>("system_localPeerId", &[]).await,
                )?)
            },
            async {
                Ok(Refusal::unless_missing(
                    self.rpc.call::<Vec<String>>("system_nodeRoles", &[]).await,
                )?)
            },
            async { Ok(self.process_start(context).await) },
        )?;
        let look = Look {
            now,
            best,
            finalized,
            health,
            runtime,
            genesis,
            peer_id,
            roles: roles.unwrap_or_default(),
            process_start,
            is_legacy: self.rpc.is_legacy(),
        };
        self.remember(&look);
        Ok(look)
    }

    fn remember(&self, look: &Look) {
        let at = Instant::now();
        let mut memory = self.memory();
        let peer_id = look.peer_id.clone().unwrap_or_default();
        if memory.peer_id.value().is_some_and(|known| *known != peer_id) {
            // Another node answers at this address: what was seen of the one before says nothing about it.
            let peer_ids = std::mem::take(&mut memory.peer_id);
            *memory = Memory {
                peer_id: peer_ids,
                ..Memory::default()
            };
        }
        memory.peer_id.see(peer_id, at);
        memory.finalized.see(look.finalized.hash.clone(), at);
        memory.spec_version.see(look.runtime.version.spec_version, at);
        if memory.best.see(look.best.hash.clone(), at)
            && let Some(age) = look.age(&look.best)
        {
            memory.has_own_time = age > look.overdue() && !look.health.is_syncing;
        }
    }

    /// The hash of the first block, which names the chain.
    pub(crate) async fn genesis(&self) -> Result<String> {
        Ok(self.rpc.call("chain_getBlockHash", &[json!(0)]).await?)
    }

    async fn head(&self, method: &str) -> Result<Head> {
        let hash: String = self.rpc.call(method, &[]).await?;
        let (header, time) = tokio::try_join!(
            async { Ok(self.rpc.call::<Header>("chain_getHeader", &[json!(hash)]).await?) },
            self.storage("Timestamp", "Now", &hash),
        )?;
        let number = header
            .number()
            .ok_or_else(|| self.not_understood("chain_getHeader"))?;
        Ok(Head {
            number,
            claim: header.claim(),
            time: time
                .and_then(|bytes| u64::decode(&mut bytes.as_slice()).ok())
                .and_then(|millis| Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()),
            hash,
        })
    }

    pub(crate) fn not_understood(&self, method: &str) -> Error {
        Error::new(
            ErrorKind::Malformed,
            text!(
                "{node} answers {method} in a form that is not understood",
                node = self.rpc.address(),
                method = method
            ),
        )
    }

    /// The runtime of the best block.
    pub(crate) async fn runtime(&self) -> Result<Arc<Runtime>> {
        let version: RuntimeVersion = self.rpc.call("state_getRuntimeVersion", &[]).await?;
        let mut kept = self.runtime.lock().await;
        if let Some(runtime) = &*kept
            && runtime.version.spec_version == version.spec_version
            && runtime.version.spec_name == version.spec_name
        {
            return Ok(Arc::clone(runtime));
        }
        let (consensus, call) = if version.has("BabeApi") {
            (Consensus::Babe, Some("BabeApi_configuration"))
        } else if version.has("AuraApi") && version.has("CollectCollationInfo") {
            (Consensus::ParachainAura, Some("AuraApi_slot_duration"))
        } else if version.has("AuraApi") {
            (Consensus::Aura, Some("AuraApi_slot_duration"))
        } else {
            (Consensus::Other, None)
        };
        let slot = match call {
            Some(call) => {
                let bytes = self.runtime_call(call, &[], None).await?;
                let millis = u64::decode(&mut bytes.as_slice())
                    .ok()
                    .filter(|millis| *millis > 0);
                Duration::from_millis(millis.ok_or_else(|| self.not_understood(call))?)
            }
            None => ASSUMED_SLOT,
        };
        let runtime = Arc::new(Runtime {
            version,
            consensus,
            slot,
        });
        *kept = Some(Arc::clone(&runtime));
        Ok(runtime)
    }

    /// Calls a function of the runtime that changes nothing.
    pub(crate) async fn runtime_call(
        &self,
        function: &str,
        arguments: &[u8],
        at: Option<&str>,
    ) -> Result<Vec<u8>, Error> {
        let mut params = vec![json!(function), json!(hex::encode(arguments))];
        params.extend(at.map(|hash| json!(hash)));
        let answer: String = self.rpc.call("state_call", &params).await?;
        hex::decode(&answer).ok_or_else(|| self.not_understood(function))
    }

    /// The raw value of a storage item at a block, `None` where there is none.
    pub(crate) async fn storage(&self, pallet: &str, item: &str, at: &str) -> Result<Option<Vec<u8>>> {
        self.storage_at(&storage::item_key(pallet, item), at).await
    }

    /// The raw value at a storage key at a block, `None` where there is none.
    pub(crate) async fn storage_at(&self, key: &[u8], at: &str) -> Result<Option<Vec<u8>>> {
        let params = [json!(hex::encode(key)), json!(at)];
        let answer: Option<String> = self.rpc.call("state_getStorage", &params).await?;
        answer
            .map(|text| hex::decode(&text).ok_or_else(|| self.not_understood("state_getStorage")))
            .transpose()
    }

    /// What the runtime tells about its pallets, read once for each version of it.
    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>> {
        let spec_version = self.runtime().await?.version.spec_version;
        let mut kept = self.metadata.lock().await;
        if let Some((version, metadata)) = &*kept
            && *version == spec_version
        {
            return Ok(Arc::clone(metadata));
        }
        let answer: String = self.rpc.call("state_getMetadata", &[]).await?;
        let bytes = hex::decode(&answer).ok_or_else(|| self.not_understood("state_getMetadata"))?;
        let metadata = Metadata::decode(&bytes).ok_or_else(|| {
            Error::new(
                ErrorKind::TooOld,
                text!(
                    "the runtime of {node} describes itself in a form before version 14",
                    node = self.rpc.address()
                ),
            )
        })?;
        let metadata = Arc::new(metadata);
        *kept = Some((spec_version, Arc::clone(&metadata)));
        Ok(metadata)
    }

    /// The type of a storage item that this question cannot do without.
    ///
    /// # Errors
    /// [`ErrorKind::NotApplicable`] where the chain has no such pallet or item.
    pub(crate) async fn required_item(&self, pallet: &str, item: &str) -> Result<u32> {
        let why = match self.metadata().await?.presence(pallet, item) {
            Presence::Item(kind) => return Ok(kind),
            Presence::NoItem => text!(
                "the pallet {pallet} of this chain keeps no {item}",
                pallet = pallet,
                item = item
            ),
            Presence::NoPallet => text!("this chain has no pallet {pallet}", pallet = pallet),
        };
        Err(Error::new(ErrorKind::NotApplicable, why))
    }

    /// The network prefix of this chain's addresses.
    pub(crate) async fn address_prefix(&self) -> u16 {
        let properties: Result<Value, _> = self.rpc.call("system_properties", &[]).await;
        let format = properties
            .ok()
            .and_then(|properties| properties.get("ss58Format")?.as_u64());
        format
            .and_then(|format| u16::try_from(format).ok())
            .unwrap_or(GENERIC_PREFIX)
    }

    /// The Prometheus page, where it is known and read.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] where no address is known.
    pub(crate) async fn page(&self, context: &Context<'_>) -> Result<Page> {
        let client = lock(&self.metrics).clone().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "this is told by the metrics of {node} only: set `metrics` to their address",
                    node = self.rpc.address()
                ),
            )
        })?;
        let mut kept = self.page.lock().await;
        if let Some((at, page)) = &*kept
            && at.elapsed() < ROUND
        {
            return Ok(page.clone());
        }
        let page = metrics::page(&client, context).await?;
        *kept = Some((Instant::now(), page.clone()));
        Ok(page)
    }

    async fn process_start(&self, context: &Context<'_>) -> Option<Timestamp> {
        lock(&self.metrics).as_ref()?;
        let page = self.page(context).await.ok()?;
        let seconds = page.value("substrate_process_start_time_seconds")?;
        Timestamp::from_second(seconds as i64).ok()
    }

    /// For how long no new block came.
    ///
    /// The chain's own clock answers at once where it can be believed. Where not, it takes watching: for a single look
    /// a few seconds, which is told as [`ErrorKind::Timeout`] where no block came and nothing is known from before.
    pub(crate) async fn silence(&self, look: &Look, context: &Context<'_>) -> Result<Silence> {
        let why = match self.distrust(look) {
            None => {
                let length = look.age(&look.best).unwrap_or_default();
                return Ok(Silence {
                    length,
                    signal: "timestamp",
                });
            }
            Some(why) => why,
        };
        if !self.memory().best.has_changed() {
            self.glance(&look.best.hash, context).await;
        }
        let memory = self.memory();
        let flat = memory.best.flat_for(Instant::now());
        if !memory.best.has_changed() && flat <= look.overdue() * 2 {
            return Err(Error::new(
                ErrorKind::Timeout,
                text!(
                    "cannot tell yet whether blocks are made: none came while watching for {watched} s, and {why}",
                    watched = flat.as_secs(),
                    why = why
                ),
            ));
        }
        Ok(Silence {
            length: flat,
            signal: "watched",
        })
    }

    /// For how long the last final block has been the last; zero where it is all but the best one.
    pub(crate) fn finality_age(&self, look: &Look) -> Result<Duration> {
        if look.finality_lag() <= 2 && look.age(&look.finalized).is_none() {
            return Ok(Duration::ZERO);
        }
        let Some(why) = self.distrust(look) else {
            return Ok(look.age(&look.finalized).unwrap_or_default());
        };
        let memory = self.memory();
        let flat = memory.finalized.flat_for(Instant::now());
        if look.finality_lag() > 2 && !memory.finalized.has_changed() && flat < Duration::from_secs(60) {
            return Err(Error::new(
                ErrorKind::Timeout,
                text!(
                    "cannot tell yet since when finality stands still: watched it for {watched} s, and {why}",
                    watched = flat.as_secs(),
                    why = why
                ),
            ));
        }
        Ok(flat)
    }

    /// Why the timestamps of the chain say nothing about the time; `None` where they do.
    fn distrust(&self, look: &Look) -> Option<Text> {
        let Some(time) = look.best.time else {
            return Some(text!("this chain has no timestamps"));
        };
        let ahead = Duration::try_from(time.duration_since(look.now)).unwrap_or_default();
        if ahead > look.runtime.slot {
            return Some(text!(
                "its timestamps are {ahead} s ahead of this clock",
                ahead = ahead.as_secs()
            ));
        }
        if look.is_alone() {
            return Some(text!(
                "a node without peers that is no authority may keep a time of its own"
            ));
        }
        if self.memory().has_own_time {
            return Some(text!(
                "it was seen to make blocks while their timestamps stood far back"
            ));
        }
        None
    }

    /// Watches for a new block for a short while.
    async fn glance(&self, best: &str, context: &Context<'_>) {
        // Half of the time that is left belongs to what comes after.
        let patience = context.deadline.saturating_duration_since(Instant::now()) / 2;
        let until = Instant::now() + GLANCE.min(patience);
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let hash: Result<String, _> = self
                .rpc
                .call_within("chain_getBlockHash", &[], Duration::from_millis(100))
                .await;
            let Ok(hash) = hash else { return };
            if hash != best {
                self.memory().best.see(hash, Instant::now());
                return;
            }
        }
    }

    /// How slots are given out now; `None` where an empty slot is nobody's fault.
    pub(crate) async fn slots(&self, look: &Look) -> Result<Option<Slots>> {
        let at = Some(look.best.hash.as_str());
        match look.runtime.consensus {
            Consensus::Babe => {
                let epoch = self.runtime_call("BabeApi_current_epoch", &[], at).await?;
                let slots = Slots::babe(&epoch);
                slots
                    .map(Some)
                    .ok_or_else(|| self.not_understood("BabeApi_current_epoch"))
            }
            Consensus::Aura => {
                let bytes = self.runtime_call("AuraApi_authorities", &[], at).await?;
                let keys = Vec::<[u8; 32]>::decode(&mut bytes.as_slice());
                let keys = keys.map_err(|_| self.not_understood("AuraApi_authorities"))?;
                Ok(Some(Slots::aura(keys.into_iter().map(Account).collect())))
            }
            Consensus::ParachainAura | Consensus::Other => Ok(None),
        }
    }

    /// Judges the slots of the latest blocks, as far as they were not judged before.
    ///
    /// The best block itself is left for the next look: another may still take its place.
    pub(crate) async fn judge_slots(&self, look: &Look, slots: &Slots) -> Result<()> {
        let last = look.best.number.saturating_sub(1);
        let window = (3 * slots.authorities.len() as u64).clamp(16, MAX_HEADERS);
        let claims = self.claims(last.saturating_sub(window).max(1)..=last).await?;
        let claims: Vec<Claim> = claims.into_iter().map(|(_, claim)| claim).collect();
        let mut memory = self.memory();
        memory.slots.judge(slots, &claims);
        memory.slots.keep(&slots.authorities);
        Ok(())
    }

    /// The hashes of the blocks at these heights of the best chain, and who made them where they tell.
    pub(crate) async fn claims(&self, heights: RangeInclusive<u64>) -> Result<Vec<(String, Claim)>> {
        let numbers: Vec<u64> = heights.collect();
        let hashes: Vec<Option<String>> = self.rpc.call("chain_getBlockHash", &[json!(numbers)]).await?;
        let claims = futures_util::stream::iter(hashes.into_iter().flatten())
            .map(|hash| self.claim(hash))
            .buffered(8)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        Ok(claims.into_iter().flatten().collect())
    }

    /// Who made the block of that hash, as its header tells; `None` where the node does not have it or it tells nothing.
    pub(crate) async fn claim(&self, hash: String) -> Result<Option<(String, Claim)>> {
        if let Some(claim) = lock(&self.claims).get(&hash) {
            return Ok(claim.map(|claim| (hash, claim)));
        }
        let header: Option<Header> = self.rpc.call("chain_getHeader", &[json!(hash)]).await?;
        // What it does not have it may get, and is not noted.
        let Some(header) = header else { return Ok(None) };
        let claim = header.claim();
        let mut known = lock(&self.claims);
        if known.len() >= MAX_CLAIMS {
            let newest = known.values().flatten().map(|claim| claim.slot).max();
            let oldest_wanted = newest.unwrap_or_default().saturating_sub(MAX_CLAIMS as u64 / 2);
            known.retain(|_, claim| claim.is_some_and(|claim| claim.slot >= oldest_wanted));
        }
        known.insert(hash.clone(), claim);
        drop(known);
        Ok(claim.map(|claim| (hash, claim)))
    }

    /// The vote as it stands, which is also noted in the ledger of rounds.
    pub(crate) async fn round_state(&self) -> Result<RoundState, Refusal> {
        let state: RoundState = self
            .rpc
            .call_within("grandpa_roundState", &[], Duration::from_millis(500))
            .await
            .map_err(Refusal::or_not_applicable)?;
        self.memory().rounds.see(state.clone(), Instant::now());
        Ok(state)
    }

    /// Has the vote looked at every second from now on, for as long as somebody goes on asking for it.
    ///
    /// A round takes a few seconds and its votes are in only at its end, so that looking once a minute would judge
    /// hardly any. The first look of a process starts nothing: a single check is over before a round is.
    pub(crate) fn sample_rounds(self: &Arc<Self>) {
        /// Twice the longest usual interval between two checks.
        const NOBODY_ASKS: Duration = Duration::from_secs(600);
        let now = Instant::now();
        let mut sampler = lock(&self.sampler);
        if let Some(sampler) = &*sampler
            && !sampler.task.is_finished()
        {
            *lock(&sampler.wanted_at) = now;
            return;
        }
        if !self.memory().best.has_changed() {
            return;
        }
        let wanted_at = Arc::new(Mutex::new(now));
        let (node, wanted) = (Arc::downgrade(self), Arc::clone(&wanted_at));
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(node) = node.upgrade() else { return };
                if lock(&wanted).elapsed() > NOBODY_ASKS {
                    return;
                }
                if let Err(refusal) = node.round_state().await
                    && refusal.kind == ErrorKind::NotApplicable
                {
                    return;
                }
            }
        });
        *sampler = Some(Sampler { task, wanted_at });
    }
}
