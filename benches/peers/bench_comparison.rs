//! How often three ways to judge "+50 % response time?" are wrong, on seeded simulations of two sides of one machine.
//!
//! Sixty seconds with sixty requests each a side; the machine drifts (an autocorrelated factor that both sides of a second
//! share), requests scatter log-normally. Judged are the naive ratio of the two p95, Mann and Whitney's test on all
//! requests of sides that ran one after the other, and `alpha_bench::compare` on seconds that ran in turn.
//!
//! `bench_comparison.sh` runs it and knows the bars; the numbers follow from the seed, not from the machine.
#![expect(clippy::print_stdout, reason = "a program that shows what it found")]

use std::f64::consts::TAU;
use std::time::Duration;

use alpha_bench::compare::compare;
use alpha_bench::recorder::Window;
use alpha_bench::{
    BenchReport, Buckets, Config, FixedLatency, Histogram, Judgement, LoadModel, LoadTest, Precision,
};

const SECONDS: usize = 60;
const REQUESTS: usize = 60;

/// A generator of random numbers (SplitMix64), so that the figures are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (TAU * self.uniform()).cos()
    }
}

/// What the machine does to everything that runs on it, second by second.
struct Drift(f64);

impl Drift {
    fn next(&mut self, random: &mut Random) -> f64 {
        self.0 = 0.8 * self.0 + 0.2 * random.normal();
        self.0
    }
}

fn second(random: &mut Random, drift: f64, ratio: f64) -> Buckets {
    let noise = 0.05 * random.normal();
    let mut histogram = Histogram::new(Precision::Window);
    for _ in 0..REQUESTS {
        let ms = 10.0 * ratio * (drift + noise + 0.5 * random.normal()).exp();
        histogram.record(Duration::from_secs_f64(ms / 1000.0));
    }
    histogram.to_buckets()
}

/// Both sides, second by second in turn.
fn in_turn(random: &mut Random, ratio: f64) -> [Vec<Buckets>; 2] {
    let mut drift = Drift(0.0);
    let pairs = (0..SECONDS).map(|_| {
        let now = drift.next(random);
        (second(random, now, 1.0), second(random, now, ratio))
    });
    let (baseline, candidate) = pairs.unzip();
    [baseline, candidate]
}

/// One side after the other.
fn one_after_the_other(random: &mut Random, ratio: f64) -> [Vec<Buckets>; 2] {
    let mut drift = Drift(0.0);
    [1.0, ratio].map(|ratio| {
        (0..SECONDS)
            .map(|_| {
                let now = drift.next(random);
                second(random, now, ratio)
            })
            .collect()
    })
}

fn whole(seconds: &[Buckets]) -> Buckets {
    let mut whole = Buckets::default();
    for second in seconds {
        whole.merge(second);
    }
    whole
}

/// Whether Mann and Whitney's test calls two sides different at 5 %, by its normal approximation.
fn mann_whitney_differs(sides: &[Vec<Buckets>; 2]) -> bool {
    let [a, b] = [whole(&sides[0]), whole(&sides[1])];
    let (mut u, mut below) = (0.0, 0.0);
    let mut theirs = b.0.iter().peekable();
    for &(latency, count) in &a.0 {
        while let Some((_, other)) = theirs.next_if(|(other, _)| *other < latency) {
            below += *other as f64;
        }
        let equal = theirs
            .peek()
            .filter(|(other, _)| *other == latency)
            .map_or(0.0, |(_, n)| *n as f64);
        u += count as f64 * (below + equal / 2.0);
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
    ((u - n * m / 2.0) / deviation).abs() > 1.96
}

/// A report that holds these seconds and is otherwise like `template`.
fn report(template: &BenchReport, seconds: &[Buckets]) -> BenchReport {
    let mut report = template.clone();
    report.interleaved = Some("simulated".to_owned());
    report.histograms.response = whole(seconds);
    report.series.windows = seconds
        .iter()
        .enumerate()
        .map(|(index, buckets)| Window {
            start_seconds: index as u64,
            requests: buckets.len(),
            response_nanoseconds: buckets.clone(),
            ..Window::default()
        })
        .collect();
    report
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(300), |rounds| rounds.parse())?;
    let config = Config::new(LoadModel::closed(1)).with_requests(10);
    let template = LoadTest::new(config, FixedLatency::new(Duration::ZERO))
        .run_in_place()
        .await?;
    let rules = ["p95 +50 %".parse()?];
    println!("{rounds} rounds; shares");
    println!(
        "truth    naive rolls back   Mann-Whitney flags   alpha rolls back   alpha says safe   alpha's interval holds the truth"
    );
    for ratio in [1.0, 1.4, 1.9] {
        let mut random = Random(11);
        let [mut naive, mut flagged, mut breaches, mut safe, mut covered] = [0.0; 5];
        for round in 0..rounds {
            let sides = in_turn(&mut random, ratio);
            let p95 = sides
                .each_ref()
                .map(|side| whole(side).quantile(0.95).as_secs_f64());
            naive += f64::from(p95[1] / p95[0] > 1.5);
            flagged += f64::from(mann_whitney_differs(&one_after_the_other(&mut random, ratio)));
            let [baseline, candidate] = sides.each_ref().map(|side| report(&template, side));
            let comparison = compare(&[baseline], &candidate, &rules, u64::from(round));
            let outcome = &comparison.rules[0];
            breaches += f64::from(outcome.judgement == Judgement::Breach);
            safe += f64::from(outcome.judgement == Judgement::Safe);
            covered += f64::from(outcome.low <= ratio && ratio <= outcome.high);
        }
        let share = |count: f64| count / f64::from(rounds);
        println!(
            "{:+.0} %   {:.3}   {:.3}   {:.3}   {:.3}   {:.3}",
            (ratio - 1.0) * 100.0,
            share(naive),
            share(flagged),
            share(breaches),
            share(safe),
            share(covered)
        );
    }
    Ok(())
}
