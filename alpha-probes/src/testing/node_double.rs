//! A Substrate node made of a script: it answers JSON-RPC byte for byte as a real one, and fails on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use frame_metadata::RuntimeMetadataPrefixed;
use frame_metadata::v14::{
    ExtrinsicMetadata, PalletMetadata, PalletStorageMetadata, RuntimeMetadataV14, StorageEntryMetadata,
    StorageEntryModifier, StorageEntryType, StorageHasher,
};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parity_scale_codec::Encode as _;
use scale_info::{MetaType, meta_type};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use crate::probes::substrate::{account::Account, hex, storage};

/// How a node fails.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// It takes so long before it answers.
    Slow(Duration),
    /// It never answers.
    Hang,
    /// It closes the connection in the middle of its answer.
    Truncated,
    /// It answers with this status and text instead of JSON-RPC.
    Status(u16, &'static str),
    /// It answers with this code and message.
    Error(i32, &'static str),
    /// It answers with this text, whatever was asked.
    Garbage(&'static str),
    /// It knows no such method.
    Missing,
}

impl Fault {
    /// What a node says to whoever calls an unsafe method from outside.
    pub const UNSAFE: Self = Self::Error(-32601, "RPC call is unsafe to be called externally");
    /// What a node says that does not vote, or has only just started.
    pub const NOT_READY: Self = Self::Error(1, "GRANDPA RPC endpoint not ready");
    /// What a node says to whoever asks too often.
    pub const RATE_LIMITED: Self = Self::Error(-32999, "RPC rate limit exceeded");
    /// What a node says to whoever calls it by a name it does not go by.
    pub const FOREIGN_HOST: Self = Self::Status(403, "Provided Host header is not whitelisted.\n");
    /// What a node says that has too many connections.
    pub const BUSY: Self = Self::Status(429, "Too many connections. Please try again later.");
}

/// One block of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    slot: u64,
    author: u32,
    is_primary: bool,
}

/// The round of the vote for finality that a node is in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Vote {
    /// Counts the sets of voters.
    pub set_id: u64,
    /// Counts the rounds.
    pub round: u64,
    /// Places of the voters whose votes of the first kind are missing.
    pub prevotes_missing: BTreeSet<usize>,
    /// Places of the voters whose votes of the second kind are missing.
    pub precommits_missing: BTreeSet<usize>,
}

/// Everything that a [`NodeDouble`] answers from. Change any of it at any time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Script {
    /// What its client is called.
    pub client: String,
    /// The version of its client.
    pub version: String,
    /// What its chain is called.
    pub chain: String,
    /// Its name in the peer-to-peer network.
    pub peer_id: String,
    /// `Full` or `Authority`.
    pub roles: Vec<String>,
    /// The hash of its chain's first block.
    pub genesis: String,
    /// The version of its runtime.
    pub spec_version: u32,
    /// The interfaces of its runtime: `BabeApi`, `GrandpaApi`, `AuraApi`, `CollectCollationInfo`.
    pub apis: Vec<&'static str>,
    /// The heights of its peers.
    pub peers: Vec<u64>,
    /// Whether it says that it is catching up.
    pub is_syncing: bool,
    /// Whether its chain has bootnodes.
    pub should_have_peers: bool,
    /// How many of its blocks are final.
    pub finalized: u64,
    /// How far the chain's clock is ahead of the slots; negative is behind.
    pub time_offset_millis: i64,
    /// The accounts that validate.
    pub validators: Vec<[u8; 32]>,
    /// The accounts that validate in the next session.
    pub queued: Vec<[u8; 32]>,
    /// Places of validators that are barred; as runtimes since 2024 keep them.
    pub disabled: Vec<u32>,
    /// Whether the runtime has sessions at all.
    pub has_sessions: bool,
    /// Whether the runtime has a place for an authorised upgrade, and the code hash in it.
    pub authorized_upgrade: Option<Option<[u8; 32]>>,
    /// Whether its keystore holds the session keys of its validators.
    pub holds_keys: bool,
    /// The vote for finality; a node of a chain without one has none.
    pub vote: Option<Vote>,
    /// How it fails, by method; the empty name stands for all of them.
    pub faults: BTreeMap<&'static str, Fault>,
    blocks: Vec<Block>,
    slot_millis: u64,
}

/// A slot of the chain of the script lasts as long as on most chains.
pub const SLOT: Duration = Duration::from_secs(6);

impl Script {
    /// A validator of a healthy chain of four with BABE and GRANDPA and three peers; the chain has no blocks yet.
    pub fn relay() -> Self {
        let validators: Vec<[u8; 32]> = (1..=4).map(|byte| [byte; 32]).collect();
        Self {
            client: "Parity Polkadot".to_owned(),
            version: "1.25.1-00000000000".to_owned(),
            chain: "Alpha Local".to_owned(),
            peer_id: "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".to_owned(),
            roles: vec!["Authority".to_owned()],
            genesis: "0xd0e3fae1570c0e5994e0e5a97950ce8cd7fa4dce448f2acde51edd29b6033eda".to_owned(),
            spec_version: 1_001_002,
            apis: vec!["BabeApi", "GrandpaApi"],
            peers: vec![0; 3],
            is_syncing: false,
            should_have_peers: false,
            finalized: 0,
            time_offset_millis: 0,
            queued: validators.clone(),
            validators,
            disabled: Vec::new(),
            has_sessions: true,
            authorized_upgrade: Some(None),
            holds_keys: true,
            vote: Some(Vote {
                set_id: 0,
                round: 1,
                prevotes_missing: BTreeSet::new(),
                precommits_missing: BTreeSet::new(),
            }),
            faults: BTreeMap::new(),
            blocks: Vec::new(),
            slot_millis: 6000,
        }
    }

    /// A development node: alone, no authority, no vote, and a clock of its own that is two hours behind.
    pub fn development() -> Self {
        Self {
            client: "polkadot-omni-node".to_owned(),
            chain: "Alpha Dev".to_owned(),
            roles: vec!["Full".to_owned()],
            spec_version: 9360,
            apis: vec!["AuraApi", "CollectCollationInfo"],
            peers: Vec::new(),
            time_offset_millis: -2 * 3_600_000,
            has_sessions: false,
            authorized_upgrade: None,
            vote: None,
            ..Self::relay()
        }
    }

    /// Adds a block in `slot` by the validator at that place, assigned to it; all but two blocks are final.
    pub fn add_block(&mut self, slot: u64, author: u32) {
        self.blocks.push(Block {
            slot,
            author,
            is_primary: false,
        });
        self.peers = vec![self.best(); self.peers.len()];
        self.finalized = self.finalized.max(self.best().saturating_sub(2));
    }

    /// Adds a block for every slot since the last block up to `slot`, each by whom the slot is assigned to, but none
    /// for the slots of the validators at the places in `silent`.
    pub fn run_until(&mut self, slot: u64, silent: &[u32]) {
        let next = self
            .blocks
            .last()
            .map_or(slot.saturating_sub(40), |block| block.slot + 1);
        for slot in next..=slot {
            let author = self.assigned(slot);
            if !silent.contains(&author) {
                self.add_block(slot, author);
            }
        }
    }

    /// To whom `slot` is assigned.
    pub fn assigned(&self, slot: u64) -> u32 {
        let epoch = crate::probes::substrate::slots::Slots::babe(&self.epoch());
        epoch.and_then(|epoch| epoch.assigned(slot)).unwrap_or_default()
    }

    /// The height of the best block.
    pub fn best(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// A fault of one method, or of all where `method` is empty.
    pub fn fail(&mut self, method: &'static str, fault: Fault) {
        self.faults.insert(method, fault);
    }

    fn epoch(&self) -> Vec<u8> {
        let authorities: Vec<([u8; 32], u64)> = self.validators.iter().map(|key| (*key, 1)).collect();
        (
            0_u64,
            0_u64,
            600_u64,
            authorities,
            [0_u8; 32],
            (1_u64, 4_u64),
            2_u8,
        )
            .encode()
    }

    fn hash(&self, number: u64) -> String {
        match number {
            0 => self.genesis.clone(),
            _ => {
                let slot = self.block(number).map_or(0, |block| block.slot);
                format!("0x{number:032x}{slot:032x}")
            }
        }
    }

    fn number(&self, hash: &str) -> Option<u64> {
        (0..=self.best()).rev().find(|number| self.hash(*number) == hash)
    }

    fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    fn header(&self, number: u64) -> String {
        let parent = match number.checked_sub(1) {
            Some(parent) => self.hash(parent),
            None => format!("0x{}", "0".repeat(64)),
        };
        let is_babe = self.apis.contains(&"BabeApi");
        let log = self.block(number).map(|block| {
            let (engine, payload) = if is_babe {
                let variant = if block.is_primary { 1_u8 } else { 3 };
                (b"BABE", (variant, block.author, block.slot, [0_u8; 96]).encode())
            } else {
                (b"aura", block.slot.encode())
            };
            let mut log = vec![6];
            log.extend(engine);
            log.extend(payload.encode());
            format!("\"{}\"", hex::encode(&log))
        });
        format!(
            r#"{{"parentHash":"{parent}","number":"0x{number:x}","stateRoot":"0x{zero}","extrinsicsRoot":"0x{zero}","digest":{{"logs":[{log}]}}}}"#,
            zero = "0".repeat(64),
            log = log.unwrap_or_default()
        )
    }

    /// The raw value of a storage item at a block.
    fn stored(&self, key: &str, number: u64) -> Option<Vec<u8>> {
        let is = |pallet, item| hex::encode(&storage::item_key(pallet, item)) == key;
        let keys = |account: &[u8; 32]| vec![account[0]; 192];
        if is("Timestamp", "Now") {
            let slot = self.block(number)?.slot;
            let millis = (slot * self.slot_millis).saturating_add_signed(self.time_offset_millis);
            return Some(millis.encode());
        }
        if is("System", "AuthorizedUpgrade") {
            return self
                .authorized_upgrade
                .flatten()
                .map(|hash| (hash, true).encode());
        }
        if !self.has_sessions {
            return None;
        }
        if is("Session", "Validators") {
            return Some(self.validators.encode());
        }
        if is("Session", "QueuedKeys") {
            let mut bytes = parity_scale_codec::Compact(self.queued.len() as u32).encode();
            for account in &self.queued {
                bytes.extend(account);
                bytes.extend(keys(account));
            }
            return Some(bytes);
        }
        if is("Session", "DisabledValidators") {
            let disabled: Vec<(u32, u8)> = self.disabled.iter().map(|place| (*place, 0)).collect();
            return (!disabled.is_empty()).then(|| disabled.encode());
        }
        let mut accounts = self.validators.iter();
        accounts
            .find(|account| hex::encode(&storage::map_key("Session", "NextKeys", *account)) == key)
            .map(keys)
    }

    fn metadata(&self) -> Vec<u8> {
        let mut pallets = vec![
            pallet("Timestamp", vec![item("Now", meta_type::<u64>())]),
            pallet(
                "System",
                match self.authorized_upgrade {
                    Some(_) => vec![item("AuthorizedUpgrade", meta_type::<([u8; 32], bool)>())],
                    None => Vec::new(),
                },
            ),
        ];
        if self.has_sessions {
            let mut next_keys = item("NextKeys", meta_type::<()>());
            next_keys.ty = StorageEntryType::Map {
                hashers: vec![StorageHasher::Twox64Concat],
                key: meta_type::<[u8; 32]>(),
                value: meta_type::<[u8; 192]>(),
            };
            let items = vec![
                item("Validators", meta_type::<Vec<[u8; 32]>>()),
                item("QueuedKeys", meta_type::<Vec<([u8; 32], [u8; 192])>>()),
                item("DisabledValidators", meta_type::<Vec<(u32, u8)>>()),
                next_keys,
            ];
            pallets.push(pallet("Session", items));
        }
        let extrinsic = ExtrinsicMetadata {
            ty: meta_type::<()>(),
            version: 4,
            signed_extensions: Vec::new(),
        };
        RuntimeMetadataPrefixed::from(RuntimeMetadataV14::new(pallets, extrinsic, meta_type::<()>())).encode()
    }

    fn round_state(&self) -> Option<String> {
        let vote = self.vote.as_ref()?;
        let total = self.validators.len();
        let threshold = total - (total.saturating_sub(1)) / 3;
        let votes = |missing: &BTreeSet<usize>| {
            let names: Vec<String> = missing
                .iter()
                .filter_map(|place| Some(Account(*self.validators.get(*place)?).address(0)))
                .collect();
            format!(
                r#"{{"currentWeight":{},"missing":{}}}"#,
                total - names.len(),
                Value::from(names)
            )
        };
        Some(format!(
            r#"{{"setId":{},"best":{{"round":{},"totalWeight":{total},"thresholdWeight":{threshold},"prevotes":{},"precommits":{}}},"background":[]}}"#,
            vote.set_id,
            vote.round,
            votes(&vote.prevotes_missing),
            votes(&vote.precommits_missing)
        ))
    }

    /// The result of a method as JSON text, or the code, the message and the data of an error.
    fn answer(&self, method: &str, params: &[Value]) -> Result<String, (i32, String)> {
        let missing = || Err((-32601, "Method not found".to_owned()));
        let text = |text: &str| Ok(Value::from(text).to_string());
        let at = params.last().and_then(Value::as_str);
        let number = || {
            let number = at.map_or(Some(self.best()), |hash| self.number(hash));
            number.ok_or_else(|| {
                let hash = at.unwrap_or_default();
                let why = format!("Client error: UnknownBlock: Header was not found in the database: {hash}");
                (4003, why)
            })
        };
        match method {
            "system_health" => Ok(self.health()),
            "system_syncState" => {
                let best = self.best();
                // The median of the peers' heights, and only where it is above our own.
                let mut peers = self.peers.clone();
                peers.sort_unstable();
                let highest = peers
                    .get(peers.len() / 2)
                    .map_or(best, |median| best.max(*median));
                Ok(format!(
                    r#"{{"startingBlock":0,"currentBlock":{best},"highestBlock":{highest}}}"#
                ))
            }
            "system_peers" => {
                let peer = |(index, best): (usize, &u64)| {
                    format!(
                        r#"{{"peerId":"12D3KooWPeer{index}","roles":"AUTHORITY","bestHash":"{}","bestNumber":{best}}}"#,
                        self.hash(*best)
                    )
                };
                let peers: Vec<String> = self.peers.iter().enumerate().map(peer).collect();
                Ok(format!("[{}]", peers.join(",")))
            }
            "system_name" => text(&self.client),
            "system_version" => text(&self.version),
            "system_chain" => text(&self.chain),
            "system_localPeerId" => text(&self.peer_id),
            "system_nodeRoles" => Ok(Value::from(self.roles.clone()).to_string()),
            "system_properties" => {
                Ok(r#"{"ss58Format":42,"tokenDecimals":10,"tokenSymbol":"PAS"}"#.to_owned())
            }
            "chain_getBlockHash" => Ok(self.block_hash(params.first())),
            "chain_getFinalizedHead" => text(&self.hash(self.finalized)),
            "chain_getHeader" => Ok(number().map_or("null".to_owned(), |number| self.header(number))),
            "state_getRuntimeVersion" => Ok(self.runtime_version()),
            "state_getMetadata" => text(&hex::encode(&self.metadata())),
            "state_getStorage" => {
                let number = if params.len() > 1 { number()? } else { self.best() };
                let key = params.first().and_then(Value::as_str).unwrap_or_default();
                let value = self.stored(key, number).map(|bytes| hex::encode(&bytes));
                Ok(Value::from(value).to_string())
            }
            "state_call" => {
                let function = params.first().and_then(Value::as_str).unwrap_or_default();
                match self.runtime_call(function) {
                    Some(bytes) => text(&hex::encode(&bytes)),
                    None => Err((
                        4003,
                        format!(
                            "Client error: Execution failed: Other: Exported method {function} is not found"
                        ),
                    )),
                }
            }
            "author_hasSessionKeys" => Ok(self.holds_keys.to_string()),
            "grandpa_roundState" => self.round_state().map_or_else(missing, Ok),
            _ => missing(),
        }
    }

    fn health(&self) -> String {
        format!(
            r#"{{"peers":{},"isSyncing":{},"shouldHavePeers":{}}}"#,
            self.peers.len(),
            self.is_syncing,
            self.should_have_peers
        )
    }

    fn block_hash(&self, param: Option<&Value>) -> String {
        let one = |number: &Value| match number.as_u64() {
            Some(number) if number <= self.best() => json!(self.hash(number)),
            _ => Value::Null,
        };
        match param {
            None | Some(Value::Null) => json!(self.hash(self.best())),
            Some(Value::Array(numbers)) => numbers.iter().map(one).collect(),
            Some(number) => one(number),
        }
        .to_string()
    }

    fn runtime_version(&self) -> String {
        let apis: Vec<String> = self
            .apis
            .iter()
            .map(|api| format!(r#"["{}",1]"#, crate::probes::substrate::look::api_id(api)))
            .collect();
        format!(
            r#"{{"specName":"paseo","implName":"paseo-testnet","authoringVersion":0,"specVersion":{},"implVersion":0,"apis":[{}],"transactionVersion":25,"systemVersion":0,"stateVersion":0}}"#,
            self.spec_version,
            apis.join(",")
        )
    }

    fn runtime_call(&self, function: &str) -> Option<Vec<u8>> {
        let (api, _) = function.split_once('_')?;
        if !self.apis.contains(&api) {
            return None;
        }
        let authorities: Vec<([u8; 32], u64)> = self.validators.iter().map(|key| (*key, 1)).collect();
        match function {
            "BabeApi_configuration" | "AuraApi_slot_duration" => Some(self.slot_millis.encode()),
            "BabeApi_current_epoch" => Some(self.epoch()),
            "GrandpaApi_grandpa_authorities" => Some(authorities.encode()),
            "AuraApi_authorities" => Some(self.validators.encode()),
            _ => None,
        }
    }
}

fn pallet(name: &'static str, entries: Vec<StorageEntryMetadata>) -> PalletMetadata {
    PalletMetadata {
        name,
        storage: Some(PalletStorageMetadata {
            prefix: name,
            entries,
        }),
        calls: None,
        event: None,
        constants: Vec::new(),
        error: None,
        index: 0,
    }
}

fn item(name: &'static str, kind: MetaType) -> StorageEntryMetadata {
    StorageEntryMetadata {
        name,
        modifier: StorageEntryModifier::Optional,
        ty: StorageEntryType::Plain(kind),
        default: Vec::new(),
        docs: Vec::new(),
    }
}

/// A node on a free port of loopback that answers from a [`Script`]; it ends when dropped.
///
/// Its answers have the bytes of a real node's: the order of keys, the forms of numbers, the texts of errors. It speaks
/// plain HTTP; it has no subscriptions.
#[derive(Debug)]
pub struct NodeDouble {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    calls: Arc<Mutex<BTreeMap<String, u64>>>,
    task: JoinHandle<()>,
}

impl Drop for NodeDouble {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a question is at most.
const MAX_REQUEST_BYTES: usize = 1 << 20;

impl NodeDouble {
    /// Starts a node that answers from `script`.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        Self::serve(script, listener.expect("loopback has a free port"))
    }

    /// Starts a node that answers on this port of loopback.
    ///
    /// # Errors
    /// Where the port is taken.
    pub async fn start_at(script: Script, port: u16) -> std::io::Result<Self> {
        Ok(Self::serve(script, TcpListener::bind(("127.0.0.1", port)).await?))
    }

    fn serve(script: Script, listener: TcpListener) -> Self {
        let script = Arc::new(Mutex::new(script));
        let calls = Arc::new(Mutex::default());
        let address = listener.local_addr().expect("a bound socket has an address");
        let (served, counted) = (Arc::clone(&script), Arc::clone(&calls));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, Arc::clone(&served), Arc::clone(&counted)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            script,
            calls,
            task,
        }
    }

    /// Where it answers.
    ///
    /// # Panics
    /// Never: an address of loopback is an address.
    pub fn url(&self) -> Url {
        format!("http://{}", self.address)
            .parse()
            .expect("an address of loopback")
    }

    /// What it answers from, to be changed.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    /// How often `method` was called.
    pub fn calls(&self, method: &str) -> u64 {
        lock(&self.calls).get(method).copied().unwrap_or(0)
    }

    /// How often any method was called.
    pub fn all_calls(&self) -> u64 {
        lock(&self.calls).values().sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Calls = Mutex<BTreeMap<String, u64>>;

async fn connection(stream: TcpStream, script: Arc<Mutex<Script>>, calls: Arc<Calls>) {
    if lock(&script)
        .faults
        .values()
        .any(|fault| matches!(fault, Fault::Truncated))
    {
        return truncated(stream).await;
    }
    let service = hyper::service::service_fn(|request| {
        let (script, calls) = (Arc::clone(&script), Arc::clone(&calls));
        async move { Ok::<_, Infallible>(respond(request, &script, &calls).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Promises a hundred bytes, sends a few, and goes.
async fn truncated(mut stream: TcpStream) {
    let mut request = [0; 1024];
    let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: 100\r\n\r\n{\"jsonrpc\"";
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn respond(request: Request<Incoming>, script: &Mutex<Script>, calls: &Calls) -> Response<Full<Bytes>> {
    if request.method() == Method::GET && request.uri().path() == "/health" {
        return reply(StatusCode::OK, JSON, lock(script).health());
    }
    if request.method() == Method::GET && request.uri().path() == "/health/readiness" {
        let script = lock(script);
        let is_ready = (!script.is_syncing && !script.peers.is_empty()) || !script.should_have_peers;
        let status = if is_ready {
            StatusCode::OK
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        return reply(status, JSON, String::new());
    }
    if request.method() != Method::POST {
        let text = "Used HTTP Method is not allowed. POST is required\n";
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, text.to_owned());
    }
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json")) {
        let text = "Supplied content type is not allowed. Content-Type: application/json is required\n";
        return reply(StatusCode::UNSUPPORTED_MEDIA_TYPE, TEXT, text.to_owned());
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES)
        .collect()
        .await;
    let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Ok(question) = serde_json::from_slice::<Value>(&bytes) else {
        return reply(
            StatusCode::BAD_REQUEST,
            JSON,
            error("null", -32700, "Parse error"),
        );
    };
    let Some(method) = question.get("method").and_then(Value::as_str) else {
        return reply(StatusCode::OK, JSON, error("null", -32700, "Parse error"));
    };
    *lock(calls).entry(method.to_owned()).or_default() += 1;
    let id = question.get("id").unwrap_or(&Value::Null).to_string();
    let fault = {
        let script = lock(script);
        script
            .faults
            .get(method)
            .or_else(|| script.faults.get(""))
            .cloned()
    };
    match fault {
        Some(Fault::Slow(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(status, text)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return reply(status, TEXT, text.to_owned());
        }
        Some(Fault::Error(code, message)) => return reply(StatusCode::OK, JSON, error(&id, code, message)),
        Some(Fault::Garbage(text)) => return reply(StatusCode::OK, JSON, text.to_owned()),
        Some(Fault::Missing) => {
            return reply(StatusCode::OK, JSON, error(&id, -32601, "Method not found"));
        }
        Some(Fault::Truncated) | None => {}
    }
    let params = match question.get("params") {
        Some(Value::Array(params)) => params.clone(),
        _ => Vec::new(),
    };
    let answer = lock(script).answer(method, &params);
    let body = match answer {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err((code, message)) => error(&id, code, &message),
    };
    reply(StatusCode::OK, JSON, body)
}

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain";

fn error(id: &str, code: i32, message: &str) -> String {
    let message = Value::from(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#)
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
