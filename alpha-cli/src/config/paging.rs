//! How what checks find becomes alerts.

use std::collections::BTreeMap;

use alpha_alerts::Severity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// How what checks find becomes alerts in `alpha serve`.
///
/// Every kind of check has a ready-made severity for each status (M5), see docs/reference/severities.md. Rules outrank it,
/// and the `labels` of a check outrank both.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PagingConfig {
    /// What alerts call this machine in their label `instance`. Default: its host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Where runbooks are published, for links that open on a telephone: a runbook that is a path, such as
    /// `docs/runbooks/http.md`, is looked for below it. Default: the path as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbooks: Option<Url>,
    /// Of several rules that match a check, the first that says something counts. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PagingRule>,
}

/// What holds for some checks.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PagingRule {
    /// Names of checks; `*` stands for anything. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// Kinds of probe, such as `postgres`. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// How bad it is when such a check is critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<Severity>,
    /// How bad it is when such a check is a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<Severity>,
    /// How bad it is when nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<Severity>,
    /// Labels for the alerts of such a check, such as `component`. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
