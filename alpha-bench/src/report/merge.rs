//! One report of several.

use jiff::Timestamp;

use super::{BenchReport, Latency, ratio};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::histogram::{Buckets, Precision};
use crate::recorder::Series;
use crate::text;

impl BenchReport {
    /// One report of several processes or machines that put load on the same target at the same time.
    ///
    /// Counts, histograms and windows add up; percentiles, findings and the verdict are worked out anew, by the
    /// thresholds of the first report. Windows are laid over each other by when each run began, to the second. Kinds of
    /// requests are kept in few numbers only, which cannot be merged honestly, so that they are left out.
    ///
    /// # Errors
    /// [`Malformed`](ErrorKind::Malformed) if there is nothing to merge, or a run was over before another began.
    pub fn merge(reports: &[Self]) -> Result<Self> {
        let malformed = |text| Err(Error::new(ErrorKind::Malformed, text));
        let Some(first) = reports.first() else {
            return malformed(text!("there is no report to merge"));
        };
        let end = |report: &Self| report.started_at.as_second() as f64 + report.elapsed_seconds;
        let latest = reports.iter().map(|report| report.started_at.as_second()).max();
        if let Some(early) = reports
            .iter()
            .find(|report| latest.is_some_and(|latest| end(report) < latest as f64))
        {
            return malformed(text!(
                "the run of {started_at} was over before another began, so that they are no single load",
                started_at = early.started_at.to_string()
            ));
        }
        let begin = started_at(reports).unwrap_or(first.started_at);
        let aligned: Vec<Self> = reports
            .iter()
            .map(|report| {
                let late = report.started_at.duration_since(begin).as_secs_f64().round();
                report.clone().shifted(late as u64)
            })
            .collect();
        Self::add_up(&aligned, &first.bars())
    }

    /// The load as far as a report tells it: enough to judge the report again.
    fn bars(&self) -> Config {
        let mut config = Config::new(self.model.clone());
        config.thresholds = self.thresholds.iter().map(|outcome| outcome.threshold).collect();
        config
    }

    /// The same report with its windows so many seconds later.
    fn shifted(mut self, seconds: u64) -> Self {
        if seconds > 0 {
            let mut series = Series {
                window_seconds: self.series.window_seconds,
                windows: Vec::new(),
            };
            for window in &self.series.windows {
                let mut window = window.clone();
                window.start_seconds += seconds;
                series.add(&window);
            }
            let empty = (seconds / self.series.window_seconds) as usize;
            if !self.offered.is_empty() {
                self.offered.splice(0..0, std::iter::repeat_n(0.0, empty));
            }
            self.series = series;
        }
        self
    }

    /// Adds up reports whose windows belong together by their number; `config` is the load that each was given.
    pub(crate) fn add_up(reports: &[Self], config: &Config) -> Result<Self> {
        let Some((first, others)) = reports.split_first() else {
            return Err(Error::new(
                ErrorKind::Malformed,
                text!("there is no report to merge"),
            ));
        };
        let sum = |count: fn(&Self) -> u64| reports.iter().map(count).sum::<u64>();
        let total = |number: fn(&Self) -> f64| reports.iter().map(number).sum::<f64>();
        let largest = |number: fn(&Self) -> f64| reports.iter().map(number).fold(0.0, f64::max);
        let mut merged = first.clone();
        for other in others {
            merged.errors.merge(&other.errors);
            merged.series.merge(&other.series);
            merged.histograms.response.merge(&other.histograms.response);
            merged.histograms.service.merge(&other.histograms.service);
            merged.histograms.lag.merge(&other.histograms.lag);
            merged
                .offered
                .resize(merged.offered.len().max(other.offered.len()), 0.0);
            for (mine, theirs) in merged.offered.iter_mut().zip(&other.offered) {
                *mine += theirs;
            }
            for (class, example) in &other.error_examples {
                merged
                    .error_examples
                    .entry(*class)
                    .or_insert_with(|| example.clone());
            }
        }
        merged.started_at = started_at(reports).unwrap_or(first.started_at);
        merged.requests = sum(|report| report.requests);
        merged.unfinished = sum(|report| report.unfinished);
        merged.connections = sum(|report| report.connections);
        merged.bytes_received = sum(|report| report.bytes_received);
        merged.cut_short = reports.iter().any(|report| report.cut_short);
        merged.elapsed_seconds = largest(|report| report.elapsed_seconds);
        merged.measured_seconds = largest(|report| report.measured_seconds);
        merged.busy_ratio = largest(|report| report.busy_ratio);
        merged.throughput_per_second = total(|report| report.throughput_per_second);
        merged.offered_per_second = total(|report| report.offered_per_second);
        merged.error_ratio = ratio(merged.errors.total(), merged.requests);
        let weighted = |share: fn(&Self) -> f64| {
            reports
                .iter()
                .map(|report| share(report) * report.offered_per_second)
                .sum::<f64>()
        };
        let offered = merged.offered_per_second.max(f64::MIN_POSITIVE);
        merged.sent_ratio = weighted(|report| report.sent_ratio) / offered;
        merged.waited_ratio = weighted(|report| report.waited_ratio) / offered;
        let full = |buckets: &Buckets| Latency::of(&buckets.to_histogram(Precision::Full));
        merged.latency_seconds = full(&merged.histograms.response);
        merged.service_seconds = full(&merged.histograms.service);
        merged.lag_seconds = full(&merged.histograms.lag);
        merged.per_request.clear();
        merged.conclude(config);
        Ok(merged)
    }
}

fn started_at(reports: &[BenchReport]) -> Option<Timestamp> {
    reports.iter().map(|report| report.started_at).min()
}
