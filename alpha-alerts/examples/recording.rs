//! An alert on its way to a receiver of one's own, without a network or a file.

use std::sync::Arc;

use alpha_alerts::memory::{MemoryStore, RecordingNotifier};
use alpha_alerts::notifiers::Environment;
use alpha_alerts::{Alert, Command, Config, Dispatcher, Labels, NoSecrets};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config: Config = serde_json::from_str(
        r#"{ "route": { "receiver": "ops", "group_wait": "0s" }, "receivers": [{ "name": "ops" }] }"#,
    )?;
    let ops = Arc::new(RecordingNotifier::new());
    let store = Arc::new(MemoryStore::new());
    let builder = Dispatcher::builder(config, store, Environment::new(Arc::new(NoSecrets)));
    let dispatcher = builder.with_notifier("ops", ops.clone()).start().await?;
    let labels = Labels::new([("alertname", "ChainHalted"), ("severity", "P0")]);
    let alert = Alert::firing(labels, dispatcher.clock().now());
    dispatcher.execute(Command::Alerts(vec![alert])).await?;
    assert_eq!(ops.wait_for(1).await[0].alerts[0].name(), "ChainHalted");
    Ok(())
}
