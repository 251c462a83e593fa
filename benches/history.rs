//! History: appending what a round of checks measured, rolling it up, and reading a day of it; a trend of the rest.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use alpha_probes::forecast::Trend;
use alpha_probes::histories::{MemoryHistory, SqliteHistory};
use alpha_probes::history::{History, Query, Resolution, Retention, Sample};
use alpha_probes::series::SeriesBuffer;
use alpha_probes::{CheckId, Labels, Measurement, Unit};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use tokio::runtime::Runtime;

const BEGIN: i64 = 1_800_000_000;

/// Samples of one round of checks, five measurements each.
const ROUND: usize = 1000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a year this side of 9999")
}

fn check(number: usize) -> CheckId {
    format!("check-{number}").parse().expect("a name")
}

fn round(second: i64) -> Vec<Sample> {
    let sample = |index: usize| Sample {
        check: check(index / 5),
        at: at(second),
        measurement: Measurement {
            name: ["used", "free", "size", "read", "written"][index % 5].into(),
            value: (index * 7919 % 1000) as f64 / 7.0,
            unit: Unit::Bytes,
            labels: vec![("mount".into(), "/data".to_owned())],
        },
    };
    (0..ROUND).map(sample).collect()
}

fn append(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = SqliteHistory::open(folder.path().join("history.db"), Retention::default());
    let sqlite: Box<dyn History> = Box::new(runtime.block_on(open).expect("a history"));
    let memory: Box<dyn History> = Box::new(MemoryHistory::default());
    let mut group = criterion.benchmark_group("history/append");
    group.throughput(Throughput::Elements(ROUND as u64));
    for (name, history) in [("sqlite", &sqlite), ("memory", &memory)] {
        let mut second = BEGIN;
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    second += 10;
                    round(second)
                },
                |batch| runtime.block_on(history.append(&batch)).expect("it is written"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn compact_and_read(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = SqliteHistory::open(folder.path().join("history.db"), Retention::default());
    let history = runtime.block_on(open).expect("a history");
    let second = Cell::new(BEGIN);
    let mut group = criterion.benchmark_group("history");
    group.sample_size(20);
    group.throughput(Throughput::Elements(6 * ROUND as u64));
    group.bench_function("compact a minute", |bencher| {
        bencher.iter_batched(
            || {
                for _ in 0..6 {
                    second.set(second.get() + 10);
                    let appended = runtime.block_on(history.append(&round(second.get())));
                    appended.expect("it is written");
                }
            },
            |()| {
                runtime
                    .block_on(history.compact(at(second.get())))
                    .expect("it is compacted")
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let query = Query::new(check(0), at(BEGIN), at(second.get() + 60), Resolution::Minute).of("used");
    criterion.bench_function("history/read minutes", |bencher| {
        bencher.iter(|| {
            runtime
                .block_on(history.points(black_box(&query)))
                .expect("it is read")
        });
    });
}

fn look_back(criterion: &mut Criterion) {
    let points: Vec<_> = (0..300)
        .map(|step| (at(BEGIN + 60 * step), (step * 7919 % 1000) as f64))
        .collect();
    criterion.bench_function("forecast/trend of 300 values", |bencher| {
        bencher.iter(|| Trend::of(black_box(&points)));
    });
    let labels = Labels::new();
    let mut buffer = SeriesBuffer::new([("used".to_owned(), Duration::from_secs(3600))]);
    let mut second = BEGIN;
    criterion.bench_function("series/push", |bencher| {
        bencher.iter(|| {
            second += 10;
            buffer.push(black_box("used"), &labels, at(second), 0.5);
        });
    });
}

criterion_group!(benches, append, compact_and_read, look_back);
criterion_main!(benches);
