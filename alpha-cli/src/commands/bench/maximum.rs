//! `alpha bench find-max`.

use alpha_bench::find_max::{FindMax, Limit, Maximum};
use alpha_probes::text;

use super::live::Live;
use super::scenario::{load, open};
use super::{Failure, Shell};
use crate::args::FindMaxArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

impl Shell<'_> {
    pub(super) async fn find_max(
        &self,
        args: &FindMaxArgs,
        terminal: &mut Terminal,
    ) -> Result<Exit, Failure> {
        self.guard(&args.url, args.target.i_own_this_target).await?;
        let mut thresholds = args.load.thresholds.clone();
        if thresholds.is_empty() {
            return Err(
                text!("a search needs at least one threshold, such as --threshold 'p95 < 200ms'").into(),
            );
        }
        // A rate that is not reached is not kept, whatever the latency of the rest.
        thresholds.extend("rate >= 99%".parse::<alpha_bench::Threshold>().ok());
        let live = Live::start(&args.target, terminal)?;
        let inputs = self.inputs();
        let base = load(&args.load)?;
        let mut search = FindMax::default();
        (search.from_per_second, search.up_to_per_second) = (args.from, args.up_to);
        let run = |rate: f64| {
            let mut config = base.clone();
            config.model = open(&args.load, rate);
            config.thresholds.clone_from(&thresholds);
            let scenario = self.scenario_of(&args.url, &args.target, config.clone());
            let (inputs, options) = (&inputs, &live.options);
            async move { scenario.run_load(&config, inputs, options).await }
        };
        let found = search.search(run).await;
        drop(live);
        let found = found.map_err(|error| self.failure(&error))?;
        if self.global.json {
            terminal.print_json(&found);
        } else {
            terminal.print(&self.describe_maximum(&found));
        }
        Ok(match (found.per_second, found.limit) {
            (_, Limit::CutShort) => Exit::UNDECIDED,
            (_, Limit::Generator) => Exit::SATURATED,
            (None, _) => Exit::FINDING,
            (Some(_), _) => Exit::SUCCESS,
        })
    }

    fn describe_maximum(&self, found: &Maximum) -> String {
        let sentence = match (found.per_second, found.limit) {
            (_, Limit::CutShort) => text!("the search was cut short"),
            (None, _) => text!("not even the lowest rate kept the thresholds"),
            (Some(rate), Limit::Target) => text!(
                "{rate} requests a second keep the thresholds, more do not",
                rate = rate.round()
            ),
            (Some(rate), Limit::Generator) => {
                text!(
                    "{rate} requests a second keep the thresholds; the generator can send no more, the target may serve more",
                    rate = rate.round()
                )
            }
            (Some(rate), Limit::Bound) => text!(
                "{rate} requests a second keep the thresholds; more were not tried",
                rate = rate.round()
            ),
        };
        let mut out = sentence.translate(&self.language);
        for step in &found.steps {
            out.push_str(&format!(
                "\n  {:>9.0}/s  p95 {:>9.3} ms  {}",
                step.per_second,
                step.p95_seconds * 1e3,
                step.verdict
            ));
        }
        out.push('\n');
        out
    }
}
