//! The highest rate that keeps a set of thresholds.

use std::future::Future;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::SaturationLimits;
use crate::error::{Error, Result};
use crate::report::BenchReport;
use crate::text;
use crate::threshold::Verdict;

/// Where to look for the highest rate, and how closely.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FindMax {
    /// The rate to begin with, a second; 50 by default.
    pub from_per_second: f64,
    /// The rate not to go beyond; a million a second by default.
    pub up_to_per_second: f64,
    /// How far the answer may lie below the truth; 0.05, which is 5 %, by default.
    pub precision: f64,
}

impl Default for FindMax {
    fn default() -> Self {
        Self {
            from_per_second: 50.0,
            up_to_per_second: 1e6,
            precision: 0.05,
        }
    }
}

/// The highest rate that kept the thresholds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Maximum {
    /// Requests a second; nothing if not even the lowest rate kept them.
    pub per_second: Option<f64>,
    /// What ended the search.
    pub limit: Limit,
    /// Every rate that was tried, in order.
    pub steps: Vec<Step>,
}

/// What ended a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The target broke a threshold, or came too close to it to tell.
    Target,
    /// The generator can do no more: the target may.
    Generator,
    /// The bound of the search was reached and kept.
    Bound,
    /// The search was stopped.
    CutShort,
}

/// A rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Requests a second.
    pub per_second: f64,
    /// How the run was judged.
    pub verdict: Verdict,
    /// Its 95th percentile.
    pub p95_seconds: f64,
    /// The share of failed requests.
    pub error_ratio: f64,
}

impl FindMax {
    /// Looks for the highest rate: doubles it as long as `run` passes, then halves the gap. `run` puts the given rate on
    /// the target; a run that is undecided counts as one too many, because what cannot be shown is not promised.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for bounds that make no sense, and whatever `run` answers.
    pub async fn search<F, R>(&self, mut run: F) -> Result<Maximum>
    where
        F: FnMut(f64) -> R + Send,
        R: Future<Output = Result<BenchReport>> + Send,
    {
        let sensible = self.from_per_second > 0.0 && self.up_to_per_second >= self.from_per_second;
        if !(sensible && self.up_to_per_second.is_finite() && self.precision >= 0.001) {
            return Err(Error::invalid(text!(
                "the search needs a positive rate, a higher bound and a precision of at least 0.1 %"
            )));
        }
        let (mut kept, mut broken) = (None::<f64>, None::<(f64, Limit)>);
        let mut steps = Vec::new();
        loop {
            let rate = match (kept, broken) {
                (None, None) => self.from_per_second,
                (Some(low), None) if low >= self.up_to_per_second => break,
                (Some(low), None) => (low * 2.0).min(self.up_to_per_second),
                (None, Some(_)) => break,
                (Some(low), Some((high, _))) if high / low <= 1.0 + self.precision => break,
                (Some(low), Some((high, _))) => (low * high).sqrt(),
            };
            let report = run(rate).await?;
            steps.push(Step {
                per_second: rate,
                verdict: report.verdict,
                p95_seconds: report.latency_seconds.p95,
                error_ratio: report.error_ratio,
            });
            if report.cut_short {
                return Ok(Maximum {
                    per_second: kept,
                    limit: Limit::CutShort,
                    steps,
                });
            }
            match report.verdict {
                Verdict::Pass => kept = Some(rate),
                Verdict::GeneratorSaturated
                    if report.is_limited_by_generator(SaturationLimits::default().busy_ratio) =>
                {
                    broken = Some((rate, Limit::Generator));
                }
                Verdict::Breach | Verdict::Undecided | Verdict::GeneratorSaturated => {
                    broken = Some((rate, Limit::Target));
                }
            }
        }
        Ok(Maximum {
            per_second: kept,
            limit: broken.map_or(Limit::Bound, |(_, limit)| limit),
            steps,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Arrivals, Config, FixedLatency, LoadModel, LoadTest, Open};

    async fn on_a_target_that_serves(per_second: f64, search: FindMax) -> Maximum {
        // One connection that answers after 1/rate serves exactly that rate.
        let latency = Duration::from_secs_f64(1.0 / per_second);
        let run = |rate| async move {
            let mut open = Open::new(Arrivals::Constant(rate));
            open.max_connections = 1;
            let config = Config::new(LoadModel::Open(open))
                .with_duration(Duration::from_secs(20))
                .with_threshold("p95 < 500ms".parse().unwrap())
                .with_threshold("rate >= 99%".parse().unwrap());
            let load = LoadTest::new(config, FixedLatency::new(latency));
            // The engine's futures stay on their thread; the search itself may move between threads.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .start_paused(true)
                    .build();
                runtime.unwrap().block_on(load.run_in_place())
            })
            .join()
            .unwrap()
        };
        search.search(run).await.unwrap()
    }

    #[tokio::test]
    async fn the_search_ends_just_below_what_the_target_can_do() {
        let found = on_a_target_that_serves(
            100.0,
            FindMax {
                from_per_second: 10.0,
                ..FindMax::default()
            },
        )
        .await;
        let rate = found.per_second.unwrap();
        assert!((90.0..=102.0).contains(&rate), "{rate}");
        assert_eq!(found.limit, Limit::Target);
        assert!(found.steps.len() < 12);
    }

    #[tokio::test]
    async fn a_bound_that_is_kept_and_a_target_that_keeps_nothing_are_told_apart() {
        let bounded = FindMax {
            from_per_second: 10.0,
            up_to_per_second: 50.0,
            ..FindMax::default()
        };
        let found = on_a_target_that_serves(200.0, bounded).await;
        assert_eq!((found.per_second, found.limit), (Some(50.0), Limit::Bound));
        let found = on_a_target_that_serves(2.0, bounded).await;
        assert_eq!((found.per_second, found.limit), (None, Limit::Target));
    }
}
