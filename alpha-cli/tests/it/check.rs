//! `alpha check` from end to end.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::command::{alpha, alpha_at, written};
use alpha_cli::Terminal;

/// A configuration whose history lies in `folder`, followed by `checks`.
fn config(folder: &std::path::Path, checks: &str) -> String {
    let history = folder.join("history.db");
    let text = format!("[history]\nsqlite = \"{}\"\n\n{checks}", history.display());
    written(folder, "alpha.toml", &text)
}

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn nothing_listening_is_critical_and_the_report_has_its_published_keys() {
    let folder = tempfile::tempdir().unwrap();
    let port = testbed::free_port();
    let config = config(
        folder.path(),
        &format!(
            "[[check]]\nname = \"api\"\nhttp.url = \"http://127.0.0.1:{port}/api/health\"\n\n[[check]]\nname = \"cpu\"\ncpu = {{}}\ndefaults = false\ncrit = \"[used] > 1000%\"\n"
        ),
    );
    let run = alpha(&["check", "--config", &config, "--json"]);
    assert_eq!(run.code, 2, "{}{}", run.output, run.errors);
    let report = json(&run.output);
    assert_eq!(report["verdict"], "critical");
    assert!(report["started_at"].is_string() && report["elapsed_seconds"].is_number());
    let api = &report["checks"][0];
    assert_eq!(api["name"], "api");
    assert_eq!(api["status"], "critical");
    assert!(api["reason"].as_str().unwrap().contains("refused"), "{api}");
    let keys: BTreeSet<&str> = api.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "name",
        "status",
        "reason",
        "observed_at",
        "measurements",
        "runbook",
        "suppressed_by",
    ] {
        assert!(keys.contains(key), "{key} is missing in {api}");
    }
    let cpu = &report["checks"][1];
    assert_eq!(cpu["status"], "ok", "{cpu}");
    let measurement = &cpu["measurements"][0];
    assert!(
        measurement["name"].is_string()
            && measurement["value"].is_number()
            && measurement["unit"].is_string()
    );
}

#[test]
fn the_table_is_worst_first_and_ends_with_one_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let port = testbed::free_port();
    let checks = format!(
        "[[check]]\nname = \"fine\"\ncpu = {{}}\ndefaults = false\ncrit = \"[used] > 1000%\"\n\n[[check]]\nname = \"broken\"\ntcp.address = \"127.0.0.1:{port}\"\n"
    );
    let config = config(folder.path(), &checks);
    let english = alpha(&["check", "--config", &config]);
    let broken = english.output.find("broken").expect("the broken check is shown");
    let fine = english.output.find("fine").expect("the good check is shown");
    assert!(broken < fine, "{}", english.output);
    assert!(
        english.output.contains("docs/runbooks/tcp.md"),
        "{}",
        english.output
    );
    assert!(
        english
            .output
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .starts_with("CRITICAL: 1 critical; 1 ok in ")
    );
    let chinese = alpha(&["check", "--config", &config, "--lang", "zh"]);
    assert!(chinese.output.contains("严重 1；正常 1"), "{}", chinese.output);
    let quiet = alpha(&["check", "--config", &config, "--quiet"]);
    assert_eq!(quiet.output.lines().count(), 1);
}

#[test]
fn the_next_run_knows_since_when() {
    let folder = tempfile::tempdir().unwrap();
    let port = testbed::free_port();
    let config = config(
        folder.path(),
        &format!("[[check]]\nname = \"a\"\ntcp.address = \"127.0.0.1:{port}\"\n"),
    );
    let first = json(&alpha(&["check", "--config", &config, "--json"]).output);
    let second = json(&alpha(&["check", "--config", &config, "--json"]).output);
    let third = json(&alpha(&["check", "--config", &config, "--json"]).output);
    assert_eq!(
        first["checks"][0]["since"],
        Value::Null,
        "nobody knows the first time"
    );
    assert!(second["checks"][0]["since"].is_string(), "{second}");
    assert_eq!(second["checks"][0]["since"], third["checks"][0]["since"]);
    let forgetful = json(&alpha(&["check", "--config", &config, "--json", "--no-history"]).output);
    assert_eq!(forgetful["checks"][0]["since"], Value::Null);
}

#[test]
fn a_history_that_cannot_be_opened_costs_only_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[history]\nsqlite = \"/proc/no/history.db\"\n[[check]]\nname = \"a\"\ncpu = {}\ndefaults = false\ncrit = \"[used] > 1000%\"\n";
    let config = written(folder.path(), "alpha.toml", text);
    let run = alpha(&["check", "--config", &config]);
    assert_eq!(run.code, 0, "{}{}", run.output, run.errors);
    assert!(run.errors.contains("going on without history"), "{}", run.errors);
}

#[test]
fn only_the_named_checks_run() {
    let folder = tempfile::tempdir().unwrap();
    let checks = "[[check]]\nname = \"host/cpu\"\ncpu = {}\n[[check]]\nname = \"host/memory\"\nmemory = {}\n";
    let config = config(folder.path(), checks);
    let run = json(&alpha(&["check", "host/m*", "--config", &config, "--json"]).output);
    assert_eq!(run["checks"].as_array().unwrap().len(), 1);
    let none = alpha(&["check", "hots", "--config", &config]);
    assert_eq!(none.code, 3);
    assert!(none.errors.contains("host/cpu"), "{}", none.errors);
}

#[test]
fn a_broken_configuration_runs_nothing_and_tells_every_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let checks = "[[check]]\nname = \"a\"\ncpu = {}\nwarn = \"[used] >\"\n\n[[check]]\nname = \"a\"\nmemory = {}\ndepends_on = [\"aa\"]\n";
    let config = config(folder.path(), checks);
    let run = alpha(&["check", "--config", &config]);
    assert_eq!(run.code, 3);
    assert!(run.output.is_empty(), "{}", run.output);
    for expected in ["alpha.toml:7", "is taken by another check", "no check \"aa\""] {
        assert!(
            run.errors.contains(expected),
            "{expected} is not told: {}",
            run.errors
        );
    }
    assert_eq!(alpha(&["config", "check", "--config", &config]).code, 2);
}

#[test]
fn a_configuration_that_is_not_there_is_told_by_name() {
    let run = alpha(&["check", "--config", "no/such/alpha.toml"]);
    assert_eq!(run.code, 3);
    assert!(run.errors.contains("no/such/alpha.toml"), "{}", run.errors);
}

#[test]
fn without_a_configuration_it_looks_at_what_is_here() {
    let run = alpha(&["check", "--json", "--no-history"]);
    assert!(run.code <= 3);
    let report = json(&run.output);
    let names: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| &check["name"])
        .collect();
    assert!(
        names.contains(&&Value::from("host/cpu")) && names.contains(&&Value::from("host/filesystems")),
        "{names:?}"
    );
}

#[test]
fn what_init_writes_is_a_valid_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alpha.toml");
    let file = file.to_str().unwrap();
    let written = alpha(&["init", file]);
    assert_eq!(written.code, 0, "{}", written.errors);
    let checked = alpha(&["config", "check", "--config", file]);
    assert_eq!(checked.code, 0, "{}", checked.errors);
    assert_eq!(
        alpha(&["init", file]).code,
        2,
        "a file was replaced without --force"
    );
    assert_eq!(alpha(&["init", file, "--force"]).code, 0);
}

#[test]
fn fix_starts_what_is_safe_and_refuses_a_signer_by_name() {
    let docker = testbed::need!(testbed::Docker::start());
    let api = docker.create(&[], &["sleep", "300"]);
    let signer = docker.create(&[], &["sleep", "300", "--validator"]);
    let folder = tempfile::tempdir().unwrap();
    let checks = [&api, &signer].map(|container| {
        format!(
            "[[check]]\nname = \"{0}\"\ncontainer.name = \"{0}\"\n",
            container.name()
        )
    });
    let config = config(folder.path(), &checks.join("\n"));
    let planned = alpha(&["check", "--config", &config, "--fix", "--dry-run"]);
    assert!(
        planned.errors.contains(&format!("will start {}", api.name())),
        "{}",
        planned.errors
    );
    assert!(
        planned
            .errors
            .contains(&format!("will NOT start {}", signer.name())),
        "{}",
        planned.errors
    );
    let unasked = alpha(&["check", "--config", &config, "--fix"]);
    assert!(
        unasked.errors.contains("nothing was started"),
        "{}",
        unasked.errors
    );
    assert_eq!(api.inspect("{{.State.Running}}"), "false");
    let refused = alpha_at(
        Terminal::captured().answering("n\n"),
        &["check", "--config", &config, "--fix"],
    );
    assert!(
        refused.errors.contains("nothing was started"),
        "{}",
        refused.errors
    );
    let agreed = alpha_at(
        Terminal::captured().answering("y\n"),
        &["check", "--config", &config, "--fix"],
    );
    assert!(
        agreed.errors.contains(&format!("started {}", api.name())),
        "{}",
        agreed.errors
    );
    assert_eq!(api.inspect("{{.State.Running}}"), "true");
    assert_eq!(signer.inspect("{{.State.Running}}"), "false");
}
