//! `alpha incident note`: writes something down.

use std::collections::BTreeMap;

use alpha_probes::text;

use super::Failure;
use super::number;
use super::remote::{Remote, actor};
use crate::args::NoteArgs;
use crate::exit_code::Exit;
use crate::terminal::Terminal;

pub(super) async fn run(args: &NoteArgs, remote: &Remote, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let by = actor(args.by.as_deref());
    let note = BTreeMap::from([("by", by.as_str()), ("text", args.text.as_str())]);
    let incident = remote.act(number(&args.incident)?, "notes", &note).await?;
    if remote.reader.json {
        remote.reader.document(&incident, terminal)?;
    } else {
        let text = text!(
            "noted in incident {number}: {title}",
            number = incident.id.to_string(),
            title = incident.title
        );
        remote.reader.line(&text, terminal);
    }
    Ok(Exit::SUCCESS)
}
