//! What is told of findings, step by step.

use alpha_alerts::Severity;
use alpha_probes::memory::ScriptedProbe;
use alpha_probes::suite::Suite;
use alpha_probes::{Check, Observation, Unit};
use jiff::ToSpan;

use super::*;
use crate::config::Config;

/// A report of `check` with this status, as if seen `second`s after the beginning.
fn report(check: &str, status: Status, second: i64, cause: Option<&str>) -> Arc<CheckReport> {
    let probe = ScriptedProbe::new("target").then(Observation::new().with("x", 1.0, Unit::Count));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let check = Check::new(check, probe).unwrap();
    let suite = Suite::new(vec![check]).unwrap();
    let mut report = runtime.block_on(suite.run()).checks.remove(0);
    report.status = status;
    report.reason = alpha_probes::Text::plain(format!("{} at {second}", status.as_str()));
    report.since = Some(at(second));
    report.observed_at = at(second);
    report.suppressed_by = cause.map(|cause| cause.parse().unwrap());
    Arc::new(report)
}

fn at(second: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + second.seconds()
}

fn findings(toml: &str) -> Findings {
    let config: Config = toml::from_str(toml).unwrap();
    let names = ["api", "node"].map(|name| name.parse().unwrap());
    Findings::new(Policy::new(&config, "host-1"), names)
}

/// What is told at `second`: name, severity and whether it fires.
fn tell(findings: &mut Findings, second: i64) -> Vec<(String, String, bool)> {
    let due = findings.due(at(second));
    findings.told(due.clone(), at(second));
    due.iter()
        .map(|alert| {
            (
                alert.labels.get("check").unwrap().to_owned(),
                alert.labels.get("severity").unwrap().to_owned(),
                !alert.is_resolved_at(at(second)),
            )
        })
        .collect()
}

fn told(check: &str, severity: &str, fires: bool) -> (String, String, bool) {
    (check.to_owned(), severity.to_owned(), fires)
}

#[test]
fn what_is_wrong_is_told_once_and_its_end_too() {
    let mut findings = findings("");
    findings.note(report("api", Status::Ok, 0, None));
    assert_eq!(tell(&mut findings, 0), []);
    findings.note(report("api", Status::Critical, 1, None));
    assert_eq!(tell(&mut findings, 1), [told("api", "P2", true)]);
    assert_eq!(tell(&mut findings, 2), []);
    findings.note(report("api", Status::Ok, 3, None));
    assert_eq!(tell(&mut findings, 3), [told("api", "P2", false)]);
    assert_eq!(tell(&mut findings, 4), []);
    assert!(!findings.is_dirty());
}

#[test]
fn a_change_of_severity_ends_the_one_and_begins_the_other() {
    let mut findings = findings("");
    findings.note(report("api", Status::Warning, 1, None));
    assert_eq!(tell(&mut findings, 1), [told("api", "P3", true)]);
    findings.note(report("api", Status::Critical, 2, None));
    assert_eq!(
        tell(&mut findings, 2),
        [told("api", "P3", false), told("api", "P2", true)]
    );
    findings.note(report("api", Status::Ok, 3, None));
    assert_eq!(tell(&mut findings, 3), [told("api", "P2", false)]);
}

#[test]
fn not_seeing_it_resolves_nothing() {
    let mut findings = findings("");
    findings.note(report("api", Status::Critical, 1, None));
    tell(&mut findings, 1);
    findings.note(report("api", Status::Unknown, 100, None));
    let due = findings.due(at(100));
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].labels.get("status"), Some("critical"));
    assert!(
        due[0]
            .annotations
            .get("unseen")
            .unwrap()
            .contains("unknown at 100")
    );
    findings.told(due, at(100));
    findings.note(report("api", Status::Ok, 200, None));
    assert_eq!(tell(&mut findings, 200), [told("api", "P2", false)]);
}

#[test]
fn what_nobody_can_tell_is_an_alert_of_its_own() {
    let mut findings = findings("");
    findings.note(report("api", Status::Ok, 0, None));
    findings.note(report("api", Status::Unknown, 1, None));
    let due = findings.due(at(1));
    assert_eq!(due[0].labels.get("alertname"), Some("ScriptedUnknown"));
    assert_eq!(due[0].labels.get("severity"), Some(Severity::P3.name()));
}

#[test]
fn what_another_check_explains_is_named_there_and_not_told_on_its_own() {
    let mut findings = findings("");
    findings.note(report("api", Status::Critical, 1, None));
    assert_eq!(tell(&mut findings, 1), [told("api", "P2", true)]);
    findings.note(report("node", Status::Critical, 2, None));
    findings.note(report("api", Status::Critical, 3, Some("node")));
    let due = findings.due(at(3));
    let api = due
        .iter()
        .find(|alert| alert.labels.get("check") == Some("api"))
        .unwrap();
    assert!(api.is_resolved_at(at(3)));
    assert_eq!(api.annotations.get("ended"), Some("explained by node"));
    let node = due
        .iter()
        .find(|alert| alert.labels.get("check") == Some("node"))
        .unwrap();
    assert_eq!(node.annotations.get("explains"), Some("api"));
    assert!(node.annotations.get("description").unwrap().contains("api"));
    findings.told(due, at(3));

    findings.note(report("node", Status::Ok, 70, None));
    findings.note(report("api", Status::Critical, 70, None));
    assert_eq!(
        tell(&mut findings, 70),
        [told("api", "P2", true), told("node", "P2", false)]
    );
}

#[test]
fn other_words_are_told_at_most_once_a_minute() {
    let mut findings = findings("");
    findings.note(report("api", Status::Critical, 1, None));
    tell(&mut findings, 1);
    for second in 2..60 {
        findings.note(report("api", Status::Critical, second, None));
        assert_eq!(tell(&mut findings, second), [], "{second}");
    }
    assert!(findings.is_dirty());
    assert_eq!(tell(&mut findings, 61), [told("api", "P2", true)]);
    assert_eq!(tell(&mut findings, 62), []);
}

#[test]
fn what_could_not_be_told_stays_due() {
    let mut findings = findings("");
    findings.note(report("api", Status::Critical, 1, None));
    assert_eq!(findings.due(at(1)).len(), 1);
    assert_eq!(findings.due(at(2)).len(), 1);
    assert_eq!(tell(&mut findings, 3).len(), 1);
    assert_eq!(tell(&mut findings, 4).len(), 0);
}

#[test]
fn a_restart_adopts_what_fires_and_ends_what_has_no_check_any_more() {
    let mut before = findings("");
    before.note(report("api", Status::Critical, 1, None));
    before.note(report("node", Status::Critical, 1, None));
    let fired = before.due(at(1));

    let config: Config = toml::from_str("").unwrap();
    let mut after = Findings::new(Policy::new(&config, "host-1"), ["api".parse().unwrap()]);
    let foreign = Alert::firing(alpha_alerts::Labels::new([("alertname", "x")]), at(0));
    after.adopt(fired.iter().chain([&foreign]), at(10));
    assert_eq!(tell(&mut after, 10), [told("node", "P2", false)]);
    after.note(report("api", Status::Critical, 1, None));
    assert_eq!(tell(&mut after, 11), [], "what fires already is not told again");
    after.note(report("api", Status::Ok, 12, None));
    assert_eq!(tell(&mut after, 12), [told("api", "P2", false)]);
}

#[test]
fn another_configuration_changes_severities_and_ends_what_it_leaves_out() {
    let mut findings = findings("");
    findings.note(report("api", Status::Critical, 1, None));
    findings.note(report("node", Status::Critical, 1, None));
    tell(&mut findings, 1);
    let config: Config = toml::from_str(
        "[[paging.rules]]\nchecks = [\"a*\"]\ncritical = \"P0\"\nlabels.component = \"api\"\n",
    )
    .unwrap();
    findings.replace(Policy::new(&config, "host-1"), ["api".parse().unwrap()]);
    let mut due = tell(&mut findings, 2);
    due.sort();
    assert_eq!(
        due,
        [
            told("api", "P0", true),
            told("api", "P2", false),
            told("node", "P2", false)
        ]
    );
}
