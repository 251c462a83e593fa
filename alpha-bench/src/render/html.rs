//! The report as one HTML file that needs nothing else.

use std::fmt::Write as _;

use super::svg::{Chart, Line};
use super::{escape, text as words};
use crate::metric::{show_seconds, tidy};
use crate::report::BenchReport;
use crate::schedule::LoadModel;
use crate::text;
use crate::text::{Text, Translate};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2024;--dim:#6b7280;--line:#d9dde2;--page:#fff;--good:#1a7f37;--bad:#c62828;\
--l0:#1f6feb;--l1:#b35900;--l2:#7a3ec8;--l3:#1a7f37}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa4b0;--line:#343b44;--page:#14171a;--good:#4ac26b;\
--bad:#ff7b72;--l0:#6cb0ff;--l1:#f0a050;--l2:#c4a0ff;--l3:#4ac26b}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:48rem;margin:2rem auto;\
padding:0 1rem}h1{font-size:1.3rem;overflow-wrap:anywhere}h2{font-size:1rem;margin:1.6rem 0 .4rem}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}td,th{padding:.25rem .5rem;\
border-bottom:1px solid var(--line);text-align:right;font-weight:400}td:first-child,th:first-child{text-align:left}\
th{color:var(--dim)}.pass{color:var(--good)}.breach,.generator_saturated{color:var(--bad)}svg{width:100%;height:auto}\
svg text{font-size:11px;fill:var(--dim)}.grid{stroke:var(--line);fill:none}.line{fill:none;stroke-width:1.6;\
stroke-linejoin:round}.l0{stroke:var(--l0)}.l1{stroke:var(--l1);stroke-dasharray:6 3}.l2{stroke:var(--l2);\
stroke-dasharray:2 3}.l3{stroke:var(--l3);stroke-dasharray:9 3 2 3}.legend{margin:.2rem 0}.legend svg{width:24px;\
height:8px}.legend span{margin-right:1rem;color:var(--dim)}figure{margin:0;break-inside:avoid}\
.scroll{overflow-x:auto}@media print{body{margin:0;max-width:none}h2{break-after:avoid}}";

pub(super) fn report(report: &BenchReport, translations: &dyn Translate) -> String {
    let say = |text: Text| escape(&text.translate(translations));
    let title = report.name.clone().unwrap_or_else(|| report.target.clone());
    let mut out = format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{0}</title><style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n",
        escape(&title)
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<p>{} · {} · {}</p>",
        escape(&report.target),
        say(words::model(&report.model)),
        report.started_at
    );
    let _ = writeln!(
        out,
        "<p class=\"{}\"><strong>{}</strong></p>",
        report.verdict,
        say(words::headline(report))
    );
    let remarks = words::remarks(report);
    if !remarks.is_empty() {
        let items: String = remarks
            .into_iter()
            .map(|remark| format!("<li>{}</li>", say(remark)))
            .collect();
        let _ = writeln!(out, "<ul>{items}</ul>");
    }
    let heading = |cells: &[String]| {
        format!(
            "<tr>{}</tr>",
            cells.iter().map(|c| format!("<th>{c}</th>")).collect::<String>()
        )
    };
    let row = |cells: &[String]| {
        format!(
            "<tr>{}</tr>",
            cells.iter().map(|c| format!("<td>{c}</td>")).collect::<String>()
        )
    };
    let table = |head: Vec<String>, rows: Vec<Vec<String>>| {
        let body: String = rows.iter().map(|cells| row(cells)).collect();
        format!(
            "<div class=\"scroll\"><table>{}{body}</table></div>\n",
            heading(&head)
        )
    };
    if !report.thresholds.is_empty() {
        let rows = words::thresholds(report)
            .into_iter()
            .map(|(threshold, value, verdict)| vec![escape(&threshold), escape(&value), say(verdict)])
            .collect();
        out.push_str(&table(
            [text!("threshold"), text!("measured"), text!("verdict")]
                .map(say)
                .to_vec(),
            rows,
        ));
    }
    let rows = words::latencies(report)
        .into_iter()
        .map(|(title, latency)| [vec![say(title)], words::cells(&latency).to_vec()].concat())
        .collect();
    out.push_str(&table(
        [vec![String::new()], words::COLUMNS.map(str::to_owned).to_vec()].concat(),
        rows,
    ));
    if report.per_request.len() > 1 {
        let rows = report
            .per_request
            .iter()
            .map(|request| {
                vec![
                    escape(&request.name),
                    request.requests.to_string(),
                    format!("{} %", tidy(request.success_ratio * 100.0)),
                    show_seconds(request.latency_seconds.mean),
                    show_seconds(request.latency_seconds.p95),
                ]
            })
            .collect();
        let head = [text!("request"), text!("count"), text!("success")].map(say);
        out.push_str(&table(
            [head.to_vec(), vec!["mean".to_owned(), "p95".to_owned()]].concat(),
            rows,
        ));
    }
    for chart in charts(report, translations) {
        let svg = chart.to_svg();
        if !svg.is_empty() {
            let _ = writeln!(out, "<figure><h2>{}</h2>\n{svg}</figure>", escape(&chart.title));
        }
    }
    out.push_str("</body></html>\n");
    out
}

fn charts(report: &BenchReport, translations: &dyn Translate) -> Vec<Chart<'static>> {
    let say = |text: Text| text.translate(translations);
    let windows = &report.series.windows;
    let length = report.series.window_seconds as f64;
    let over_time = |label: String, value: &dyn Fn(usize) -> f64| Line {
        label,
        points: windows
            .iter()
            .enumerate()
            .map(|(n, window)| (window.start_seconds as f64, value(n)))
            .collect(),
    };
    let quantile =
        |quantile: f64| move |n: usize| windows[n].response_nanoseconds.quantile(quantile).as_secs_f64();
    let seconds = || say(text!("seconds"));
    let count: &'static dyn Fn(f64) -> String = &tidy;
    let duration: &'static dyn Fn(f64) -> String = &show_seconds;
    let mut charts = vec![percentile_curve(report, translations)];
    charts.push(Chart {
        title: say(text!("Response time over time")),
        x_label: seconds(),
        lines: vec![
            over_time("p50".to_owned(), &quantile(0.5)),
            over_time("p90".to_owned(), &quantile(0.9)),
            over_time("p99".to_owned(), &quantile(0.99)),
        ],
        x_marks: None,
        show: duration,
    });
    let mut rates = vec![over_time(say(text!("achieved")), &|n| {
        windows[n].requests as f64 / length
    })];
    if report.offered.len() == windows.len() {
        rates.push(over_time(say(text!("offered")), &|n| report.offered[n] / length));
    }
    charts.push(Chart {
        title: say(text!("Requests a second")),
        x_label: seconds(),
        lines: rates,
        x_marks: None,
        show: count,
    });
    if report.errors.total() > 0 {
        charts.push(Chart {
            title: say(text!("Failures a second")),
            x_label: seconds(),
            lines: vec![over_time(say(text!("failures")), &|n| {
                windows[n].failures as f64 / length
            })],
            x_marks: None,
            show: count,
        });
    }
    if matches!(report.model, LoadModel::Open(_)) {
        charts.push(Chart {
            title: say(text!("The generator's own lag, p99")),
            x_label: seconds(),
            lines: vec![over_time(say(text!("generator lag")), &|n| {
                windows[n].lag_p99_seconds
            })],
            x_marks: None,
            show: duration,
        });
    }
    charts
}

/// Latency against the share of requests on a logarithmic scale, which gives each nine of the tail the same room.
fn percentile_curve(report: &BenchReport, translations: &dyn Translate) -> Chart<'static> {
    let say = |text: Text| text.translate(translations);
    let curve = |label: Text, buckets: &crate::histogram::Buckets| {
        let total = buckets.len() as f64;
        let mut seen = 0.0;
        let points = buckets.0.iter().map(|(latency, count)| {
            let beyond = 1.0 - seen / total;
            seen += *count as f64;
            (-beyond.log10(), *latency as f64 / 1e9)
        });
        Line {
            label: say(label),
            points: points.collect(),
        }
    };
    let nines = [
        (0.5, "p50"),
        (0.9, "p90"),
        (0.99, "p99"),
        (0.999, "p99.9"),
        (0.9999, "p99.99"),
        (0.99999, "p99.999"),
    ];
    let total = report.histograms.response.len().max(1) as f64;
    let marks = nines.into_iter().filter(|(share, _)| 1.0 - share >= 1.0 / total);
    Chart {
        title: say(text!("Response and service time by percentile")),
        x_label: String::new(),
        lines: vec![
            curve(text!("response"), &report.histograms.response),
            curve(text!("service"), &report.histograms.service),
        ],
        x_marks: Some(
            marks
                .map(|(share, name)| (-(1.0_f64 - share).log10(), name.to_owned()))
                .collect(),
        ),
        show: &show_seconds,
    }
}
