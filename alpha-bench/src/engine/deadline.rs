//! A timeout that costs next to nothing while it is not needed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::{Instant, Sleep, sleep_until};

/// Bounds one piece of work after the other in time.
///
/// Arming a timer for every request costs as much as writing it. Deadlines of one connection only ever move forward, so
/// that one timer is left running: when it fires it is set to the deadline that holds by then, about once in a timeout
/// instead of once in a request.
#[derive(Debug)]
pub(crate) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    armed: bool,
}

impl Deadline {
    /// A deadline whose first use lies before `first`.
    pub(crate) fn new(first: Instant) -> Self {
        Self {
            sleep: Box::pin(sleep_until(first)),
            armed: false,
        }
    }

    /// Does `work`; answers nothing if it isn't done by `until`, which never lies before that of the call before.
    pub(crate) async fn run<F: Future>(&mut self, until: Instant, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            loop {
                if self.armed && !self.sleep.is_elapsed() {
                    return Poll::Pending;
                }
                if self.sleep.is_elapsed() {
                    self.armed = false;
                    if until <= Instant::now() {
                        return Poll::Ready(None);
                    }
                    self.sleep.as_mut().reset(until);
                }
                if self.sleep.as_mut().poll(context).is_pending() {
                    self.armed = true;
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_piece_of_work_has_its_own_deadline_on_one_timer() {
        let ms = Duration::from_millis;
        let begin = Instant::now();
        let mut deadline = Deadline::new(begin + ms(100));
        for _ in 0..20 {
            let until = Instant::now() + ms(100);
            assert_eq!(
                deadline
                    .run(until, async { tokio::time::sleep(ms(30)).await })
                    .await,
                Some(())
            );
        }
        let late = Instant::now();
        assert_eq!(
            deadline.run(late + ms(100), std::future::pending::<()>()).await,
            None
        );
        assert_eq!(late.elapsed(), ms(100));
        let again = Instant::now();
        assert_eq!(
            deadline.run(again + ms(100), std::future::pending::<()>()).await,
            None
        );
        assert_eq!(again.elapsed(), ms(100));
    }
}
