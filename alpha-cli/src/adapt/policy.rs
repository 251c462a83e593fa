//! How bad a finding is, and how its alert reads.

use std::collections::{BTreeMap, HashMap};

use alpha_alerts::oncall::{COMPONENT_LABEL, OnCall};
use alpha_alerts::{Alert, Labels, Severity};
use alpha_probes::{CheckReport, Status, Text, text};
use jiff::Timestamp;
use url::Url;

use super::ready_made::ReadyMade;
use crate::config::{Config, PagingRule};
use crate::language::Language;
use crate::pattern::matches;

/// The label `job` of every alert that comes from a check, by which a later process knows them again.
pub(super) const JOB: &str = "alpha";

/// The label of a check in which a configuration says how bad it is.
const SEVERITY: &str = "severity";

/// The labels that Alpha itself gives; a check cannot have them.
const OWN_LABELS: [&str; 5] = ["check", "instance", "job", "kind", "status"];

/// So many suppressed checks are named in one alert; further ones are counted.
const NAMED_AT_MOST: usize = 20;

/// What the configuration makes of findings.
#[derive(Clone, Debug)]
pub struct Policy {
    instance: String,
    runbooks: Option<Url>,
    rules: Vec<PagingRule>,
    labels: HashMap<String, BTreeMap<String, String>>,
    owners: OnCall,
    language: Language,
}

impl Policy {
    /// The policy of a configuration; `host` is the name of this machine, which the configuration may replace.
    ///
    /// A configuration of duties that is wrong, which [`config::load`](crate::config::load) does not let pass, means that
    /// nobody owns anything.
    pub fn new(config: &Config, host: &str) -> Self {
        let labels = config.check.iter();
        let labels = labels.filter(|check| !check.labels.is_empty());
        Self {
            instance: config.paging.instance.clone().unwrap_or_else(|| host.to_owned()),
            runbooks: config.paging.runbooks.clone(),
            rules: config.paging.rules.clone(),
            labels: labels
                .map(|check| (check.name.clone(), check.labels.clone()))
                .collect(),
            owners: OnCall::new(&config.alerts.on_call).unwrap_or_default(),
            language: match config.alerts.language {
                alpha_alerts::notifiers::Language::En => Language::English,
                alpha_alerts::notifiers::Language::Zh => Language::Chinese,
            },
        }
    }

    /// What is wrong with the labels of a check, each with the name of the label.
    pub fn check_labels(labels: &BTreeMap<String, String>) -> Vec<(String, Text)> {
        let mut problems = Vec::new();
        for (name, value) in labels {
            let problem = if name == SEVERITY && severity_of(value).is_none() {
                text!(
                    "the severity \"{value}\" is none: expected P0, P1, P2 or P3",
                    value = value
                )
            } else if OWN_LABELS.contains(&name.as_str()) {
                text!("the label {name} is Alpha's own", name = name)
            } else if name.is_empty() || value.is_empty() {
                text!("a label needs a name and a value")
            } else {
                continue;
            };
            problems.push((name.clone(), problem));
        }
        problems
    }

    /// What alerts call this machine.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// How bad it is that `check`, of this kind, has this status; `None` where it is well.
    ///
    /// The severity in a check's own labels holds for when it is critical; the lesser statuses are never worse than it.
    pub fn severity(&self, check: &str, kind: &str, status: Status) -> Option<Severity> {
        let ready_made = ReadyMade::of(kind);
        let mut rules = self.rules_for(check, kind);
        let configured = match status {
            Status::Ok => None,
            Status::Warning => rules.find_map(|rule| rule.warning),
            Status::Critical => rules.find_map(|rule| rule.critical),
            Status::Unknown => rules.find_map(|rule| rule.unknown),
        };
        let usual = ready_made.severity(status)?;
        let severity = configured.unwrap_or(usual);
        let own = self.labels.get(check).and_then(|labels| labels.get(SEVERITY));
        Some(match own.and_then(|own| severity_of(own)) {
            Some(own) if status == Status::Critical => own,
            Some(own) => own.least(severity),
            None => severity,
        })
    }

    fn rules_for<'a>(&'a self, check: &'a str, kind: &'a str) -> impl Iterator<Item = &'a PagingRule> {
        self.rules.iter().filter(move |rule| {
            let names_check =
                rule.checks.is_empty() || rule.checks.iter().any(|pattern| matches(pattern, check));
            names_check && (rule.kinds.is_empty() || rule.kinds.iter().any(|named| named == kind))
        })
    }

    /// The alert of a finding; `None` where the check is well. `explains` are the checks that fail because of this one.
    pub fn alert(&self, report: &CheckReport, explains: &[&str]) -> Option<Alert> {
        let severity = self.severity(report.name.as_str(), report.kind, report.status)?;
        let labels = self.labels_of(report, severity);
        let annotations = self.annotations_of(report, &labels, explains);
        let starts_at = report.since.unwrap_or(report.observed_at);
        let mut alert = Alert::firing(labels, starts_at).with_annotations(annotations);
        alert.updated_at = report.observed_at.max(starts_at);
        Some(alert)
    }

    fn labels_of(&self, report: &CheckReport, severity: Severity) -> Labels {
        let check = report.name.as_str();
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        let name = alert_name(report.kind, report.status);
        labels.insert("alertname", &name);
        let component = ReadyMade::of(report.kind).component;
        if !component.is_empty() {
            labels.insert(COMPONENT_LABEL, component);
        }
        let rules: Vec<&PagingRule> = self.rules_for(check, report.kind).collect();
        let configured = rules.iter().rev().map(|rule| &rule.labels);
        for (name, value) in configured.chain(self.labels.get(check)).flatten() {
            labels.insert(name, value);
        }
        let status = report.status.to_string();
        labels.extend([
            ("check", check),
            ("instance", &self.instance),
            ("job", JOB),
            ("kind", report.kind),
            (SEVERITY, severity.name()),
            ("status", &status),
        ]);
        Labels::new(labels)
    }

    fn annotations_of(&self, report: &CheckReport, labels: &Labels, explains: &[&str]) -> Labels {
        let say = |text: &Text| text.translate(&self.language);
        let mut pairs = vec![(
            "summary",
            say(&text!(
                "{check}: {reason}",
                check = report.name.as_str(),
                reason = report.reason.clone()
            )),
        )];
        let values = [("value", &report.value), ("limit", &report.limit)];
        pairs.extend(
            values
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.clone()?))),
        );
        if let Some(remedy) = &report.remedy {
            pairs.push(("remedy", say(remedy)));
        }
        if !report.runbook.is_empty() {
            pairs.push(("runbook_url", self.runbook(&report.runbook)));
        }
        if let Some(owner) = self.owners.owner(labels) {
            pairs.push(("owner", owner.to_owned()));
        }
        if !explains.is_empty() {
            pairs.push(("explains", listed(explains, self.language)));
        }
        let description: Vec<String> = [
            report.remedy.as_ref().map(say),
            (!explains.is_empty()).then(|| {
                let checks = listed(explains, self.language);
                say(&text!("it explains what is wrong with {checks}", checks = checks))
            }),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !description.is_empty() {
            pairs.push(("description", description.join("\n")));
        }
        Labels::new(pairs)
    }

    /// Where the runbook is: a path is looked for below where runbooks are published.
    fn runbook(&self, runbook: &str) -> String {
        let Some(base) = self.runbooks.as_ref().filter(|_| Url::parse(runbook).is_err()) else {
            return runbook.to_owned();
        };
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let joined = base.join(runbook.trim_start_matches('/'));
        joined.map_or_else(|_| runbook.to_owned(), Url::into)
    }

    /// The end of an alert because another check explains it.
    pub(super) fn explained(&self, alert: &Alert, cause: &str, at: Timestamp) -> Alert {
        let text = text!("explained by {check}", check = cause);
        ended(alert, at, &text.translate(&self.language))
    }

    /// The end of an alert because its check is no longer part of the configuration.
    pub(super) fn withdrawn(&self, alert: &Alert, at: Timestamp) -> Alert {
        let text = text!("the check is no longer part of the configuration");
        ended(alert, at, &text.translate(&self.language))
    }

    /// The end of an alert because the check is well, or wrong in another way.
    pub(super) fn over(&self, alert: &Alert, report: &CheckReport) -> Alert {
        let reason = report.reason.translate(&self.language);
        ended(
            alert,
            report.since.unwrap_or(report.observed_at).max(alert.starts_at),
            &reason,
        )
    }

    /// An alert that goes on although nobody can see any more whether it is so.
    pub(super) fn unseen(&self, alert: &Alert, report: &CheckReport) -> Alert {
        let text = text!(
            "it cannot be seen any more whether that is so: {reason}",
            reason = report.reason.clone()
        );
        let mut alert = annotated(alert, "unseen", &text.translate(&self.language));
        alert.updated_at = report.observed_at.max(alert.updated_at);
        alert
    }
}

fn ended(alert: &Alert, at: Timestamp, reason: &str) -> Alert {
    annotated(alert, "ended", reason).resolved(at)
}

fn annotated(alert: &Alert, name: &str, value: &str) -> Alert {
    let annotations = alert.annotations.iter().chain([(name, value)]);
    alert.clone().with_annotations(Labels::new(annotations))
}

fn listed(checks: &[&str], language: Language) -> String {
    let mut names = checks[..checks.len().min(NAMED_AT_MOST)].join(", ");
    if let Some(more @ 1..) = checks.len().checked_sub(NAMED_AT_MOST) {
        let more = text!("and {count} more", count = more);
        names.push(' ');
        names.push_str(&more.translate(&language));
    }
    names
}

/// `SubstrateChainCritical` from `substrate_chain`.
fn alert_name(kind: &str, status: Status) -> String {
    let status = status.to_string();
    let words = kind.split('_').chain([status.as_str()]);
    words
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

fn severity_of(word: &str) -> Option<Severity> {
    Severity::ALL
        .into_iter()
        .find(|severity| severity.name().eq_ignore_ascii_case(word))
}

trait Least {
    /// The less severe of two.
    fn least(self, other: Self) -> Self;
}

impl Least for Severity {
    fn least(self, other: Self) -> Self {
        if self.is_at_least(other) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(toml: &str) -> Policy {
        Policy::new(&toml::from_str(toml).unwrap(), "host-1")
    }

    #[test]
    fn labels_outrank_rules_and_rules_outrank_the_plan() {
        let policy = policy(
            "[[paging.rules]]\nchecks = [\"api*\"]\ncritical = \"P2\"\nwarning = \"P2\"\n\
             [[paging.rules]]\nkinds = [\"http\"]\ncritical = \"P3\"\nunknown = \"P3\"\n\
             [[check]]\nname = \"api/main\"\nlabels.severity = \"p0\"\n\
             [[check]]\nname = \"api/minor\"\nlabels.severity = \"P3\"\n",
        );
        let of = |check, status| policy.severity(check, "http", status);
        assert_eq!(of("web", Status::Critical), Some(Severity::P3));
        assert_eq!(of("web", Status::Warning), Some(Severity::P2));
        assert_eq!(of("api/other", Status::Critical), Some(Severity::P2));
        assert_eq!(of("api/main", Status::Critical), Some(Severity::P0));
        assert_eq!(of("api/main", Status::Warning), Some(Severity::P2));
        assert_eq!(of("api/main", Status::Unknown), Some(Severity::P3));
        assert_eq!(of("api/minor", Status::Warning), Some(Severity::P3));
        assert_eq!(of("api/minor", Status::Ok), None);
        assert_eq!(
            policy.severity("tcp", "tcp", Status::Critical),
            Some(Severity::P1)
        );
    }

    #[test]
    fn a_runbook_that_is_a_path_is_published_below_an_address() {
        let local = policy("");
        assert_eq!(local.runbook("docs/runbooks/http.md"), "docs/runbooks/http.md");
        for base in ["https://wiki.example/ops", "https://wiki.example/ops/"] {
            let published = policy(&format!("[paging]\nrunbooks = \"{base}\"\n"));
            assert_eq!(
                published.runbook("docs/runbooks/http.md"),
                "https://wiki.example/ops/docs/runbooks/http.md"
            );
            assert_eq!(
                published.runbook("https://elsewhere.example/x"),
                "https://elsewhere.example/x"
            );
        }
    }

    #[test]
    fn names_are_those_that_prometheus_users_expect() {
        assert_eq!(
            alert_name("substrate_chain", Status::Critical),
            "SubstrateChainCritical"
        );
        assert_eq!(alert_name("tcp", Status::Unknown), "TcpUnknown");
    }

    #[test]
    fn many_checks_are_named_up_to_a_bound() {
        let names: Vec<String> = (0..NAMED_AT_MOST + 3).map(|index| format!("c{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let listed = listed(&names, Language::English);
        assert!(listed.ends_with("c19 and 3 more"), "{listed}");
    }
}
