//! What is typed after `alpha incident`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::server::ServerArgs;

/// Subcommands of `alpha incident`.
#[derive(Clone, Debug, Subcommand)]
pub enum IncidentCommand {
    /// List the incidents that are not over, worst first
    List(IncidentListArgs),
    /// Show one incident with everything that happened
    Show(IncidentIdArgs),
    /// Write something down
    Note(NoteArgs),
    /// Write the post-mortem of an incident, alone or into the knowledge base
    Export(ExportArgs),
}

/// Arguments of `alpha incident list`.
#[derive(Clone, Debug, ClapArgs)]
pub struct IncidentListArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Those too that are over
    #[arg(long)]
    pub all: bool,
}

/// One incident.
#[derive(Clone, Debug, ClapArgs)]
pub struct IncidentIdArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The number of the incident
    #[arg(value_name = "INCIDENT")]
    pub incident: String,
}

/// Arguments of `alpha incident note`.
#[derive(Clone, Debug, ClapArgs)]
pub struct NoteArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The number of the incident
    #[arg(value_name = "INCIDENT")]
    pub incident: String,
    /// What; one that begins with "lesson:" goes into the lessons
    #[arg(value_name = "TEXT")]
    pub text: String,
    /// Who writes it [default: the user of this process]
    #[arg(long, value_name = "PERSON")]
    pub by: Option<String>,
}

/// Arguments of `alpha incident export`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ExportArgs {
    /// The running server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The number of the incident
    #[arg(value_name = "INCIDENT")]
    pub incident: String,
    /// The folder of the knowledge base to write it into [default: print it]
    #[arg(long, value_name = "FOLDER")]
    pub into: Option<PathBuf>,
    /// Where in the knowledge base [default: by its alerts]
    #[arg(long, value_name = "WHERE", requires = "into")]
    pub record: Option<RecordArg>,
}

/// What kind of record an incident is (M26).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordArg {
    /// Something failed.
    Failures,
    /// Something was slow.
    Performance,
    /// Somebody attacked.
    Security,
}
