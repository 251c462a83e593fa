//! What a run found, as data.

mod finding;
mod merge;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{FailureClass, FailureCounts};
use crate::histogram::{Buckets, Histogram, Precision};
use crate::metric::Metric;
use crate::recorder::{Series, Totals};
use crate::schedule::LoadModel;
use crate::statistics::{normal_quantile, quantile_interval, share_interval};
use crate::text;
use crate::threshold::{Threshold, Verdict};

pub use self::finding::Finding;

/// The version of [`BenchReport`]'s JSON; it changes when a key is taken away or changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// The percentiles that every report tells, as shares.
pub const PERCENTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

/// What one run found.
///
/// Response times count from the intended start of each request, service times from the real one. Requests that
/// succeeded and those that timed out have a latency; other failures end early and only count as errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct BenchReport {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// What the run was called.
    pub name: Option<String>,
    /// What the load was put on.
    pub target: String,
    /// How the load was put on.
    pub model: LoadModel,
    /// When it began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// How long it took, with the wait for the last answers.
    pub elapsed_seconds: f64,
    /// How long it was measured: without warm-up and without that wait.
    pub measured_seconds: f64,
    /// Warm-up at its begin, which is not measured.
    pub warm_up_seconds: f64,
    /// Whether it was stopped before its end.
    pub cut_short: bool,
    /// How it was judged.
    pub verdict: Verdict,
    /// What a reader has to know before believing the numbers.
    pub findings: Vec<Finding>,
    /// Each threshold and how it was kept.
    pub thresholds: Vec<ThresholdOutcome>,
    /// Requests that finished, well or not.
    pub requests: u64,
    /// Failed requests by class.
    pub errors: FailureCounts,
    /// For each class what the first failure looked like, where that says more than the class.
    pub error_examples: BTreeMap<FailureClass, String>,
    /// The share of requests that failed.
    pub error_ratio: f64,
    /// Requests that were under way when the run was cut short.
    pub unfinished: u64,
    /// Requests finished in a second, while requests were started.
    pub throughput_per_second: f64,
    /// Requests meant to start in a second; in a closed load, those that did.
    pub offered_per_second: f64,
    /// The share of intended requests that really started; 1 in a closed load.
    pub sent_ratio: f64,
    /// Response time: from the intended start to the last byte.
    pub latency_seconds: Latency,
    /// Service time: from the real start to the last byte.
    pub service_seconds: Latency,
    /// The generator's own lag: how late it acted although it could have.
    pub lag_seconds: Latency,
    /// The percentiles of the response time with their intervals.
    pub percentiles: Vec<Percentile>,
    /// What each kind of request saw.
    pub per_request: Vec<RequestReport>,
    /// Connections opened.
    pub connections: u64,
    /// The share of requests that waited because every connection was busy and the bound was reached.
    pub waited_ratio: f64,
    /// How busy the generator's most busy core was, spinning excluded.
    pub busy_ratio: f64,
    /// Bytes received, headers included.
    pub bytes_received: u64,
    /// The run second by second.
    pub series: Series,
    /// Requests meant to start in each window of `series`; empty in a closed load.
    pub offered: Vec<f64>,
    /// All latencies in nanoseconds, within 0.1 %; what reports of several machines are merged from.
    pub histograms: Histograms,
    /// The interleaved comparison it is a side of; two reports with the same one were measured in the same minutes.
    pub interleaved: Option<String>,
}

/// All latencies of a run, as buckets in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histograms {
    /// Response times.
    pub response: Buckets,
    /// Service times.
    pub service: Buckets,
    /// The generator's lag.
    pub lag: Buckets,
}

/// Latencies in a few numbers, in seconds; all zero if there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// The arithmetic mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// What 90 % do not exceed.
    pub p90: f64,
    /// What 95 % do not exceed.
    pub p95: f64,
    /// What 99 % do not exceed.
    pub p99: f64,
    /// What 99.9 % do not exceed.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    /// The numbers of a histogram.
    pub fn of(histogram: &Histogram) -> Self {
        let quantile = |share| histogram.quantile(share).as_secs_f64();
        Self {
            mean: histogram.mean().as_secs_f64(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: histogram.max().as_secs_f64(),
        }
    }
}

/// A percentile of the response time and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentile {
    /// The share of requests that are no slower.
    pub quantile: f64,
    /// The response time.
    pub seconds: f64,
    /// The lower end of the 95 % interval.
    pub low_seconds: f64,
    /// The upper end of the 95 % interval.
    pub high_seconds: f64,
    /// Whether at least ten independent samples lie beyond it; otherwise it is little more than a guess.
    pub is_reliable: bool,
}

/// What one kind of request saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestReport {
    /// Its name in the scenario.
    pub name: String,
    /// How many finished.
    pub requests: u64,
    /// Those that failed, by class.
    pub errors: FailureCounts,
    /// The share that succeeded; zero if none finished.
    pub success_ratio: f64,
    /// Response times, within 1 %.
    pub latency_seconds: Latency,
}

/// How a threshold was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdOutcome {
    /// The threshold.
    pub threshold: Threshold,
    /// What was measured: seconds, a share or a number a second.
    pub value: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end of its 95 % interval.
    pub high: f64,
    /// Whether it was kept.
    pub verdict: Verdict,
}

/// What the engine knows at the end of a run.
#[derive(Debug)]
pub(crate) struct RunData {
    pub(crate) target: String,
    pub(crate) request_names: Vec<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) elapsed: Duration,
    /// When the last request was to start.
    pub(crate) end: Duration,
    pub(crate) cut_short: bool,
    /// Requests that were due within the measured time; `None` in a closed load.
    pub(crate) due: Option<f64>,
    pub(crate) offered: Vec<f64>,
    pub(crate) busy_ratio: f64,
    pub(crate) totals: Totals,
    pub(crate) series: Series,
}

impl BenchReport {
    pub(crate) fn new(config: &Config, run: RunData) -> Self {
        let RunData { totals, series, .. } = run;
        let measured = run.end.saturating_sub(config.warm_up).as_secs_f64().max(1e-9);
        let errors = totals.failures.total();
        let requests = totals.succeeded + errors;
        let mut report = Self {
            schema_version: SCHEMA_VERSION,
            name: config.name.clone(),
            target: run.target,
            model: config.model.clone(),
            started_at: run.started_at,
            elapsed_seconds: run.elapsed.as_secs_f64(),
            measured_seconds: measured,
            warm_up_seconds: config.warm_up.as_secs_f64(),
            cut_short: run.cut_short,
            verdict: Verdict::Pass,
            findings: Vec::new(),
            thresholds: Vec::new(),
            requests,
            error_ratio: ratio(errors, requests),
            unfinished: totals.unfinished,
            throughput_per_second: totals.in_time as f64 / measured,
            offered_per_second: run.due.unwrap_or(totals.sent as f64) / measured,
            sent_ratio: match run.due {
                Some(due) if due > 0.0 => ((totals.sent + totals.unfinished) as f64 / due).min(1.0),
                _ => 1.0,
            },
            latency_seconds: Latency::of(&totals.response),
            service_seconds: Latency::of(&totals.service),
            lag_seconds: Latency::of(&totals.lag),
            percentiles: Vec::new(),
            per_request: run
                .request_names
                .into_iter()
                .zip(&totals.per_request)
                .map(|(name, (errors, response))| RequestReport::new(name, errors, response))
                .collect(),
            connections: totals.connections,
            waited_ratio: ratio(totals.waited, totals.sent),
            busy_ratio: run.busy_ratio,
            bytes_received: totals.bytes_received,
            errors: totals.failures,
            error_examples: totals.examples,
            series,
            offered: run.offered,
            histograms: Histograms {
                response: totals.response.to_buckets(),
                service: totals.service.to_buckets(),
                lag: totals.lag.to_buckets(),
            },
            interleaved: None,
        };
        report.conclude(config);
        report
    }

    /// Fills in what follows from the counts: intervals, findings, thresholds and the verdict.
    pub(crate) fn conclude(&mut self, config: &Config) {
        let response = self.histograms.response.to_histogram(Precision::Full);
        self.percentiles = PERCENTILES
            .iter()
            .map(|quantile| self.percentile(&response, *quantile))
            .collect();
        self.findings = self.findings(config);
        self.thresholds = config
            .thresholds
            .iter()
            .map(|threshold| self.judge(&response, *threshold))
            .collect();
        let any = |verdict| self.thresholds.iter().any(|outcome| outcome.verdict == verdict);
        let nothing_succeeded = self.errors.total() == self.requests;
        // A target that never answers well is broken however late it was asked, unless this machine was why.
        let target_is_down = nothing_succeeded
            && self.requests > 0
            && !self.errors.iter().any(|(class, _)| class.is_of_generator());
        self.verdict = if target_is_down {
            Verdict::Breach
        } else if self.is_limited_by_generator(config.saturation.busy_ratio) {
            Verdict::GeneratorSaturated
        } else if nothing_succeeded || any(Verdict::Breach) {
            Verdict::Breach
        } else if self.findings.iter().any(Finding::is_saturation) {
            // The target was too slow for the load, yet broke no threshold: what was measured is a smaller load than the
            // one that was asked for, which nobody may take for a pass.
            Verdict::GeneratorSaturated
        } else if any(Verdict::Undecided) {
            Verdict::Undecided
        } else {
            Verdict::Pass
        };
    }

    /// Whether the generator itself was the limit, rather than a target that kept all its connections busy.
    pub(crate) fn is_limited_by_generator(&self, busy_limit: f64) -> bool {
        self.findings.iter().any(|finding| match finding {
            Finding::RateNotReached { busy_ratio, .. } => *busy_ratio >= busy_limit,
            other => other.is_saturation(),
        })
    }

    fn findings(&self, config: &Config) -> Vec<Finding> {
        let limits = &config.saturation;
        let mut findings = Vec::new();
        if self.cut_short {
            findings.push(Finding::CutShort);
        }
        if self.errors.total() == self.requests {
            findings.push(Finding::NothingSucceeded);
        }
        for (class, requests) in self.errors.iter().filter(|(class, _)| class.is_of_generator()) {
            findings.push(Finding::LocalLimit { class, requests });
        }
        if let LoadModel::Open(open) = &self.model {
            let lag = self.lag_seconds.p99;
            if lag > limits.lag_p99.as_secs_f64() && lag > limits.lag_share * self.latency_seconds.p99 {
                findings.push(Finding::LagTooLong { p99_seconds: lag });
            }
            if self.sent_ratio < limits.sent_ratio {
                findings.push(Finding::RateNotReached {
                    offered_per_second: self.offered_per_second,
                    sent_ratio: self.sent_ratio,
                    busy_ratio: self.busy_ratio,
                });
            }
            if self.waited_ratio > 0.001 {
                let connections = open.max_connections as u64;
                findings.push(Finding::WaitedForConnection {
                    ratio: self.waited_ratio,
                    connections,
                });
            }
        } else if self.busy_ratio >= limits.busy_ratio {
            findings.push(Finding::GeneratorBusy {
                busy_ratio: self.busy_ratio,
            });
        }
        if let Some(unsure) = self.percentiles.iter().find(|percentile| !percentile.is_reliable) {
            findings.push(Finding::TooFewSamples {
                quantile: unsure.quantile,
            });
        }
        findings
    }

    fn percentile(&self, response: &Histogram, quantile: f64) -> Percentile {
        let warm_up = Duration::from_secs_f64(self.warm_up_seconds);
        let until = warm_up + Duration::from_secs_f64(self.measured_seconds);
        let windows: Vec<_> = self
            .series
            .whole(warm_up, until)
            .map(|window| &window.response_nanoseconds)
            .collect();
        let interval = quantile_interval(response, &windows, quantile);
        Percentile {
            quantile,
            seconds: interval.value.as_secs_f64(),
            low_seconds: interval.low.as_secs_f64(),
            high_seconds: interval.high.as_secs_f64(),
            is_reliable: interval.reliable,
        }
    }

    /// A metric with its 95 % interval, and whether there are enough samples to speak of it at all.
    pub(crate) fn measure(&self, response: &Histogram, metric: Metric) -> (f64, f64, f64, bool) {
        let exact = |value: f64| (value, value, value, true);
        match metric {
            Metric::Percentile(quantile) => {
                let p = self.percentile(response, quantile);
                (p.seconds, p.low_seconds, p.high_seconds, p.is_reliable)
            }
            Metric::Mean => {
                let mean = response.mean().as_secs_f64();
                let margin = normal_quantile() * response.standard_error();
                (
                    mean,
                    (mean - margin).max(0.0),
                    mean + margin,
                    !response.is_empty(),
                )
            }
            Metric::Max => (
                self.latency_seconds.max,
                self.latency_seconds.max,
                self.latency_seconds.max,
                !response.is_empty(),
            ),
            Metric::Errors => {
                let (low, high) = share_interval(self.errors.total(), self.requests);
                (self.error_ratio, low, high, self.requests > 0)
            }
            Metric::Rate => exact(self.sent_ratio),
            Metric::Throughput => exact(self.throughput_per_second),
        }
    }

    fn judge(&self, response: &Histogram, threshold: Threshold) -> ThresholdOutcome {
        let (value, low, high, reliable) = self.measure(response, threshold.metric);
        let verdict = match threshold.judge(low, high) {
            // Too few samples may well show a breach, but never that all is well.
            Verdict::Pass if !reliable => Verdict::Undecided,
            verdict => verdict,
        };
        ThresholdOutcome {
            threshold,
            value,
            low,
            high,
            verdict,
        }
    }

    /// The report as one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report holds nothing that JSON cannot say")
    }

    /// Reads a stored report.
    ///
    /// # Errors
    /// [`Malformed`](ErrorKind::Malformed) if it is none, or one of another schema.
    pub fn from_json(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let malformed = |cause: serde_json::Error| {
            Error::new(ErrorKind::Malformed, text!("could not read the report")).with_source(cause)
        };
        let version = serde_json::from_str::<Version>(json)
            .map_err(malformed)?
            .schema_version;
        if version != SCHEMA_VERSION {
            return Err(Error::new(
                ErrorKind::Malformed,
                text!(
                    "the report has schema version {version}, expected {expected}",
                    version = version,
                    expected = SCHEMA_VERSION
                ),
            ));
        }
        serde_json::from_str(json).map_err(malformed)
    }
}

impl RequestReport {
    fn new(name: String, errors: &FailureCounts, response: &Histogram) -> Self {
        let failed = errors.total();
        // Timeouts stand in the histogram as well as among the errors.
        let succeeded = response.len().saturating_sub(errors.get(FailureClass::Timeout));
        Self {
            name,
            requests: succeeded + failed,
            errors: errors.clone(),
            success_ratio: ratio(succeeded, succeeded + failed),
            latency_seconds: Latency::of(response),
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
