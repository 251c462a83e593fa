//! `alpha alert`: a verb each.

mod acknowledge;
mod list;
mod resolve;
mod route;
mod send;
mod show;
mod silence;
mod simulate;
mod why;

use super::Failure;
use super::remote::{self, Remote};
use crate::args::{AlertCommand, Global, RouteCommand, ServerArgs, SilenceCommand};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

pub(super) use silence::silences;

/// Runs a subcommand of `alpha alert`.
pub(super) async fn run(
    command: &AlertCommand,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let remote =
        |server: &ServerArgs, terminal: &mut Terminal| Remote::new(server, global, language, terminal);
    match command {
        AlertCommand::Send(args) => send::run(args, &remote(&args.server, terminal)?, terminal).await,
        AlertCommand::List(args) => list::run(args, &remote(&args.server, terminal)?, terminal).await,
        AlertCommand::Show(args) => show::run(args, &remote(&args.server, terminal)?, terminal).await,
        AlertCommand::Why(args) => why::run(args, &remote(&args.server, terminal)?, terminal).await,
        AlertCommand::Ack(args) => acknowledge::run(args, &remote(&args.server, terminal)?, terminal).await,
        AlertCommand::Resolve(args) => resolve::run(args, &remote(&args.server, terminal)?, terminal).await,
        AlertCommand::Silence(SilenceCommand::Add(args)) => {
            silence::add(args, &remote(&args.server, terminal)?, terminal).await
        }
        AlertCommand::Silence(SilenceCommand::List(args)) => {
            silence::list(args, &remote(&args.server, terminal)?, terminal).await
        }
        AlertCommand::Silence(SilenceCommand::Expire(args)) => {
            silence::expire(args, &remote(&args.server, terminal)?, terminal).await
        }
        AlertCommand::Route(RouteCommand::Test(args)) => {
            let config = remote::configuration(global, language, terminal)?;
            let reader = remote::Reader::new(global, language, Some(&config));
            route::test(args, &config, &reader, terminal)
        }
        AlertCommand::Simulate(args) => {
            let config = remote::configuration(global, language, terminal)?;
            let reader = remote::Reader::new(global, language, Some(&config));
            simulate::run(args, &config, &reader, terminal)
        }
    }
}
