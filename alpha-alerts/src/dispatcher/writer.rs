//! The only one who changes records.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::courier::{Courier, DeliveryPolicy, Errand};
use super::sleep::{ClockSteps, sleep_until};
use super::{LEASE, Shared};
use crate::command::Command;
use crate::error::{Error, ErrorKind, Result};
use crate::group::later;
use crate::rules::{Integrations, Rules};
use crate::state::State;
use crate::store::{Changes, Fence, Lease};
use crate::text;

/// So many commands become one transaction at most.
const BATCH: usize = 512;

/// So many submitted commands are taken over at once.
const INBOX_BATCH: usize = 256;

/// How long to wait before trying a store again that refused.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How often the clock is compared with one that cannot be set.
const WATCH_CLOCK_EVERY: Duration = Duration::from_secs(1);

/// Settled notifications older than they are kept for are forgotten this often, unless told otherwise.
pub(super) const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// What the writer is asked.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are of the large kind")]
pub(super) enum Request {
    Execute {
        command: Command,
        reply: oneshot::Sender<Result<()>>,
    },
    Reload {
        rules: Arc<Rules>,
        integrations: Arc<Integrations>,
        reply: oneshot::Sender<Result<()>>,
    },
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) holder: String,
    pub(super) queue: mpsc::Receiver<Request>,
    pub(super) errands: mpsc::UnboundedSender<Errand>,
    pub(super) integrations: watch::Sender<Arc<Integrations>>,
    pub(super) policy: watch::Sender<Arc<DeliveryPolicy>>,
    /// Held while this instance leads.
    pub(super) fence: Option<Fence>,
    /// When the lead is over if it is not renewed.
    pub(super) leads_until: Timestamp,
    pub(super) stop_courier: CancellationToken,
    pub(super) prune_every: Duration,
    pub(super) random: fastrand::Rng,
    pub(super) steps: ClockSteps,
}

impl Writer {
    /// Takes the lead if it is free, and in any case what is stored.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.try_to_lead().await?;
        if self.fence.is_none() {
            self.reload_state().await?;
        }
        Ok(())
    }

    /// Takes the lead if it is free, and with it what is stored.
    async fn try_to_lead(&mut self) -> Result<()> {
        let now = self.shared.clock.now();
        let lease = Lease {
            holder: self.holder.clone(),
            now,
            until: later(now, LEASE),
        };
        let fence = self.shared.store.lead(&lease).await?;
        let was_leading = self.fence.is_some();
        if fence.is_some() && fence != self.fence {
            self.fence = fence;
            self.reload_state().await?;
            info!("leads");
        } else if fence.is_none() && was_leading {
            warn!("another instance leads now");
        }
        self.fence = fence;
        self.leads_until = lease.until;
        self.shared.metrics.set_leads(fence.is_some());
        Ok(())
    }

    /// Throws the state in memory away and takes what is stored.
    async fn reload_state(&mut self) -> Result<()> {
        let records = self.shared.store.load().await?;
        let now = self.shared.clock.now();
        let rules = self.rules();
        let mut changes = Changes::default();
        let state = State::load(rules, records, now, self.random.u64(..), &mut changes)?;
        *self.shared.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        if self.fence.is_some() {
            self.commit(&changes).await?;
        }
        Ok(())
    }

    fn rules(&self) -> Arc<Rules> {
        self.shared
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .rules()
            .clone()
    }

    pub(super) async fn run(mut self) {
        let is_shared = self.shared.store.is_shared();
        let mut renew_at = self.shared.clock.now();
        let mut prune_at = renew_at;
        let store = self.shared.store.clone();
        let clock = self.shared.clock.clone();
        let stop = self.shared.stop.clone();
        let mut batch = Vec::new();
        loop {
            self.watch_clock().await;
            let due = self.next_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // On a store that is not shared the newest process leads, and the others have to go.
                () = sleep_until(&*clock, renew_at), if is_shared => {
                    if let Err(failure) = self.try_to_lead().await {
                        warn!(failure = %failure.to_text(), "could not reach the store");
                        self.lose_lead_if_expired();
                    }
                    self.take_over_submitted().await;
                    renew_at = later(clock.now(), LEASE / 4);
                }
                received = self.queue.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        break;
                    }
                    self.gather(&mut batch).await;
                    self.handle(std::mem::take(&mut batch)).await;
                }
                () = sleep_until(&*clock, due) => self.handle(Vec::new()).await,
                () = store.wake() => {
                    self.take_over_submitted().await;
                    if self.fence.is_none() {
                        self.follow().await;
                    }
                    self.errand(Errand::Look);
                }
                () = tokio::time::sleep(WATCH_CLOCK_EVERY) => {}
                () = sleep_until(&*clock, prune_at) => {
                    prune_at = later(clock.now(), self.prune_every);
                    self.prune().await;
                }
            }
        }
        self.finish().await;
    }

    /// Answers what still waits, lets the courier finish, and resigns.
    async fn finish(mut self) {
        self.queue.close();
        let mut rest = Vec::new();
        while self.queue.recv_many(&mut rest, BATCH).await > 0 {
            self.handle(std::mem::take(&mut rest)).await;
        }
        self.stop_courier.cancel();
        if let Some(fence) = self.fence
            && let Err(failure) = self.shared.store.resign(fence).await
        {
            warn!(failure = %failure.to_text(), "could not give the lead back");
        }
    }

    /// Lets whoever is about to ask at this very moment ask first, so that more share the commit. This waits for nobody: it
    /// ends as soon as nothing new has come.
    async fn gather(&mut self, batch: &mut Vec<Request>) {
        loop {
            let before = batch.len();
            tokio::task::yield_now().await;
            while batch.len() < BATCH
                && let Ok(request) = self.queue.try_recv()
            {
                batch.push(request);
            }
            if batch.len() == before {
                return;
            }
        }
    }

    /// What waits for a moment would wait for as much longer as the clock was set back by.
    async fn watch_clock(&mut self) {
        let now = self.shared.clock.now();
        let Some(by) = self.steps.set_back_by(now) else {
            return;
        };
        warn!(seconds = by.as_secs_f64(), "the clock was set back");
        self.errand(Errand::ClockSetBack(by));
        let mut changes = Changes::default();
        self.shared
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .set_back(now, by, &mut changes);
        if self.fence.is_some()
            && let Err(failure) = self.commit(&changes).await
        {
            error!(failure = %failure.to_text(), "could not store what follows from the change of the clock");
            self.recover().await;
        }
    }

    fn next_due(&self) -> Timestamp {
        if self.fence.is_none() {
            return Timestamp::MAX;
        }
        self.shared
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .next_due()
            .unwrap_or(Timestamp::MAX)
    }

    /// Everything that waits becomes one transaction. What does not lead hands commands on to the instance that does.
    async fn handle(&mut self, requests: Vec<Request>) {
        let mut commands = Vec::with_capacity(requests.len());
        let mut replies = Vec::with_capacity(requests.len());
        let mut reload = None;
        for request in requests {
            match request {
                Request::Execute { command, reply } => {
                    commands.push(command);
                    replies.push(reply);
                }
                Request::Reload {
                    rules,
                    integrations,
                    reply,
                } => {
                    // Of two reloads in one batch the later one counts.
                    reload = Some((rules, integrations));
                    replies.push(reply);
                }
            }
        }
        let outcome = if self.fence.is_some() {
            self.lead(&commands, &[], reload).await
        } else {
            if let Some((rules, integrations)) = reload {
                self.replace(rules, integrations, &mut Changes::default());
            }
            self.shared.store.submit(&commands).await
        };
        if let Err(failure) = &outcome {
            error!(failure = %failure.to_text(), commands = commands.len(), "nothing was accepted");
            self.shared.metrics.refused(commands.len() as u64);
        }
        for reply in replies {
            let answer = match &outcome {
                Ok(()) => Ok(()),
                Err(failure) => Err(refused(failure)),
            };
            // Whoever asked may have gone away.
            let _ = reply.send(answer);
        }
    }

    /// Carries commands out, does what is due, and makes all of it durable.
    async fn lead(
        &mut self,
        commands: &[Command],
        consumed: &[u64],
        reload: Option<(Arc<Rules>, Arc<Integrations>)>,
    ) -> Result<()> {
        let now = self.shared.clock.now();
        let mut changes = Changes::default();
        changes.consumed.extend_from_slice(consumed);
        if let Some((rules, integrations)) = reload {
            self.replace(rules, integrations, &mut changes);
        }
        {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            for command in commands {
                state.apply(now, command, &mut changes);
            }
            state.tick(now, &mut changes);
        }
        let committed = self.commit(&changes).await;
        if committed.is_err() {
            // What is in memory now was never made durable.
            self.recover().await;
            return committed;
        }
        let alerts = commands.iter().map(|command| match command {
            Command::Alerts(alerts) => alerts.len() as u64,
            _ => 0,
        });
        self.shared.metrics.received(alerts.sum());
        Ok(())
    }

    fn replace(&mut self, rules: Arc<Rules>, integrations: Arc<Integrations>, changes: &mut Changes) {
        let now = self.shared.clock.now();
        self.integrations.send_replace(integrations);
        self.policy.send_replace(Arc::new(DeliveryPolicy::new(&rules)));
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        state.set_rules(rules, now, changes);
    }

    async fn commit(&mut self, changes: &Changes) -> Result<()> {
        let Some(fence) = self.fence else {
            return Err(Error::new(
                ErrorKind::Fenced,
                text!("this instance does not lead"),
            ));
        };
        if changes.is_empty() {
            return Ok(());
        }
        let now = self.shared.clock.now();
        let claim = Courier::claim(&self.holder, &self.policy.borrow().config, now);
        let claimed = self.shared.store.commit(fence, changes, &claim).await?;
        self.shared.metrics.committed();
        for cancel in &changes.cancels {
            self.errand(Errand::Forget(cancel.incident));
        }
        let is_behind = claimed.len() < changes.notifications.len();
        if !claimed.is_empty() {
            self.errand(Errand::Deliver(claimed));
        }
        if is_behind {
            self.errand(Errand::Look);
        }
        Ok(())
    }

    /// The courier lives as long as the writer; where it does not, the process is ending and the claims run out.
    fn errand(&self, errand: Errand) {
        let _ = self.errands.send(errand);
    }

    /// Loads the state until it works. Nothing is accepted meanwhile.
    async fn recover(&mut self) {
        self.shared.metrics.state_reloaded();
        while !self.shared.stop.is_cancelled() {
            let outcome = match self.reload_state().await {
                Err(failure) if failure.kind() == ErrorKind::Fenced => {
                    self.fence = None;
                    self.shared.metrics.set_leads(false);
                    warn!("another instance leads now");
                    return;
                }
                outcome => outcome,
            };
            let Err(failure) = outcome else { return };
            error!(failure = %failure.to_text(), "the store does not answer; trying again");
            self.refuse_all(&failure);
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn refuse_all(&mut self, failure: &Error) {
        while let Ok(request) = self.queue.try_recv() {
            let (Request::Execute { reply, .. } | Request::Reload { reply, .. }) = request;
            self.shared.metrics.refused(1);
            let _ = reply.send(Err(refused(failure)));
        }
    }

    /// Carries out what other instances have accepted.
    async fn take_over_submitted(&mut self) {
        while self.fence.is_some() {
            let submitted = match self.shared.store.submitted(INBOX_BATCH).await {
                Ok(submitted) => submitted,
                Err(failure) => {
                    warn!(failure = %failure.to_text(), "could not read what other instances accepted");
                    return;
                }
            };
            if submitted.is_empty() {
                return;
            }
            let (positions, commands): (Vec<u64>, Vec<Command>) = submitted.into_iter().unzip();
            if let Err(failure) = self.lead(&commands, &positions, None).await {
                error!(failure = %failure.to_text(), "could not carry out what other instances accepted");
                return;
            }
        }
    }

    /// An instance that follows shows what the leader has stored.
    async fn follow(&mut self) {
        if let Err(failure) = self.reload_state().await {
            warn!(failure = %failure.to_text(), "could not read what the leading instance stored");
        }
    }

    /// Without a store to renew the lease in, this instance must not believe that it leads once its time is over.
    fn lose_lead_if_expired(&mut self) {
        if self.fence.is_some() && self.leads_until <= self.shared.clock.now() {
            self.fence = None;
            self.shared.metrics.set_leads(false);
        }
    }

    async fn prune(&mut self) {
        let keep_for = self.policy.borrow().config.keep_for.0;
        let Ok(before) = self.shared.clock.now().checked_sub(keep_for) else {
            return;
        };
        match self.shared.store.prune(before).await {
            Ok(0) => {}
            Ok(count) => info!(count, "forgot old deliveries"),
            Err(failure) => warn!(failure = %failure.to_text(), "could not forget old deliveries"),
        }
        if self.fence.is_none() {
            return;
        }
        let mut changes = Changes::default();
        self.shared
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .forget_ended(before, &mut changes);
        if let Err(failure) = self.commit(&changes).await {
            warn!(failure = %failure.to_text(), "could not forget old records");
            self.recover().await;
        }
    }
}

/// The same refusal for everybody who waited.
fn refused(failure: &Error) -> Error {
    let kind = match failure.kind() {
        ErrorKind::Fenced => ErrorKind::Unavailable,
        kind => kind,
    };
    Error::new(kind, failure.to_text())
}
