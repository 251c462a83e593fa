//! The probe `substrate.keys`: whether a validator's node holds the keys that the chain expects of it.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::account::Account;
use super::node::{self, Node};
use super::session::Session;
use super::{hex, not_an_account, storage, within};
use crate::check::ProbeConfig;
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_keys",
    summary: "whether a validator's node holds the session keys that the chain has on record for it",
    metrics: &[
        Metric::gauge(
            "has_keys",
            Unit::Boolean,
            "whether the account has session keys on record",
        ),
        Metric::gauge(
            "holds_next_keys",
            Unit::Boolean,
            "whether the node holds the keys on record, which act from the session after the next",
        ),
        Metric::gauge(
            "is_queued",
            Unit::Boolean,
            "whether the account validates in the next session",
        ),
        Metric::gauge(
            "holds_queued_keys",
            Unit::Boolean,
            "whether the node holds the keys that act in the next session; yes where it has none to hold",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "holds_queued_keys == false",
            sustained: "",
            says: "the node does not hold the keys that the account validates with in the next session",
            remedy: "Put the right keystore in place before the session starts, and make sure that no other node runs with it.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "has_keys == true && holds_next_keys == false && holds_queued_keys == true",
            sustained: "",
            says: "the session keys on record for the account are not in this node's keystore",
            remedy: "Either the check asks the wrong node, or set_keys was sent with keys of another one.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has_keys == false",
            sustained: "",
            says: "the account has no session keys on record, so it cannot validate",
            remedy: "Rotate the keys on its node and register them with set_keys.",
        },
    ],
};

/// The table `substrate.keys` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeysConfig {
    /// The address of the validator's own JSON-RPC, reached over loopback: it tells nobody else what keys it holds.
    pub node: Url,
    /// The address of the validator's stash.
    pub account: String,
}

impl KeysConfig {
    /// The keys of `account` in the node at this address.
    pub fn new(node: Url, account: &str) -> Self {
        Self {
            node,
            account: account.to_owned(),
        }
    }
}

impl ProbeConfig for KeysConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let account =
            Account::parse(&self.account).ok_or_else(|| not_an_account("account", &self.account))?;
        let node = node::open(resources, &self.node, None)?;
        Ok(Arc::new(KeysProbe {
            target: node.rpc.address(),
            node,
            account,
        }))
    }
}

#[derive(Debug)]
struct KeysProbe {
    node: Arc<Node>,
    account: Account,
    target: String,
}

impl KeysProbe {
    /// Whether all of `keys` are in the node's keystore. Asks only whether, and changes nothing.
    async fn holds(&self, keys: &[u8]) -> Result<bool> {
        let keys = [json!(hex::encode(keys))];
        Ok(self.node.rpc.call("author_hasSessionKeys", &keys).await?)
    }
}

#[async_trait]
impl Probe for KeysProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        within(context, &self.target, async {
            let look = self.node.look(context).await?;
            let at = &look.best.hash;
            let session = Session::read(&self.node, at).await?;
            let key = storage::map_key("Session", "NextKeys", &self.account.0);
            let next = self.node.storage_at(&key, at).await?;
            let queued = session
                .queued
                .iter()
                .find(|(account, _)| *account == self.account);
            let holds_next = match &next {
                Some(keys) => self.holds(keys).await?,
                None => false,
            };
            let holds_queued = match queued {
                Some((_, keys)) => self.holds(keys).await?,
                None => true,
            };
            let prefix = self.node.address_prefix().await;
            let observation = look.observation();
            Ok(observation
                .with_bool("has_keys", next.is_some())
                .with_bool("holds_next_keys", holds_next)
                .with_bool("is_queued", queued.is_some())
                .with_bool("holds_queued_keys", holds_queued)
                .with_fact("account", self.node.name(&self.account, prefix)))
        })
        .await
    }
}
