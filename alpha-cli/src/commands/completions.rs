//! `alpha completions` and `alpha man`.

use std::fs;

use alpha_probes::text;

use super::Failure;
use crate::args::{CompletionsArgs, ManArgs};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;
use crate::usage;

/// Prints the completion script of a shell.
pub(super) fn completions(args: &CompletionsArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut usage::command(Language::English),
        "alpha",
        &mut script,
    );
    terminal.print(&String::from_utf8_lossy(&script));
    Ok(Exit::SUCCESS)
}

/// Prints the manual page of `alpha`, or writes one page a command into a folder.
pub(super) fn man(args: &ManArgs, language: Language, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let command = usage::command(language);
    match &args.out {
        Some(folder) => {
            let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
            written.map_err(|error| {
                text!(
                    "the manual pages cannot be written to {folder}: {cause}",
                    folder = folder.display().to_string(),
                    cause = error.to_string()
                )
            })?;
        }
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut page);
            rendered.map_err(|error| text!("could not write: {cause}", cause = error.to_string()))?;
            terminal.print(&String::from_utf8_lossy(&page));
        }
    }
    Ok(Exit::SUCCESS)
}
