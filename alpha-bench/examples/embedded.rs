//! A service that checks its own latency budget: on a target in memory here, on `targets::Http1` in earnest.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use alpha_bench::{Config, FixedLatency, LoadModel, LoadTest};

#[tokio::main(flavor = "current_thread")]
async fn main() -> alpha_bench::Result<()> {
    let load = Config::new(LoadModel::open(200.0))
        .with_duration(Duration::from_secs(2))
        .with_threshold("p95 < 20ms".parse()?);
    let report = LoadTest::new(load, FixedLatency::new(Duration::from_millis(5)))
        .run()
        .await?;
    println!(
        "{}: p95 {:.1} ms",
        report.verdict,
        report.latency_seconds.p95 * 1e3
    );
    Ok(())
}
