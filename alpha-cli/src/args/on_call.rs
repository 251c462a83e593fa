//! What is typed after `alpha oncall`.

use clap::{Args as ClapArgs, Subcommand};
use jiff::Timestamp;

use super::server::ServerArgs;
use super::value::{Stint, instant, stint};

/// Subcommands of `alpha oncall`.
#[derive(Clone, Debug, Subcommand)]
pub enum OnCallCommand {
    /// Say who is on duty
    Now(OnCallNowArgs),
    /// List the shifts
    Schedule(OnCallSpanArgs),
    /// List the times when nobody is on duty; there is a finding when there are any
    Gaps(OnCallSpanArgs),
    /// Put somebody on duty for a time, or take that back
    Override(OverrideArgs),
    /// Two people serve each other's time
    Swap(SwapArgs),
    /// Hand over: write the report of a shift, list reports, accept one
    #[command(subcommand)]
    Handover(HandoverCommand),
    /// Print shifts and meetings as an iCalendar file
    Ical(OnCallSpanArgs),
}

/// Arguments of `alpha oncall now`.
#[derive(Clone, Debug, ClapArgs)]
pub struct OnCallNowArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Look at the configuration alone, without the overrides that the server knows
    #[arg(long)]
    pub offline: bool,
    /// When [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub at: Option<Timestamp>,
}

/// A time to look at.
#[derive(Clone, Debug, ClapArgs)]
pub struct OnCallSpanArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Look at the configuration alone, without the overrides that the server knows
    #[arg(long)]
    pub offline: bool,
    /// The schedule [default: all]
    #[arg(value_name = "SCHEDULE")]
    pub schedule: Option<String>,
    /// From when [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// For how many days, at most 366
    #[arg(long, value_name = "DAYS", default_value_t = 28, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub days: u16,
}

/// Arguments of `alpha oncall override`.
#[derive(Clone, Debug, ClapArgs)]
pub struct OverrideArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The schedule
    #[arg(value_name = "SCHEDULE", required_unless_present = "remove")]
    pub schedule: Option<String>,
    /// Who is on duty
    #[arg(value_name = "PERSON", required_unless_present = "remove")]
    pub person: Option<String>,
    /// From when [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// Until when
    #[arg(long, value_name = "TIME", value_parser = instant, required_unless_present = "remove")]
    pub until: Option<Timestamp>,
    /// In whose place [default: everybody's]
    #[arg(long, value_name = "PERSON")]
    pub replaces: Option<String>,
    /// Why
    #[arg(
        long,
        short = 'm',
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
    /// Who makes it [default: the user of this process]
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
    /// Take this override back, and with it the other half of a swap
    #[arg(long, value_name = "ID", conflicts_with_all = ["schedule", "person", "from", "until", "replaces"])]
    pub remove: Option<String>,
}

/// Arguments of `alpha oncall swap`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SwapArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// The first person and the time that the second one serves for them, such as mei@2026-02-02T09:00/2026-02-09T09:00
    #[arg(value_name = "PERSON@FROM/UNTIL", value_parser = stint)]
    pub first: Stint,
    /// The second person and the time that the first one serves for them
    #[arg(value_name = "PERSON@FROM/UNTIL", value_parser = stint)]
    pub second: Stint,
    /// Why
    #[arg(
        long,
        short = 'm',
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
    /// Who makes it [default: the user of this process]
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
}

/// Subcommands of `alpha oncall handover`.
#[derive(Clone, Debug, Subcommand)]
pub enum HandoverCommand {
    /// Write the report of a shift for whoever takes over
    Write(HandoverWriteArgs),
    /// List the reports
    List(ServerArgs),
    /// Show a report
    Show(HandoverIdArgs),
    /// Take over
    Accept(HandoverAcceptArgs),
}

/// Arguments of `alpha oncall handover write`.
#[derive(Clone, Debug, ClapArgs)]
pub struct HandoverWriteArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// When the shift began [default: when the people on duty took over]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// What else the next person has to know
    #[arg(long = "note", value_name = "TEXT")]
    pub notes: Vec<String>,
    /// Who writes it [default: the user of this process]
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
    /// Print it and keep nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// One report.
#[derive(Clone, Debug, ClapArgs)]
pub struct HandoverIdArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The report, or the beginning of its name
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Arguments of `alpha oncall handover accept`.
#[derive(Clone, Debug, ClapArgs)]
pub struct HandoverAcceptArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The report, or the beginning of its name
    #[arg(value_name = "ID")]
    pub id: String,
    /// Who takes over [default: the user of this process]
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
}
