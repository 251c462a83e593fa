//! When requests are meant to start, computed before any clock runs.
//!
//! An open load sends at instants that do not depend on how fast the target answers, because its users do not wait for
//! each other either. Every latency is counted from the intended instant, so that a target that stands still for a
//! while is charged with everything that should have happened meanwhile (what Gil Tene named coordinated omission).

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration_text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text;

/// How the load is put on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadModel {
    /// A fixed number of users, each of whom waits for the answer before asking again.
    Closed(Closed),
    /// Requests start at their own times, whether or not earlier ones have been answered.
    Open(Open),
}

impl LoadModel {
    /// A closed load of `connections` users.
    pub fn closed(connections: usize) -> Self {
        Self::Closed(Closed { connections })
    }

    /// An open load of `rate` evenly spaced requests a second over at most [`Open::MAX_CONNECTIONS`] connections.
    pub fn open(rate: f64) -> Self {
        Self::Open(Open::new(Arrivals::Constant(rate)))
    }
}

impl Default for LoadModel {
    /// An open load of ten requests a second: open is what real users do, and ten is kind to whatever is at the address.
    fn default() -> Self {
        Self::open(10.0)
    }
}

/// A fixed number of users, each of whom waits for the answer before asking again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// How many users there are, each with a connection; at least one.
    pub connections: usize,
}

/// Requests that start at their own times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// How many requests start when.
    pub arrivals: Arrivals,
    /// Whether they come evenly spaced or at random; even by default. A replay keeps its own times.
    #[serde(default)]
    pub spacing: Spacing,
    /// What random arrivals are drawn from; the same seed gives the same arrivals.
    #[serde(default)]
    pub seed: u64,
    /// Up to how many connections are opened when all are busy; [`Open::MAX_CONNECTIONS`] by default. Requests beyond
    /// it wait, and the wait counts as latency.
    #[serde(default = "Open::default_connections")]
    pub max_connections: usize,
}

impl Open {
    /// The bound on connections unless another is set: what a process may usually open without being told.
    pub const MAX_CONNECTIONS: usize = 900;

    fn default_connections() -> usize {
        Self::MAX_CONNECTIONS
    }

    /// Evenly spaced arrivals over at most [`Open::MAX_CONNECTIONS`] connections.
    pub fn new(arrivals: Arrivals) -> Self {
        Self {
            arrivals,
            spacing: Spacing::Even,
            seed: 0,
            max_connections: Self::MAX_CONNECTIONS,
        }
    }
}

/// How many requests start when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// So many a second, until the load ends.
    Constant(f64),
    /// Stages one after the other: ramps, steps, spikes, pauses.
    Stages(Vec<Stage>),
    /// The times of a log.
    Replay(Replay),
}

/// A part of a load in which the rate moves evenly from one value to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How long the stage lasts.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub duration: Duration,
    /// Requests a second at its begin; zero is a pause.
    pub from_per_second: f64,
    /// Requests a second at its end.
    pub to_per_second: f64,
}

impl Stage {
    /// A stage whose rate moves from one value to another.
    pub fn ramp(duration: Duration, from_per_second: f64, to_per_second: f64) -> Self {
        Self {
            duration,
            from_per_second,
            to_per_second,
        }
    }

    /// A stage of one rate.
    pub fn hold(duration: Duration, per_second: f64) -> Self {
        Self::ramp(duration, per_second, per_second)
    }

    fn seconds(&self) -> f64 {
        self.duration.as_secs_f64()
    }

    fn count(&self) -> f64 {
        (self.from_per_second + self.to_per_second) / 2.0 * self.seconds()
    }

    /// How many arrivals precede the instant `seconds` into the stage.
    fn count_until(&self, seconds: f64) -> f64 {
        let slope = (self.to_per_second - self.from_per_second) / self.seconds();
        self.from_per_second * seconds + slope * seconds * seconds / 2.0
    }

    /// The instant into the stage at which `count` arrivals have passed: the inverse of `count_until`, in the form that
    /// does not lose digits when the slope is small.
    fn instant_of(&self, count: f64) -> f64 {
        let slope = (self.to_per_second - self.from_per_second) / self.seconds();
        let root = (self.from_per_second.powi(2) + 2.0 * slope * count)
            .max(0.0)
            .sqrt();
        let divisor = self.from_per_second + root;
        if divisor == 0.0 {
            0.0
        } else {
            2.0 * count / divisor
        }
    }
}

/// The times of a log, played back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Seconds from the first request, in any order.
    pub offsets_seconds: Vec<f64>,
    /// How much faster than it happened; 1 by default.
    #[serde(default = "Replay::default_speed")]
    pub speed: f64,
}

impl Replay {
    fn default_speed() -> f64 {
        1.0
    }
}

/// How the arrivals of a rate lie to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// At equal distances.
    #[default]
    Even,
    /// As a Poisson process: independent users, with the bunching that comes with them.
    Poisson,
}

/// One request that is meant to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, from the start of the load.
    pub at: Duration,
    /// Its number, unique among all workers.
    pub sequence: u64,
}

/// The intended starts of an open load, as a pure function of its settings.
#[derive(Clone, Debug)]
pub struct ArrivalSchedule {
    plan: Plan,
    spacing: Spacing,
    seed: u64,
    end: Duration,
}

#[derive(Clone, Debug)]
enum Plan {
    /// Stages with the number of arrivals and the seconds before each.
    Stages(Vec<(f64, f64, Stage)>),
    Replay(std::sync::Arc<[Duration]>),
}

/// How long a replay lasts at least and at most after its last request has started.
const SHORTEST_TAIL: Duration = Duration::from_millis(10);
const LONGEST_TAIL: Duration = Duration::from_secs(1);

impl ArrivalSchedule {
    /// The schedule of `open`, cut at `limit`; a constant rate without a limit would never end.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a rate or speed that is not a positive number, for
    /// arrivals that never come and for a constant rate without a limit.
    pub fn new(open: &Open, limit: Option<Duration>) -> Result<Self> {
        let (plan, natural_end) = match &open.arrivals {
            Arrivals::Constant(rate) => {
                if !(rate.is_finite() && *rate > 0.0) {
                    return Err(Error::invalid(text!(
                        "the rate must be a positive number, not {rate}",
                        rate = *rate
                    )));
                }
                let limit = limit.ok_or_else(|| {
                    Error::invalid(text!(
                        "a load at a constant rate needs a duration or a number of requests"
                    ))
                })?;
                (Self::stages(&[Stage::hold(limit, *rate)])?, limit)
            }
            Arrivals::Stages(stages) => {
                let plan = Self::stages(stages)?;
                (plan, stages.iter().map(|stage| stage.duration).sum())
            }
            Arrivals::Replay(replay) => Self::replay(replay)?,
        };
        let end = limit.map_or(natural_end, |limit| limit.min(natural_end));
        Ok(Self {
            plan,
            spacing: open.spacing,
            seed: open.seed,
            end,
        })
    }

    fn stages(stages: &[Stage]) -> Result<Plan> {
        let valid = |rate: f64| rate.is_finite() && rate >= 0.0;
        let mut planned = Vec::with_capacity(stages.len());
        let (mut count, mut seconds) = (0.0, 0.0);
        for stage in stages {
            if !valid(stage.from_per_second) || !valid(stage.to_per_second) || stage.duration.is_zero() {
                return Err(Error::invalid(text!(
                    "a stage needs a duration and rates that are not negative"
                )));
            }
            planned.push((count, seconds, stage.clone()));
            count += stage.count();
            seconds += stage.seconds();
        }
        if count <= 0.0 {
            return Err(Error::invalid(text!("the stages hold no request")));
        }
        Ok(Plan::Stages(planned))
    }

    fn replay(replay: &Replay) -> Result<(Plan, Duration)> {
        let usable = |number: &f64| number.is_finite() && *number >= 0.0;
        if !(usable(&replay.speed) && replay.speed > 0.0 && replay.offsets_seconds.iter().all(usable)) {
            return Err(Error::invalid(text!(
                "a replay needs a positive speed and times that are not negative"
            )));
        }
        let mut offsets = replay.offsets_seconds.clone();
        offsets.sort_by(f64::total_cmp);
        let (Some(first), Some(last)) = (offsets.first().copied(), offsets.last().copied()) else {
            return Err(Error::invalid(text!("a replay needs at least one time")));
        };
        let scaled = |offset: f64| Duration::from_secs_f64((offset - first) / replay.speed);
        // The last request lasts as long as the others do on average, as at a steady rate; without that its start would
        // be the end of the load, which a generator that is a microsecond late would miss.
        let tail = scaled(last) / u32::try_from(offsets.len() - 1).unwrap_or(u32::MAX).max(1);
        let end = scaled(last) + tail.clamp(SHORTEST_TAIL, LONGEST_TAIL);
        Ok((Plan::Replay(offsets.into_iter().map(scaled).collect()), end))
    }

    /// When the last arrival has passed, from the start of the load.
    pub fn end(&self) -> Duration {
        self.end
    }

    /// How many arrivals are expected before `instant`; exact for even spacing and replays.
    pub fn expected_until(&self, instant: Duration) -> f64 {
        let instant = instant.min(self.end);
        match &self.plan {
            Plan::Replay(offsets) => offsets.partition_point(|at| *at < instant) as f64,
            Plan::Stages(stages) => {
                let seconds = instant.as_secs_f64();
                let index = stages
                    .partition_point(|(_, begin, _)| *begin <= seconds)
                    .saturating_sub(1);
                let (count, begin, stage) = &stages[index];
                count + stage.count_until((seconds - begin).min(stage.seconds()))
            }
        }
    }

    /// The highest rate that the schedule reaches, a second; a replay answers its mean.
    pub fn peak_per_second(&self) -> f64 {
        match &self.plan {
            Plan::Replay(offsets) => offsets.len() as f64 / self.end.as_secs_f64().max(0.001),
            Plan::Stages(stages) => stages
                .iter()
                .map(|(_, _, stage)| stage.from_per_second.max(stage.to_per_second))
                .fold(0.0, f64::max),
        }
    }

    /// The arrivals that worker `worker` of `workers` has to start, ascending; together the workers start them all.
    pub fn arrivals(&self, worker: usize, workers: usize) -> ArrivalIter {
        let mut random =
            fastrand::Rng::with_seed(self.seed ^ (worker as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let first = match self.spacing {
            Spacing::Even => worker as f64,
            Spacing::Poisson => workers as f64 * exponential(&mut random),
        };
        ArrivalIter {
            schedule: self.clone(),
            random,
            workers,
            count: first,
            sequence: worker as u64,
            stage: 0,
        }
    }
}

/// An exponential variate of mean one.
fn exponential(random: &mut fastrand::Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}

/// The arrivals of one worker, ascending; see [`ArrivalSchedule::arrivals`].
#[derive(Clone, Debug)]
pub struct ArrivalIter {
    schedule: ArrivalSchedule,
    random: fastrand::Rng,
    workers: usize,
    /// How many arrivals of all workers precede the next one: a rate that varies is a steady one on this scale.
    count: f64,
    sequence: u64,
    stage: usize,
}

impl Iterator for ArrivalIter {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let at = match &self.schedule.plan {
            Plan::Replay(offsets) => *offsets.get(usize::try_from(self.sequence).ok()?)?,
            Plan::Stages(stages) => loop {
                let (before, begin, stage) = stages.get(self.stage)?;
                if self.count < before + stage.count() {
                    break Duration::from_secs_f64(begin + stage.instant_of(self.count - before));
                }
                self.stage += 1;
            },
        };
        if at >= self.schedule.end {
            return None;
        }
        let arrival = Arrival {
            at,
            sequence: self.sequence,
        };
        self.sequence += self.workers as u64;
        self.count += match self.schedule.spacing {
            Spacing::Even => self.workers as f64,
            Spacing::Poisson => self.workers as f64 * exponential(&mut self.random),
        };
        Some(arrival)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(open: &Open, limit: Option<Duration>) -> ArrivalSchedule {
        ArrivalSchedule::new(open, limit).unwrap()
    }

    fn all(schedule: &ArrivalSchedule, workers: usize) -> Vec<Arrival> {
        let mut all: Vec<_> = (0..workers)
            .flat_map(|worker| schedule.arrivals(worker, workers))
            .collect();
        all.sort_by_key(|arrival| (arrival.at, arrival.sequence));
        all
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced_however_many_workers_share_it() {
        let schedule = schedule(&Open::new(Arrivals::Constant(4.0)), Some(SECOND));
        for workers in [1, 2, 3] {
            let starts: Vec<_> = all(&schedule, workers)
                .iter()
                .map(|arrival| arrival.at.as_millis())
                .collect();
            assert_eq!(starts, [0, 250, 500, 750]);
        }
    }

    #[test]
    fn a_ramp_holds_the_area_under_its_rates() {
        let stages = vec![
            Stage::ramp(10 * SECOND, 0.0, 100.0),
            Stage::hold(5 * SECOND, 0.0),
            Stage::hold(SECOND, 50.0),
            Stage::ramp(10 * SECOND, 100.0, 0.0),
        ];
        let schedule = schedule(&Open::new(Arrivals::Stages(stages)), None);
        let arrivals = all(&schedule, 2);
        assert_eq!(arrivals.len(), 500 + 50 + 500);
        let within = |from: u64, to: u64| {
            arrivals
                .iter()
                .filter(|arrival| (from..to).contains(&arrival.at.as_secs()))
                .count()
        };
        assert_eq!(within(0, 5), 125);
        assert_eq!(within(10, 15), 0, "the pause stays empty");
        assert_eq!(within(15, 16), 50);
        assert_eq!(schedule.expected_until(5 * SECOND), 125.0);
        assert_eq!(schedule.peak_per_second(), 100.0);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_scatter_of_a_poisson_process() {
        let mut open = Open::new(Arrivals::Constant(100.0));
        (open.spacing, open.seed) = (Spacing::Poisson, 7);
        let schedule = schedule(&open, Some(500 * SECOND));
        let arrivals = all(&schedule, 3);
        let mut per_second = vec![0.0_f64; 500];
        for arrival in &arrivals {
            per_second[arrival.at.as_secs() as usize] += 1.0;
        }
        let mean = per_second.iter().sum::<f64>() / 500.0;
        let variance = per_second.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 499.0;
        assert!((mean - 100.0).abs() < 2.0, "{mean}");
        assert!((variance / mean - 1.0).abs() < 0.2, "{variance}");
        assert_eq!(
            arrivals,
            all(&schedule, 3),
            "the same seed gives the same arrivals"
        );
    }

    #[test]
    fn a_replay_keeps_the_distances_of_its_log_at_its_speed() {
        let replay = Replay {
            offsets_seconds: vec![12.0, 10.0, 10.5],
            speed: 2.0,
        };
        let schedule = schedule(&Open::new(Arrivals::Replay(replay)), None);
        let starts: Vec<_> = all(&schedule, 2)
            .iter()
            .map(|arrival| arrival.at.as_millis())
            .collect();
        assert_eq!(starts, [0, 250, 1000]);
        assert_eq!(schedule.end().as_millis(), 1500);
    }

    #[test]
    fn a_load_without_requests_or_without_an_end_is_refused() {
        let refused = |arrivals, limit| {
            ArrivalSchedule::new(&Open::new(arrivals), limit)
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(refused(Arrivals::Constant(-1.0), Some(SECOND)), @"the rate must be a positive number, not -1");
        insta::assert_snapshot!(refused(Arrivals::Constant(1.0), None), @"a load at a constant rate needs a duration or a number of requests");
        insta::assert_snapshot!(refused(Arrivals::Stages(vec![]), None), @"the stages hold no request");
        let empty = Replay {
            offsets_seconds: vec![],
            speed: 1.0,
        };
        insta::assert_snapshot!(refused(Arrivals::Replay(empty), None), @"a replay needs at least one time");
    }

    proptest! {
        #[test]
        fn arrivals_ascend_and_are_as_many_as_expected(
            rates in prop::collection::vec((0.0..500.0_f64, 0.0..500.0_f64, 1..4000_u64), 1..6),
            workers in 1..5_usize,
            poisson: bool,
        ) {
            let stages: Vec<_> =
                rates.iter().map(|(from, to, ms)| Stage::ramp(Duration::from_millis(*ms), *from, *to)).collect();
            let mut open = Open::new(Arrivals::Stages(stages));
            open.spacing = if poisson { Spacing::Poisson } else { Spacing::Even };
            let Ok(schedule) = ArrivalSchedule::new(&open, None) else { return Ok(()) };
            for worker in 0..workers {
                let starts: Vec<_> = schedule.arrivals(worker, workers).map(|arrival| arrival.at).collect();
                prop_assert!(starts.is_sorted());
                prop_assert!(starts.iter().all(|start| *start < schedule.end()));
            }
            let expected = schedule.expected_until(schedule.end());
            let counted = all(&schedule, workers).len() as f64;
            let tolerance = if poisson { 6.0 * expected.sqrt() + 6.0 } else { 1.0 };
            prop_assert!((counted - expected).abs() <= tolerance, "{} {}", counted, expected);
        }
    }
}
