//! The probe `systemd`: whether a unit runs, and how often it had to be started again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::program::Program;
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "systemd",
    summary: "Whether a unit of systemd runs, and how often it had to be started again",
    metrics: &[
        Metric::gauge("active", Unit::Boolean, "Whether the unit is active"),
        Metric::gauge("failed", Unit::Boolean, "Whether the unit has failed"),
        Metric::gauge("loaded", Unit::Boolean, "Whether systemd knows the unit"),
        Metric::counter(
            "restarts",
            Unit::Count,
            "Times systemd started it again by itself",
        ),
        Metric::gauge(
            "memory",
            Unit::Bytes,
            "Memory of all its processes, where it is counted",
        ),
        Metric::gauge(
            "tasks",
            Unit::Count,
            "Threads of all its processes, where they are counted",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "active == false",
            sustained: "",
            says: "{unit} is {active_state} ({sub_state}, {result})",
            remedy: "Read journalctl -u with the name of the unit; never blindly restart a signing validator.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "delta(restarts, 15m) > 2",
            sustained: "",
            says: "{unit} keeps being started again, {restarts} times by now",
            remedy: "Read journalctl -u with the name of the unit for why it ends.",
        },
    ],
};

/// What is asked of systemd; see org.freedesktop.systemd1(5).
const PROPERTIES: &str = "--property=LoadState,ActiveState,SubState,Result,NRestarts,MemoryCurrent,TasksCurrent,MainPID,UnitFileState,ActiveEnterTimestamp";

/// The table `systemd` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SystemdConfig {
    /// The unit, such as `alpha-validator.service`; without a suffix a service.
    pub unit: String,
    /// Whether it is one of the user's own units, not of the system's. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<bool>,
}

impl ProbeConfig for SystemdConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        let unit = self.unit.trim();
        // What begins with a dash would be read as an option.
        let is_name = unit.starts_with(|first: char| first.is_ascii_alphanumeric())
            && unit
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter));
        if !is_name {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "unit: expected the name of a unit, such as \"nginx.service\", found \"{found}\"",
                    found = unit
                ),
            ));
        }
        let unit = if unit.contains('.') {
            unit.to_owned()
        } else {
            format!("{unit}.service")
        };
        let mut arguments = vec![
            "show".to_owned(),
            PROPERTIES.to_owned(),
            "--".to_owned(),
            unit.clone(),
        ];
        if self.user == Some(true) {
            arguments.insert(0, "--user".to_owned());
        }
        Ok(Arc::new(Systemd {
            unit,
            program: "systemctl".to_owned(),
            arguments,
        }))
    }
}

#[derive(Debug)]
struct Systemd {
    unit: String,
    program: String,
    arguments: Vec<String>,
}

/// Reads `Name=value` lines; nothing where they are not what was asked for.
fn parse(unit: &str, output: &str) -> Option<Observation> {
    let value = |name: &str| {
        output
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let (load, active) = (value("LoadState")?, value("ActiveState")?);
    let mut observation = Observation::new()
        .with_bool("loaded", load == "loaded")
        .with_bool("active", matches!(active, "active" | "reloading" | "refreshing"))
        .with_bool("failed", active == "failed")
        .with_fact("unit", unit)
        .with_fact("load_state", load)
        .with_fact("active_state", active)
        .with_fact("sub_state", value("SubState").unwrap_or_default())
        .with_fact("result", value("Result").unwrap_or(load))
        .with_fact("since", value("ActiveEnterTimestamp").unwrap_or_default());
    // Units that are no services have none; they are never started again.
    let restarts = value("NRestarts")
        .and_then(|number| number.parse().ok())
        .unwrap_or(0.0);
    observation = observation.with("restarts", restarts, Unit::Count);
    for (property, name, unit) in [
        ("MemoryCurrent", "memory", Unit::Bytes),
        ("TasksCurrent", "tasks", Unit::Count),
    ] {
        // Where it is not counted the value is `[not set]`, or the largest number there is.
        if let Some(number) = value(property)
            .and_then(|number| number.parse::<u64>().ok())
            .filter(|number| *number < u64::MAX)
        {
            observation = observation.with(name, number as f64, unit);
        }
    }
    if let Some(pid) = value("MainPID")
        .and_then(|pid| pid.parse::<u32>().ok())
        .filter(|pid| *pid > 0)
    {
        observation = observation.with_fact("pid", pid);
    }
    Some(observation)
}

#[async_trait]
impl Probe for Systemd {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.unit
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let latest = context.deadline.checked_sub(Duration::from_millis(100));
        let program = Program::new(&self.program, &self.arguments, latest.unwrap_or(context.deadline));
        let answer = program.run().await?;
        if let Some(observation) = parse(&self.unit, &String::from_utf8_lossy(&answer.output)) {
            return Ok(observation);
        }
        let errors = String::from_utf8_lossy(&answer.errors);
        let said = errors.lines().next().unwrap_or_default().trim().to_owned();
        let (kind, message) =
            if said.contains("not been booted with systemd") || said.contains("Host is down") {
                (
                    ErrorKind::NotApplicable,
                    text!("this machine is not run by systemd"),
                )
            } else if said.contains("denied") {
                (
                    ErrorKind::Denied,
                    text!("systemd refused to tell: {said}", said = said),
                )
            } else {
                (
                    ErrorKind::Unreachable,
                    text!("systemd could not be asked: {said}", said = said),
                )
            };
        Err(Error::new(kind, message))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_running_service_is_read() {
        let seen = parse(
            "a.service",
            "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nNRestarts=3\nMemoryCurrent=1048576\nTasksCurrent=18446744073709551615\nMainPID=42\n",
        )
        .unwrap();
        assert_eq!(
            (seen.value("active"), seen.value("restarts"), seen.value("memory")),
            (Some(1.0), Some(3.0), Some(1_048_576.0))
        );
        assert_eq!(seen.value("tasks"), None);
        assert_eq!(seen.facts["pid"], 42);
    }

    #[test]
    fn a_unit_that_is_not_there_is_not_active() {
        let seen = parse(
            "x.service",
            "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMemoryCurrent=[not set]\n",
        )
        .unwrap();
        assert_eq!(
            (seen.value("active"), seen.value("loaded"), seen.value("restarts")),
            (Some(0.0), Some(0.0), Some(0.0))
        );
    }

    async fn ask(script: &str) -> Result<Observation> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("systemctl");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file can be written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a mode can be set");
        let probe = Systemd {
            unit: "x.service".to_owned(),
            program: path.display().to_string(),
            arguments: Vec::new(),
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        probe.observe(&Context::new(&crate::SystemClock, deadline)).await
    }

    #[tokio::test]
    async fn a_machine_without_systemd_is_not_a_machine_with_a_stopped_unit() {
        let error = ask("echo 'System has not been booted with systemd as init system (PID 1). Can'\\''t operate.' >&2; exit 1")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotApplicable);
        let error = ask("echo 'Failed to connect to bus: Connection refused' >&2; exit 1")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        let seen = ask("echo LoadState=loaded; echo ActiveState=failed")
            .await
            .unwrap();
        assert_eq!(seen.value("failed"), Some(1.0));
    }

    #[test]
    fn a_name_that_would_be_an_option_is_refused() {
        for unit in ["", "--root=/x", "a b"] {
            let config = SystemdConfig {
                unit: unit.to_owned(),
                user: None,
            };
            assert_eq!(
                config.build(&Resources::default()).unwrap_err().kind(),
                ErrorKind::InvalidConfig
            );
        }
    }
}
