//! `alpha alert send`: an alert, or its end.

use std::collections::BTreeMap;

use alpha_alerts::Labels;
use alpha_probes::text;
use jiff::Timestamp;
use serde::Serialize;

use super::Failure;
use super::remote::{API_V2, Remote};
use crate::args::SendArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

/// An alert as Alertmanager's API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    labels: &'a Labels,
    annotations: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
}

/// What was sent, as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    fingerprint: String,
    labels: &'a Labels,
    resolved: bool,
}

pub(super) async fn run(args: &SendArgs, remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let severity = args.severity.map(|severity| ("severity", severity.name()));
    let named = args.labels.iter();
    let named = named.map(|(name, value)| (name.as_str(), value.as_str()));
    let labels = Labels::new(
        severity
            .into_iter()
            .chain(named)
            .chain([("alertname", args.name.as_str())]),
    );
    let mut annotations: BTreeMap<&str, &str> = args
        .annotations
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    if let Some(summary) = &args.summary {
        annotations.insert("summary", summary);
    }
    let now = remote.reader.now;
    let ends_at = if args.resolve {
        Some(now)
    } else {
        args.duration
            .map(|duration| now.saturating_add(duration.0).unwrap_or(Timestamp::MAX))
    };
    let sent = Sent {
        labels: &labels,
        annotations,
        // The end of one that fires must not lie before its beginning, which the server knows.
        starts_at: (!args.resolve).then_some(now),
        ends_at,
    };
    let path = [&API_V2[..], &["alerts"]].concat();
    remote.client.post::<()>(&path, &[sent]).await?;
    let fingerprint = labels.fingerprint().to_string();
    if remote.reader.json {
        let answer = Answer {
            fingerprint,
            labels: &labels,
            resolved: args.resolve,
        };
        remote.reader.document(&answer, terminal)?;
    } else {
        let text = text!(
            "the server has taken {fingerprint}: {labels}",
            fingerprint = fingerprint,
            labels = labels.to_string()
        );
        remote.reader.line(&text, terminal);
    }
    Ok(Exit::SUCCESS)
}
