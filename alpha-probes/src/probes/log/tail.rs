//! What the probes of logs share: a follower that works beside the runtime, and its place kept on disk.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::follower::{Follower, Position, Round};
use crate::error::{Error, ErrorKind, Result};
use crate::probes::file::unreadable;
use crate::text;

/// A place on disk is a few kilobytes.
const LONGEST_POSITION: u64 = 1 << 20;

/// A log whose lines are added up to a `T` between two observations.
pub(crate) struct Tail<T> {
    path: PathBuf,
    position_file: Option<PathBuf>,
    first_look: u64,
    state: Arc<Mutex<State<T>>>,
}

#[derive(Debug)]
struct State<T> {
    follower: Option<Follower>,
    tally: T,
    round: Round,
    told_at: Option<Timestamp>,
}

/// What came to a log since the last observation.
#[derive(Debug)]
pub(crate) struct News<T> {
    pub(crate) tally: T,
    pub(crate) round: Round,
    /// Seconds since the last observation; nothing where there was none.
    pub(crate) elapsed: Option<f64>,
}

/// The content of a position file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    log: PathBuf,
    position: Position,
}

impl<T> fmt::Debug for Tail<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tail")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl<T: Default + Send + 'static> Tail<T> {
    pub(crate) fn new(path: &Path, position_file: Option<&Path>, first_look: u64) -> Self {
        Self {
            path: path.to_owned(),
            position_file: position_file.map(Path::to_owned),
            first_look,
            state: Arc::new(Mutex::new(State {
                follower: None,
                tally: T::default(),
                round: Round::default(),
                told_at: None,
            })),
        }
    }

    /// Whether anything was told yet, here or by a process that left its place.
    #[cfg(feature = "access-log")]
    pub(crate) fn has_looked(&self) -> bool {
        let is_kept = self.position_file.as_deref().is_some_and(Path::exists);
        // Whoever holds the state is looking at this moment; nobody may wait for a disk here.
        is_kept
            || self
                .state
                .try_lock()
                .map_or(true, |state| state.told_at.is_some())
    }

    /// Reads what came, about `limit` bytes at most, adding each line by `add`.
    ///
    /// What was read but not told, because the caller gave up, is told the next time.
    pub(crate) async fn news(
        &self,
        now: Timestamp,
        limit: u64,
        add: impl Fn(&mut T, &[u8]) + Send + 'static,
    ) -> Result<News<T>> {
        let state = Arc::clone(&self.state);
        let (path, position_file, first_look) =
            (self.path.clone(), self.position_file.clone(), self.first_look);
        let reading = tokio::task::spawn_blocking(move || {
            let mut state = match state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever holds it was given up on, and is still waiting for the disk: one is enough.
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        text!(
                            "the last look at {path} has not ended yet",
                            path = path.display().to_string()
                        ),
                    ));
                }
            };
            let State {
                follower,
                tally,
                round,
                told_at,
            } = &mut *state;
            let follower = match follower {
                Some(follower) => follower,
                None => {
                    let fresh = Follower::new(&path, first_look);
                    let kept = position_file
                        .as_deref()
                        .map(|file| load(file, &path))
                        .transpose()?
                        .flatten();
                    *told_at = kept.as_ref().and_then(Position::seen_at);
                    follower.insert(match kept {
                        Some(position) => fresh.resuming(position),
                        None => fresh,
                    })
                }
            };
            let seen = follower.read(now, limit, &mut |line| add(tally, line));
            round.add(seen.map_err(|cause| unreadable(&path, cause))?);
            Ok(())
        });
        reading.await.map_err(|cause| {
            Error::new(
                ErrorKind::Io,
                text!("could not read {path}", path = self.path.display().to_string()),
            )
            .with_source(cause)
        })??;
        // From here on nothing waits, so that what is taken is told.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(file), Some(follower)) = (&self.position_file, &state.follower) {
            save(file, &self.path, follower.position())?;
        }
        let elapsed = state
            .told_at
            .map(|told_at| now.duration_since(told_at).as_secs_f64());
        state.told_at = Some(now);
        Ok(News {
            tally: std::mem::take(&mut state.tally),
            round: std::mem::take(&mut state.round),
            elapsed: elapsed.filter(|elapsed| *elapsed > 0.0),
        })
    }
}

fn load(file: &Path, log: &Path) -> Result<Option<Position>> {
    let size = match fs::metadata(file) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(|cause| unreadable(file, cause))?.len(),
    };
    let strange = || {
        Error::new(
            ErrorKind::Malformed,
            text!(
                "{file} is not the place reached in {log}; remove it to begin anew",
                file = file.display().to_string(),
                log = log.display().to_string()
            ),
        )
    };
    if size > LONGEST_POSITION {
        return Err(strange());
    }
    let bytes = fs::read(file).map_err(|cause| unreadable(file, cause))?;
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|cause| strange().with_source(cause))?;
    if kept.log != log {
        return Err(strange());
    }
    Ok(Some(kept.position))
}

/// Replaces the file as a whole, so that a crash leaves the old one or the new one.
fn save(file: &Path, log: &Path, position: Position) -> Result<()> {
    let write = || -> io::Result<()> {
        let kept = Kept {
            log: log.to_owned(),
            position,
        };
        let new = file.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut target = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        target.write_all(&serde_json::to_vec(&kept)?)?;
        target.sync_all()?;
        fs::rename(&new, file)
    };
    write().map_err(|cause| {
        Error::new(
            ErrorKind::Io,
            text!("could not write {path}", path = file.display().to_string()),
        )
        .with_source(cause)
    })
}
