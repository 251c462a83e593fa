//! The line to one integration: how fast, how often again, and when to leave it alone. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::group::later;
use crate::notifiers::RateConfig;

/// So many consecutive failures open the breaker.
const FAILURES_TO_OPEN: u32 = 5;

/// So many attempts to one integration at once, so that one that hangs leaves room for the others.
pub(super) const MOST_IN_FLIGHT: usize = 16;

/// When an integration may be tried.
#[derive(Debug)]
pub(super) struct Line {
    bucket: Option<TokenBucket>,
    /// What the receiver itself asked for, or the breaker.
    closed_until: Option<Timestamp>,
    consecutive_failures: u32,
    pub(super) in_flight: usize,
}

/// Whether an attempt may be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// Yes, and it is counted.
    Granted,
    /// Not before this moment.
    NotBefore(Timestamp),
    /// When one of the present attempts has ended.
    Busy,
}

impl Line {
    pub(super) fn new(rate: Option<RateConfig>, now: Timestamp) -> Self {
        Self {
            bucket: rate.map(|rate| TokenBucket::new(rate, now)),
            closed_until: None,
            consecutive_failures: 0,
            in_flight: 0,
        }
    }

    /// Asks for an attempt.
    pub(super) fn ask(&mut self, now: Timestamp) -> Permit {
        if let Some(until) = self.closed_until
            && now < until
        {
            return Permit::NotBefore(until);
        }
        // After a series of failures one attempt finds out whether the receiver is back.
        let most = if self.consecutive_failures >= FAILURES_TO_OPEN {
            1
        } else {
            MOST_IN_FLIGHT
        };
        if self.in_flight >= most {
            return Permit::Busy;
        }
        if let Some(bucket) = &mut self.bucket
            && let Err(until) = bucket.take(now)
        {
            return Permit::NotBefore(until);
        }
        self.in_flight += 1;
        Permit::Granted
    }

    /// Whether it is left alone at `now`.
    pub(super) fn is_closed(&self, now: Timestamp) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    /// Forgets until when it is left alone.
    pub(super) fn open(&mut self) {
        self.closed_until = None;
    }

    /// The receiver answered that it took a notification, or that it never will take this one: it works.
    pub(super) fn worked(&mut self) {
        self.consecutive_failures = 0;
        self.closed_until = None;
    }

    /// An attempt failed in a way that says something of the receiver.
    pub(super) fn failed(&mut self, now: Timestamp, next_attempt: Timestamp) {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        if self.consecutive_failures >= FAILURES_TO_OPEN {
            self.close_until(now, next_attempt);
        }
    }

    /// The receiver asked to be left alone until then.
    pub(super) fn close_until(&mut self, now: Timestamp, until: Timestamp) {
        self.closed_until = Some(until.max(self.closed_until.unwrap_or(now)));
    }
}

/// Lets through `burst` at once and `per_minute` in the long run.
#[derive(Debug)]
struct TokenBucket {
    tokens: f64,
    burst: f64,
    per_second: f64,
    filled_at: Timestamp,
}

impl TokenBucket {
    fn new(rate: RateConfig, now: Timestamp) -> Self {
        let burst = f64::from(rate.burst.max(1));
        Self {
            tokens: burst,
            burst,
            per_second: f64::from(rate.per_minute.max(1)) / 60.0,
            filled_at: now,
        }
    }

    /// Takes one, or says when there will be one.
    fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        // A clock that was set back must not take tokens away.
        let elapsed = now.duration_since(self.filled_at).as_secs_f64().max(0.0);
        self.filled_at = now;
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / self.per_second;
        Err(later(now, Duration::from_secs_f64(wait)))
    }
}

/// How long to wait after so many attempts: doubled each time up to `most`, half of it by chance, so that notifications
/// that failed together do not come again together.
pub(super) fn back_off(
    attempts: u32,
    initial: Duration,
    most: Duration,
    random: &mut fastrand::Rng,
) -> Duration {
    let doubled = initial.saturating_mul(2_u32.saturating_pow(attempts.min(31)));
    doubled.min(most).mul_f64(0.5 + random.f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    fn rate(per_minute: u32, burst: u32) -> RateConfig {
        RateConfig { per_minute, burst }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut line = Line::new(Some(rate(60, 2)), at(0));
        assert_eq!(line.ask(at(0)), Permit::Granted);
        assert_eq!(line.ask(at(0)), Permit::Granted);
        assert_eq!(line.ask(at(0)), Permit::NotBefore(at(1000)));
        assert_eq!(line.ask(at(400)), Permit::NotBefore(at(1000)));
        assert_eq!(line.ask(at(1000)), Permit::Granted);
        // The clock was set back by a minute.
        assert!(matches!(line.ask(at(-59_000)), Permit::NotBefore(_)));
        assert_eq!(line.ask(at(-58_000)), Permit::Granted);
    }

    #[test]
    fn five_failures_close_it_and_one_attempt_finds_out() {
        let mut line = Line::new(None, at(0));
        for _ in 0..FAILURES_TO_OPEN {
            assert_eq!(line.ask(at(0)), Permit::Granted);
            line.in_flight -= 1;
            line.failed(at(0), at(5000));
        }
        assert_eq!(line.ask(at(4999)), Permit::NotBefore(at(5000)));
        assert!(line.is_closed(at(4999)));
        assert_eq!(line.ask(at(5000)), Permit::Granted);
        assert_eq!(line.ask(at(5000)), Permit::Busy);
        line.in_flight -= 1;
        line.worked();
        assert_eq!(line.ask(at(5000)), Permit::Granted);
        assert_eq!(line.ask(at(5000)), Permit::Granted);
    }

    #[test]
    fn one_that_hangs_leaves_room_for_others() {
        let mut line = Line::new(None, at(0));
        for _ in 0..MOST_IN_FLIGHT {
            assert_eq!(line.ask(at(0)), Permit::Granted);
        }
        assert_eq!(line.ask(at(0)), Permit::Busy);
    }

    #[test]
    fn waits_double_up_to_the_most() {
        let mut random = fastrand::Rng::with_seed(7);
        let (initial, most) = (Duration::from_secs(1), Duration::from_secs(120));
        for attempts in 0..40 {
            let full = Duration::from_secs(1 << attempts.min(20)).min(most);
            let wait = back_off(attempts, initial, most, &mut random);
            assert!(
                wait >= full / 2 && wait <= full,
                "{wait:?} after {attempts} attempts"
            );
        }
    }
}
