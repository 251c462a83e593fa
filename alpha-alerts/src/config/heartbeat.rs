//! Signs of life that are expected.

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::period::Period;
use crate::severity::Severity;
use crate::text;
use crate::text::Text;

/// A sign of life that somebody promised, such as a nightly backup's. Its absence is an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HeartbeatConfig {
    /// Its name, which is part of the URL that is called: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// How often it comes. Default: 1h.
    pub every: Period,
    /// How much later than that it may come, and how long a run may take from its start to its success. Default: 5m.
    pub grace: Period,
    /// How bad its absence is. Default: P1.
    pub severity: Severity,
    /// Further labels of the alert. Default: none.
    pub labels: BTreeMap<String, String>,
    /// Explanations of the alert, such as `runbook_url`. Default: none.
    pub annotations: BTreeMap<String, String>,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            every: Period::from_secs(3600),
            grace: Period::from_secs(300),
            severity: Severity::P1,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// What is wrong with them.
pub(super) fn check(heartbeats: &[HeartbeatConfig]) -> Vec<Text> {
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for (index, heartbeat) in heartbeats.iter().enumerate() {
        let name = heartbeat.name.as_str();
        let is_fit = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if name.is_empty() || !name.chars().all(is_fit) {
            problems.push(text!(
                "heartbeats[{index}].name is \"{name}\": expected letters, digits, `-`, `_` and `.`",
                index = index,
                name = name
            ));
        } else if !names.insert(name) {
            problems.push(text!("two heartbeats are named {name}", name = name));
        }
        if heartbeat.every.0.is_zero() {
            problems.push(text!(
                "heartbeats[{index}].every must be longer than nothing",
                index = index
            ));
        }
    }
    problems
}
