//! Takes notifications to their receivers: the most severe first, each integration at its own pace, again until it works.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::line::{Line, Permit, back_off};
use super::metrics::Metrics;
use super::sleep::sleep_until;
use crate::clock::Clock;
use crate::config::DeliveryConfig;
use crate::group::later;
use crate::hash;
use crate::incident::IncidentId;
use crate::notification::{IntegrationId, Notification, NotificationId, Reason};
use crate::notifier::{Receipt, Refusal, Retry};
use crate::notifiers::Integration;
use crate::rules::{Integrations, Rules};
use crate::severity::Severity;
use crate::store::{Claim, Delivery, Settlement, Store, Verdict};
use crate::text;

/// Notifications are claimed for as long as an attempt may take and this much longer.
const CLAIM_SLACK: Duration = Duration::from_secs(20);

/// So many are claimed at once.
const CLAIM_LIMIT: usize = 256;

/// How often the outbox is looked at where nothing says that there is something: other instances may have died.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A notification whose line opens within this time waits here; one that has longer to wait is given back.
const WAIT_AT_MOST: Duration = Duration::from_secs(5);

/// An integration with so many waiting here gets no more from the outbox.
const ENOUGH_WAITING: usize = 64;

/// What the writer tells the courier.
#[derive(Debug)]
pub(super) enum Errand {
    /// Claimed notifications.
    Deliver(Vec<Delivery>),
    /// There is something in the outbox that nobody has claimed.
    Look,
    /// Pages of this incident are not wanted any more.
    Forget(IncidentId),
    /// The clock was set back by so much: what waits must not wait for as much longer.
    ClockSetBack(Duration),
}

/// What a courier needs.
pub(super) struct Courier {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) worker: String,
    pub(super) integrations: watch::Receiver<Arc<Integrations>>,
    pub(super) policy: watch::Receiver<Arc<DeliveryPolicy>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) random: fastrand::Rng,
}

/// How to deliver, and who is told where a receiver cannot be.
#[derive(Debug, Default)]
pub(super) struct DeliveryPolicy {
    pub(super) config: DeliveryConfig,
    fallback: Option<Arc<str>>,
    fallback_integrations: Vec<IntegrationId>,
}

impl DeliveryPolicy {
    pub(super) fn new(rules: &Rules) -> Self {
        let fallback: Option<Arc<str>> = rules.delivery().fallback.as_deref().map(Arc::from);
        let integrations = rules.integrations(fallback.as_deref().unwrap_or_default());
        Self {
            config: rules.delivery().clone(),
            fallback_integrations: integrations
                .iter()
                .map(|integration| integration.id.clone())
                .collect(),
            fallback,
        }
    }
}

/// An attempt that ended.
struct Attempt {
    delivery: Delivery,
    result: Result<Receipt, Refusal>,
}

/// A claimed notification that waits for its line.
struct Waiting {
    delivery: Delivery,
    claimed_until: Timestamp,
}

/// The loop's own memory.
#[derive(Default)]
struct Desk {
    lines: HashMap<IntegrationId, Line>,
    /// For each integration by severity, then in the order they came.
    waiting: HashMap<IntegrationId, BTreeMap<(u8, u64), Waiting>>,
    arrivals: u64,
    /// Notifications whose fallback was told.
    fallen_back: HashSet<NotificationId>,
    settlements: Vec<Settlement>,
    /// Whether the outbox holds something that was not claimed, such as what stands behind an attempt.
    is_behind: bool,
    /// When the outbox has to be looked at.
    look_at: Option<Timestamp>,
    /// How far ahead of the clock the next look is, because the clock was set back by as much.
    ahead: Duration,
    /// When a line opens for which something waits here.
    opens_at: Option<Timestamp>,
}

impl Desk {
    fn look_by(&mut self, moment: Timestamp) {
        self.look_at = Some(self.look_at.map_or(moment, |at| at.min(moment)));
    }
}

impl Courier {
    /// How long a claim of one of this courier's notifications lasts.
    pub(super) fn claim(worker: &str, config: &DeliveryConfig, now: Timestamp) -> Claim {
        Claim {
            worker: worker.to_owned(),
            now,
            until: later(now, config.timeout.0 + CLAIM_SLACK),
        }
    }

    /// Delivers until `stop`, then waits for the attempts that are under way and gives the rest back.
    pub(super) async fn run(mut self, mut errands: mpsc::UnboundedReceiver<Errand>, stop: CancellationToken) {
        let mut desk = Desk {
            look_at: Some(self.clock.now()),
            ..Desk::default()
        };
        let mut attempts: JoinSet<Attempt> = JoinSet::new();
        loop {
            self.start_attempts(&mut desk, &mut attempts);
            self.settle(&mut desk).await;
            let look_at = desk.look_at.unwrap_or(Timestamp::MAX);
            let opens_at = desk.opens_at.unwrap_or(Timestamp::MAX);
            tokio::select! {
                () = stop.cancelled() => break,
                errand = errands.recv() => {
                    let Some(errand) = errand else { break };
                    self.take(errand, &mut desk);
                    while let Ok(errand) = errands.try_recv() {
                        self.take(errand, &mut desk);
                    }
                }
                Some(ended) = attempts.join_next(), if !attempts.is_empty() => {
                    self.conclude(ended, &mut desk);
                    while let Some(ended) = attempts.try_join_next() {
                        self.conclude(ended, &mut desk);
                    }
                }
                () = sleep_until(&*self.clock, look_at) => self.look(&mut desk).await,
                () = sleep_until(&*self.clock, opens_at) => {}
            }
        }
        self.stop(desk, attempts).await;
    }

    async fn stop(&mut self, mut desk: Desk, mut attempts: JoinSet<Attempt>) {
        while let Some(ended) = attempts.join_next().await {
            self.conclude(ended, &mut desk);
        }
        let now = self.clock.now();
        let waiting = std::mem::take(&mut desk.waiting);
        let waiting = waiting.into_values().flat_map(BTreeMap::into_values);
        desk.settlements
            .extend(waiting.map(|waiting| released(&waiting.delivery, now, now)));
        self.settle(&mut desk).await;
    }

    fn take(&self, errand: Errand, desk: &mut Desk) {
        match errand {
            Errand::Deliver(deliveries) => self.enqueue(deliveries, desk),
            Errand::Look => {
                desk.is_behind = true;
                desk.look_at = Some(self.clock.now());
            }
            Errand::ClockSetBack(by) => {
                desk.ahead = by;
                desk.lines.values_mut().for_each(Line::open);
                desk.look_at = Some(self.clock.now());
            }
            Errand::Forget(incident) => {
                for queue in desk.waiting.values_mut() {
                    queue.retain(|_, waiting| {
                        let notification = &waiting.delivery.notification;
                        notification.incident != Some(incident)
                            || !matches!(notification.reason, Reason::Escalation { .. })
                    });
                }
            }
        }
    }

    fn enqueue(&self, deliveries: Vec<Delivery>, desk: &mut Desk) {
        let config = &self.policy.borrow().config;
        let claimed_until = Self::claim(&self.worker, config, self.clock.now()).until;
        for delivery in deliveries {
            desk.arrivals += 1;
            let place = (delivery.notification.severity.rank(), desk.arrivals);
            let queue = desk
                .waiting
                .entry(delivery.notification.integration.clone())
                .or_default();
            queue.insert(
                place,
                Waiting {
                    delivery,
                    claimed_until,
                },
            );
        }
    }

    /// Starts what may be started, the most severe first, and gives back what would wait for too long.
    fn start_attempts(&mut self, desk: &mut Desk, attempts: &mut JoinSet<Attempt>) {
        let now = self.clock.now();
        desk.opens_at = None;
        desk.waiting.retain(|_, queue| !queue.is_empty());
        let Desk {
            lines,
            waiting,
            settlements,
            look_at,
            opens_at,
            ..
        } = desk;
        let integrations = self.integrations.borrow().clone();
        let policy = self.policy.borrow().clone();
        let timeout = policy.config.timeout.0;
        let concurrency = policy.config.concurrency;
        for severity in Severity::ALL {
            for (id, queue) in waiting.iter_mut() {
                while let Some(head) = queue.first_entry() {
                    if head.key().0 != severity.rank() {
                        break;
                    }
                    let notification = &head.get().delivery.notification;
                    let Some(integration) = integrations.get(id) else {
                        let because = format!("{id} is not configured any more");
                        settlements.push(Settlement {
                            id: notification.id,
                            at: now,
                            follow_ups: fallbacks(&policy, notification, &because, now),
                            verdict: Verdict::DeadLettered { because },
                        });
                        head.remove();
                        continue;
                    };
                    // Too little of the claim is left: another worker might believe that this one died.
                    if later(now, timeout) > head.get().claimed_until {
                        settlements.push(released(&head.remove().delivery, now, now));
                        *look_at = Some(now);
                        continue;
                    }
                    if attempts.len() >= concurrency {
                        return;
                    }
                    let line = lines
                        .entry(id.clone())
                        .or_insert_with(|| Line::new(integration.rate, now));
                    match line.ask(now) {
                        Permit::Busy => break,
                        Permit::NotBefore(until) if until <= later(now, WAIT_AT_MOST) => {
                            *opens_at = Some(opens_at.map_or(until, |at| at.min(until)));
                            break;
                        }
                        Permit::NotBefore(until) => {
                            settlements.push(released(&head.remove().delivery, now, until));
                            *look_at = Some(look_at.map_or(until, |at| at.min(until)));
                        }
                        Permit::Granted => {
                            attempts.spawn(attempt(integration.clone(), head.remove().delivery, timeout));
                        }
                    }
                }
            }
        }
    }

    fn conclude(&mut self, ended: Result<Attempt, tokio::task::JoinError>, desk: &mut Desk) {
        let Attempt { delivery, result } = match ended {
            Ok(attempt) => attempt,
            // The claim runs out and it is tried again, as after a crash.
            Err(failure) => {
                error!(%failure, "an attempt to notify came to a bad end");
                return;
            }
        };
        let now = self.clock.now();
        let notification = &delivery.notification;
        let policy = self.policy.borrow().clone();
        let Some(line) = desk.lines.get_mut(&notification.integration) else {
            return;
        };
        line.in_flight = line.in_flight.saturating_sub(1);
        let mut follow_ups = Vec::new();
        let verdict = match result {
            Ok(receipt) => {
                line.worked();
                desk.fallen_back.remove(&notification.id);
                debug!(integration = %notification.integration, id = %notification.id, "told");
                Verdict::Sent(receipt.reference)
            }
            Err(refusal) => {
                let because = refusal.reason.to_string();
                let waited_for = now.duration_since(first_due(notification)).unsigned_abs();
                let is_over = refusal.retry == Retry::Never || waited_for >= policy.config.give_up_after.0;
                let needs_fallback = is_over || waited_for >= policy.config.fallback_after.0;
                if needs_fallback && desk.fallen_back.insert(notification.id) {
                    follow_ups = fallbacks(&policy, notification, &because, now);
                }
                if is_over {
                    if refusal.retry == Retry::Never {
                        line.worked();
                    }
                    desk.fallen_back.remove(&notification.id);
                    error!(integration = %notification.integration, id = %notification.id, because, "given up");
                    Verdict::DeadLettered { because }
                } else {
                    let wait = back_off(
                        delivery.attempts,
                        policy.config.backoff_initial.0,
                        policy.config.backoff_max.0,
                        &mut self.random,
                    );
                    let not_before = match refusal.retry {
                        Retry::After(asked) => later(now, asked),
                        Retry::Later | Retry::Never => later(now, wait),
                    };
                    if matches!(refusal.retry, Retry::After(_)) {
                        line.close_until(now, not_before);
                    }
                    line.failed(now, not_before);
                    desk.look_by(not_before);
                    warn!(integration = %notification.integration, id = %notification.id, because, %not_before, "not told, will try again");
                    Verdict::Retry {
                        not_before,
                        because,
                        is_certain: refusal.is_certain,
                    }
                }
            }
        };
        self.metrics.concluded(notification, &verdict, now);
        if !follow_ups.is_empty() {
            desk.look_at = Some(now);
        }
        desk.settlements.push(Settlement {
            id: notification.id,
            at: now,
            verdict,
            follow_ups,
        });
    }

    /// Records how attempts ended. While the store refuses, nothing new is started, and the claims keep others away.
    async fn settle(&mut self, desk: &mut Desk) {
        if desk.settlements.is_empty() {
            return;
        }
        match self.store.settle(&self.worker, &desk.settlements).await {
            Ok(()) => {
                desk.settlements.clear();
                // What stood behind one that is done may go now.
                if desk.is_behind {
                    desk.look_at = Some(self.clock.now());
                }
            }
            Err(failure) => {
                error!(failure = %failure.to_text(), "could not record how notifications ended; trying again");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// Claims what is due, and finds out when to look again.
    async fn look(&mut self, desk: &mut Desk) {
        let now = self.clock.now();
        let closed = desk.lines.iter().filter(|(_, line)| line.is_closed(now));
        let full = desk
            .waiting
            .iter()
            .filter(|(_, queue)| queue.len() >= ENOUGH_WAITING);
        let except: Vec<IntegrationId> = closed
            .map(|(id, _)| id.clone())
            .chain(full.map(|(id, _)| id.clone()))
            .collect();
        // Once only: what fails again waits by the clock as it is now.
        let ahead = std::mem::take(&mut desk.ahead);
        let limit = if ahead.is_zero() {
            CLAIM_LIMIT
        } else {
            usize::from(u16::MAX)
        };
        let claim = Self::claim(&self.worker, &self.policy.borrow().config, later(now, ahead));
        let claimed = match self.store.claim(&claim, limit, &except).await {
            Ok(claimed) => claimed,
            Err(failure) => {
                warn!(failure = %failure.to_text(), "could not look into the outbox");
                desk.look_at = Some(later(now, LOOK_EVERY));
                return;
            }
        };
        if !claimed.is_empty() {
            self.enqueue(claimed, desk);
            desk.look_at = Some(now);
            return;
        }
        desk.look_at = match self.store.next_due().await {
            Ok(due) => due.map(|due| {
                // What is due and cannot be claimed waits for a line, or for what stands before it.
                if due <= now { later(now, LOOK_EVERY) } else { due }
            }),
            Err(failure) => {
                warn!(failure = %failure.to_text(), "could not look into the outbox");
                Some(later(now, LOOK_EVERY))
            }
        };
        desk.is_behind = desk.look_at.is_some();
        if self.store.is_shared() {
            desk.look_by(later(now, LOOK_EVERY));
        }
    }
}

async fn attempt(integration: Integration, delivery: Delivery, timeout: Duration) -> Attempt {
    info!(integration = %integration.id, id = %delivery.notification.id, attempt = delivery.attempts + 1, "telling");
    let telling = AssertUnwindSafe(integration.notifier.notify(&delivery.notification)).catch_unwind();
    let result = match tokio::time::timeout(timeout, telling).await {
        Ok(Ok(result)) => result,
        // Whether the receiver took it before is not known. The place in its line is free again in any case.
        Ok(Err(_)) => Err(Refusal::uncertain(text!(
            "the notifier failed by a defect of its own"
        ))),
        Err(_) => Err(Refusal::uncertain(text!(
            "no answer within {seconds} s",
            seconds = timeout.as_secs_f64()
        ))),
    };
    Attempt { delivery, result }
}

fn released(delivery: &Delivery, now: Timestamp, not_before: Timestamp) -> Settlement {
    Settlement {
        id: delivery.notification.id,
        at: now,
        verdict: Verdict::Released { not_before },
        follow_ups: Vec::new(),
    }
}

/// When it should first have been told.
fn first_due(notification: &Notification) -> Timestamp {
    notification
        .late
        .as_ref()
        .map_or(notification.created_at, |late| late.since)
}

/// What the fallback receiver is told; nothing where there is none, or where the fallback itself fails.
fn fallbacks(
    policy: &DeliveryPolicy,
    notification: &Notification,
    because: &str,
    now: Timestamp,
) -> Vec<Notification> {
    let Some(receiver) = &policy.fallback else {
        return Vec::new();
    };
    if matches!(notification.reason, Reason::Fallback { .. }) || *receiver == notification.receiver {
        return Vec::new();
    }
    let to_integration = |integration: &IntegrationId| Notification {
        // Follows from what failed, so that the same failure found twice tells the fallback once.
        id: NotificationId(hash::uuid_of(&[
            &notification.id.to_string(),
            integration.as_str(),
        ])),
        receiver: receiver.clone(),
        integration: integration.clone(),
        reason: Reason::Fallback {
            failed: notification.integration.clone(),
            because: because.to_owned(),
        },
        created_at: now,
        late: None,
        ..notification.clone()
    };
    policy.fallback_integrations.iter().map(to_integration).collect()
}
