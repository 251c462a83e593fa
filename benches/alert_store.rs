//! The store of alerts in SQLite: receipts of alerts, notifications into the outbox, and telling them.

use std::hint::black_box;
use std::sync::Arc;

use alpha_alerts::store::{Changes, Claim, Fence, Key, Kind, Lease, Settlement, Store, Verdict};
use alpha_alerts::stores::SqliteStore;
use alpha_alerts::{Alert, Event, Labels, Notification, NotificationId, Reason, Severity};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a year this side of 9999")
}

/// An alert as an exporter's rule makes it.
fn alert(number: usize) -> Alert {
    Alert::firing(
        Labels::new([
            ("alertname", "InstanceDown"),
            ("cluster", "north"),
            ("instance", &format!("node-{number}.example.org:9100")),
            ("job", "node"),
            ("severity", "critical"),
        ]),
        now(),
    )
    .with_annotations(Labels::new([
        ("summary", "an instance has been down for more than five minutes"),
        ("runbook_url", "https://runbooks.example.org/instance-down"),
    ]))
}

/// The record of an alert that nobody knows yet.
fn record(number: usize) -> (Key, bytes::Bytes) {
    let alert = alert(number);
    let id = format!("{:016x}", alert.fingerprint().0);
    let body = serde_json::to_vec(&alert).expect("an alert has JSON");
    let key = Key {
        kind: Kind::Alert,
        id: id.into(),
    };
    (key, body.into())
}

fn notification(number: usize) -> Notification {
    Notification {
        id: NotificationId(Uuid::new_v4()),
        receiver: Arc::from("ops"),
        integration: "ops/slack/0".into(),
        group: format!("{{}}:{{instance=\"node-{number}.example.org:9100\"}}").into(),
        group_labels: Labels::new([("instance", format!("node-{number}.example.org:9100"))]),
        event: Event::Firing,
        reason: Reason::New,
        severity: Severity::P1,
        alerts: vec![alert(number)],
        incident: None,
        created_at: now(),
        late: None,
    }
}

fn claim() -> Claim {
    Claim {
        worker: "worker".to_owned(),
        now: now(),
        until: now() + SignedDuration::from_mins(1),
    }
}

/// A store that one leads, in a folder of its own.
struct Led {
    runtime: Runtime,
    store: SqliteStore,
    fence: Fence,
    _folder: TempDir,
}

impl Led {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lease = Lease {
            holder: "bench".to_owned(),
            now: now(),
            until: now(),
        };
        let (store, fence) = runtime.block_on(async {
            let store = SqliteStore::open(folder.path().join("alerts.db")).await;
            let store = store.expect("a store");
            let fence = store.lead(&lease).await.expect("it can be led");
            (store, fence.expect("nobody else leads"))
        });
        Self {
            runtime,
            store,
            fence,
            _folder: folder,
        }
    }

    fn commit(&self, changes: &Changes) -> usize {
        let claim = claim();
        let committed = self.store.commit(self.fence, changes, &claim);
        self.runtime.block_on(committed).expect("it is committed").len()
    }
}

fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("alert_store/commit new alerts");
    group.sample_size(20);
    for count in [1, 100, 10_000] {
        let led = Led::new();
        let mut number = 0;
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter_batched(
                || {
                    number += count;
                    let mut changes = Changes::default();
                    changes.puts = (number - count..number).map(record).collect();
                    changes
                },
                |changes| led.commit(&changes),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("alert_store/commit notifications");
    group.sample_size(10);
    let led = Led::new();
    let mut number = 0;
    let count = 10_000;
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(count.to_string(), |bencher| {
        bencher.iter_batched(
            || {
                number += count;
                let mut changes = Changes::default();
                changes.notifications = (number - count..number).map(notification).collect();
                changes
            },
            |changes| assert_eq!(led.commit(&changes), count),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn tell(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("alert_store/claim and settle");
    group.sample_size(10);
    let led = Led::new();
    let mut number = 0;
    let count = 1000;
    let settlements = |notifications: &[Notification], verdict: &Verdict| -> Vec<Settlement> {
        let ids = notifications.iter().map(|notification| notification.id);
        ids.map(|id| Settlement {
            id,
            at: now(),
            verdict: verdict.clone(),
            follow_ups: Vec::new(),
        })
        .collect()
    };
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(count.to_string(), |bencher| {
        bencher.iter_batched(
            || {
                number += count;
                let mut changes = Changes::default();
                changes.notifications = (number - count..number).map(notification).collect();
                led.commit(&changes);
                let released = Verdict::Released { not_before: now() };
                let released = settlements(&changes.notifications, &released);
                let given_back = led.store.settle("worker", &released);
                led.runtime.block_on(given_back).expect("it is given back");
            },
            |()| {
                led.runtime.block_on(async {
                    let claimed = led.store.claim(&claim(), count, &[]).await;
                    let claimed = black_box(claimed.expect("it is claimed"));
                    assert_eq!(claimed.len(), count);
                    let told: Vec<_> = claimed
                        .into_iter()
                        .map(|delivery| delivery.notification)
                        .collect();
                    let sent = settlements(&told, &Verdict::Sent(None));
                    led.store.settle("worker", &sent).await.expect("it is settled");
                });
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, receive, decide, tell);
criterion_main!(benches);
