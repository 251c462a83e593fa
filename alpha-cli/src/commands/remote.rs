//! What the commands share that ask a running server, or look at the alerts' side of the configuration.

use std::collections::BTreeMap;

use alpha_alerts::incident::{Incident, IncidentId};
use alpha_alerts::oncall::OnCallConfig;
use alpha_alerts::{Clock as _, Labels, Severity, SeverityConfig, SystemClock};
use alpha_probes::{Text, text};
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::setup::tell;
use crate::args::{Global, ServerArgs};
use crate::client::{Client, Refusal};
use crate::config::{self, Config};
use crate::language::Language;
use crate::terminal::Terminal;

/// The root of Alpha's own API.
pub(super) const API: [&str; 3] = ["api", "alpha", "v1"];

/// The root of Alertmanager's API.
pub(super) const API_V2: [&str; 2] = ["api", "v2"];

/// So many incidents are asked for at most.
const MOST_INCIDENTS: &str = "10000";

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.into_text().into()
    }
}

/// The alerts' side of the configuration.
///
/// # Errors
/// Where there is none, and everything that is wrong with it.
pub(super) fn configuration(
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Config, Failure> {
    let path = config::find(global.config.as_deref()).ok_or_else(|| {
        text!("there is no configuration here: name one with --config, or write one with alpha init")
    })?;
    config::load_alerts(&path).map_err(|mistakes| tell(&mistakes, language, terminal))
}

/// How the commands read: language, zone, the time, and whether JSON is wanted.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) language: Language,
    pub(super) json: bool,
    pub(super) zone: TimeZone,
    pub(super) now: Timestamp,
}

impl Reader {
    pub(super) fn new(global: &Global, language: Language, config: Option<&Config>) -> Self {
        let configured = config.and_then(|config| config.language);
        Self {
            language: global.lang.or(configured).unwrap_or(language),
            json: global.json,
            zone: TimeZone::system(),
            now: SystemClock.now(),
        }
    }

    /// An instant by the clock on the wall here.
    pub(super) fn time(&self, at: Timestamp) -> String {
        if at == Timestamp::MAX {
            return "∞".to_owned();
        }
        let zoned = at.to_zoned(self.zone.clone());
        zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `text` in the language.
    pub(super) fn say(&self, text: &Text) -> String {
        text.translate(&self.language)
    }

    /// Prints one line.
    pub(super) fn line(&self, text: &Text, terminal: &mut Terminal) {
        terminal.print(&format!("{}\n", self.say(text)));
    }

    /// Prints one JSON document.
    pub(super) fn document(
        &self,
        value: &(impl Serialize + ?Sized),
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        let json = serde_json::to_string(value)
            .map_err(|error| text!("could not write: {cause}", cause = error.to_string()))?;
        terminal.print(&format!("{json}\n"));
        Ok(())
    }
}

/// A running server, and how what it says reads.
pub(super) struct Remote {
    pub(super) client: Client,
    pub(super) reader: Reader,
    severity: SeverityConfig,
    pub(super) on_call: OnCallConfig,
}

impl Remote {
    /// The server that the arguments name, else the one of the configuration.
    pub(super) fn new(
        server: &ServerArgs,
        global: &Global,
        language: Language,
        terminal: &mut Terminal,
    ) -> Result<Self, Failure> {
        let config = if server.server.is_some() && global.config.is_none() {
            // A configuration that lies here may still hold the token; a broken one is not what was asked about.
            config::find(None).and_then(|path| config::load_alerts(&path).ok())
        } else {
            Some(configuration(global, language, terminal)?)
        };
        Ok(Self {
            client: Client::new(server, config.as_ref())?,
            reader: Reader::new(global, language, config.as_ref()),
            severity: config
                .as_ref()
                .map(|config| config.alerts.severity.clone())
                .unwrap_or_default(),
            on_call: config.map(|config| config.alerts.on_call).unwrap_or_default(),
        })
    }

    /// The alerts that all of `matchers` match, worst first, then the longest ones.
    pub(super) async fn alerts(&self, matchers: &[String], all: bool) -> Result<Vec<AlertLine>, Failure> {
        let suppressed = if all { "true" } else { "false" };
        let mut query: Vec<(&str, &str)> = vec![("silenced", suppressed), ("inhibited", suppressed)];
        query.extend(matchers.iter().map(|matcher| ("filter", matcher.as_str())));
        let path = [&API_V2[..], &["alerts"]].concat();
        let alerts: Vec<WireAlert> = self.client.get(&path, &query).await?;
        let line = |wire| AlertLine::new(wire, &self.severity);
        let mut alerts: Vec<AlertLine> = alerts.into_iter().map(line).collect();
        if !all {
            alerts.retain(|alert| alert.muted_by.is_empty());
        }
        alerts.sort_by_key(|alert| (alert.severity.rank(), alert.starts_at, alert.fingerprint.clone()));
        Ok(alerts)
    }

    /// The one alert whose fingerprint begins with `beginning`.
    pub(super) async fn alert(&self, beginning: &str) -> Result<AlertLine, Failure> {
        let mut alerts = self.alerts(&[], true).await?;
        alerts.retain(|alert| alert.fingerprint.starts_with(beginning));
        match alerts.len() {
            1 => Ok(alerts.remove(0)),
            0 => Err(text!(
                "no alert begins with {id}: see alpha alert list --all",
                id = beginning
            )
            .into()),
            count => Err(text!(
                "{count} alerts begin with {id}: write more of it",
                count = count,
                id = beginning
            )
            .into()),
        }
    }

    /// The incidents, those that are over too where `all`, worst first.
    pub(super) async fn incidents(&self, all: bool) -> Result<Vec<Incident>, Failure> {
        let path = [&API[..], &["incidents"]].concat();
        let all = if all { "true" } else { "false" };
        let query = [("all", all), ("limit", MOST_INCIDENTS)];
        let mut incidents: Vec<Incident> = self.client.get(&path, &query).await?;
        incidents.sort_by_key(|incident| {
            (
                incident.resolved_at.is_some(),
                incident.severity.rank(),
                incident.id,
            )
        });
        Ok(incidents)
    }

    /// One incident.
    pub(super) async fn incident(&self, id: IncidentId) -> Result<Incident, Failure> {
        let id = id.to_string();
        let path = [&API[..], &["incidents", &id]].concat();
        Ok(self.client.get(&path, &[]).await?)
    }

    /// Does `verb` with an incident; the incident afterwards.
    pub(super) async fn act(
        &self,
        id: IncidentId,
        verb: &str,
        body: &BTreeMap<&str, &str>,
    ) -> Result<Incident, Failure> {
        let id = id.to_string();
        let path = [&API[..], &["incidents", &id, verb]].concat();
        Ok(self.client.post(&path, body).await?)
    }
}

/// The number of an incident; `None` where it is none, and so the fingerprint of an alert.
///
/// # Errors
/// Where it is neither.
pub(super) fn incident_number(id: &str) -> Result<Option<IncidentId>, Text> {
    let digits = id.trim_start_matches('#');
    if digits.len() < 16 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match digits.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(text!("{id} is neither an incident nor an alert", id = id)),
        };
    }
    let is_fingerprint = id.len() <= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_fingerprint {
        Ok(None)
    } else {
        Err(text!("{id} is neither an incident nor an alert", id = id))
    }
}

/// Who does something: the one that is named, else the user of this process.
pub(super) fn actor(named: Option<&str>) -> String {
    named.map_or_else(
        || {
            let user = nix::unistd::User::from_uid(nix::unistd::Uid::current());
            user.ok()
                .flatten()
                .map_or_else(|| nix::unistd::Uid::current().to_string(), |user| user.name)
        },
        str::to_owned,
    )
}

/// The style of a severity: colour never says what the word doesn't.
pub(super) fn style(severity: Severity) -> Style {
    match severity {
        Severity::P0 => AnsiColor::Red.on_default().bold(),
        Severity::P1 => AnsiColor::Yellow.on_default().bold(),
        Severity::P2 => AnsiColor::Green.on_default(),
        Severity::P3 => AnsiColor::Blue.on_default(),
    }
}

/// An alert as Alertmanager's API shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAlert {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    updated_at: Timestamp,
    fingerprint: String,
    receivers: Vec<Named>,
    status: WireStatus,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireStatus {
    state: String,
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
    #[serde(default)]
    muted_by: Vec<String>,
}

/// An alert as the commands show it, in text and as JSON.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AlertLine {
    pub(super) fingerprint: String,
    pub(super) name: String,
    pub(super) severity: Severity,
    pub(super) state: String,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) summary: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) receivers: Vec<String>,
    pub(super) silenced_by: Vec<String>,
    pub(super) inhibited_by: Vec<String>,
    pub(super) muted_by: Vec<String>,
}

impl AlertLine {
    fn new(wire: WireAlert, severity: &SeverityConfig) -> Self {
        let labels = Labels::new(wire.labels.iter());
        let name = labels.get("alertname").unwrap_or_default().to_owned();
        let summary = wire.annotations.get("summary").cloned();
        let others = || {
            let others = labels.filtered(|label| label != "alertname" && label != "severity");
            others.to_string()
        };
        Self {
            severity: severity.of(&labels),
            summary: summary.unwrap_or_else(others),
            name,
            fingerprint: wire.fingerprint,
            state: wire.status.state,
            starts_at: wire.starts_at,
            ends_at: wire.ends_at,
            updated_at: wire.updated_at,
            labels: wire.labels,
            annotations: wire.annotations,
            receivers: wire.receivers.into_iter().map(|receiver| receiver.name).collect(),
            silenced_by: wire.status.silenced_by,
            inhibited_by: wire.status.inhibited_by,
            muted_by: wire.status.muted_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_incidents_and_hexadecimal_digits_are_alerts() {
        assert_eq!(incident_number("17"), Ok(Some(IncidentId(17))));
        assert_eq!(incident_number("#17"), Ok(Some(IncidentId(17))));
        assert_eq!(incident_number("1e5dee79e3b638b3"), Ok(None));
        assert_eq!(incident_number("1e5d"), Ok(None));
        assert_eq!(incident_number("1234567890123456"), Ok(None));
        for wrong in ["", "#", "disk full", "1e5dee79e3b638b30"] {
            assert!(incident_number(wrong).is_err(), "{wrong}");
        }
    }
}
