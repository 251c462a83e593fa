//! Waking up in time.
//!
//! Tokio's timers tick in milliseconds: at a true median of 0.09 ms they make it 0.69 ms. A `timerfd` in the same reactor
//! makes it 0.125 ms, and spinning makes it right, at the price of a busy core. How late the kernel wakes this thread is
//! much the same every time, 40 µs on a virtual machine, so that the pacer learns it and has itself woken that much
//! earlier.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

/// Below this distance a sleep would cost more than it waits.
const NOT_WORTH_SLEEPING: Duration = Duration::from_micros(4);

/// How much earlier than needed the pacer has itself woken at most, because wake-ups are late; what is left is spun.
const MOST_EARLY: Duration = Duration::from_micros(60);

/// Waits for instants, as precisely as the platform can.
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: Option<Timer>,
    spin: Duration,
    spun: Duration,
    /// By how much wake-ups were late of late.
    late: Duration,
}

impl Pacer {
    /// A pacer on the kernel's timer, which spins for `spin` before each instant.
    ///
    /// # Errors
    /// If the kernel refuses a timer.
    pub(crate) fn precise(spin: Duration) -> io::Result<Self> {
        Ok(Self {
            timer: Some(Timer::new()?),
            spin,
            spun: Duration::ZERO,
            late: Duration::ZERO,
        })
    }

    /// A pacer on tokio's clock, which tests can pause; precise to a millisecond.
    pub(crate) fn pausable() -> Self {
        Self {
            timer: None,
            spin: Duration::ZERO,
            spun: Duration::ZERO,
            late: Duration::ZERO,
        }
    }

    /// How long it spun altogether.
    pub(crate) fn spun(&self) -> Duration {
        self.spun
    }

    /// Waits until `instant`; other tasks of the core run meanwhile.
    pub(crate) async fn wait_until(&mut self, instant: Instant) {
        let now = Instant::now();
        let remaining = instant.saturating_duration_since(now);
        let Some(timer) = &mut self.timer else {
            if remaining.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep_until(instant).await;
            }
            return;
        };
        let early = self.spin.max(self.late.min(MOST_EARLY));
        let asleep = remaining.saturating_sub(early);
        if asleep > NOT_WORTH_SLEEPING {
            if timer.sleep(asleep).await.is_err() {
                tokio::time::sleep(asleep).await;
            }
            // A moving average; one that follows quickly upwards would spin for every hiccup of the machine.
            let late = now.elapsed().saturating_sub(asleep).min(MOST_EARLY);
            self.late = (self.late * 15 + late) / 16;
        }
        // Spinning by yielding lets the core read the answers that arrive meanwhile. Once is done in any case, so that a
        // generator that is late does not starve its connections.
        let begin = Instant::now();
        loop {
            tokio::task::yield_now().await;
            if Instant::now() >= instant {
                break;
            }
        }
        if begin < instant {
            self.spun += begin.elapsed().min(early);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Timer;
#[cfg(target_os = "linux")]
pub(crate) use linux::Timer;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, RawFd};
    use std::time::Duration;

    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use tokio::io::unix::AsyncFd;

    /// A timer of the kernel that wakes tokio's reactor.
    #[derive(Debug)]
    pub(crate) struct Timer(AsyncFd<Descriptor>);

    #[derive(Debug)]
    struct Descriptor(TimerFd);

    impl AsRawFd for Descriptor {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    impl Timer {
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function, which this workspace forbids; what it must not see, a \
                      descriptor that closes or changes while registered, cannot happen to this private one"
        )]
        pub(crate) fn new() -> io::Result<Self> {
            let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
            Ok(Self(AsyncFd::with_interest(
                Descriptor(timer),
                tokio::io::Interest::READABLE,
            )?))
        }

        /// Sleeps for `duration`, which is not zero.
        pub(crate) async fn sleep(&mut self, duration: Duration) -> io::Result<()> {
            let expiration = Expiration::OneShot(TimeSpec::from_duration(duration));
            self.0.get_ref().0.set(expiration, TimerSetTimeFlags::empty())?;
            let mut ready = self.0.readable_mut().await?;
            // Reading takes the expiration back; a wake-up without one only means that the next sleep is short.
            let _ = ready.get_inner().0.wait();
            ready.clear_ready();
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::io;
    use std::time::Duration;

    /// Tokio's own timer, precise to a millisecond.
    #[derive(Debug)]
    pub(crate) struct Timer;

    impl Timer {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) async fn sleep(&mut self, duration: Duration) -> io::Result<()> {
            tokio::time::sleep(duration).await;
            Ok(())
        }
    }
}
