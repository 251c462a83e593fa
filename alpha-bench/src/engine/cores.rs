//! Which cores the workers run on.

use std::io;

/// The cores that this process may use, ascending; where a cgroup or `taskset` allows only some, only those.
///
/// # Errors
/// If the platform does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    use nix::sched::{CpuSet, sched_getaffinity};
    use nix::unistd::Pid;
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count())
        .filter(|core| set.is_set(*core).unwrap_or(false))
        .collect())
}

/// Keeps the present thread on `core`.
///
/// # Errors
/// If the platform refuses.
#[cfg(target_os = "linux")]
pub(crate) fn pin_this_thread(core: usize) -> io::Result<()> {
    use nix::sched::{CpuSet, sched_setaffinity};
    use nix::unistd::Pid;
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Threads cannot be kept on a core here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Threads cannot be kept on a core here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_this_thread(_: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_core_and_leaves_the_others_alone() {
        let before = allowed().unwrap();
        let core = before[before.len() - 1];
        let pinned = std::thread::spawn(move || {
            pin_this_thread(core).unwrap();
            allowed().unwrap()
        });
        assert_eq!(pinned.join().unwrap(), [core]);
        assert_eq!(allowed().unwrap(), before);
        assert!(pin_this_thread(1_000_000).is_err());
    }
}
