//! Looks at this host and at a web address, and prints what it found: `cargo run --example host -- http://127.0.0.1/`.

use alpha_probes::suite::Suite;
use alpha_probes::{CheckConfig, Resources};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "http://127.0.0.1/".to_owned());
    let configs: Vec<CheckConfig> = serde_json::from_value(serde_json::json!([
        { "name": "memory", "memory": {} },
        { "name": "web", "http": { "url": url }, "conditions": ["[STATUS] == 200", "[RESPONSE_TIME] < 200"] },
    ]))?;
    let resources = Resources::default();
    let checks: Result<Vec<_>, _> = configs.iter().map(|config| config.build(&resources)).collect();
    let checks = checks.map_err(|problems| problems[0].error.to_string())?;
    for check in Suite::new(checks)?.run().await.checks {
        println!("{} {}: {}", check.status, check.name, check.reason);
    }
    Ok(())
}
