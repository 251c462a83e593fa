//! Alpha's own log.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Alpha's own log: JSON lines as the maintenance plan asks for (M7), rotated by size.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogConfig {
    /// The file; rotated ones lie beside it as `FILE.1` to `FILE.10`. Default: none, the console only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The least level that is written. Default: `info`.
    pub level: LogLevel,
    /// At how many bytes the file is rotated. Default: 100000000 (100 MB, M7).
    pub max_bytes: u64,
    /// How many rotated files are kept. Default: 10 (M7).
    pub keep: u16,
    /// Whether the console gets the log too. Default: only with `-vv`, and always in `alpha serve`.
    pub console: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            file: None,
            level: LogLevel::Info,
            max_bytes: 100_000_000,
            keep: 10,
            console: false,
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail soon.
    Warn,
    /// What was done.
    Info,
    /// How it was done.
    Debug,
    /// Everything.
    Trace,
}

impl From<crate::args::LogLevel> for LogLevel {
    fn from(level: crate::args::LogLevel) -> Self {
        match level {
            crate::args::LogLevel::Debug => Self::Debug,
            crate::args::LogLevel::Info => Self::Info,
            crate::args::LogLevel::Warn => Self::Warn,
            crate::args::LogLevel::Error => Self::Error,
        }
    }
}

impl From<LogLevel> for tracing::level_filters::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
