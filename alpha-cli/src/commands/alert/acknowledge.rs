//! `alpha alert ack`: somebody takes an incident, and paging stops.

use std::collections::BTreeMap;

use alpha_alerts::incident::IncidentId;
use alpha_probes::text;

use super::Failure;
use super::remote::{Remote, actor, incident_number};
use crate::args::ActArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

pub(super) async fn run(args: &ActArgs, remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let id = match incident_number(&args.id)? {
        Some(id) => id,
        None => open_incident(&args.id, remote)
            .await?
            .ok_or_else(|| none_open(&args.id))?,
    };
    let by = actor(args.by.as_deref());
    let incident = remote
        .act(id, "acknowledge", &BTreeMap::from([("by", by.as_str())]))
        .await?;
    if remote.reader.json {
        remote.reader.document(&incident, terminal)?;
    } else {
        let text = text!(
            "{severity} incident {number} is {person}'s: {title}",
            severity = incident.severity.name(),
            number = incident.id.to_string(),
            person = by,
            title = incident.title
        );
        remote.reader.line(&text, terminal);
    }
    Ok(Exit::SUCCESS)
}

/// What to say where an alert belongs to no incident that is open.
pub(super) fn none_open(alert: &str) -> alpha_probes::Text {
    text!(
        "no open incident holds alert {alert}: see alpha incident list",
        alert = alert
    )
}

/// The newest incident that is not over and holds the alert.
pub(super) async fn open_incident(beginning: &str, remote: &Remote) -> Result<Option<IncidentId>, Failure> {
    let fingerprint = remote.alert(beginning).await?.fingerprint;
    let incidents = remote.incidents(false).await?;
    let holding = incidents.iter().filter(|incident| {
        let mut alerts = incident.alerts.iter();
        alerts.any(|alert| alert.to_string() == fingerprint)
    });
    Ok(holding.map(|incident| incident.id).max())
}
