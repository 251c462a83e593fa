//! `alpha incident`: a verb each.

mod export;
mod list;
mod note;
mod show;

use super::Failure;
use super::remote::{self, Remote};
use crate::args::{Global, IncidentCommand, ServerArgs};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

/// Runs a subcommand of `alpha incident`.
pub(super) async fn run(
    command: &IncidentCommand,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let remote =
        |server: &ServerArgs, terminal: &mut Terminal| Remote::new(server, global, language, terminal);
    match command {
        IncidentCommand::List(args) => list::run(args, &remote(&args.server, terminal)?, terminal).await,
        IncidentCommand::Show(args) => show::run(args, &remote(&args.server, terminal)?, terminal).await,
        IncidentCommand::Note(args) => note::run(args, &remote(&args.server, terminal)?, terminal).await,
        IncidentCommand::Export(args) => export::run(args, &remote(&args.server, terminal)?, terminal).await,
    }
}

/// The number that was typed.
fn number(typed: &str) -> Result<alpha_alerts::incident::IncidentId, Failure> {
    Ok(typed.parse()?)
}
