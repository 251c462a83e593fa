//! Carries what the checks find to the dispatcher.

use std::sync::Arc;
use std::time::Duration;

use alpha_alerts::{Command, Dispatcher};
use alpha_probes::CheckId;
use alpha_probes::monitor::{Monitor, Update};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::adapt::{Findings, Policy};

/// How often what is due later is looked at, and what was refused is told again.
const BEAT: Duration = Duration::from_secs(1);

/// Another configuration.
pub(super) struct Replacement {
    pub(super) policy: Policy,
    pub(super) checks: Vec<CheckId>,
}

/// What was found on its way to the dispatcher.
pub(super) struct Feed {
    findings: Findings,
    monitor: Monitor,
    updates: broadcast::Receiver<Update>,
    dispatcher: Dispatcher,
    replacements: mpsc::UnboundedReceiver<Replacement>,
    not_before: Instant,
}

impl Feed {
    /// A feed of everything that `monitor` finds from now on.
    pub(super) fn new(
        findings: Findings,
        monitor: &Monitor,
        dispatcher: Dispatcher,
        replacements: mpsc::UnboundedReceiver<Replacement>,
    ) -> Self {
        Self {
            findings,
            monitor: monitor.clone(),
            updates: monitor.subscribe(),
            dispatcher,
            replacements,
            not_before: Instant::now(),
        }
    }

    /// Runs until `stop`. Nothing is lost by its end: what was found is found again by the next process.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(replacement) = self.replacements.recv() => {
                    self.findings.replace(replacement.policy, replacement.checks);
                }
                update = self.updates.recv() => match update {
                    Ok(update) => self.take(update),
                    Err(RecvError::Lagged(missed)) => self.catch_up(missed),
                    Err(RecvError::Closed) => break,
                },
                _ = beat.tick() => {}
            }
            if self.findings.is_dirty() && Instant::now() >= self.not_before {
                self.tell().await;
            }
        }
    }

    /// Notes a result, and those that wait behind it, so that what fails together is told together.
    fn take(&mut self, update: Update) {
        self.findings.note(update.report);
        loop {
            match self.updates.try_recv() {
                Ok(update) => self.findings.note(update.report),
                Err(TryRecvError::Lagged(missed)) => self.catch_up(missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }

    /// Results came faster than they were noted: the latest of each check tells what is.
    fn catch_up(&mut self, missed: u64) {
        tracing::warn!(missed, "results came faster than they were judged");
        let reports = self.monitor.snapshot().checks;
        // What took no time was never asked.
        for report in reports.into_iter().filter(|report| !report.elapsed.is_zero()) {
            self.findings.note(Arc::new(report));
        }
    }

    async fn tell(&mut self) {
        let now = self.dispatcher.clock().now();
        let due = self.findings.due(now);
        if due.is_empty() {
            return;
        }
        match self.dispatcher.execute(Command::Alerts(due.clone())).await {
            Ok(()) => self.findings.told(due, now),
            Err(error) if error.is_retryable() => {
                tracing::warn!(error = %error.to_text(), "what was found is not durable yet and is told again");
                self.not_before = Instant::now() + BEAT;
            }
            Err(error) => {
                tracing::error!(error = %error.to_text(), "what was found cannot be told");
                self.findings.told(due, now);
            }
        }
    }
}
