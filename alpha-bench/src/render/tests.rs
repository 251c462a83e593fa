#![expect(clippy::future_not_send, reason = "tests run on one thread")]

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::compare::compare;
use crate::failure::FailureClass;
use crate::text::English;
use crate::{Config, FixedLatency, LoadModel, LoadTest};

async fn report() -> BenchReport {
    let clock: Arc<dyn Clock> = Arc::new(|| "2026-01-05T12:00:00Z".parse::<jiff::Timestamp>().unwrap());
    let target = FixedLatency::new(Duration::from_millis(10))
        .with_slow(50, Duration::from_millis(200))
        .with_failure(100, FailureClass::Status);
    let config = Config::new(LoadModel::open(100.0))
        .with_duration(Duration::from_secs(20))
        .with_threshold("p95 < 50ms".parse().unwrap())
        .with_threshold("errors < 0.1%".parse().unwrap());
    LoadTest::new(config, target)
        .with_clock(clock)
        .run_in_place()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn people_read_the_verdict_first_and_then_why() {
    insta::assert_snapshot!(render(&report().await, Format::Text, &English), @r##"
    memory answering after 10ms (100 requests a second, open)
    breach: 2000 requests in 20 s, 100 a second, p95 10.0ms, 1 % failed
                       mean     p50     p90     p95    p99  p99.9    max
      response       11.9ms  10.0ms  10.0ms  10.0ms  200ms  200ms  200ms
      service        11.9ms  10.0ms  10.0ms  10.0ms  200ms  200ms  200ms
      generator lag      0s      0s      0s      0s     0s     0s     0s
    p95 < 50ms: pass (10.0ms)
    errors < 0.1%: breach (1% (0.612% – 1.54%))
    - too few requests for p99.9 and beyond
    - 20 failed as status, the first with: as configured
    "##);
}

#[tokio::test(start_paused = true)]
async fn markdown_fits_into_a_pull_request() {
    insta::assert_snapshot!(render(&report().await, Format::Markdown, &English), @r##"
    ### memory answering after 10ms (100 requests a second, open)

    **breach: 2000 requests in 20 s, 100 a second, p95 10.0ms, 1 % failed**

    | | mean | p50 | p90 | p95 | p99 | p99.9 | max |
    |---|--:|--:|--:|--:|--:|--:|--:|
    | response | 11.9ms | 10.0ms | 10.0ms | 10.0ms | 200ms | 200ms | 200ms |
    | service | 11.9ms | 10.0ms | 10.0ms | 10.0ms | 200ms | 200ms | 200ms |
    | generator lag | 0s | 0s | 0s | 0s | 0s | 0s | 0s |

    | threshold | measured | verdict |
    |---|--:|---|
    | `p95 < 50ms` | 10.0ms | pass |
    | `errors < 0.1%` | 1% (0.612% – 1.54%) | breach |

    - too few requests for p99.9 and beyond
    - 20 failed as status, the first with: as configured
    "##);
}

#[tokio::test(start_paused = true)]
async fn programs_read_csv_junit_hgrm_and_prometheus() {
    let report = report().await;
    let first_lines = |format, count| {
        render(&report, format, &English)
            .lines()
            .take(count)
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(first_lines(Format::Csv, 3), @r##"
    start_seconds,offered,requests,failures,p50_seconds,p90_seconds,p99_seconds,max_seconds,lag_p99_seconds
    0,100,99,0,0.00999424,0.00999424,0.199753728,0.199753728,0
    1,100,100,1,0.00999424,0.00999424,0.199753728,0.199753728,0
    "##);
    insta::assert_snapshot!(first_lines(Format::Junit, 9), @r##"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites>
      <testsuite name="memory answering after 10ms" tests="3" failures="1" errors="0" time="20.190" timestamp="2026-01-05T12:00:00Z">
        <testcase classname="memory answering after 10ms" name="measurement"></testcase>
        <testcase classname="memory answering after 10ms" name="p95 &lt; 50ms"></testcase>
        <testcase classname="memory answering after 10ms" name="errors &lt; 0.1%"><failure message="measured 1% (0.612% to 1.54%)"/></testcase>
      </testsuite>
    </testsuites>
    "##);
    insta::assert_snapshot!(first_lines(Format::Hgrm, 9), @r##"
           Value     Percentile TotalCount 1/(1-Percentile)

           9.998 0.989898989899       1960          99.00
         199.950 1.000000000000       1980
    #[Mean    =       11.917, StdDeviation   =       18.994]
    #[Max     =      200.016, Total count    =         1980]
    "##);
    insta::assert_snapshot!(first_lines(Format::Prometheus, 14), @r##"
    # HELP alpha_bench_started_timestamp_seconds When the run began.
    # TYPE alpha_bench_started_timestamp_seconds gauge
    alpha_bench_started_timestamp_seconds{run="run",target="memory answering after 10ms"} 1767614400
    # HELP alpha_bench_verdict 1 for the verdict of the run.
    # TYPE alpha_bench_verdict gauge
    alpha_bench_verdict{run="run",target="memory answering after 10ms",verdict="pass"} 0
    alpha_bench_verdict{run="run",target="memory answering after 10ms",verdict="breach"} 1
    alpha_bench_verdict{run="run",target="memory answering after 10ms",verdict="undecided"} 0
    alpha_bench_verdict{run="run",target="memory answering after 10ms",verdict="generator_saturated"} 0
    # HELP alpha_bench_requests Requests finished.
    # TYPE alpha_bench_requests gauge
    alpha_bench_requests{run="run",target="memory answering after 10ms"} 2000
    # HELP alpha_bench_errors Failed requests by class.
    # TYPE alpha_bench_errors gauge
    "##);
}

#[tokio::test(start_paused = true)]
async fn the_page_needs_nothing_else_and_lets_no_name_break_out() {
    let mut report = report().await;
    report.name = Some("<script>alert(1)</script>".to_owned());
    let page = render(&report, Format::Html, &English);
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("src="));
    assert_eq!(
        page.matches("role=\"img\"").count(),
        5,
        "a chart each: percentiles, latency, rate, failures, lag"
    );
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("@media print"));
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_run_can_be_rendered_in_every_format() {
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    let load = LoadTest::new(Config::default(), FixedLatency::new(Duration::from_millis(1))).with_stop(stop);
    let report = load.run_in_place().await.unwrap();
    assert_eq!(report.requests, 0);
    for format in [
        Format::Text,
        Format::Markdown,
        Format::Html,
        Format::Csv,
        Format::Junit,
        Format::Hgrm,
        Format::Prometheus,
    ] {
        let rendered = render(&report, format, &English);
        assert!(!rendered.contains("NaN"), "{format:?}: {rendered}");
    }
    assert_eq!(BenchReport::from_json(&report.to_json()).unwrap(), report);
}

#[tokio::test(start_paused = true)]
async fn one_baseline_of_another_time_is_not_comparable_and_a_limit_of_its_own_is_judged_all_the_same() {
    let report = report().await;
    let rules = ["response time +50 %", "errors > 5 %"].map(|rule| rule.parse().unwrap());
    let comparison = compare(std::slice::from_ref(&report), &report, &rules, 1);
    insta::assert_snapshot!(render_comparison(&comparison, &English), @r##"
    not comparable: 1 baselines say too little about how much runs differ; at least 5 are needed unless both sides run interleaved (judged by how much runs of the baseline differ)
      p95 +50 %: not comparable: 1 baselines say too little about how much runs differ; at least 5 are needed unless both sides run interleaved
      errors > 5%: safe, 1% (0.612% – 1.54%)
    "##);
    let five = vec![report.clone(); 5];
    insta::assert_snapshot!(render_comparison(&compare(&five, &report, &rules, 1), &English), @r##"
    safe (judged by how much runs of the baseline differ)
      p95 +50 %: safe, +0.0 % (+0.0 % – +0.0 %)
      errors > 5%: safe, 1% (0.612% – 1.54%)
    "##);
}
