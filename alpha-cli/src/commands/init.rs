//! `alpha init`: writes a commented configuration of what is found running here.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use alpha_probes::{CheckConfig, Text, text};
use serde::Serialize;

use super::Failure;
use super::setup::resources;
use crate::args::{Global, InitArgs};
use crate::discovery::{self, Discovery};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

/// Looks at what runs here and writes the configuration.
pub(super) async fn run(
    args: &InitArgs,
    _global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let to_output = args.file == Path::new("-");
    if !to_output && args.file.exists() && !args.force {
        let file = args.file.display().to_string();
        return Err(text!("{file} is there already; replace it with --force", file = file).into());
    }
    let found = discovery::discover(&resources()).await;
    let config = render(&found, language)?;
    if to_output {
        terminal.print(&config);
        return Ok(Exit::SUCCESS);
    }
    let file = args.file.display().to_string();
    write(&args.file, &config, args.force).map_err(|error| {
        text!(
            "{file} cannot be written: {cause}",
            file = file.as_str(),
            cause = error.to_string()
        )
    })?;
    let checks: usize = found.found.iter().map(|found| found.checks.len()).sum();
    let done = text!(
        "wrote {file} with {count} checks; look at it, then: alpha check --config {file}",
        file = file.as_str(),
        count = checks
    );
    terminal.print(&format!("{}\n", done.translate(&language)));
    Ok(Exit::SUCCESS)
}

/// Writes the file whole or not at all.
fn write(path: &Path, text: &str, replace: bool) -> std::io::Result<()> {
    if !replace {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(path)?;
        return file.write_all(text.as_bytes());
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}

/// One check the way a configuration file holds it.
#[derive(Serialize)]
struct Document<'a> {
    check: [&'a CheckConfig; 1],
}

fn render(found: &Discovery, language: Language) -> Result<String, Text> {
    let comment = |text: Text| -> String {
        text.translate(&language)
            .lines()
            .map(|line| format!("# {line}\n"))
            .collect()
    };
    let mut out = comment(text!(
        "What alpha init found running here. Every key: docs/reference/configuration.md; alpha config check tells mistakes."
    ));
    out.push_str(&comment(text!(
        "A check without conditions, warn or crit is judged by the rules of its kind: docs/reference/probes.md."
    )));
    out.push_str("\n[log]\n");
    out.push_str(&comment(text!(
        "Alpha's own log, JSON lines, rotated at 100 MB, ten files kept."
    )));
    out.push_str("# file = \"/var/log/alpha/alpha.log\"\n");
    for found in &found.found {
        out.push_str(&format!("\n{}", comment(found.what.clone())));
        for check in &found.checks {
            let table = toml::to_string_pretty(&Document { check: [check] })
                .map_err(|error| text!("could not write: {cause}", cause = error.to_string()))?;
            out.push_str(&table);
            out.push('\n');
        }
    }
    Ok(out)
}
