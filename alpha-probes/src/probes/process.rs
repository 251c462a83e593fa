//! The probe `process`: whether a program runs, and what it uses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use procfs::process::{LimitValue, Process as ProcfsProcess, Stat};
use procfs::{page_size, ticks_per_second};
use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host::{Kernel, Sampler, TARGET};
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "process",
    summary: "Whether a program runs, and the processor time, memory and files it uses",
    metrics: &[
        Metric::gauge("count", Unit::Count, "Processes that match, zombies not counted"),
        Metric::gauge(
            "stopped",
            Unit::Count,
            "Of them, those that are stopped (SIGSTOP, a debugger) and do nothing",
        ),
        Metric::gauge("zombies", Unit::Count, "Ended processes that nobody asked about"),
        Metric::gauge(
            "cpu",
            Unit::Count,
            "Processors they use together: 1.5 is one and a half",
        ),
        Metric::gauge(
            "resident",
            Unit::Bytes,
            "Memory they hold together; what they share counts for each",
        ),
        Metric::gauge("threads", Unit::Count, "Threads they have together"),
        Metric::gauge(
            "files",
            Unit::Count,
            "Files they have open together, of those that may be looked at",
        ),
        Metric::gauge(
            "files_used",
            Unit::Ratio,
            "Share of the files that the worst of them may open",
        ),
        Metric::gauge("age", Unit::Seconds, "Time since the youngest of them started"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "count == 0",
            sustained: "",
            says: "no process matches {wanted}",
            remedy: "Find out why it ended before starting it again; never blindly restart a signing validator.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "stopped > 0",
            sustained: "",
            says: "{stopped} processes of {wanted} are stopped and do nothing",
            remedy: "Find who stopped it (a debugger, kill -STOP) and let it go on: kill -CONT.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "has(files_used) && files_used > 80%",
            sustained: "",
            says: "a process of {wanted} has {files_used} of its files open",
            remedy: "Count what it holds (ls -l /proc/PID/fd); raise LimitNOFILE if all is wanted.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "zombies > 5",
            sustained: "10m",
            says: "{zombies} ended processes of {wanted} wait for their parent to ask about them",
            remedy: "Their parent has a fault: restart it when that is safe.",
        },
    ],
};

/// The table `process` of a check.
///
/// Arguments of processes may hold secrets; they are compared, and never shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProcessConfig {
    /// The name of the program, as in `ps -o comm`; of a longer one the first 15 bytes count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A regular expression that the command line must contain, its words joined by blanks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// A file that holds the number of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// Where the kernel's process file system is mounted. Default: `/proc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
}

#[derive(Debug)]
enum Wanted {
    Name(String),
    CommandLine(Regex),
    PidFile(PathBuf),
}

impl ProbeConfig for ProcessConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        let (wanted, said) = match (&self.name, &self.command_line, &self.pid_file) {
            (Some(name), None, None) if !name.is_empty() => {
                // The kernel keeps 15 bytes of a name.
                let kept = name
                    .char_indices()
                    .map(|(at, letter)| at + letter.len_utf8())
                    .take_while(|end| *end <= 15);
                (
                    Wanted::Name(name[..kept.last().unwrap_or(0)].to_owned()),
                    name.clone(),
                )
            }
            (None, Some(pattern), None) => {
                let regex = RegexBuilder::new(pattern)
                    .unicode(false)
                    .size_limit(1 << 20)
                    .build();
                let regex = regex.map_err(|_| {
                    Error::new(
                        ErrorKind::InvalidConfig,
                        text!(
                            "command_line: expected a regular expression, found \"{found}\"",
                            found = pattern
                        ),
                    )
                })?;
                (Wanted::CommandLine(regex), pattern.clone())
            }
            (None, None, Some(path)) => (Wanted::PidFile(path.clone()), path.display().to_string()),
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    text!("expected exactly one of the keys name, command_line and pid_file"),
                ));
            }
        };
        Ok(Arc::new(Process {
            kernel: Kernel::new(self.proc.as_deref(), None),
            wanted: Arc::new(wanted),
            said,
            sampler: Sampler::default(),
        }))
    }
}

#[derive(Debug)]
struct Process {
    kernel: Kernel,
    wanted: Arc<Wanted>,
    said: String,
    sampler: Sampler<Vec<Seen>>,
}

/// What was seen of one process.
#[derive(Clone, Debug)]
struct Seen {
    pid: i32,
    state: char,
    ticks: u64,
    started: u64,
    resident: u64,
    threads: i64,
    files: Option<usize>,
    files_used: Option<f64>,
}

impl Wanted {
    /// The processes to look at. One that ends while it is looked at was not there.
    fn find(&self, proc: &Path) -> Result<Vec<ProcfsProcess>> {
        if let Self::PidFile(path) = self {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                // Programs remove it when they end.
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(cause) => return Err(super::file::unreadable(path, cause)),
            };
            let pid: u32 = text.trim().parse().map_err(|_| {
                Error::new(
                    ErrorKind::Malformed,
                    text!(
                        "{path} does not hold the number of a process",
                        path = path.display().to_string()
                    ),
                )
            })?;
            return Ok(ProcfsProcess::new_with_root(proc.join(pid.to_string()))
                .into_iter()
                .collect());
        }
        let entries = std::fs::read_dir(proc).map_err(|cause| super::file::unreadable(proc, cause))?;
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let own = std::process::id();
        let found = numbers
            .filter(|pid| *pid != own)
            .filter_map(|pid| {
                let folder = proc.join(pid.to_string());
                // The name and the arguments are read from files of their own, so that strangers cost little.
                let is_wanted = match self {
                    Self::Name(name) => {
                        std::fs::read(folder.join("comm")).ok()?.trim_ascii_end() == name.as_bytes()
                    }
                    Self::CommandLine(regex) => {
                        let mut line = std::fs::read(folder.join("cmdline")).ok()?;
                        for byte in &mut line {
                            *byte = if *byte == 0 { b' ' } else { *byte };
                        }
                        !line.is_empty() && regex.is_match(&line)
                    }
                    Self::PidFile(_) => false,
                };
                is_wanted
                    .then(|| ProcfsProcess::new_with_root(folder).ok())
                    .flatten()
            })
            .collect();
        Ok(found)
    }
}

impl Seen {
    fn of(process: &ProcfsProcess) -> Option<Self> {
        let stat: Stat = process.stat().ok()?;
        // Only the owner and root may look at open files.
        let files = process.fd_count().ok();
        let limit = process
            .limits()
            .ok()
            .map(|limits| limits.max_open_files.soft_limit);
        let files_used = match (files, limit) {
            (Some(files), Some(LimitValue::Value(limit))) if limit > 0 => Some(files as f64 / limit as f64),
            (Some(_), Some(LimitValue::Unlimited)) => Some(0.0),
            _ => None,
        };
        Some(Self {
            pid: stat.pid,
            state: stat.state,
            ticks: stat.utime + stat.stime,
            started: stat.starttime,
            resident: stat.rss * page_size(),
            threads: stat.num_threads,
            files,
            files_used,
        })
    }
}

/// Looks at all processes that are wanted.
fn look(wanted: &Wanted, proc: &Path) -> Result<Vec<Seen>> {
    Ok(wanted.find(proc)?.iter().filter_map(Seen::of).collect())
}

#[async_trait]
impl Probe for Process {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let take = || look(&self.wanted, self.kernel.proc());
        let span = self.sampler.span(take).await?;
        let alive: Vec<&Seen> = span
            .after
            .iter()
            .filter(|seen| !matches!(seen.state, 'Z' | 'X'))
            .collect();
        let zombies = span.after.len() - alive.len();
        let stopped = alive
            .iter()
            .filter(|seen| matches!(seen.state, 'T' | 't'))
            .count();
        let worked: u64 = alive
            .iter()
            .map(|seen| {
                // The same number may stand for another process by now; that one has worked since it started.
                let before = span
                    .before
                    .iter()
                    .find(|old| old.pid == seen.pid && old.started == seen.started);
                seen.ticks - before.map_or(0, |before| before.ticks).min(seen.ticks)
            })
            .sum();
        let cpu = worked as f64 / ticks_per_second() as f64 / span.elapsed.as_secs_f64();
        let sum = |of: fn(&Seen) -> f64| alive.iter().map(|seen| of(seen)).sum::<f64>();
        let mut observation = Observation::new()
            .with_fact("wanted", self.said.as_str())
            .with("count", alive.len() as f64, Unit::Count)
            .with("stopped", stopped as f64, Unit::Count)
            .with("zombies", zombies as f64, Unit::Count)
            .with("cpu", cpu, Unit::Count)
            .with("resident", sum(|seen| seen.resident as f64), Unit::Bytes)
            .with("threads", sum(|seen| seen.threads as f64), Unit::Count);
        if alive.iter().any(|seen| seen.files.is_some()) {
            observation = observation.with("files", sum(|seen| seen.files.unwrap_or(0) as f64), Unit::Count);
        }
        if let Some(used) = alive.iter().filter_map(|seen| seen.files_used).reduce(f64::max) {
            observation = observation.with("files_used", used, Unit::Ratio);
        }
        if let Some(youngest) = alive.iter().map(|seen| seen.started).max() {
            let boot = self.kernel.statistics()?.btime as f64;
            let started = boot + youngest as f64 / ticks_per_second() as f64;
            let age = (context.clock.now().as_millisecond() as f64 / 1e3 - started).max(0.0);
            let started = Timestamp::from_second(started as i64)
                .map(|at| at.to_string())
                .unwrap_or_default();
            observation = observation
                .with("age", age, Unit::Seconds)
                .with_fact("started_at", started);
        }
        let shown: Vec<String> = alive
            .iter()
            .take(10)
            .map(|seen| format!("{} {}", seen.pid, seen.state))
            .collect();
        if !shown.is_empty() {
            observation = observation.with_fact("processes", shown);
        }
        Ok(observation)
    }
}
