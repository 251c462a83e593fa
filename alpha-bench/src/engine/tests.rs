#![expect(clippy::future_not_send, reason = "tests run on one thread")]

use super::*;
use crate::failure::FailureClass;
use crate::report::Finding;
use crate::schedule::{Arrivals, Open, Stage};
use crate::targets::FixedLatency;
use crate::threshold::Verdict;

const SECOND: Duration = Duration::from_secs(1);

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn noon() -> Arc<dyn Clock> {
    Arc::new(|| "2026-01-05T12:00:00Z".parse::<Timestamp>().unwrap())
}

async fn run(config: Config, target: FixedLatency) -> BenchReport {
    LoadTest::new(config, target)
        .with_clock(noon())
        .run_in_place()
        .await
        .unwrap()
}

fn assert_within(have: f64, truth: f64, share: f64) {
    assert!(
        (have - truth).abs() <= truth * share,
        "{have} is not within {share} of {truth}"
    );
}

/// What an open load at `rate` must see of a target that stands still `freeze` of every second.
fn frozen_truth(rate: u64, seconds: u64, freeze: Duration, latency: Duration) -> Vec<f64> {
    let mut all: Vec<_> = (0..rate * seconds)
        .map(|n| {
            let phase = Duration::from_secs_f64(n as f64 / rate as f64 % 1.0);
            (freeze.saturating_sub(phase) + latency).as_secs_f64()
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all
}

fn exact(sorted: &[f64], quantile: f64) -> f64 {
    sorted[((quantile * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1]
}

#[tokio::test(start_paused = true)]
async fn a_server_that_freezes_is_charged_with_all_that_should_have_happened() {
    let target = FixedLatency::new(ms(1)).with_freeze(SECOND, ms(100));
    let report = run(
        Config::new(LoadModel::open(1000.0)).with_duration(60 * SECOND),
        target,
    )
    .await;
    let truth = frozen_truth(1000, 60, ms(100), ms(1));
    assert_eq!(report.requests, 60_000);
    for (have, quantile) in [
        (report.latency_seconds.p50, 0.5),
        (report.latency_seconds.p95, 0.95),
        (report.latency_seconds.p99, 0.99),
        (report.latency_seconds.p99_9, 0.999),
    ] {
        assert_within(have, exact(&truth, quantile), 0.001);
    }
    assert_within(
        report.latency_seconds.mean,
        truth.iter().sum::<f64>() / truth.len() as f64,
        0.001,
    );
    assert_eq!(
        report.lag_seconds.max, 0.0,
        "connections grew, so that nothing had to wait"
    );
    assert_eq!(report.verdict, Verdict::Pass);
}

#[tokio::test(start_paused = true)]
async fn slow_requests_that_hold_up_nobody_do_not_spoil_the_percentiles() {
    let target = FixedLatency::new(ms(1)).with_slow(200, ms(100));
    let report = run(
        Config::new(LoadModel::open(1000.0)).with_duration(60 * SECOND),
        target,
    )
    .await;
    assert_within(report.latency_seconds.p99, 0.001, 0.001);
    assert_within(report.latency_seconds.p99_9, 0.100, 0.001);
    assert_within(report.latency_seconds.mean, (199.0 * 0.001 + 0.1) / 200.0, 0.001);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_bounded_connection_is_latency_and_not_lag() {
    let mut open = Open::new(Arrivals::Constant(100.0));
    open.max_connections = 1;
    let config = Config::new(LoadModel::Open(open)).with_duration(10 * SECOND);
    let report = run(config, FixedLatency::new(ms(20))).await;
    // Half of the load is served, so that the last request served was due five seconds before.
    assert_within(report.sent_ratio, 0.5, 0.01);
    assert_within(report.latency_seconds.max, 5.0, 0.02);
    assert_within(report.service_seconds.p99, 0.020, 0.001);
    assert_eq!(report.lag_seconds.max, 0.0);
    assert_eq!(report.connections, 1);
    assert_eq!(
        report.verdict,
        Verdict::GeneratorSaturated,
        "half of the load is not the load that was asked for"
    );
    assert!(
        report
            .findings
            .iter()
            .any(|finding| matches!(finding, Finding::WaitedForConnection { connections: 1, .. }))
    );
    assert!(report.elapsed_seconds < 10.5);
}

#[tokio::test(start_paused = true)]
async fn a_closed_load_sends_exactly_what_was_asked_and_measures_what_users_would_wait() {
    let report = run(
        Config::new(LoadModel::closed(10)).with_requests(300),
        FixedLatency::new(ms(50)),
    )
    .await;
    assert_eq!((report.requests, report.connections), (300, 10));
    assert_within(report.throughput_per_second, 200.0, 0.001);
    assert_within(report.elapsed_seconds, 1.5, 0.001);
    assert_within(report.latency_seconds.p95, 0.050, 0.001);
}

#[tokio::test(start_paused = true)]
async fn warm_up_is_sent_and_not_measured() {
    let config = Config::new(LoadModel::open(100.0))
        .with_duration(5 * SECOND)
        .with_warm_up(2 * SECOND);
    let report = run(config, FixedLatency::new(ms(1))).await;
    assert_eq!(report.requests, 300);
    assert_within(report.offered_per_second, 100.0, 0.001);
    assert_eq!(
        report
            .series
            .windows
            .iter()
            .map(|window| window.requests)
            .collect::<Vec<_>>()[..5],
        [0, 0, 100, 100, 100]
    );
    assert_eq!(report.offered[..5], [100.0; 5]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_never_answers_ends_with_the_timeout_and_breaches() {
    let config = Config::new(LoadModel::open(10.0))
        .with_duration(2 * SECOND)
        .with_timeout(3 * SECOND);
    let report = run(config, FixedLatency::new(Duration::from_secs(10_000))).await;
    assert_eq!(report.errors.get(FailureClass::Timeout), 20);
    assert_within(report.latency_seconds.p50, 3.0, 0.001);
    assert_eq!(report.verdict, Verdict::Breach);
    assert!(report.elapsed_seconds < 5.6, "{}", report.elapsed_seconds);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_reports_what_it_has() {
    let stop = CancellationToken::new();
    let config = Config::new(LoadModel::open(100.0)).with_duration(60 * SECOND);
    let load = LoadTest::new(config, FixedLatency::new(ms(500)))
        .with_clock(noon())
        .with_stop(stop.clone());
    let cancel = async {
        tokio::time::sleep(ms(3_005)).await;
        stop.cancel();
    };
    let (report, ()) = tokio::join!(load.run_in_place(), cancel);
    let report = report.unwrap();
    assert!(report.cut_short && report.findings.contains(&Finding::CutShort));
    assert_eq!(report.requests + report.unfinished, 301);
    assert_within(report.offered_per_second, 100.0, 0.01);
    assert_eq!(report.sent_ratio, 1.0);
}

#[tokio::test(start_paused = true)]
async fn thresholds_decide_only_what_the_samples_allow() {
    let judged = async |threshold: &str, requests| {
        let target = FixedLatency::new(ms(10))
            .with_slow(10, ms(100))
            .with_failure(100, FailureClass::Status);
        let config = Config::new(LoadModel::closed(1))
            .with_requests(requests)
            .with_threshold(threshold.parse().unwrap());
        run(config, target).await.thresholds[0].verdict
    };
    assert_eq!(judged("p50 < 20ms", 1000).await, Verdict::Pass);
    assert_eq!(judged("p95 < 20ms", 1000).await, Verdict::Breach);
    assert_eq!(
        judged("p99.9 < 200ms", 1000).await,
        Verdict::Undecided,
        "one request in a thousand is no evidence"
    );
    assert_eq!(judged("errors < 5%", 1000).await, Verdict::Pass);
    assert_eq!(judged("errors < 0.1%", 1000).await, Verdict::Breach);
    assert_eq!(judged("errors < 1.2%", 1000).await, Verdict::Undecided);
    assert_eq!(judged("rate >= 99%", 10).await, Verdict::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_ramp_shows_in_the_windows() {
    let stages = vec![
        Stage::ramp(10 * SECOND, 0.0, 100.0),
        Stage::hold(2 * SECOND, 300.0),
    ];
    let config = Config::new(LoadModel::Open(Open::new(Arrivals::Stages(stages))));
    let report = run(config, FixedLatency::new(ms(1))).await;
    assert_eq!(report.requests, 500 + 600);
    assert_within(report.offered[9], 95.0, 0.001);
    assert_within(report.offered[11], 300.0, 0.001);
}

#[tokio::test]
async fn threads_of_their_own_share_a_load_and_tell_how_it_goes() {
    let (sender, receiver) = watch::channel(Progress::default());
    let config = Config::new(LoadModel::open(500.0))
        .with_duration(ms(1_200))
        .with_workers(2);
    let report = LoadTest::new(config, FixedLatency::new(ms(2)))
        .with_progress(sender)
        .run()
        .await
        .unwrap();
    assert_eq!(
        report.requests as f64 + report.unfinished as f64,
        report.sent_ratio * 600.0
    );
    assert!(report.requests > 500);
    assert!(report.latency_seconds.p50 >= 0.002);
    let progress = *receiver.borrow();
    assert_eq!(progress.requests, report.requests);
    assert_eq!(progress.end, Some(ms(1_200)));
}
