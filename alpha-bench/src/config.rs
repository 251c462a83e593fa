//! What a run is told.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::{optional, required};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::schedule::{ArrivalSchedule, LoadModel};
use crate::text;
use crate::threshold::Threshold;

/// How long a run lasts when neither a duration nor a number of requests is set.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// Beyond this rate one core is asked to do more than one request in 40 µs, so that more cores share the load.
const RATE_OF_ONE_WORKER: f64 = 25_000.0;

/// Up to this many closed connections one core serves them with less noise than two.
const CONNECTIONS_OF_ONE_WORKER: usize = 32;

/// A load and its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// What the run is called in reports.
    pub name: Option<String>,
    /// How the load is put on; ten requests a second by default.
    pub model: LoadModel,
    /// How long requests are started, warm-up included; ten seconds unless `requests` is set or the model ends by itself.
    #[serde(with = "optional")]
    #[schemars(with = "Option<String>")]
    pub duration: Option<Duration>,
    /// After how many requests the run ends, warm-up included; not limited by default.
    pub requests: Option<u64>,
    /// What is started in this time at the begin is sent but not measured; nothing by default.
    #[serde(with = "required")]
    #[schemars(with = "String")]
    pub warm_up: Duration,
    /// How long one request may take, connecting included; ten seconds by default. It also bounds how long a run
    /// outlasts its duration.
    #[serde(with = "required")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// How many cores send; by default one, and all of them for a high rate or many closed connections.
    pub workers: Option<usize>,
    /// Keeps each worker on a core of its own, so that the scheduler moves none in the middle of a run; off by default,
    /// since it helps only where nothing else wants those cores. Linux only.
    pub pinned: bool,
    /// How long before each intended start the generator stops sleeping and spins; zero by default. Some 60 µs buy the
    /// last microseconds of precision at the price of a busy core.
    #[serde(with = "required")]
    #[schemars(with = "String")]
    pub spin: Duration,
    /// Opens a connection for every request; off by default.
    pub fresh_connections: bool,
    /// Bars that the run must keep; none by default.
    pub thresholds: Vec<Threshold>,
    /// When the generator is no longer believed.
    pub saturation: SaturationLimits,
}

/// When the generator's own weakness spoils the result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SaturationLimits {
    /// The 99th percentile of the lag from which on it counts; 10 ms by default, since a machine that is shared is late
    /// by some milliseconds now and then.
    #[serde(with = "required")]
    #[schemars(with = "String")]
    pub lag_p99: Duration,
    /// The share that this lag must have in the 99th percentile of the response time to count; a tenth by default.
    pub lag_share: f64,
    /// The share of intended requests that must have been sent; 0.99 by default.
    pub sent_ratio: f64,
    /// How busy the generator must have been to be the reason for requests not sent; 0.85 of its time by default. Below
    /// it the target is, whose broken thresholds then come first.
    pub busy_ratio: f64,
}

impl Default for SaturationLimits {
    fn default() -> Self {
        Self {
            lag_p99: Duration::from_millis(10),
            lag_share: 0.1,
            sent_ratio: 0.99,
            busy_ratio: 0.85,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            model: LoadModel::default(),
            duration: None,
            requests: None,
            warm_up: Duration::ZERO,
            timeout: Duration::from_secs(10),
            workers: None,
            pinned: false,
            spin: Duration::ZERO,
            fresh_connections: false,
            thresholds: Vec::new(),
            saturation: SaturationLimits::default(),
        }
    }
}

impl Config {
    /// A load of this model with default bounds.
    pub fn new(model: LoadModel) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }

    /// Starts requests for so long.
    #[must_use]
    pub fn with_duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Ends after so many requests.
    #[must_use]
    pub fn with_requests(mut self, requests: u64) -> Self {
        self.requests = Some(requests);
        self
    }

    /// Does not measure what starts in this time.
    #[must_use]
    pub fn with_warm_up(mut self, warm_up: Duration) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Gives each request so long.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends from so many cores.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Keeps each worker on a core of its own.
    #[must_use]
    pub fn with_pinned(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }

    /// Spins so long before each intended start.
    #[must_use]
    pub fn with_spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// Adds a bar that the run must keep.
    #[must_use]
    pub fn with_threshold(mut self, threshold: Threshold) -> Self {
        self.thresholds.push(threshold);
        self
    }

    /// The same load, checked, with every default filled in.
    pub(crate) fn settle(&self, cores: usize) -> Result<Settled> {
        if self.timeout.is_zero() {
            return Err(Error::invalid(text!("the timeout must not be zero")));
        }
        if self.requests == Some(0) || self.workers == Some(0) {
            return Err(Error::invalid(text!(
                "a run needs at least one request and one worker"
            )));
        }
        let (schedule, connections, wanted) = match &self.model {
            LoadModel::Closed(closed) => {
                if closed.connections == 0 {
                    return Err(Error::invalid(text!(
                        "a closed load needs at least one connection"
                    )));
                }
                let wanted = if closed.connections > CONNECTIONS_OF_ONE_WORKER {
                    cores
                } else {
                    1
                };
                (None, closed.connections, wanted)
            }
            LoadModel::Open(open) => {
                if open.max_connections == 0 {
                    return Err(Error::invalid(text!(
                        "an open load needs at least one connection"
                    )));
                }
                let schedule = ArrivalSchedule::new(open, self.open_limit(open))?;
                let wanted = if schedule.peak_per_second() > RATE_OF_ONE_WORKER {
                    cores
                } else {
                    1
                };
                (Some(schedule), open.max_connections, wanted)
            }
        };
        let end = match &schedule {
            Some(schedule) => schedule.end(),
            None => self.duration.unwrap_or(if self.requests.is_some() {
                Duration::MAX
            } else {
                DEFAULT_DURATION
            }),
        };
        if self.warm_up >= end {
            return Err(Error::invalid(text!(
                "the warm-up leaves nothing of the run to measure"
            )));
        }
        let workers = self.workers.unwrap_or(wanted).min(connections).max(1);
        Ok(Settled {
            schedule,
            connections,
            workers,
            end,
        })
    }

    /// Where an open load is cut: at its duration, or where a constant rate has sent its requests.
    fn open_limit(&self, open: &crate::schedule::Open) -> Option<Duration> {
        use crate::schedule::Arrivals;
        match (&open.arrivals, self.requests) {
            (Arrivals::Constant(rate), Some(requests)) if *rate > 0.0 => {
                let needed = Duration::try_from_secs_f64(requests as f64 / rate).unwrap_or(Duration::MAX);
                Some(self.duration.map_or(needed, |duration| duration.min(needed)))
            }
            (Arrivals::Constant(_), _) => Some(self.duration.unwrap_or(DEFAULT_DURATION)),
            _ => self.duration,
        }
    }
}

/// A [`Config`] whose every question is answered.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) schedule: Option<ArrivalSchedule>,
    pub(crate) connections: usize,
    pub(crate) workers: usize,
    /// When the last request starts; [`Duration::MAX`] if only their number ends the run.
    pub(crate) end: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_needs_nothing_and_a_typo_is_answered_with_the_keys() {
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
        let full: Config = serde_json::from_str(
            r#"{ "model": { "open": { "arrivals": { "constant": 50.0 } } }, "duration": "1m 30s", "thresholds": ["p95 < 200ms"] }"#,
        )
        .unwrap();
        assert_eq!(full.duration, Some(Duration::from_secs(90)));
        let error = serde_json::from_str::<Config>(r#"{ "durations": "1s" }"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("unknown field `durations`, expected one of `name`, `model`, `duration`"),
            "{error}"
        );
    }

    #[test]
    fn the_number_of_cores_follows_the_load() {
        let workers = |model| Config::new(model).settle(2).unwrap().workers;
        assert_eq!(workers(LoadModel::open(1_000.0)), 1);
        assert_eq!(workers(LoadModel::open(100_000.0)), 2);
        assert_eq!(workers(LoadModel::closed(1)), 1);
        assert_eq!(workers(LoadModel::closed(64)), 2);
    }

    #[test]
    fn nonsense_is_refused_before_anything_is_sent() {
        let refused = |config: Config| config.settle(1).unwrap_err().to_string();
        let second = Duration::from_secs(1);
        insta::assert_snapshot!(refused(Config::new(LoadModel::closed(0))), @"a closed load needs at least one connection");
        insta::assert_snapshot!(refused(Config::default().with_requests(0)), @"a run needs at least one request and one worker");
        insta::assert_snapshot!(refused(Config::default().with_duration(second).with_warm_up(second)), @"the warm-up leaves nothing of the run to measure");
    }
}
