//! The probe `load`: how many threads want a processor.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use procfs::LoadAverage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kernel, TARGET};
use crate::check::ProbeConfig;
use crate::error::Result;
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "load",
    summary: "How many threads of this machine run, or wait for a processor or a disk",
    metrics: &[
        Metric::gauge(
            "load1",
            Unit::Count,
            "Threads running or waiting, over the last minute",
        ),
        Metric::gauge(
            "load5",
            Unit::Count,
            "Threads running or waiting, over the last five minutes",
        ),
        Metric::gauge(
            "load15",
            Unit::Count,
            "Threads running or waiting, over the last fifteen minutes",
        ),
        Metric::gauge(
            "load5_per_core",
            Unit::Count,
            "The load of the last five minutes for each processor",
        ),
        Metric::gauge(
            "blocked",
            Unit::Count,
            "Threads that wait for a disk at this moment",
        ),
        Metric::gauge(
            "threads",
            Unit::Count,
            "Threads there are, sleeping ones included",
        ),
        Metric::gauge("cores", Unit::Count, "Processors that are online"),
    ],
    is_open: false,
    // The load is an average already, so that it need not last as well.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "load5_per_core > 8",
            sustained: "",
            says: "{load5_per_core} threads for each processor run or wait",
            remedy: "See whether they wait for processors (check cpu) or for disks (check disk_io), and stop what started them.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "load5_per_core > 2",
            sustained: "",
            says: "{load5_per_core} threads for each processor run or wait",
            remedy: "See whether they wait for processors (check cpu) or for disks (check disk_io), and stop what started them.",
        },
    ],
};

/// The table `load` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LoadConfig {
    /// Where the kernel's process file system is mounted. Default: `/proc`; another where Alpha runs in a container
    /// and looks at its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
}

impl ProbeConfig for LoadConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        Ok(Arc::new(Load {
            kernel: Kernel::new(self.proc.as_deref(), None),
        }))
    }
}

#[derive(Debug)]
struct Load {
    kernel: Kernel,
}

#[async_trait]
impl Probe for Load {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        let load: LoadAverage = self.kernel.parse("loadavg")?;
        let statistics = self.kernel.statistics()?;
        let cores = statistics.cpu_time.len().max(1) as f64;
        let blocked = f64::from(statistics.procs_blocked.unwrap_or(0));
        // The kernel writes two decimals; a detour over f32 would invent more.
        let tidy = |value: f32| (f64::from(value) * 100.0).round() / 100.0;
        Ok(Observation::new()
            .with("load1", tidy(load.one), Unit::Count)
            .with("load5", tidy(load.five), Unit::Count)
            .with("load15", tidy(load.fifteen), Unit::Count)
            .with("load5_per_core", tidy(load.five) / cores, Unit::Count)
            .with("blocked", blocked, Unit::Count)
            .with("threads", f64::from(load.max), Unit::Count)
            .with("cores", cores, Unit::Count))
    }
}
