//! `alpha alert resolve`: somebody says that it is over.

use std::collections::BTreeMap;

use alpha_probes::text;
use jiff::Timestamp;
use serde::Serialize;

use super::Failure;
use super::acknowledge::open_incident;
use super::remote::{API_V2, AlertLine, Remote, actor, incident_number};
use crate::args::ActArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

/// The end of an alert as Alertmanager's API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct End<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

/// Ends an incident by its number; of a fingerprint, the alert itself and with it the incident that has no other.
pub(super) async fn run(args: &ActArgs, remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let by = actor(args.by.as_deref());
    let Some(id) = incident_number(&args.id)? else {
        let alert = remote.alert(&args.id).await?;
        let incident = open_incident(&args.id, remote).await?;
        end(&alert, remote).await?;
        if let Some(incident) = incident {
            let note = BTreeMap::from([("by", by.as_str()), ("text", "ended one of its alerts by hand")]);
            remote.act(incident, "notes", &note).await?;
        }
        if remote.reader.json {
            remote.reader.document(&alert, terminal)?;
        } else {
            let text = text!("alert {alert} is over", alert = alert.fingerprint);
            remote.reader.line(&text, terminal);
        }
        return Ok(Exit::SUCCESS);
    };
    let incident = remote
        .act(id, "resolve", &BTreeMap::from([("by", by.as_str())]))
        .await?;
    if remote.reader.json {
        remote.reader.document(&incident, terminal)?;
    } else {
        let text = text!(
            "incident {number} is over: {title}",
            number = incident.id.to_string(),
            title = incident.title
        );
        remote.reader.line(&text, terminal);
    }
    Ok(Exit::SUCCESS)
}

async fn end(alert: &AlertLine, remote: &Remote) -> Result<(), Failure> {
    let end = End {
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at,
        ends_at: remote.reader.now.max(alert.starts_at),
    };
    let path = [&API_V2[..], &["alerts"]].concat();
    Ok(remote.client.post::<()>(&path, &[end]).await?)
}
