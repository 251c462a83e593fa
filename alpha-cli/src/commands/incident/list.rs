//! `alpha incident list`: what somebody must act on, worst first.

use alpha_alerts::incident::{Incident, IncidentState};
use alpha_probes::{Text, text};
use serde::Serialize;

use super::Failure;
use super::remote::{Remote, style};
use crate::args::IncidentListArgs;
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::terminal::Terminal;

/// An incident as JSON, without its timeline.
#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    state: IncidentState,
    severity: alpha_alerts::Severity,
    title: &'a str,
    opened_at: jiff::Timestamp,
    respond_by: jiff::Timestamp,
    is_overdue: bool,
    acknowledged_by: Option<&'a str>,
    acknowledged_at: Option<jiff::Timestamp>,
    resolved_at: Option<jiff::Timestamp>,
    alerts: Vec<String>,
}

impl<'a> Line<'a> {
    fn new(incident: &'a Incident) -> Self {
        let acknowledged = incident.acknowledged.as_ref();
        Self {
            id: incident.id.0,
            state: incident.state(),
            severity: incident.severity,
            title: &incident.title,
            opened_at: incident.opened_at,
            respond_by: incident.respond_by,
            is_overdue: incident.is_overdue,
            acknowledged_by: acknowledged.map(|acknowledged| acknowledged.by.as_str()),
            acknowledged_at: acknowledged.map(|acknowledged| acknowledged.at),
            resolved_at: incident.resolved_at,
            alerts: incident.alerts.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(super) async fn run(
    args: &IncidentListArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let incidents = remote.incidents(args.all).await?;
    if remote.reader.json {
        let lines: Vec<Line<'_>> = incidents.iter().map(Line::new).collect();
        remote.reader.document(&lines, terminal)?;
        return Ok(Exit::SUCCESS);
    }
    if incidents.is_empty() {
        remote.reader.line(&text!("there is no open incident"), terminal);
        return Ok(Exit::SUCCESS);
    }
    let header = [
        text!("SEVERITY"),
        text!("NUMBER"),
        text!("OPENED"),
        text!("STATE"),
        text!("WHAT"),
    ];
    let mut listing = Listing::new(header, remote.reader.language);
    for incident in &incidents {
        let row = [
            incident.severity.name().to_owned(),
            incident.id.to_string(),
            remote.reader.time(incident.opened_at),
            remote.reader.say(&state(incident, remote)),
            incident.title.clone(),
        ];
        listing.push(style(incident.severity), row);
    }
    terminal.print(&listing.render(terminal));
    Ok(Exit::SUCCESS)
}

/// Where an incident stands: whose it is, or by when somebody must take it.
pub(super) fn state(incident: &Incident, remote: &Remote) -> Text {
    match (&incident.acknowledged, incident.resolved_at) {
        (_, Some(at)) => text!("over since {time}", time = remote.reader.time(at)),
        (Some(acknowledged), None) => text!("{person} takes care", person = acknowledged.by.as_str()),
        (None, None) if incident.is_overdue => text!(
            "nobody took it by {time}",
            time = remote.reader.time(incident.respond_by)
        ),
        (None, None) => text!(
            "to be taken by {time}",
            time = remote.reader.time(incident.respond_by)
        ),
    }
}
