//! Blocks that were seen on the best chain or beside it, and who made two of them for one slot.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonrpsee::core::client::{ClientT as _, Subscription, SubscriptionClientT as _};
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::WsClientBuilder;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

use super::account::Account;
use super::header::{Claim, Header};

/// How many slots are remembered: seven hours of slots of six seconds, and no chain holds back a block for longer.
const MAX_SLOTS: usize = 4096;

/// How many double blocks are remembered; one is enough to act, and a loop of them must not grow without end.
const MAX_DOUBLES: usize = 256;

/// How long it takes until a broken subscription is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Two blocks, or more, for one slot by one validator.
#[derive(Clone, Debug)]
pub(crate) struct Double {
    pub(crate) claim: Claim,
    pub(crate) hashes: Vec<String>,
    /// When the second one was seen.
    pub(crate) seen_at: Instant,
    /// Who made them, once that was looked up: the lists of authorities change with the epoch.
    pub(crate) account: Option<Account>,
}

/// The blocks of one chain by slot and author.
#[derive(Debug, Default)]
pub(crate) struct BlockLedger {
    genesis: String,
    blocks: BTreeMap<(u64, Option<u32>), Vec<String>>,
    doubles: Vec<Double>,
    noted: u64,
}

impl BlockLedger {
    /// Goes on with the chain of that first block; what was noted of another says nothing about it.
    pub(crate) fn follow(&mut self, genesis: &str) {
        if self.genesis != genesis {
            *self = Self {
                genesis: genesis.to_owned(),
                ..Self::default()
            };
        }
    }

    /// Notes a block of the chain that begins with `genesis`; one of another chain is passed over.
    pub(crate) fn note(&mut self, genesis: &str, hash: &str, claim: Claim, now: Instant) {
        if genesis != self.genesis {
            return;
        }
        let hashes = self.blocks.entry((claim.slot, claim.author)).or_default();
        if hashes.iter().any(|known| known == hash) {
            return;
        }
        hashes.push(hash.to_owned());
        self.noted += 1;
        let hashes = hashes.clone();
        while self.blocks.len() > MAX_SLOTS {
            self.blocks.pop_first();
        }
        if hashes.len() < 2 {
            return;
        }
        let is_it =
            |double: &&mut Double| (double.claim.slot, double.claim.author) == (claim.slot, claim.author);
        let has_room = self.doubles.len() < MAX_DOUBLES;
        match self.doubles.iter_mut().find(is_it) {
            Some(double) => double.hashes = hashes,
            None if has_room => self.doubles.push(Double {
                claim,
                hashes,
                seen_at: now,
                account: None,
            }),
            None => {}
        }
    }

    /// How many different blocks were noted so far.
    pub(crate) fn noted(&self) -> u64 {
        self.noted
    }

    /// The double blocks that were seen since `cutoff`, latest first; older ones are forgotten. `author` looks up who
    /// made the blocks of a claim.
    pub(crate) fn doubles_since(
        &mut self,
        cutoff: Option<Instant>,
        author: impl Fn(&Claim) -> Option<Account>,
    ) -> Vec<Double> {
        self.doubles
            .retain(|double| cutoff.is_none_or(|cutoff| double.seen_at >= cutoff));
        for double in &mut self.doubles {
            double.account = double.account.or_else(|| author(&double.claim));
        }
        self.doubles.iter().rev().cloned().collect()
    }
}

/// Listens to every block that a node takes in, forks among them, for as long as it lives.
#[derive(Debug)]
pub(crate) struct HeadWatch {
    task: JoinHandle<()>,
    is_live: Arc<AtomicBool>,
}

impl Drop for HeadWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HeadWatch {
    /// Begins to listen to the node whose JSON-RPC is at `url`; what comes goes into `ledger`.
    ///
    /// A node that speaks no WebSocket there is tried again now and then, and [`HeadWatch::is_live`] stays false.
    pub(crate) fn start(url: &Url, ledger: Arc<Mutex<BlockLedger>>) -> Self {
        let is_live = Arc::new(AtomicBool::new(false));
        let (url, live) = (websocket(url), Arc::clone(&is_live));
        let task = tokio::spawn(async move {
            let (mut pause, longest) = RETRY;
            loop {
                if let Err(error) = listen(&url, &ledger, &live).await {
                    tracing::debug!(%error, "could not listen to the blocks of a node");
                }
                // Only a subscription that never stood makes the pauses longer.
                pause = match live.swap(false, Ordering::Relaxed) {
                    true => RETRY.0,
                    false => (pause * 2).min(longest),
                };
                tokio::time::sleep(pause).await;
            }
        });
        Self { task, is_live }
    }

    /// Whether the node tells of its blocks at present.
    pub(crate) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Relaxed)
    }
}

async fn listen(
    url: &str,
    ledger: &Mutex<BlockLedger>,
    is_live: &AtomicBool,
) -> Result<(), jsonrpsee::core::client::Error> {
    let client = WsClientBuilder::new().build(url).await?;
    let genesis: String = client.request("chain_getBlockHash", rpc_params![0]).await?;
    let mut heads: Subscription<Header> = client
        .subscribe(
            "chain_subscribeAllHeads",
            rpc_params![],
            "chain_unsubscribeAllHeads",
        )
        .await?;
    is_live.store(true, Ordering::Relaxed);
    while let Some(header) = heads.next().await {
        // What is no header is passed over: one block in a strange form must not blind the watch for the others.
        let Ok(header) = header else { continue };
        if let (Some(hash), Some(claim)) = (header.hash(), header.claim()) {
            lock(ledger).note(&genesis, &hash, claim, Instant::now());
        }
    }
    Ok(())
}

/// The address of the same server by the other protocol.
fn websocket(url: &Url) -> String {
    let mut url = url.clone();
    let scheme = if matches!(url.scheme(), "https" | "wss") {
        "wss"
    } else {
        "ws"
    };
    // Both are special schemes, between which a change is allowed.
    let _ = url.set_scheme(scheme);
    url.into()
}

/// Locks a ledger; a panic elsewhere leaves it usable, because every change of it is complete in itself.
pub(crate) fn lock(ledger: &Mutex<BlockLedger>) -> MutexGuard<'_, BlockLedger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(slot: u64, author: Option<u32>) -> Claim {
        Claim {
            slot,
            author,
            is_primary: false,
        }
    }

    fn ledger() -> BlockLedger {
        let mut ledger = BlockLedger::default();
        ledger.follow("0xgenesis");
        ledger
    }

    fn doubles(ledger: &mut BlockLedger) -> Vec<(u64, Vec<String>)> {
        let author = |claim: &Claim| Some(Account([claim.author? as u8; 32]));
        let doubles = ledger.doubles_since(None, author);
        doubles
            .into_iter()
            .map(|double| (double.claim.slot, double.hashes))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn two_blocks_of_one_validator_for_one_slot_are_a_double_whenever_they_are_seen() {
        let mut ledger = ledger();
        let now = Instant::now();
        ledger.note("0xgenesis", "0xa1", claim(7, Some(0)), now);
        ledger.note("0xgenesis", "0xb1", claim(7, Some(1)), now);
        ledger.note("0xgenesis", "0xa2", claim(8, Some(0)), now);
        ledger.note("0xgenesis", "0xa1", claim(7, Some(0)), now);
        assert_eq!(doubles(&mut ledger), []);
        assert_eq!(ledger.noted(), 3);
        ledger.note("0xgenesis", "0xaa", claim(7, Some(0)), now);
        ledger.note("0xgenesis", "0xab", claim(7, Some(0)), now);
        let hashes = ["0xa1", "0xaa", "0xab"].map(str::to_owned).to_vec();
        assert_eq!(doubles(&mut ledger), [(7, hashes)]);
    }

    #[tokio::test(start_paused = true)]
    async fn in_aura_the_slot_alone_says_whose_blocks_they_are() {
        let mut ledger = ledger();
        ledger.note("0xgenesis", "0xa1", claim(7, None), Instant::now());
        ledger.note("0xgenesis", "0xa2", claim(7, None), Instant::now());
        assert_eq!(doubles(&mut ledger).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_of_another_chain_accuse_nobody() {
        let mut ledger = ledger();
        ledger.note("0xgenesis", "0xa1", claim(7, Some(0)), Instant::now());
        ledger.note("0xother", "0xa2", claim(7, Some(0)), Instant::now());
        assert_eq!(doubles(&mut ledger), []);
        ledger.follow("0xother");
        ledger.note("0xother", "0xa2", claim(7, Some(0)), Instant::now());
        assert_eq!(doubles(&mut ledger), []);
        assert_eq!(ledger.noted(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_forgets_in_time_and_never_grows_without_end() {
        let mut ledger = ledger();
        for slot in 0..MAX_SLOTS as u64 * 2 {
            for hash in ["0xa", "0xb"] {
                let hash = format!("{hash}{slot}");
                ledger.note("0xgenesis", &hash, claim(slot, Some(0)), Instant::now());
            }
        }
        assert_eq!(ledger.blocks.len(), MAX_SLOTS);
        assert_eq!(ledger.doubles.len(), MAX_DOUBLES);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(ledger.doubles_since(Some(Instant::now()), |_| None).is_empty());
    }

    #[test]
    fn both_protocols_share_an_address() {
        let websocket = |url: &str| websocket(&url.parse().unwrap());
        assert_eq!(websocket("http://127.0.0.1:9944"), "ws://127.0.0.1:9944/");
        assert_eq!(websocket("https://rpc.example/x"), "wss://rpc.example/x");
        assert_eq!(websocket("ws://127.0.0.1:9944"), "ws://127.0.0.1:9944/");
    }
}
