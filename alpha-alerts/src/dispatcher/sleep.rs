//! Waiting for a moment of the wall clock, which may be set while one waits.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Clock;

/// How long to sleep at most before looking at the clock again.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(1);

/// Returns at `moment` by `clock`, at once if it has passed, never before.
pub(super) async fn sleep_until(clock: &dyn Clock, moment: Timestamp) {
    loop {
        let left = moment.duration_since(clock.now());
        if !left.is_positive() {
            return;
        }
        // A fraction of a millisecond is rounded up, because timers tick in milliseconds.
        let left = left.unsigned_abs() + Duration::from_millis(1);
        tokio::time::sleep(left.min(LOOK_AT_CLOCK_EVERY)).await;
    }
}

/// A clock that is set back by less than this is left alone: a correction, not a step.
const STEP: Duration = Duration::from_secs(2);

/// Notices when the wall clock is set back, by comparing it with one that cannot be set.
#[derive(Debug)]
pub(super) struct ClockSteps {
    wall: Timestamp,
    steady: tokio::time::Instant,
}

impl ClockSteps {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            wall: now,
            steady: tokio::time::Instant::now(),
        }
    }

    /// By how much the clock was set back since the last question.
    pub(super) fn set_back_by(&mut self, now: Timestamp) -> Option<Duration> {
        let steady = tokio::time::Instant::now();
        let expected = crate::group::later(self.wall, steady.duration_since(self.steady));
        (self.wall, self.steady) = (now, steady);
        let behind = Duration::try_from(expected.duration_since(now)).ok()?;
        (behind >= STEP).then_some(behind)
    }
}
