//! `alpha bench`: an honest load, and what it says about a service.

mod baselines;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use alpha_bench::find_max::{FindMax, Limit, Maximum};
use alpha_bench::render::{Format, render, render_comparison};
use alpha_bench::targets::transport::Tcp;
use alpha_bench::{
    Arrivals, BenchReport, Closed, Comparison, Config, Inputs, Judgement, LoadModel, Open, Progress, Request,
    RpcCall, Rule, RunOptions, Scenario, Spacing, Verdict, compare,
};
use alpha_probes::text;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use super::Failure;
use crate::args::{
    BenchCommand, CompareArgs, FindMaxArgs, Global, LoadArgs, ModelArg, ReportArgs, ReportFormat, RunArgs,
    TargetArgs,
};
use crate::exit_code::Exit;
use crate::language::Language;
use crate::terminal::Terminal;

/// What a candidate is rejected for unless rules are given: the maintenance plan's conditions for a rollback.
const DEFAULT_RULES: [&str; 2] = ["response time +50 %", "errors > 5 %"];

/// How many users a closed load has unless told.
const DEFAULT_USERS: usize = 10;

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
        BenchCommand::FindMax(args) => shell.find_max(args, terminal).await,
        BenchCommand::Selftest => shell.selftest(terminal).await,
    }
}

/// What all subcommands have.
struct Shell<'a> {
    global: &'a Global,
    language: Language,
}

impl Shell<'_> {
    async fn run(&self, args: &RunArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
        if let Some(folder) = args
            .out
            .as_deref()
            .and_then(Path::parent)
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            // Better to refuse now than to lose the result of an hour.
            if !folder.is_dir() {
                return Err(text!(
                    "the folder {folder} does not exist",
                    folder = folder.display().to_string()
                )
                .into());
            }
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
            (None, Some(url)) => self.scenario_of(url, &args.target, load(&args.load)?),
            (None, None) => return Err(text!("a URL or a scenario is needed").into()),
        };
        let url = scenario.url().map_err(|error| self.failure(&error))?;
        self.guard(url, args.target.i_own_this_target).await?;
        let live = Live::start(&args.target, terminal)?;
        let outcome = scenario.run(&inputs, &live.options).await;
        drop(live);
        let reports = outcome.map_err(|error| self.failure(&error))?;
        self.show(&reports, terminal);
        let json = json_of(&reports);
        if let Some(file) = &args.out {
            write_whole(file, &json)?;
        }
        if let Some(name) = &args.save {
            for report in &reports {
                baselines::keep(name, report)?;
            }
        }
        Ok(reports
            .iter()
            .map(|report| report.verdict)
            .max_by_key(weight)
            .map_or(Exit::UNDECIDED, exit))
    }

    async fn compare(&self, args: &CompareArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
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
            terminal.print(&match all.as_slice() {
                [comparison] => to_json(comparison),
                several => to_json(&BTreeMap::from([("comparisons", several)])),
            });
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
            Some(file) => write_whole(file, &rendered.join("\n"))?,
            None => terminal.print(&rendered.join("\n")),
        }
        Ok(Exit::SUCCESS)
    }

    async fn find_max(&self, args: &FindMaxArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
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
        let shown = if self.global.json {
            to_json(&found)
        } else {
            self.describe_maximum(&found)
        };
        terminal.print(&shown);
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

    async fn selftest(&self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let cases = alpha_bench::selftest::selftest()
            .await
            .map_err(|error| self.failure(&error))?;
        if self.global.json {
            terminal.print(&to_json(&cases));
        } else {
            for case in &cases {
                let verdict = if case.passed {
                    text!("pass")
                } else {
                    text!("breach")
                };
                let name = case.case.to_text().translate(&self.language);
                let numbers = match case.case {
                    alpha_bench::selftest::Case::Saturated => {
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

    fn show(&self, reports: &[BenchReport], terminal: &mut Terminal) {
        if self.global.json {
            terminal.print(&json_of(reports));
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

    fn inputs(&self) -> Inputs {
        let mut inputs = Inputs::default();
        let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        inputs.environment = std::env::vars_os()
            .filter_map(readable)
            .collect::<BTreeMap<_, _>>();
        inputs
    }

    fn read_scenario(&self, file: &Path, inputs: &mut Inputs) -> Result<Scenario, Failure> {
        let scenario: Scenario = toml::from_str(&read_file(file)?).map_err(|error| {
            text!(
                "the scenario {file} is wrong: {cause}",
                file = file.display().to_string(),
                cause = error.to_string()
            )
        })?;
        for (table, path) in &scenario.tables {
            let path = file.parent().unwrap_or_else(|| Path::new(".")).join(path);
            inputs
                .add_table(table, &read_file(&path)?)
                .map_err(|error| self.failure(&error))?;
        }
        Ok(scenario)
    }

    fn scenario_of(&self, url: &Url, target: &TargetArgs, load: Config) -> Scenario {
        let mut scenario = Scenario::of_url(url.clone(), load);
        scenario.http2 = target.http2;
        if !target.rpc.is_empty() {
            let call = |method: &String| {
                let mut call = RpcCall::new(method);
                call.batch = target.batch;
                call
            };
            scenario.rpc = target.rpc.iter().map(call).collect();
        } else if matches!(url.scheme(), "http" | "https") {
            let mut path = url.path().to_owned();
            if let Some(query) = url.query() {
                path = format!("{path}?{query}");
            }
            let mut request = Request::get(path);
            request.method = target.method.clone();
            request.headers = target.headers.iter().cloned().collect();
            request.body = target.body.clone();
            scenario.request = vec![request];
        }
        scenario
    }

    /// Refuses a target that may belong to somebody else: a load is an attack on whoever did not ask for it.
    async fn guard(&self, url: &Url, is_owned: bool) -> Result<(), Failure> {
        if is_owned {
            return Ok(());
        }
        let addresses: Vec<IpAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            _ => {
                let tcp = Tcp::resolve(url).await.map_err(|error| self.failure(&error))?;
                tcp.addresses().iter().map(std::net::SocketAddr::ip).collect()
            }
        };
        match addresses.into_iter().find(|address| !is_near(*address)) {
            None => Ok(()),
            Some(address) => Err(text!(
                "{address} is neither this machine nor in a private network; add --i-own-this-target if you may put a load on it",
                address = address.to_string()
            )
            .into()),
        }
    }
}

/// Whether an address is this machine's or of a private network (RFC 1918, RFC 4193, link-local).
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_near(address.into()),
            None => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
        },
    }
}

fn load(args: &LoadArgs) -> Result<Config, Failure> {
    let model = match args.model {
        ModelArg::Closed => LoadModel::Closed(Closed {
            connections: args.connections.unwrap_or(DEFAULT_USERS),
        }),
        ModelArg::Open => open(args, args.rate),
    };
    let mut config = Config::new(model);
    config.duration = args.duration;
    config.requests = args.requests;
    config.workers = args.workers;
    config.fresh_connections = args.fresh_connections;
    config.thresholds = args.thresholds.clone();
    config.warm_up = args.warm_up.unwrap_or(config.warm_up);
    config.timeout = args.timeout.unwrap_or(config.timeout);
    config.spin = args.spin.unwrap_or(config.spin);
    Ok(config)
}

fn open(args: &LoadArgs, rate: f64) -> LoadModel {
    let mut open = Open::new(Arrivals::Constant(rate));
    open.spacing = if args.poisson {
        Spacing::Poisson
    } else {
        Spacing::Even
    };
    open.max_connections = args.connections.unwrap_or(open.max_connections);
    LoadModel::Open(open)
}

/// A run that a person can watch and end.
struct Live {
    options: RunOptions,
    bar: indicatif::ProgressBar,
    tasks: tokio::task::JoinSet<()>,
}

impl Live {
    fn start(target: &TargetArgs, terminal: &Terminal) -> Result<Self, Failure> {
        let mut options = RunOptions::default();
        if let Some(file) = &target.trust {
            let unreadable = |cause: String| {
                text!(
                    "could not read {file}: {cause}",
                    file = file.display().to_string(),
                    cause = cause
                )
            };
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))?;
            for certificate in certificates {
                options.trusted.push(
                    certificate
                        .map_err(|error| unreadable(error.to_string()))?
                        .to_vec(),
                );
            }
        }
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(stop_on_signal(options.stop.clone()));
        let bar = indicatif::ProgressBar::hidden();
        if terminal.is_interactive() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr_with_hz(4));
            let (sender, receiver) = watch::channel(Progress::default());
            options.progress = Some(sender);
            tasks.spawn(follow(receiver, bar.clone()));
        }
        Ok(Self { options, bar, tasks })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.tasks.abort_all();
        self.bar.finish_and_clear();
    }
}

/// Ends the run on ctrl-C or a polite kill; its report then says that it was cut short.
async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}

/// Shows rate, percentiles, failures, lag and the remaining time, as numbers that need no language.
async fn follow(mut progress: watch::Receiver<Progress>, bar: indicatif::ProgressBar) {
    while progress.changed().await.is_ok() {
        let Progress {
            elapsed,
            end,
            per_second,
            p50,
            p99,
            failures,
            lag_p99,
            ..
        } = *progress.borrow_and_update();
        let left = end.map_or_else(String::new, |end| format!(" / {:.0} s", end.as_secs_f64()));
        bar.set_message(format!(
            "{:.0} s{left}  {per_second:.0}/s  p50 {:.2} ms  p99 {:.2} ms  ✗ {failures}  lag p99 {:.2} ms",
            elapsed.as_secs_f64(),
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
            lag_p99.as_secs_f64() * 1e3
        ));
        bar.tick();
    }
}

fn web_address(text: &str) -> Option<Url> {
    text.parse::<Url>()
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https" | "ws" | "wss"))
}

/// How bad a verdict is beside others: what cannot be believed outweighs what was measured.
fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Undecided => 1,
        Verdict::Breach => 2,
        Verdict::GeneratorSaturated => 3,
    }
}

fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Pass => Exit::SUCCESS,
        Verdict::Breach => Exit::FINDING,
        Verdict::Undecided => Exit::UNDECIDED,
        Verdict::GeneratorSaturated => Exit::SATURATED,
    }
}

fn exit_of_comparison(comparison: &Comparison) -> Exit {
    use alpha_bench::compare::Incomparable;
    match &comparison.judgement {
        Judgement::Safe => Exit::SUCCESS,
        Judgement::Breach => Exit::FINDING,
        Judgement::NotComparable(Incomparable::GeneratorSaturated) => Exit::SATURATED,
        Judgement::Undecided | Judgement::NotComparable(_) => Exit::UNDECIDED,
    }
}

/// One object for one run, and one with a list for several.
fn json_of(reports: &[BenchReport]) -> String {
    match reports {
        [report] => to_json(report),
        several => to_json(&BTreeMap::from([("runs", several)])),
    }
}

fn to_json(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    json + "\n"
}

fn read_file(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|cause| {
        text!(
            "could not read {file}: {cause}",
            file = file.display().to_string(),
            cause = cause.to_string()
        )
        .into()
    })
}

/// The results in a file: one, or the list of a run with several loads.
fn read_reports(file: &Path, shell: &Shell<'_>) -> Result<Vec<BenchReport>, Failure> {
    let json = read_file(file)?;
    let several = serde_json::from_str::<serde_json::Value>(&json)
        .ok()
        .and_then(|value| value.get("runs").cloned());
    let read = |json: &str| {
        BenchReport::from_json(json).map_err(|error| {
            let Failure { text: cause, .. } = shell.failure(&error);
            Failure::from(text!(
                "could not read {file}: {cause}",
                file = file.display().to_string(),
                cause = cause
            ))
        })
    };
    match several {
        Some(serde_json::Value::Array(runs)) => runs.iter().map(|run| read(&run.to_string())).collect(),
        _ => Ok(vec![read(&json)?]),
    }
}

/// Writes a file in one step, so that an interrupted write leaves the old one.
fn write_whole(file: &Path, content: &str) -> Result<(), Failure> {
    let written = (|| {
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."));
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{name}.{}", std::process::id()));
        let mut out = std::fs::File::create(&temporary)?;
        out.write_all(content.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&temporary, file)
    })();
    written.map_err(|cause: std::io::Error| {
        text!(
            "could not write {file}: {cause}",
            file = file.display().to_string(),
            cause = cause.to_string()
        )
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_private_networks_are_near() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.9.9",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in [
            "8.8.8.8",
            "172.32.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "100.64.0.1",
        ] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }
}
