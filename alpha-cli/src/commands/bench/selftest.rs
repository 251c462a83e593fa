//! `alpha bench selftest`.

use alpha_bench::selftest::{Case, selftest};
use alpha_probes::text;

use super::{Failure, Shell};
use crate::args::SelftestArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

impl Shell<'_> {
    pub(super) async fn selftest(
        &self,
        args: &SelftestArgs,
        terminal: &mut Terminal,
    ) -> Result<Exit, Failure> {
        let wanted = if args.cases.is_empty() {
            Case::ALL.to_vec()
        } else {
            args.cases.clone()
        };
        let cases = selftest(&wanted).await.map_err(|error| self.failure(&error))?;
        if self.global.json {
            terminal.print_json(&cases);
        } else {
            for case in &cases {
                let verdict = if case.passed {
                    text!("pass")
                } else {
                    text!("breach")
                };
                let name = case.case.to_text().translate(&self.language);
                let numbers = match case.case {
                    Case::Saturated => {
                        format!("{:.0}/s < {:.0}/s", case.measured, case.truth)
                    }
                    _ => format!(
                        "{:.3} ms, {:.3} ms ±{:.0} %",
                        case.measured * 1e3,
                        case.truth * 1e3,
                        case.tolerance * 100.0
                    ),
                };
                terminal.print(&format!(
                    "{}  {name} ({numbers})\n",
                    verdict.translate(&self.language)
                ));
            }
        }
        Ok(if cases.iter().all(|case| case.passed) {
            Exit::SUCCESS
        } else {
            Exit::FINDING
        })
    }
}
