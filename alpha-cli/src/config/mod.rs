//! The configuration file: one typed schema for TOML and YAML.

mod document;
mod load;
mod log;
mod nearest;

use std::path::PathBuf;

use alpha_probes::{CheckConfig, Period, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::language::Language;

pub use load::{Loaded, Mistake, find, load, parse};
pub use log::{LogConfig, LogLevel};

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
    /// Where observations are kept.
    pub history: HistoryConfig,
    /// How many checks run at once.
    pub probes: ProbesConfig,
    /// The checks.
    pub check: Vec<CheckConfig>,
}

/// Where observations are kept between runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HistoryConfig {
    /// Whether anything is kept. Default: true.
    pub enabled: bool,
    /// The SQLite file. Default: `alpha/history.db` in the state folder (`/var/lib` for root, else
    /// `$XDG_STATE_HOME` or `~/.local/state`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The connection address of a PostgreSQL database to use instead, kept as a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<SecretRef>,
    /// How long single observations are kept. Default: `2d`.
    pub keep_raw: Period,
    /// How long roll-ups by the minute are kept. Default: `14d`.
    pub keep_minutes: Period,
    /// How long roll-ups by the hour are kept. Default: `90d`.
    pub keep_hours: Period,
    /// How long roll-ups by the day are kept. Default: `1095d`, three years, for forecasts over seasons.
    pub keep_days: Period,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            enabled: true,
            path: None,
            postgres: None,
            keep_raw: Period::from_secs(2 * DAY),
            keep_minutes: Period::from_secs(14 * DAY),
            keep_hours: Period::from_secs(90 * DAY),
            keep_days: Period::from_secs(1095 * DAY),
        }
    }
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
