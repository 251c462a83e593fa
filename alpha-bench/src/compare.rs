//! Whether a candidate is worse than its baseline, with a stated chance of being wrong.
//!
//! The ratio of two percentiles is a noisy number: read naively, a candidate that is 40 % slower looks 50 % slower in a
//! third of all comparisons, and two identical ones differ "significantly" whenever the machine drifts between them. So
//! a comparison here is one of two things. Sides that ran interleaved, second by second, share the drift; the pairs of
//! seconds are resampled in blocks (a paired moving block bootstrap, Künsch 1989), which keeps what neighbours share.
//! Sides that ran at different times are compared with how much runs of the baseline differ among themselves, for which
//! at least five are needed. An interval that holds the limit decides nothing.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Config, SaturationLimits};
use crate::histogram::{Buckets, Precision};
use crate::metric::Metric;
use crate::recorder::Window;
use crate::report::{BenchReport, SCHEMA_VERSION};
use crate::rule::{Rule, RuleLimit};
use crate::statistics::{normal_quantile, student_quantile};
use crate::text;
use crate::text::Text;

/// How many baselines are needed when the sides did not run interleaved.
pub const BASELINES: usize = 5;

/// How many pairs of windows are needed when they did.
pub const PAIRS: usize = 10;

/// How often the pairs are resampled.
const RESAMPLES: usize = 1000;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Comparison {
    /// The worst judgement of all rules.
    pub judgement: Judgement,
    /// How the sides were compared.
    pub method: Method,
    /// Each rule and how it was judged.
    pub rules: Vec<RuleOutcome>,
}

/// Whether a candidate may stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// It is worse than the rule allows, with 97.5 % confidence.
    Breach,
    /// It is not, with 97.5 % confidence.
    Safe,
    /// The measurement is too short to say.
    Undecided,
    /// The sides cannot be compared at all.
    NotComparable(Incomparable),
}

impl Judgement {
    /// How bad it is for a decision: a breach outweighs everything, and what could not be judged outweighs safety.
    fn weight(&self) -> u8 {
        match self {
            Self::Safe => 0,
            Self::Undecided => 1,
            Self::NotComparable(_) => 2,
            Self::Breach => 3,
        }
    }
}

/// Why two sides cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Incomparable {
    /// The sides ran at different times and there are too few baselines to know how much runs differ.
    TooFewBaselines {
        /// How many there are.
        have: usize,
    },
    /// Too few seconds hold requests of both sides.
    TooFewPairs {
        /// How many do.
        have: usize,
    },
    /// A side did not measure the target but the generator.
    GeneratorSaturated,
    /// The sides were put under different loads.
    DifferentLoad,
    /// A report has another schema version.
    DifferentSchema,
    /// A side has no successful request.
    NothingMeasured,
    /// The rule speaks of something that only one side could have.
    RuleDoesNotApply,
}

impl Incomparable {
    /// The reason as a sentence.
    pub fn to_text(&self) -> Text {
        match self {
            Self::TooFewBaselines { have } => text!(
                "{have} baselines say too little about how much runs differ; at least {needed} are needed unless both sides run interleaved",
                have = *have,
                needed = BASELINES
            ),
            Self::TooFewPairs { have } => text!(
                "only {have} seconds hold requests of both sides, at least {needed} are needed",
                have = *have,
                needed = PAIRS
            ),
            Self::GeneratorSaturated => text!("the generator was saturated on one side"),
            Self::DifferentLoad => text!("the sides were put under different loads"),
            Self::DifferentSchema => text!("the reports have different schema versions"),
            Self::NothingMeasured => text!("one side has no successful request"),
            Self::RuleDoesNotApply => text!("the rule does not apply to these reports"),
        }
    }
}

/// How two sides were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Paired windows of sides that ran interleaved, resampled in blocks.
    Interleaved,
    /// The spread between runs of the baseline.
    RunToRun,
}

/// How a rule was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleOutcome {
    /// The rule.
    pub rule: Rule,
    /// What the baseline had: seconds, a share or a number a second.
    pub baseline: f64,
    /// What the candidate had.
    pub candidate: f64,
    /// What was judged: candidate divided by baseline for a relative rule, the candidate for another.
    pub value: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end of its 95 % interval.
    pub high: f64,
    /// Whether the candidate may stay.
    pub judgement: Judgement,
}

/// Judges `candidate` by `rules` beside its baselines.
///
/// With a single baseline that ran interleaved with the candidate, their windows are paired; otherwise at least
/// [`BASELINES`] baselines are needed. `seed` decides what is resampled; the same one gives the same answer.
pub fn compare(baselines: &[BenchReport], candidate: &BenchReport, rules: &[Rule], seed: u64) -> Comparison {
    let paired = match baselines {
        [baseline] => baseline.interleaved.is_some() && baseline.interleaved == candidate.interleaved,
        _ => false,
    };
    let method = if paired {
        Method::Interleaved
    } else {
        Method::RunToRun
    };
    let obstacle = obstacle(baselines, candidate, paired);
    let rules: Vec<_> = rules
        .iter()
        .map(|rule| {
            let baseline = mean(baselines.iter().map(|report| metric_of(report, rule.metric)));
            let measured = match (&rule.limit, &obstacle) {
                // A limit of the candidate alone needs no baseline, only a candidate that was measured.
                (RuleLimit::Value(..), _) if is_saturated(candidate) => Err(Incomparable::GeneratorSaturated),
                (RuleLimit::Value(..), _) => Ok(absolute(candidate, rule.metric)),
                (RuleLimit::Ratio(_), Some(obstacle)) => Err(obstacle.clone()),
                (RuleLimit::Ratio(_), None) if paired => {
                    interleaved_ratio(&pairs(&baselines[0], candidate), rule.metric, seed, RESAMPLES)
                }
                (RuleLimit::Ratio(_), None) => run_to_run_ratio(baselines, candidate, rule.metric),
            };
            let candidate = metric_of(candidate, rule.metric);
            match measured {
                Ok(Interval { value, low, high }) => RuleOutcome {
                    rule: *rule,
                    baseline,
                    candidate,
                    value,
                    low,
                    high,
                    judgement: judge(rule.limit, low, high),
                },
                Err(reason) => RuleOutcome {
                    rule: *rule,
                    baseline,
                    candidate,
                    value: 0.0,
                    low: 0.0,
                    high: 0.0,
                    judgement: Judgement::NotComparable(reason),
                },
            }
        })
        .collect();
    let worst = rules
        .iter()
        .map(|outcome| &outcome.judgement)
        .max_by_key(|judgement| judgement.weight());
    Comparison {
        judgement: worst.cloned().unwrap_or(Judgement::Undecided),
        method,
        rules,
    }
}

/// A number and the interval that holds the true one with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interval {
    value: f64,
    low: f64,
    high: f64,
}

fn judge(limit: RuleLimit, low: f64, high: f64) -> Judgement {
    let breaks = |value: f64| match limit {
        RuleLimit::Ratio(ratio) if ratio > 1.0 => value > ratio,
        RuleLimit::Ratio(ratio) => value < ratio,
        RuleLimit::Value(relation, limit) => relation.holds(value, limit),
    };
    match (breaks(low), breaks(high)) {
        (true, true) => Judgement::Breach,
        (false, false) => Judgement::Safe,
        _ => Judgement::Undecided,
    }
}

fn obstacle(baselines: &[BenchReport], candidate: &BenchReport, paired: bool) -> Option<Incomparable> {
    let all = || baselines.iter().chain([candidate]);
    if all().any(|report| report.schema_version != SCHEMA_VERSION) {
        return Some(Incomparable::DifferentSchema);
    }
    if all().any(is_saturated) {
        return Some(Incomparable::GeneratorSaturated);
    }
    if baselines.iter().any(|report| report.model != candidate.model) {
        return Some(Incomparable::DifferentLoad);
    }
    if all().any(|report| report.histograms.response.is_empty()) {
        return Some(Incomparable::NothingMeasured);
    }
    (!paired && baselines.len() < BASELINES).then_some(Incomparable::TooFewBaselines {
        have: baselines.len(),
    })
}

/// Whether a side says more about the generator than about the target. A target so slow that the load could not be put
/// on it is not such a side: that is exactly what a comparison has to find.
fn is_saturated(report: &BenchReport) -> bool {
    report.is_limited_by_generator(SaturationLimits::default().busy_ratio)
}

fn metric_of(report: &BenchReport, metric: Metric) -> f64 {
    report
        .measure(&report.histograms.response.to_histogram(Precision::Full), metric)
        .0
}

fn absolute(report: &BenchReport, metric: Metric) -> Interval {
    let (value, low, high, reliable) =
        report.measure(&report.histograms.response.to_histogram(Precision::Full), metric);
    // Without samples beyond the percentile its upper end is not known.
    Interval {
        value,
        low,
        high: if reliable { high } else { f64::INFINITY },
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    if count == 0.0 { 0.0 } else { sum / count }
}

/// The ratio of a candidate to a typical run of the baseline, by the prediction interval of the next run.
fn run_to_run_ratio(
    baselines: &[BenchReport],
    candidate: &BenchReport,
    metric: Metric,
) -> Result<Interval, Incomparable> {
    let candidate = metric_of(candidate, metric);
    let values: Vec<f64> = baselines.iter().map(|report| metric_of(report, metric)).collect();
    if candidate <= 0.0 || values.iter().any(|value| *value <= 0.0) {
        return Err(Incomparable::NothingMeasured);
    }
    // Latencies differ by factors rather than by amounts, so that their logarithms are what scatters evenly.
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let count = logs.len() as f64;
    let centre = logs.iter().sum::<f64>() / count;
    let variance = logs.iter().map(|log| (log - centre).powi(2)).sum::<f64>() / (count - 1.0);
    let margin = student_quantile(count - 1.0) * (variance * (1.0 + 1.0 / count)).sqrt();
    let ratio = candidate.ln() - centre;
    Ok(Interval {
        value: ratio.exp(),
        low: (ratio - margin).exp(),
        high: (ratio + margin).exp(),
    })
}

/// The windows of both sides that hold requests of both, in order.
fn pairs<'a>(baseline: &'a BenchReport, candidate: &'a BenchReport) -> Vec<(&'a Window, &'a Window)> {
    let both = baseline.series.windows.iter().zip(&candidate.series.windows);
    both.filter(|(a, b)| !a.response_nanoseconds.is_empty() && !b.response_nanoseconds.is_empty())
        .collect()
}

/// The ratio of two sides whose windows are paired, by a moving block bootstrap of the pairs.
fn interleaved_ratio(
    pairs: &[(&Window, &Window)],
    metric: Metric,
    seed: u64,
    resamples: usize,
) -> Result<Interval, Incomparable> {
    if pairs.len() < PAIRS {
        return Err(Incomparable::TooFewPairs { have: pairs.len() });
    }
    let sides = [
        Side::new(pairs.iter().map(|pair| &pair.0.response_nanoseconds)),
        Side::new(pairs.iter().map(|pair| &pair.1.response_nanoseconds)),
    ];
    let log_ratio = |weights: &[u32]| {
        let [baseline, candidate] = [&sides[0], &sides[1]].map(|side| side.metric(weights, metric));
        Some((candidate? / baseline?).ln()).filter(|ratio| ratio.is_finite())
    };
    let count = pairs.len();
    let point = log_ratio(&vec![1; count]).ok_or(Incomparable::RuleDoesNotApply)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let length = ((count as f64).cbrt().round() as usize).max(1);
    let mut weights = vec![0_u32; count];
    let mut resampled = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        weights.fill(0);
        let mut left = count;
        while left > 0 {
            let begin = random.usize(0..count);
            for offset in 0..length.min(left) {
                weights[(begin + offset) % count] += 1;
            }
            left = left.saturating_sub(length);
        }
        resampled.extend(log_ratio(&weights));
    }
    resampled.sort_by(f64::total_cmp);
    if resampled.is_empty() {
        return Err(Incomparable::RuleDoesNotApply);
    }
    let rank = |share: f64| {
        resampled[((share * (resampled.len() - 1) as f64).round() as usize).min(resampled.len() - 1)]
    };
    // The bootstrap of few blocks is too narrow by about what Student's t is wider than the normal distribution.
    let blocks = (count as f64 / length as f64).max(2.0);
    let widening = student_quantile(blocks - 1.0) / normal_quantile() * (blocks / (blocks - 1.0)).sqrt();
    let (low, high) = (rank(0.025), rank(0.975));
    Ok(Interval {
        value: point.exp(),
        low: (point + (low.min(point) - point) * widening).exp(),
        high: (point + (high.max(point) - point) * widening).exp(),
    })
}

/// The windows of one side, laid out so that a percentile of any weighted mixture of them is found by bisection.
struct Side {
    latencies: Vec<u64>,
    /// For each latency and each window how many requests were no slower.
    cumulated: Vec<Vec<u64>>,
    sums: Vec<f64>,
    totals: Vec<u64>,
}

impl Side {
    fn new<'a>(windows: impl Iterator<Item = &'a Buckets> + Clone) -> Self {
        let mut latencies: Vec<u64> = windows
            .clone()
            .flat_map(|window| window.0.iter().map(|(latency, _)| *latency))
            .collect();
        latencies.sort_unstable();
        latencies.dedup();
        let windows: Vec<_> = windows.collect();
        let mut cumulated = vec![vec![0; windows.len()]; latencies.len()];
        for (index, window) in windows.iter().enumerate() {
            let (mut buckets, mut seen) = (window.0.iter().peekable(), 0);
            for (row, latency) in cumulated.iter_mut().zip(&latencies) {
                if let Some((_, count)) = buckets.next_if(|(bucket, _)| bucket == latency) {
                    seen += count;
                }
                row[index] = seen;
            }
        }
        let sum = |window: &Buckets| {
            window
                .0
                .iter()
                .map(|(latency, count)| *latency as f64 * *count as f64)
                .sum()
        };
        Self {
            latencies,
            cumulated,
            sums: windows.iter().map(|window| sum(window)).collect(),
            totals: windows.iter().map(|window| window.len()).collect(),
        }
    }

    /// A metric of the windows, each counted as often as its weight says.
    fn metric(&self, weights: &[u32], metric: Metric) -> Option<f64> {
        let weighted = |values: &[u64]| -> u64 {
            weights
                .iter()
                .zip(values)
                .map(|(weight, value)| u64::from(*weight) * value)
                .sum()
        };
        let total = weighted(&self.totals);
        match metric {
            Metric::Percentile(quantile) => {
                let rank = (quantile * total as f64).ceil().max(1.0) as u64;
                let index = self.cumulated.partition_point(|row| weighted(row) < rank);
                self.latencies
                    .get(index)
                    .map(|latency| Duration::from_nanos(*latency).as_secs_f64())
            }
            Metric::Mean => {
                let sum: f64 = weights
                    .iter()
                    .zip(&self.sums)
                    .map(|(weight, sum)| f64::from(*weight) * sum)
                    .sum();
                (total > 0).then(|| sum / total as f64 / 1e9)
            }
            Metric::Throughput => Some(total as f64),
            Metric::Max | Metric::Errors | Metric::Rate => None,
        }
    }
}

/// Marks two reports as the sides of one interleaved run, so that [`compare`] pairs their windows.
pub(crate) fn mark_interleaved(baseline: &mut BenchReport, candidate: &mut BenchReport) {
    let mark = format!("{} {}", baseline.started_at, candidate.started_at);
    baseline.interleaved = Some(mark.clone());
    candidate.interleaved = Some(mark);
}

/// Joins the slices of one side of an interleaved run: slice `n` becomes window `n`.
pub(crate) fn join_slices(slices: &[BenchReport], config: &Config) -> crate::Result<BenchReport> {
    let mut joined = BenchReport::add_up(slices, config)?;
    joined.series.windows = slices
        .iter()
        .enumerate()
        .map(|(index, slice)| {
            let mut window = Window {
                start_seconds: index as u64,
                ..Window::default()
            };
            for part in &slice.series.windows {
                window.merge(part);
            }
            window
        })
        .collect();
    joined.series.window_seconds = 1;
    let seconds: f64 = slices.iter().map(|slice| slice.measured_seconds).sum();
    let average = |number: fn(&BenchReport) -> f64| {
        slices
            .iter()
            .map(|slice| number(slice) * slice.measured_seconds)
            .sum::<f64>()
            / seconds.max(1e-9)
    };
    joined.throughput_per_second = average(|slice| slice.throughput_per_second);
    joined.offered_per_second = average(|slice| slice.offered_per_second);
    joined.elapsed_seconds = slices.iter().map(|slice| slice.elapsed_seconds).sum();
    joined.measured_seconds = seconds;
    joined.warm_up_seconds = 0.0;
    joined.offered.clear();
    joined.conclude(config);
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;

    /// Two sides that share the drift of their machine: an autocorrelated load with bursts.
    fn simulate(random: &mut fastrand::Rng, seconds: usize, ratio: f64) -> Vec<(Window, Window)> {
        let normal = |random: &mut fastrand::Rng| {
            let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
            radius * (std::f64::consts::TAU * random.f64()).cos()
        };
        let mut drift = 0.0;
        (0..seconds)
            .map(|second| {
                drift = 0.8 * drift + 0.2 * normal(random);
                let mut side = |ratio: f64| {
                    let noise = 0.05 * normal(random);
                    let mut histogram = Histogram::new(Precision::Window);
                    for _ in 0..60 {
                        let ms = 10.0 * ratio * (drift + noise + 0.5 * normal(random)).exp();
                        histogram.record(Duration::from_secs_f64(ms / 1000.0));
                    }
                    Window {
                        start_seconds: second as u64,
                        response_nanoseconds: histogram.to_buckets(),
                        ..Window::default()
                    }
                };
                (side(1.0), side(ratio))
            })
            .collect()
    }

    fn judged(ratio: f64, rounds: usize, seconds: usize) -> (f64, f64, f64) {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut covered, mut breaches, mut safe) = (0.0, 0.0, 0.0);
        for round in 0..rounds {
            let windows = simulate(&mut random, seconds, ratio);
            let pairs: Vec<_> = windows.iter().map(|pair| (&pair.0, &pair.1)).collect();
            let interval = interleaved_ratio(&pairs, Metric::Percentile(0.95), round as u64, 200).unwrap();
            covered += f64::from(interval.low <= ratio && ratio <= interval.high);
            match judge(RuleLimit::Ratio(1.5), interval.low, interval.high) {
                Judgement::Breach => breaches += 1.0,
                Judgement::Safe => safe += 1.0,
                _ => {}
            }
        }
        let rounds = rounds as f64;
        (covered / rounds, breaches / rounds, safe / rounds)
    }

    #[test]
    fn interleaved_intervals_cover_the_truth_and_roll_back_nothing_that_is_forty_percent_slower() {
        let (covered, breaches, _) = judged(1.4, 150, 60);
        assert!((0.90..=0.98).contains(&covered), "coverage {covered}");
        assert!(breaches <= 0.02, "false rollbacks {breaches}");
        let (covered, breaches, safe) = judged(1.0, 50, 60);
        assert!(covered >= 0.90, "coverage {covered}");
        assert_eq!((breaches, safe), (0.0, 1.0), "identical sides are told to be so");
        let (_, breaches, _) = judged(1.9, 30, 60);
        assert!(breaches > 0.95, "true breaches found: {breaches}");
    }

    #[test]
    fn few_pairs_decide_nothing() {
        let mut random = fastrand::Rng::with_seed(1);
        let windows = simulate(&mut random, 9, 1.0);
        let pairs: Vec<_> = windows.iter().map(|pair| (&pair.0, &pair.1)).collect();
        let refused = interleaved_ratio(&pairs, Metric::Percentile(0.5), 0, 1);
        assert_eq!(refused, Err(Incomparable::TooFewPairs { have: 9 }));
        assert_eq!(
            interleaved_ratio(&pairs, Metric::Errors, 0, 1),
            Err(Incomparable::TooFewPairs { have: 9 })
        );
    }
}
