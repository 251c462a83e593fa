//! What happened, counted in fixed memory.
//!
//! Each worker owns a recorder. Its latencies are kept once for the whole run and once for the present second; a
//! second that is over is handed on as a small [`Window`]. Windows of all workers meet in a [`Series`], which halves its
//! resolution when it is full, so that a run of a week needs no more memory than one of twenty minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureClass, FailureCounts};
use crate::histogram::{Buckets, Histogram, Precision};

/// How many windows a [`Series`] holds before two neighbours become one: twenty minutes of seconds.
pub const WINDOWS: usize = 1200;

/// The instants of one request, from the start of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// When it was meant to start; in a closed load, when it started.
    pub(crate) intended: Duration,
    /// When the generator could have started it: later than intended only if every connection was busy.
    pub(crate) possible: Duration,
    /// When the generator acted: wrote the request, or began to connect for it.
    pub(crate) sent: Duration,
    /// When the last byte of the answer was there, or the failure.
    pub(crate) finished: Duration,
}

/// Counts what one worker sees.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// Nothing that was meant to start earlier is measured.
    warm_up: Duration,
    /// Nothing that finishes later counts towards the throughput.
    end: Duration,
    pub(crate) totals: Totals,
    window: OpenWindow,
}

/// What all seconds have in common; adds up over workers.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) response: Histogram,
    pub(crate) service: Histogram,
    pub(crate) lag: Histogram,
    pub(crate) per_request: Vec<(FailureCounts, Histogram)>,
    pub(crate) failures: FailureCounts,
    pub(crate) examples: BTreeMap<FailureClass, String>,
    pub(crate) succeeded: u64,
    /// Requests that finished before the end of the load.
    pub(crate) in_time: u64,
    pub(crate) sent: u64,
    pub(crate) waited: u64,
    pub(crate) warm_up_requests: u64,
    pub(crate) unfinished: u64,
    pub(crate) connections: u64,
    pub(crate) bytes_received: u64,
    pub(crate) last_finished: Duration,
}

/// The second that is being counted.
#[derive(Debug)]
struct OpenWindow {
    index: u64,
    requests: u64,
    failures: u64,
    response: Histogram,
    lag: Histogram,
}

/// One second of a run, or several where a long run was thinned out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it begins, in seconds from the start of the load.
    pub start_seconds: u64,
    /// Requests that finished in it.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// The 99th percentile of the generator's own lag in it.
    pub lag_p99_seconds: f64,
    /// The response times of the requests that finished in it, in nanoseconds, within 1 %.
    pub response_nanoseconds: Buckets,
}

impl Window {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.lag_p99_seconds = self.lag_p99_seconds.max(other.lag_p99_seconds);
        self.response_nanoseconds.merge(&other.response_nanoseconds);
    }
}

impl Recorder {
    /// A recorder for `kinds` kinds of requests that ignores what was meant to start before `warm_up`.
    pub(crate) fn new(kinds: usize, warm_up: Duration, end: Duration) -> Self {
        Self {
            warm_up,
            end,
            totals: Totals::new(kinds),
            window: OpenWindow {
                index: 0,
                requests: 0,
                failures: 0,
                response: Histogram::new(Precision::Window),
                lag: Histogram::new(Precision::Window),
            },
        }
    }

    /// Counts a finished request; answers the second that is over, if one is.
    #[inline]
    pub(crate) fn record(
        &mut self,
        timing: Timing,
        kind: usize,
        bytes: u64,
        outcome: &Result<(), Failure>,
    ) -> Option<Window> {
        if timing.intended < self.warm_up {
            self.totals.warm_up_requests += 1;
            return None;
        }
        let finished = self.window_of(timing.finished);
        let totals = &mut self.totals;
        totals.sent += 1;
        totals.bytes_received += bytes;
        totals.last_finished = totals.last_finished.max(timing.finished);
        totals.in_time += u64::from(timing.finished <= self.end);
        let response = timing.finished.saturating_sub(timing.intended);
        let lag = timing.sent.saturating_sub(timing.possible);
        totals.lag.record(lag);
        totals.waited += u64::from(timing.possible > timing.intended);
        self.window.lag.record(lag);
        self.window.requests += 1;
        let counted = match outcome {
            Ok(()) => {
                totals.succeeded += 1;
                true
            }
            Err(failure) => {
                totals.fail(kind, failure);
                self.window.failures += 1;
                // A request without an answer took at least as long as it was waited for. Leaving it out would make
                // the slowest target look fast; other failures end early and would do the same if they were counted.
                failure.class == FailureClass::Timeout
            }
        };
        if counted {
            totals.response.record(response);
            totals.service.record(timing.finished.saturating_sub(timing.sent));
            totals.per_request[kind].1.record(response);
            self.window.response.record(response);
        }
        finished
    }

    /// Closes the present second if `now` lies beyond it.
    pub(crate) fn window_of(&mut self, now: Duration) -> Option<Window> {
        (now.as_secs() > self.window.index).then(|| self.close_window(now.as_secs()))
    }

    /// Closes the present second; the next one begins at `index`.
    pub(crate) fn close_window(&mut self, index: u64) -> Window {
        let window = &mut self.window;
        let closed = Window {
            start_seconds: window.index,
            requests: std::mem::take(&mut window.requests),
            failures: std::mem::take(&mut window.failures),
            lag_p99_seconds: window.lag.quantile(0.99).as_secs_f64(),
            response_nanoseconds: window.response.to_buckets(),
        };
        window.index = index;
        window.response.clear();
        window.lag.clear();
        closed
    }
}

impl Totals {
    pub(crate) fn new(kinds: usize) -> Self {
        Self {
            response: Histogram::new(Precision::Full),
            service: Histogram::new(Precision::Full),
            lag: Histogram::new(Precision::Full),
            per_request: (0..kinds.max(1))
                .map(|_| (FailureCounts::default(), Histogram::new(Precision::Window)))
                .collect(),
            failures: FailureCounts::default(),
            examples: BTreeMap::new(),
            succeeded: 0,
            in_time: 0,
            sent: 0,
            waited: 0,
            warm_up_requests: 0,
            unfinished: 0,
            connections: 0,
            bytes_received: 0,
            last_finished: Duration::ZERO,
        }
    }

    #[cold]
    fn fail(&mut self, kind: usize, failure: &Failure) {
        self.failures.add(failure.class);
        self.per_request[kind].0.add(failure.class);
        if !failure.detail.is_empty() {
            self.examples
                .entry(failure.class)
                .or_insert_with(|| failure.detail.to_string());
        }
    }

    /// Adds what another worker counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.lag.merge(&other.lag);
        for (mine, theirs) in self.per_request.iter_mut().zip(&other.per_request) {
            mine.0.merge(&theirs.0);
            mine.1.merge(&theirs.1);
        }
        self.failures.merge(&other.failures);
        for (class, example) in other.examples {
            self.examples.entry(class).or_insert(example);
        }
        self.succeeded += other.succeeded;
        self.in_time += other.in_time;
        self.sent += other.sent;
        self.waited += other.waited;
        self.warm_up_requests += other.warm_up_requests;
        self.unfinished += other.unfinished;
        self.connections += other.connections;
        self.bytes_received += other.bytes_received;
        self.last_finished = self.last_finished.max(other.last_finished);
    }
}

/// The windows of a run in order, in bounded memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// How long each window is: one second unless the run was longer than [`WINDOWS`] seconds.
    pub window_seconds: u64,
    /// The windows without gaps, beginning with the start of the load.
    pub windows: Vec<Window>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            window_seconds: 1,
            windows: Vec::new(),
        }
    }
}

impl Series {
    /// Adds a window of any worker; its time decides where it goes.
    pub fn add(&mut self, window: &Window) {
        let mut index = usize::try_from(window.start_seconds / self.window_seconds).unwrap_or(usize::MAX);
        while index >= WINDOWS {
            self.coarsen();
            index /= 2;
        }
        while self.windows.len() <= index {
            let start_seconds = self.windows.len() as u64 * self.window_seconds;
            self.windows.push(Window {
                start_seconds,
                ..Window::default()
            });
        }
        self.windows[index].merge(window);
    }

    /// Adds the windows of another process or machine that started at the same time.
    pub fn merge(&mut self, other: &Self) {
        while self.window_seconds < other.window_seconds {
            self.coarsen();
        }
        for window in &other.windows {
            self.add(window);
        }
    }

    /// The windows that lie wholly within the measured part of the run.
    pub fn whole(&self, from: Duration, until: Duration) -> impl Iterator<Item = &Window> {
        let length = self.window_seconds;
        self.windows.iter().filter(move |window| {
            window.start_seconds >= from.as_secs_f64().ceil() as u64
                && window.start_seconds + length <= until.as_secs()
        })
    }

    fn coarsen(&mut self) {
        let windows = std::mem::take(&mut self.windows);
        self.window_seconds *= 2;
        for pair in windows.chunks(2) {
            let mut merged = pair[0].clone();
            if let Some(second) = pair.get(1) {
                merged.merge(second);
            }
            self.windows.push(merged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn at(intended: u64, sent: u64, finished: u64) -> Timing {
        Timing {
            intended: ms(intended),
            possible: ms(intended),
            sent: ms(sent),
            finished: ms(finished),
        }
    }

    #[test]
    fn response_counts_from_the_intended_start_and_service_from_the_real_one() {
        let mut recorder = Recorder::new(1, ms(100), ms(10_000));
        assert_eq!(recorder.record(at(50, 50, 60), 0, 1, &Ok(())), None);
        assert_eq!(recorder.record(at(200, 203, 210), 0, 1, &Ok(())), None);
        let window = recorder.record(at(1_500, 1_500, 2_100), 0, 1, &Ok(())).unwrap();
        assert_eq!((window.start_seconds, window.requests), (0, 1));
        let totals = &recorder.totals;
        assert_eq!((totals.warm_up_requests, totals.sent), (1, 2));
        let close = |have: Duration, want: u64| {
            (have.as_secs_f64() - want as f64 / 1000.0).abs() < 0.001 * want as f64
        };
        assert!(close(totals.response.quantile(0.5), 10));
        assert!(close(totals.service.quantile(0.5), 7));
        assert!(close(totals.lag.max(), 3));
    }

    #[test]
    fn a_timeout_counts_with_the_time_it_took_and_a_refusal_does_not() {
        let mut recorder = Recorder::new(2, ms(0), ms(10_000));
        recorder.record(at(0, 0, 500), 1, 0, &Err(Failure::new(FailureClass::Timeout, "")));
        recorder.record(
            at(0, 0, 1),
            1,
            0,
            &Err(Failure::new(FailureClass::Refused, "nothing listens")),
        );
        let totals = &recorder.totals;
        assert_eq!(
            (
                totals.response.len(),
                totals.failures.total(),
                totals.per_request[1].0.total()
            ),
            (1, 2, 2)
        );
        assert_eq!(totals.examples[&FailureClass::Refused], "nothing listens");
    }

    #[test]
    fn a_long_run_keeps_every_request_in_bounded_memory() {
        let mut series = Series::default();
        for second in 0..10_000 {
            let mut window = Window {
                start_seconds: second,
                requests: 3,
                ..Window::default()
            };
            window.response_nanoseconds.0.push((1_000_000, 3));
            series.add(&window);
        }
        assert!(series.windows.len() <= WINDOWS);
        assert_eq!(series.window_seconds, 16);
        assert_eq!(
            series.windows.iter().map(|window| window.requests).sum::<u64>(),
            30_000
        );
        assert_eq!(series.windows[7].start_seconds, 7 * 16);
        let mut fine = Series::default();
        fine.add(&Window {
            start_seconds: 17,
            requests: 1,
            ..Window::default()
        });
        fine.merge(&series);
        assert_eq!((fine.window_seconds, fine.windows[1].requests), (16, 49));
    }
}
