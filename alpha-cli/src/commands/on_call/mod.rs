//! `alpha oncall`: a verb each.

mod gaps;
mod handover;
mod ical;
mod now;
mod overrides;
mod rota;
mod schedule;
mod swap;

use super::Failure;
use super::alert::silences;
use super::remote::{self, Remote};
use crate::args::{Global, HandoverCommand, OnCallCommand, ServerArgs};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

use rota::Rota;

/// Runs a subcommand of `alpha oncall`.
pub(super) async fn run(
    command: &OnCallCommand,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let remote =
        |server: &ServerArgs, terminal: &mut Terminal| Remote::new(server, global, language, terminal);
    match command {
        OnCallCommand::Now(args) => {
            let rota = Rota::new(&args.server, args.offline, global, language, terminal).await?;
            now::run(args, &rota, terminal)
        }
        OnCallCommand::Schedule(args) => {
            let rota = Rota::new(&args.server, args.offline, global, language, terminal).await?;
            schedule::run(args, &rota, terminal)
        }
        OnCallCommand::Gaps(args) => {
            let rota = Rota::new(&args.server, args.offline, global, language, terminal).await?;
            gaps::run(args, &rota, terminal)
        }
        OnCallCommand::Ical(args) => {
            let rota = Rota::new(&args.server, args.offline, global, language, terminal).await?;
            ical::run(args, &rota, terminal)
        }
        OnCallCommand::Override(args) => {
            overrides::run(args, &remote(&args.server, terminal)?, terminal).await
        }
        OnCallCommand::Swap(args) => swap::run(args, &remote(&args.server, terminal)?, terminal).await,
        OnCallCommand::Handover(HandoverCommand::Write(args)) => {
            let rota = Rota::new(&args.server, false, global, language, terminal).await?;
            handover::write(args, &rota, &remote(&args.server, terminal)?, terminal).await
        }
        OnCallCommand::Handover(HandoverCommand::List(server)) => {
            handover::list(&remote(server, terminal)?, terminal).await
        }
        OnCallCommand::Handover(HandoverCommand::Show(args)) => {
            handover::show(args, &remote(&args.server, terminal)?, terminal).await
        }
        OnCallCommand::Handover(HandoverCommand::Accept(args)) => {
            handover::accept(args, &remote(&args.server, terminal)?, terminal).await
        }
    }
}
