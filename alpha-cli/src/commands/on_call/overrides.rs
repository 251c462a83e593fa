//! `alpha oncall override`: puts somebody on duty for a time, or takes that back.

use alpha_alerts::oncall::Override;
use alpha_probes::{Text, text};
use jiff::Timestamp;
use serde::Serialize;

use super::Failure;
use super::remote::{API, Remote, actor};
use crate::args::OverrideArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

#[derive(Serialize)]
struct Posted<'a> {
    schedule: &'a str,
    person: &'a str,
    replaces: Option<&'a str>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    reason: &'a str,
    by: String,
}

pub(super) async fn run(
    args: &OverrideArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let path = [&API[..], &["on-call", "overrides"]].concat();
    if let Some(id) = &args.remove {
        return remove(id, &path, remote, terminal).await;
    }
    let (Some(schedule), Some(person), Some(ends_at)) = (&args.schedule, &args.person, args.until) else {
        return Err(text!("a schedule, a person and --until are needed").into());
    };
    let posted = Posted {
        schedule,
        person,
        replaces: args.replaces.as_deref(),
        starts_at: args.from.unwrap_or(remote.reader.now),
        ends_at,
        reason: &args.reason,
        by: actor(args.by.as_deref()),
    };
    let made: Vec<Override> = remote.client.post(&path, &posted).await?;
    shown(&made, remote, terminal)
}

async fn remove(
    beginning: &str,
    path: &[&str],
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let known: Vec<Override> = remote.client.get(path, &[]).await?;
    let mut named = known
        .iter()
        .filter(|entry| entry.id.to_string().starts_with(beginning));
    let (Some(entry), None) = (named.next(), named.next()) else {
        return Err(text!("no override, or more than one, begins with {id}", id = beginning).into());
    };
    let id = entry.id.to_string();
    let answer: serde_json::Value = remote.client.delete(&[path, &[&id]].concat()).await?;
    if remote.reader.json {
        remote.reader.document(&answer, terminal)?;
    } else {
        remote
            .reader
            .line(&text!("override {id} is taken back", id = id), terminal);
    }
    Ok(Exit::SUCCESS)
}

/// Shows overrides that were made.
pub(super) fn shown(made: &[Override], remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let reader = &remote.reader;
    if reader.json {
        reader.document(made, terminal)?;
        return Ok(Exit::SUCCESS);
    }
    for entry in made {
        let text: Text = text!(
            "{person} is on duty in {schedule} from {start} until {end} ({id})",
            person = entry.person.as_str(),
            schedule = entry.schedule.as_str(),
            start = reader.time(entry.starts_at),
            end = reader.time(entry.ends_at),
            id = entry.id.to_string()
        );
        reader.line(&text, terminal);
    }
    Ok(Exit::SUCCESS)
}
