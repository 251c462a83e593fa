//! `alpha bench compare`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use alpha_bench::compare::Incomparable;
use alpha_bench::render::render_comparison;
use alpha_bench::{BenchReport, Comparison, Judgement, Rule, compare};
use alpha_probes::text;
use url::Url;

use super::live::Live;
use super::results::read_reports;
use super::scenario::load;
use super::{Failure, Shell, baselines};
use crate::args::CompareArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

/// What a candidate is rejected for unless rules are given: the maintenance plan's conditions for a rollback.
const DEFAULT_RULES: [&str; 2] = ["response time +50 %", "errors > 5 %"];

impl Shell<'_> {
    pub(super) async fn compare(&self, args: &CompareArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let mut rules = args.rules.clone();
        if rules.is_empty() {
            rules = DEFAULT_RULES
                .iter()
                .filter_map(|rule| rule.parse::<Rule>().ok())
                .collect();
        }
        let urls = (web_address(&args.baseline), web_address(&args.candidate));
        let (baselines, candidates) = match urls {
            (Some(baseline), Some(candidate)) => {
                let (baseline, candidate) = self.run_both(args, &baseline, &candidate, terminal).await?;
                (vec![baseline], vec![candidate])
            }
            (None, None) => {
                let candidates = read_reports(Path::new(&args.candidate), self)?;
                (baselines::read(&args.baseline, self)?, candidates)
            }
            _ => return Err(text!("compare two URLs, or a baseline and a result file").into()),
        };
        // A scenario has several loads, each of which is compared with the earlier runs of the same one.
        let comparisons: Vec<_> = candidates
            .iter()
            .map(|candidate| {
                let same: Vec<_> = baselines
                    .iter()
                    .filter(|baseline| baseline.name == candidate.name)
                    .cloned()
                    .collect();
                let baselines = if same.is_empty() { &baselines } else { &same };
                (candidate.name.clone(), compare(baselines, candidate, &rules, 0))
            })
            .collect();
        if self.global.json {
            let all: Vec<_> = comparisons.iter().map(|(_, comparison)| comparison).collect();
            match all.as_slice() {
                [comparison] => terminal.print_json(comparison),
                several => terminal.print_json(&BTreeMap::from([("comparisons", several)])),
            }
        } else {
            for (name, comparison) in &comparisons {
                if let (Some(name), true) = (name, comparisons.len() > 1) {
                    terminal.print(&format!("{name}: "));
                }
                terminal.print(&render_comparison(comparison, &self.language));
            }
        }
        let exits: Vec<_> = comparisons
            .iter()
            .map(|(_, comparison)| exit_of_comparison(comparison))
            .collect();
        let worst = [Exit::FINDING, Exit::SATURATED, Exit::UNDECIDED]
            .into_iter()
            .find(|exit| exits.contains(exit));
        Ok(worst.unwrap_or(Exit::SUCCESS))
    }

    async fn run_both(
        &self,
        args: &CompareArgs,
        baseline: &Url,
        candidate: &Url,
        terminal: &Terminal,
    ) -> Result<(BenchReport, BenchReport), Failure> {
        for url in [baseline, candidate] {
            self.guard(url, args.target.i_own_this_target).await?;
        }
        let slice = load(&args.load)?.with_duration(Duration::from_secs(1));
        let sides = [baseline, candidate].map(|url| self.scenario_of(url, &args.target, slice.clone()));
        let live = Live::start(&args.target, terminal)?;
        let outcome = sides[0]
            .run_interleaved(&sides[1], &slice, args.seconds, &self.inputs(), &live.options)
            .await;
        outcome.map_err(|error| self.failure(&error))
    }
}

fn web_address(text: &str) -> Option<Url> {
    text.parse::<Url>()
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https" | "ws" | "wss"))
}

fn exit_of_comparison(comparison: &Comparison) -> Exit {
    match &comparison.judgement {
        Judgement::Safe => Exit::SUCCESS,
        Judgement::Breach => Exit::FINDING,
        Judgement::NotComparable(Incomparable::GeneratorSaturated) => Exit::SATURATED,
        Judgement::Undecided | Judgement::NotComparable(_) => Exit::UNDECIDED,
    }
}
