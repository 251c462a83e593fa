//! `alpha config check|schema|show`.

use alpha_probes::text;

use super::Failure;
use super::setup::{resources, tell};
use crate::args::{ConfigCommand, Global};
use crate::config;
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

/// Validates, explains or prints the configuration.
pub(super) fn run(
    command: &ConfigCommand,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    if let ConfigCommand::Schema = command {
        terminal.print(&pretty(&config::schema()));
        return Ok(Exit::SUCCESS);
    }
    let path = config::find(global.config.as_deref()).ok_or_else(|| {
        text!("there is no configuration here: name one with --config, or write one with alpha init")
    })?;
    let loaded = config::load(&path, &resources()).map_err(|mistakes| tell(&mistakes, language, terminal))?;
    let language = global.lang.or(loaded.config.language).unwrap_or(language);
    match command {
        ConfigCommand::Show if global.json => terminal.print(&pretty(&loaded.config)),
        ConfigCommand::Show => {
            let shown = toml::to_string_pretty(&loaded.config)
                .map_err(|error| text!("could not write: {cause}", cause = error.to_string()))?;
            terminal.print(&shown);
        }
        _ => {
            let good = text!(
                "{file} is valid: {count} checks",
                file = path.display().to_string(),
                count = loaded.checks.len()
            );
            terminal.print(&format!("{}\n", good.translate(&language)));
        }
    }
    Ok(Exit::SUCCESS)
}

fn pretty(value: &impl serde::Serialize) -> String {
    let mut out = serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string());
    out.push('\n');
    out
}
