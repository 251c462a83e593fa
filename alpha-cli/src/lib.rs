//! The command `alpha`, as a library so that tests run it in-process: parse, compose, render.
//!
//! Everything that judges, measures or acts lives in the libraries; this crate reads the configuration, joins them and
//! shows what they say, in the user's language.

pub mod adapt;
pub mod args;
mod client;
pub mod commands;
pub mod config;
pub mod discovery;
pub mod exit_code;
mod history;
pub mod language;
mod listing;
pub mod log;
mod logfmt;
mod pattern;
pub mod render;
mod secrets;
pub mod terminal;
pub mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

pub use terminal::Terminal;

use crate::args::Command;
use crate::exit_code::Exit;
use crate::language::Language;

/// Runs `alpha` with the arguments and the terminal of this process.
pub fn main() -> ExitCode {
    let mut terminal = Terminal::of_this_process();
    ExitCode::from(run(std::env::args_os(), &mut terminal))
}

/// Runs `alpha` with `arguments`, the program's name first, and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal) -> Exit {
    let arguments: Vec<OsString> = args::go_flags(&arguments.into_iter().collect::<Vec<_>>());
    let language = Language::choose(&arguments, terminal);
    let args = match usage::parse(&arguments, language, terminal) {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    // The one TLS provider of the process; a second installation (tests run several commands) changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.error(
                language,
                &alpha_probes::text!("could not start: {cause}", cause = error.to_string()),
            );
            return args.command.on_failure();
        }
    };
    let on_failure = args.command.on_failure();
    let outcome = runtime.block_on(commands::run(args, language, terminal));
    // A probe that hangs in a blocking call must not keep the process from ending.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|failure| {
        terminal.error(language, &failure.text);
        failure.exit.unwrap_or(on_failure)
    })
}

impl Command {
    /// The exit code where the command could not do its work.
    fn on_failure(&self) -> Exit {
        match self {
            Self::Check(_) | Self::Watch(_) => Exit::UNKNOWN,
            _ => Exit::USAGE,
        }
    }
}
