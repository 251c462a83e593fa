//! `alpha incident show`: one incident with everything that happened.

use alpha_alerts::{PostMortem, Text as AlertsText};

use super::Failure;
use super::list::state;
use super::number;
use super::remote::Remote;
use crate::args::IncidentIdArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

pub(super) async fn run(
    args: &IncidentIdArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let incident = remote.incident(number(&args.incident)?).await?;
    let record = PostMortem::of(&incident, remote.reader.now);
    if remote.reader.json {
        remote.reader.document(&record, terminal)?;
        return Ok(Exit::SUCCESS);
    }
    let reader = &remote.reader;
    terminal.print(&format!(
        "{} #{}: {}\n  {}\n",
        incident.severity,
        incident.id,
        incident.title,
        reader.say(&state(&incident, remote))
    ));
    for entry in &incident.timeline {
        let what: AlertsText = entry.what.to_text();
        terminal.print(&format!(
            "  {} {}\n",
            reader.time(entry.at),
            what.translate(&reader.language)
        ));
    }
    Ok(Exit::SUCCESS)
}
