//! The probe `substrate.slashes`: slashes that the chain has decided on and not taken yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use scale_value::{Composite, Primitive, Value, ValueDef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::account::Account;
use super::node::{self, Node};
use super::{hex, named_accounts, storage, within};
use crate::check::ProbeConfig;
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_slashes",
    summary: "whether the chain holds a slash of a validator that it has not taken yet",
    metrics: &[
        Metric::gauge(
            "slashes",
            Unit::Count,
            "slashes of the validators that are looked at, waiting to be taken",
        ),
        Metric::gauge("foreign_slashes", Unit::Count, "the same of any other validator"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "slashes > 0",
            sustained: "",
            says: "a slash of {slashed} is waiting to be taken",
            remedy: "Stop whatever signs twice first. Until the deferral ends the chain's governance can cancel the slash: gather the evidence and ask for it.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "foreign_slashes > 0",
            sustained: "",
            says: "a slash of another validator is waiting to be taken: {foreign_slashed}",
            remedy: "Whoever nominates it loses a part too; tell its operator.",
        },
    ],
};

/// The most slashes that are read; a chain that slashes more of its validators at a time has other troubles.
const MAX_SLASHES: u64 = 512;

/// How many names a list has at most.
const MAX_NAMES: usize = 20;

/// The table `substrate.slashes` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SlashesConfig {
    /// The address of the JSON-RPC of a node of the chain that has the stakes: the relay chain, or its Asset Hub where
    /// staking has moved there.
    pub node: Url,
    /// Our validators, by what people call them and the addresses of their stashes: `{ alice = "5Grw…" }`. A slash of
    /// any other is a warning. Default: all are ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub validators: BTreeMap<String, String>,
}

impl SlashesConfig {
    /// Slashes of all validators, as the node at this address sees them.
    pub fn new(node: Url) -> Self {
        Self {
            node,
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

impl ProbeConfig for SlashesConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, None)?;
        let mut ours = BTreeSet::new();
        for (name, account) in named_accounts("validators", &self.validators)? {
            node.call_by_name(account, &name);
            ours.insert(account);
        }
        Ok(Arc::new(SlashesProbe {
            target: node.rpc.address(),
            node,
            ours,
        }))
    }
}

#[derive(Debug)]
struct SlashesProbe {
    node: Arc<Node>,
    ours: BTreeSet<Account>,
    target: String,
}

impl SlashesProbe {
    /// Who is to be slashed, once for each slash.
    ///
    /// Chains keep a list of slashes an era, and newer ones one entry a slash; the types of the runtime tell which.
    async fn slashed(&self, at: &str) -> Result<Vec<Account>> {
        let kind = self.node.required_item("Staking", "UnappliedSlashes").await?;
        let prefix = hex::encode(&storage::item_key("Staking", "UnappliedSlashes"));
        let page = [json!(prefix), json!(MAX_SLASHES), json!(null), json!(at)];
        let keys: Vec<String> = self.node.rpc.call("state_getKeysPaged", &page).await?;
        let metadata = self.node.metadata().await?;
        let mut slashed = Vec::new();
        for key in keys {
            let not_understood = || self.node.not_understood("Staking.UnappliedSlashes");
            let key = hex::decode(&key).ok_or_else(not_understood)?;
            // It may be taken between the two questions.
            let Some(bytes) = self.node.storage_at(&key, at).await? else {
                continue;
            };
            let value = metadata.value(kind, &bytes).ok_or_else(not_understood)?;
            slashed.extend(validators_of(&value).ok_or_else(not_understood)?);
        }
        Ok(slashed)
    }
}

/// The accounts in the field `validator` of a slash, or of each slash of a list.
fn validators_of(value: &Value<u32>) -> Option<Vec<Account>> {
    match &value.value {
        ValueDef::Composite(Composite::Named(fields)) => {
            let validator = fields.iter().find(|(name, _)| name == "validator");
            match (validator, fields.as_slice()) {
                (Some((_, account)), _) => Some(vec![account_of(account)?]),
                // A bounded list is a wrapper around a list.
                (None, [(_, only)]) => validators_of(only),
                _ => None,
            }
        }
        ValueDef::Composite(Composite::Unnamed(elements)) => {
            let each = elements.iter().map(validators_of);
            Some(each.collect::<Option<Vec<_>>>()?.concat())
        }
        _ => None,
    }
}

/// The 32 bytes of an account, however many wrappers lie around them.
fn account_of(value: &Value<u32>) -> Option<Account> {
    let ValueDef::Composite(fields) = &value.value else {
        return None;
    };
    let fields: Vec<_> = fields.values().collect();
    if let [only] = fields.as_slice() {
        return account_of(only);
    }
    let byte = |value: &&Value<u32>| match value.value {
        ValueDef::Primitive(Primitive::U128(byte)) => u8::try_from(byte).ok(),
        _ => None,
    };
    let bytes: Vec<u8> = fields.iter().map(byte).collect::<Option<_>>()?;
    bytes.try_into().ok().map(Account)
}

#[async_trait]
impl Probe for SlashesProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        within(context, &self.target, async {
            let look = self.node.look(context).await?;
            let slashed = self.slashed(&look.best.hash).await?;
            let is_ours = |account: &Account| self.ours.is_empty() || self.ours.contains(account);
            let (ours, foreign): (Vec<_>, Vec<_>) = slashed.into_iter().partition(is_ours);
            let prefix = self.node.address_prefix().await;
            let mut observation = look
                .observation()
                .with("slashes", ours.len() as f64, Unit::Count)
                .with("foreign_slashes", foreign.len() as f64, Unit::Count);
            for (fact, accounts) in [("slashed", ours), ("foreign_slashed", foreign)] {
                let names: BTreeSet<_> = accounts
                    .iter()
                    .map(|account| self.node.name(account, prefix))
                    .collect();
                if !names.is_empty() {
                    let names: Vec<_> = names.into_iter().take(MAX_NAMES).collect();
                    observation = observation.with_fact(fact, names.join(", "));
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

    fn value(value: ValueDef<u32>) -> Value<u32> {
        Value::with_context(value, 0)
    }

    fn unnamed(fields: Vec<Value<u32>>) -> Value<u32> {
        value(ValueDef::Composite(Composite::Unnamed(fields)))
    }

    fn slash(byte: u8) -> Value<u32> {
        let number = |number: u8| value(ValueDef::Primitive(Primitive::U128(number.into())));
        // `AccountId32([u8; 32])`: an array in a tuple struct.
        let account = unnamed(vec![unnamed(vec![number(byte); 32])]);
        value(ValueDef::Composite(Composite::Named(vec![
            ("validator".to_owned(), account),
            ("own".to_owned(), number(7)),
            ("others".to_owned(), unnamed(Vec::new())),
        ])))
    }

    #[test]
    fn the_slashed_are_found_in_both_shapes() {
        let accounts = |bytes: &[u8]| Some(bytes.iter().map(|byte| Account([*byte; 32])).collect());
        assert_eq!(validators_of(&slash(3)), accounts(&[3]));
        assert_eq!(
            validators_of(&unnamed(vec![slash(1), slash(2)])),
            accounts(&[1, 2])
        );
        assert_eq!(validators_of(&unnamed(Vec::new())), accounts(&[]));
        assert_eq!(
            validators_of(&value(ValueDef::Primitive(Primitive::Bool(true)))),
            None
        );
    }
}
