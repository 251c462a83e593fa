//! `alpha bench`: an honest load, and what it says about a service.

mod baselines;
mod comparison;
mod live;
mod maximum;
mod results;
mod scenario;
mod selftest;

use alpha_bench::render::{Format, render};
use alpha_bench::{BenchReport, Scenario};
use alpha_probes::text;

use self::live::Live;
use self::results::{Results, exit_of, read_reports, write_json, write_whole};
use super::Failure;
use crate::args::{BenchCommand, Global, MergeArgs, ModelArg, ReportArgs, ReportFormat, RunArgs};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

impl alpha_bench::text::Translate for Language {
    fn template<'a>(&'a self, template: &'a str) -> &'a str {
        alpha_probes::Translate::template(self, template)
    }

    fn separator(&self) -> &str {
        alpha_probes::Translate::separator(self)
    }
}

/// Runs a subcommand of `alpha bench`.
pub(super) async fn run(
    command: &BenchCommand,
    global: &Global,
    language: Language,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let shell = Shell { global, language };
    match command {
        BenchCommand::Run(args) => shell.run(args, terminal).await,
        BenchCommand::Compare(args) => shell.compare(args, terminal).await,
        BenchCommand::Report(args) => shell.report(args, terminal),
        BenchCommand::Merge(args) => shell.merge(args, terminal),
        BenchCommand::FindMax(args) => shell.find_max(args, terminal).await,
        BenchCommand::Selftest(args) => shell.selftest(args, terminal).await,
    }
}

/// What all subcommands have.
struct Shell<'a> {
    global: &'a Global,
    language: Language,
}

impl Shell<'_> {
    async fn run(&self, args: &RunArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
        if let Some(file) = &args.out {
            results::check_folder(file)?;
        }
        let mut inputs = self.inputs();
        let scenario = match (&args.scenario, &args.url) {
            (Some(file), url) => {
                let mut scenario = self.read_scenario(file, &mut inputs)?;
                if let Some(url) = url {
                    scenario.url = Some(url.clone());
                }
                scenario
            }
            (None, Some(url)) if args.quarterly => Scenario::quarterly(url.clone()),
            (None, Some(url)) if args.load.model == ModelArg::Replay => {
                self.replay(url, args, &mut inputs, terminal)?
            }
            (None, Some(url)) => self.scenario_of(url, &args.target, scenario::load(&args.load)?),
            (None, None) => return Err(text!("a URL or a scenario is needed").into()),
        };
        let url = scenario.url().map_err(|error| self.failure(&error))?;
        self.guard(url, args.target.i_own_this_target).await?;
        let live = Live::start(&args.target, terminal)?;
        let outcome = scenario.run(&inputs, &live.options).await;
        drop(live);
        let reports = outcome.map_err(|error| self.failure(&error))?;
        self.show(&reports, terminal);
        if let Some(file) = &args.out {
            write_json(file, &reports)?;
        }
        if let Some(name) = &args.save {
            for report in &reports {
                if report.cut_short {
                    let text = text!("a run that was cut short is no baseline and was not kept as one");
                    terminal.warning(self.language, &text);
                } else {
                    baselines::keep(name, report)?;
                }
            }
        }
        Ok(exit_of(&reports))
    }

    fn report(&self, args: &ReportArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let reports = read_reports(&args.file, self)?;
        let format = match args.format {
            ReportFormat::Text => Format::Text,
            ReportFormat::Markdown => Format::Markdown,
            ReportFormat::Html => Format::Html,
            ReportFormat::Csv => Format::Csv,
            ReportFormat::Junit => Format::Junit,
            ReportFormat::Hgrm => Format::Hgrm,
            ReportFormat::Prometheus => Format::Prometheus,
        };
        let one_only = matches!(
            args.format,
            ReportFormat::Html
                | ReportFormat::Junit
                | ReportFormat::Hgrm
                | ReportFormat::Prometheus
                | ReportFormat::Csv
        );
        if one_only && reports.len() > 1 {
            return Err(text!(
                "the file holds several results, which only text and markdown can show together"
            )
            .into());
        }
        let rendered: Vec<_> = reports
            .iter()
            .map(|report| render(report, format, &self.language))
            .collect();
        match &args.out {
            Some(file) => write_whole(file, |out| out.write_all(rendered.join("\n").as_bytes()))?,
            None => terminal.print(&rendered.join("\n")),
        }
        Ok(Exit::SUCCESS)
    }

    fn merge(&self, args: &MergeArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let mut reports = Vec::new();
        for file in &args.files {
            let read = read_reports(file, self)?;
            if read.len() > 1 {
                return Err(text!(
                    "{file} holds the results of several loads; merge those of one load each",
                    file = file.display().to_string()
                )
                .into());
            }
            reports.extend(read);
        }
        let merged = vec![BenchReport::merge(&reports).map_err(|error| self.failure(&error))?];
        self.show(&merged, terminal);
        if let Some(file) = &args.out {
            write_json(file, &merged)?;
        }
        Ok(exit_of(&merged))
    }

    fn show(&self, reports: &[BenchReport], terminal: &mut Terminal) {
        if self.global.json {
            terminal.print_json(&Results(reports));
            return;
        }
        for report in reports {
            let text = render(report, Format::Text, &self.language);
            match self.global.quiet {
                // The second line is the verdict with the numbers that most people want.
                true => terminal.print(&format!("{}\n", text.lines().nth(1).unwrap_or_default())),
                false => terminal.print(&format!("{text}\n")),
            }
        }
    }

    fn failure(&self, error: &alpha_bench::Error) -> Failure {
        let mut message = error.message().translate(&self.language);
        let mut cause = std::error::Error::source(error);
        while let Some(source) = cause {
            message.push_str(&format!(": {source}"));
            cause = source.source();
        }
        alpha_probes::Text::plain(message).into()
    }
}
