//! The probe `file`: whether a file is there, how old and how large it is.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::ProbeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::observation::{Observation, Unit};
use crate::probe::{Context, DefaultRule, Level, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::text;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "file",
    summary: "Whether a file is there, how old and how large it is; of several, the newest, such as a backup",
    metrics: &[
        Metric::gauge("present", Unit::Boolean, "Whether there is such a file"),
        Metric::gauge(
            "age",
            Unit::Seconds,
            "Time since it was written last; of the newest, where there are several",
        ),
        Metric::gauge(
            "size",
            Unit::Bytes,
            "Its size; of the newest, where there are several",
        ),
        Metric::gauge("count", Unit::Count, "Files that match"),
        Metric::gauge("total_size", Unit::Bytes, "Size of all files that match"),
        Metric::gauge(
            "world_writable",
            Unit::Boolean,
            "Whether everybody may write it; any of them, where there are several",
        ),
    ],
    is_open: false,
    // How old is too old only the configuration knows, such as crit = "age > 26h" for a nightly backup.
    rules: &[
        DefaultRule {
            level: Level::Critical,
            when: "present == false",
            sustained: "",
            says: "there is no file {path}",
            remedy: "See whether the job that writes it ran and what it said.",
        },
        DefaultRule {
            level: Level::Warning,
            when: "present == true && size == 0",
            sustained: "",
            says: "the file {newest} is empty",
            remedy: "See whether the job that writes it ran to its end and what it said.",
        },
    ],
};

/// The most folder entries that are looked at for one pattern.
const MOST_ENTRIES: usize = 100_000;

/// The table `file` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FileConfig {
    /// One file, or one folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The newest of the files that match, such as `/backups/*.sql.gz`: `*` and `?` stand for anything within a name,
    /// in any part of the path; a name that begins with a dot must be asked for with its dot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
}

impl ProbeConfig for FileConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, _resources: &Resources) -> Result<Arc<dyn Probe>> {
        let target = match (&self.path, &self.newest) {
            (Some(path), None) => path.clone(),
            (None, Some(pattern)) => PathBuf::from(pattern),
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    text!("expected exactly one of the keys path and newest"),
                ));
            }
        };
        if !target.is_absolute() {
            let key = if self.path.is_some() { "path" } else { "newest" };
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                text!(
                    "{key}: expected an absolute path, found \"{found}\"",
                    key = key,
                    found = target.display().to_string()
                ),
            ));
        }
        Ok(Arc::new(FileProbe {
            target: target.display().to_string(),
            pattern: self.newest.is_some(),
            path: target,
        }))
    }
}

#[derive(Debug)]
struct FileProbe {
    target: String,
    path: PathBuf,
    /// Whether the path is a pattern.
    pattern: bool,
}

/// What was found of the files.
#[derive(Debug, Default)]
struct Found {
    count: u64,
    total_size: u64,
    is_world_writable: bool,
    newest: Option<(PathBuf, Metadata)>,
}

impl Found {
    fn add(&mut self, path: PathBuf, metadata: Metadata) {
        self.count += 1;
        self.total_size += metadata.size();
        // A folder with the sticky bit, as /tmp, is meant for everybody.
        self.is_world_writable |= metadata.mode() & 0o1002 == 0o002;
        let written = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec());
        if self
            .newest
            .as_ref()
            .is_none_or(|(_, newest)| written(newest) < written(&metadata))
        {
            self.newest = Some((path, metadata));
        }
    }
}

/// Looks at one path. That it is not there is a finding; that it may not be looked at is none.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(cause)
            if matches!(
                cause.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(cause) => Err(unreadable(path, cause)),
    }
}

fn find_one(path: &Path) -> Result<Found> {
    let mut found = Found::default();
    if let Some(metadata) = look(path)? {
        found.add(path.to_owned(), metadata);
    }
    Ok(found)
}

/// Walks down the pattern part by part; folders are listed only where a part has a wildcard.
fn find_all(pattern: &Path) -> Result<Found> {
    let mut reached = vec![PathBuf::new()];
    let mut looked_at = 0;
    let parts: Vec<Component<'_>> = pattern.components().collect();
    for part in parts {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            for path in &mut reached {
                path.push(part);
            }
            continue;
        }
        let mut next = Vec::new();
        for folder in reached {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(cause)
                    if matches!(
                        cause.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    continue;
                }
                Err(cause) => return Err(unreadable(&folder, cause)),
            };
            for entry in entries {
                looked_at += 1;
                if looked_at > MOST_ENTRIES {
                    return Err(Error::new(
                        ErrorKind::InvalidConfig,
                        text!(
                            "newest: more than {limit} files to look at; make the pattern narrower",
                            limit = MOST_ENTRIES
                        ),
                    ));
                }
                let entry = entry.map_err(|cause| unreadable(&folder, cause))?;
                let file = entry.file_name();
                let file = file.to_string_lossy();
                if matches(name.as_bytes(), file.as_bytes())
                    && (name.starts_with('.') || !file.starts_with('.'))
                {
                    next.push(entry.path());
                }
            }
        }
        reached = next;
    }
    let mut found = Found::default();
    for path in reached {
        // What is removed while it is looked at was not there.
        if let Some(metadata) = look(&path)?.filter(Metadata::is_file) {
            found.add(path, metadata);
        }
    }
    Ok(found)
}

/// Whether `name` is what `pattern` says, `*` and `?` being wildcards; in time that grows with the product of their
/// lengths at most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match retry {
                Some((star, begin)) => {
                    retry = Some((star, begin + 1));
                    (at, from) = (star, begin + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Says that a file could not be read, by what the caller can do about it.
pub(crate) fn unreadable(path: &Path, cause: io::Error) -> Error {
    let kind = match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported => ErrorKind::NotApplicable,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Io,
    };
    Error::new(
        kind,
        text!("could not read {path}", path = path.display().to_string()),
    )
    .with_source(cause)
}

fn type_of(metadata: &Metadata) -> &'static str {
    match metadata.file_type() {
        kind if kind.is_file() => "file",
        kind if kind.is_dir() => "folder",
        _ => "other",
    }
}

#[async_trait]
impl Probe for FileProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let (path, pattern) = (self.path.clone(), self.pattern);
        let looking =
            tokio::task::spawn_blocking(move || if pattern { find_all(&path) } else { find_one(&path) });
        let found = looking
            .await
            .map_err(|cause| unreadable(&self.path, io::Error::other(cause)))??;
        let mut observation = Observation::new()
            .with_fact("path", self.target.as_str())
            .with_bool("present", found.count > 0)
            .with("count", found.count as f64, Unit::Count)
            .with("total_size", found.total_size as f64, Unit::Bytes);
        if let Some((path, metadata)) = &found.newest {
            let written =
                Timestamp::new(metadata.mtime(), metadata.mtime_nsec() as i32).unwrap_or(Timestamp::MIN);
            // A file from the future is as new as can be; that the clock is wrong tells the check of the clock.
            let age = context.clock.now().duration_since(written).as_secs_f64().max(0.0);
            observation = observation
                .with("age", age, Unit::Seconds)
                .with("size", metadata.size() as f64, Unit::Bytes)
                .with_bool("world_writable", found.is_world_writable)
                .with_fact("newest", path.display().to_string())
                .with_fact("written_at", written.to_string())
                .with_fact("type", type_of(metadata))
                .with_fact("mode", format!("{:04o}", metadata.mode() & 0o7777))
                .with_fact("owner", format!("{}:{}", metadata.uid(), metadata.gid()));
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_those_of_a_shell() {
        for (pattern, name, expected) in [
            ("*.sql.gz", "a.sql.gz", true),
            ("*.sql.gz", "a.sql", false),
            ("a*b*c", "aXbYbc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_the_same_regular_expression_matches(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let regex = format!("^{}$", pattern.replace('*', ".*").replace('?', "."));
            let expected = regex::Regex::new(&regex).unwrap().is_match(&name);
            prop_assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected);
        }
    }
}
