//! The checks of this host.

use alpha_probes::probes::{
    CpuConfig, DiskIoConfig, FileDescriptorsConfig, FilesystemConfig, LoadConfig, MemoryConfig,
    NetworkIoConfig, PressureConfig,
};
use alpha_probes::{CheckConfig, text};

use super::{Found, check};

/// Whether the kernel reports pressure stall information.
const PRESSURE: &str = "/proc/pressure/cpu";

pub(super) fn checks() -> Found {
    let named = |name: &str, set: fn(&mut CheckConfig)| {
        let mut check = check(format!("host/{name}"));
        set(&mut check);
        check
    };
    let mut checks = vec![
        named("cpu", |check| check.cpu = Some(CpuConfig::default())),
        named("memory", |check| check.memory = Some(MemoryConfig::default())),
        named("filesystems", |check| {
            check.filesystem = Some(FilesystemConfig::default())
        }),
        named("load", |check| check.load = Some(LoadConfig::default())),
        named("disks", |check| check.disk_io = Some(DiskIoConfig::default())),
        named("network", |check| {
            check.network_io = Some(NetworkIoConfig::default())
        }),
        named("file-descriptors", |check| {
            check.file_descriptors = Some(FileDescriptorsConfig::default())
        }),
    ];
    if std::fs::exists(PRESSURE).unwrap_or_default() {
        checks.push(named("pressure", |check| {
            check.pressure = Some(PressureConfig::default())
        }));
    }
    Found::new(text!("this host"), checks)
}
