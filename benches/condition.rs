//! Conditions: how long reading one takes, and how long asking one of an observation takes.
//!
//! Ten thousand checks every ten seconds leave a millisecond a check for everything; a condition should be lost in it.

use alpha_probes::condition::{Condition, Evidence, Quantifier, Series};
use alpha_probes::{Body, Labels, Observation, Unit};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::hint::black_box;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// A value every ten seconds for a day.
#[derive(Debug)]
struct Day(Vec<(Timestamp, f64)>);

impl Series for Day {
    fn points(&self, _: &str, _: &Labels, since: Timestamp, out: &mut Vec<(Timestamp, f64)>) {
        let start = self.0.partition_point(|(at, _)| *at < since);
        out.extend_from_slice(&self.0[start..]);
    }
}

fn observation() -> Observation {
    let mut observation = Observation::new()
        .with("status", 200.0, Unit::Count)
        .with("connected", 1.0, Unit::Boolean)
        .with("response_time", 0.123, Unit::Seconds)
        .with("certificate_expiration", 5_000_000.0, Unit::Seconds)
        .with("requests", 123_456.0, Unit::Count);
    for mount in ["/", "/boot", "/data", "/home", "/var", "/srv", "/opt", "/tmp"] {
        observation.push(
            "used",
            0.42,
            Unit::Ratio,
            vec![("mount".into(), mount.to_owned())],
        );
    }
    observation.body = Some(Body::Json(
        json!({ "status": "healthy", "data": [{ "id": 1 }, { "id": 2 }] }),
    ));
    observation
}

const CASES: &[(&str, &str, Quantifier)] = &[
    ("status", "[STATUS] == 200", Quantifier::All),
    (
        "joined",
        "[STATUS] < 300 && [RESPONSE_TIME] < 500ms && [CERTIFICATE_EXPIRATION] > 48h",
        Quantifier::All,
    ),
    ("body", "[BODY].status == healthy", Quantifier::All),
    ("pattern", "[BODY].status == pat(heal*)", Quantifier::All),
    ("eight series", "[used] > 80%", Quantifier::Any),
    ("rate 5m", "rate([requests], 5m) > 1000/s", Quantifier::Any),
    ("p95 10m", "p95([response_time], 10m) > 500ms", Quantifier::Any),
    (
        "forecast 24h",
        "forecast([requests], 24h) > 1000000000",
        Quantifier::Any,
    ),
];

fn conditions(criterion: &mut Criterion) {
    let observation = observation();
    let past = Day((0..8640)
        .map(|tick| (NOW - SignedDuration::from_secs(10 * (8640 - tick)), tick as f64))
        .collect());
    let evidence = Evidence {
        observation: &observation,
        series: &past,
        now: NOW,
    };
    let mut parse = criterion.benchmark_group("condition/parse");
    for (name, source, _) in CASES {
        parse.bench_function(*name, |bencher| {
            bencher.iter(|| Condition::parse(black_box(source)))
        });
    }
    parse.finish();
    let mut evaluate = criterion.benchmark_group("condition/evaluate");
    for (name, source, quantifier) in CASES {
        let Ok(condition) = Condition::parse(source) else {
            continue;
        };
        evaluate.bench_function(*name, |bencher| {
            bencher.iter(|| black_box(&condition).evaluate(black_box(&evidence), *quantifier));
        });
    }
    evaluate.finish();
}

criterion_group!(benches, conditions);
criterion_main!(benches);
