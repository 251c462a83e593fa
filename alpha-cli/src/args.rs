//! What was typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::language::Language;

mod alert;
mod alertmanager;
mod bench;
mod incident;
mod on_call;
mod server;
mod value;

pub use alert::{
    ActArgs, AlertCommand, AlertIdArgs, AlertListArgs, RouteCommand, RouteTestArgs, SendArgs, SilenceAddArgs,
    SilenceCommand, SilenceExpireArgs, SilenceListArgs, SimulateArgs,
};
pub(crate) use alertmanager::go_flags;
pub use alertmanager::{AlertmanagerArgs, LogFormat, LogLevel};
pub use bench::{
    BenchCommand, CompareArgs, FindMaxArgs, LoadArgs, MergeArgs, ModelArg, ReportArgs, ReportFormat, RunArgs,
    SelftestArgs, TargetArgs,
};
pub use incident::{ExportArgs, IncidentCommand, IncidentIdArgs, IncidentListArgs, NoteArgs, RecordArg};
pub use on_call::{
    HandoverAcceptArgs, HandoverCommand, HandoverIdArgs, HandoverWriteArgs, OnCallCommand, OnCallNowArgs,
    OnCallSpanArgs, OverrideArgs, SwapArgs,
};
pub use server::{ServeArgs, ServerArgs};
pub use value::Stint;

/// Operates a Substrate network and the web services around it.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "alpha",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Args {
    /// What every command has.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command has.
#[derive(Clone, Debug, ClapArgs)]
pub struct Global {
    /// Configuration file, TOML or YAML by its extension [default: ./alpha.toml, then /etc/alpha/alpha.toml]
    #[arg(long, short, global = true, env = "ALPHA_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Language of what people read [default: by the locale]
    #[arg(long, global = true, value_name = "LANGUAGE")]
    pub lang: Option<Language>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print less: only the verdict
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more; twice for Alpha's own log on the console
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colour [default: on a terminal, unless NO_COLOR is set]
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    pub color: ColorChoice,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Look once and say what is wrong, worst first
    Check(CheckArgs),
    /// Look continuously
    Watch(WatchArgs),
    /// Look continuously, turn what is wrong into alerts, and tell whoever must act
    Serve(ServeArgs),
    /// Alerts: send, list, explain, acknowledge, silence
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Incidents: what somebody must act on, from the first page to the post-mortem
    #[command(subcommand)]
    Incident(IncidentCommand),
    /// Who is on duty, and when others take over
    #[command(subcommand, name = "oncall")]
    OnCall(OnCallCommand),
    /// Write a commented configuration of what is found running here
    Init(InitArgs),
    /// Validate, explain or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Put an honest load on a service and judge its latency
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Run the alerting part alone, in the place of Alertmanager and with its configuration
    Alertmanager(Box<AlertmanagerArgs>),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print the manual pages
    Man(ManArgs),
}

/// Arguments of `alpha check`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CheckArgs {
    /// Names of the checks to run, `*` stands for anything [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Propose the restarts that are safe, ask, and do them; a signing validator is refused by name
    #[arg(long)]
    pub fix: bool,
    /// Consent to what --fix proposes without being asked
    #[arg(long, requires = "fix")]
    pub yes: bool,
    /// Print what --fix would do, and do nothing
    #[arg(long, requires = "fix", conflicts_with = "yes")]
    pub dry_run: bool,
    /// Neither read nor write the history
    #[arg(long)]
    pub no_history: bool,
}

/// Arguments of `alpha watch`.
#[derive(Clone, Debug, ClapArgs)]
pub struct WatchArgs {
    /// Names of the checks to watch, `*` stands for anything [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Stop after this long, such as 10m [default: never]
    #[arg(long = "for", value_name = "DURATION", value_parser = alpha_probes::Period::parse)]
    pub duration: Option<alpha_probes::Period>,
}

/// Arguments of `alpha init`.
#[derive(Clone, Debug, ClapArgs)]
pub struct InitArgs {
    /// Where to write it; `-` is the standard output
    #[arg(value_name = "FILE", default_value = "alpha.toml")]
    pub file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// Subcommands of `alpha config`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with the configuration
    Check,
    /// Print the JSON schema of the configuration, for editors
    Schema,
    /// Print the configuration as it is understood, secrets by reference only
    Show,
}

/// Arguments of `alpha completions`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Arguments of `alpha man`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ManArgs {
    /// Write one page a command into this folder instead of printing the first
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}
