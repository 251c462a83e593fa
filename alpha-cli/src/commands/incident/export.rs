//! `alpha incident export`: the post-mortem, alone or into the knowledge base (M26).

use std::fs;
use std::io::Write as _;
use std::path::Path;

use alpha_alerts::PostMortem;
use alpha_alerts::knowledge::{self, Section};
use alpha_alerts::oncall::OnCall;
use alpha_probes::text;

use super::Failure;
use super::number;
use super::remote::Remote;
use crate::args::{ExportArgs, RecordArg};
use crate::exit_code::Exit;
use crate::terminal::Terminal;

pub(super) async fn run(
    args: &ExportArgs,
    remote: &Remote,
    terminal: &mut Terminal,
) -> Result<Exit, Failure> {
    let incident = remote.incident(number(&args.incident)?).await?;
    let reader = &remote.reader;
    let Some(folder) = &args.into else {
        let record = PostMortem::of(&incident, reader.now);
        if reader.json {
            reader.document(&record, terminal)?;
        } else {
            terminal.print(&record.to_markdown(&reader.language, &reader.zone));
        }
        return Ok(Exit::SUCCESS);
    };
    let section = match args.record {
        Some(RecordArg::Failures) => Section::Failure,
        Some(RecordArg::Performance) => Section::Performance,
        Some(RecordArg::Security) => Section::Security,
        None => {
            let on_call = OnCall::new(&remote.on_call).unwrap_or_default();
            Section::of(&incident.alert_labels(), &on_call)
        }
    };
    let documents = knowledge::record(&incident, section, reader.now, &reader.language, &reader.zone)?;
    for document in &documents {
        let path = folder.join(&document.path);
        write(&path, &document.content).map_err(|error| {
            text!(
                "{file} cannot be written: {cause}",
                file = path.display().to_string(),
                cause = error.to_string()
            )
        })?;
    }
    let paths: Vec<String> = documents
        .iter()
        .map(|document| folder.join(&document.path).display().to_string())
        .collect();
    if reader.json {
        reader.document(&serde_json::json!({ "written": paths }), terminal)?;
    } else {
        for path in paths {
            reader.line(&text!("wrote {file}", file = path), terminal);
        }
    }
    Ok(Exit::SUCCESS)
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, content: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let mut file = fs::File::create(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
