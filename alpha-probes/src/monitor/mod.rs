//! A set of checks, run for ever.
//!
//! - **Exact schedule.** Each check runs on its own grid, which never drifts; phases are spread by a hash of the name.
//!   The monitor wakes up in slots of 100 ms, not once a check, and no task is spawned for a probe.
//! - **Isolation.** A target that hangs holds at most its own bound. A probe that runs for over a second moves to a
//!   lane of its own, so that even hundreds of dead targets delay nobody else.
//! - **Honesty under load.** Where the monitor itself was not run in time, a result that would be worse than the one
//!   before is unknown, never an alarm. A check whose turn does not come within its interval is unknown as well.
//! - **Replacement.** [`Monitor::replace`] swaps the set while it runs; unchanged checks keep their state and phase.
//!
//! All probes are driven by the one task that awaits [`Monitor::run`]. A probe that blocks its thread therefore blocks
//! the others; probes must not, and one that does is named in the log.

mod admission;
mod stats;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::stats::MonitorStats;

use self::admission::Bounds;
use self::table::{Run, Table};
use crate::check::{Check, CheckId};
use crate::clock::{Clock, SystemClock};
use crate::error::Result;
use crate::judge::CheckState;
use crate::report::{CheckReport, SuiteReport};
use crate::series::SeriesBuffer;
use crate::suite::{Asked, Limits, ask};

/// How long a slot is by default: the precision of the schedule, and how often the monitor wakes up at most.
pub const DEFAULT_SLOT: Duration = Duration::from_millis(100);

/// A probe that runs for longer than this is treated as one that hangs: it no longer counts into the bound in all.
pub const HANGS_AFTER: Duration = Duration::from_secs(1);

/// How many probes may hang at the same time, besides the bound in all; more wait for their turn.
pub const MOST_HANGING: usize = 1024;

/// When the monitor wakes up later than this, results of the probes that ran meanwhile may be wrong by its own fault.
pub const STALLED_ABOVE: Duration = Duration::from_millis(500);

/// When one run in a hundred begins later than this, the monitor calls itself overloaded.
pub const OVERLOADED_ABOVE: Duration = Duration::from_secs(1);

/// A probe that keeps its thread for longer than this in one go is named in the log.
const BLOCKS_ABOVE: Duration = Duration::from_millis(100);

/// How many updates a slow subscriber may be behind before it misses some.
const BACKLOG: usize = 4096;

/// One more result of a check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Update {
    /// The result.
    pub report: Arc<CheckReport>,
    /// The status before, where this result changed it.
    pub changed_from: Option<crate::Status>,
}

/// Runs a set of checks for ever.
///
/// Cheap to clone; all clones are the same monitor.
#[derive(Clone)]
pub struct Monitor(Arc<Shared>);

struct Shared {
    table: Mutex<Table>,
    clock: Arc<dyn Clock>,
    bounds: Bounds,
    updates: broadcast::Sender<Update>,
    replaced: Notify,
    /// Held by the one loop that runs.
    alone: tokio::sync::Mutex<()>,
}

/// Builds a [`Monitor`].
#[derive(Clone)]
pub struct MonitorBuilder {
    checks: Vec<Check>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    slot: Duration,
    states: HashMap<CheckId, CheckState>,
}

impl MonitorBuilder {
    /// Another wall clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How many probes run at the same time; those that hang are bounded apart by [`MOST_HANGING`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a slot is, at least a millisecond. Default: [`DEFAULT_SLOT`].
    #[must_use]
    pub fn with_slot(mut self, slot: Duration) -> Self {
        self.slot = slot.max(Duration::from_millis(1));
        self
    }

    /// What was known of the checks before this process began.
    #[must_use]
    pub fn with_states(mut self, states: HashMap<CheckId, CheckState>) -> Self {
        self.states = states;
        self
    }

    /// The monitor.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) where two checks have one name, a parent does not
    /// exist or parents form a circle.
    pub fn build(self) -> Result<Monitor> {
        let bounds = Bounds {
            quick: self.limits.total,
            hanging: MOST_HANGING,
            per_target: self.limits.per_target,
        };
        let mut table = Table::new(self.checks, bounds, self.slot, Instant::now())?;
        table.restore(self.states);
        Ok(Monitor(Arc::new(Shared {
            table: Mutex::new(table),
            clock: self.clock,
            bounds,
            updates: broadcast::Sender::new(BACKLOG),
            replaced: Notify::new(),
            alone: tokio::sync::Mutex::new(()),
        })))
    }
}

impl fmt::Debug for MonitorBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MonitorBuilder")
            .field("checks", &self.checks)
            .field("limits", &self.limits)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Monitor {
    /// Begins to build a monitor of `checks`.
    pub fn builder(checks: Vec<Check>) -> MonitorBuilder {
        MonitorBuilder {
            checks,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            slot: DEFAULT_SLOT,
            states: HashMap::new(),
        }
    }

    /// Runs until `cancel` is cancelled; probes that are being asked then are dropped.
    ///
    /// A second call waits for the first to end. What is known of the checks outlives the end of a run.
    pub async fn run(&self, cancel: CancellationToken) {
        let _alone = self.0.alone.lock().await;
        self.table().restart(self.0.bounds, Instant::now());
        let mut asking = FuturesUnordered::new();
        let mut alarm = pin!(sleep_until(Instant::now()));
        let mut armed = true;
        loop {
            tokio::select! {
                // The schedule comes first, so that a flood of answers cannot starve it.
                biased;
                () = cancel.cancelled() => break,
                () = &mut alarm, if armed => self.tick(alarm.deadline()),
                () = self.0.replaced.notified() => {}
                Some(finished) = asking.next(), if !asking.is_empty() => {
                    self.finish(finished);
                    // Whatever else is ready costs no further round.
                    while let Some(Some(finished)) = asking.next().now_or_never() {
                        self.finish(finished);
                    }
                }
            }
            let now = Instant::now();
            let mut table = self.table();
            while let Some(run) = table.next_run(now) {
                asking.push(self.ask(run));
            }
            let wake = table.next_wake(now);
            drop(table);
            armed = wake.is_some();
            if let Some(wake) = wake.filter(|wake| *wake != alarm.deadline() || alarm.is_elapsed()) {
                alarm.as_mut().reset(wake);
            }
        }
    }

    /// Replaces the checks, while running or not.
    ///
    /// A check of the same name, kind and target keeps its state, its latest report and its phase; of its rules, those
    /// that did not change keep how long they have applied. All others start afresh, and removed ones are forgotten.
    ///
    /// # Errors
    /// As [`MonitorBuilder::build`]; then the old set goes on unharmed.
    pub fn replace(&self, checks: Vec<Check>) -> Result<()> {
        self.table().replace(checks, Instant::now())?;
        self.0.replaced.notify_one();
        Ok(())
    }

    /// Fills the recent values of one check, which functions over time look back on, for instance from a history.
    pub fn restore_series(&self, id: &CheckId, fill: impl FnOnce(&mut SeriesBuffer)) {
        self.table().restore_series(id, fill);
    }

    /// The latest result of every check, in the order of the set. A check that was not asked yet is unknown.
    pub fn snapshot(&self) -> SuiteReport {
        let now = self.0.clock.now();
        let reports = self.table().reports(now);
        SuiteReport::new(now, Duration::ZERO, reports)
    }

    /// What is remembered of each check, to be handed to the next process.
    pub fn states(&self) -> HashMap<CheckId, CheckState> {
        self.table().states()
    }

    /// Every result from now on. Who is slower than 4,096 results misses some and is told so by the receiver; the
    /// [`snapshot`](Self::snapshot) then tells what is.
    pub fn subscribe(&self) -> broadcast::Receiver<Update> {
        self.0.updates.subscribe()
    }

    /// How the monitor itself fares.
    pub fn stats(&self) -> MonitorStats {
        self.table().stats(Instant::now())
    }

    fn tick(&self, wanted: Instant) {
        let now = Instant::now();
        let late = now.saturating_duration_since(wanted);
        let mut table = self.table();
        if late > STALLED_ABOVE {
            tracing::warn!(
                late_seconds = late.as_secs_f64(),
                "the monitor was not run in time"
            );
            table.note_stall(late, now);
        }
        let updates = table.tick(self.0.clock.now(), now);
        drop(table);
        for update in updates {
            self.publish(update);
        }
    }

    fn finish(&self, (run, asked): (Run, Asked)) {
        let update = self.table().finish(&run, asked, Instant::now());
        if let Some(update) = update {
            self.publish(update);
        }
    }

    /// Failing to send only says that nobody listens.
    fn publish(&self, update: Update) {
        if let Some(before) = update.changed_from {
            tracing::info!(
                check = %update.report.name,
                from = %before,
                to = %update.report.status,
                reason = %update.report.reason,
                "a check changed"
            );
        }
        if self.0.updates.receiver_count() > 0 {
            let _ = self.0.updates.send(update);
        }
    }

    /// Asks one probe; owns all it needs, because it outlives a replacement of the set.
    fn ask(&self, run: Run) -> impl Future<Output = (Run, Asked)> + Send + use<> {
        let clock = Arc::clone(&self.0.clock);
        async move {
            let check = Arc::clone(&run.check);
            let asked = watched(&check.id, ask(&check, &*clock)).await;
            (run, asked)
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names a probe that keeps its thread.
async fn watched<T>(id: &CheckId, asking: impl Future<Output = T> + Send) -> T {
    let mut asking = pin!(asking);
    std::future::poll_fn(|context| {
        let before = Instant::now();
        let poll: Poll<T> = asking.as_mut().poll(context);
        let blocked = before.elapsed();
        if blocked > BLOCKS_ABOVE {
            tracing::warn!(check = %id, blocked_seconds = blocked.as_secs_f64(), "a probe blocked all others");
        }
        poll
    })
    .await
}

impl fmt::Debug for Monitor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Monitor")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
