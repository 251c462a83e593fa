//! What the engine itself costs, besides the probes: the schedule, the judgement, and a whole run of many probes.

use std::hint::black_box;
use std::time::Duration;

use alpha_probes::condition::Series;
use alpha_probes::judge::{CheckState, Moment, judge};
use alpha_probes::memory::{SCRIPTED, ScriptedProbe};
use alpha_probes::rule::Rules;
use alpha_probes::schedule::Schedule;
use alpha_probes::suite::Suite;
use alpha_probes::{Check, CheckConfig, CheckId, Labels, Observation, Unit};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;

const CHECKS: usize = 10_000;

/// A past without values.
#[derive(Debug)]
struct Nothing;

impl Series for Nothing {
    fn points(&self, _: &str, _: &Labels, _: Timestamp, _: &mut Vec<(Timestamp, f64)>) {}
}

fn ids() -> Vec<CheckId> {
    (0..CHECKS)
        .map(|number| format!("check-{number}").parse().expect("a name"))
        .collect()
}

/// A whole interval of ten thousand checks, woken up slot by slot.
fn schedule(criterion: &mut Criterion) {
    let ids = ids();
    let every = Duration::from_secs(10);
    let mut group = criterion.benchmark_group("schedule");
    group.throughput(Throughput::Elements(CHECKS as u64));
    group.bench_function("one interval of 10,000 checks", |bencher| {
        let set = || {
            let mut schedule = Schedule::new(Duration::from_millis(100));
            for id in &ids {
                schedule.add(id, every, Duration::ZERO);
            }
            // The first runs come within two seconds; from then on everything is on its grid.
            schedule.take_due(Duration::from_secs(10), &mut Vec::new());
            schedule
        };
        let interval = |mut schedule: Schedule| {
            let mut due = Vec::with_capacity(CHECKS);
            while let Some(wake) = schedule
                .next_wake()
                .filter(|wake| *wake < Duration::from_secs(20))
            {
                schedule.take_due(wake, &mut due);
            }
            due
        };
        bencher.iter_batched(set, interval, BatchSize::LargeInput);
    });
    group.bench_function("replacing 10,000 checks", |bencher| {
        let mut schedule = Schedule::new(Duration::from_millis(100));
        for id in &ids {
            schedule.add(id, every, Duration::ZERO);
        }
        bencher.iter(|| {
            let checks = ids
                .iter()
                .enumerate()
                .map(|(position, id)| (id, every, Some(position)));
            schedule.replace(checks, Duration::from_secs(20));
        });
    });
    group.finish();
}

fn judgement(criterion: &mut Criterion) {
    let config = r#"{"conditions": ["[used] < 95%"], "warn": "[used] > 80%", "crit": "[used] > 90%", "for": "3 of 5"}"#;
    let config: CheckConfig = serde_json::from_str(config).expect("a configuration");
    let rules = Rules::compile(&config, &SCRIPTED).expect("conditions");
    let mut group = criterion.benchmark_group("judge");
    for (name, used) in [("well", 0.5), ("warning", 0.85)] {
        let observation = Observation::new().with("used", used, Unit::Ratio);
        let moment = Moment {
            now: Timestamp::UNIX_EPOCH,
            elapsed: Some(Duration::from_secs(10)),
        };
        let mut state = CheckState::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| judge(&rules, &mut state, Ok(black_box(&observation)), &Nothing, moment));
        });
    }
    group.finish();
}

fn suite(criterion: &mut Criterion) {
    let checks: Vec<Check> = (0..1000)
        .map(|number| {
            let probe = ScriptedProbe::new(&format!("target-{}", number % 100));
            let probe = probe.then(Observation::new().with("used", 0.5, Unit::Ratio));
            Check::new(&format!("check-{number}"), probe).expect("a name")
        })
        .collect();
    let suite = Suite::new(checks).expect("a sound set");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("suite");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("1,000 probes that answer at once", |bencher| {
        bencher.to_async(&runtime).iter(|| suite.run());
    });
    group.finish();
}

criterion_group!(benches, schedule, judgement, suite);
criterion_main!(benches);
