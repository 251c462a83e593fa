//! Results that are kept by name: a folder each, a file for every run, the oldest dropped.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use alpha_bench::BenchReport;
use alpha_probes::text;

use super::results::{read_reports, write_json};
use super::{Failure, Shell};
use crate::history::state_folder;

/// How many runs of each load a baseline keeps: enough to know how much they differ, few enough to forget last year.
const KEPT: usize = 20;

fn folder(name: &str) -> PathBuf {
    state_folder().join("alpha/bench").join(name)
}

/// Adds a run to the baseline `name`.
pub(super) fn keep(name: &str, report: &BenchReport) -> Result<(), Failure> {
    let folder = folder(name);
    // Where it cannot be made, writing the file in it tells why.
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    // Loads of one scenario are runs of different things and must not become each other's baseline.
    let part = report
        .name
        .as_deref()
        .unwrap_or("run")
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    write_json(
        &folder.join(format!("{part}@{}.json", report.started_at)),
        std::slice::from_ref(report),
    )?;
    let mut runs = files(&folder);
    runs.retain(|file| {
        file.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&format!("{part}@")))
    });
    for old in runs.into_iter().rev().skip(KEPT) {
        let _ = std::fs::remove_file(old);
    }
    Ok(())
}

/// The runs of a baseline by name, or the one in a file.
pub(super) fn read(name: &str, shell: &Shell<'_>) -> Result<Vec<BenchReport>, Failure> {
    if Path::new(name).is_file() {
        return read_reports(Path::new(name), shell);
    }
    let files = files(&folder(name));
    if files.is_empty() {
        return Err(text!(
            "there is no result file and no kept baseline `{name}`",
            name = name
        )
        .into());
    }
    let mut reports = Vec::new();
    for file in files {
        reports.extend(read_reports(&file, shell)?);
    }
    Ok(reports)
}

/// The files of a baseline, oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort_by_key(|file| {
        file.file_stem()
            .and_then(|stem| stem.to_str()?.split_once('@').map(|(_, at)| at.to_owned()))
    });
    files
}
