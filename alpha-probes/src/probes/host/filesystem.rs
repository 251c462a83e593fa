//! The probe `filesystem`: how full each disk is, and whether it can be written.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::mounts::{self, Asker, Mount, Space};
use super::{Kernel, TARGET};
use crate::check::ProbeConfig;
use crate::config::Period;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "filesystem",
    summary: "How full each disk of this machine is, in bytes and in files, and whether it can be written",
    metrics: &[
        Metric::gauge(
            "used",
            Unit::Ratio,
            "Share of the room in use, as df counts: what is kept for root is not free",
        ),
        Metric::gauge("free", Unit::Bytes, "Room left for programs that are not root"),
        Metric::gauge("size", Unit::Bytes, "Room of the whole file system"),
        Metric::gauge(
            "inodes_used",
            Unit::Ratio,
            "Share of the possible files that exist; 0 where there is no such limit",
        ),
        Metric::gauge(
            "inodes_free",
            Unit::Count,
            "Files that can still be made, where there is a limit",
        ),
        Metric::gauge(
            "readonly",
            Unit::Boolean,
            "Whether the file system refuses all writes",
        ),
        Metric::gauge(
            "turned_readonly",
            Unit::Boolean,
            "Whether it refuses writes though it should not",
        ),
        Metric::gauge(
            "mounted",
            Unit::Boolean,
            "Whether something is mounted where the configuration says so",
        ),
        Metric::gauge(
            "answering",
            Unit::Boolean,
            "Whether the file system answered in time",
        ),
    ],
    is_open: false,
    // The limit of M1 and M3. What grows fills the rest faster than people read mail, so that critical starts early.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "answering == 0",
            sustained: "",
            says: "the file system at {mount} does not answer",
            remedy: "Look at the file server or the disk behind it (dmesg); processes that touch it hang until it is back.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "mounted == 0",
            sustained: "",
            says: "nothing is mounted at {mount}",
            remedy: "Mount it before anything writes into the empty folder: mount, and dmesg for the reason.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "turned_readonly == 1",
            sustained: "",
            says: "the file system at {mount} became read-only",
            remedy: "The kernel does this after an error of the disk: read dmesg, save the data, then check the disk.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "used > 90%",
            sustained: "",
            says: "{mount} is {used} full",
            remedy: "Find what grows (du -xh --max-depth 2), and free or add room; never delete a live chain database.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "forecast([free], 6h, 6h) < 1GiB && [free] > 1GiB",
            sustained: "10m",
            says: "{mount} is full within 6 hours if it fills on as it does: {free} are left",
            remedy: "Find what grows now (du -xh --max-depth 2, twice), stop it or free room; a Substrate node ends itself below 1 GiB.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "used > 80%",
            sustained: "",
            says: "{mount} is {used} full",
            remedy: "Find what grows (du -xh --max-depth 2), and free or add room; never delete a live chain database.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "forecast([free], 72h, 24h) < 1GiB && [free] > 1GiB",
            sustained: "1h",
            says: "{mount} is full within three days if it fills on as it does: {free} are left",
            remedy: "Find what grows (du -xh --max-depth 2), and free or add room in time; never delete a live chain database.",
        },
        DefaultRule {
            level: Level::Critical,
            when: "inodes_used > 95%",
            sustained: "",
            says: "{mount} has used {inodes_used} of the files it can hold",
            remedy: "Find the folder with very many small files (du --inodes -x) and remove them.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "inodes_used > 80%",
            sustained: "",
            says: "{mount} has used {inodes_used} of the files it can hold",
            remedy: "Find the folder with very many small files (du --inodes -x) and remove them.",
        },
    ],
};

/// What a file system may take to answer when the configuration does not say.
const MOUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// The table `filesystem` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FilesystemConfig {
    /// Folders where something is mounted; that nothing is, is a finding. Default: every disk and network share, each
    /// once; not pseudo, memory and image file systems, nor the layers of containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<PathBuf>,
    /// Folders whose mounts, and those below them, are left out. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<PathBuf>,
    /// After how long a file system that does not answer is reported as such, without holding up the others.
    /// Default: `2s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_timeout: Option<Period>,
    /// Where the kernel's process file system is mounted. Default: `/proc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc: Option<PathBuf>,
    /// What is put before every path when it is looked at. Default: nothing; the folder where the host's root is
    /// mounted, if Alpha runs in a container and looks at its host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
}

impl ProbeConfig for FilesystemConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        for (key, paths) in [("mounts", &self.mounts), ("exclude", &self.exclude)] {
            if let Some(path) = paths.iter().find(|path| !path.is_absolute()) {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    text!(
                        "{key}: expected an absolute path, found \"{found}\"",
                        key = key,
                        found = path.display().to_string()
                    ),
                ));
            }
        }
        Ok(Arc::new(Filesystem {
            kernel: Kernel::new(self.proc.as_deref(), None),
            config: self.clone(),
            asker: resources.shared(),
            seen_writable: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct Filesystem {
    kernel: Kernel,
    config: FilesystemConfig,
    asker: Arc<Asker>,
    /// Mounts that could be written once, so that the loss of that is noticed.
    seen_writable: Mutex<HashSet<PathBuf>>,
}

impl Filesystem {
    /// The mounts to look at, and the configured folders where nothing is mounted.
    fn selected(&self) -> Result<(Vec<Mount>, Vec<&PathBuf>)> {
        let mut table = mounts::table(&self.kernel)?;
        if self.config.mounts.is_empty() {
            let mut disks = mounts::disks(table);
            disks.retain(|mount| {
                !self
                    .config
                    .exclude
                    .iter()
                    .any(|path| mount.path.starts_with(path))
            });
            return Ok((disks, Vec::new()));
        }
        // The last mount on a path is the one that is seen.
        table.reverse();
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for path in &self.config.mounts {
            match table.iter().find(|mount| mount.path == *path) {
                Some(mount) => found.push(mount.clone()),
                None => missing.push(path),
            }
        }
        Ok((found, missing))
    }

    /// The place of a mount as this process sees it.
    fn place(&self, mount: &Path) -> PathBuf {
        match &self.config.root {
            Some(root) => root.join(mount.strip_prefix("/").unwrap_or(mount)),
            None => mount.to_owned(),
        }
    }

    /// Whether a read-only file system should not be: it was writable before, or the kernel says why, or the table of
    /// file systems wants it writable.
    fn turned_readonly(&self, mount: &Mount, declared: &HashSet<PathBuf>) -> bool {
        let mut seen = self.seen_writable.lock().unwrap_or_else(PoisonError::into_inner);
        if !mount.is_readonly {
            seen.insert(mount.path.clone());
            return mount.is_emergency;
        }
        mount.is_emergency || seen.contains(&mount.path) || declared.contains(&mount.path)
    }

    /// The mounts that `/etc/fstab` wants writable.
    fn declared_writable(&self) -> HashSet<PathBuf> {
        let text = std::fs::read_to_string(self.place(Path::new("/etc/fstab"))).unwrap_or_default();
        parse_fstab(&text)
    }
}

fn parse_fstab(text: &str) -> HashSet<PathBuf> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (path, _kind, options) = (words.next()?, words.next()?, words.next()?);
            let is_writable = !options.split(',').any(|option| option == "ro");
            is_writable.then(|| PathBuf::from(path))
        })
        .collect()
}

fn report(observation: &mut Observation, mount: &Mount, turned_readonly: bool, space: Option<Space>) {
    let labels = || {
        vec![
            ("mount".into(), mount.path.display().to_string()),
            ("device".into(), mount.source.clone()),
            ("fstype".into(), mount.kind.clone()),
        ]
    };
    let mut push = |name: &'static str, value: f64, unit| observation.push(name, value, unit, labels());
    let yes = |value: bool| f64::from(u8::from(value));
    push("mounted", 1.0, Unit::Boolean);
    push("answering", yes(space.is_some()), Unit::Boolean);
    push("readonly", yes(mount.is_readonly), Unit::Boolean);
    push("turned_readonly", yes(turned_readonly), Unit::Boolean);
    let Some(space) = space else { return };
    push("used", space.used, Unit::Ratio);
    push("free", space.free, Unit::Bytes);
    push("size", space.size, Unit::Bytes);
    push("inodes_used", space.inodes_used, Unit::Ratio);
    if let Some(free) = space.inodes_free {
        push("inodes_free", free, Unit::Count);
    }
}

#[async_trait]
impl Probe for Filesystem {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        TARGET
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let (mounts, missing) = self.selected()?;
        if mounts.is_empty() && missing.is_empty() {
            return Err(Error::new(
                ErrorKind::NotApplicable,
                text!("no disk is mounted here"),
            ));
        }
        let patience = self.config.mount_timeout.map_or(MOUNT_TIMEOUT, |period| period.0);
        // A little is kept for the judgement, so that one that hangs does not make the whole look late.
        let latest = context.deadline.checked_sub(Duration::from_millis(100));
        let deadline = (Instant::now() + patience).min(latest.unwrap_or(context.deadline));
        let places: Vec<PathBuf> = mounts.iter().map(|mount| self.place(&mount.path)).collect();
        let answers = join_all(places.iter().map(|place| self.asker.ask(place, deadline))).await;
        let declared = self.declared_writable();
        let mut observation = Observation::new();
        let mut refused = Vec::new();
        for (mount, answer) in mounts.iter().zip(answers) {
            let turned_readonly = self.turned_readonly(mount, &declared);
            match answer {
                // Some file systems have no size, which df leaves out too.
                Some(Ok(space)) if space.size == 0.0 && self.config.mounts.is_empty() => {}
                Some(Ok(space)) => report(&mut observation, mount, turned_readonly, Some(space)),
                Some(Err(cause)) if cause.kind() == std::io::ErrorKind::PermissionDenied => {
                    refused.push(mount.path.display().to_string());
                }
                // Unmounted since the table was read, or hidden below another mount.
                Some(Err(cause))
                    if cause.kind() == std::io::ErrorKind::NotFound && self.config.mounts.is_empty() => {}
                // An error of the disk or a lost file server: it answers, but not with what was asked.
                Some(Err(_)) | None => report(&mut observation, mount, turned_readonly, None),
            }
        }
        for path in missing {
            let labels = vec![("mount".into(), path.display().to_string())];
            observation.push("mounted", 0.0, Unit::Boolean, labels);
        }
        if !refused.is_empty() {
            if observation.measurements.is_empty() || !self.config.mounts.is_empty() {
                return Err(Error::new(
                    ErrorKind::Denied,
                    text!("may not look at {path}", path = refused.join(", ")),
                ));
            }
            observation = observation.with_fact("not_permitted", refused);
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn probe(proc: &Path, mounts: &[&str], asker: Asker) -> Filesystem {
        Filesystem {
            kernel: Kernel::new(Some(proc), None),
            config: FilesystemConfig {
                mounts: mounts.iter().map(PathBuf::from).collect(),
                root: Some(proc.join("no-root")),
                ..FilesystemConfig::default()
            },
            asker: Arc::new(asker),
            seen_writable: Mutex::default(),
        }
    }

    fn proc_with(mountinfo: &str) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        std::fs::create_dir(proc.path().join("1")).unwrap();
        std::fs::write(proc.path().join("1/mountinfo"), mountinfo).unwrap();
        proc
    }

    async fn observe(probe: &Filesystem) -> Observation {
        let deadline = Instant::now() + Duration::from_secs(10);
        probe
            .observe(&Context::new(&SystemClock, deadline))
            .await
            .unwrap()
    }

    fn values(observation: &Observation, name: &str) -> Vec<f64> {
        let all = observation.measurements.iter();
        all.filter(|measurement| measurement.name == name)
            .map(|measurement| measurement.value)
            .collect()
    }

    #[tokio::test]
    async fn one_hung_share_is_named_and_the_disks_are_still_measured() {
        let proc = proc_with(
            "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
             46 27 0:60 / /share rw - nfs4 nas:/export rw\n",
        );
        let (_gate, hang) = std::sync::mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let asker = Asker::new(move |path| {
            if path.ends_with("share") {
                let _ = hang.lock().unwrap().recv();
            }
            Ok(Space {
                size: 100.0,
                used: 0.5,
                ..Space::default()
            })
        });
        let mut probe = probe(proc.path(), &[], asker);
        probe.config.mount_timeout = Some(Period(Duration::from_millis(50)));
        let observation = observe(&probe).await;
        assert_eq!(values(&observation, "answering"), [1.0, 0.0]);
        assert_eq!(values(&observation, "used"), [0.5]);
    }

    #[tokio::test]
    async fn a_folder_where_nothing_is_mounted_is_a_finding() {
        let proc = proc_with("27 1 254:0 / / rw - ext4 /dev/vda rw\n");
        let asker = Asker::new(|_| Ok(Space::default()));
        let observation = observe(&probe(proc.path(), &["/data"], asker)).await;
        assert_eq!(values(&observation, "mounted"), [0.0]);
    }

    #[tokio::test]
    async fn a_disk_that_turns_read_only_is_told_from_one_that_always_was() {
        let proc = proc_with(
            "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
             28 27 254:1 / /boot ro - ext4 /dev/vdb ro\n",
        );
        let probe = probe(
            proc.path(),
            &[],
            Asker::new(|_| {
                Ok(Space {
                    size: 1.0,
                    ..Space::default()
                })
            }),
        );
        let before = observe(&probe).await;
        assert_eq!(values(&before, "readonly"), [0.0, 1.0]);
        assert_eq!(values(&before, "turned_readonly"), [0.0, 0.0]);
        let after = "27 1 254:0 / / ro - ext4 /dev/vda ro\n28 27 254:1 / /boot ro - ext4 /dev/vdb ro\n";
        std::fs::write(proc.path().join("1/mountinfo"), after).unwrap();
        assert_eq!(values(&observe(&probe).await, "turned_readonly"), [1.0, 0.0]);
    }

    #[test]
    fn the_table_of_file_systems_says_which_should_be_writable() {
        let text = "# comment\n/dev/vda / ext4 defaults 0 1\n/dev/vdb /boot ext4 ro,nofail 0 2\n\nbroken\n";
        assert_eq!(parse_fstab(text), HashSet::from([PathBuf::from("/")]));
    }
}
