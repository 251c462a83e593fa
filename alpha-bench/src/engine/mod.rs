//! Runs a load: one single-threaded runtime for each core, and a collector that listens to them.

pub(crate) mod cores;
mod deadline;
mod pacer;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::pacer::Pacer;
use self::worker::{Assignment, Outcome, Work};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Settled};
use crate::error::{Error, ErrorKind, Result};
use crate::recorder::{Series, Totals, Window};
use crate::report::{BenchReport, RunData};
use crate::schedule::LoadModel;
use crate::target::Target;
use crate::text;

/// How long the workers have to get ready before the load starts.
const RUN_UP: Duration = Duration::from_millis(20);

/// A load that is about to be put on a target.
///
/// [`run`](Self::run) uses a core of its own for each worker; [`run_in_place`](Self::run_in_place) uses the runtime it is
/// called from, on whose paused clock an hour of load takes milliseconds.
#[derive(Debug)]
pub struct LoadTest<T> {
    config: Config,
    target: T,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    progress: Option<watch::Sender<Progress>>,
    start: Option<Instant>,
}

/// How a run is going; sent about once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// How long it has been running.
    pub elapsed: Duration,
    /// When it will end, if time ends it.
    pub end: Option<Duration>,
    /// Requests finished, warm-up excluded.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Requests finished in the last full second.
    pub per_second: f64,
    /// The median response time of that second.
    pub p50: Duration,
    /// The 99th percentile of that second.
    pub p99: Duration,
    /// The 99th percentile of the generator's lag in that second.
    pub lag_p99: Duration,
}

impl<T: Target> LoadTest<T> {
    /// The load of `config` on `target`.
    pub fn new(config: Config, target: T) -> Self {
        Self {
            config,
            target,
            clock: Arc::new(SystemClock),
            stop: CancellationToken::new(),
            progress: None,
            start: None,
        }
    }

    /// Starts the load at this instant instead of as soon as it can; for whoever has to know when each request is due.
    #[must_use]
    pub(crate) fn starting_at(mut self, start: Instant) -> Self {
        self.start = Some(start);
        self
    }

    /// Takes the time of day from `clock`; from this machine by default.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Ends the run early when `stop` is cancelled; the report then says that it was cut short.
    #[must_use]
    pub fn with_stop(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// Tells `progress` how the run is going.
    #[must_use]
    pub fn with_progress(mut self, progress: watch::Sender<Progress>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Puts the load on the target, from threads of their own; at most the timeout longer than the load lasts.
    ///
    /// Dropping the future ends the load.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the load makes no sense, [`Io`](ErrorKind::Io) if this machine
    /// refuses a thread, [`Unsupported`](ErrorKind::Unsupported) if it refuses to pin one. A target that does not answer is no error: its failures are in the report.
    pub async fn run(self) -> Result<BenchReport> {
        let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
        let settled = self.config.settle(parallelism)?;
        let stop = self.stop.child_token();
        let _ends_the_load_when_dropped = stop.clone().drop_guard();
        let (windows, inbox) = mpsc::unbounded_channel();
        let started_at = self.clock.now();
        let start = self.start.unwrap_or_else(|| Instant::now() + RUN_UP);
        let cores = self.cores()?;
        let mut workers = Vec::with_capacity(settled.workers);
        for worker in 0..settled.workers {
            let (answer, outcome) = oneshot::channel();
            let assignment = self.assignment(&settled, worker, start, &stop, &windows);
            let (target, spin) = (self.target.clone(), self.config.spin);
            let core = cores.get(worker % cores.len().max(1)).copied();
            std::thread::Builder::new()
                .name(format!("load-{worker}"))
                .spawn(move || {
                    let _ = answer.send(run_on_this_thread(target, assignment, spin, core));
                })
                .map_err(|cause| could_not_start().with_source(cause))?;
            workers.push(outcome);
        }
        drop(windows);
        let series = self.collect(inbox, start, &settled).await;
        let mut outcomes = Vec::with_capacity(workers.len());
        for worker in workers {
            outcomes.push(
                worker
                    .await
                    .map_err(|cause| could_not_start().with_source(cause))??,
            );
        }
        Ok(self.report(&settled, started_at, start, series, outcomes))
    }

    /// Puts the load on the target from the present thread, on tokio's clock.
    ///
    /// The lag cannot be told from other work of the runtime here, and intended starts are precise to a millisecond.
    /// Meant for tests and for light loads inside a service. Must not be called inside a `LocalRuntime`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    #[expect(clippy::future_not_send, reason = "it stays on this thread by design")]
    pub async fn run_in_place(mut self) -> Result<BenchReport> {
        self.config.workers = Some(1);
        let settled = self.config.settle(1)?;
        let (windows, inbox) = mpsc::unbounded_channel();
        let (started_at, start) = (self.clock.now(), Instant::now());
        let assignment = self.assignment(&settled, 0, start, &self.stop, &windows);
        drop(windows);
        let work = worker::run(self.target.clone(), assignment, Pacer::pausable());
        let local = LocalSet::new();
        // The task set is dropped with its last tasks, because the collector listens as long as one of them exists.
        let work = async move { local.run_until(work).await };
        let (outcome, series) = tokio::join!(work, self.collect(inbox, start, &settled));
        Ok(self.report(&settled, started_at, start, series, vec![(outcome, 0.0)]))
    }

    /// The cores to keep the workers on; none where they may move.
    fn cores(&self) -> Result<Vec<usize>> {
        if self.config.pinned {
            cores::allowed().map_err(could_not_pin)
        } else {
            Ok(Vec::new())
        }
    }

    fn assignment(
        &self,
        settled: &Settled,
        worker: usize,
        start: Instant,
        stop: &CancellationToken,
        windows: &mpsc::UnboundedSender<(usize, Window)>,
    ) -> Assignment {
        let workers = settled.workers;
        // The connections are dealt to the workers in turn, like the requests.
        let connections = (settled.connections + workers - 1 - worker) / workers;
        let work = match &settled.schedule {
            Some(schedule) => Work::Open {
                arrivals: schedule.arrivals(worker, workers),
                connections,
            },
            None => Work::Closed {
                connections,
                total_connections: settled.connections,
                requests: self.config.requests.unwrap_or(u64::MAX),
            },
        };
        Assignment {
            worker,
            workers,
            start,
            warm_up: self.config.warm_up,
            end: settled.end,
            timeout: self.config.timeout,
            fresh_connections: self.config.fresh_connections,
            work,
            stop: stop.clone(),
            windows: windows.clone(),
        }
    }

    /// Puts the windows of all workers together until the last worker is done.
    async fn collect(
        &self,
        mut inbox: mpsc::UnboundedReceiver<(usize, Window)>,
        start: Instant,
        settled: &Settled,
    ) -> Series {
        let mut series = Series::default();
        let mut progress = Progress {
            end: (settled.end < Duration::MAX).then_some(settled.end),
            ..Progress::default()
        };
        while let Some((_, window)) = inbox.recv().await {
            progress.requests += window.requests;
            progress.failures += window.failures;
            series.add(&window);
            let Some(sender) = &self.progress else { continue };
            let index = usize::try_from(window.start_seconds / series.window_seconds).unwrap_or(usize::MAX);
            if let Some(merged) = series.windows.get(index) {
                progress.elapsed = start.elapsed();
                progress.per_second = merged.requests as f64 / series.window_seconds as f64;
                progress.p50 = merged.response_nanoseconds.quantile(0.5);
                progress.p99 = merged.response_nanoseconds.quantile(0.99);
                progress.lag_p99 = Duration::from_secs_f64(merged.lag_p99_seconds);
                sender.send_replace(progress);
            }
        }
        series
    }

    fn report(
        &self,
        settled: &Settled,
        started_at: Timestamp,
        start: Instant,
        series: Series,
        outcomes: Vec<(Outcome, f64)>,
    ) -> BenchReport {
        let request_names = self.target.request_names();
        let mut totals = Totals::new(request_names.len());
        let (mut end, mut unsent, mut cut_short, mut busy_ratio) = (Duration::ZERO, 0, false, 0.0_f64);
        for (outcome, busy) in outcomes {
            end = end.max(outcome.stopped);
            unsent += outcome.unsent;
            cut_short |= outcome.cut_short;
            busy_ratio = busy_ratio.max(busy);
            totals.merge(outcome.totals);
        }
        let is_open = matches!(self.config.model, LoadModel::Open(_));
        let due = is_open.then(|| (totals.sent + totals.unfinished + unsent) as f64);
        let offered = match &settled.schedule {
            Some(schedule) => {
                let at = |index: usize| Duration::from_secs(index as u64 * series.window_seconds);
                let until = |index| schedule.expected_until(at(index));
                (0..series.windows.len())
                    .map(|index| until(index + 1) - until(index))
                    .collect()
            }
            None => Vec::new(),
        };
        BenchReport::new(
            &self.config,
            RunData {
                target: self.target.describe(),
                request_names,
                started_at,
                elapsed: start.elapsed(),
                end,
                cut_short,
                due,
                offered,
                busy_ratio,
                totals,
                series,
            },
        )
    }
}

/// Runs a worker on a runtime of its own; answers also how busy the thread was while requests were started.
fn run_on_this_thread<T: Target>(
    target: T,
    assignment: Assignment,
    spin: Duration,
    core: Option<usize>,
) -> Result<(Outcome, f64)> {
    let refused = |cause: std::io::Error| could_not_start().with_source(cause);
    if let Some(core) = core {
        cores::pin_this_thread(core).map_err(could_not_pin)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .map_err(refused)?;
    let metrics = runtime.handle().metrics();
    let outcome = runtime.block_on(async {
        let pacer = Pacer::precise(spin).map_err(refused)?;
        Ok::<_, Error>(worker::run(target, assignment, pacer).await)
    })?;
    let busy = metrics.worker_total_busy_duration(0).saturating_sub(outcome.spun);
    let ratio = busy.as_secs_f64() / outcome.stopped.as_secs_f64().max(1e-9);
    Ok((outcome, ratio.min(1.0)))
}

fn could_not_pin(cause: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        text!("could not keep a worker of the load on one core"),
    )
    .with_source(cause)
}

fn could_not_start() -> Error {
    Error::new(ErrorKind::Io, text!("could not start a worker of the load"))
}

#[cfg(test)]
mod tests;
