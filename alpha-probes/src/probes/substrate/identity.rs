//! The probe `substrate.node`: who answers at this address.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::node::{self, Node};
use super::{answer_by, given_up};
use crate::check::ProbeConfig;
use crate::error::{ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_node",
    summary: "whether a node answers at an address, and which one it is",
    metrics: &[
        Metric::gauge(
            "is_expected",
            Unit::Boolean,
            "whether the node that answers is the one the check was written for",
        ),
        Metric::gauge(
            "is_authority",
            Unit::Boolean,
            "whether the node was started to sign blocks and votes",
        ),
        Metric::gauge(
            "is_legacy",
            Unit::Boolean,
            "whether the node answers on the port that HTTP had before June 2023 only",
        ),
        Metric::gauge("best", Unit::Count, "height of the best block"),
        Metric::gauge("finalized", Unit::Count, "height of the last final block"),
        Metric::gauge("uptime", Unit::Seconds, "how long the process has been running"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "is_expected == false",
            sustained: "",
            says: "another node answers here: {mismatch}",
            remedy: "A node whose port is taken picks another one silently: look which process listens, and stop the wrong one.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "is_legacy == true",
            sustained: "",
            says: "the node answers on port {legacy_port} only, as clients before June 2023 did",
            remedy: "Upgrade the node's client.",
        },
    ],
};

/// The table `substrate.node` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The address of the node's JSON-RPC: `http://127.0.0.1:9944`.
    pub node: Url,
    /// The address of its metrics, which tell when its process was started: `http://127.0.0.1:9615/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Url>,
    /// The peer id it must have. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<String>,
    /// The hash of the first block of its chain. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<String>,
}

impl NodeConfig {
    /// Any node at this address.
    pub fn new(node: Url) -> Self {
        Self {
            node,
            metrics: None,
            peer_id: None,
            genesis: None,
        }
    }
}

impl ProbeConfig for NodeConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let node = node::open(resources, &self.node, self.metrics.as_ref())?;
        Ok(Arc::new(NodeProbe {
            target: node.rpc.address(),
            config: self.clone(),
            node,
        }))
    }
}

#[derive(Debug)]
struct NodeProbe {
    node: Arc<Node>,
    target: String,
    config: NodeConfig,
}

#[async_trait]
impl Probe for NodeProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let look = match answer_by(context, self.node.look(context)).await {
            Ok(Ok(look)) => look,
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) => {
                return Ok(Observation::failed(error.to_text()));
            }
            Ok(Err(error)) => return Err(error),
            Err(after) => return Ok(Observation::failed(given_up(&self.target, after))),
        };
        let mut mismatches = Vec::new();
        let mut expect = |what, expected: Option<&String>, found: Option<&str>| {
            if let Some(expected) = expected
                && Some(expected.as_str()) != found
            {
                mismatches.push(text!(
                    "its {what} is {found}, expected {expected}",
                    what = what,
                    found = found.unwrap_or("not told"),
                    expected = expected
                ));
            }
        };
        expect("peer id", self.config.peer_id.as_ref(), look.peer_id.as_deref());
        expect("genesis", self.config.genesis.as_ref(), Some(&look.genesis));
        let (chain, name, version) = tokio::join!(
            self.node.rpc.call::<String>("system_chain", &[]),
            self.node.rpc.call::<String>("system_name", &[]),
            self.node.rpc.call::<String>("system_version", &[]),
        );
        let mut observation = look
            .observation()
            .with_bool("is_expected", mismatches.is_empty())
            .with_bool("is_authority", look.is_authority())
            .with_bool("is_legacy", self.node.rpc.is_legacy())
            .with("best", look.best.number as f64, Unit::Count)
            .with("finalized", look.finalized.number as f64, Unit::Count)
            .with_fact("roles", look.roles.clone());
        for (fact, value) in [("chain", chain), ("client", name), ("client_version", version)] {
            if let Ok(value) = value {
                observation = observation.with_fact(fact, value);
            }
        }
        if let Some(uptime) = look.uptime() {
            observation = observation.with_seconds("uptime", uptime);
        }
        if !mismatches.is_empty() {
            observation = observation.with_fact("mismatch", crate::Text::list(mismatches).to_string());
        }
        Ok(observation)
    }
}
