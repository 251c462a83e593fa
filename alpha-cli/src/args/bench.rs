//! What was typed after `alpha bench`.

use std::path::PathBuf;
use std::time::Duration;

use alpha_bench::selftest::Case;
use alpha_bench::{Rule, Threshold};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use url::Url;

/// Subcommands of `alpha bench`.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Put a load on a URL or run a scenario
    Run(RunArgs),
    /// Judge a candidate beside its baseline
    Compare(CompareArgs),
    /// Write a stored result in another format
    Report(ReportArgs),
    /// Add up the results of several processes or machines that ran at the same time
    Merge(MergeArgs),
    /// Look for the highest rate that keeps the thresholds
    FindMax(FindMaxArgs),
    /// Check that the load generator tells the truth on this machine
    Selftest(SelftestArgs),
}

/// Where a load goes.
#[derive(Clone, Debug, ClapArgs)]
pub struct TargetArgs {
    /// Put the load on a machine that is neither this one nor in a private network
    #[arg(long)]
    pub i_own_this_target: bool,
    /// Speak HTTP/2
    #[arg(long)]
    pub http2: bool,
    /// Method of the requests
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// A header, such as 'accept: application/json'; may be repeated
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Body of the requests
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,
    /// Call this JSON-RPC method instead, over HTTP or WebSocket; may be repeated
    #[arg(long = "rpc", value_name = "METHOD", conflicts_with_all = ["body", "method"])]
    pub rpc: Vec<String>,
    /// How many JSON-RPC calls one message holds
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "rpc")]
    pub batch: u32,
    /// Trust only the certificate authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
}

/// How a load is put on.
#[derive(Clone, Debug, ClapArgs)]
pub struct LoadArgs {
    /// Users who wait for their answers, requests that come whatever happens, or the requests of a log
    #[arg(long, value_name = "MODEL", default_value = "open")]
    pub model: ModelArg,
    /// Users of a closed load; the most connections of an open one [default: 10, or 900]
    #[arg(long, value_name = "COUNT")]
    pub connections: Option<usize>,
    /// Requests a second of an open load
    #[arg(long, value_name = "RATE", default_value_t = 10.0)]
    pub rate: f64,
    /// Let the requests of an open load come at random
    #[arg(long)]
    pub poisson: bool,
    /// How long requests are started [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
    /// End after this many requests
    #[arg(long, value_name = "COUNT")]
    pub requests: Option<u64>,
    /// Do not measure what starts in this time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub warm_up: Option<Duration>,
    /// How long one request may take [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Processor cores that send [default: by the load]
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<usize>,
    /// Keep each of them on a core of its own
    #[arg(long)]
    pub pin: bool,
    /// Spin so long before each start, such as 60us, for the last microseconds of precision
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub spin: Option<Duration>,
    /// Open a connection for every request
    #[arg(long)]
    pub fresh_connections: bool,
    /// A bar to keep, such as 'p95 < 200ms', 'errors < 1%', 'rate >= 99%'; may be repeated
    #[arg(long = "threshold", value_name = "THRESHOLD", value_parser = threshold)]
    pub thresholds: Vec<Threshold>,
}

/// What decides when a request starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelArg {
    /// Requests come whatever happens.
    Open,
    /// Users wait for their answers.
    Closed,
    /// Requests come at the times of a log.
    Replay,
}

/// Arguments of `alpha bench run`.
#[derive(Clone, Debug, ClapArgs)]
pub struct RunArgs {
    /// Where the load goes: http, https, ws or wss
    #[arg(value_name = "URL", required_unless_present = "scenario")]
    pub url: Option<Url>,
    /// Run the loads of this file, TOML
    #[arg(long, value_name = "FILE", conflicts_with = "quarterly")]
    pub scenario: Option<PathBuf>,
    /// Run the quarterly benchmark: three endpoints, then 10, 50 and 100 users
    #[arg(long)]
    pub quarterly: bool,
    /// Where the load goes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How the load is put on.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Play back this log: an access log, or lines that begin with a time
    #[arg(long, value_name = "FILE", required_if_eq("model", "replay"), conflicts_with_all = ["scenario", "quarterly"])]
    pub log: Option<PathBuf>,
    /// How much faster than it happened
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "log")]
    pub speed: f64,
    /// Keep the result as a baseline of this name
    #[arg(long, value_name = "NAME", value_parser = baseline_name)]
    pub save: Option<String>,
    /// Write the result to this file as well, as JSON
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `alpha bench compare`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CompareArgs {
    /// Name of a kept baseline, a result file, or a URL to run against the other
    #[arg(value_name = "BASELINE")]
    pub baseline: String,
    /// A result file, or a URL
    #[arg(value_name = "CANDIDATE")]
    pub candidate: String,
    /// When to reject the candidate; may be repeated [default: 'response time +50 %' and 'errors > 5 %']
    #[arg(long = "rule", value_name = "RULE", value_parser = rule)]
    pub rules: Vec<Rule>,
    /// Seconds for each side, where both are URLs and run in turn
    #[arg(long, value_name = "COUNT", default_value_t = 30)]
    pub seconds: usize,
    /// Where the load goes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How the load is put on.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Arguments of `alpha bench report`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ReportArgs {
    /// A result file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
    /// Where to write it [default: the standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `alpha bench merge`.
#[derive(Clone, Debug, ClapArgs)]
pub struct MergeArgs {
    /// Result files of one load each
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub files: Vec<PathBuf>,
    /// Write the merged result to this file as well, as JSON
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Plain text.
    Text,
    /// Markdown.
    Markdown,
    /// One HTML file with its charts.
    Html,
    /// A line for each second.
    Csv,
    /// JUnit XML.
    Junit,
    /// HdrHistogram's percentile distribution.
    Hgrm,
    /// Prometheus' text format.
    Prometheus,
}

/// Arguments of `alpha bench find-max`.
#[derive(Clone, Debug, ClapArgs)]
pub struct FindMaxArgs {
    /// Where the load goes
    #[arg(value_name = "URL")]
    pub url: Url,
    /// The rate to begin with
    #[arg(long, value_name = "RATE", default_value_t = 50.0)]
    pub from: f64,
    /// The rate not to go beyond
    #[arg(long, value_name = "RATE", default_value_t = 1e6)]
    pub up_to: f64,
    /// Where the load goes.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How the load is put on.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Arguments of `alpha bench selftest`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SelftestArgs {
    /// Run only this case; may be repeated
    #[arg(long = "case", value_name = "CASE", value_parser = case)]
    pub cases: Vec<Case>,
}

fn case(text: &str) -> Result<Case, String> {
    let known = || Case::ALL.map(Case::as_str).join(", ");
    let found = Case::ALL.into_iter().find(|case| case.as_str() == text);
    found.ok_or_else(|| format!("expected one of {}", known()))
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text
        .parse::<jiff::SignedDuration>()
        .map_err(|error| error.to_string())?;
    Duration::try_from(parsed).map_err(|error| error.to_string())
}

fn threshold(text: &str) -> Result<Threshold, String> {
    text.parse()
        .map_err(|error: alpha_bench::Error| error.to_string())
}

fn rule(text: &str) -> Result<Rule, String> {
    text.parse()
        .map_err(|error: alpha_bench::Error| error.to_string())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| "expected NAME: VALUE".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A name that is a folder's name and nothing else.
fn baseline_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(allowed) {
        return Err("expected letters, digits, '-', '_' and '.'".to_owned());
    }
    Ok(text.to_owned())
}
