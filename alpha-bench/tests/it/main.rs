//! The load generator over real sockets, against real and against broken servers.
#![expect(clippy::unwrap_used, reason = "a test may fail there")]

mod bad_servers;
mod real_targets;
mod schema;

use std::time::Duration;

use alpha_bench::{BenchReport, Config, Inputs, LoadModel, RunOptions, Scenario};

/// A closed load of one user and so many requests, each of which may take half a second.
fn few(requests: u64) -> Config {
    Config::new(LoadModel::closed(1))
        .with_requests(requests)
        .with_timeout(Duration::from_millis(500))
}

async fn put(url: &str, load: Config) -> BenchReport {
    put_scenario(&Scenario::of_url(url.parse().unwrap(), load)).await
}

async fn put_scenario(scenario: &Scenario) -> BenchReport {
    let reports = scenario.run(&Inputs::default(), &RunOptions::default()).await;
    reports.unwrap().pop().unwrap()
}
