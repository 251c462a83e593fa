//! Reading what the kernel writes into `/proc` and `/sys`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use procfs::{ExplicitSystemInfo, FromBufReadSI, FromRead, KernelStats, ProcResult};

use crate::error::{Error, ErrorKind, Result};
use crate::probes::file::unreadable;
use crate::text;

/// The kernel's files are small; one that is not is cut here.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Where the kernel tells about itself.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    proc: PathBuf,
    sys: PathBuf,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl Kernel {
    /// The kernel whose file systems are mounted here; by default at `/proc` and `/sys`.
    pub(crate) fn new(proc: Option<&Path>, sys: Option<&Path>) -> Self {
        Self {
            proc: proc.unwrap_or(Path::new("/proc")).to_owned(),
            sys: sys.unwrap_or(Path::new("/sys")).to_owned(),
        }
    }

    /// Where `/proc` is.
    pub(crate) fn proc(&self) -> &Path {
        &self.proc
    }

    /// Where `/sys` is.
    pub(crate) fn sys(&self) -> &Path {
        &self.sys
    }

    /// The content of a file below `/proc`.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        let path = self.proc.join(name);
        read_text(&path).map_err(|cause| unreadable(&path, cause))
    }

    /// A file below `/proc`, understood.
    pub(crate) fn parse<T: FromRead>(&self, name: &str) -> Result<T> {
        let text = self.read(name)?;
        T::from_read(text.as_bytes()).map_err(|cause| self.malformed(name).with_source(cause))
    }

    /// How the time of the processors was spent, and what waits for them.
    pub(crate) fn statistics(&self) -> Result<KernelStats> {
        let text = self.read("stat")?;
        // Ticks only matter in relation to each other here, so that their length does not.
        let system = ExplicitSystemInfo {
            boot_time_secs: 0,
            ticks_per_second: 100,
            page_size: 4096,
            is_little_endian: true,
        };
        let parsed: ProcResult<KernelStats> = KernelStats::from_buf_read(text.as_bytes(), &system);
        parsed.map_err(|cause| self.malformed("stat").with_source(cause))
    }

    /// The content of a file below `/sys`, trimmed, or nothing where the kernel has no such file.
    pub(crate) fn sys_value(&self, name: &str) -> Option<String> {
        let text = read_text(&self.sys.join(name)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Says that a file below `/proc` cannot be understood.
    pub(crate) fn malformed(&self, name: &str) -> Error {
        Error::new(
            ErrorKind::Malformed,
            text!(
                "could not understand {path}",
                path = self.proc.join(name).display().to_string()
            ),
        )
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
