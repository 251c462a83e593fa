//! `alpha alert why`: who was told what, and what was kept back by what.

use alpha_alerts::incident::IncidentId;
use alpha_alerts::store::{DeliveryState, Suppressed, Suppression};
use alpha_alerts::{Event, Reason};
use alpha_probes::{Text, text};
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Failure;
use super::remote::{API, Remote, incident_number};
use crate::args::AlertIdArgs;
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::terminal::Terminal;

/// What the server knows; the parts that the table shows.
#[derive(Deserialize)]
struct Why {
    groups: Vec<String>,
    notifications: Vec<Told>,
    suppressed: Vec<Suppressed>,
}

#[derive(Deserialize)]
struct Told {
    integration: String,
    event: Event,
    reason: Reason,
    #[serde(default)]
    incident: Option<IncidentId>,
    created_at: Timestamp,
    state: DeliveryState,
    attempts: u32,
    changed_at: Timestamp,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    merged_into: Option<String>,
    #[serde(default)]
    next_attempt_at: Option<Timestamp>,
}

pub(super) async fn run(
    args: &AlertIdArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let number = incident_number(&args.id)?.map(|id| id.to_string());
    let path: Vec<&str> = match &number {
        Some(number) => [&API[..], &["incidents", number, "why"]].concat(),
        None => {
            let full = if args.id.len() == 16 {
                args.id.clone()
            } else {
                remote.alert(&args.id).await?.fingerprint
            };
            let answer: Value = remote
                .client
                .get(&[&API[..], &["alerts", &full, "why"]].concat(), &[])
                .await?;
            return show(answer, remote, terminal);
        }
    };
    let answer: Value = remote.client.get(&path, &[]).await?;
    show(answer, remote, terminal)
}

fn show(answer: Value, remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    if remote.reader.json {
        remote.reader.document(&answer, terminal)?;
        return Ok(Exit::SUCCESS);
    }
    let why: Why = serde_json::from_value(answer).map_err(|error| {
        text!(
            "the answer of the server is not understood: {cause}",
            cause = error.to_string()
        )
    })?;
    for group in &why.groups {
        let text = text!("group {group}", group = group);
        remote.reader.line(&text, terminal);
    }
    if why.notifications.is_empty() && why.suppressed.is_empty() {
        remote
            .reader
            .line(&text!("nobody was to be told so far"), terminal);
        return Ok(Exit::SUCCESS);
    }
    let mut rows: Vec<(Timestamp, Style, [String; 5])> = Vec::new();
    rows.extend(why.notifications.iter().map(|told| told.row(remote)));
    rows.extend(why.suppressed.iter().map(|kept| row_of_suppressed(kept, remote)));
    rows.sort_by_key(|(at, _, _)| *at);
    let header = [
        text!("OUTCOME"),
        text!("WHEN"),
        text!("RECEIVER"),
        text!("WHY"),
        text!("WHAT BECAME OF IT"),
    ];
    let mut listing = Listing::new(header, remote.reader.language);
    for (_, style, row) in rows {
        listing.push(style, row);
    }
    terminal.print(&listing.render(terminal));
    Ok(Exit::SUCCESS)
}

impl Told {
    fn row(&self, remote: &Remote) -> (Timestamp, Style, [String; 5]) {
        let reader = &remote.reader;
        let (word, style) = match self.state {
            DeliveryState::Pending => (text!("waiting"), AnsiColor::Yellow.on_default()),
            DeliveryState::Sent => (text!("sent"), AnsiColor::Green.on_default()),
            DeliveryState::Merged => (text!("merged"), Style::new()),
            DeliveryState::Cancelled => (text!("cancelled"), Style::new()),
            DeliveryState::DeadLettered => (text!("given up"), AnsiColor::Red.on_default().bold()),
        };
        let row = [
            reader.say(&word),
            reader.time(self.created_at),
            self.integration.clone(),
            reader.say(&text!(
                "{event}: {reason}",
                event = event(self.event),
                reason = reason(&self.reason)
            )),
            reader.say(&self.outcome(remote)),
        ];
        (self.created_at, style, row)
    }

    fn outcome(&self, remote: &Remote) -> Text {
        let at = remote.reader.time(self.changed_at);
        let detail = self.detail.clone().unwrap_or_default();
        let mut clauses = vec![match self.state {
            DeliveryState::Pending if self.attempts == 0 => text!("on its way"),
            DeliveryState::Pending => match self.next_attempt_at {
                Some(next) => text!(
                    "{count} attempts so far, the next at {time}",
                    count = self.attempts,
                    time = remote.reader.time(next)
                ),
                None => text!("{count} attempts so far", count = self.attempts),
            },
            DeliveryState::Sent => text!("the receiver took it at {time}", time = at),
            DeliveryState::Merged => text!(
                "taken in by {notification}",
                notification = self.merged_into.clone().unwrap_or_default()
            ),
            DeliveryState::Cancelled => text!("it lost its purpose at {time}", time = at),
            DeliveryState::DeadLettered => text!(
                "after {count} attempts, handed to the fallback receiver",
                count = self.attempts
            ),
        }];
        if !detail.is_empty() {
            clauses.push(Text::plain(detail));
        }
        if let Some(incident) = self.incident {
            clauses.push(text!("incident {number}", number = incident.to_string()));
        }
        Text::list(clauses)
    }
}

fn row_of_suppressed(kept: &Suppressed, remote: &Remote) -> (Timestamp, Style, [String; 5]) {
    let reader = &remote.reader;
    let row = [
        reader.say(&text!("suppressed")),
        reader.time(kept.at),
        kept.receiver.to_string(),
        reader.say(&suppression(&kept.by)),
        reader.say(&text!("{count} alerts", count = kept.alerts.len())),
    ];
    (kept.at, Style::new(), row)
}

/// What kept an alert from a receiver, in words.
pub(super) fn suppression(by: &Suppression) -> Text {
    match by {
        Suppression::Silence(id) => text!("silenced by {silence}", silence = id),
        Suppression::Inhibition(alert) => {
            text!("inhibited by alert {alert}", alert = alert.to_string())
        }
        Suppression::TimeInterval(name) => text!("muted by the time interval {name}", name = name),
        Suppression::ResolvedNotWanted => text!("the receiver does not want to hear of ends"),
        Suppression::OverBeforeTold => text!("it was over before anybody was told"),
        Suppression::NoIntegration => text!("the receiver has no integration"),
    }
}

/// What happened to a group, in a word.
pub(super) fn event(event: Event) -> Text {
    match event {
        Event::Firing => text!("firing"),
        Event::Acknowledged => text!("acknowledged"),
        Event::Resolved => text!("resolved"),
    }
}

/// Why a receiver is told, in words.
pub(super) fn reason(reason: &Reason) -> Text {
    match reason {
        Reason::New => text!("new"),
        Reason::MoreFiring => text!("more alerts"),
        Reason::SomeResolved => text!("some are over"),
        Reason::AllResolved => text!("all are over"),
        Reason::Repeated => text!("repeated"),
        Reason::Escalation { policy, step, round } => text!(
            "policy {policy}, step {step}, round {round}",
            policy = policy,
            step = *step,
            round = *round
        ),
        Reason::Acknowledged { by } => text!("{person} takes care", person = by),
        Reason::Fallback { failed, because } => text!(
            "{integration} could not be told: {cause}",
            integration = failed.as_str(),
            cause = because
        ),
        Reason::Test => text!("a test"),
        // Whatever is added later is shown by the library's own word.
        other => Text::plain(format!("{other:?}")),
    }
}
