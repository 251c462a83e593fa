//! Arguments of `alpha alertmanager`, which are Alertmanager's own.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use alpha_alerts::Period;
use clap::{Args as ClapArgs, ValueEnum};
use tracing::level_filters::LevelFilter;
use url::Url;

/// Flags of Alertmanager that mean nothing here, and whether a value follows.
const WITHOUT_MEANING: [(&str, bool); 12] = [
    ("data.maintenance-interval", true),
    ("web.get-concurrency", true),
    ("web.timeout", true),
    ("web.ui-path", true),
    ("dispatch.maintenance-interval", true),
    ("dispatch.start-delay", true),
    ("silences.max-silences", true),
    ("silences.max-silence-size-bytes", true),
    ("silences.max-per-silence-bytes", true),
    ("alerts.per-alertname-limit", true),
    ("auto-gomemlimit.ratio", true),
    ("no-web.systemd-socket", false),
];

/// The flag that stands for one without meaning once [`go_flags`] has read it.
const IGNORED: &str = "--ignored-flag";

/// Arguments of `alpha alertmanager`.
#[derive(Clone, Debug, ClapArgs)]
pub struct AlertmanagerArgs {
    /// Alertmanager configuration file
    #[arg(long = "config.file", value_name = "FILE", default_value = "alertmanager.yml")]
    pub config_file: PathBuf,
    /// Folder for the data
    #[arg(long = "storage.path", value_name = "FOLDER", default_value = "data")]
    pub storage_path: PathBuf,
    /// Address to listen on; may be given several times, port 0 takes a free one
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9093")]
    pub web_listen_address: Vec<String>,
    /// URL under which people reach it, for links [default: the host's name and the port]
    #[arg(long = "web.external-url", value_name = "URL", value_parser = external_url)]
    pub web_external_url: Option<Url>,
    /// Prefix of all paths [default: the path of --web.external-url]
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    pub web_route_prefix: Option<String>,
    /// TLS and users in exporter-toolkit's format; refused, because it is not understood
    #[arg(long = "web.config.file", value_name = "FILE", hide = true)]
    pub web_config_file: Option<String>,
    /// How long to remember what is over
    #[arg(long = "data.retention", value_name = "DURATION", default_value = "120h", value_parser = Period::parse)]
    pub data_retention: Period,
    /// How often to forget what is over for longer
    #[arg(long = "alerts.gc-interval", value_name = "DURATION", default_value = "30m", value_parser = Period::parse)]
    pub alerts_gc_interval: Period,
    /// Least level of what is logged
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
    /// Format of the log
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub log_format: LogFormat,
    /// Features of Alertmanager, with commas between them
    #[arg(long = "enable-feature", value_name = "FEATURES", value_delimiter = ',')]
    pub enable_feature: Vec<String>,
    /// Flags that mean nothing here
    #[arg(long = "ignored-flag", hide = true, value_name = "FLAG")]
    pub ignored: Vec<String>,
}

fn external_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error: url::ParseError| error.to_string())?;
    if url.has_host() && matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err("expected a URL such as \"https://alerts.example.org\"".to_owned())
    }
}

/// The least level of what is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// A JSON object a line.
    Json,
}

/// The arguments as clap reads them: after the command `alertmanager` a flag may have one dash or two, as Go's programs
/// have it, and those that mean nothing here are set aside by name. Other commands are left as they are.
pub(crate) fn go_flags(arguments: &[OsString]) -> Vec<OsString> {
    let mut rest = arguments.iter();
    let mut read: Vec<OsString> = Vec::with_capacity(arguments.len());
    let is_ours = |argument: &OsString| argument == "alertmanager";
    if arguments.get(1).is_none_or(|first| !is_ours(first)) {
        return arguments.to_vec();
    }
    while let Some(argument) = rest.next() {
        let Some(flag) = flag_of(argument) else {
            read.push(argument.clone());
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        if let Some(takes_value) = is_without_meaning(name) {
            if takes_value && value.is_none() {
                rest.next();
            }
            read.push(format!("{IGNORED}=--{name}").into());
        } else {
            read.push(format!("--{flag}").into());
        }
    }
    read
}

/// The flag without its dashes. After one dash only what looks like Alertmanager's is one; `-vv` is Alpha's own.
fn flag_of(argument: &OsStr) -> Option<&str> {
    let text = argument.to_str()?;
    match text.strip_prefix("--") {
        Some("") => None,
        Some(flag) => Some(flag),
        None => text
            .strip_prefix('-')
            .filter(|flag| flag.contains(['.', '-']) || ["help", "version"].contains(flag)),
    }
}

/// Whether a flag means nothing here, and if so whether it takes a value.
fn is_without_meaning(name: &str) -> Option<bool> {
    if let Some(cluster) = name.strip_prefix("cluster.") {
        return Some(!cluster.starts_with("allow-"));
    }
    if name.starts_with("no-cluster.") {
        return Some(false);
    }
    let known = WITHOUT_MEANING.iter().find(|(known, _)| *known == name);
    known.map(|(_, takes_value)| *takes_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> String {
        let arguments: Vec<OsString> = arguments.split(' ').map(OsString::from).collect();
        let read: Vec<String> = go_flags(&arguments)
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect();
        read.join(" ")
    }

    #[test]
    fn flags_have_one_dash_or_two() {
        assert_eq!(
            read(
                "alpha alertmanager -config.file=a.yml --storage.path b -web.listen-address :0 -vv -version"
            ),
            "alpha alertmanager --config.file=a.yml --storage.path b --web.listen-address :0 -vv --version"
        );
        assert_eq!(read("alpha check -v -quiet"), "alpha check -v -quiet");
    }

    #[test]
    fn flags_without_meaning_are_set_aside_with_their_values() {
        assert_eq!(
            read("alpha alertmanager --cluster.listen-address= -cluster.peer a:1 --config.file f"),
            "alpha alertmanager --ignored-flag=--cluster.listen-address --ignored-flag=--cluster.peer --config.file f"
        );
        assert_eq!(
            read(
                "alpha alertmanager --cluster.allow-insecure-public-advertise-address-discovery --web.timeout=3"
            ),
            "alpha alertmanager --ignored-flag=--cluster.allow-insecure-public-advertise-address-discovery \
             --ignored-flag=--web.timeout"
        );
    }
}
