//! Whether the generator tells the truth on this machine.
//!
//! Four servers whose latency is known are started on loopback and measured over real sockets: one that freezes, one
//! that is slow on some requests by itself, a healthy one, and one that is asked for more than any generator can send.
//! Each is a case in which a well-known tool is wrong by a factor. Noise of a busy machine only ever adds latency, so
//! that a case is tried a few times and passes when one try does.
//!
//! What is true is never taken from the generator's own stopwatch: a freeze is what the server's thread really slept, a
//! slow request what the server says it took, and the healthy server is asked beside by a client without an engine.

mod server;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::server::{Behaviour, Server};
use crate::LoadTest;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::report::BenchReport;
use crate::request::Request;
use crate::schedule::LoadModel;
use crate::targets::Http1;
use crate::targets::transport::Tcp;
use crate::template::Inputs;
use crate::text;
use crate::text::Text;
use crate::threshold::Verdict;

/// How often a case is tried at most.
const TRIES: usize = 5;

/// What a case found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct SelfTestCase {
    /// Which case.
    pub case: Case,
    /// The true value in seconds; in [`Case::Saturated`] the rate that was asked for.
    pub truth: f64,
    /// What was measured; in [`Case::Saturated`] the rate that was reached.
    pub measured: f64,
    /// The share by which the measured value may differ.
    pub tolerance: f64,
    /// Whether it does not.
    pub passed: bool,
    /// How often it was tried.
    pub tries: usize,
}

/// A case in which generators are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// The 99th percentile of a server that freezes for 100 ms in every second.
    FrozenP99,
    /// The 99.9th percentile of the same server.
    FrozenP999,
    /// The 99th percentile where every 200th request is slow by itself.
    SlowRequests,
    /// The median of a healthy server.
    Healthy,
    /// The median of a healthy server, spinning before each start.
    HealthySpinning,
    /// A rate that no generator reaches.
    Saturated,
}

impl Case {
    /// Every case, in the order in which they run.
    pub const ALL: [Self; 6] = [
        Self::FrozenP99,
        Self::FrozenP999,
        Self::SlowRequests,
        Self::Healthy,
        Self::HealthySpinning,
        Self::Saturated,
    ];

    /// The name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FrozenP99 => "frozen_p99",
            Self::FrozenP999 => "frozen_p999",
            Self::SlowRequests => "slow_requests",
            Self::Healthy => "healthy",
            Self::HealthySpinning => "healthy_spinning",
            Self::Saturated => "saturated",
        }
    }

    /// The case as a sentence.
    pub fn to_text(self) -> Text {
        match self {
            Self::FrozenP99 => text!("p99 of a server that freezes for 100 ms in every second"),
            Self::FrozenP999 => text!("p99.9 of a server that freezes for 100 ms in every second"),
            Self::SlowRequests => text!("p99 where every 200th request is slow by itself"),
            Self::Healthy => text!("median of a healthy server"),
            Self::HealthySpinning => text!("median of a healthy server, spinning"),
            Self::Saturated => text!("a rate that cannot be reached is told to be so"),
        }
    }
}

/// Runs these cases; all of them take about half a minute, and two where every try fails.
///
/// # Errors
/// [`Io`](ErrorKind::Io) if this machine refuses a socket or a thread.
pub async fn selftest(cases: &[Case]) -> Result<Vec<SelfTestCase>> {
    // As long as the requests are apart, so that the thread never sleeps: the client by hand does not either.
    let spin = Duration::from_millis(1);
    let mut found = Vec::new();
    if cases.contains(&Case::FrozenP99) || cases.contains(&Case::FrozenP999) {
        found.extend(tried(frozen).await?);
    }
    if cases.contains(&Case::SlowRequests) {
        found.extend(tried(slow_requests).await?);
    }
    if cases.contains(&Case::Healthy) {
        found.extend(tried(async || healthy(Duration::ZERO, Case::Healthy, 0.45).await).await?);
    }
    if cases.contains(&Case::HealthySpinning) {
        found.extend(tried(async || healthy(spin, Case::HealthySpinning, 0.05).await).await?);
    }
    if cases.contains(&Case::Saturated) {
        found.push(saturated().await?);
    }
    found.retain(|found| cases.contains(&found.case));
    Ok(found)
}

/// The first try of some cases that passes, or the last one.
async fn tried(run: impl AsyncFn() -> Result<Vec<SelfTestCase>>) -> Result<Vec<SelfTestCase>> {
    let mut tries = 1;
    loop {
        let mut cases = run().await?;
        if tries == TRIES || cases.iter().all(|case| case.passed) {
            for case in &mut cases {
                case.tries = tries;
            }
            return Ok(cases);
        }
        tries += 1;
    }
}

fn judged(case: Case, truth: f64, measured: f64, tolerance: f64) -> SelfTestCase {
    SelfTestCase {
        case,
        truth,
        measured,
        tolerance,
        passed: (measured - truth).abs() <= truth * tolerance,
        tries: 1,
    }
}

async fn frozen() -> Result<Vec<SelfTestCase>> {
    let (rate, seconds) = (1000, 5);
    let start = Instant::now() + Duration::from_millis(50);
    let server = Server::start(Behaviour::Freezes(start))?;
    let report = put(
        &server,
        LoadModel::open(rate as f64),
        seconds,
        Duration::ZERO,
        Some(start),
    )
    .await?;
    let freezes = server.freezes();
    let mut truth: Vec<Duration> = (0..rate * seconds)
        .map(|number| {
            let intended = start + Duration::from_secs_f64(number as f64 / rate as f64);
            let met = freezes
                .iter()
                .find(|(begin, end)| *begin <= intended && intended < *end);
            met.map_or(Duration::ZERO, |(_, end)| *end - intended)
        })
        .collect();
    truth.sort_unstable();
    let exact = |share: f64| {
        let rank = (share * truth.len() as f64).ceil() as usize;
        truth[rank.clamp(1, truth.len()) - 1].as_secs_f64()
    };
    let latency = report.latency_seconds;
    Ok(vec![
        judged(Case::FrozenP99, exact(0.99), latency.p99, 0.01),
        judged(Case::FrozenP999, exact(0.999), latency.p99_9, 0.01),
    ])
}

async fn slow_requests() -> Result<Vec<SelfTestCase>> {
    let server = Server::start(Behaviour::SlowByItself)?;
    let report = put(&server, LoadModel::open(500.0), 4, Duration::ZERO, None).await?;
    let truth = server.handled().quantile(0.99).as_secs_f64();
    Ok(vec![judged(
        Case::SlowRequests,
        truth,
        report.latency_seconds.p99,
        0.5,
    )])
}

async fn healthy(spin: Duration, case: Case, tolerance: f64) -> Result<Vec<SelfTestCase>> {
    let server = Server::start(Behaviour::Healthy)?;
    let rate = 1000;
    // Before and after, so that a machine that becomes busier or quieter meanwhile does so for both.
    let before = server.asked_by_hand(rate, Duration::from_millis(700)).await?;
    let report = put(&server, LoadModel::open(f64::from(rate)), 2, spin, None).await?;
    let after = server.asked_by_hand(rate, Duration::from_millis(700)).await?;
    let truth = f64::midpoint(before.as_secs_f64(), after.as_secs_f64());
    Ok(vec![judged(case, truth, report.latency_seconds.p50, tolerance)])
}

async fn saturated() -> Result<SelfTestCase> {
    let asked = 3e6;
    let server = Server::start(Behaviour::Healthy)?;
    let report = put(&server, LoadModel::open(asked), 1, Duration::ZERO, None).await?;
    Ok(SelfTestCase {
        passed: report.verdict == Verdict::GeneratorSaturated,
        ..judged(Case::Saturated, asked, report.throughput_per_second, 0.0)
    })
}

/// Puts a load on a server from one core.
async fn put(
    server: &Server,
    model: LoadModel,
    seconds: u64,
    spin: Duration,
    start: Option<Instant>,
) -> Result<BenchReport> {
    let config = Config::new(model)
        .with_duration(Duration::from_secs(seconds))
        .with_workers(1)
        .with_pinned(cfg!(target_os = "linux"))
        .with_spin(spin);
    let url = server.url();
    let tcp = Tcp::resolve(url).await?;
    let target = Http1::new(tcp, url, &[Request::get("/")], &Inputs::default(), true)?;
    let mut test = LoadTest::new(config, target);
    if let Some(start) = start {
        test = test.starting_at(start);
    }
    test.run().await
}

fn could_not_run() -> Error {
    Error::new(ErrorKind::Io, text!("could not run the self-test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_spelt_as_serde_spells_it() {
        for case in Case::ALL {
            assert_eq!(serde_json::to_value(case).unwrap(), case.as_str());
        }
    }

    // How precise the generator is on a busy machine is for people and for the benchmarks; that it cannot be fooled
    // shows anywhere.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_generator_that_is_asked_for_too_much_says_so() {
        let found = selftest(&[Case::Saturated]).await.unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].passed, "{found:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_freeze_is_that_of_the_server_and_not_of_a_formula() {
        for found in frozen().await.unwrap() {
            let formula = if found.case == Case::FrozenP99 {
                0.0895
            } else {
                0.0985
            };
            assert!(found.truth >= formula - 0.002, "{found:?}");
            assert!(found.measured >= 0.9 * found.truth, "{found:?}");
        }
    }
}
