//! `alpha alert simulate`: an alert log on a virtual clock, and who would have been told what.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use alpha_alerts::inbound::read_alerts;
use alpha_alerts::incident::IncidentId;
use alpha_alerts::notifiers::Environment;
use alpha_alerts::simulate::{Simulation, simulate};
use alpha_alerts::store::Suppressed;
use alpha_alerts::{Command, Notification, Rules, SecretRef, Secrets, Text as AlertsText};
use alpha_probes::text;
use anstyle::Style;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Failure;
use super::remote::{Reader, style};
use super::why::{event, reason, suppression};
use crate::adapt::reworded;
use crate::args::SimulateArgs;
use crate::config::Config;
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::secrets::LocalSecrets;
use crate::terminal::Terminal;

/// A log larger than this is not played at once.
const MAX_LOG_BYTES: u64 = 1 << 30;

/// The same chances every time, so that two runs can be compared.
const SEED: u64 = 1;

/// One line of the log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    at: Timestamp,
    /// As they are posted to `/api/v2/alerts`.
    #[serde(borrow, default)]
    alerts: Option<&'a RawValue>,
    /// The number of an incident that somebody takes.
    #[serde(default)]
    acknowledge: Option<u64>,
    /// The number of an incident that somebody says is over.
    #[serde(default)]
    resolve: Option<u64>,
    #[serde(default)]
    by: Option<String>,
}

/// Secrets of this machine where they are here; where not, something in their place, because nothing is sent.
#[derive(Debug)]
struct AnySecret;

impl Secrets for AnySecret {
    fn resolve(&self, reference: &SecretRef) -> alpha_alerts::Result<SecretString> {
        let here = LocalSecrets.resolve(reference);
        here.or_else(|_| {
            Ok("https://simulated.invalid/00000000000000000000000000000000"
                .to_owned()
                .into())
        })
    }
}

pub(super) fn run(
    args: &SimulateArgs,
    config: &Config,
    reader: &Reader,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let environment = Environment::new(Arc::new(AnySecret))
        .with_external_url(config.alerts.external_url.clone())
        .with_language(config.alerts.language);
    let (rules, _) = Rules::compile(&config.alerts, &environment, &[])
        .map_err(|problems| reworded(&AlertsText::list(problems)))?;
    let log = read(&args.file)?;
    let (events, last) = events(&log, config)?;
    let until = last.saturating_add(args.after.0).unwrap_or(Timestamp::MAX);
    let simulation = simulate(Arc::new(rules), events, until, SEED);
    if reader.json {
        reader.document(&simulation, terminal)?;
    } else {
        show(&simulation, reader, terminal);
    }
    Ok(Exit::SUCCESS)
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut log = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_LOG_BYTES).read_to_string(&mut log)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_LOG_BYTES).read_to_string(&mut log))
    };
    read.map_err(|error| {
        text!(
            "the log {file} cannot be read: {cause}",
            file = file.display().to_string(),
            cause = error.to_string()
        )
    })?;
    Ok(log)
}

/// What happens, and when the last of it does. Every line that is not understood is told at once.
fn events(log: &str, config: &Config) -> Result<(Vec<(Timestamp, Command)>, Timestamp), Failure> {
    let mut events = Vec::new();
    let mut problems = Vec::new();
    for (index, source) in log
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match events_of(source, config) {
            Ok(found) => events.extend(found),
            Err(problem) => problems.push(text!(
                "line {line}: {problem}",
                line = index + 1,
                problem = problem
            )),
        }
    }
    if !problems.is_empty() {
        return Err(alpha_probes::Text::list(problems).into());
    }
    let last = events.iter().map(|(at, _)| *at).max();
    let last = last.ok_or_else(|| text!("the log holds nothing to play"))?;
    Ok((events, last))
}

fn events_of(source: &str, config: &Config) -> Result<Vec<(Timestamp, Command)>, String> {
    let line: Line<'_> = serde_json::from_str(source).map_err(|error| error.to_string())?;
    let by = line.by.unwrap_or_else(|| "somebody".to_owned());
    let mut events = Vec::new();
    if let Some(alerts) = line.alerts {
        let resolve_timeout = config.alerts.resolve_timeout.0;
        let posted = read_alerts(alerts.get().as_bytes(), line.at, resolve_timeout);
        if let Some(refusal) = posted.refusal {
            return Err(refusal.body().trim().to_owned());
        }
        events.push((line.at, Command::Alerts(posted.alerts)));
    }
    if let Some(incident) = line.acknowledge.map(IncidentId) {
        let by = by.clone();
        events.push((line.at, Command::Acknowledge { incident, by }));
    }
    if let Some(incident) = line.resolve.map(IncidentId) {
        events.push((line.at, Command::Resolve { incident, by }));
    }
    if events.is_empty() {
        return Err("expected alerts, acknowledge or resolve".to_owned());
    }
    Ok(events)
}

fn show(simulation: &Simulation, reader: &Reader, terminal: &mut Terminal) {
    let mut rows: Vec<(Timestamp, Style, [String; 5])> = Vec::new();
    rows.extend(simulation.notifications.iter().map(|told| row(told, reader)));
    rows.extend(
        simulation
            .suppressed
            .iter()
            .map(|kept| row_of_suppressed(kept, reader)),
    );
    rows.sort_by_key(|(at, _, _)| *at);
    if rows.is_empty() {
        reader.line(&text!("nobody would have been told anything"), terminal);
        return;
    }
    let header = [
        text!("SEVERITY"),
        text!("WHEN"),
        text!("RECEIVER"),
        text!("WHY"),
        text!("WHICH ALERTS"),
    ];
    let mut listing = Listing::new(header, reader.language);
    for (_, style, row) in rows {
        listing.push(style, row);
    }
    terminal.print(&listing.render(terminal));
    let text = text!(
        "{told} notifications, {kept} suppressed, {incidents} incidents",
        told = simulation.notifications.len(),
        kept = simulation.suppressed.len(),
        incidents = simulation.incidents.len()
    );
    reader.line(&text, terminal);
}

fn row(told: &Notification, reader: &Reader) -> (Timestamp, Style, [String; 5]) {
    let row = [
        told.severity.name().to_owned(),
        reader.time(told.created_at),
        told.integration.to_string(),
        reader.say(&text!(
            "{event}: {reason}",
            event = event(told.event),
            reason = reason(&told.reason)
        )),
        names(told.alerts.iter().map(alpha_alerts::Alert::name)),
    ];
    (told.created_at, style(told.severity), row)
}

fn row_of_suppressed(kept: &Suppressed, reader: &Reader) -> (Timestamp, Style, [String; 5]) {
    let row = [
        "-".to_owned(),
        reader.time(kept.at),
        kept.receiver.to_string(),
        reader.say(&suppression(&kept.by)),
        reader.say(&text!("{count} alerts", count = kept.alerts.len())),
    ];
    (kept.at, Style::new(), row)
}

/// Each name once, with how many alerts have it.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let shown = counts.iter().map(|(name, count)| match count {
        1 => (*name).to_owned(),
        count => format!("{name} ×{count}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
