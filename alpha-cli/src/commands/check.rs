//! `alpha check`: look once and say what is wrong, worst first.

use std::collections::HashMap;
use std::sync::Arc;

use alpha_probes::history::Sample;
use alpha_probes::suite::Suite;
use alpha_probes::{CheckReport, Status, SuiteReport, text};

use super::Failure;
use super::fix;
use super::setup::{Setup, setup, warn_of_history};
use crate::args::{CheckArgs, Global};
use crate::exit_code::Exit;
use crate::history::{self, Memory};
use crate::language::Language;
use crate::render;
use crate::terminal::{Progress, Terminal};

/// Runs the checks once and shows what they found; with `--fix`, proposes what may be restarted.
pub(super) async fn run(
    args: CheckArgs,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let setup = setup(&args.names, false, global, language, terminal).await?;
    let language = setup.language;
    if setup.checks.is_empty() {
        return Err(text!("there is nothing to check: the configuration has no checks").into());
    }
    let report = look(&setup, args.no_history, terminal).await?;
    show(&report, &setup, global, terminal);
    if args.fix {
        fix::run(&report, &args, language, terminal).await?;
    }
    Ok(report.verdict.into())
}

/// One look at everything, remembered for the next one.
async fn look(setup: &Setup, no_history: bool, terminal: &mut Terminal) -> Result<SuiteReport, Failure> {
    let clock = &setup.resources.clock;
    let history = if no_history {
        None
    } else {
        setup.history(terminal).await
    };
    let memory = match &history {
        Some(history) => match history::recall(&**history, &setup.checks, clock.now()).await {
            Ok(memory) => Some(memory),
            Err(error) => {
                warn_of_history(&error, setup.language, terminal);
                None
            }
        },
        None => None,
    };
    let suite = suite(setup, memory)?;
    let progress = Progress::start(setup.checks.len(), terminal);
    let report = suite
        .run_with(|check: &CheckReport| progress.step(check.name.as_str()))
        .await;
    drop(progress);
    if let Some(history) = &history {
        let samples: Vec<Sample> = report.checks.iter().flat_map(Sample::of).collect();
        if let Err(error) = history::keep(&**history, &samples, &suite.states(), clock.now()).await {
            warn_of_history(&error, setup.language, terminal);
        }
    }
    Ok(report)
}

fn suite(setup: &Setup, memory: Option<Memory>) -> Result<Suite, Failure> {
    let suite = Suite::new(setup.checks.clone())?
        .with_clock(Arc::clone(&setup.resources.clock))
        .with_limits(setup.limits());
    Ok(match memory {
        Some(Memory { states, past }) => suite.with_states(states).with_past(past),
        None => suite.with_past(HashMap::new()),
    })
}

fn show(report: &SuiteReport, setup: &Setup, global: &Global, terminal: &mut Terminal) {
    if global.json {
        let mut json =
            serde_json::to_string(report).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        json.push('\n');
        terminal.print(&json);
        return;
    }
    if !global.quiet {
        let table = render::table(report, setup.resources.clock.now(), setup.language, terminal);
        terminal.print(&format!("{table}\n"));
    }
    terminal.print(&render::verdict(report, setup.language, terminal));
    if setup.file.is_none() && !global.quiet && report.verdict != Status::Ok {
        let hint = text!("checked what was found here; alpha init writes a configuration to start from");
        terminal.print(&format!("{}\n", hint.translate(&setup.language)));
    }
}
