//! The probe `substrate.runtime`: which runtime the chain runs, and whether another is coming.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::node::{self, Node};
use super::storage::Presence;
use super::{hex, within};
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_runtime",
    summary: "which runtime the chain runs, and whether an upgrade of it is announced",
    metrics: &[
        Metric::gauge("spec_version", Unit::Count, "version of the runtime"),
        Metric::gauge(
            "transaction_version",
            Unit::Count,
            "version of the form in which the runtime takes transactions",
        ),
        Metric::gauge(
            "is_upgrade_pending",
            Unit::Boolean,
            "whether the chain has an upgrade of the runtime on record that has not happened yet",
        ),
        Metric::gauge(
            "has_changed",
            Unit::Boolean,
            "whether another runtime took over while it was watched, within the last hour",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Warning,
            when: "is_upgrade_pending == true",
            sustained: "",
            says: "a runtime upgrade is pending: {pending}",
            remedy: "Upgrade the clients first: one that is too old for the new runtime stops at the block that enacts it.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has_changed == true",
            sustained: "",
            says: "the runtime has just changed to version {spec_version}",
            remedy: "Look whether everything that reads this chain still understands it.",
        },
    ],
};

/// For how long a change of the runtime is news.
const NEWS: std::time::Duration = std::time::Duration::from_secs(3600);

/// The table `substrate.runtime` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RuntimeConfig {
    /// The address of the node's JSON-RPC.
    pub node: Url,
}

impl RuntimeConfig {
    /// The runtime of the chain that the node at this address follows.
    pub fn new(node: Url) -> Self {
        Self { node }
    }
}

impl ProbeConfig for RuntimeConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, None)?;
        Ok(Arc::new(RuntimeProbe {
            target: node.rpc.address(),
            node,
        }))
    }
}

#[derive(Debug)]
struct RuntimeProbe {
    node: Arc<Node>,
    target: String,
}

/// Where chains announce an upgrade, by pallet and item; older ones know only some of these, and some none.
const ANNOUNCEMENTS: [(&str, &str); 3] = [
    ("System", "AuthorizedUpgrade"),
    ("ParachainSystem", "AuthorizedUpgrade"),
    ("ParachainSystem", "PendingValidationCode"),
];

impl RuntimeProbe {
    /// What is announced, in words.
    ///
    /// # Errors
    /// [`ErrorKind::NotApplicable`] where this chain has no place to announce anything.
    async fn pending(&self, at: &str) -> Result<Vec<String>> {
        let metadata = self.node.metadata().await?;
        let mut places = 0;
        let mut pending = Vec::new();
        for (pallet, item) in ANNOUNCEMENTS {
            if !matches!(metadata.presence(pallet, item), Presence::Item(_)) {
                continue;
            }
            places += 1;
            match self.node.storage(pallet, item, at).await? {
                // An upgrade is authorised by the hash of its code; code itself is megabytes and not repeated.
                Some(bytes) if item == "AuthorizedUpgrade" => {
                    let hash = bytes.get(..32).unwrap_or(&bytes);
                    pending.push(format!("{pallet}.{item} {}", hex::encode(hash)));
                }
                Some(bytes) if !bytes.is_empty() => pending.push(format!("{pallet}.{item}")),
                _ => {}
            }
        }
        if places == 0 {
            return Err(Error::new(
                ErrorKind::NotApplicable,
                text!(
                    "this chain announces no upgrades: it keeps neither an authorised one nor pending code"
                ),
            ));
        }
        Ok(pending)
    }
}

#[async_trait]
impl Probe for RuntimeProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        within(context, &self.target, async {
            let look = self.node.look(context).await?;
            let pending = self.pending(&look.best.hash).await?;
            let version = &look.runtime.version;
            let has_changed = {
                let memory = self.node.memory();
                memory.spec_version.has_changed() && memory.spec_version.flat_for(Instant::now()) < NEWS
            };
            let mut observation = look
                .observation()
                .with("spec_version", f64::from(version.spec_version), Unit::Count)
                .with(
                    "transaction_version",
                    f64::from(version.transaction_version),
                    Unit::Count,
                )
                .with_bool("is_upgrade_pending", !pending.is_empty())
                .with_bool("has_changed", has_changed);
            if !pending.is_empty() {
                observation = observation.with_fact("pending", pending.join(", "));
            }
            let client: Result<String, _> = self.node.rpc.call("system_version", &[]).await;
            if let Ok(client) = client {
                observation = observation.with_fact("client_version", client);
            }
            Ok(observation)
        })
        .await
    }
}
