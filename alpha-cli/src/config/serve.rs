//! How `alpha serve` runs.

use std::path::PathBuf;

use alpha_alerts::SecretRef;
use alpha_alerts::inbound::InboundConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How `alpha serve` runs. What stands here counts from the next start on, and so do `external_url`, `language` and
/// `delivery.timeout` of `alerts`; everything else counts from the next reload on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServeConfig {
    /// The address to listen on; port 0 takes a free one, which is printed. Default: `127.0.0.1:9093`, which only this
    /// machine reaches.
    pub listen: String,
    /// Where alerts and what becomes of them are kept.
    pub store: StoreConfig,
    /// What the inbound APIs accept, and from whom. The commands of `alpha` present its first token.
    pub inbound: InboundConfig,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9093".to_owned(),
            store: StoreConfig::default(),
            inbound: InboundConfig::default(),
        }
    }
}

/// Where alerts and what becomes of them are kept: one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StoreConfig {
    /// A SQLite file. Default: `alpha/alerts.db` in the state folder, which is `/var/lib` for root, else
    /// `$XDG_STATE_HOME` or `~/.local/state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<PathBuf>,
    /// Where the address of a PostgreSQL database is kept, such as `postgres://alpha:password@db.example/alpha`. Several
    /// instances may share it: one decides, all deliver, and another takes over within seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<SecretRef>,
}
