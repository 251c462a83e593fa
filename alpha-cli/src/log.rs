//! Alpha's own log, in the shape the maintenance plan asks for (M7): JSON lines with timestamp, level, logger, message,
//! module, function and line, and `user_id` and `request_id` where an event has them; rotated by size.
//!
//! `function` is the innermost span, which `#[tracing::instrument]` names after the function; events outside of any
//! span have none. Further fields of an event stand under `fields`. Several processes may write one file: lines are
//! appended whole, and the one that rotates holds a lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use alpha_probes::{Clock, SystemClock, Text, text};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogConfig;

/// Starts logging as `config` says; on the console too where `console` is set. A second start changes nothing.
///
/// # Errors
/// Where the file cannot be opened, as text that names it.
pub fn start(config: &LogConfig, console: bool) -> Result<(), Text> {
    let file = match &config.file {
        Some(path) => Some(
            RotatingFile::open(path, config.max_bytes, config.keep).map_err(|error| {
                text!(
                    "the log file {path} cannot be opened: {cause}",
                    path = path.display().to_string(),
                    cause = error.to_string()
                )
            })?,
        ),
        None => None,
    };
    if file.is_none() && !console {
        return Ok(());
    }
    let layer = JsonLines {
        file,
        console,
        clock: Box::new(SystemClock),
    };
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(LevelFilter::from(config.level)))
        .try_init();
    Ok(())
}

/// Writes each event as one JSON line.
struct JsonLines {
    file: Option<RotatingFile>,
    console: bool,
    clock: Box<dyn Clock>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let function = context.event_span(event).map(|span| span.name());
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), self.clock.now().to_string().into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("logger".to_owned(), metadata.target().into());
        line.insert("message".to_owned(), "".into());
        line.insert("module".to_owned(), metadata.module_path().into());
        line.insert("function".to_owned(), function.into());
        line.insert("line".to_owned(), metadata.line().into());
        event.record(&mut Fields(&mut line));
        let mut bytes = Value::Object(line).to_string().into_bytes();
        bytes.push(b'\n');
        // A log that cannot be written must not end the process that it describes.
        if let Some(file) = &self.file {
            let _ = file.write_line(&bytes);
        }
        if self.console {
            let _ = io::stderr().lock().write_all(&bytes);
        }
    }
}

/// Puts the fields of an event into its line.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: Value) {
        match field.name() {
            name @ ("message" | "user_id" | "request_id") => {
                self.0.insert(name.to_owned(), value);
            }
            name => {
                let fields = self
                    .0
                    .entry("fields")
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(fields) = fields {
                    fields.insert(name.to_owned(), value);
                }
            }
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.insert(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }
}

/// A file that is renamed to `FILE.1` when it is full, `FILE.1` to `FILE.2` and so on; the oldest is removed.
///
/// It also notices when somebody else renamed or removed it (logrotate, another process of Alpha) and opens it anew.
pub struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    keep: u16,
    file: Mutex<File>,
}

impl RotatingFile {
    /// Opens or creates the file at `path`, readable by its owner only.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open(path: &Path, max_bytes: u64, keep: u16) -> io::Result<Self> {
        let file = Mutex::new(open(path)?);
        Ok(Self {
            path: path.to_owned(),
            max_bytes,
            keep,
            file,
        })
    }

    /// Appends one line; never splits it over two files.
    ///
    /// # Errors
    /// Those of writing and renaming.
    pub fn write_line(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_current(&file)? {
            *file = open(&self.path)?;
        }
        if self.is_full(&file, line)? {
            let old = std::mem::replace(&mut *file, open(&self.path)?);
            self.rotate(&old, line)?;
            *file = open(&self.path)?;
        }
        file.write_all(line)
    }

    fn is_current(&self, file: &File) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(there) => {
                let mine = file.metadata()?;
                Ok((there.dev(), there.ino()) == (mine.dev(), mine.ino()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_full(&self, file: &File, line: &[u8]) -> io::Result<bool> {
        let size = file.metadata()?.len();
        Ok(size > 0 && size + line.len() as u64 > self.max_bytes)
    }

    /// Renames the files, unless another process did it while this one waited for the lock.
    fn rotate(&self, full: &File, line: &[u8]) -> io::Result<()> {
        full.lock()?;
        if !self.is_current(full)? || !self.is_full(full, line)? {
            return Ok(());
        }
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: u16) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alpha.log");
        let file = RotatingFile::open(&path, 10, 2).unwrap();
        for line in [
            "one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n",
        ] {
            file.write_line(line.as_bytes()).unwrap();
        }
        assert_eq!(lines(&path), ["six", "seven"]);
        assert_eq!(lines(&folder.path().join("alpha.log.1")), ["four", "five"]);
        assert_eq!(lines(&folder.path().join("alpha.log.2")), ["three"]);
        assert!(!folder.path().join("alpha.log.3").exists());
    }

    #[test]
    fn several_writers_lose_no_line_over_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alpha.log");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    let file = RotatingFile::open(path, 2000, 200).unwrap();
                    for number in 0..200 {
                        file.write_line(format!("{writer}-{number}\n").as_bytes())
                            .unwrap();
                    }
                });
            }
        });
        let mut seen: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .flat_map(|entry| lines(&entry.unwrap().path()))
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 800);
    }

    #[test]
    fn a_file_renamed_by_logrotate_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alpha.log");
        let file = RotatingFile::open(&path, 1000, 2).unwrap();
        file.write_line(b"before\n").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        file.write_line(b"after\n").unwrap();
        assert_eq!(lines(&path), ["after"]);
    }

    #[test]
    fn a_line_has_the_fields_of_the_plan() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alpha.log");
        let file = RotatingFile::open(&path, 1000, 2).unwrap();
        let clock = Box::new(|| jiff::Timestamp::UNIX_EPOCH);
        let layer = JsonLines {
            file: Some(file),
            console: false,
            clock,
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _span = tracing::info_span!("deliver").entered();
            tracing::warn!(user_id = 7, attempt = 2, "slow");
        });
        let line: Value = serde_json::from_str(&lines(&path)[0]).unwrap();
        assert_eq!(line["timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["logger"], "alpha_cli::log::tests");
        assert_eq!(line["message"], "slow");
        assert_eq!(line["module"], "alpha_cli::log::tests");
        assert_eq!(line["function"], "deliver");
        assert!(line["line"].is_u64());
        assert_eq!(line["user_id"], 7);
        assert_eq!(line["fields"]["attempt"], 2);
    }
}
