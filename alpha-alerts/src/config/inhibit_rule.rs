//! Which alerts keep which others quiet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Matchers;

/// While an alert fires that `source_matchers` match, those that `target_matchers` match are not notified, provided that
/// both have the same value, or both none, for each label of `equal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InhibitRuleConfig {
    /// What the rule is called in messages. Default: its number.
    pub name: Option<String>,
    /// Which alerts keep others quiet.
    pub source_matchers: Matchers,
    /// Which alerts are kept quiet.
    pub target_matchers: Matchers,
    /// The labels that must be equal. Default: none, so that one source keeps every target quiet.
    pub equal: Vec<String>,
}
