//! The probe `file_descriptors`: how many files the whole machine has open.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
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
    name: "file_descriptors",
    summary: "How many files this machine has open; of one process, see the probe process",
    metrics: &[
        Metric::gauge(
            "used",
            Unit::Ratio,
            "Share of the file handles of the kernel in use",
        ),
        Metric::gauge("open", Unit::Count, "File handles in use"),
        Metric::gauge("limit", Unit::Count, "File handles the kernel gives at most"),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "used > 95%",
            sustained: "",
            says: "{open} files are open of {limit} that the kernel allows",
            remedy: "Find the process that leaks them (lsof -n, or count /proc/PID/fd) and restart it; raise fs.file-max if all are wanted.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "used > 80%",
            sustained: "",
            says: "{open} files are open of {limit} that the kernel allows",
            remedy: "Find the process that leaks them (lsof -n, or count /proc/PID/fd) and restart it; raise fs.file-max if all are wanted.",
        },
    ],
};

/// The table `file_descriptors` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FileDescriptorsConfig {
    /// Where the kernel's process file system is mounted. Default: `/proc`; another where Alpha runs in a container
    /// and looks at its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
}

impl ProbeConfig for FileDescriptorsConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        Ok(Arc::new(FileDescriptors {
            kernel: Kernel::new(self.proc.as_deref(), None),
        }))
    }
}

#[derive(Debug)]
struct FileDescriptors {
    kernel: Kernel,
}

#[async_trait]
impl Probe for FileDescriptors {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        const NAME: &str = "sys/fs/file-nr";
        let text = self.kernel.read(NAME)?;
        // Allocated, allocated but unused (always 0 since 2.6), and the limit.
        let numbers: Vec<f64> = text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [allocated, unused, limit] = numbers[..] else {
            return Err(self.kernel.malformed(NAME));
        };
        if limit <= 0.0 {
            return Err(self.kernel.malformed(NAME));
        }
        let open = allocated - unused;
        Ok(Observation::new()
            .with("used", open / limit, Unit::Ratio)
            .with("open", open, Unit::Count)
            .with("limit", limit, Unit::Count))
    }
}
