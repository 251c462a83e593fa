//! What this machine says about itself.
//!
//! Each probe reads the files of the kernel itself, so that one look costs a fraction of a millisecond. What is a rate
//! is taken between two looks; the first look waits a tenth of a second for its second sample, so that a single check
//! is already right.

pub mod clock;
pub mod cpu;
pub mod disk_io;
pub mod file_descriptors;
pub mod filesystem;
mod kernel;
pub mod load;
pub mod memory;
mod mounts;
pub mod network_io;
pub mod pressure;
mod sampler;

pub use clock::ClockConfig;
pub use cpu::CpuConfig;
pub use disk_io::DiskIoConfig;
pub use file_descriptors::FileDescriptorsConfig;
pub use filesystem::FilesystemConfig;
pub use load::LoadConfig;
pub use memory::MemoryConfig;
pub use network_io::NetworkIoConfig;
pub use pressure::PressureConfig;

pub(crate) use kernel::Kernel;
pub(crate) use sampler::Sampler;

/// The target of every probe of this machine.
pub(crate) const TARGET: &str = "this host";
