//! Exposition: ten thousand checks with five measurements each, as one scrape asks for them.

use std::hint::black_box;

use alpha_probes::exposition;
use alpha_probes::memory::ScriptedProbe;
use alpha_probes::suite::Suite;
use alpha_probes::{Check, Observation, SuiteReport, Unit};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const CHECKS: usize = 10_000;

fn report() -> SuiteReport {
    let check = |number: usize| {
        let mut observation = Observation::new();
        for name in ["used", "free", "size", "read", "written"] {
            let labels = vec![("mount".into(), "/data".to_owned())];
            let value = (number * 7919 % 1000) as f64 / 7.0;
            observation.push(name, value, Unit::Bytes, labels);
        }
        let probe = ScriptedProbe::new("target").then(observation);
        Check::new(&format!("check-{number}"), probe).expect("a name")
    };
    let suite = Suite::new((0..CHECKS).map(check).collect()).expect("names of their own");
    Runtime::new().expect("a runtime").block_on(suite.run())
}

fn write(criterion: &mut Criterion) {
    let report = report();
    let mut page = String::new();
    exposition::write_prometheus(&report, &mut page);
    let mut group = criterion.benchmark_group("exposition/10,000 checks");
    group.sample_size(30);
    group.throughput(Throughput::Bytes(page.len() as u64));
    group.bench_function("prometheus", |bencher| {
        bencher.iter(|| {
            page.clear();
            exposition::write_prometheus(black_box(&report), &mut page);
            page.len()
        });
    });
    group.bench_function("json", |bencher| {
        bencher.iter(|| exposition::json(black_box(&report)).len());
    });
    group.finish();
}

criterion_group!(benches, write);
criterion_main!(benches);
