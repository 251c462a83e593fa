//! `alpha alert route test`: whom an alert would reach by the configuration, and why.

use alpha_alerts::{Alert, GroupKey, Labels, Outcome, Route, RouteTree, Severity, Text as AlertsText};
use alpha_probes::text;
use serde::Serialize;

use super::Failure;
use super::remote::Reader;
use crate::adapt::reworded;
use crate::args::RouteTestArgs;
use crate::config::Config;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

/// The answer as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    labels: &'a Labels,
    severity: Severity,
    receivers: Vec<&'a str>,
    routes: Vec<Taken<'a>>,
}

/// A route that takes the alert.
#[derive(Serialize)]
struct Taken<'a> {
    route: &'a str,
    receiver: &'a str,
    group: GroupKey,
    escalation: Option<&'a str>,
    group_wait_seconds: f64,
    group_interval_seconds: f64,
    repeat_interval_seconds: f64,
}

pub(super) fn test(
    args: &RouteTestArgs,
    config: &Config,
    reader: &Reader,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let labels = Labels::new(
        args.labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let alert = Alert::firing(labels, reader.now);
    let labels = &alert.labels;
    let tree =
        RouteTree::new(&config.alerts.route).map_err(|problems| reworded(&AlertsText::list(problems)))?;
    let explanation = tree.explain(labels);
    let takes = explanation.visits.iter();
    let takes = takes.filter(|visit| visit.outcome == Outcome::Takes);
    if reader.json {
        let answer = Answer {
            labels,
            severity: config.alerts.severity.of(labels),
            receivers: explanation.receivers(),
            routes: takes.map(|visit| taken(visit.route, labels)).collect(),
        };
        reader.document(&answer, terminal)?;
        return Ok(Exit::SUCCESS);
    }
    for line in explanation.lines() {
        reader.line(&reworded(&line), terminal);
    }
    for visit in takes {
        let Taken {
            receiver,
            group,
            escalation,
            ..
        } = taken(visit.route, labels);
        let mut clauses = vec![text!(
            "{receiver} is told, grouped as {group}",
            receiver = receiver,
            group = group.as_str()
        )];
        if let Some(policy) = escalation {
            clauses.push(text!("escalation by policy {policy}", policy = policy));
        }
        reader.line(&alpha_probes::Text::list(clauses), terminal);
    }
    Ok(Exit::SUCCESS)
}

fn taken<'a>(route: &'a Route, labels: &Labels) -> Taken<'a> {
    Taken {
        route: &route.key,
        receiver: &route.receiver,
        group: route.group_key(&route.group_labels(labels)),
        escalation: route.escalation.as_deref(),
        group_wait_seconds: route.group_wait.as_secs_f64(),
        group_interval_seconds: route.group_interval.as_secs_f64(),
        repeat_interval_seconds: route.repeat_interval.as_secs_f64(),
    }
}
