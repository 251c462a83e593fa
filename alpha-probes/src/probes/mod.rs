//! The probes, one adapter a file; heavy ones behind features.

#[cfg(feature = "access-log")]
pub mod access_log;
#[cfg(feature = "command")]
pub mod command;
#[cfg(feature = "dns")]
pub mod dns;
#[cfg(feature = "docker")]
pub mod docker;
pub mod file;
pub mod heartbeat;
#[cfg(feature = "host")]
pub mod host;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "icmp")]
pub mod icmp;
#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "host")]
pub mod process;
#[cfg(any(feature = "command", feature = "host", feature = "systemd"))]
mod program;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "substrate")]
pub mod substrate;
#[cfg(feature = "systemd")]
pub mod systemd;
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;

#[cfg(feature = "access-log")]
pub use access_log::AccessLogConfig;
#[cfg(feature = "command")]
pub use command::CommandConfig;
#[cfg(feature = "dns")]
pub use dns::DnsConfig;
#[cfg(feature = "docker")]
pub use docker::ContainerConfig;
pub use file::FileConfig;
pub use heartbeat::HeartbeatConfig;
#[cfg(feature = "host")]
pub use host::{
    ClockConfig, CpuConfig, DiskIoConfig, FileDescriptorsConfig, FilesystemConfig, LoadConfig, MemoryConfig,
    NetworkIoConfig, PressureConfig,
};
#[cfg(feature = "http")]
pub use http::HttpConfig;
#[cfg(feature = "icmp")]
pub use icmp::IcmpConfig;
#[cfg(feature = "log")]
pub use log::LogConfig;
#[cfg(feature = "postgres")]
pub use postgres::PostgresConfig;
#[cfg(feature = "host")]
pub use process::ProcessConfig;
#[cfg(feature = "prometheus")]
pub use prometheus::PrometheusConfig;
#[cfg(feature = "redis")]
pub use redis::RedisConfig;
#[cfg(feature = "substrate")]
pub use substrate::SubstrateConfig;
#[cfg(feature = "systemd")]
pub use systemd::SystemdConfig;
pub use tcp::TcpConfig;
#[cfg(feature = "tls")]
pub use tls::TlsConfig;
