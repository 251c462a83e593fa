//! The configuration file: one typed schema for TOML and YAML.

mod document;
mod load;
mod log;
mod nearest;
mod paging;
mod serve;

use alpha_probes::CheckConfig;
use alpha_probes::history::HistoryConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::language::Language;

pub use load::{Loaded, Mistake, find, load, load_alerts, parse};
pub use log::{LogConfig, LogLevel};
pub use paging::{PagingConfig, PagingRule};
pub use serve::{ServeConfig, StoreConfig};

/// The whole configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Language of what people read: `en` or `zh`. Default: by the locale; `--lang` outranks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Alpha's own log.
    pub log: LogConfig,
    /// Where observations are kept. Default: a SQLite file `alpha/history.db` in the state folder, which is `/var/lib`
    /// for root, else `$XDG_STATE_HOME` or `~/.local/state`.
    pub history: HistoryConfig,
    /// How many checks run at once.
    pub probes: ProbesConfig,
    /// The checks.
    pub check: Vec<CheckConfig>,
    /// How what the checks find becomes alerts.
    pub paging: PagingConfig,
    /// Who is told of alerts, and when. Default: nobody.
    pub alerts: alpha_alerts::Config,
    /// How `alpha serve` runs.
    pub serve: ServeConfig,
}

/// How many checks run at once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProbesConfig {
    /// In all. Default: 256.
    pub concurrency: u16,
    /// Against one target, so that a check never is a load test. Default: 8.
    pub concurrency_per_target: u16,
}

impl Default for ProbesConfig {
    fn default() -> Self {
        Self {
            concurrency: 256,
            concurrency_per_target: 8,
        }
    }
}

/// The JSON schema of the configuration.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Config);
    schema.insert("title".to_owned(), "alpha.toml".into());
    schema.to_value()
}
