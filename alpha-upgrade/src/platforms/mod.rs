//! Implementations of [`Platform`](crate::Platform), one adapter a file.

#[cfg(feature = "docker")]
mod docker;

#[cfg(feature = "docker")]
pub use docker::DockerPlatform;
