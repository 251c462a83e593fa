//! A set of checks, run once.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::check::{Check, CheckId};
use crate::clock::{Clock, SystemClock};
use crate::condition::Series;
use crate::config::Period;
use crate::dependency::Dependencies;
use crate::error::{Error, ErrorKind, Result};
use crate::judge::{CheckState, Moment, judge};
use crate::observation::{Labels, Observation};
use crate::probe::Context;
use crate::report::{CheckReport, SuiteReport};
use crate::text;

/// How many probes run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// In all. Default: 256, which is far below the 1,024 open files that a Linux process may have by default.
    pub total: usize,
    /// Of one target, so that one that hangs holds few of `total`. Default: 8.
    pub per_target: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: 256,
            per_target: 8,
        }
    }
}

impl Limits {
    /// The same limits with so many in all, at least 1.
    #[must_use]
    pub fn with_total(mut self, total: usize) -> Self {
        self.total = total.max(1);
        self
    }

    /// The same limits with so many of one target, at least 1.
    #[must_use]
    pub fn with_per_target(mut self, per_target: usize) -> Self {
        self.per_target = per_target.max(1);
        self
    }
}

/// Runs a set of checks once, concurrently, each with its own deadline.
///
/// One check that hangs, fails or even panics costs the others nothing. A suite looks once, so a rule counts the first
/// time it applies whatever its `for`, unless the states of earlier looks are handed in with
/// [`with_states`](Self::with_states).
pub struct Suite {
    checks: Vec<Check>,
    dependencies: Dependencies,
    clock: Arc<dyn Clock>,
    limits: Limits,
    past: HashMap<CheckId, Arc<dyn Series + Send + Sync>>,
    /// One a check, in the order of the set.
    states: Mutex<Vec<CheckState>>,
    /// Held while the suite runs: a probe has one caller at a time.
    running: tokio::sync::Mutex<()>,
}

impl Suite {
    /// A suite of `checks`, in this order.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] where two checks have one name, a parent does not exist or parents form a circle.
    pub fn new(checks: Vec<Check>) -> Result<Self> {
        Ok(Self {
            dependencies: Dependencies::new(&checks)?,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            past: HashMap::new(),
            states: Mutex::new(vec![CheckState::once(); checks.len()]),
            running: tokio::sync::Mutex::new(()),
            checks,
        })
    }

    /// The same suite with another wall clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same suite with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same suite, going on from what earlier looks found; a check that `states` does not know starts afresh.
    #[must_use]
    pub fn with_states(self, mut states: HashMap<CheckId, CheckState>) -> Self {
        let states = self
            .checks
            .iter()
            .map(|check| states.remove(&check.id).unwrap_or_default())
            .collect();
        Self {
            states: Mutex::new(states),
            ..self
        }
    }

    /// The same suite, whose functions over time also see these past values.
    #[must_use]
    pub fn with_past(mut self, past: HashMap<CheckId, Arc<dyn Series + Send + Sync>>) -> Self {
        self.past = past;
        self
    }

    /// The checks, in order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What is remembered of each check, to be handed to the next suite.
    pub fn states(&self) -> HashMap<CheckId, CheckState> {
        let states = self.lock_states();
        let ids = self.checks.iter().map(|check| check.id.clone());
        ids.zip(states.iter().cloned()).collect()
    }

    /// Runs every check once. Dropping the future stops the probes; what was judged until then is remembered.
    pub async fn run(&self) -> SuiteReport {
        self.run_with(|_| {}).await
    }

    /// Runs every check once, and calls `each` with every report as soon as it is there, for instance to show progress.
    ///
    /// Which failure explains which is known only at the end, so `suppressed_by` is not set yet in what `each` sees.
    pub async fn run_with(&self, mut each: impl FnMut(&CheckReport) + Send) -> SuiteReport {
        let _alone = self.running.lock().await;
        let started_at = self.clock.now();
        let started = Instant::now();
        let total = Semaphore::new(self.limits.total);
        let mut targets: HashMap<&str, Semaphore> = HashMap::new();
        for check in &self.checks {
            let target = check.probe.target();
            targets
                .entry(target)
                .or_insert_with(|| Semaphore::new(self.limits.per_target));
        }
        let mut asking: FuturesUnordered<_> = self
            .checks
            .iter()
            .enumerate()
            .map(|(position, check)| {
                let (total, target) = (&total, &targets[check.probe.target()]);
                async move {
                    // First the target's permit: who waits for a target that hangs must not hold one of `total`.
                    let _of_target = target.acquire().await;
                    let _of_total = total.acquire().await;
                    (position, ask(check, &*self.clock).await)
                }
            })
            .collect();
        let mut reports: Vec<Option<CheckReport>> = vec![None; self.checks.len()];
        while let Some((position, asked)) = asking.next().await {
            let report = self.judge(position, asked);
            each(&report);
            reports[position] = Some(report);
        }
        let mut reports: Vec<CheckReport> = reports.into_iter().flatten().collect();
        self.explain(&mut reports);
        SuiteReport::new(started_at, started.elapsed(), reports)
    }

    fn judge(&self, position: usize, asked: Asked) -> CheckReport {
        let check = &self.checks[position];
        let past = self.past.get(&check.id);
        let present = Present {
            past: past.map(|past| &**past as &dyn Series),
            observation: asked.outcome.as_ref().ok(),
            at: asked.observed_at,
        };
        let moment = Moment::at(asked.observed_at);
        let mut states = self.lock_states();
        let judgement = judge(
            &check.rules,
            &mut states[position],
            asked.outcome.as_ref(),
            &present,
            moment,
        );
        drop(states);
        CheckReport::new(check, asked, judgement)
    }

    /// Names the root cause of every failure that has one.
    fn explain(&self, reports: &mut [CheckReport]) {
        for position in 0..reports.len() {
            let cause = self
                .dependencies
                .root_cause(position, |position| Some(reports[position].status));
            reports[position].suppressed_by = cause.map(|cause| self.checks[cause].id.clone());
        }
    }

    fn lock_states(&self) -> std::sync::MutexGuard<'_, Vec<CheckState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Suite")
            .field("checks", &self.checks)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Past values followed by what was just seen.
#[derive(Debug)]
pub(crate) struct Present<'a> {
    pub(crate) past: Option<&'a dyn Series>,
    pub(crate) observation: Option<&'a Observation>,
    pub(crate) at: Timestamp,
}

impl Series for Present<'_> {
    fn points(&self, name: &str, labels: &Labels, since: Timestamp, out: &mut Vec<(Timestamp, f64)>) {
        if let Some(past) = self.past {
            past.points(name, labels, since, out);
        }
        let measurements = self
            .observation
            .map_or(&[][..], |observation| &observation.measurements);
        let now = measurements
            .iter()
            .find(|measurement| measurement.name.eq_ignore_ascii_case(name) && measurement.labels == *labels);
        // A past that already holds the present value keeps it; one from the future, before the clock was set back,
        // would make every slope wrong.
        if let Some(measurement) = now {
            out.retain(|(at, _)| *at < self.at);
            out.push((self.at, measurement.value));
        }
    }
}

/// What came of asking a probe once.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) outcome: Result<Observation>,
    pub(crate) observed_at: Timestamp,
    pub(crate) elapsed: Duration,
}

/// The longest a probe may take; tokio's clock ends somewhere beyond.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Asks the probe of `check` once. Never fails and never panics: whatever the probe does becomes an outcome.
pub(crate) async fn ask(check: &Check, clock: &dyn Clock) -> Asked {
    let observed_at = clock.now();
    let started = Instant::now();
    let deadline = started + check.timeout.min(LONGEST);
    let context = Context::new(clock, deadline);
    let answer = AssertUnwindSafe(async { check.probe.observe(&context).await }).catch_unwind();
    let outcome = match timeout_at(deadline, answer).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(panicked(&*panic)),
        Err(_) => {
            let timeout = Period(check.timeout).to_string();
            let why = text!("no answer within {timeout}", timeout = timeout);
            Ok(Observation::failed(why))
        }
    };
    Asked {
        outcome,
        observed_at,
        elapsed: started.elapsed(),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(
        ErrorKind::Internal,
        text!(
            "the probe panicked: {message}",
            message = said.unwrap_or("without a message")
        ),
    )
}
