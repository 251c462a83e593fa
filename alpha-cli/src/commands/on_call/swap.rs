//! `alpha oncall swap`: two people serve each other's time.

use alpha_alerts::oncall::Override;
use jiff::Timestamp;
use serde::Serialize;

use super::Failure;
use super::overrides::shown;
use super::remote::{API, Remote, actor};
use crate::args::{Stint, SwapArgs};
use crate::exit_code::Exit;
use crate::terminal::Terminal;

#[derive(Serialize)]
struct Posted<'a> {
    schedule: &'a str,
    first: PostedStint<'a>,
    second: PostedStint<'a>,
    reason: &'a str,
    by: String,
}

#[derive(Serialize)]
struct PostedStint<'a> {
    person: &'a str,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

impl<'a> From<&'a Stint> for PostedStint<'a> {
    fn from(stint: &'a Stint) -> Self {
        Self {
            person: &stint.person,
            starts_at: stint.starts_at,
            ends_at: stint.ends_at,
        }
    }
}

pub(super) async fn run(args: &SwapArgs, remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let posted = Posted {
        schedule: &args.schedule,
        first: (&args.first).into(),
        second: (&args.second).into(),
        reason: &args.reason,
        by: actor(args.by.as_deref()),
    };
    let path = [&API[..], &["on-call", "swaps"]].concat();
    let made: Vec<Override> = remote.client.post(&path, &posted).await?;
    shown(&made, remote, terminal)
}
