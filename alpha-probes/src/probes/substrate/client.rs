//! The probe `substrate.client`: whether the programs of the nodes are too old.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::node::{self, Node};
use super::within;
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_client",
    summary: "whether the programs of the nodes are older than they should be, or than each other",
    metrics: &[
        Metric::gauge("clients", Unit::Count, "nodes that told their version"),
        Metric::gauge("unreachable", Unit::Count, "nodes that could not be asked"),
        Metric::gauge("versions", Unit::Count, "different versions among them"),
        Metric::gauge(
            "outdated",
            Unit::Count,
            "nodes older than `minimum`; absent where it is not set",
        ),
        Metric::gauge("behind", Unit::Count, "nodes older than the newest of them"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "has(outdated) == true && outdated > 0",
            sustained: "",
            says: "older than {minimum}: {outdated_nodes}",
            remedy: "Upgrade the client before the runtime that needs it is enacted: an old one stops at that block.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "behind > 0",
            sustained: "",
            says: "the nodes run different clients, these are behind {newest}: {behind_nodes}",
            remedy: "Finish the roll-out, one signer at a time.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "unreachable > 0",
            sustained: "3 of 5",
            says: "could not be asked for their version: {silent}",
            remedy: "See whether they run and can be reached from here.",
        },
    ],
};

/// The table `substrate.client` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The addresses of the nodes' JSON-RPC.
    pub nodes: Vec<Url>,
    /// The oldest version that is new enough, such as `1.18.6`; what follows a `-` or `+` does not count. Default: none,
    /// the nodes are only compared with each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
}

impl ClientConfig {
    /// The clients of the nodes at these addresses.
    pub fn new(nodes: Vec<Url>) -> Self {
        Self { nodes, minimum: None }
    }
}

impl ProbeConfig for ClientConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let refused = |text| Err(Error::new(ErrorKind::InvalidConfig, text));
        let minimum = match &self.minimum {
            None => None,
            Some(minimum) => match Version::parse(minimum) {
                Some(version) => Some((minimum.clone(), version)),
                None => {
                    return refused(text!(
                        "`minimum` is no version: expected one such as 1.18.6, found \"{found}\"",
                        found = minimum
                    ));
                }
            },
        };
        if self.nodes.is_empty() || (self.nodes.len() == 1 && minimum.is_none()) {
            return refused(text!(
                "there is nothing to compare with: set `minimum`, or name several `nodes`"
            ));
        }
        let nodes = self.nodes.iter().map(|url| node::open(resources, url, None));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(ClientProbe {
            target: nodes[0].rpc.address(),
            nodes,
            minimum,
        }))
    }
}

/// The numbers of a version, those that count most first.
#[derive(Clone, Debug)]
struct Version(Vec<u64>);

impl Version {
    /// Reads `1.18.6`, `v1.18.6` or `1.18.6-a1b2c3d`; `None` where it does not begin with numbers.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let numbers = text.split(['-', '+', ' ']).next()?;
        let numbers = numbers.split('.').map(str::parse);
        numbers.collect::<Result<Vec<u64>, _>>().ok().map(Self)
    }

    fn number(&self, place: usize) -> u64 {
        self.0.get(place).copied().unwrap_or(0)
    }

    /// Which is newer; a number that is left out counts as zero.
    fn compare(&self, other: &Self) -> Ordering {
        let places = 0..self.0.len().max(other.0.len());
        places
            .map(|place| self.number(place).cmp(&other.number(place)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

#[derive(Debug)]
struct ClientProbe {
    nodes: Vec<Arc<Node>>,
    minimum: Option<(String, Version)>,
    target: String,
}

/// What one node told of its program.
#[derive(Debug)]
struct Told {
    address: String,
    text: String,
    version: Version,
}

impl ClientProbe {
    async fn ask(&self, node: &Node, context: &Context<'_>) -> Result<Told> {
        let address = node.rpc.address();
        let text: String = within(context, &address, async {
            Ok(node.rpc.call("system_version", &[]).await?)
        })
        .await?;
        let version = Version::parse(&text).ok_or_else(|| node.not_understood("system_version"))?;
        Ok(Told {
            address,
            text,
            version,
        })
    }
}

fn named<'a>(nodes: impl Iterator<Item = &'a Told>) -> Vec<String> {
    nodes
        .map(|node| format!("{} ({})", node.address, node.text))
        .collect()
}

#[async_trait]
impl Probe for ClientProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let answers = join_all(self.nodes.iter().map(|node| self.ask(node, context))).await;
        let mut told = Vec::new();
        let mut silent = Vec::new();
        let mut refused = None;
        for (node, answer) in self.nodes.iter().zip(answers) {
            match answer {
                Ok(answer) => told.push(answer),
                Err(error) => {
                    silent.push(node.rpc.address());
                    refused = refused.or(Some(error));
                }
            }
        }
        let Some(newest) = told
            .iter()
            .max_by(|one, other| one.version.compare(&other.version))
        else {
            return Err(refused.unwrap_or_else(|| self.nodes[0].not_understood("system_version")));
        };
        let behind = named(
            told.iter()
                .filter(|node| node.version.compare(&newest.version).is_lt()),
        );
        let versions: BTreeSet<_> = told.iter().map(|node| node.text.as_str()).collect();
        let mut observation = Observation::new()
            .with("clients", told.len() as f64, Unit::Count)
            .with("unreachable", silent.len() as f64, Unit::Count)
            .with("versions", versions.len() as f64, Unit::Count)
            .with("behind", behind.len() as f64, Unit::Count)
            .with_fact("newest", newest.text.as_str());
        let mut lists = vec![("behind_nodes", behind), ("silent", silent)];
        if let Some((text, minimum)) = &self.minimum {
            let outdated = named(told.iter().filter(|node| node.version.compare(minimum).is_lt()));
            observation = observation
                .with("outdated", outdated.len() as f64, Unit::Count)
                .with_fact("minimum", text.as_str());
            lists.push(("outdated_nodes", outdated));
        }
        for (fact, names) in lists {
            if !names.is_empty() {
                observation = observation.with_fact(fact, names.join(", "));
            }
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        let version = |text: &str| Version::parse(text).unwrap();
        for (older, newer) in [
            ("1.18.6-a1b2c3d", "1.18.10-0000000"),
            ("1.9", "1.10.0"),
            ("v0.9.43", "1.0.0"),
            ("1.25", "1.25.1+build"),
        ] {
            assert!(version(older).compare(&version(newer)).is_lt(), "{older} {newer}");
        }
        assert!(version("1.25.0-f").compare(&version("v1.25")).is_eq());
        for wrong in ["", "latest", "1.x", "stable2503"] {
            assert!(Version::parse(wrong).is_none(), "{wrong}");
        }
    }
}
