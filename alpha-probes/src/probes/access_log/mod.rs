//! The probe `access_log`: requests, errors and latency of real traffic, from the access log of nginx.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

mod format;
mod traffic;

use format::Format;
use traffic::Traffic;

use super::log::tail::Tail;
use super::log::{MAX_BYTES, check_path, report_round};
use crate::check::ProbeConfig;
use crate::config::Period;
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "access_log",
    summary: "Requests, errors and latency of real traffic, from the access log of nginx",
    metrics: &[
        Metric::gauge("requests", Unit::Count, "Requests since the last look"),
        Metric::gauge("rate", Unit::PerSecond, "Requests in a second"),
        Metric::gauge(
            "error_ratio",
            Unit::Ratio,
            "Share of the requests answered with a status of 500 and above; not where there was no request",
        ),
        Metric::gauge(
            "client_error_ratio",
            Unit::Ratio,
            "Share of the requests answered with a status of 400 to 499; not where there was no request",
        ),
        Metric::gauge(
            "latency_p50",
            Unit::Seconds,
            "Half of the requests took at most this long; only where the format has $request_time",
        ),
        Metric::gauge(
            "latency_p95",
            Unit::Seconds,
            "95 % of the requests took at most this long; only where the format has $request_time",
        ),
        Metric::gauge(
            "latency_p99",
            Unit::Seconds,
            "99 % of the requests took at most this long; only where the format has $request_time",
        ),
        Metric::gauge(
            "latency_max",
            Unit::Seconds,
            "The longest request; only where the format has $request_time",
        ),
        Metric::gauge("sent", Unit::BytesPerSecond, "Bytes sent"),
        Metric::gauge(
            "malformed_ratio",
            Unit::Ratio,
            "Share of the lines that are not in the format",
        ),
        Metric::gauge("present", Unit::Boolean, "Whether the log exists"),
        Metric::gauge(
            "lag",
            Unit::Bytes,
            "Bytes that are there and were not read yet, because one look is bounded",
        ),
        Metric::gauge(
            "rotations",
            Unit::Count,
            "Times the log was rotated since the last look",
        ),
        Metric::gauge(
            "gaps",
            Unit::Count,
            "Times since the last look that lines may have been lost, because a file was gone before it was read",
        ),
    ],
    is_open: false,
    // The limit of M4, and the 5 % at which M19 rolls back. Of a handful of requests one error is no rate.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "requests >= 20 && error_ratio > 5%",
            sustained: "2m",
            says: "{error_ratio} of {requests} requests failed",
            remedy: "Look at the paths among the facts of this check, and at the error log of what answers them.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "requests >= 20 && error_ratio > 1%",
            sustained: "5m",
            says: "{error_ratio} of {requests} requests failed",
            remedy: "Look at the paths among the facts of this check, and at the error log of what answers them.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "malformed_ratio > 10%",
            sustained: "",
            says: "{malformed_ratio} of the lines are not in the format that the check names",
            remedy: "Copy the log_format of nginx into the key format of the check.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "present == false",
            sustained: "5m",
            says: "there is no log at {path}",
            remedy: "See whether the program that writes it runs, and whether the path is right.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "gaps > 0",
            sustained: "",
            says: "lines of the log may have been lost: a file was gone before it was read",
            remedy: "Let logrotate keep at least one old file beside the log, or look more often.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "lag > 0",
            sustained: "10m",
            says: "the log grows faster than it is read, by {lag} so far",
            remedy: "Raise max_bytes or look more often; or let the program write less.",
        },
    ],
};

/// Five minutes: the traffic that the first look is about.
const FIRST_LOOK: Duration = Duration::from_secs(300);

/// 8 MiB: what is read of the end of a log that was never looked at.
const FIRST_LOOK_BYTES: u64 = 8 * 1024 * 1024;

/// Ten paths are shown.
const TOP: usize = 10;

/// The table `access_log` of a check.
///
/// A look is about the requests since the last one. The first is about those of the last `first_look`, as far as the
/// last 8 MiB of the log reach and its lines carry a time, so that a single check is already right.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AccessLogConfig {
    /// The log. Rotated files are looked for beside it.
    pub path: PathBuf,
    /// What nginx' `log_format` says, or `combined`; it must hold `$status`, and `$request_time` for the latency.
    /// Default: `combined`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How far the first look goes back. Default: `5m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_look: Option<Period>,
    /// How many paths are shown, those with the most requests. Default: 10; 0 shows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<u8>,
    /// Where the place reached is kept between two processes: a small file that only this check uses. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_file: Option<PathBuf>,
    /// About how much is read in one look; the rest waits for the next, and is told as `lag`. Default: 67108864.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

impl ProbeConfig for AccessLogConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        check_path("path", &self.path)?;
        if let Some(file) = &self.position_file {
            check_path("position_file", file)?;
        }
        Ok(Arc::new(AccessLog {
            target: self.path.display().to_string(),
            tail: Tail::new(&self.path, self.position_file.as_deref(), FIRST_LOOK_BYTES),
            format: Arc::new(Format::parse(self.format.as_deref().unwrap_or("combined"))?),
            first_look: self.first_look.map_or(FIRST_LOOK, |period| period.0),
            top: self.top.map_or(TOP, usize::from),
            max_bytes: self.max_bytes.unwrap_or(MAX_BYTES),
        }))
    }
}

#[derive(Debug)]
struct AccessLog {
    target: String,
    tail: Tail<Traffic>,
    format: Arc<Format>,
    first_look: Duration,
    top: usize,
    max_bytes: u64,
}

#[async_trait]
impl Probe for AccessLog {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let now = context.clock.now();
        let since = now
            .checked_sub(self.first_look)
            .ok()
            .filter(|_| !self.tail.has_looked());
        let format = Arc::clone(&self.format);
        let add = move |traffic: &mut Traffic, line: &[u8]| traffic.add(&format, line, since);
        let news = self.tail.news(now, self.max_bytes, add).await?;
        let traffic = news.tally;
        let mut observation = report_round(Observation::new(), &news.round)
            .with_fact("path", self.target.as_str())
            .with("requests", traffic.requests as f64, Unit::Count);
        // The first look knows the time its lines are about from the lines: all of it where an older line was seen.
        let seconds = news.elapsed.unwrap_or_else(|| {
            let whole = self.first_look.as_secs_f64();
            let covered = traffic
                .first_at
                .map(|first| now.duration_since(first).as_secs_f64());
            covered
                .filter(|_| traffic.older == 0)
                .map_or(whole, |covered| covered.clamp(1.0, whole.max(1.0)))
        });
        let requests = traffic.requests as f64;
        observation = observation
            .with("rate", requests / seconds, Unit::PerSecond)
            .with("sent", traffic.bytes as f64 / seconds, Unit::BytesPerSecond);
        let lines = traffic.requests + traffic.malformed + traffic.older;
        let malformed = traffic.malformed as f64 / lines.max(1) as f64;
        observation = observation.with("malformed_ratio", malformed, Unit::Ratio);
        if news.round.is_first {
            observation = observation.with_fact("first_look", true);
        }
        if traffic.requests == 0 {
            return Ok(observation);
        }
        observation = observation
            .with(
                "error_ratio",
                traffic.server_errors as f64 / requests,
                Unit::Ratio,
            )
            .with(
                "client_error_ratio",
                traffic.client_errors as f64 / requests,
                Unit::Ratio,
            );
        if self.format.has_duration() {
            for (name, share) in [
                ("latency_p50", 0.5),
                ("latency_p95", 0.95),
                ("latency_p99", 0.99),
                ("latency_max", 1.0),
            ] {
                if let Some(seconds) = traffic.duration_at(share) {
                    observation = observation.with(name, seconds, Unit::Seconds);
                }
            }
        }
        let top: Vec<_> = traffic
            .top(self.top)
            .into_iter()
            .map(|(path, visits)| json!({ "path": path, "requests": visits.requests, "server_errors": visits.server_errors }))
            .collect();
        if !top.is_empty() {
            observation = observation.with_fact("top_paths", top);
        }
        Ok(observation)
    }
}
