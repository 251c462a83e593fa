//! `alpha alert silence`: adds, lists and ends silences.

use alpha_alerts::matcher::{self, Matcher};
use alpha_alerts::{Labels, Silence};
use alpha_probes::text;
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::remote::{API_V2, Remote, actor};
use crate::args::{SilenceAddArgs, SilenceExpireArgs, SilenceListArgs};
use crate::exit_code::Exit;
use crate::listing::Listing;
use crate::terminal::Terminal;

/// A silence as Alertmanager's API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    matchers: Vec<Matcher>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: &'a str,
    comment: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "silenceID")]
    id: String,
}

/// A silence as Alertmanager's API shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSilence {
    id: String,
    status: Status,
    matchers: Vec<Matcher>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    updated_at: Timestamp,
    created_by: String,
    comment: String,
}

#[derive(Deserialize)]
struct Status {
    state: State,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Active,
    Pending,
    Expired,
}

/// A silence as JSON.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    state: State,
    matchers: Vec<String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: &'a str,
    comment: &'a str,
}

/// Makes a silence.
pub(super) async fn add(
    args: &SilenceAddArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let mut matchers = Vec::new();
    for text in &args.matchers {
        matchers.extend(matcher::parse_list(text)?);
    }
    let starts_at = args.from.unwrap_or(remote.reader.now);
    let ends_at = args.until.unwrap_or_else(|| {
        starts_at
            .saturating_add(args.duration.0)
            .unwrap_or(Timestamp::MAX)
    });
    let by = actor(args.by.as_deref());
    let posted = Posted {
        matchers,
        starts_at,
        ends_at,
        created_by: &by,
        comment: &args.comment,
    };
    let path = [&API_V2[..], &["silences"]].concat();
    let answer: Answer = remote.client.post(&path, &posted).await?;
    if remote.reader.json {
        let line = Line {
            id: &answer.id,
            state: if starts_at <= remote.reader.now {
                State::Active
            } else {
                State::Pending
            },
            matchers: posted.matchers.iter().map(ToString::to_string).collect(),
            starts_at,
            ends_at,
            created_by: &by,
            comment: &args.comment,
        };
        remote.reader.document(&line, terminal)?;
    } else {
        let text = text!(
            "silence {id} holds from {start} until {end}",
            id = answer.id,
            start = remote.reader.time(starts_at),
            end = remote.reader.time(ends_at)
        );
        remote.reader.line(&text, terminal);
    }
    Ok(Exit::SUCCESS)
}

/// All silences that the server knows, as the library has them.
pub(in crate::commands) async fn silences(remote: &Remote) -> Result<Vec<Silence>, Failure> {
    let silences = all(remote).await?.into_iter();
    let silences = silences.filter_map(|wire| {
        Some(Silence {
            id: wire.id.parse().ok()?,
            matchers: wire.matchers,
            starts_at: wire.starts_at,
            ends_at: wire.ends_at,
            updated_at: wire.updated_at,
            created_by: wire.created_by,
            comment: wire.comment,
            annotations: Labels::default(),
            recurrence: None,
        })
    });
    Ok(silences.collect())
}

async fn all(remote: &Remote) -> Result<Vec<WireSilence>, Failure> {
    let path = [&API_V2[..], &["silences"]].concat();
    Ok(remote.client.get(&path, &[]).await?)
}

/// Lists the silences, those that hold first.
pub(super) async fn list(
    args: &SilenceListArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let mut silences = all(remote).await?;
    silences.retain(|silence| args.all || silence.status.state != State::Expired);
    if remote.reader.json {
        let lines: Vec<Line<'_>> = silences.iter().map(WireSilence::line).collect();
        remote.reader.document(&lines, terminal)?;
        return Ok(Exit::SUCCESS);
    }
    if silences.is_empty() {
        remote.reader.line(&text!("nothing is silenced"), terminal);
        return Ok(Exit::SUCCESS);
    }
    let header = [
        text!("STATE"),
        text!("ID"),
        text!("FROM"),
        text!("UNTIL"),
        text!("BY"),
        text!("WHICH ALERTS, AND WHY"),
    ];
    let mut listing = Listing::new(header, remote.reader.language);
    for silence in &silences {
        let (word, style) = match silence.status.state {
            State::Active => (text!("active"), AnsiColor::Yellow.on_default()),
            State::Pending => (text!("pending"), Style::new()),
            State::Expired => (text!("over"), Style::new().dimmed()),
        };
        let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
        let row = [
            remote.reader.say(&word),
            silence.id.chars().take(8).collect(),
            remote.reader.time(silence.starts_at),
            remote.reader.time(silence.ends_at),
            silence.created_by.clone(),
            format!("{}\n→ {}", matchers.join(", "), silence.comment),
        ];
        listing.push(style, row);
    }
    terminal.print(&listing.render(terminal));
    Ok(Exit::SUCCESS)
}

impl WireSilence {
    fn line(&self) -> Line<'_> {
        Line {
            id: &self.id,
            state: self.status.state,
            matchers: self.matchers.iter().map(ToString::to_string).collect(),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            created_by: &self.created_by,
            comment: &self.comment,
        }
    }
}

/// Ends a silence.
pub(super) async fn expire(
    args: &SilenceExpireArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let silences = all(remote).await?;
    let named: Vec<&WireSilence> = silences
        .iter()
        .filter(|silence| silence.id.starts_with(&args.id) && silence.status.state != State::Expired)
        .collect();
    let [silence] = named.as_slice() else {
        return Err(match named.len() {
            0 => text!(
                "no silence that is not over begins with {id}: see alpha alert silence list",
                id = args.id.as_str()
            ),
            count => text!(
                "{count} silences begin with {id}: write more of it",
                count = count,
                id = args.id.as_str()
            ),
        }
        .into());
    };
    let path = [&API_V2[..], &["silence", &silence.id]].concat();
    remote.client.delete::<()>(&path).await?;
    if remote.reader.json {
        let mut line = silence.line();
        line.state = State::Expired;
        line.ends_at = remote.reader.now;
        remote.reader.document(&line, terminal)?;
    } else {
        let text = text!("silence {id} is over", id = silence.id.as_str());
        remote.reader.line(&text, terminal);
    }
    Ok(Exit::SUCCESS)
}
