//! The probe `substrate.process`: whether a node's program keeps running, and all of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::metrics::{self, Page};
use super::within;
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::http_client::HttpClient;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

pub(super) static KIND: ProbeKind = ProbeKind {
    name: "substrate_process",
    summary: "whether a node's program keeps running without restarts and without tasks that panicked",
    metrics: &[
        Metric::gauge("uptime", Unit::Seconds, "how long the process has been running"),
        Metric::gauge(
            "restarts",
            Unit::Count,
            "new processes that were seen within the last fifteen minutes",
        ),
        Metric::gauge(
            "panicked_tasks",
            Unit::Count,
            "tasks of this process that ended in a panic",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "restarts >= 3",
            sustained: "",
            says: "the node keeps ending: {restarts} new processes within 15 minutes, this one runs for {uptime}",
            remedy: "Stop what restarts it and read its log for a corrupt database or a failed task. A node that signs stays down for two minutes at least before it is started again.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "restarts > 0 && restarts < 3",
            sustained: "",
            says: "the node was restarted {restarts} times within 15 minutes, this process runs for {uptime}",
            remedy: "Read its log for why it ended. Restarts of a node that signs can make it vote twice.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "panicked_tasks > 0",
            sustained: "",
            says: "parts of the node have ended in a panic and do their work no more: {panicked}",
            remedy: "Read its log around the word panicked. Restart it by its runbook; a node that signs only within its safe window.",
        },
    ],
};

/// Over how long restarts are counted.
const WINDOW: Duration = Duration::from_secs(900);

/// How many names of tasks are told.
const MAX_NAMES: usize = 10;

/// The table `substrate.process` of a check.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NodeProcessConfig {
    /// The address of the node's metrics: `http://127.0.0.1:9615/metrics`. They tell when the process was started, so
    /// that a restart between two looks is noticed too.
    pub metrics: Url,
}

impl NodeProcessConfig {
    /// The process whose metrics are at this address.
    pub fn new(metrics: Url) -> Self {
        Self { metrics }
    }
}

impl ProbeConfig for NodeProcessConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let client = metrics::client(&self.metrics, resources)?;
        Ok(Arc::new(NodeProcessProbe {
            target: client.shown().to_string(),
            client,
            starts: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct NodeProcessProbe {
    client: HttpClient,
    target: String,
    starts: Mutex<Starts>,
}

/// The processes that were seen.
#[derive(Debug, Default)]
struct Starts {
    /// When the present one was started, in seconds since 1970.
    present: Option<i64>,
    /// When new ones were seen.
    changes: VecDeque<Instant>,
}

impl Starts {
    /// Takes in when the present process was started; tells how many were new within the window.
    fn see(&mut self, started: i64, now: Instant) -> usize {
        if self
            .present
            .replace(started)
            .is_some_and(|before| before != started)
        {
            self.changes.push_back(now);
        }
        while self
            .changes
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) > WINDOW)
        {
            self.changes.pop_front();
        }
        self.changes.len()
    }
}

/// The tasks that ended in a panic and how many in all.
fn panicked(page: &Page) -> (f64, Vec<String>) {
    let tasks = page.values_by("substrate_tasks_ended_total{reason=\"panic\"}", "task_name");
    let tasks = tasks.into_iter().filter(|(_, count)| *count > 0.0);
    tasks.fold((0.0, Vec::new()), |(total, mut names), (name, count)| {
        names.push(name);
        (total + count, names)
    })
}

#[async_trait]
impl Probe for NodeProcessProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let page = match within(context, &self.target, metrics::page(&self.client, context)).await {
            Ok(page) => page,
            Err(error) if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) => {
                return Ok(Observation::failed(error.to_text()));
            }
            Err(error) => return Err(error),
        };
        let name = "substrate_process_start_time_seconds";
        let started = page.value(name).ok_or_else(|| {
            Error::new(
                ErrorKind::TooOld,
                text!(
                    "the metrics of {node} have no {metric}",
                    node = &self.target,
                    metric = name
                ),
            )
        })?;
        let started = started as i64;
        let restarts = {
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            starts.see(started, Instant::now())
        };
        let (panics, names) = panicked(&page);
        let mut observation = Observation::new()
            .with("restarts", restarts as f64, Unit::Count)
            .with("panicked_tasks", panics, Unit::Count);
        if let Ok(start) = Timestamp::from_second(started) {
            let uptime = Duration::try_from(context.clock.now().duration_since(start)).unwrap_or_default();
            observation = observation
                .with_seconds("uptime", uptime)
                .with_fact("process_start", start.to_string());
        }
        if !names.is_empty() {
            let names = names[..names.len().min(MAX_NAMES)].join(", ");
            observation = observation.with_fact("panicked", names);
        }
        if let Some((version, _)) = page.values_by("substrate_build_info", "version").pop() {
            observation = observation.with_fact("client_version", version);
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn new_processes_count_for_a_quarter_of_an_hour() {
        let mut starts = Starts::default();
        let mut see = |started| starts.see(started, Instant::now());
        assert_eq!([see(100), see(100)], [0, 0]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!([see(160), see(160)], [1, 1]);
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!([see(700), see(740)], [2, 3]);
        tokio::time::advance(Duration::from_secs(301)).await;
        assert_eq!(see(740), 2);
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(see(740), 0);
    }
}
