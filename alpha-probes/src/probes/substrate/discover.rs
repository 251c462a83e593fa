//! Finding out whether there is a node at an address, and of what sort.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::given_up;
use super::node::Node;
use super::rpc::Refusal;
use crate::clock::SystemClock;
use crate::error::{Error, ErrorKind, Result};
use crate::probe::Context;

/// What a node tells about itself to whoever finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Discovered {
    /// Where it answers, which is not where it was looked for if that was port 9944 and it is from before 2023.
    pub url: Url,
    /// What its client is called: `Parity Polkadot`.
    pub client: String,
    /// The version of its client: `1.18.6-0123456789a`.
    pub version: String,
    /// What its chain is called: `Polkadot`.
    pub chain: String,
    /// The hash of its chain's first block.
    pub genesis: String,
    /// Its name in the peer-to-peer network, where it tells.
    pub peer_id: Option<String>,
    /// `Full`, `Authority`, or what else it calls itself.
    pub roles: Vec<String>,
    /// How many peers it has.
    pub peers: u64,
    /// Height of its best block.
    pub best: u64,
    /// Whether it was started to sign blocks and votes. Whoever restarts such a node risks its stake.
    ///
    /// `None` where it does not tell its roles: treat it as one that signs.
    pub is_signer: Option<bool>,
}

/// Asks whether a node answers at `url`, and of what sort it is. Changes nothing, and gives up after `patience`.
///
/// # Errors
/// [`ErrorKind::Unreachable`] where nothing answers, [`ErrorKind::Malformed`] where something else than a node does,
/// [`ErrorKind::Timeout`] after `patience`, [`ErrorKind::Denied`] where it answers only to refuse.
pub async fn discover(url: &Url, patience: Duration) -> Result<Discovered> {
    let node = Node::new(url)?;
    let context = Context::new(&SystemClock, Instant::now() + patience);
    match tokio::time::timeout_at(context.deadline, ask(&node, &context)).await {
        Ok(found) => found,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            given_up(&node.rpc.address(), patience),
        )),
    }
}

async fn ask(node: &Node, context: &Context<'_>) -> Result<Discovered> {
    let rpc = &node.rpc;
    // One question first, so that something else that listens there is bothered by a single one.
    let client: String = rpc.call("system_name", &[]).await?;
    let (version, chain, look, roles) = tokio::try_join!(
        async { Ok::<String, Error>(rpc.call("system_version", &[]).await?) },
        async { Ok(rpc.call::<String>("system_chain", &[]).await?) },
        node.look(context),
        async {
            let roles = rpc.call::<Vec<String>>("system_nodeRoles", &[]).await;
            Ok(Refusal::unless_missing(roles)?)
        },
    )?;
    let mut answered = rpc.url().clone();
    if rpc.is_legacy() {
        let _ = answered.set_port(Some(9933));
    }
    Ok(Discovered {
        url: answered,
        client,
        version,
        chain,
        genesis: look.genesis.clone(),
        peer_id: look.peer_id.clone(),
        peers: look.health.peers,
        best: look.best.number,
        is_signer: roles.as_ref().map(|_| look.is_authority()),
        roles: roles.unwrap_or_default(),
    })
}
