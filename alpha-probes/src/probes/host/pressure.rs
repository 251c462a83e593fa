//! The probe `pressure`: how much time work lost waiting for processors, memory and disks.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kernel, TARGET};
use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "pressure",
    summary: "How much time work lost waiting for processors, memory and disks (the kernel's pressure stall information)",
    metrics: &[
        Metric::gauge(
            "cpu_some",
            Unit::Ratio,
            "Share of the last minute in which something waited for a processor",
        ),
        Metric::gauge(
            "memory_some",
            Unit::Ratio,
            "Share of the last minute in which something waited for memory",
        ),
        Metric::gauge(
            "memory_full",
            Unit::Ratio,
            "Share of the last minute in which everything waited for memory",
        ),
        Metric::gauge(
            "io_some",
            Unit::Ratio,
            "Share of the last minute in which something waited for a disk",
        ),
        Metric::gauge(
            "io_full",
            Unit::Ratio,
            "Share of the last minute in which everything waited for a disk",
        ),
        Metric::counter(
            "cpu_some_time",
            Unit::Seconds,
            "Time in which something waited for a processor",
        ),
        Metric::counter(
            "memory_full_time",
            Unit::Seconds,
            "Time in which everything waited for memory",
        ),
        Metric::counter(
            "io_full_time",
            Unit::Seconds,
            "Time in which everything waited for a disk",
        ),
    ],
    is_open: false,
    // No limit of the plan. Where everything waits a tenth of the time for memory, userspace killers start to kill.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "memory_full > 30%",
            sustained: "",
            says: "all work stood still for want of memory during {memory_full} of the last minute",
            remedy: "Find the process that grows (ps aux --sort -rss) and restart or limit it, or give the machine more memory.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "memory_full > 10%",
            sustained: "",
            says: "all work stood still for want of memory during {memory_full} of the last minute",
            remedy: "Find the process that grows (ps aux --sort -rss) and restart or limit it, or give the machine more memory.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "io_full > 40%",
            sustained: "5m",
            says: "all work waited for disks during {io_full} of the last minute",
            remedy: "Find what reads and writes (iotop, check disk_io) and slow it down or move it to another disk.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "cpu_some > 60%",
            sustained: "10m",
            says: "something waited for a processor during {cpu_some} of the last minute",
            remedy: "Find the process that uses them (top -o %CPU), and stop it, limit it or move it.",
        },
    ],
};

/// The table `pressure` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PressureConfig {
    /// Where the kernel's process file system is mounted. Default: `/proc`; another where Alpha runs in a container
    /// and looks at its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
}

impl ProbeConfig for PressureConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        Ok(Arc::new(Pressure {
            kernel: Kernel::new(self.proc.as_deref(), None),
        }))
    }
}

#[derive(Debug)]
struct Pressure {
    kernel: Kernel,
}

/// One line of a file below `/proc/pressure`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stall {
    minute: f64,
    total_seconds: f64,
}

impl Pressure {
    /// The lines `some` and `full` of a resource; kernels before 5.13 have no `full` for processors.
    fn read(&self, resource: &str) -> Result<(Stall, Option<Stall>)> {
        let name = format!("pressure/{resource}");
        let text = self.kernel.read(&name).map_err(|error| match error.kind() {
            ErrorKind::NotApplicable => Error::new(
                ErrorKind::NotApplicable,
                text!("this kernel keeps no pressure stall information (needs 4.20, and psi=1 on some)"),
            ),
            _ => error,
        })?;
        let line = |word: &str| text.lines().find_map(|line| parse(line.strip_prefix(word)?));
        let some = line("some ").ok_or_else(|| self.kernel.malformed(&name))?;
        Ok((some, line("full ")))
    }
}

/// Reads `avg10=4.50 avg60=0.91 avg300=0.00 total=681245`: percents, and microseconds.
fn parse(line: &str) -> Option<Stall> {
    let value = |name: &str| -> Option<f64> {
        line.split(' ')
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?
            .parse()
            .ok()
    };
    Some(Stall {
        minute: value("avg60")? / 100.0,
        total_seconds: value("total")? / 1e6,
    })
}

#[async_trait]
impl Probe for Pressure {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        let (cpu, _) = self.read("cpu")?;
        let (memory, memory_full) = self.read("memory")?;
        let (io, io_full) = self.read("io")?;
        let memory_full = memory_full.ok_or_else(|| self.kernel.malformed("pressure/memory"))?;
        let io_full = io_full.ok_or_else(|| self.kernel.malformed("pressure/io"))?;
        Ok(Observation::new()
            .with("cpu_some", cpu.minute, Unit::Ratio)
            .with("memory_some", memory.minute, Unit::Ratio)
            .with("memory_full", memory_full.minute, Unit::Ratio)
            .with("io_some", io.minute, Unit::Ratio)
            .with("io_full", io_full.minute, Unit::Ratio)
            .with("cpu_some_time", cpu.total_seconds, Unit::Seconds)
            .with("memory_full_time", memory_full.total_seconds, Unit::Seconds)
            .with("io_full_time", io_full.total_seconds, Unit::Seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_percents_and_microseconds() {
        let stall = parse("avg10=4.50 avg60=12.50 avg300=0.00 total=2500000");
        let expected = Stall {
            minute: 0.125,
            total_seconds: 2.5,
        };
        assert_eq!(stall, Some(expected));
        assert_eq!(parse("avg10=1.0 avg60=x total=5"), None);
    }
}
