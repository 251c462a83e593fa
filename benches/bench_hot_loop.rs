//! The pieces of the load generator that run for every request.

use std::hint::black_box;
use std::time::Duration;

use alpha_bench::{ArrivalSchedule, Arrivals, Histogram, Open, Precision, Spacing};
use criterion::{Criterion, criterion_group, criterion_main};

fn arrivals(criterion: &mut Criterion) {
    for spacing in [Spacing::Even, Spacing::Poisson] {
        let mut open = Open::new(Arrivals::Constant(100_000.0));
        open.spacing = spacing;
        let schedule =
            ArrivalSchedule::new(&open, Some(Duration::from_secs(100_000))).expect("a valid schedule");
        let mut next = schedule.arrivals(0, 1);
        criterion.bench_function(&format!("next arrival, {spacing:?}"), |bencher| {
            bencher.iter(|| black_box(next.next()));
        });
    }
}

fn histogram(criterion: &mut Criterion) {
    let mut histogram = Histogram::new(Precision::Full);
    let mut latency = 50_000_u64;
    criterion.bench_function("record a latency", |bencher| {
        bencher.iter(|| {
            latency = latency.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) % 50_000_000;
            histogram.record(Duration::from_nanos(latency));
        });
    });
    criterion.bench_function("percentile of a full histogram", |bencher| {
        bencher.iter(|| black_box(histogram.quantile(0.99)));
    });
}

criterion_group!(benches, arrivals, histogram);
criterion_main!(benches);
