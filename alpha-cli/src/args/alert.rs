//! What is typed after `alpha alert`.

use std::path::PathBuf;

use alpha_alerts::{Period, Severity};
use clap::{Args as ClapArgs, Subcommand};
use jiff::Timestamp;

use super::server::ServerArgs;
use super::value::{instant, pair, period, severity};

/// Subcommands of `alpha alert`.
#[derive(Clone, Debug, Subcommand)]
pub enum AlertCommand {
    /// Send an alert, or its end
    Send(SendArgs),
    /// List the alerts, worst first
    List(AlertListArgs),
    /// Show one alert
    Show(AlertIdArgs),
    /// Say what became of an alert or an incident: who was told what, and what was kept back by what
    Why(AlertIdArgs),
    /// Take an incident: paging stops at once
    Ack(ActArgs),
    /// Say that an incident or an alert is over
    Resolve(ActArgs),
    /// Silences and maintenance windows
    #[command(subcommand)]
    Silence(SilenceCommand),
    /// The tree of routes
    #[command(subcommand)]
    Route(RouteCommand),
    /// Play an alert log on a virtual clock: who would have been told what, and when
    Simulate(SimulateArgs),
}

/// Arguments of `alpha alert send`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SendArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The name of the alert, such as DiskFull
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Further labels
    #[arg(value_name = "LABEL=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// How bad it is: P0, P1, P2 or P3
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    pub severity: Option<Severity>,
    /// One line of what is wrong
    #[arg(long, value_name = "TEXT")]
    pub summary: Option<String>,
    /// Further annotations
    #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = pair)]
    pub annotations: Vec<(String, String)>,
    /// How long it fires unless it is sent again [default: the server's resolve_timeout]
    #[arg(long = "for", value_name = "DURATION", value_parser = period, conflicts_with = "resolve")]
    pub duration: Option<Period>,
    /// It is over
    #[arg(long)]
    pub resolve: bool,
}

/// Arguments of `alpha alert list`.
#[derive(Clone, Debug, ClapArgs)]
pub struct AlertListArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Only alerts that all of these match, such as severity="P1"
    #[arg(value_name = "MATCHER")]
    pub matchers: Vec<String>,
    /// Those too that are silenced, inhibited or muted
    #[arg(long)]
    pub all: bool,
}

/// An alert or an incident.
#[derive(Clone, Debug, ClapArgs)]
pub struct AlertIdArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The fingerprint of an alert or its beginning, or the number of an incident, such as 17
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Who does something with an incident.
#[derive(Clone, Debug, ClapArgs)]
pub struct ActArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The number of an incident, or the fingerprint of one of its alerts
    #[arg(value_name = "ID")]
    pub id: String,
    /// Who does it [default: the user of this process]
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
}

/// Subcommands of `alpha alert silence`.
#[derive(Clone, Debug, Subcommand)]
pub enum SilenceCommand {
    /// Silence alerts for a time
    Add(SilenceAddArgs),
    /// List the silences
    List(SilenceListArgs),
    /// End a silence now
    Expire(SilenceExpireArgs),
}

/// Arguments of `alpha alert silence add`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SilenceAddArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Which alerts: those that all of these match, such as component="api"
    #[arg(value_name = "MATCHER", required = true)]
    pub matchers: Vec<String>,
    /// Why
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub comment: String,
    /// How long
    #[arg(long = "for", value_name = "DURATION", value_parser = period, default_value = "1h", conflicts_with = "until")]
    pub duration: Period,
    /// From when, in the local zone or with one [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// Until when
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub until: Option<Timestamp>,
    /// Who makes it [default: the user of this process]
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
}

/// Arguments of `alpha alert silence list`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SilenceListArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Those too that are over
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `alpha alert silence expire`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SilenceExpireArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The silence, or the beginning of its name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Subcommands of `alpha alert route`.
#[derive(Clone, Debug, Subcommand)]
pub enum RouteCommand {
    /// Show whom an alert with these labels would reach by the configuration, and why
    Test(RouteTestArgs),
}

/// Arguments of `alpha alert route test`.
#[derive(Clone, Debug, ClapArgs)]
pub struct RouteTestArgs {
    /// The labels of the alert
    #[arg(value_name = "LABEL=VALUE", value_parser = pair, required = true)]
    pub labels: Vec<(String, String)>,
}

/// Arguments of `alpha alert simulate`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SimulateArgs {
    /// Lines of JSON: {"at":"2026-01-01T10:00:00Z","alerts":[{"labels":{"alertname":"DiskFull"}}]}; `-` is the standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How long the clock runs on after the last line
    #[arg(long, value_name = "DURATION", value_parser = period, default_value = "1h")]
    pub after: Period,
}
