//! What the inbound APIs accept, and from whom.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::period::Period;
use crate::secret::SecretRef;
use crate::text;
use crate::text::Text;

/// What the inbound APIs accept, and from whom.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InboundConfig {
    /// The largest body of a request, in bytes. Default: 16777216 (16 MiB), about 30,000 alerts.
    pub max_body_bytes: usize,
    /// How many connections are open at once; further ones wait. Default: 1024.
    pub max_connections: usize,
    /// How long a connection may take to send the headers of its next request. Default: 2m, so that the connection of a
    /// Prometheus, which repeats itself every minute, lives on.
    pub idle_timeout: Period,
    /// How long the body of a request may take. Default: 30s.
    pub body_timeout: Period,
    /// What stands before every path, such as `/alpha` behind a proxy. Default: nothing.
    pub path_prefix: String,
    /// Who may use the APIs. Default: everybody who reaches the address, as with Alertmanager.
    pub access: AccessConfig,
    /// Where others send their alerts with a token of their own. Default: none.
    pub inlets: Vec<InletConfig>,
    /// Unguessable tokens for the URLs of heartbeats, in place of their names. Default: none.
    pub heartbeat_tokens: Vec<HeartbeatTokenConfig>,
    /// Links that acknowledge an incident. Default: none.
    pub acknowledge_links: Option<AcknowledgeLinksConfig>,
    /// Buttons in Slack messages. Default: none.
    pub slack: Option<SlackInletConfig>,
    /// What PagerDuty reports back. Default: nothing.
    pub pagerduty: Option<PagerDutyInletConfig>,
    /// A certificate, so that the server speaks HTTPS. Default: HTTP.
    pub tls: Option<TlsConfig>,
}

impl Default for InboundConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 16 << 20,
            max_connections: 1024,
            idle_timeout: Period::from_secs(120),
            body_timeout: Period::from_secs(30),
            path_prefix: String::new(),
            access: AccessConfig::default(),
            inlets: Vec::new(),
            heartbeat_tokens: Vec::new(),
            acknowledge_links: None,
            slack: None,
            pagerduty: None,
            tls: None,
        }
    }
}

/// Who may use the APIs. Where both lists are empty, everybody may.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AccessConfig {
    /// Bearer tokens. Default: none.
    pub tokens: Vec<TokenConfig>,
    /// Users with passwords, by basic authentication. Default: none.
    pub users: Vec<UserConfig>,
}

/// A bearer token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Whose it is; stands in the audit log.
    pub name: String,
    /// The token.
    pub token: SecretRef,
}

/// A user with a password.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The name; stands in the audit log.
    pub name: String,
    /// The password.
    pub password: SecretRef,
}

/// A place where others send their alerts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InletConfig {
    /// Its name; for a webhook also the end of its path, `/inlet/NAME`.
    pub name: String,
    /// What is sent.
    pub kind: InletKind,
    /// What the sender must present: a bearer token or password for a webhook, the `routing_key` for events.
    pub token: SecretRef,
    /// Labels for every alert that comes in here, where it does not have them itself. Default: none.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What is sent to an inlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InletKind {
    /// The webhook of Alertmanager (version 4), or Grafana's, which says the same and more.
    Webhook,
    /// PagerDuty's Events API v2, at `/v2/enqueue`.
    Events,
}

/// A token for the URL of a heartbeat.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatTokenConfig {
    /// The heartbeat.
    pub heartbeat: String,
    /// The token: `/ping/TOKEN`. The name alone is no longer accepted.
    pub token: SecretRef,
}

/// Links that acknowledge an incident.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeLinksConfig {
    /// The key they are signed with; at least 16 bytes.
    pub key: SecretRef,
    /// How long a link is good for. Default: 1d.
    #[serde(default = "one_day")]
    pub valid_for: Period,
}

fn one_day() -> Period {
    Period::from_secs(86_400)
}

/// Buttons in Slack messages, answered at `/slack/interactions`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackInletConfig {
    /// The signing secret of the Slack app.
    pub signing_secret: SecretRef,
}

/// PagerDuty's webhooks (version 3), received at `/pagerduty/webhook`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerDutyInletConfig {
    /// The secrets of the webhook subscriptions; several while one is replaced.
    pub secrets: Vec<SecretRef>,
}

/// A certificate with its key, both as PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl InboundConfig {
    /// Everything that is wrong with it; empty where nothing is. Secrets are not fetched.
    pub fn check(&self) -> Vec<Text> {
        let mut problems = Vec::new();
        for (key, value) in [
            ("max_body_bytes", self.max_body_bytes),
            ("max_connections", self.max_connections),
        ] {
            if value == 0 {
                problems.push(text!("{key} is 0, with which nothing can be received", key = key));
            }
        }
        let is_path = self.path_prefix.is_empty()
            || (self.path_prefix.starts_with('/') && !self.path_prefix.ends_with('/'));
        if !is_path || self.path_prefix.contains(['{', '}', '*', '?', '#']) {
            problems.push(text!(
                "path_prefix is \"{prefix}\": expected a path such as \"/alpha\"",
                prefix = self.path_prefix.as_str()
            ));
        }
        let mut names = HashSet::new();
        for inlet in &self.inlets {
            let is_fit = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
            if inlet.name.is_empty() || !inlet.name.chars().all(is_fit) {
                problems.push(text!(
                    "an inlet is named \"{name}\": expected letters, digits, `-`, `_` and `.`",
                    name = inlet.name.as_str()
                ));
            } else if !names.insert(inlet.name.as_str()) {
                problems.push(text!("two inlets are named {name}", name = inlet.name.as_str()));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_checked_whole() {
        assert!(InboundConfig::default().check().is_empty());
        let config: InboundConfig = serde_json::from_value(serde_json::json!({
            "max_body_bytes": 0,
            "path_prefix": "alpha/",
            "inlets": [
                { "name": "a b", "kind": "webhook", "token": { "env": "T" } },
                { "name": "g", "kind": "webhook", "token": { "env": "T" } },
                { "name": "g", "kind": "events", "token": { "env": "T" } },
            ],
        }))
        .unwrap();
        assert_eq!(config.check().len(), 4);
        assert!(serde_json::from_str::<InboundConfig>(r#"{"max_bodies": 1}"#).is_err());
    }
}
