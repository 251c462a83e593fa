//! The probe `cpu`: how busy the processors are, and with what.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use procfs::{CpuTime, KernelStats};
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
    name: "cpu",
    summary: "How busy the processors of this machine are, and with what",
    metrics: &[
        Metric::gauge(
            "used",
            Unit::Ratio,
            "Share of the time the processors worked, waiting for disks not counted",
        ),
        Metric::gauge(
            "user",
            Unit::Ratio,
            "Share of the time spent in programs, the nice ones included",
        ),
        Metric::gauge(
            "system",
            Unit::Ratio,
            "Share of the time spent in the kernel, interrupts included",
        ),
        Metric::gauge(
            "iowait",
            Unit::Ratio,
            "Share of the time idle while something waited for a disk",
        ),
        Metric::gauge(
            "steal",
            Unit::Ratio,
            "Share of the time the hypervisor gave to somebody else",
        ),
        Metric::gauge(
            "busiest_core",
            Unit::Ratio,
            "Share of the time the busiest processor worked",
        ),
        Metric::gauge("cores", Unit::Count, "Processors that are online"),
    ],
    is_open: false,
    // The limit of M3. A burst is what a processor is for, so that it must last, and is no emergency by itself: what
    // suffers from it tells its own check.
    rules: &[
        DefaultRule {
            level: Level::Warning,
            when: "used > 70%",
            sustained: "5m",
            says: "the processors are {used} busy",
            remedy: "Find the process that uses them (top -o %CPU), and stop it, limit it or move it.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "steal > 10%",
            sustained: "5m",
            says: "the hypervisor keeps {steal} of the processor time from this machine",
            remedy: "Ask the provider for a less crowded host, or move to an instance with dedicated processors.",
        },
    ],
};

/// The table `cpu` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CpuConfig {
    /// Where the kernel's process file system is mounted. Default: `/proc`; another where Alpha runs in a container
    /// and looks at its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
}

impl ProbeConfig for CpuConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        Ok(Arc::new(Cpu {
            kernel: Kernel::new(self.proc.as_deref(), None),
            sampler: Sampler::default(),
        }))
    }
}

#[derive(Debug)]
struct Cpu {
    kernel: Kernel,
    sampler: Sampler<Ticks>,
}

/// The ticks of all processors and of each.
#[derive(Clone, Debug)]
struct Ticks {
    all: Shares,
    each: Vec<Shares>,
}

/// Ticks by what they were spent on; together they are all ticks there were.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    user: u64,
    system: u64,
    idle: u64,
    iowait: u64,
    steal: u64,
}

impl From<&CpuTime> for Shares {
    fn from(time: &CpuTime) -> Self {
        // Guests are already counted as user time.
        Self {
            user: time.user + time.nice,
            system: time.system + time.irq.unwrap_or(0) + time.softirq.unwrap_or(0),
            idle: time.idle,
            iowait: time.iowait.unwrap_or(0),
            steal: time.steal.unwrap_or(0),
        }
    }
}

impl From<KernelStats> for Ticks {
    fn from(statistics: KernelStats) -> Self {
        Self {
            all: (&statistics.total).into(),
            each: statistics.cpu_time.iter().map(Shares::from).collect(),
        }
    }
}

impl Shares {
    /// What was added since `before`. The kernel lets the time of an idle processor run backwards now and then, which
    /// counts as nothing.
    fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            idle: self.idle.saturating_sub(before.idle),
            iowait: self.iowait.saturating_sub(before.iowait),
            steal: self.steal.saturating_sub(before.steal),
        }
    }

    /// A part of all ticks, 0 where none passed.
    fn share(self, part: u64) -> f64 {
        match self.user + self.system + self.idle + self.iowait + self.steal {
            0 => 0.0,
            all => part as f64 / all as f64,
        }
    }

    fn used(self) -> f64 {
        self.share(self.user + self.system + self.steal)
    }
}

#[async_trait]
impl Probe for Cpu {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        let take = || self.kernel.statistics().map(Ticks::from);
        let span = self.sampler.span(take).await?;
        let all = span.after.all.since(span.before.all);
        let busiest = span
            .after
            .each
            .iter()
            .zip(&span.before.each)
            .map(|(after, before)| after.since(*before).used())
            .fold(all.used(), f64::max);
        Ok(Observation::new()
            .with("used", all.used(), Unit::Ratio)
            .with("user", all.share(all.user), Unit::Ratio)
            .with("system", all.share(all.system), Unit::Ratio)
            .with("iowait", all.share(all.iowait), Unit::Ratio)
            .with("steal", all.share(all.steal), Unit::Ratio)
            .with("busiest_core", busiest, Unit::Ratio)
            .with("cores", span.after.each.len().max(1) as f64, Unit::Count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_disk_is_not_work_and_stolen_time_is_not_rest() {
        let before = Shares::default();
        let after = Shares {
            user: 30,
            system: 10,
            idle: 40,
            iowait: 10,
            steal: 10,
        };
        let passed = after.since(before);
        assert_eq!(passed.used(), 0.5);
        assert_eq!(passed.share(passed.iowait), 0.1);
    }

    #[test]
    fn time_that_runs_backwards_or_stands_still_is_no_work() {
        let before = Shares {
            iowait: 100,
            ..Shares::default()
        };
        assert_eq!(Shares::default().since(before).used(), 0.0);
    }
}
