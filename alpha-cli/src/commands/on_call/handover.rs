//! `alpha oncall handover`: the report of a shift, and its acceptance (M23).

use alpha_alerts::Silence;
use alpha_alerts::oncall::HandoverReport;
use alpha_probes::text;
use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Failure;
use super::remote::{API, Remote, actor};
use super::rota::{Rota, people};
use super::silences;
use crate::args::{HandoverAcceptArgs, HandoverIdArgs, HandoverWriteArgs};
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::terminal::Terminal;

/// How far back the beginning of the shift is looked for.
const LONGEST_SHIFT: SignedDuration = SignedDuration::from_hours(24 * 31);

/// Writes the report of the shift that ends now.
pub(super) async fn write(
    args: &HandoverWriteArgs,
    rota: &Rota,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let now = remote.reader.now;
    let schedule = rota.on_call.schedule(&args.schedule)?;
    let starts_at = args.from.unwrap_or_else(|| {
        let earliest = now.saturating_sub(LONGEST_SHIFT).unwrap_or(Timestamp::MIN);
        let shifts = schedule.shifts(earliest, now, &rota.overrides);
        shifts.last().map_or(earliest, |shift| shift.starts_at)
    });
    let incidents = remote.incidents(true).await?;
    let silences: Vec<Silence> = silences(remote).await?;
    let firing = remote.alerts(&[], false).await?;
    let check = match firing.as_slice() {
        [] => text!("nothing fires"),
        alerts => text!(
            "{count} alerts fire: {alerts}",
            count = alerts.len(),
            alerts = alerts
                .iter()
                .map(|alert| format!("{} {}", alert.severity, alert.summary))
                .collect::<Vec<_>>()
                .join("; ")
        ),
    };
    let by = actor(args.by.as_deref());
    let mut report = HandoverReport::new(Uuid::new_v4(), schedule, (starts_at, now), &rota.overrides, &by)
        .with_incidents(&incidents)
        .with_silences(&silences)
        .with_daily_check(remote.reader.say(&check));
    for note in &args.notes {
        report = report.with_note(note);
    }
    if !args.dry_run {
        let path = [&API[..], &["handovers"]].concat();
        report = remote.client.post(&path, &report).await?;
    }
    print(&report, remote, terminal)
}

fn print(report: &HandoverReport, remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    if remote.reader.json {
        remote.reader.document(report, terminal)?;
    } else {
        terminal.print(&report.to_markdown(&remote.reader.language));
    }
    Ok(Exit::SUCCESS)
}

async fn all(remote: &Remote) -> Result<Vec<HandoverReport>, Failure> {
    let path = [&API[..], &["handovers"]].concat();
    Ok(remote.client.get(&path, &[]).await?)
}

async fn find(beginning: &str, remote: &Remote) -> Result<HandoverReport, Failure> {
    let mut reports = all(remote).await?;
    reports.retain(|report| report.id.to_string().starts_with(beginning));
    match reports.len() {
        1 => Ok(reports.remove(0)),
        _ => Err(text!("no report, or more than one, begins with {id}", id = beginning).into()),
    }
}

/// Lists the reports, the newest first.
pub(super) async fn list(remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let reports = all(remote).await?;
    let reader = &remote.reader;
    if reader.json {
        reader.document(&reports, terminal)?;
        return Ok(Exit::SUCCESS);
    }
    if reports.is_empty() {
        reader.line(&text!("there is no report"), terminal);
        return Ok(Exit::SUCCESS);
    }
    let header = [
        text!("STATE"),
        text!("ID"),
        text!("SCHEDULE"),
        text!("UNTIL"),
        text!("FROM WHOM"),
        text!("TO WHOM"),
    ];
    let mut listing = Listing::new(header, reader.language);
    for report in &reports {
        let (word, style) = match &report.accepted {
            Some(acceptance) => (
                text!("accepted by {person}", person = acceptance.by.as_str()),
                Style::new(),
            ),
            None => (text!("waiting"), AnsiColor::Yellow.on_default()),
        };
        let row = [
            reader.say(&word),
            report.id.to_string().chars().take(8).collect(),
            report.schedule.clone(),
            reader.time(report.ends_at),
            people(&report.outgoing, reader),
            people(&report.incoming, reader),
        ];
        listing.push(style, row);
    }
    terminal.print(&listing.render(terminal));
    Ok(Exit::SUCCESS)
}

/// Shows one report.
pub(super) async fn show(
    args: &HandoverIdArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let report = find(&args.id, remote).await?;
    print(&report, remote, terminal)
}

/// Takes over.
pub(super) async fn accept(
    args: &HandoverAcceptArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let report = find(&args.id, remote).await?;
    let (id, by) = (report.id.to_string(), actor(args.by.as_deref()));
    let path = [&API[..], &["handovers", &id, "accept"]].concat();
    let answer: serde_json::Value = remote
        .client
        .post(&path, &serde_json::json!({ "by": by }))
        .await?;
    if remote.reader.json {
        remote.reader.document(&answer, terminal)?;
    } else {
        let text = text!(
            "{person} takes over {schedule}",
            person = by,
            schedule = report.schedule
        );
        remote.reader.line(&text, terminal);
    }
    Ok(Exit::SUCCESS)
}
