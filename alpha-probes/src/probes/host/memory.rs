//! The probe `memory`: how much memory and swap is left.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use procfs::{Meminfo, VmStat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sampler::Sampler;
use super::{Kernel, TARGET};
use crate::check::ProbeConfig;
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "memory",
    summary: "How much memory and swap this machine has left",
    metrics: &[
        Metric::gauge(
            "used",
            Unit::Ratio,
            "Share of the memory that cannot be had without swapping",
        ),
        Metric::gauge(
            "available",
            Unit::Bytes,
            "Memory that programs can have without swapping",
        ),
        Metric::gauge(
            "total",
            Unit::Bytes,
            "Memory there is, or that the control group allows",
        ),
        Metric::gauge(
            "swap_used",
            Unit::Ratio,
            "Share of the swap in use; 0 where there is none",
        ),
        Metric::gauge("swap_free", Unit::Bytes, "Swap that is free"),
        Metric::gauge("swap_total", Unit::Bytes, "Swap there is"),
        Metric::gauge("swap_in", Unit::PerSecond, "Pages read back from the swap"),
        Metric::gauge("swap_out", Unit::PerSecond, "Pages written to the swap"),
        Metric::counter(
            "oom_kills",
            Unit::Count,
            "Processes the kernel killed for want of memory since the start",
        ),
    ],
    is_open: false,
    // The limits of M1 and M3.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "used > 95%",
            sustained: "",
            says: "{used} of the memory is used, {available} is left",
            remedy: "Find the process that grows (ps aux --sort -rss) and restart or limit it, before the kernel kills one.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "used > 80%",
            sustained: "",
            says: "{used} of the memory is used, {available} is left",
            remedy: "Find the process that grows (ps aux --sort -rss) and restart or limit it, before the kernel kills one.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "swap_used > 80%",
            sustained: "",
            says: "{swap_used} of the swap is used",
            remedy: "Find what was pushed out (smem, or VmSwap in /proc/PID/status) and give the machine more memory.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "swap_in > 1000",
            sustained: "5m",
            says: "{swap_in} pages come back from the swap, so that programs wait for the disk",
            remedy: "Find the process that grows (ps aux --sort -rss) and restart or limit it, or give the machine more memory.",
        },
    ],
};

/// The table `memory` of a check.
///
/// Free memory is what the kernel calls available: what programs can have without swapping. Where Alpha runs in a
/// container with a limit of its own (control groups, version 2 or 1), the limit takes the place of the machine's
/// memory, and the fact `limited_by` says so.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// Where the kernel's process file system is mounted. Default: `/proc`; another where Alpha runs in a container
    /// and looks at its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
    /// Where the kernel's device file system is mounted, control groups in it. Default: `/sys`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sys: Option<PathBuf>,
}

impl ProbeConfig for MemoryConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        Ok(Arc::new(Memory {
            kernel: Kernel::new(self.proc.as_deref(), self.sys.as_deref()),
            sampler: Sampler::default(),
        }))
    }
}

#[derive(Debug)]
struct Memory {
    kernel: Kernel,
    sampler: Sampler<Swapping>,
}

/// Counters of pages and kills since the machine started.
#[derive(Clone, Copy, Debug)]
struct Swapping {
    pages_in: u64,
    pages_out: u64,
    kills: u64,
}

/// What a control group allows and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Allowance {
    limit: u64,
    used: u64,
    version: u8,
}

impl Memory {
    fn swapping(&self) -> Result<Swapping> {
        let VmStat(counters) = self.kernel.parse("vmstat")?;
        let counter = |name: &str| {
            counters
                .get(name)
                .and_then(|value| u64::try_from(*value).ok())
                .unwrap_or(0)
        };
        Ok(Swapping {
            pages_in: counter("pswpin"),
            pages_out: counter("pswpout"),
            kills: counter("oom_kill"),
        })
    }

    /// The limit of the container this runs in. The root of the tree of control groups has no such file, so that on a
    /// plain host, and in a unit of systemd, there is none.
    fn allowance(&self, total: u64) -> Option<Allowance> {
        let read = |name: &str| self.kernel.sys_value(&format!("fs/cgroup/{name}"));
        let number = |name: &str| read(name)?.parse::<u64>().ok();
        // What the kernel can drop at once is not in use: the cache of files that nobody touched lately.
        let cache = |name: &str, key: &str| -> u64 {
            let statistics = read(name).unwrap_or_default();
            let mut lines = statistics.lines().filter_map(|line| line.split_once(' '));
            lines
                .find(|(name, _)| *name == key)
                .and_then(|(_, value)| value.trim().parse().ok())
                .unwrap_or(0)
        };
        let (limit, used, version) = if let Some(limit) = number("memory.max") {
            let cache = cache("memory.stat", "inactive_file");
            (limit, number("memory.current")?.saturating_sub(cache), 2)
        } else {
            let cache = cache("memory/memory.stat", "total_inactive_file");
            let used = number("memory/memory.usage_in_bytes")?.saturating_sub(cache);
            (number("memory/memory.limit_in_bytes")?, used, 1)
        };
        // Version 1 writes "no limit" as a number beyond all memory.
        (limit < total).then_some(Allowance { limit, used, version })
    }
}

#[async_trait]
impl Probe for Memory {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        let span = self.sampler.span(|| self.swapping()).await?;
        let memory: Meminfo = self.kernel.parse("meminfo")?;
        // Kernels before 3.14 don't say what is available; this is the rule of thumb that they replaced.
        let available = memory
            .mem_available
            .unwrap_or(memory.mem_free + memory.buffers + memory.cached);
        let mut observation = Observation::new();
        let (total, available) = match self.allowance(memory.mem_total) {
            Some(group) => {
                let limited = format!("control group v{}", group.version);
                observation = observation
                    .with_fact("limited_by", limited)
                    .with_fact("host_total_bytes", memory.mem_total);
                (group.limit, group.limit.saturating_sub(group.used).min(available))
            }
            None => (memory.mem_total, available.min(memory.mem_total)),
        };
        if total == 0 {
            return Err(self.kernel.malformed("meminfo"));
        }
        let swap_used = match memory.swap_total {
            0 => 0.0,
            swap => 1.0 - memory.swap_free as f64 / swap as f64,
        };
        let rate = |before, after| span.rate(before, after).unwrap_or(0.0);
        Ok(observation
            .with("used", 1.0 - available as f64 / total as f64, Unit::Ratio)
            .with("available", available as f64, Unit::Bytes)
            .with("total", total as f64, Unit::Bytes)
            .with("swap_used", swap_used, Unit::Ratio)
            .with("swap_free", memory.swap_free as f64, Unit::Bytes)
            .with("swap_total", memory.swap_total as f64, Unit::Bytes)
            .with(
                "swap_in",
                rate(span.before.pages_in, span.after.pages_in),
                Unit::PerSecond,
            )
            .with(
                "swap_out",
                rate(span.before.pages_out, span.after.pages_out),
                Unit::PerSecond,
            )
            .with("oom_kills", span.after.kills as f64, Unit::Count))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn memory_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Memory) {
        let sys = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = sys.path().join("fs/cgroup").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let kernel = Kernel::new(None, Some(sys.path()));
        let sampler = Sampler::default();
        (sys, Memory { kernel, sampler })
    }

    #[test]
    fn a_container_has_what_its_group_allows_and_cold_cache_is_free() {
        let (_sys, memory) = memory_with(&[
            ("memory.max", "1073741824\n"),
            ("memory.current", "800000000\n"),
            ("memory.stat", "anon 1\ninactive_file 300000000\n"),
        ]);
        let expected = Allowance {
            limit: GIB,
            used: 500_000_000,
            version: 2,
        };
        assert_eq!(memory.allowance(4 * GIB), Some(expected));
    }

    #[test]
    fn the_first_version_of_control_groups_counts_too() {
        let (_sys, memory) = memory_with(&[
            ("memory/memory.limit_in_bytes", "1073741824\n"),
            ("memory/memory.usage_in_bytes", "500000000\n"),
        ]);
        assert_eq!(memory.allowance(4 * GIB).unwrap().version, 1);
    }

    #[test]
    fn no_limit_is_none_however_it_is_written() {
        for files in [
            &[("memory.max", "max\n"), ("memory.current", "5\n")][..],
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/memory.usage_in_bytes", "5\n"),
            ],
            &[],
        ] {
            assert_eq!(memory_with(files).1.allowance(4 * GIB), None);
        }
    }
}
