//! What a container does, from the list and its details.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use jiff::Timestamp;

use super::Container;
use crate::observation::{Observation, Unit};

/// How many characters of what a health check printed are kept.
const MAX_OUTPUT: usize = 200;

/// What the list does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Details {
    /// How often Docker restarted it; starts again from zero when a person starts it.
    pub(super) restarts: u64,
    pub(super) started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    exit_code: i64,
    oom_killed: bool,
    /// Why it could not be started.
    error: Option<String>,
    /// `healthy`, `unhealthy` or `starting`; absent where there is no health check.
    pub(super) health: Option<String>,
    failing_health_checks: u64,
    health_output: Option<String>,
    /// `no`, `always`, `unless-stopped` or `on-failure`, as Docker calls what it does when the program ends.
    pub(super) restart_policy: Option<String>,
}

impl From<ContainerInspectResponse> for Details {
    fn from(answer: ContainerInspectResponse) -> Self {
        let state = answer.state.unwrap_or_default();
        // Docker writes the year 1 for never.
        let instant = |text: Option<String>| {
            text.and_then(|text| text.parse::<Timestamp>().ok())
                .filter(|at| *at > Timestamp::UNIX_EPOCH)
        };
        let health = state.health.unwrap_or_default();
        let output = health
            .log
            .and_then(|mut log| log.pop())
            .and_then(|last| last.output);
        let status = health.status.map(|status| status.to_string());
        let policy = answer.host_config.and_then(|config| config.restart_policy);
        let policy = policy.and_then(|policy| policy.name).map(|name| name.to_string());
        Self {
            restarts: answer.restart_count.unwrap_or(0).max(0).unsigned_abs(),
            started_at: instant(state.started_at),
            finished_at: instant(state.finished_at),
            exit_code: state.exit_code.unwrap_or(0),
            oom_killed: state.oom_killed.unwrap_or(false),
            error: state.error.filter(|error| !error.is_empty()),
            health: status.filter(|status| !status.is_empty() && status != "none"),
            failing_health_checks: health.failing_streak.unwrap_or(0).max(0).unsigned_abs(),
            health_output: output
                .map(|output| clipped(&output))
                .filter(|output| !output.is_empty()),
            // Docker writes nothing, or an empty name, for the default.
            restart_policy: policy.map(|name| if name.is_empty() { "no".to_owned() } else { name }),
        }
    }
}

/// The beginning of what a program printed, in one line.
fn clipped(output: &str) -> String {
    let line = output.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_OUTPUT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

impl Container {
    /// What its health check says as of the list, which writes it behind the uptime.
    pub(super) fn health(&self) -> Option<String> {
        let (_, health) = self.status.strip_suffix(')')?.rsplit_once('(')?;
        let health = health.trim_start_matches("health: ");
        matches!(health, "healthy" | "unhealthy" | "starting").then(|| health.to_owned())
    }
}

/// How long a container is up at least, by the words of the list: `Up 5 minutes (healthy)`.
///
/// The words are those of `HumanDuration` in Docker's go-units; hours are rounded, everything longer is cut off.
pub(super) fn uptime_at_least(status: &str) -> Option<Duration> {
    let words = status.strip_prefix("Up ")?;
    let words = words.split(" (").next()?;
    let seconds = match words {
        "Less than a second" => 0,
        "About a minute" => 60,
        "About an hour" => 3600,
        counted => {
            let (number, unit) = counted.split_once(' ')?;
            let number: u64 = number.parse().ok()?;
            let hours = |hours: u64| hours.saturating_mul(3600).saturating_sub(1800);
            match unit.trim_end_matches('s') {
                "second" => number,
                "minute" => number.checked_mul(60)?,
                "hour" => hours(number),
                "day" => hours(number.checked_mul(24)?),
                "week" => hours(number.checked_mul(24 * 7)?),
                "month" => hours(number.checked_mul(24 * 30)?),
                "year" => hours(number.checked_mul(24 * 365)?),
                _ => return None,
            }
        }
    };
    Some(Duration::from_secs(seconds))
}

/// Everything that is seen of a container at one time; `is_signer` where it is known to sign blocks.
pub(super) fn observe(
    container: &Container,
    details: &Details,
    now: Timestamp,
    settle: Duration,
    is_signer: bool,
) -> Observation {
    let is_running = container.state == "running";
    let since_start = details
        .started_at
        .map(|started| Duration::try_from(now.duration_since(started)).unwrap_or_default());
    let uptime = since_start.filter(|_| is_running);
    let is_looping = container.state == "restarting"
        || details.restarts > 0 && uptime.is_some_and(|uptime| uptime < settle);
    let mut observation = Observation::new()
        .with_bool("running", is_running)
        .with("restarts", details.restarts as f64, Unit::Count)
        .with_bool("crash_looping", is_looping)
        .with_bool("oom_killed", details.oom_killed)
        .with_fact("name", container.name.as_str())
        .with_fact("id", short(&container.id))
        .with_fact("image", container.image.as_str())
        .with_fact("image_id", short(&container.image_id))
        .with_fact("state", container.state.as_str());
    if let Some(uptime) = uptime {
        observation = observation.with_seconds("uptime", uptime);
    }
    let has_ended = matches!(container.state.as_str(), "exited" | "restarting" | "dead");
    if has_ended {
        observation = observation.with("exit_code", details.exit_code as f64, Unit::Count);
        if let Some(at) = details.finished_at {
            observation = observation.with_fact("finished_at", at.to_string());
        }
    }
    if let Some(at) = details.started_at {
        observation = observation.with_fact("started_at", at.to_string());
    }
    if let Some(error) = &details.error {
        observation = observation.with_fact("error", error.as_str());
    }
    if let Some(policy) = &details.restart_policy {
        observation = observation.with_fact("restart_policy", policy.as_str());
        if is_signer {
            observation = observation.with_bool("restarts_signer", policy != "no");
        }
    }
    let health = details.health.as_deref().filter(|_| is_running);
    observation = observation.with_fact("health", health.unwrap_or("none"));
    if let Some(health) = health {
        let count = details.failing_health_checks as f64;
        observation = observation.with("failing_health_checks", count, Unit::Count);
        let output = details.health_output.as_deref();
        observation = observation.with_fact("health_output", output.unwrap_or("it printed nothing"));
        if health != "starting" {
            observation = observation.with_bool("healthy", health == "healthy");
        }
    }
    observation
}

/// The first twelve digits of an id, as Docker shows it.
fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(status: &str) -> Option<u64> {
        uptime_at_least(status).map(|uptime| uptime.as_secs())
    }

    #[test]
    fn the_words_of_the_list_bound_the_uptime_from_below() {
        assert_eq!(seconds("Up Less than a second"), Some(0));
        assert_eq!(seconds("Up 1 second"), Some(1));
        assert_eq!(seconds("Up 45 seconds (health: starting)"), Some(45));
        assert_eq!(seconds("Up About a minute"), Some(60));
        assert_eq!(seconds("Up 5 minutes (healthy)"), Some(300));
        assert_eq!(seconds("Up About an hour"), Some(3600));
        assert_eq!(seconds("Up 2 hours"), Some(5400));
        assert_eq!(seconds("Up 3 days"), Some(257_400));
        assert_eq!(seconds("Up 99999999999999999999 days"), None);
        assert_eq!(seconds("Exited (137) 5 minutes ago"), None);
        assert_eq!(seconds("Restarting (1) 5 seconds ago"), None);
    }

    fn container(state: &str, status: &str) -> Container {
        Container {
            id: "0123456789abcdef".to_owned(),
            name: "node".to_owned(),
            image: "node:1".to_owned(),
            image_id: "sha256:fedcba9876543210".to_owned(),
            state: state.to_owned(),
            status: status.to_owned(),
            ports: Vec::new(),
            labels: Default::default(),
            networks: Default::default(),
        }
    }

    #[test]
    fn health_stands_behind_the_uptime() {
        let health = |status| container("running", status).health();
        assert_eq!(health("Up 5 minutes (healthy)").as_deref(), Some("healthy"));
        assert_eq!(
            health("Up 5 minutes (health: starting)").as_deref(),
            Some("starting")
        );
        assert_eq!(health("Up 5 minutes (Paused)"), None);
        assert_eq!(health("Up 5 minutes"), None);
    }

    #[test]
    fn one_look_tells_a_crash_loop() {
        let now = Timestamp::from_second(1000).unwrap();
        let looping = |state: &str, restarts, started| {
            let details = Details {
                restarts,
                started_at: Timestamp::from_second(started).ok(),
                ..Details::default()
            };
            let observed = observe(
                &container(state, ""),
                &details,
                now,
                Duration::from_secs(60),
                false,
            );
            observed.value("crash_looping") == Some(1.0)
        };
        assert!(looping("running", 7, 997));
        assert!(looping("restarting", 1, 997));
        // Up for long enough again.
        assert!(!looping("running", 7, 900));
        // Started by a person a moment ago.
        assert!(!looping("running", 0, 997));
        // A clock that differs from Docker's.
        assert!(looping("running", 1, 1003));
    }

    #[test]
    fn a_policy_that_restarts_matters_where_blocks_are_signed() {
        let restarts = |policy: Option<&str>, is_signer| {
            let details = Details {
                restart_policy: policy.map(str::to_owned),
                ..Details::default()
            };
            let settle = Duration::from_secs(60);
            let observed = observe(
                &container("running", ""),
                &details,
                Timestamp::UNIX_EPOCH,
                settle,
                is_signer,
            );
            observed.value("restarts_signer")
        };
        for policy in ["always", "unless-stopped", "on-failure"] {
            assert_eq!(restarts(Some(policy), true), Some(1.0), "{policy}");
        }
        assert_eq!(restarts(Some("no"), true), Some(0.0));
        assert_eq!(restarts(Some("always"), false), None);
        assert_eq!(restarts(None, true), None);
    }

    #[test]
    fn what_a_health_check_printed_is_told_in_one_short_line() {
        assert_eq!(clipped(" curl: (7)\n  failed \n"), "curl: (7) failed");
        assert_eq!(clipped(&"é".repeat(300)).chars().count(), 201);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(status in "(Up )?[0-9a-z() ]{0,30}|.{0,30}") {
            let _ = uptime_at_least(&status);
            let _ = container("running", &status).health();
        }
    }
}
