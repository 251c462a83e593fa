//! The dispatcher on a clock that the tests move: delivery, retries, order, fallbacks, reload, stop.

use std::sync::Arc;
use std::time::Duration;

use alpha_alerts::audit::AuditEntry;
use alpha_alerts::incident::IncidentId;
use alpha_alerts::memory::{MemoryStore, RecordingNotifier};
use alpha_alerts::notifier::{Notifier, Receipt, Refusal};
use alpha_alerts::notifiers::Environment;
use alpha_alerts::store::{
    Changes, Claim, Delivery, DeliveryState, Fence, Key, Lease, Settlement, Trail, TrailEntry,
};
use alpha_alerts::{
    Alert, Clock, Command, Config, Dispatcher, Event, GroupKey, IntegrationId, Labels, NoSecrets,
    Notification, Reason, Store, text,
};
use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

/// A clock that moves with tokio's, which the tests have paused.
fn clock() -> Arc<dyn Clock> {
    let begin = tokio::time::Instant::now();
    let start: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
    Arc::new(move || start + begin.elapsed())
}

fn config(extra: serde_json::Value) -> Config {
    let mut config = json!({
        "route": { "receiver": "ops", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "10s", "repeat_interval": "4h" },
        "receivers": [{ "name": "ops" }, { "name": "spare" }],
        "delivery": { "fallback": "spare" },
    });
    merge(&mut config, extra);
    serde_json::from_value(config).unwrap()
}

fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    match (into, from) {
        (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

struct World {
    dispatcher: Dispatcher,
    store: Arc<MemoryStore>,
    clock: Arc<dyn Clock>,
}

impl World {
    async fn new(config: Config, notifiers: &[(&str, Arc<dyn Notifier>)]) -> Self {
        Self::with_store(config, notifiers, Arc::new(MemoryStore::new()), clock()).await
    }

    async fn with_store(
        config: Config,
        notifiers: &[(&str, Arc<dyn Notifier>)],
        store: Arc<MemoryStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let environment = Environment::new(Arc::new(NoSecrets));
        let mut builder = Dispatcher::builder(config, store.clone(), environment)
            .with_clock(clock.clone())
            .with_seed(7);
        for (receiver, notifier) in notifiers {
            builder = builder.with_notifier(receiver, notifier.clone());
        }
        Self {
            dispatcher: builder.start().await.unwrap(),
            store,
            clock,
        }
    }

    fn alert(&self, name: &str, severity: &str) -> Alert {
        Alert::firing(
            Labels::new([("alertname", name), ("severity", severity)]),
            self.clock.now(),
        )
    }

    async fn send(&self, alerts: &[Alert]) {
        self.dispatcher
            .execute(Command::Alerts(alerts.to_vec()))
            .await
            .unwrap();
    }

    async fn outbox(&self, state: DeliveryState) -> Vec<TrailEntry> {
        self.store.notifications(&[state], 100).await.unwrap()
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Refuses for a time, then takes everything.
#[derive(Debug)]
struct Down {
    until: tokio::time::Instant,
    refusal: Refusal,
    inner: RecordingNotifier,
}

impl Down {
    fn for_seconds(seconds: u64, refusal: Refusal) -> Arc<Self> {
        Arc::new(Self {
            until: tokio::time::Instant::now() + Duration::from_secs(seconds),
            refusal,
            inner: RecordingNotifier::new(),
        })
    }
}

#[async_trait]
impl Notifier for Down {
    fn kind(&self) -> &'static str {
        "down"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        if tokio::time::Instant::now() < self.until {
            return Err(self.refusal.clone());
        }
        self.inner.notify(notification).await
    }
}

/// Never answers.
#[derive(Debug, Default)]
struct Hanging(RecordingNotifier);

#[async_trait]
impl Notifier for Hanging {
    fn kind(&self) -> &'static str {
        "hanging"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        self.0.notify(notification).await?;
        std::future::pending().await
    }
}

fn unavailable() -> Refusal {
    Refusal::transient(text!("HTTP {status}", status = 500_u16)).with_status(500)
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_told_and_its_end_too() {
    let ops = Arc::new(RecordingNotifier::new());
    let world = World::new(config(json!({})), &[("ops", ops.clone())]).await;
    let alert = world.alert("Down", "P1");
    world.send(std::slice::from_ref(&alert)).await;
    assert_eq!(ops.wait_for(1).await[0].event, Event::Firing);
    seconds(3).await;
    world.send(&[alert.resolved(world.clock.now())]).await;
    assert_eq!(ops.wait_for(2).await[1].event, Event::Resolved);
    seconds(1).await;
    assert_eq!(world.outbox(DeliveryState::Sent).await.len(), 2);
    assert_eq!(world.dispatcher.read(|state| state.alerts().count()), 0);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_to_the_second() {
    let refusal =
        Refusal::transient(text!("HTTP {status}", status = 429_u16)).retry_after(Duration::from_secs(3));
    let ops = Arc::new(RecordingNotifier::new().then(Err(refusal)));
    let world = World::new(config(json!({})), &[("ops", ops.clone())]).await;
    let begin = tokio::time::Instant::now();
    world.send(&[world.alert("Down", "P1")]).await;
    let told = ops.wait_for(2).await;
    let waited = begin.elapsed();
    assert!(
        waited >= Duration::from_secs(3) && waited < Duration::from_secs(4),
        "after {waited:?}"
    );
    assert_eq!(told[0].id, told[1].id);
}

#[tokio::test(start_paused = true)]
async fn what_fired_and_ended_while_the_receiver_was_down_is_one_message() {
    let ops = Down::for_seconds(120, unavailable());
    let world = World::new(config(json!({})), &[("ops", ops.clone())]).await;
    let alert = world.alert("Down", "P1");
    world.send(std::slice::from_ref(&alert)).await;
    seconds(25).await;
    world.send(&[alert.resolved(world.clock.now())]).await;
    let told = ops.inner.wait_for(1).await;
    seconds(600).await;
    assert_eq!(ops.inner.told().len(), 1);
    assert_eq!(told[0].event, Event::Resolved);
    let late = told[0].late.as_ref().expect("it is late");
    assert_eq!(late.because, "HTTP 500");
    assert_eq!(told[0].alerts[0].starts_at, late.since);
    assert_eq!(world.outbox(DeliveryState::Merged).await.len(), 1);
    assert_eq!(world.outbox(DeliveryState::Sent).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_taken_goes_to_the_fallback() {
    let ops = Arc::new(
        RecordingNotifier::new().then(Err(Refusal::permanent(text!("HTTP {status}", status = 400_u16)))),
    );
    let spare = Arc::new(RecordingNotifier::new());
    let world = World::new(
        config(json!({})),
        &[("ops", ops.clone()), ("spare", spare.clone())],
    )
    .await;
    world.send(&[world.alert("Down", "P1")]).await;
    let told = spare.wait_for(1).await;
    assert_eq!(
        told[0].reason,
        Reason::Fallback {
            failed: "ops/recording/own-0".into(),
            because: "HTTP 400".to_owned()
        }
    );
    seconds(60).await;
    assert_eq!(ops.told().len(), 1, "a refusal for good is not repeated");
    let dead = world.outbox(DeliveryState::DeadLettered).await;
    assert_eq!(dead[0].detail.as_deref(), Some("HTTP 400"));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_for_long_has_its_fallback_told_once() {
    let ops = Down::for_seconds(3600, unavailable());
    let spare = Arc::new(RecordingNotifier::new());
    let world = World::new(
        config(json!({})),
        &[("ops", ops.clone()), ("spare", spare.clone())],
    )
    .await;
    let begin = tokio::time::Instant::now();
    world.send(&[world.alert("Down", "P1")]).await;
    spare.wait_for(1).await;
    assert!(
        begin.elapsed() >= Duration::from_secs(300),
        "after {:?}",
        begin.elapsed()
    );
    ops.inner.wait_for(1).await;
    assert!(begin.elapsed() < Duration::from_secs(3600 + 130));
    assert_eq!(spare.told().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_when_the_time_is_over() {
    let ops = Down::for_seconds(100_000, unavailable());
    let config = config(json!({ "delivery": { "give_up_after": "10m", "fallback_after": "1h" } }));
    let spare = Arc::new(RecordingNotifier::new());
    let world = World::new(config, &[("ops", ops.clone()), ("spare", spare.clone())]).await;
    world.send(&[world.alert("Down", "P1")]).await;
    spare.wait_for(1).await;
    assert_eq!(world.outbox(DeliveryState::DeadLettered).await.len(), 1);
    assert_eq!(world.outbox(DeliveryState::Pending).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_may_have_succeeded_is_repeated_before_anything_newer() {
    let lost = Refusal::uncertain(text!("the connection broke"));
    let ops = Arc::new(RecordingNotifier::new().then(Err(lost.clone())).then(Err(lost)));
    let world = World::new(
        config(json!({ "route": { "group_interval": "1s" } })),
        &[("ops", ops.clone())],
    )
    .await;
    world.send(&[world.alert("Down", "P1")]).await;
    let more = Alert::firing(
        Labels::new([("alertname", "Down"), ("instance", "b"), ("severity", "P1")]),
        world.clock.now(),
    );
    world.send(&[more]).await;
    let told = ops.wait_for(4).await;
    assert_eq!(told[0].id, told[1].id);
    assert_eq!(told[1].id, told[2].id);
    assert_ne!(told[2].id, told[3].id);
    assert_eq!(told[3].alerts.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_receiver_that_hangs_delays_no_other() {
    let (hanging, ops) = (Arc::new(Hanging::default()), Arc::new(RecordingNotifier::new()));
    let routes = json!({ "route": { "routes": [
        { "receiver": "spare", "matchers": ["severity=P3"], "group_by": ["alertname"] },
    ] } });
    let world = World::new(
        config(routes),
        &[("spare", hanging.clone()), ("ops", ops.clone())],
    )
    .await;
    let stuck: Vec<Alert> = (0..200)
        .map(|index| world.alert(&format!("Stuck{index}"), "P3"))
        .collect();
    world.send(&stuck).await;
    seconds(1).await;
    let begin = tokio::time::Instant::now();
    let urgent: Vec<Alert> = (0..50)
        .map(|index| world.alert(&format!("Down{index}"), "P1"))
        .collect();
    world.send(&urgent).await;
    ops.wait_for(50).await;
    assert!(
        begin.elapsed() < Duration::from_millis(100),
        "after {:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn the_most_severe_goes_first() {
    let ops = Arc::new(RecordingNotifier::new());
    let world = World::new(
        config(json!({ "delivery": { "concurrency": 1 } })),
        &[("ops", ops.clone())],
    )
    .await;
    let alerts = ["P3", "P2", "P0", "P1"].map(|severity| world.alert(&format!("Of{severity}"), severity));
    world.send(&alerts).await;
    let order: Vec<_> = ops
        .wait_for(4)
        .await
        .iter()
        .map(|told| told.severity.name())
        .collect();
    assert_eq!(order, ["P0", "P1", "P2", "P3"]);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_stops_paging_within_a_second() {
    let (ops, mei) = (
        Arc::new(RecordingNotifier::new()),
        Arc::new(RecordingNotifier::new()),
    );
    let paging = json!({
        "on_call": { "people": [{ "name": "mei" }] },
        "escalation": [{ "name": "p0", "repeat_every": "10s", "steps": [{ "targets": ["everyone"] }] }],
    });
    let world = World::new(
        config(paging),
        &[("ops", ops.clone()), ("person/mei", mei.clone())],
    )
    .await;
    world.send(&[world.alert("Halted", "P0")]).await;
    mei.wait_for(3).await;
    let acknowledge = Command::Acknowledge {
        incident: IncidentId(1),
        by: "mei".to_owned(),
    };
    world.dispatcher.execute(acknowledge.clone()).await.unwrap();
    let pages = || {
        let told = mei.told();
        told.iter()
            .filter(|told| matches!(told.reason, Reason::Escalation { .. }))
            .count()
    };
    let before = pages();
    seconds(600).await;
    assert_eq!(pages(), before);
    let again = world.dispatcher.execute(acknowledge).await.unwrap_err();
    assert_eq!(again.kind(), alpha_alerts::ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_waits_for_a_dead_receiver_is_withdrawn_by_the_acknowledgement() {
    let mei = Down::for_seconds(600, unavailable());
    let paging = json!({
        "on_call": { "people": [{ "name": "mei" }] },
        "escalation": [{ "name": "p0", "repeat_every": "1h", "steps": [{ "targets": ["everyone"] }] }],
    });
    let world = World::new(config(paging), &[("person/mei", mei.clone())]).await;
    world.send(&[world.alert("Halted", "P0")]).await;
    seconds(60).await;
    let acknowledge = Command::Acknowledge {
        incident: IncidentId(1),
        by: "jonas".to_owned(),
    };
    world.dispatcher.execute(acknowledge).await.unwrap();
    seconds(1200).await;
    let told = mei.inner.told();
    assert!(
        told.iter()
            .all(|told| !matches!(told.reason, Reason::Escalation { .. })),
        "{told:?}"
    );
    let cancelled = world.outbox(DeliveryState::Cancelled).await;
    assert_eq!(cancelled[0].detail.as_deref(), Some("acknowledged by jonas"));
}

#[tokio::test(start_paused = true)]
async fn a_reload_tells_nobody_anything_twice() {
    let ops = Arc::new(RecordingNotifier::new());
    let world = World::new(config(json!({})), &[("ops", ops.clone())]).await;
    world.send(&[world.alert("Down", "P1")]).await;
    ops.wait_for(1).await;
    world
        .dispatcher
        .reload(&config(json!({ "resolve_timeout": "7m" })))
        .await
        .unwrap();
    seconds(600).await;
    assert_eq!(ops.told().len(), 1);
    let broken = config(json!({ "route": { "receiver": "nowhere" } }));
    let refused = world.dispatcher.reload(&broken).await.unwrap_err();
    assert!(refused.to_string().contains("nowhere"), "{refused}");
    world.send(&[world.alert("Slow", "P1")]).await;
    ops.wait_for(2).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_told_before_a_stop_is_told_after_the_next_start() {
    let down = Down::for_seconds(1_000_000, unavailable());
    let world = World::new(config(json!({})), &[("ops", down.clone())]).await;
    let alert = world.alert("Down", "P1");
    world.send(std::slice::from_ref(&alert)).await;
    seconds(5).await;
    world.dispatcher.stop().await;
    let refused = world
        .dispatcher
        .execute(Command::Alerts(vec![alert]))
        .await
        .unwrap_err();
    assert!(refused.is_retryable());

    // Its one integration is called as the one before.
    #[derive(Debug, Default)]
    struct Up(RecordingNotifier);
    #[async_trait]
    impl Notifier for Up {
        fn kind(&self) -> &'static str {
            "down"
        }
        async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
            self.0.notify(notification).await
        }
    }
    let up = Arc::new(Up::default());
    let next = World::with_store(
        config(json!({})),
        &[("ops", up.clone())],
        world.store,
        world.clock,
    )
    .await;
    let told = up.0.wait_for(1).await;
    assert_eq!(told[0].event, Event::Firing);
    seconds(60).await;
    assert_eq!(up.0.told().len(), 1);
    next.dispatcher.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_for_what_is_not_there_is_refused() {
    let world = World::new(config(json!({})), &[]).await;
    let resolve = Command::Resolve {
        incident: IncidentId(7),
        by: "mei".to_owned(),
    };
    let refused = world.dispatcher.execute(resolve).await.unwrap_err();
    assert_eq!(refused.kind(), alpha_alerts::ErrorKind::NotFound);
    assert_eq!(refused.to_string(), "there is no incident 7");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_loses_nothing_and_repeats_nothing() {
    for step_seconds in [-7200_i64, -1, 1, 7200] {
        let offset = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let true_clock = clock();
        let moved = offset.clone();
        let stepping: Arc<dyn Clock> = Arc::new(move || {
            true_clock.now()
                + jiff::SignedDuration::from_secs(moved.load(std::sync::atomic::Ordering::Relaxed))
        });
        let ops = Down::for_seconds(20, unavailable());
        let config = config(json!({ "route": { "group_wait": "5s", "repeat_interval": "24h" } }));
        let store = Arc::new(MemoryStore::new());
        let world = World::with_store(config, &[("ops", ops.clone())], store, stepping).await;
        world.send(&[world.alert("Before", "P1")]).await;
        seconds(8).await;
        offset.store(step_seconds, std::sync::atomic::Ordering::Relaxed);
        world.send(&[world.alert("After", "P1")]).await;
        // As long as the clock was set back by, and a while.
        seconds(7200 + 600).await;
        let told = ops.inner.told();
        let mut names: Vec<&str> = told
            .iter()
            .flat_map(|told| &told.alerts)
            .map(Alert::name)
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["After", "Before"],
            "the clock was set by {step_seconds} s"
        );
    }
}

/// Refuses to write while it is full.
#[derive(Debug, Default)]
struct Full {
    inner: MemoryStore,
    is_full: std::sync::atomic::AtomicBool,
}

impl Full {
    fn set(&self, is_full: bool) {
        self.is_full.store(is_full, std::sync::atomic::Ordering::Relaxed);
    }

    fn check(&self) -> alpha_alerts::Result<()> {
        if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(alpha_alerts::Error::new(
                alpha_alerts::ErrorKind::Unavailable,
                text!("the disk is full"),
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Full {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn lead(&self, lease: &Lease) -> alpha_alerts::Result<Option<Fence>> {
        self.inner.lead(lease).await
    }

    async fn resign(&self, fence: Fence) -> alpha_alerts::Result<()> {
        self.inner.resign(fence).await
    }

    async fn load(&self) -> alpha_alerts::Result<Vec<(Key, Bytes)>> {
        self.inner.load().await
    }

    async fn commit(
        &self,
        fence: Fence,
        changes: &Changes,
        claim: &Claim,
    ) -> alpha_alerts::Result<Vec<Delivery>> {
        self.check()?;
        self.inner.commit(fence, changes, claim).await
    }

    async fn claim(
        &self,
        claim: &Claim,
        limit: usize,
        except: &[IntegrationId],
    ) -> alpha_alerts::Result<Vec<Delivery>> {
        self.check()?;
        self.inner.claim(claim, limit, except).await
    }

    async fn settle(&self, worker: &str, settlements: &[Settlement]) -> alpha_alerts::Result<()> {
        self.check()?;
        self.inner.settle(worker, settlements).await
    }

    async fn next_due(&self) -> alpha_alerts::Result<Option<Timestamp>> {
        self.inner.next_due().await
    }

    async fn submit(&self, commands: &[Command]) -> alpha_alerts::Result<()> {
        self.check()?;
        self.inner.submit(commands).await
    }

    async fn submitted(&self, limit: usize) -> alpha_alerts::Result<Vec<(u64, Command)>> {
        self.inner.submitted(limit).await
    }

    async fn wake(&self) {
        self.inner.wake().await;
    }

    async fn trail(&self, groups: &[GroupKey]) -> alpha_alerts::Result<Trail> {
        self.inner.trail(groups).await
    }

    async fn notifications(
        &self,
        states: &[DeliveryState],
        limit: usize,
    ) -> alpha_alerts::Result<Vec<TrailEntry>> {
        self.inner.notifications(states, limit).await
    }

    async fn audit(&self, after: u64, limit: usize) -> alpha_alerts::Result<Vec<AuditEntry>> {
        self.inner.audit(after, limit).await
    }

    async fn prune(&self, before: Timestamp) -> alpha_alerts::Result<u64> {
        self.check()?;
        self.inner.prune(before).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_accepts_nothing_forgets_nothing_and_goes_on_when_there_is_room() {
    let ops = Arc::new(RecordingNotifier::new());
    let store = Arc::new(Full::default());
    let dispatcher = Dispatcher::builder(
        config(json!({})),
        store.clone(),
        Environment::new(Arc::new(NoSecrets)),
    )
    .with_clock(clock())
    .with_notifier("ops", ops.clone())
    .start()
    .await
    .unwrap();
    let alert = |name: &str| {
        let labels = Labels::new([("alertname", name), ("severity", "P1")]);
        Command::Alerts(vec![Alert::firing(labels, dispatcher.clock().now())])
    };
    dispatcher.execute(alert("Before")).await.unwrap();
    ops.wait_for(1).await;
    store.set(true);
    let refused = dispatcher.execute(alert("Refused")).await.unwrap_err();
    assert!(refused.is_retryable());
    assert_eq!(refused.to_string(), "the disk is full");
    assert_eq!(dispatcher.read(|state| state.alerts().count()), 1);
    seconds(30).await;
    store.set(false);
    dispatcher.execute(alert("After")).await.unwrap();
    ops.wait_for(2).await;
    seconds(60).await;
    let told = ops.told();
    let names: Vec<&str> = told.iter().map(|told| told.alerts[0].name()).collect();
    assert_eq!(names, ["Before", "After"]);
    assert_eq!(dispatcher.metrics().commands_refused(), 1);
}

/// Has a defect: its first attempts panic.
#[derive(Debug, Default)]
struct Defective {
    attempts: std::sync::atomic::AtomicUsize,
    inner: RecordingNotifier,
}

#[async_trait]
impl Notifier for Defective {
    fn kind(&self) -> &'static str {
        "defective"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        // More often than one integration may be told at once.
        let attempt = self.attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(attempt >= 20, "a defect");
        self.inner.notify(notification).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_notifier_that_panics_keeps_no_place_and_is_tried_again() {
    let ops = Arc::new(Defective::default());
    let world = World::new(config(json!({})), &[("ops", ops.clone())]).await;
    world.send(&[world.alert("Down", "P1")]).await;
    assert_eq!(ops.inner.wait_for(1).await[0].alerts[0].name(), "Down");
    seconds(1).await;
    let sent = world.outbox(DeliveryState::Sent).await;
    assert_eq!(sent[0].attempts, 21);
}
