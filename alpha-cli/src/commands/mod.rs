//! A verb each: configuration, engine, report.

mod alert;
mod alertmanager;
mod bench;
mod check;
mod completions;
mod config;
mod fix;
mod incident;
mod init;
mod on_call;
mod remote;
mod serve;
mod setup;
mod signals;
mod watch;
mod watching;

use alpha_probes::Text;

use crate::adapt::alerts_error;
use crate::args::{Args, Command};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// What to tell the user.
    pub text: Text,
    /// The exit code, where it is not the command's usual one.
    pub exit: Option<Exit>,
}

impl From<Text> for Failure {
    fn from(text: Text) -> Self {
        Self { text, exit: None }
    }
}

impl From<alpha_alerts::Error> for Failure {
    fn from(error: alpha_alerts::Error) -> Self {
        alerts_error(&error).into()
    }
}

impl From<alpha_probes::Error> for Failure {
    fn from(error: alpha_probes::Error) -> Self {
        error.to_text().into()
    }
}

/// Runs the command of `args`.
///
/// # Errors
/// What to tell the user where the command could not do its work.
pub async fn run(args: Args, language: Language, terminal: &mut Terminal) -> Result<Exit, Failure> {
    terminal.choose_colour(args.global.color);
    let global = &args.global;
    match args.command {
        Command::Check(check) => check::run(check, global, language, terminal).await,
        Command::Watch(watch) => watch::run(watch, global, language, terminal).await,
        Command::Serve(serve) => serve::run(&serve, global, language, terminal).await,
        Command::Alert(command) => alert::run(&command, global, language, terminal).await,
        Command::Incident(command) => incident::run(&command, global, language, terminal).await,
        Command::OnCall(command) => on_call::run(&command, global, language, terminal).await,
        Command::Init(init) => init::run(&init, global, language, terminal).await,
        Command::Config(command) => config::run(&command, global, language, terminal),
        Command::Alertmanager(args) => alertmanager::run(*args, language, terminal).await,
        Command::Bench(command) => bench::run(&command, global, language, terminal).await,
        Command::Completions(completions) => completions::completions(&completions, terminal),
        Command::Man(man) => completions::man(&man, language, terminal),
    }
}
