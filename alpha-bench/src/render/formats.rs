//! Reports for other programs.

use std::fmt::Write as _;

use super::escape;
use crate::histogram::Precision;
use crate::report::{BenchReport, Latency};
use crate::threshold::Verdict;

pub(super) fn csv(report: &BenchReport) -> String {
    let mut out = String::from(
        "start_seconds,offered,requests,failures,p50_seconds,p90_seconds,p99_seconds,max_seconds,lag_p99_seconds\n",
    );
    for (index, window) in report.series.windows.iter().enumerate() {
        let seconds = |quantile| window.response_nanoseconds.quantile(quantile).as_secs_f64();
        let offered = report
            .offered
            .get(index)
            .map_or_else(String::new, ToString::to_string);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{},{offered},{},{},{},{},{},{},{}",
            window.start_seconds,
            window.requests,
            window.failures,
            seconds(0.5),
            seconds(0.9),
            seconds(0.99),
            seconds(1.0),
            window.lag_p99_seconds
        );
    }
    out
}

pub(super) fn junit(report: &BenchReport) -> String {
    let suite = escape(report.name.as_deref().unwrap_or(&report.target));
    let mut cases = Vec::new();
    let mut case = |name: &str, verdict: Verdict, message: &str| {
        let (name, message) = (escape(name), escape(message));
        let body = match verdict {
            Verdict::Pass => String::new(),
            Verdict::Breach => format!("<failure message=\"{message}\"/>"),
            // Neither passed nor failed: a pipeline that only looks for failures must not take it for a success.
            Verdict::Undecided | Verdict::GeneratorSaturated => format!("<error message=\"{message}\"/>"),
        };
        cases.push((
            verdict,
            format!("    <testcase classname=\"{suite}\" name=\"{name}\">{body}</testcase>\n"),
        ));
    };
    let findings = report
        .findings
        .iter()
        .map(|finding| finding.to_text().to_string())
        .collect::<Vec<_>>()
        .join("; ");
    case("measurement", report_verdict(report), &findings);
    for outcome in &report.thresholds {
        let unit = outcome.threshold.metric.unit();
        let message = format!(
            "measured {} ({} to {})",
            unit.show(outcome.value),
            unit.show(outcome.low),
            unit.show(outcome.high)
        );
        case(&outcome.threshold.to_string(), outcome.verdict, &message);
    }
    let count = |wanted: &[Verdict]| {
        cases
            .iter()
            .filter(|(verdict, _)| wanted.contains(verdict))
            .count()
    };
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        out,
        "  <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{:.3}\" timestamp=\"{}\">",
        cases.len(),
        count(&[Verdict::Breach]),
        count(&[Verdict::Undecided, Verdict::GeneratorSaturated]),
        report.elapsed_seconds,
        report.started_at
    );
    cases.iter().for_each(|(_, case)| out.push_str(case));
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// The verdict on the run itself, whatever the thresholds say.
fn report_verdict(report: &BenchReport) -> Verdict {
    if report.findings.iter().any(crate::report::Finding::is_saturation) {
        Verdict::GeneratorSaturated
    } else if report.errors.total() == report.requests {
        Verdict::Breach
    } else {
        Verdict::Pass
    }
}

/// The format of HdrHistogram's `outputPercentileDistribution`, which its plotters read.
pub(super) fn hgrm(report: &BenchReport) -> String {
    let histogram = report.histograms.response.to_histogram(Precision::Full);
    let total = histogram.len();
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut seen = 0;
    for &(latency, count) in &report.histograms.response.0 {
        seen += count;
        let (milliseconds, share) = (latency as f64 / 1e6, seen as f64 / total as f64);
        let _ = if seen < total {
            writeln!(
                out,
                "{milliseconds:12.3} {share:2.12} {seen:10} {:14.2}",
                1.0 / (1.0 - share)
            )
        } else {
            writeln!(out, "{milliseconds:12.3} {share:2.12} {seen:10}")
        };
    }
    let ms = |seconds: f64| seconds * 1e3;
    let _ = writeln!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {total:12}]",
        ms(report.latency_seconds.mean),
        ms(histogram.standard_error() * (total as f64).sqrt()),
        ms(report.latency_seconds.max)
    );
    out
}

pub(super) fn prometheus(report: &BenchReport) -> String {
    let label = |value: &str| {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let name = label(report.name.as_deref().unwrap_or("run"));
    let labels = format!("run=\"{name}\",target=\"{}\"", label(&report.target));
    let mut out = String::new();
    let mut metric = |metric: &str, kind: &str, help: &str, values: Vec<(String, f64)>| {
        let _ = writeln!(
            out,
            "# HELP alpha_bench_{metric} {help}\n# TYPE alpha_bench_{metric} {kind}"
        );
        for (more, value) in values {
            let _ = writeln!(out, "alpha_bench_{metric}{{{labels}{more}}} {value}");
        }
    };
    let plain = |value: f64| vec![(String::new(), value)];
    let quantiles = |latency: &Latency| {
        let Latency {
            p50,
            p90,
            p95,
            p99,
            p99_9,
            ..
        } = *latency;
        [
            ("0.5", p50),
            ("0.9", p90),
            ("0.95", p95),
            ("0.99", p99),
            ("0.999", p99_9),
        ]
        .map(|(quantile, value)| (format!(",quantile=\"{quantile}\""), value))
        .to_vec()
    };
    metric(
        "started_timestamp_seconds",
        "gauge",
        "When the run began.",
        plain(report.started_at.as_second() as f64),
    );
    let verdicts = [
        Verdict::Pass,
        Verdict::Breach,
        Verdict::Undecided,
        Verdict::GeneratorSaturated,
    ];
    let is = |verdict: Verdict| {
        (
            format!(",verdict=\"{verdict}\""),
            f64::from(verdict == report.verdict),
        )
    };
    metric(
        "verdict",
        "gauge",
        "1 for the verdict of the run.",
        verdicts.map(is).to_vec(),
    );
    metric(
        "requests",
        "gauge",
        "Requests finished.",
        plain(report.requests as f64),
    );
    let errors = report
        .errors
        .iter()
        .map(|(class, count)| (format!(",class=\"{class}\""), count as f64))
        .collect();
    metric("errors", "gauge", "Failed requests by class.", errors);
    metric(
        "throughput_per_second",
        "gauge",
        "Requests finished a second.",
        plain(report.throughput_per_second),
    );
    metric(
        "offered_per_second",
        "gauge",
        "Requests meant to start a second.",
        plain(report.offered_per_second),
    );
    metric(
        "response_seconds",
        "gauge",
        "Response time from the intended start.",
        quantiles(&report.latency_seconds),
    );
    metric(
        "service_seconds",
        "gauge",
        "Response time from the real start.",
        quantiles(&report.service_seconds),
    );
    metric(
        "lag_seconds",
        "gauge",
        "The generator's own lag.",
        quantiles(&report.lag_seconds),
    );
    out
}
