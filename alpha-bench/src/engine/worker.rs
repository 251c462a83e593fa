//! What runs on one core.
//!
//! A lane is a connection and the task that drives it. In a closed load each lane asks as fast as it is answered. In an
//! open load the pacer hands each arrival to an idle lane, the one that was used last, and opens another lane when none
//! is idle. There is no queue: arrivals that could not be handed out stay in the schedule, from which a lane that
//! becomes free takes the next one itself, with its intended start. So a backlog of any length costs no memory.

#![expect(
    clippy::future_not_send,
    reason = "everything here stays on the core it was started on"
)]

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::iter::Peekable;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deadline::Deadline;
use super::pacer::Pacer;
use crate::failure::{Failure, FailureClass};
use crate::recorder::{Recorder, Timing, Totals, Window};
use crate::schedule::{Arrival, ArrivalIter};
use crate::target::{Connection, Exchange, Target};

/// How long a closed lane pauses when it cannot connect, so that a target that is down is not hammered.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// How much later than its timeout the last request may be abandoned.
const GRACE: Duration = Duration::from_millis(500);

/// How long after the end a request that was due before it is still started. The last requests of a short run would be
/// lost to a wake-up that is late by a moment; the lag tells how late it was.
const LATE_STARTS: Duration = Duration::from_millis(50);

/// After how many arrivals handed out at once the lanes get their turn.
const BURST: usize = 64;

/// What one core has to do.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) worker: usize,
    pub(crate) workers: usize,
    pub(crate) start: Instant,
    pub(crate) warm_up: Duration,
    pub(crate) end: Duration,
    pub(crate) timeout: Duration,
    pub(crate) fresh_connections: bool,
    pub(crate) work: Work,
    pub(crate) stop: CancellationToken,
    pub(crate) windows: mpsc::UnboundedSender<(usize, Window)>,
}

#[derive(Debug)]
pub(crate) enum Work {
    Closed {
        connections: usize,
        total_connections: usize,
        requests: u64,
    },
    Open {
        arrivals: ArrivalIter,
        connections: usize,
    },
}

/// What one core did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) totals: Totals,
    /// When requests were no longer started.
    pub(crate) stopped: Duration,
    pub(crate) cut_short: bool,
    /// Requests that were due within the measured time and never started.
    pub(crate) unsent: u64,
    pub(crate) spun: Duration,
}

/// What the lanes of one core share.
struct Core<T> {
    target: T,
    start: Instant,
    warm_up: Duration,
    end: Duration,
    timeout: Duration,
    fresh_connections: bool,
    worker: usize,
    recorder: RefCell<Recorder>,
    windows: mpsc::UnboundedSender<(usize, Window)>,
    in_flight: Cell<u64>,
    connections: Cell<u64>,
    arrivals: RefCell<Option<Peekable<ArrivalIter>>>,
    idle: RefCell<Vec<Rc<Slot>>>,
    lanes: Cell<usize>,
    max_lanes: usize,
    lane_is_free: Notify,
    finished: Cell<bool>,
}

/// Where the pacer leaves an arrival for an idle lane.
#[derive(Default)]
struct Slot {
    arrival: Cell<Option<Arrival>>,
    waker: Cell<Option<Waker>>,
}

/// Runs one core's share of a load; needs a local task set around it.
pub(crate) async fn run<T: Target>(target: T, assignment: Assignment, mut pacer: Pacer) -> Outcome {
    let Assignment {
        worker,
        workers,
        start,
        warm_up,
        end,
        timeout,
        ..
    } = assignment;
    let (arrivals, max_lanes) = match &assignment.work {
        Work::Closed { connections, .. } => (None, *connections),
        Work::Open {
            arrivals,
            connections,
        } => (Some(arrivals.clone().peekable()), *connections),
    };
    let kinds = target.request_names().len();
    let core = Rc::new(Core {
        target,
        start,
        warm_up,
        end,
        timeout,
        fresh_connections: assignment.fresh_connections,
        worker,
        recorder: RefCell::new(Recorder::new(kinds, warm_up, end)),
        windows: assignment.windows,
        in_flight: Cell::new(0),
        connections: Cell::new(0),
        arrivals: RefCell::new(arrivals),
        idle: RefCell::default(),
        lanes: Cell::new(0),
        max_lanes,
        lane_is_free: Notify::new(),
        finished: Cell::new(false),
    });
    tokio::time::sleep_until(start).await;
    let mut lanes = JoinSet::new();
    let mut ticker = JoinSet::new();
    ticker.spawn_local(tick(Rc::clone(&core)));
    let mut cut_short = false;
    let work = async {
        match assignment.work {
            Work::Closed {
                connections,
                total_connections,
                requests,
            } => {
                for lane in 0..connections {
                    let quota = Quota {
                        next: (lane * workers + worker) as u64,
                        step: total_connections as u64,
                        end: requests,
                    };
                    lanes.spawn_local(closed_lane(Rc::clone(&core), quota));
                }
                while lanes.join_next().await.is_some() {}
            }
            Work::Open { .. } => pace(&core, &mut lanes, &mut pacer).await,
        }
    };
    tokio::select! {
        biased;
        () = assignment.stop.cancelled() => cut_short = true,
        () = work => {}
    }
    let stopped = core.now().min(end);
    core.finish();
    let drained = async { while lanes.join_next().await.is_some() {} };
    tokio::select! {
        biased;
        () = assignment.stop.cancelled(), if !cut_short => cut_short = true,
        _ = tokio::time::timeout(timeout + GRACE, drained), if !cut_short => {}
        else => {}
    }
    lanes.abort_all();
    drop(ticker);
    core.close(stopped, cut_short, pacer.spun())
}

/// Closes windows in which nothing finishes, so that a standstill shows while it lasts.
async fn tick<T: Target>(core: Rc<Core<T>>) {
    let second = Duration::from_secs(1);
    let mut interval = tokio::time::interval_at(core.start + second, second);
    loop {
        interval.tick().await;
        let window = core.recorder.borrow_mut().window_of(core.now());
        core.send(window);
    }
}

/// Hands out the arrivals of an open load in time.
async fn pace<T: Target>(core: &Rc<Core<T>>, lanes: &mut JoinSet<()>, pacer: &mut Pacer) {
    while let Some(next) = core.peek() {
        pacer.wait_until(core.start + next.at).await;
        let now = core.now();
        for _ in 0..BURST {
            let Some(arrival) = core.peek().filter(|arrival| arrival.at <= now) else {
                break;
            };
            if now > core.end + LATE_STARTS {
                // What has not started by then never will: it is counted as unsent rather than waited for.
                return;
            }
            let idle = core.idle.borrow_mut().pop();
            if let Some(slot) = idle {
                core.take();
                slot.arrival.set(Some(arrival));
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            } else if core.lanes.get() < core.max_lanes {
                core.take();
                core.lanes.set(core.lanes.get() + 1);
                lanes.spawn_local(open_lane(Rc::clone(core), arrival));
            } else {
                let free = core.lane_is_free.notified();
                if tokio::time::timeout_at(core.start + core.end, free)
                    .await
                    .is_err()
                {
                    return;
                }
                break;
            }
        }
    }
    // The schedule may end before the load does: a replay, or the last interval of a steady rate.
    tokio::time::sleep_until(core.start + core.end).await;
}

/// The numbers of the requests that a closed lane sends.
///
/// They are dealt to the lanes of all workers in turn, so that each request is sent exactly once.
#[derive(Debug)]
struct Quota {
    next: u64,
    step: u64,
    end: u64,
}

impl Iterator for Quota {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let sequence = self.next;
        self.next += self.step;
        (sequence < self.end).then_some(sequence)
    }
}

async fn closed_lane<T: Target>(core: Rc<Core<T>>, quota: Quota) {
    let mut lane = Lane::new(&core);
    let mut begin = Instant::now();
    for sequence in quota {
        let at = begin - core.start;
        if at >= core.end || core.finished.get() {
            break;
        }
        let timing = Timing {
            intended: at,
            possible: at,
            sent: at,
            finished: at,
        };
        let could_connect;
        (begin, could_connect) = lane.perform(begin, timing, sequence).await;
        if !could_connect {
            tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
            begin = Instant::now();
        }
    }
}

async fn open_lane<T: Target>(core: Rc<Core<T>>, first: Arrival) {
    let mut lane = Lane::new(&core);
    let slot = Rc::new(Slot::default());
    let mut arrival = first;
    let mut possible = first.at;
    loop {
        let begin = Instant::now();
        let sent = begin - core.start;
        let timing = Timing {
            intended: arrival.at,
            possible,
            sent,
            finished: sent,
        };
        let (finished, _) = lane.perform(begin, timing, arrival.sequence).await;
        let now = finished - core.start;
        match core
            .peek()
            .filter(|next| next.at <= now && now <= core.end && !core.finished.get())
        {
            Some(next) => {
                core.take();
                arrival = next;
                // With every lane busy the wait is the target's doing; with lanes to spare it is the generator's,
                // which should have handed the arrival to another.
                let all_busy = core.lanes.get() >= core.max_lanes && core.idle.borrow().is_empty();
                possible = if all_busy { now } else { next.at };
            }
            None => {
                core.idle.borrow_mut().push(Rc::clone(&slot));
                core.lane_is_free.notify_one();
                let Some(next) = core.wait_for_arrival(&slot).await else {
                    return;
                };
                arrival = next;
                possible = next.at;
            }
        }
    }
}

/// A connection, opened when it is needed, and the deadline of its request.
struct Lane<'a, T: Target> {
    core: &'a Core<T>,
    connection: Option<T::Connection>,
    deadline: Deadline,
}

impl<'a, T: Target> Lane<'a, T> {
    fn new(core: &'a Core<T>) -> Self {
        Self {
            core,
            connection: None,
            deadline: Deadline::new(Instant::now() + core.timeout),
        }
    }

    /// Sends one request and counts what came of it; answers when that was and whether there was a connection.
    async fn perform(&mut self, begin: Instant, timing: Timing, sequence: u64) -> (Instant, bool) {
        let Self {
            core,
            connection,
            deadline,
        } = self;
        core.in_flight.set(core.in_flight.get() + 1);
        let exchange = deadline
            .run(begin + core.timeout, attempt(core, connection, sequence))
            .await;
        core.in_flight.set(core.in_flight.get() - 1);
        let exchange = exchange.unwrap_or_else(|| {
            *connection = None;
            Exchange::failed(0, Failure::new(FailureClass::Timeout, ""))
        });
        let could_connect = connection.is_some() || exchange.bytes > 0;
        if core.fresh_connections
            || connection
                .as_mut()
                .is_some_and(|connection| !connection.is_reusable())
        {
            *connection = None;
        }
        let finished = Instant::now();
        let timing = Timing {
            finished: finished - core.start,
            ..timing
        };
        let kind = core.target.kind_of(sequence);
        let window = core
            .recorder
            .borrow_mut()
            .record(timing, kind, exchange.bytes, &exchange.outcome);
        core.send(window);
        (finished, could_connect)
    }
}

async fn attempt<T: Target>(
    core: &Core<T>,
    connection: &mut Option<T::Connection>,
    sequence: u64,
) -> Exchange {
    let usable = connection.as_mut().is_some_and(Connection::is_reusable);
    if !usable {
        *connection = None;
        match core.target.connect().await {
            Ok(opened) => *connection = Some(opened),
            Err(failure) => return Exchange::failed(0, failure),
        }
        core.connections.set(core.connections.get() + 1);
    }
    match connection {
        Some(connection) => connection.exchange(sequence).await,
        None => Exchange::failed(0, Failure::new(FailureClass::Io, "")),
    }
}

impl<T: Target> Core<T> {
    fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    fn peek(&self) -> Option<Arrival> {
        self.arrivals.borrow_mut().as_mut()?.peek().copied()
    }

    fn take(&self) {
        if let Some(arrivals) = self.arrivals.borrow_mut().as_mut() {
            arrivals.next();
        }
    }

    fn send(&self, window: Option<Window>) {
        if let Some(window) = window {
            // Nobody listening means that the run is being dropped.
            let _ = self.windows.send((self.worker, window));
        }
    }

    async fn wait_for_arrival(&self, slot: &Slot) -> Option<Arrival> {
        poll_fn(|context| match slot.arrival.take() {
            Some(arrival) => Poll::Ready(Some(arrival)),
            None if self.finished.get() => Poll::Ready(None),
            None => {
                slot.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// No more requests: idle lanes end now, busy ones after their answer.
    fn finish(&self) {
        self.finished.set(true);
        for slot in self.idle.borrow_mut().drain(..) {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    fn close(&self, stopped: Duration, cut_short: bool, spun: Duration) -> Outcome {
        let mut recorder = self.recorder.borrow_mut();
        let index = self.now().as_secs() + 1;
        let last = recorder.close_window(index);
        self.send(Some(last));
        let mut totals = std::mem::replace(&mut recorder.totals, Totals::new(1));
        totals.unfinished = self.in_flight.get();
        totals.connections = self.connections.get();
        let unsent = self.arrivals.borrow_mut().take().map_or(0, |arrivals| {
            arrivals
                .take_while(|arrival| arrival.at < stopped)
                .filter(|arrival| arrival.at >= self.warm_up)
                .count()
        });
        Outcome {
            totals,
            stopped,
            cut_short,
            unsent: unsent as u64,
            spun,
        }
    }
}
