//! The probe `disk_io`: what each disk reads and writes, and how long that takes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use procfs::{DiskStat, DiskStats};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sampler::{Sampler, Span};
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
    name: "disk_io",
    summary: "What each disk of this machine reads and writes, how busy it is and how long it takes",
    metrics: &[
        Metric::gauge(
            "busy",
            Unit::Ratio,
            "Share of the time the disk had something to do",
        ),
        Metric::gauge("read", Unit::BytesPerSecond, "Bytes read"),
        Metric::gauge("written", Unit::BytesPerSecond, "Bytes written"),
        Metric::gauge("reads", Unit::PerSecond, "Reads that ended"),
        Metric::gauge("writes", Unit::PerSecond, "Writes that ended"),
        Metric::gauge(
            "latency",
            Unit::Seconds,
            "Mean time of a read or write, waiting included; 0 where there was none",
        ),
        Metric::gauge(
            "queue",
            Unit::Count,
            "Reads and writes waiting or under way, on average",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Warning,
            when: "latency > 200ms",
            sustained: "5m",
            says: "a read or write of {device} takes {latency}",
            remedy: "Find what reads and writes (iotop); look for errors of the disk in dmesg and in smartctl -a.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "busy > 95%",
            sustained: "15m",
            says: "{device} is {busy} busy",
            remedy: "Find what reads and writes (iotop) and slow it down or move it to another disk.",
        },
    ],
};

/// The kernel counts sectors of 512 bytes, whatever the disk's own are.
const SECTOR: f64 = 512.0;

/// The table `disk_io` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DiskIoConfig {
    /// Names of the devices, such as `nvme0n1`. Default: every whole disk that was ever used; partitions, loop devices
    /// and memory disks only where they are named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Where the kernel's process file system is mounted. Default: `/proc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
    /// Where the kernel's device file system is mounted. Default: `/sys`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sys: Option<PathBuf>,
}

impl ProbeConfig for DiskIoConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        Ok(Arc::new(DiskIo {
            kernel: Kernel::new(self.proc.as_deref(), self.sys.as_deref()),
            devices: self.devices.clone(),
            sampler: Sampler::default(),
        }))
    }
}

type Disks = BTreeMap<String, DiskStat>;

#[derive(Debug)]
struct DiskIo {
    kernel: Kernel,
    devices: Vec<String>,
    sampler: Sampler<Disks>,
}

impl DiskIo {
    fn disks(&self) -> Result<Disks> {
        let DiskStats(all) = self.kernel.parse("diskstats")?;
        Ok(all
            .into_iter()
            .filter(|disk| self.is_wanted(disk))
            .map(|disk| (disk.name.clone(), disk))
            .collect())
    }

    fn is_wanted(&self, disk: &DiskStat) -> bool {
        if !self.devices.is_empty() {
            return self.devices.contains(&disk.name);
        }
        let is_memory = ["loop", "ram", "zram", "fd", "sr"].iter().any(|kind| {
            disk.name
                .strip_prefix(kind)
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let is_partition = self
            .kernel
            .sys()
            .join("class/block")
            .join(&disk.name)
            .join("partition")
            .exists();
        !is_memory && !is_partition && disk.reads + disk.writes > 0
    }
}

/// Adds what one disk did between two samples.
fn report(observation: &mut Observation, span: &Span<Disks>, before: &DiskStat, after: &DiskStat) {
    let rate = |before, after| span.rate(before, after).unwrap_or(0.0);
    let reads = rate(before.reads, after.reads);
    let writes = rate(before.writes, after.writes);
    // Milliseconds that reads and writes took together, in each second.
    let waited = rate(
        before.time_reading + before.time_writing,
        after.time_reading + after.time_writing,
    );
    let latency = if reads + writes > 0.0 {
        waited / 1000.0 / (reads + writes)
    } else {
        0.0
    };
    let busy = rate(before.time_in_progress, after.time_in_progress) / 1000.0;
    let queue = rate(before.weighted_time_in_progress, after.weighted_time_in_progress) / 1000.0;
    for (name, value, unit) in [
        // The kernel adds whole ticks, which may overshoot a short span.
        ("busy", busy.min(1.0), Unit::Ratio),
        (
            "read",
            rate(before.sectors_read, after.sectors_read) * SECTOR,
            Unit::BytesPerSecond,
        ),
        (
            "written",
            rate(before.sectors_written, after.sectors_written) * SECTOR,
            Unit::BytesPerSecond,
        ),
        ("reads", reads, Unit::PerSecond),
        ("writes", writes, Unit::PerSecond),
        ("latency", latency, Unit::Seconds),
        ("queue", queue, Unit::Count),
    ] {
        observation.push(name, value, unit, vec![("device".into(), after.name.clone())]);
    }
}

#[async_trait]
impl Probe for DiskIo {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        let span = self.sampler.span(|| self.disks()).await?;
        if let Some(missing) = self.devices.iter().find(|name| !span.after.contains_key(*name)) {
            return Err(Error::new(
                ErrorKind::NotApplicable,
                text!("this machine has no device {device}", device = missing),
            ));
        }
        if span.after.is_empty() {
            return Err(Error::new(
                ErrorKind::NotApplicable,
                text!("the kernel shows no disks here"),
            ));
        }
        let mut observation = Observation::new();
        for (name, after) in &span.after {
            // A disk that was just plugged in has no rate yet.
            let before = span.before.get(name).unwrap_or(after);
            report(&mut observation, &span, before, after);
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_come_from_the_difference_of_two_samples() {
        let before = DiskStat::from_line("254 0 vda 100 0 1000 50 200 0 4000 150 0 300 400").unwrap();
        let after = DiskStat::from_line("254 0 vda 110 0 3000 80 230 0 8000 320 0 1300 2400").unwrap();
        let span = Span {
            before: Disks::new(),
            after: Disks::new(),
            elapsed: Duration::from_secs(2),
        };
        let mut observation = Observation::new();
        report(&mut observation, &span, &before, &after);
        let values: Vec<_> = observation
            .measurements
            .iter()
            .map(|measurement| (measurement.to_string(), measurement.display_value()))
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        insta::assert_snapshot!(values.join("\n"), @r#"
        busy{device="vda"} 50 %
        read{device="vda"} 512 kB/s
        written{device="vda"} 1 MB/s
        reads{device="vda"} 5/s
        writes{device="vda"} 15/s
        latency{device="vda"} 5 ms
        queue{device="vda"} 1
        "#);
    }

    #[test]
    fn only_whole_disks_that_do_something_are_looked_at_unless_named() {
        let sys = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(sys.path().join("class/block/vda1/partition")).unwrap();
        let probe = |devices: &[&str]| DiskIo {
            kernel: Kernel::new(None, Some(sys.path())),
            devices: devices.iter().map(|&name| name.to_owned()).collect(),
            sampler: Sampler::default(),
        };
        let disk = |name: &str, reads: u8| {
            DiskStat::from_line(&format!("1 0 {name} {reads} 0 0 0 0 0 0 0 0 0 0")).unwrap()
        };
        for (name, reads, expected) in [
            ("vda", 1, true),
            ("dm-0", 1, true),
            ("vda1", 1, false),
            ("loop0", 1, false),
            ("zram0", 1, false),
            ("sdb", 0, false),
        ] {
            assert_eq!(probe(&[]).is_wanted(&disk(name, reads)), expected, "{name}");
        }
        assert!(probe(&["vda1"]).is_wanted(&disk("vda1", 0)));
    }
}
