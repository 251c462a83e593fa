//! Reports as plain text and as Markdown.

use std::fmt::Write as _;

use crate::compare::{Comparison, Judgement, Method};
use crate::metric::{show_seconds, tidy};
use crate::report::{BenchReport, Latency};
use crate::rule::RuleLimit;
use crate::schedule::{Arrivals, LoadModel};
use crate::text;
use crate::text::{Text, Translate};
use crate::threshold::Verdict;

/// The verdict as a word.
pub(super) fn verdict(verdict: Verdict) -> Text {
    match verdict {
        Verdict::Pass => text!("pass"),
        Verdict::Breach => text!("breach"),
        Verdict::Undecided => text!("undecided"),
        Verdict::GeneratorSaturated => text!("generator saturated"),
    }
}

/// The load as a phrase.
pub(super) fn model(model: &LoadModel) -> Text {
    match model {
        LoadModel::Closed(closed) => text!("{count} users, closed", count = closed.connections),
        LoadModel::Open(open) => match &open.arrivals {
            Arrivals::Constant(rate) => text!("{rate} requests a second, open", rate = tidy(*rate)),
            Arrivals::Stages(stages) => text!("{count} stages, open", count = stages.len()),
            Arrivals::Replay(replay) => {
                text!("a replay at {speed} times its speed", speed = tidy(replay.speed))
            }
        },
    }
}

/// One line: the verdict, what was done, the numbers most people want.
pub(super) fn headline(report: &BenchReport) -> Text {
    let seconds = report.measured_seconds;
    let precision = if seconds < 1.0 { 1000.0 } else { 10.0 };
    text!(
        "{verdict}: {requests} requests in {seconds} s, {throughput} a second, p95 {p95}, {errors} % failed",
        verdict = verdict(report.verdict),
        requests = report.requests,
        seconds = tidy((seconds * precision).round() / precision),
        throughput = tidy((report.throughput_per_second * 10.0).round() / 10.0),
        p95 = show_seconds(report.latency_seconds.p95),
        errors = tidy(report.error_ratio * 100.0)
    )
}

/// The rows of the latency table: title and numbers.
pub(super) fn latencies(report: &BenchReport) -> Vec<(Text, Latency)> {
    let mut rows = vec![
        (text!("response"), report.latency_seconds),
        (text!("service"), report.service_seconds),
    ];
    if matches!(report.model, LoadModel::Open(_)) {
        rows.push((text!("generator lag"), report.lag_seconds));
    }
    rows
}

pub(super) const COLUMNS: [&str; 7] = ["mean", "p50", "p90", "p95", "p99", "p99.9", "max"];

pub(super) fn cells(latency: &Latency) -> [String; 7] {
    let Latency {
        mean,
        p50,
        p90,
        p95,
        p99,
        p99_9,
        max,
    } = *latency;
    [mean, p50, p90, p95, p99, p99_9, max].map(show_seconds)
}

/// The sentences below the numbers: findings, and failures with an example.
pub(super) fn remarks(report: &BenchReport) -> Vec<Text> {
    let mut remarks: Vec<Text> = report
        .findings
        .iter()
        .map(crate::report::Finding::to_text)
        .collect();
    for (class, count) in report.errors.iter() {
        let count = count.to_string();
        remarks.push(match report.error_examples.get(&class) {
            Some(example) => text!(
                "{count} failed as {class}, the first with: {example}",
                count = count,
                class = class.as_str(),
                example = example
            ),
            None => text!("{count} failed as {class}", count = count, class = class.as_str()),
        });
    }
    remarks
}

pub(super) fn thresholds(report: &BenchReport) -> Vec<(String, String, Text)> {
    let row = |outcome: &crate::report::ThresholdOutcome| {
        let unit = outcome.threshold.metric.unit();
        let show = |value| match unit {
            crate::metric::Unit::Duration => show_seconds(value),
            unit => unit.show(value),
        };
        let value = if outcome.low == outcome.high {
            show(outcome.value)
        } else {
            format!(
                "{} ({} – {})",
                show(outcome.value),
                show(outcome.low),
                show(outcome.high)
            )
        };
        (outcome.threshold.to_string(), value, verdict(outcome.verdict))
    };
    report.thresholds.iter().map(row).collect()
}

pub(super) fn report(report: &BenchReport, translations: &dyn Translate) -> String {
    let say = |text: Text| text.translate(translations);
    let mut out = String::new();
    let title = report
        .name
        .clone()
        .map_or_else(String::new, |name| format!("{name}: "));
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{title}{} ({})", report.target, say(model(&report.model)));
    let _ = writeln!(out, "{}", say(headline(report)));
    let rows = latencies(report)
        .into_iter()
        .map(|(title, latency)| (say(title), cells(&latency)));
    let mut table = vec![(String::new(), COLUMNS.map(str::to_owned))];
    table.extend(rows);
    out.push_str(&aligned(
        table
            .into_iter()
            .map(|(title, cells)| [vec![title], cells.to_vec()].concat())
            .collect(),
    ));
    if report.per_request.len() > 1 {
        let heading = [
            say(text!("request")),
            say(text!("count")),
            say(text!("success")),
            "mean".into(),
            "p95".into(),
        ];
        let mut table = vec![heading.to_vec()];
        for request in &report.per_request {
            table.push(vec![
                request.name.clone(),
                request.requests.to_string(),
                format!("{} %", tidy(request.success_ratio * 100.0)),
                show_seconds(request.latency_seconds.mean),
                show_seconds(request.latency_seconds.p95),
            ]);
        }
        out.push_str(&aligned(table));
    }
    for (threshold, value, verdict) in thresholds(report) {
        let _ = writeln!(out, "{threshold}: {} ({value})", say(verdict));
    }
    for remark in remarks(report) {
        let _ = writeln!(out, "- {}", say(remark));
    }
    out
}

/// Columns of equal width, the first one flush left and the others flush right.
fn aligned(table: Vec<Vec<String>>) -> String {
    // Chinese characters take two columns of a terminal.
    let width = |cell: &str| {
        cell.chars()
            .map(|c| if c >= '\u{1100}' { 2 } else { 1 })
            .sum::<usize>()
    };
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            table
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| width(cell))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in table {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - width(cell));
            let (before, after) = if column == 0 {
                ("", padding.as_str())
            } else {
                (padding.as_str(), "")
            };
            line.push_str(&format!("  {before}{cell}{after}"));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

pub(super) fn markdown(report: &BenchReport, translations: &dyn Translate) -> String {
    let say = |text: Text| text.translate(translations);
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut out = format!("### {} ({})\n\n", cell(&report.target), say(model(&report.model)));
    let _ = writeln!(out, "**{}**\n", say(headline(report)));
    let _ = writeln!(
        out,
        "| | {} |\n|---|{}",
        COLUMNS.join(" | "),
        "--:|".repeat(COLUMNS.len())
    );
    for (title, latency) in latencies(report) {
        let _ = writeln!(out, "| {} | {} |", say(title), cells(&latency).join(" | "));
    }
    if report.per_request.len() > 1 {
        let heading = [text!("request"), text!("count"), text!("success")]
            .map(say)
            .join(" | ");
        let _ = writeln!(out, "\n| {heading} | mean | p95 |\n|---|--:|--:|--:|--:|");
        for request in &report.per_request {
            let _ = writeln!(
                out,
                "| {} | {} | {} % | {} | {} |",
                cell(&request.name),
                request.requests,
                tidy(request.success_ratio * 100.0),
                show_seconds(request.latency_seconds.mean),
                show_seconds(request.latency_seconds.p95)
            );
        }
    }
    if !report.thresholds.is_empty() {
        let heading = [text!("threshold"), text!("measured"), text!("verdict")]
            .map(say)
            .join(" | ");
        let _ = writeln!(out, "\n| {heading} |\n|---|--:|---|");
        for (threshold, value, verdict) in thresholds(report) {
            let _ = writeln!(out, "| `{threshold}` | {value} | {} |", say(verdict));
        }
    }
    let remarks = remarks(report);
    if !remarks.is_empty() {
        out.push('\n');
        for remark in remarks {
            let _ = writeln!(out, "- {}", cell(&say(remark)));
        }
    }
    out
}

/// The judgement as a word.
fn judgement(judgement: &Judgement) -> Text {
    match judgement {
        Judgement::Breach => text!("breach"),
        Judgement::Safe => text!("safe"),
        Judgement::Undecided => text!("undecided"),
        Judgement::NotComparable(reason) => text!("not comparable: {reason}", reason = reason.to_text()),
    }
}

pub(super) fn comparison(comparison: &Comparison, translations: &dyn Translate) -> String {
    let say = |text: Text| text.translate(translations);
    let method = match comparison.method {
        Method::Interleaved => text!("both sides ran interleaved"),
        Method::RunToRun => text!("judged by how much runs of the baseline differ"),
    };
    let mut out = format!("{} ({})\n", say(judgement(&comparison.judgement)), say(method));
    for rule in &comparison.rules {
        let unit = rule.rule.metric.unit();
        let show = |value: f64| match (rule.rule.limit, unit) {
            (RuleLimit::Ratio(_), _) => format!("{:+.1} %", (value - 1.0) * 100.0),
            (_, crate::metric::Unit::Duration) => show_seconds(value),
            (_, unit) => unit.show(value),
        };
        let _ = write!(out, "  {}: {}", rule.rule, say(judgement(&rule.judgement)));
        if !matches!(rule.judgement, Judgement::NotComparable(_)) {
            let _ = write!(
                out,
                ", {} ({} – {})",
                show(rule.value),
                show(rule.low),
                show(rule.high)
            );
        }
        out.push('\n');
    }
    out
}
