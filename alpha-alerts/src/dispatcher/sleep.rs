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
