//! The probe `network_io`: what each network interface carries, loses and breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use procfs::net::{DeviceStatus, InterfaceDeviceStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sampler::Sampler;
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
    name: "network_io",
    summary: "What each network interface of this machine carries, loses and breaks",
    metrics: &[
        Metric::gauge("link_up", Unit::Boolean, "Whether the interface is connected"),
        Metric::gauge("received", Unit::BytesPerSecond, "Bytes received"),
        Metric::gauge("sent", Unit::BytesPerSecond, "Bytes sent"),
        Metric::gauge("packets_received", Unit::PerSecond, "Packets received"),
        Metric::gauge("packets_sent", Unit::PerSecond, "Packets sent"),
        Metric::gauge("errors", Unit::PerSecond, "Packets broken on the way in or out"),
        Metric::gauge(
            "dropped",
            Unit::PerSecond,
            "Packets dropped for want of room, in or out",
        ),
        Metric::gauge(
            "used",
            Unit::Ratio,
            "Share of the interface's speed in use, the busier direction; not where the speed is not known",
        ),
    ],
    is_open: false,
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "link_up == 0",
            sustained: "",
            says: "the network interface {device} is down",
            remedy: "Look at the cable, the switch and ip link; on a virtual machine, at the provider's console.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "errors > 1",
            sustained: "5m",
            says: "{errors} packets break on {device}",
            remedy: "Look for a bad cable, port or driver: ethtool -S, and dmesg.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "dropped > 100",
            sustained: "5m",
            says: "{dropped} packets are dropped on {device}",
            remedy: "Find who sends so much (ss -s, iftop), and enlarge the receive ring (ethtool -g) if all is wanted.",
        },
    ],
};

/// The table `network_io` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NetworkIoConfig {
    /// Names of the interfaces, such as `eth0`; one that is down or gone is then a finding. Default: every interface
    /// that is connected, or was since Alpha started and is still there, but the loopback, the bridges and the ends of containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Where the kernel's process file system is mounted. Default: `/proc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
    /// Where the kernel's device file system is mounted. Default: `/sys`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sys: Option<PathBuf>,
}

impl ProbeConfig for NetworkIoConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        Ok(Arc::new(NetworkIo {
            kernel: Kernel::new(self.proc.as_deref(), self.sys.as_deref()),
            devices: self.devices.clone(),
            sampler: Sampler::default(),
            seen_up: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct NetworkIo {
    kernel: Kernel,
    devices: Vec<String>,
    sampler: Sampler<BTreeMap<String, DeviceStatus>>,
    /// Interfaces that were connected once, so that the loss of one is noticed where none is named.
    seen_up: Mutex<BTreeSet<String>>,
}

impl NetworkIo {
    fn interfaces(&self) -> Result<BTreeMap<String, DeviceStatus>> {
        // Of the process 1 where `proc` is the host's, because the network may differ between processes.
        let InterfaceDeviceStatus(all) = match self.kernel.proc() == std::path::Path::new("/proc") {
            true => self.kernel.parse("net/dev")?,
            false => self
                .kernel
                .parse("1/net/dev")
                .or_else(|_| self.kernel.parse("net/dev"))?,
        };
        Ok(all.into_iter().collect())
    }

    fn sys(&self, device: &str, file: &str) -> Option<String> {
        self.kernel.sys_value(&format!("class/net/{device}/{file}"))
    }

    /// Drivers that cannot tell say `unknown`, which is how a tunnel or a virtual interface that works looks.
    fn is_up(&self, device: &str) -> bool {
        match self.sys(device, "operstate").as_deref() {
            Some("unknown") | None => self.sys(device, "carrier").is_none_or(|carrier| carrier == "1"),
            state => state == Some("up"),
        }
    }

    /// Bytes a second that the interface can carry, where it knows.
    fn speed(&self, device: &str) -> Option<f64> {
        let megabits: f64 = self.sys(device, "speed")?.parse().ok()?;
        (megabits > 0.0).then_some(megabits * 1e6 / 8.0)
    }

    /// The interfaces to report on, each with whether it is connected.
    fn selected(&self, present: &BTreeMap<String, DeviceStatus>) -> Vec<(String, bool)> {
        let is_up = |name: &String| present.contains_key(name) && self.is_up(name);
        if !self.devices.is_empty() {
            return self
                .devices
                .iter()
                .map(|name| (name.clone(), is_up(name)))
                .collect();
        }
        let mut seen_up = self.seen_up.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = [
            "lo", "veth", "ifb", "dummy", "br-", "docker", "virbr", "cni", "flannel", "cali", "tap", "vnet",
        ];
        let wanted = |name: &&String| !kinds.iter().any(|kind| name.starts_with(kind));
        seen_up.extend(present.keys().filter(wanted).filter(|name| is_up(name)).cloned());
        // An interface that was taken away, such as a tunnel, was taken away on purpose; a cable was not.
        seen_up.retain(|name| present.contains_key(name));
        seen_up.iter().map(|name| (name.clone(), is_up(name))).collect()
    }
}

#[async_trait]
impl Probe for NetworkIo {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, _context: &Context<'_>) -> Result<Observation> {
        let span = self.sampler.span(|| self.interfaces()).await?;
        let selected = self.selected(&span.after);
        if selected.is_empty() {
            return Err(Error::new(
                ErrorKind::NotApplicable,
                text!("no network interface is connected here"),
            ));
        }
        let mut observation = Observation::new();
        for (name, is_up) in selected {
            let labels = || vec![("device".into(), name.clone())];
            observation.push("link_up", f64::from(u8::from(is_up)), Unit::Boolean, labels());
            let Some(after) = span.after.get(&name) else {
                continue;
            };
            let before = span.before.get(&name).unwrap_or(after);
            let rate = |of: fn(&DeviceStatus) -> u64| span.rate(of(before), of(after)).unwrap_or(0.0);
            let received = rate(|device| device.recv_bytes);
            let sent = rate(|device| device.sent_bytes);
            for (name, value, unit) in [
                ("received", received, Unit::BytesPerSecond),
                ("sent", sent, Unit::BytesPerSecond),
                (
                    "packets_received",
                    rate(|device| device.recv_packets),
                    Unit::PerSecond,
                ),
                (
                    "packets_sent",
                    rate(|device| device.sent_packets),
                    Unit::PerSecond,
                ),
                (
                    "errors",
                    rate(|device| device.recv_errs + device.sent_errs),
                    Unit::PerSecond,
                ),
                (
                    "dropped",
                    rate(|device| device.recv_drop + device.sent_drop),
                    Unit::PerSecond,
                ),
            ] {
                observation.push(name, value, unit, labels());
            }
            if let Some(speed) = self.speed(&name) {
                observation.push("used", received.max(sent) / speed, Unit::Ratio, labels());
            }
        }
        Ok(observation)
    }
}
