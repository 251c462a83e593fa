//! The command line in the user's language: help, and what is wrong with the arguments.

use std::ffi::OsString;

use alpha_probes::{Text, text};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use crate::args::Args;
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

/// The commands whose exit codes follow the convention of monitoring plugins, where 2 is "critical".
const PLUGIN_COMMANDS: [&str; 2] = ["check", "watch"];

/// Parses the arguments; help, version and mistakes are shown and end in an exit code.
pub(crate) fn parse(
    arguments: &[OsString],
    language: Language,
    terminal: &mut Terminal,
) -> Result<Args, Exit> {
    let parsed = command(language)
        .try_get_matches_from(arguments)
        .and_then(|matches| Args::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let is_coloured = terminal.is_coloured();
        let rendered = if is_coloured {
            error.render().ansi().to_string()
        } else {
            error.render().to_string()
        };
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                terminal.print(&rendered);
                Exit::SUCCESS
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                terminal.print_error(&rendered);
                usage_exit(arguments)
            }
            _ => {
                match language {
                    Language::English => terminal.print_error(&rendered),
                    Language::Chinese => terminal.error(language, &explain(&error)),
                }
                usage_exit(arguments)
            }
        }
    })
}

fn usage_exit(arguments: &[OsString]) -> Exit {
    let names_plugin = |word: &OsString| PLUGIN_COMMANDS.iter().any(|name| word == name);
    if arguments.iter().skip(1).any(names_plugin) {
        Exit::UNKNOWN
    } else {
        Exit::USAGE
    }
}

/// The whole command line with its help in `language`.
pub fn command(language: Language) -> clap::Command {
    let mut command = Args::command();
    if language == Language::English {
        return command;
    }
    command.build();
    translate(command, language)
}

fn translate(command: clap::Command, language: Language) -> clap::Command {
    let phrase = |english: &clap::builder::StyledStr| language.phrase(&english.to_string());
    let about = command.get_about().map(phrase);
    let mut command = command
        .help_template(format!(
            "{{before-help}}{{about-with-newline}}\n{}{{usage}}\n\n{{all-args}}{{after-help}}",
            language.phrase("Usage: ")
        ))
        .subcommand_help_heading(language.phrase("Commands"))
        .mut_args(|argument| {
            let heading = if argument.is_positional() {
                "Arguments"
            } else {
                "Options"
            };
            let help = argument.get_help().map(phrase);
            let argument = argument.help_heading(language.phrase(heading)).hide_env(true);
            match help {
                Some(help) => argument.help(help),
                None => argument,
            }
        })
        .mut_subcommands(|subcommand| translate(subcommand, language));
    if let Some(about) = about {
        command = command.about(about);
    }
    command
}

/// Every English phrase of the help, which the catalogue must know.
pub fn phrases() -> Vec<String> {
    fn collect(command: &clap::Command, phrases: &mut Vec<String>) {
        phrases.extend(command.get_about().map(ToString::to_string));
        phrases.extend(
            command
                .get_arguments()
                .filter_map(|argument| argument.get_help())
                .map(ToString::to_string),
        );
        for subcommand in command.get_subcommands() {
            collect(subcommand, phrases);
        }
    }
    let mut command = Args::command();
    command.build();
    let mut phrases: Vec<String> = [
        "Usage: ",
        "Commands",
        "Arguments",
        "Options",
        "error:",
        "warning:",
    ]
    .map(str::to_owned)
    .to_vec();
    collect(&command, &mut phrases);
    phrases.sort();
    phrases.dedup();
    phrases
}

/// What is wrong with the arguments, as a text that can be translated; clap itself speaks English only.
fn explain(error: &clap::Error) -> Text {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => value.clone(),
        Some(ContextValue::Strings(values)) => values.join(", "),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    let problem = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            text!(
                "there is no command \"{command}\"",
                command = context(ContextKind::InvalidSubcommand)
            )
        }
        ErrorKind::UnknownArgument => text!("there is no argument {argument}", argument = argument),
        ErrorKind::InvalidValue if value.is_empty() => text!("{argument} needs a value", argument = argument),
        ErrorKind::InvalidValue => text!(
            "{argument} cannot be \"{value}\": expected one of {valid}",
            argument = argument,
            value = value,
            valid = context(ContextKind::ValidValue)
        ),
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            text!(
                "{argument} cannot be \"{value}\": {cause}",
                argument = argument,
                value = value,
                cause = cause
            )
        }
        ErrorKind::ArgumentConflict => text!(
            "{argument} cannot be used together with {other}",
            argument = argument,
            other = context(ContextKind::PriorArg)
        ),
        ErrorKind::MissingRequiredArgument => text!("{argument} is required", argument = argument),
        _ => {
            let english = error.render().to_string();
            let line = english
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            text!("the arguments are not understood: {cause}", cause = line)
        }
    };
    let suggested = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .map(context)
    .into_iter()
    .find(|suggestion| !suggestion.is_empty());
    match suggested {
        Some(suggestion) => text!(
            "{problem}; did you mean {suggestion}?",
            problem = problem,
            suggestion = suggestion
        ),
        None => text!("{problem}; see --help", problem = problem),
    }
}
