//! Which file systems are mounted, and how full each is, asked so that one that hangs holds up nobody else.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::statvfs::statvfs;
use procfs::process::MountInfo;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Kernel;
use crate::error::Result;

/// File systems that hold no files of their own on a disk, and images that are always full.
const NOT_DISKS: [&str; 33] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
    "udf",
];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) path: PathBuf,
    /// What is mounted: a device, or an address of a file server.
    pub(crate) source: String,
    pub(crate) kind: String,
    /// The number of the device, the same for every place where one file system is mounted.
    device: String,
    /// Whether the file system as a whole refuses writes.
    pub(crate) is_readonly: bool,
    /// Whether the kernel says that it made the file system read-only after an error.
    pub(crate) is_emergency: bool,
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Space {
    /// Bytes of the whole.
    pub(crate) size: f64,
    /// Bytes free for everybody, what is kept for root not counted.
    pub(crate) free: f64,
    /// Share in use as `df` counts it.
    pub(crate) used: f64,
    /// Files that can still be made, where the file system has such a limit.
    pub(crate) inodes_free: Option<f64>,
    /// Share of the possible files that exist; 0 where the file system has no such limit.
    pub(crate) inodes_used: f64,
}

impl Space {
    /// `df` counts what is kept for root neither as used nor as free, so that 100 % is reached when a program that is
    /// not root finds no more room.
    fn new(unit: u64, blocks: u64, free: u64, available: u64, files: u64, files_free: u64) -> Self {
        let used = blocks.saturating_sub(free) as f64;
        let reachable = used + available as f64;
        let (inodes_free, inodes_used) = match files {
            0 => (None, 0.0),
            _ => (Some(files_free as f64), 1.0 - files_free as f64 / files as f64),
        };
        Self {
            size: blocks as f64 * unit as f64,
            free: available as f64 * unit as f64,
            used: if reachable > 0.0 { used / reachable } else { 0.0 },
            inodes_free,
            inodes_used,
        }
    }
}

/// Reads the table of mounts. What stands in a line that cannot be understood is left out.
pub(crate) fn table(kernel: &Kernel) -> Result<Vec<Mount>> {
    // A process sees the mounts of its own namespace; the host's are those of its first process.
    let text = if kernel.proc() == Path::new("/proc") {
        kernel.read("self/mountinfo")?
    } else {
        kernel.read("1/mountinfo")?
    };
    let infos: Vec<MountInfo> = text
        .lines()
        .filter_map(|line| MountInfo::from_line(line).ok())
        .collect();
    if infos.is_empty() {
        return Err(kernel.malformed("self/mountinfo"));
    }
    Ok(infos.into_iter().map(Mount::from).collect())
}

impl From<MountInfo> for Mount {
    fn from(info: MountInfo) -> Self {
        let is_set = |name: &str| info.super_options.contains_key(name);
        Self {
            path: PathBuf::from(unescape(&info.mount_point.to_string_lossy())),
            source: unescape(info.mount_source.as_deref().unwrap_or("none")),
            is_readonly: is_set("ro"),
            is_emergency: is_set("emergency_ro") || is_set("shutdown"),
            kind: info.fs_type,
            device: info.majmin,
        }
    }
}

/// The kernel writes blanks and backslashes in paths as `\040`.
fn unescape(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .map(String::from_utf8_lossy);
        match digits.and_then(|digits| u8::from_str_radix(&digits, 8).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The mounts that are disks, each file system once, at the shortest of its paths. Of several mounts on one path only
/// the last can be seen.
pub(crate) fn disks(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let mut paths = HashSet::new();
    mounts.reverse();
    mounts.retain(|mount| paths.insert(mount.path.clone()));
    // Inside a container the root is an overlay, and the only disk there is to see.
    mounts.retain(|mount| {
        let is_root_overlay = mount.kind == "overlay" && mount.path == Path::new("/");
        is_root_overlay || !NOT_DISKS.contains(&mount.kind.as_str())
    });
    mounts.sort_by_key(|mount| (mount.path.as_os_str().len(), mount.path.clone()));
    // Subvolumes of one btrfs have numbers of their own, but one source.
    let (mut devices, mut sources) = (HashSet::new(), HashSet::new());
    mounts.retain(|mount| {
        let is_new_source = !mount.source.starts_with("/dev/") || sources.insert(mount.source.clone());
        devices.insert(mount.device.clone()) && is_new_source
    });
    mounts
}

type Ask = dyn Fn(&Path) -> io::Result<Space> + Send + Sync;

/// Asks file systems how full they are.
///
/// A file server that is gone makes the question hang in the kernel, where nothing can interrupt it. Each question is
/// therefore asked on a thread of its own, and a mount whose last question still hangs is not asked again, so that it
/// holds one thread for ever, not one a minute. The thread is not one of the runtime's, which would wait for it at the
/// end of the process.
pub(crate) struct Asker {
    ask: Arc<Ask>,
    hanging: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Default for Asker {
    fn default() -> Self {
        Self::new(|path| {
            let answer = statvfs(path)?;
            Ok(Space::new(
                answer.fragment_size(),
                answer.blocks(),
                answer.blocks_free(),
                answer.blocks_available(),
                answer.files(),
                answer.files_free(),
            ))
        })
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Asker").finish_non_exhaustive()
    }
}

impl Asker {
    /// Asks by `ask`.
    pub(crate) fn new(ask: impl Fn(&Path) -> io::Result<Space> + Send + Sync + 'static) -> Self {
        Self {
            ask: Arc::new(ask),
            hanging: Arc::default(),
        }
    }

    /// How full the file system at `path` is; nothing where it does not answer until `deadline`.
    pub(crate) async fn ask(&self, path: &Path, deadline: Instant) -> Option<io::Result<Space>> {
        let answer = self.start(path)?;
        timeout_at(deadline, answer).await.ok()?.ok()
    }

    fn start(&self, path: &Path) -> Option<oneshot::Receiver<io::Result<Space>>> {
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        if hanging.contains(path) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let (ask, shared, asked) = (Arc::clone(&self.ask), Arc::clone(&self.hanging), path.to_owned());
        let spawned = std::thread::Builder::new()
            .name("statvfs".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || {
                let answer = ask(&asked);
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&asked);
                // Nobody listens any more where the answer came too late.
                let _ = sender.send(answer);
            });
        // Where no thread can be had the receiver is closed, which looks like a mount that does not answer.
        if spawned.is_ok() {
            hanging.insert(path.to_owned());
        }
        Some(receiver)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn mounts(lines: &str) -> Vec<Mount> {
        let parsed = lines
            .lines()
            .map(|line| MountInfo::from_line(line).unwrap().into());
        disks(parsed.collect())
    }

    #[test]
    fn every_disk_is_seen_once_and_nothing_else() {
        let found = mounts(
            "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
             27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
             42 27 254:0 /var/lib/docker /var/lib/docker rw,relatime shared:1 - ext4 /dev/vda rw\n\
             43 42 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,lowerdir=/a\n\
             44 27 8:17 / /mnt/my\\040disk rw,relatime - xfs /dev/sdb1 ro,shutdown\n\
             45 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro\n\
             46 27 0:60 / /mnt/share rw - nfs4 nas:/export rw,vers=4.2\n\
             47 27 0:61 /@home /home rw - btrfs /dev/sdc rw\n\
             48 27 0:62 /@srv /srv/long rw - btrfs /dev/sdc rw\n\
             49 27 0:25 / /run rw - tmpfs tmpfs rw,size=4k",
        );
        let paths: Vec<_> = found.iter().map(|mount| mount.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/", "/home", "/mnt/share", "/mnt/my disk"]);
        assert!(found[3].is_readonly && found[3].is_emergency);
        assert!(!found[0].is_readonly);
    }

    #[test]
    fn the_overlay_of_a_container_is_its_disk() {
        let found = mounts("1 0 0:50 / / rw - overlay overlay rw,lowerdir=/a");
        assert_eq!(found[0].path, Path::new("/"));
    }

    #[test]
    fn what_is_mounted_over_is_not_seen() {
        let found = mounts(
            "1 0 8:1 / /data rw - ext4 /dev/sda1 rw\n\
             2 0 8:2 / /data rw - xfs /dev/sda2 rw",
        );
        assert_eq!((found.len(), found[0].kind.as_str()), (1, "xfs"));
    }

    #[test]
    fn full_is_when_nobody_but_root_finds_room() {
        // A thousand blocks, fifty kept for root, nothing left for others.
        let space = Space::new(4096, 1000, 50, 0, 0, 0);
        assert_eq!((space.used, space.free, space.inodes_used), (1.0, 0.0, 0.0));
        let space = Space::new(4096, 1000, 500, 450, 200, 50);
        assert_eq!(space.used, 500.0 / 950.0);
        assert_eq!((space.inodes_used, space.inodes_free), (0.75, Some(50.0)));
    }

    #[tokio::test]
    async fn a_mount_that_hangs_holds_one_thread_however_often_it_is_asked() {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let started = Arc::new(Mutex::new(0));
        let count = Arc::clone(&started);
        let asker = Asker::new(move |path| {
            if path == Path::new("/hung") {
                *count.lock().unwrap() += 1;
                let _ = gate.lock().unwrap().recv();
            }
            Ok(Space::default())
        });
        let soon = || Instant::now() + Duration::from_millis(30);
        for _ in 0..5 {
            assert!(asker.ask(Path::new("/hung"), soon()).await.is_none());
            let others = Instant::now() + Duration::from_secs(10);
            assert!(asker.ask(Path::new("/fine"), others).await.is_some());
        }
        assert_eq!(*started.lock().unwrap(), 1);
        drop(release);
        let deadline = Instant::now() + Duration::from_secs(10);
        while asker.ask(Path::new("/hung"), soon()).await.is_none() {
            assert!(Instant::now() < deadline, "the mount answers again");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
