//! Everything observed as Prometheus text, and as JSON.
//!
//! What a kind of probe declares is `alpha_<kind>_<metric>_<unit>`, with base units and `_total` for counters:
//! `alpha_filesystem_used_ratio{check="disk",mount="/"} 0.41`. What a target or a user named is in
//! `alpha_<kind>_measurement_<unit>` with that name as the label `measurement`, so that no name can clash with another,
//! break the rules for names, or be a counter in one check and a gauge in the next.
//!
//! The writer is our own and not that of the crate `prometheus-client`: that one renders metrics registered once and
//! updated since, whereas a report names other measurements and labels each time; and it writes OpenMetrics, whose
//! rules for units and infos the common checkers of the Prometheus text format do not know.
//!
//! See <https://prometheus.io/docs/instrumenting/exposition_formats/> for the format and
//! <https://prometheus.io/docs/practices/naming/> for the names.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

use jiff::Timestamp;

use crate::observation::{Labels, Measurement, Unit};
use crate::probe::{Metric, ProbeKind, Shape, kinds};
use crate::report::{CheckReport, SuiteReport};
use crate::status::Status;

/// The media type of [`prometheus`].
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels that Alpha or the format gives a meaning; one of that name from outside becomes `exported_...`.
const RESERVED: [&str; 4] = ["check", "measurement", "le", "quantile"];

/// The report as Prometheus text.
pub fn prometheus(report: &SuiteReport) -> String {
    let mut out = String::new();
    write_prometheus(report, &mut out);
    out
}

/// Appends the report as Prometheus text to `out`, which may be a buffer used before.
pub fn write_prometheus(report: &SuiteReport, out: &mut String) {
    let measurements: usize = report.checks.iter().map(|check| check.measurements.len()).sum();
    out.reserve(4096 + 800 * report.checks.len() + 100 * measurements);
    write_suite(report, out);
    write_checks(report, out);
    write_measurements(report, out);
}

/// The report as one JSON object; numbers that JSON does not have are null.
pub fn json(report: &SuiteReport) -> String {
    // Only a map with keys that are no strings, or a failing writer, could make this fail.
    serde_json::to_string(report).unwrap_or_else(|error| unreachable!("a report is plain data: {error}"))
}

fn write_suite(report: &SuiteReport, out: &mut String) {
    header(
        "alpha_suite_status",
        "gauge",
        "1 for the worst status of all checks",
        out,
    );
    for status in Status::ALL {
        let _ = write!(out, "alpha_suite_status{{status=\"{status}\"}} ");
        number(f64::from(u8::from(status == report.verdict)), out);
    }
    let name = "alpha_suite_started_timestamp_seconds";
    header(name, "gauge", "When the last run of all checks began", out);
    out.push_str(name);
    out.push(' ');
    number(unix_seconds(report.started_at), out);
    let name = "alpha_suite_duration_seconds";
    header(name, "gauge", "How long the last run of all checks took", out);
    out.push_str(name);
    out.push(' ');
    number(report.elapsed.as_secs_f64(), out);
}

fn write_checks(report: &SuiteReport, out: &mut String) {
    header(
        "alpha_check_status",
        "gauge",
        "1 for the status that the check ended with",
        out,
    );
    for check in &report.checks {
        for status in Status::ALL {
            out.push_str("alpha_check_status{check=\"");
            out.push_str(check.name.as_str());
            out.push_str("\",status=\"");
            out.push_str(status.as_str());
            out.push_str(if status == check.status {
                "\"} 1\n"
            } else {
                "\"} 0\n"
            });
        }
    }
    let name = "alpha_check_info";
    header(
        name,
        "gauge",
        "The kind of the check's probe, and where to read what to do",
        out,
    );
    for check in &report.checks {
        out.push_str("alpha_check_info{check=\"");
        out.push_str(check.name.as_str());
        out.push_str("\",kind=\"");
        escape(check.kind, out);
        out.push_str("\",runbook=\"");
        escape(&check.runbook, out);
        out.push_str("\"} 1\n");
    }
    type Value = fn(&CheckReport) -> Option<f64>;
    let columns: [(&str, &str, Value); 5] = [
        (
            "alpha_check_last_run_timestamp_seconds",
            "When the probe was asked last",
            |check| Some(unix_seconds(check.observed_at)),
        ),
        (
            "alpha_check_duration_seconds",
            "How long the probe took",
            |check| Some(check.elapsed.as_secs_f64()),
        ),
        (
            "alpha_check_status_since_timestamp_seconds",
            "Since when the status is what it is",
            |check| check.since.map(unix_seconds),
        ),
        (
            "alpha_check_suppressed",
            "Whether another failing check explains this one",
            |check| Some(f64::from(u8::from(check.suppressed_by.is_some()))),
        ),
        (
            "alpha_check_flapping",
            "Whether the status changes so often that each change means little",
            |check| Some(f64::from(u8::from(check.flapping))),
        ),
    ];
    for (name, help, value) in columns {
        header(name, "gauge", help, out);
        for check in &report.checks {
            if let Some(value) = value(check) {
                out.push_str(name);
                out.push_str("{check=\"");
                out.push_str(check.name.as_str());
                out.push_str("\"} ");
                number(value, out);
            }
        }
    }
}

/// All samples of one name; the format wants them together.
#[derive(Debug)]
struct Family<'a> {
    name: String,
    shape: Shape,
    help: Cow<'static, str>,
    /// Whether the name of the measurement is a label.
    is_open: bool,
    samples: Vec<(&'a CheckReport, &'a Measurement)>,
}

fn write_measurements(report: &SuiteReport, out: &mut String) {
    let kinds: HashMap<&str, &ProbeKind> = kinds().into_iter().map(|kind| (kind.name, kind)).collect();
    let mut families: Vec<Family<'_>> = Vec::new();
    // By what a measurement is, which is looked up for each, and by what its family is called, for each new one.
    let mut by_measurement: HashMap<(&str, &str, Unit), usize> = HashMap::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for check in &report.checks {
        let kind = kinds.get(check.kind).copied();
        for measurement in &check.measurements {
            let key = (check.kind, &*measurement.name, measurement.unit);
            let index = *by_measurement.entry(key).or_insert_with(|| {
                let declared = kind.and_then(|kind| declared(kind, measurement));
                let wanted = match declared {
                    Some(metric) => Family::declared(check.kind, metric),
                    None => Family::open(check.kind, measurement.unit),
                };
                *by_name.entry(wanted.name.clone()).or_insert_with(|| {
                    families.push(wanted);
                    families.len() - 1
                })
            });
            families[index].samples.push((check, measurement));
        }
    }
    families.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let mut seen = Seen::default();
    for family in &families {
        let shape = match family.shape {
            Shape::Gauge => "gauge",
            Shape::Counter => "counter",
        };
        header(&family.name, shape, &family.help, out);
        for (index, (check, measurement)) in family.samples.iter().enumerate() {
            let start = out.len();
            out.push_str(&family.name);
            out.push_str("{check=\"");
            out.push_str(check.name.as_str());
            if family.is_open {
                out.push_str("\",measurement=\"");
                escape(&measurement.name, out);
            }
            out.push('"');
            labels(&measurement.labels, out);
            out.push_str("} ");
            let has_neighbour = |other: Option<&(&CheckReport, &Measurement)>| {
                other.is_some_and(|(other, _)| std::ptr::eq(*other, *check))
            };
            let is_first = !has_neighbour(index.checked_sub(1).and_then(|index| family.samples.get(index)));
            if is_first {
                seen.clear();
            }
            // One scrape may hold each series once; a second value of the same would make Prometheus refuse the page.
            if (!is_first || has_neighbour(family.samples.get(index + 1))) && !seen.is_new(&out[start..]) {
                out.truncate(start);
                continue;
            }
            number(measurement.value, out);
        }
    }
}

/// The series of one check and family that were written, by their hash.
#[derive(Debug, Default)]
struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Seen {
    fn clear(&mut self) {
        self.hashes.clear();
    }

    fn is_new(&mut self, series: &str) -> bool {
        self.hashes.insert(self.hasher.hash_one(series))
    }
}

impl Family<'_> {
    fn declared(kind: &str, metric: &Metric) -> Self {
        Self {
            name: declared_name(kind, metric),
            shape: metric.shape,
            help: match metric.help {
                "" => format!("{} of the probe {kind}", metric.name).into(),
                help => help.into(),
            },
            is_open: false,
            samples: Vec::new(),
        }
    }

    fn open(kind: &str, unit: Unit) -> Self {
        Self {
            name: format!("alpha_{}_measurement{}", identifier(kind), suffix(unit)),
            shape: Shape::Gauge,
            help: format!("What the probe {kind} measured under a name that its target or its user chose")
                .into(),
            is_open: true,
            samples: Vec::new(),
        }
    }
}

/// What the kind declares about the measurement, where that is what was measured.
fn declared(kind: &'static ProbeKind, measurement: &Measurement) -> Option<&'static Metric> {
    let metric = kind
        .metrics
        .iter()
        .find(|metric| metric.name == measurement.name)?;
    (metric.unit == measurement.unit).then_some(metric)
}

/// The full name of a declared metric: `alpha_http_response_time_seconds`, `alpha_network_io_received_bytes_total`.
pub fn declared_name(kind: &str, metric: &Metric) -> String {
    let suffix = suffix(metric.unit);
    let mut name = format!("alpha_{}_{}", identifier(kind), identifier(metric.name));
    let is_counter = metric.shape == Shape::Counter;
    if is_counter && let Some(stem) = name.strip_suffix("_total") {
        name.truncate(stem.len());
    }
    if !name.ends_with(suffix) {
        name.push_str(suffix);
    }
    if is_counter {
        name.push_str("_total");
    } else if ["_count", "_sum", "_bucket"]
        .iter()
        .any(|reserved| name.ends_with(reserved))
    {
        // Prometheus keeps these endings for the parts of histograms and summaries.
        name.push_str("_value");
    }
    name
}

fn suffix(unit: Unit) -> &'static str {
    match unit {
        Unit::Count | Unit::Boolean => "",
        Unit::Ratio => "_ratio",
        Unit::Seconds => "_seconds",
        Unit::Bytes => "_bytes",
        Unit::PerSecond => "_per_second",
        Unit::BytesPerSecond => "_bytes_per_second",
        Unit::UnixSeconds => "_timestamp_seconds",
    }
}

/// A name as Prometheus takes it everywhere: letters, digits and `_`, no digit first.
///
/// Others are written by Prometheus' own escape for them, which no two names share: `U__` and then each character that
/// is not allowed as its code in hexadecimal between two `_`, and `_` doubled.
fn identifier(name: &str) -> Cow<'_, str> {
    let is_allowed = |index: usize, byte: u8| match byte {
        b'_' => true,
        b'0'..=b'9' => index > 0,
        _ => byte.is_ascii_alphabetic(),
    };
    let is_plain = !name.is_empty()
        && !name.starts_with("__")
        && !name.starts_with("U__")
        && name
            .bytes()
            .enumerate()
            .all(|(index, byte)| is_allowed(index, byte));
    if is_plain {
        return Cow::Borrowed(name);
    }
    let mut escaped = "U__".to_owned();
    for (index, character) in name.chars().enumerate() {
        match character {
            '_' => escaped.push_str("__"),
            _ if u8::try_from(character).is_ok_and(|byte| is_allowed(index, byte)) => escaped.push(character),
            _ => {
                let _ = write!(escaped, "_{:x}_", u32::from(character));
            }
        }
    }
    Cow::Owned(escaped)
}

fn header(name: &str, shape: &str, help: &str, out: &mut String) {
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    for character in help.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            _ => out.push(character),
        }
    }
    out.push_str("\n# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(shape);
    out.push('\n');
}

/// Labels after the first, each name once.
fn labels(labels: &Labels, out: &mut String) {
    let mut used: Vec<Cow<'_, str>> = Vec::with_capacity(labels.len());
    for (name, value) in labels {
        let mut name = identifier(name);
        while RESERVED.contains(&&*name) || used.contains(&name) {
            name = format!("exported_{name}").into();
        }
        out.push(',');
        out.push_str(&name);
        out.push_str("=\"");
        escape(value, out);
        out.push('"');
        used.push(name);
    }
}

fn escape(value: &str, out: &mut String) {
    let mut rest = value;
    while let Some(index) = rest.find(['\\', '"', '\n']) {
        out.push_str(&rest[..index]);
        out.push_str(match rest.as_bytes()[index] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[index + 1..];
    }
    out.push_str(rest);
}

/// A value and the end of its line.
fn number(value: f64, out: &mut String) {
    // Debug is the shortest form that reads back the same, with an exponent where the number is very long.
    let _ = if value.is_nan() {
        writeln!(out, "NaN")
    } else if value.is_infinite() {
        writeln!(out, "{}Inf", if value > 0.0 { '+' } else { '-' })
    } else if value.fract() == 0.0 && value.abs() < 1e15 {
        writeln!(out, "{}", value as i64)
    } else {
        writeln!(out, "{value:?}")
    };
}

fn unix_seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn report(checks: Vec<CheckReport>) -> SuiteReport {
        SuiteReport {
            verdict: Status::Critical,
            started_at: Timestamp::from_second(1_780_000_000).unwrap(),
            elapsed: Duration::from_millis(1500),
            checks,
        }
    }

    fn check(name: &str, kind: &'static str, measurements: Vec<Measurement>) -> CheckReport {
        CheckReport {
            name: name.parse().unwrap(),
            kind,
            status: Status::Critical,
            reason: crate::text!("because"),
            value: None,
            limit: None,
            remedy: None,
            since: None,
            observed_at: Timestamp::from_millisecond(1_780_000_000_250).unwrap(),
            elapsed: Duration::from_millis(250),
            measurements,
            facts: Default::default(),
            runbook: format!("docs/runbooks/{kind}.md").into(),
            suppressed_by: None,
            flapping: true,
        }
    }

    fn measurement(
        name: &'static str,
        value: f64,
        unit: Unit,
        labels: &[(&'static str, &str)],
    ) -> Measurement {
        Measurement {
            name: name.into(),
            value,
            unit,
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).to_owned()))
                .collect(),
        }
    }

    /// The lines about measurements.
    fn measured(checks: Vec<CheckReport>) -> String {
        let mut out = String::new();
        write_measurements(&report(checks), &mut out);
        out
    }

    #[test]
    fn a_report_is_written_whole() {
        let text = prometheus(&report(vec![check(
            "web",
            "scripted",
            vec![measurement("up", 1.0, Unit::Boolean, &[])],
        )]));
        insta::assert_snapshot!(text, @r#"
        # HELP alpha_suite_status 1 for the worst status of all checks
        # TYPE alpha_suite_status gauge
        alpha_suite_status{status="ok"} 0
        alpha_suite_status{status="warning"} 0
        alpha_suite_status{status="unknown"} 0
        alpha_suite_status{status="critical"} 1
        # HELP alpha_suite_started_timestamp_seconds When the last run of all checks began
        # TYPE alpha_suite_started_timestamp_seconds gauge
        alpha_suite_started_timestamp_seconds 1780000000
        # HELP alpha_suite_duration_seconds How long the last run of all checks took
        # TYPE alpha_suite_duration_seconds gauge
        alpha_suite_duration_seconds 1.5
        # HELP alpha_check_status 1 for the status that the check ended with
        # TYPE alpha_check_status gauge
        alpha_check_status{check="web",status="ok"} 0
        alpha_check_status{check="web",status="warning"} 0
        alpha_check_status{check="web",status="unknown"} 0
        alpha_check_status{check="web",status="critical"} 1
        # HELP alpha_check_info The kind of the check's probe, and where to read what to do
        # TYPE alpha_check_info gauge
        alpha_check_info{check="web",kind="scripted",runbook="docs/runbooks/scripted.md"} 1
        # HELP alpha_check_last_run_timestamp_seconds When the probe was asked last
        # TYPE alpha_check_last_run_timestamp_seconds gauge
        alpha_check_last_run_timestamp_seconds{check="web"} 1780000000.25
        # HELP alpha_check_duration_seconds How long the probe took
        # TYPE alpha_check_duration_seconds gauge
        alpha_check_duration_seconds{check="web"} 0.25
        # HELP alpha_check_status_since_timestamp_seconds Since when the status is what it is
        # TYPE alpha_check_status_since_timestamp_seconds gauge
        # HELP alpha_check_suppressed Whether another failing check explains this one
        # TYPE alpha_check_suppressed gauge
        alpha_check_suppressed{check="web"} 0
        # HELP alpha_check_flapping Whether the status changes so often that each change means little
        # TYPE alpha_check_flapping gauge
        alpha_check_flapping{check="web"} 1
        # HELP alpha_scripted_measurement What the probe scripted measured under a name that its target or its user chose
        # TYPE alpha_scripted_measurement gauge
        alpha_scripted_measurement{check="web",measurement="up"} 1
        "#);
    }

    #[test]
    fn samples_of_a_name_stand_together_and_a_series_stands_once() {
        let reading = |value| measurement("used", value, Unit::Ratio, &[("mount", "/")]);
        let text = measured(vec![
            check(
                "a",
                "scripted",
                vec![
                    reading(0.25),
                    measurement("x", 1e300, Unit::Bytes, &[]),
                    reading(0.5),
                ],
            ),
            check("b", "scripted", vec![reading(f64::INFINITY)]),
        ]);
        insta::assert_snapshot!(text, @r#"
        # HELP alpha_scripted_measurement_bytes What the probe scripted measured under a name that its target or its user chose
        # TYPE alpha_scripted_measurement_bytes gauge
        alpha_scripted_measurement_bytes{check="a",measurement="x"} 1e300
        # HELP alpha_scripted_measurement_ratio What the probe scripted measured under a name that its target or its user chose
        # TYPE alpha_scripted_measurement_ratio gauge
        alpha_scripted_measurement_ratio{check="a",measurement="used",mount="/"} 0.25
        alpha_scripted_measurement_ratio{check="b",measurement="used",mount="/"} +Inf
        "#);
    }

    #[test]
    fn labels_from_outside_can_neither_break_nor_shadow_anything() {
        let labels = [
            ("check", "a"),
            ("exported_check", "b"),
            ("le", "1"),
            ("a-b", "c"),
            ("a_b", "d"),
            ("__name__", "e"),
            ("数", "\"\\\n"),
            ("", "f"),
            ("9", "g"),
        ];
        let text = measured(vec![check(
            "a",
            "scripted",
            vec![measurement("odd \"name\"\n", f64::NAN, Unit::Count, &labels)],
        )]);
        insta::assert_snapshot!(text.lines().last().unwrap(), @r##"alpha_scripted_measurement{check="a",measurement="odd \"name\"\n",exported_check="a",exported_exported_check="b",exported_le="1",U__a_2d_b="c",a_b="d",U______name____="e",U___6570_="\"\\\n",U__="f",U___39_="g"} NaN"##);
    }

    #[test]
    fn numbers_are_read_back_as_they_were() {
        for value in [0.0, -1.0, 0.1, 1e15, 1e-7, 123_456.789, f64::MAX, 5e-324] {
            let mut text = String::new();
            number(value, &mut text);
            assert_eq!(text.trim_end().parse::<f64>().unwrap(), value, "{text}");
        }
    }

    #[test]
    fn every_declared_metric_of_this_build_has_a_name_of_its_own() {
        let mut names = HashMap::new();
        for kind in kinds() {
            for metric in kind.metrics {
                let name = declared_name(kind.name, metric);
                let whose = format!("{}.{}", kind.name, metric.name);
                if let Some(other) = names.insert(name.clone(), whose.clone()) {
                    panic!("{other} and {whose} are both {name}");
                }
                assert!(!metric.help.is_empty(), "{whose} does not say what it is");
                let open = Family::open(kind.name, metric.unit).name;
                assert_ne!(name, open, "{whose}");
            }
        }
    }

    #[test]
    fn units_and_counters_end_a_name_once() {
        for (metric, expected) in [
            (
                Metric::gauge("response_time", Unit::Seconds, ""),
                "alpha_http_response_time_seconds",
            ),
            (
                Metric::counter("sent", Unit::Bytes, ""),
                "alpha_http_sent_bytes_total",
            ),
            (
                Metric::counter("sent_bytes_total", Unit::Bytes, ""),
                "alpha_http_sent_bytes_total",
            ),
            (
                Metric::counter("requests_total", Unit::Count, ""),
                "alpha_http_requests_total",
            ),
            (
                Metric::gauge("reads_per_second", Unit::PerSecond, ""),
                "alpha_http_reads_per_second",
            ),
            (
                Metric::gauge("expires", Unit::UnixSeconds, ""),
                "alpha_http_expires_timestamp_seconds",
            ),
        ] {
            assert_eq!(declared_name("http", &metric), expected);
        }
    }

    #[test]
    fn json_is_the_report() {
        let text = json(&report(vec![check(
            "web",
            "http",
            vec![measurement("x", f64::NAN, Unit::Count, &[])],
        )]));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["checks"][0]["name"], "web");
        assert_eq!(
            value["checks"][0]["measurements"][0]["value"],
            serde_json::Value::Null
        );
    }

    proptest! {
        #[test]
        fn no_two_names_are_written_alike(one in "\\PC{0,8}", other in "[U_x0-9a-]{0,8}") {
            for (one, other) in [(&one, &other), (&other, &format!("{other}_"))] {
                prop_assert_eq!(one == other, identifier(one) == identifier(other));
            }
            let written = identifier(&one);
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            prop_assert!(!written.starts_with(|first: char| first.is_ascii_digit()) && !written.is_empty());
        }
    }
}
