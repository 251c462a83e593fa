//! Several instances that share a PostgreSQL: nobody is told twice, and one that dies is replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use alpha_alerts::memory::RecordingNotifier;
use alpha_alerts::notifiers::Environment;
use alpha_alerts::stores::PostgresStore;
use alpha_alerts::{Alert, Command, Config, Dispatcher, Labels, NoSecrets};
use serde_json::json;

fn config() -> Config {
    serde_json::from_value(json!({
        "route": { "receiver": "ops", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1h" },
        "receivers": [{ "name": "ops" }],
    }))
    .unwrap()
}

struct Instance {
    /// Ended without a word, it is an instance that died.
    runtime: Option<tokio::runtime::Runtime>,
    dispatcher: Option<Dispatcher>,
    ops: Arc<RecordingNotifier>,
}

impl Instance {
    fn start(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let ops = Arc::new(RecordingNotifier::new());
        let notifier = ops.clone();
        let url = url.to_owned();
        let dispatcher = runtime.block_on(async move {
            let store = Arc::new(PostgresStore::connect(&url.into()).await.unwrap());
            let environment = Environment::new(Arc::new(NoSecrets));
            let builder = Dispatcher::builder(config(), store, environment);
            builder.with_notifier("ops", notifier).start().await.unwrap()
        });
        Self {
            runtime: Some(runtime),
            dispatcher: Some(dispatcher),
            ops,
        }
    }

    fn leads(&self) -> bool {
        self.dispatcher.as_ref().unwrap().metrics().leads()
    }

    fn send(&self, names: impl IntoIterator<Item = String>) {
        let (runtime, dispatcher) = (self.runtime.as_ref().unwrap(), self.dispatcher.as_ref().unwrap());
        let now = dispatcher.clock().now();
        let alerts = names.into_iter().map(|name| {
            Alert::firing(
                Labels::new([("alertname", name.as_str()), ("severity", "P1")]),
                now,
            )
        });
        let command = Command::Alerts(alerts.collect());
        runtime.block_on(dispatcher.execute(command)).unwrap();
    }

    /// As `kill -9` does: nothing is given back, nothing is said.
    fn die(self) -> Arc<RecordingNotifier> {
        self.ops.clone()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let runtime = self.runtime.take().unwrap();
        // The connections of the store are closed within a runtime.
        let inside = runtime.enter();
        self.dispatcher = None;
        drop(inside);
        runtime.shutdown_background();
    }
}

/// How often each alert was told, by all instances together.
fn told(instances: &[&RecordingNotifier]) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for instance in instances {
        for notification in instance.told() {
            for alert in &notification.alerts {
                *told.entry(alert.name().to_owned()).or_default() += 1;
            }
        }
    }
    told
}

fn wait_until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < within, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    begin.elapsed()
}

#[test]
fn two_instances_tell_everything_once_whoever_was_told() {
    let server = testbed::need!(testbed::Postgres::start());
    let (first, second) = (Instance::start(&server.url()), Instance::start(&server.url()));
    assert!(first.leads());
    assert!(!second.leads());
    for round in 0..20 {
        first.send((0..5).map(|index| format!("First{round}-{index}")));
        second.send((0..5).map(|index| format!("Second{round}-{index}")));
    }
    wait_until("everything is told", Duration::from_secs(20), || {
        told(&[&first.ops, &second.ops]).len() == 200
    });
    std::thread::sleep(Duration::from_secs(2));
    let told = told(&[&first.ops, &second.ops]);
    assert!(told.values().all(|count| *count == 1), "{told:?}");
}

#[test]
fn an_instance_that_dies_is_replaced_within_three_seconds() {
    let server = testbed::need!(testbed::Postgres::start());
    let (first, second) = (Instance::start(&server.url()), Instance::start(&server.url()));
    first.send(["Before".to_owned()]);
    wait_until("the first tells", Duration::from_secs(10), || {
        told(&[&first.ops, &second.ops]).contains_key("Before")
    });
    let first = first.die();
    // Accepted by the one that is left, while nobody leads.
    second.send(["While".to_owned()]);
    let took = wait_until("the second leads", Duration::from_secs(10), || second.leads());
    assert!(took <= Duration::from_secs(3), "it took {took:?}");
    wait_until("what came meanwhile is told", Duration::from_secs(10), || {
        told(&[&second.ops]).contains_key("While")
    });
    second.send(["After".to_owned()]);
    wait_until("what came after is told", Duration::from_secs(10), || {
        told(&[&second.ops]).contains_key("After")
    });
    let told = told(&[&first, &second.ops]);
    assert!(told.values().all(|count| *count == 1), "{told:?}");
}
