//! What pings say about a job: the semantics of Healthchecks (<https://healthchecks.io/docs/>), pure.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::text;

/// When a job is expected to report.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// So long after its last report.
    Every(Duration),
    /// At the instants of a cron expression in a time zone.
    Cron(Box<Cron>, TimeZone),
}

impl Schedule {
    /// Reads a cron expression of five fields, or six with seconds first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an expression or a time zone that is none.
    pub fn cron(expression: &str, time_zone: Option<&str>) -> Result<Self> {
        let cron = Cron::from_str(expression).map_err(|cause| {
            Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "cron: expected an expression such as \"30 2 * * *\", found \"{found}\"",
                    found = expression
                ),
            )
            .with_source(cause)
        })?;
        let zone = match time_zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| {
                Error::new(
                    ErrorKind::InvalidConfig,
                    text!(
                        "time_zone: expected a name such as \"Europe/Berlin\", found \"{found}\"",
                        found = name
                    ),
                )
            })?,
        };
        Ok(Self::Cron(Box::new(cron), zone))
    }

    /// When a job that reported at `last` is expected to report again; nothing where the schedule has no later
    /// instant.
    pub fn after(&self, last: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(period) => last.checked_add(*period).ok(),
            Self::Cron(cron, zone) => {
                let next = cron.find_next_occurrence(&last.to_zoned(zone.clone()), false);
                next.ok().map(|next| next.timestamp())
            }
        }
    }
}

/// What a ping says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The job ended well.
    Success,
    /// The job began; it must report its end within the grace time.
    Start,
    /// The job ended badly.
    Failure,
    /// A message only; nothing changes.
    Log,
}

impl Signal {
    /// What an exit code says: 0 that the job ended well, anything else that it did not.
    pub fn from_exit_code(code: u8) -> Self {
        if code == 0 { Self::Success } else { Self::Failure }
    }
}

/// How a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeartbeatState {
    /// It never reported, and is not overdue yet.
    New,
    /// It reported in time.
    Up,
    /// It should have reported by now, and still may, for the grace time.
    Late,
    /// It failed, or did not report within the grace time.
    Down,
}

impl HeartbeatState {
    /// The word used in facts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Up => "up",
            Self::Late => "late",
            Self::Down => "down",
        }
    }
}

/// The most runs that are under way at once; the oldest is forgotten.
const MOST_RUNS: usize = 20;

/// A run that takes longer than this has no duration: its end belongs to another start (72 h, as Healthchecks).
const LONGEST_RUN: Duration = Duration::from_secs(72 * 3600);

/// What is remembered of a job's pings; survives a restart where it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Pings {
    /// Since when pings are waited for.
    pub since: Option<Timestamp>,
    /// The last end of a run, good or bad.
    pub last: Option<Timestamp>,
    /// Whether that was a bad end.
    pub has_failed: bool,
    /// Runs under way: their identifier, where the job gave one, and their beginning.
    pub running: Vec<(Option<String>, Timestamp)>,
    /// How long the last run took, where it reported its beginning as well.
    pub duration: Option<Duration>,
    /// How many pings came.
    pub count: u64,
}

impl Pings {
    /// Waits for pings from `now` on.
    pub fn waiting(now: Timestamp) -> Self {
        Self {
            since: Some(now),
            ..Self::default()
        }
    }

    /// Takes in a ping. `run` tells overlapping runs of one job apart.
    pub fn take(&mut self, signal: Signal, run: Option<&str>, now: Timestamp) {
        self.count += 1;
        let is_this = |(id, _): &(Option<String>, Timestamp)| id.as_deref() == run;
        match signal {
            Signal::Log => {}
            Signal::Start => {
                self.running.retain(|running| !is_this(running));
                if self.running.len() == MOST_RUNS {
                    self.running.remove(0);
                }
                self.running.push((run.map(str::to_owned), now));
            }
            Signal::Success | Signal::Failure => {
                let started = self
                    .running
                    .iter()
                    .position(is_this)
                    .map(|at| self.running.remove(at).1);
                let duration =
                    started.and_then(|started| Duration::try_from(now.duration_since(started)).ok());
                self.duration = duration.filter(|duration| *duration <= LONGEST_RUN);
                self.last = Some(now);
                self.has_failed = signal == Signal::Failure;
            }
        }
    }

    /// How the job is at `now`.
    ///
    /// A run that began must end within `grace`, whatever the schedule says. A failure lasts until the next success.
    pub fn state(&self, schedule: &Schedule, grace: Duration, now: Timestamp) -> HeartbeatState {
        let is_over = |from: Timestamp| from.checked_add(grace).is_ok_and(|end| now >= end);
        if self.has_failed || self.running.iter().any(|(_, started)| is_over(*started)) {
            return HeartbeatState::Down;
        }
        let waiting_since = self.last.or(self.since);
        let due = waiting_since.and_then(|last| schedule.after(last));
        match (due, self.last) {
            (Some(due), _) if is_over(due) => HeartbeatState::Down,
            (_, None) => HeartbeatState::New,
            (Some(due), Some(_)) if now >= due => HeartbeatState::Late,
            (_, Some(_)) => HeartbeatState::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::HeartbeatState::*;
    use super::*;

    const GRACE: Duration = Duration::from_secs(300);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn hourly() -> Schedule {
        Schedule::Every(Duration::from_secs(3600))
    }

    fn states(pings: &Pings, at_seconds: &[i64]) -> Vec<HeartbeatState> {
        at_seconds
            .iter()
            .map(|seconds| pings.state(&hourly(), GRACE, at(*seconds)))
            .collect()
    }

    #[test]
    fn a_job_is_up_then_late_then_down() {
        let mut pings = Pings::waiting(at(0));
        pings.take(Signal::Success, None, at(0));
        assert_eq!(
            states(&pings, &[0, 3599, 3600, 3899, 3900]),
            [Up, Up, Late, Late, Down]
        );
    }

    #[test]
    fn a_job_that_never_reports_is_down_in_the_end() {
        assert_eq!(states(&Pings::waiting(at(0)), &[0, 3700, 3900]), [New, New, Down]);
        assert_eq!(states(&Pings::default(), &[0]), [New]);
    }

    #[test]
    fn a_failure_lasts_until_the_next_success() {
        let mut pings = Pings::default();
        pings.take(Signal::from_exit_code(1), None, at(0));
        pings.take(Signal::Log, None, at(1));
        assert_eq!(states(&pings, &[1]), [Down]);
        pings.take(Signal::from_exit_code(0), None, at(2));
        assert_eq!(states(&pings, &[2]), [Up]);
    }

    #[test]
    fn a_run_that_began_must_end_within_the_grace_time() {
        let mut pings = Pings::default();
        pings.take(Signal::Success, None, at(0));
        pings.take(Signal::Start, Some("a"), at(100));
        pings.take(Signal::Start, Some("b"), at(200));
        pings.take(Signal::Success, Some("b"), at(230));
        assert_eq!(pings.duration, Some(Duration::from_secs(30)));
        assert_eq!(states(&pings, &[300, 399, 400]), [Up, Up, Down]);
        pings.take(Signal::Success, Some("a"), at(410));
        assert_eq!(states(&pings, &[410]), [Up]);
        pings.take(Signal::Success, None, at(420));
        assert_eq!(pings.duration, None);
    }

    #[test]
    fn a_nightly_job_is_expected_at_its_hour_across_a_change_of_clocks() {
        let schedule = Schedule::cron("30 4 * * *", Some("Europe/Berlin")).unwrap();
        let last: Timestamp = "2024-03-30T03:30:05Z".parse().unwrap();
        assert_eq!(schedule.after(last).unwrap().to_string(), "2024-03-31T02:30:00Z");
        for (expression, zone) in [("nonsense", None), ("30 4 * * *", Some("Mars/Base"))] {
            assert_eq!(
                Schedule::cron(expression, zone).unwrap_err().kind(),
                ErrorKind::InvalidConfig
            );
        }
    }

    proptest! {
        #[test]
        fn without_news_a_job_only_gets_worse(period in 1..10_000_u64, grace in 0..10_000_u64, steps in prop::collection::vec(0..5_000_i64, 1..20)) {
            let schedule = Schedule::Every(Duration::from_secs(period));
            let mut pings = Pings::default();
            pings.take(Signal::Success, None, at(0));
            let (mut now, mut worst) = (0, 0);
            for step in steps {
                now += step;
                let rank = match pings.state(&schedule, Duration::from_secs(grace), at(now)) {
                    New | Up => 0,
                    Late => 1,
                    Down => 2,
                };
                prop_assert!(rank >= worst);
                worst = rank;
            }
        }
    }
}
