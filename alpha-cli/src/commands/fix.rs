//! `alpha check --fix`: starts again what has stopped, where that is safe, and refuses a signing validator by name.

use std::path::Path;

use alpha_probes::{Status, SuiteReport, Text, text};
use alpha_upgrade::platforms::DockerPlatform;
use alpha_upgrade::{Platform, Refusal, RefusalReason, RestartPlan, SignerEvidence};

use super::Failure;
use crate::args::CheckArgs;
use crate::language::Language;
use crate::terminal::Terminal;

/// The kind of probe whose findings a restart can mend.
const CONTAINER: &str = "container";

/// Proposes, asks, and does; the report itself is not changed by it.
pub(super) async fn run(
    report: &SuiteReport,
    args: &CheckArgs,
    language: Language,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let stopped = stopped_containers(report);
    if stopped.is_empty() {
        terminal.print_error(&format!("{}\n", text!("nothing to restart").translate(&language)));
        return Ok(());
    }
    let platform = DockerPlatform::connect(Path::new("/var/run/docker.sock"))
        .await
        .map_err(failure)?;
    let services = platform.services().await.map_err(failure)?;
    let wanted: Vec<&str> = stopped.iter().map(String::as_str).collect();
    let plan = RestartPlan::new(&services, &wanted);
    terminal.print_error(&describe(&plan, language));
    if plan.restarts.is_empty() || args.dry_run {
        return Ok(());
    }
    let question = text!("Start {count} containers?", count = plan.restarts.len());
    if !args.yes && !terminal.is_interactive() {
        let text = text!("nothing was started: there is nobody to ask; consent with --yes");
        terminal.print_error(&format!("{}\n", text.translate(&language)));
        return Ok(());
    }
    if !args.yes && !terminal.confirm(language, &question) {
        terminal.print_error(&format!(
            "{}\n",
            text!("nothing was started").translate(&language)
        ));
        return Ok(());
    }
    let mut failed = 0;
    for name in &plan.restarts {
        let outcome = match platform.start(name).await {
            Ok(()) => text!("started {container}", container = name),
            Err(error) => {
                failed += 1;
                error_text(&error)
            }
        };
        terminal.print_error(&format!("{}\n", outcome.translate(&language)));
    }
    if failed > 0 {
        return Err(text!("{count} containers could not be started", count = failed).into());
    }
    Ok(())
}

/// The containers that a check found stopped.
fn stopped_containers(report: &SuiteReport) -> Vec<String> {
    let critical = report
        .checks
        .iter()
        .filter(|check| check.kind == CONTAINER && check.status == Status::Critical);
    critical
        .filter(|check| {
            let running = check
                .measurements
                .iter()
                .find(|measurement| measurement.name == "running");
            running.is_none_or(|running| running.value == 0.0)
        })
        .filter_map(|check| {
            check
                .facts
                .get("name")
                .and_then(|name| name.as_str())
                .map(str::to_owned)
        })
        .collect()
}

fn describe(plan: &RestartPlan, language: Language) -> String {
    let restarts = plan
        .restarts
        .iter()
        .map(|name| text!("will start {container}", container = name));
    let refusals = plan.refusals.iter().map(refused);
    restarts
        .chain(refusals)
        .map(|text| format!("{}\n", text.translate(&language)))
        .collect()
}

fn refused(refusal: &Refusal) -> Text {
    let why = match &refusal.reason {
        RefusalReason::Signer(evidence) => text!(
            "it may sign blocks ({evidence}), and a second signer or an old database would be slashed",
            evidence = evidence_text(evidence)
        ),
        RefusalReason::Missing => text!("it was removed and has to be made anew"),
        RefusalReason::Running => text!("it runs, so a restart would only hide the cause"),
        _ => text!("this version of the plan is not understood"),
    };
    text!(
        "will NOT start {container}: {why}",
        container = refusal.service.as_str(),
        why = why
    )
}

fn evidence_text(evidence: &SignerEvidence) -> Text {
    match evidence {
        SignerEvidence::Argument(argument) => text!("started with {argument}", argument = argument),
        SignerEvidence::Label(label) => text!("labelled {label}", label = label),
        SignerEvidence::Keystore(mount) => text!("a keystore is mounted at {mount}", mount = mount),
        other => Text::plain(other),
    }
}

fn failure(error: alpha_upgrade::Error) -> Failure {
    error_text(&error).into()
}

fn error_text(error: &alpha_upgrade::Error) -> Text {
    let mut out = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        out.push_str(&format!(": {source}"));
        cause = source.source();
    }
    Text::plain(out)
}
