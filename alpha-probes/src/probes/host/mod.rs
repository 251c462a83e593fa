//! What this machine says about itself.

pub mod clock;
pub mod cpu;
pub mod disk_io;
pub mod file_descriptors;
pub mod filesystem;
pub mod load;
pub mod memory;
pub mod network_io;
pub mod pressure;

pub use clock::ClockConfig;
pub use cpu::CpuConfig;
pub use disk_io::DiskIoConfig;
pub use file_descriptors::FileDescriptorsConfig;
pub use filesystem::FilesystemConfig;
pub use load::LoadConfig;
pub use memory::MemoryConfig;
pub use network_io::NetworkIoConfig;
pub use pressure::PressureConfig;
