//! Results as files, as JSON and as exit codes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use alpha_bench::{BenchReport, Verdict};
use alpha_probes::text;

use super::{Failure, Shell};
use crate::exit_code::Exit;

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

/// How a command that shows these results ends: by the worst verdict.
pub(super) fn exit_of(reports: &[BenchReport]) -> Exit {
    let worst = reports.iter().map(|report| report.verdict).max_by_key(weight);
    worst.map_or(Exit::UNDECIDED, exit)
}

/// One object for one run, and one with a list for several.
pub(super) struct Results<'a>(pub(super) &'a [BenchReport]);

impl serde::Serialize for Results<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [report] => report.serialize(serializer),
            several => BTreeMap::from([("runs", several)]).serialize(serializer),
        }
    }
}

pub(super) fn read_file(file: &Path) -> Result<String, Failure> {
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
pub(super) fn read_reports(file: &Path, shell: &Shell<'_>) -> Result<Vec<BenchReport>, Failure> {
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

/// Refuses a file whose folder does not exist: better now than after an hour of load.
pub(super) fn check_folder(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => Err(text!(
            "the folder {folder} does not exist",
            folder = folder.display().to_string()
        )
        .into()),
        _ => Ok(()),
    }
}

/// Writes a file in one step, so that an interrupted write leaves the old one.
pub(super) fn write_whole(
    file: &Path,
    write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let written = (|| {
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."));
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{name}.{}", std::process::id()));
        let mut out = std::io::BufWriter::new(std::fs::File::create(&temporary)?);
        write(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
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

/// Writes results to a file, as JSON.
pub(super) fn write_json(file: &Path, results: &[BenchReport]) -> Result<(), Failure> {
    write_whole(file, |out| {
        serde_json::to_writer(&mut *out, &Results(results))?;
        out.write_all(b"\n")
    })
}
