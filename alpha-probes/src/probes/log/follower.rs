//! Follows a log through every way of rotating it, and reads each line once.
//!
//! The file being read is held open, so that neither a new name nor its removal takes its last lines away. When the
//! log goes on in another file, the old one is read on for a while, since its writer may not have noticed yet. Files
//! that came and went between two looks are found beside the log. A copy, compressed or not, of what was being read is
//! known by its content: a fingerprint of its first bytes and of those just before the place reached.
//!
//! What nobody can read is lost: lines that `copytruncate` drops between its copy and its cut, and files deleted
//! before they were read. The latter is counted as a gap.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::generation::{Budget, Generation, Place, Progress, Sibling};

/// How long a file is read on after the log went on in another: writers take their time to reopen.
const GRACE: Duration = Duration::from_secs(60);

/// The clock of file systems may be behind ours by its resolution.
const SLACK: Duration = Duration::from_secs(1);

/// How often a log that is rotated while it is looked at is looked at again.
const LOOKS: usize = 8;

/// The most files that are held open at once.
const MOST_OPEN: usize = 64;

/// The most files that are looked at beside a log.
const MOST_SIBLINGS: usize = 1000;

/// Follows one log.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    first_look: u64,
    /// Oldest first; the last is the one being written, as far as is known.
    generations: VecDeque<Generation>,
    /// What was read to its end and let go.
    finished: VecDeque<Place>,
    /// Read by an earlier process and not found again yet.
    resumed: Vec<Place>,
    seen_at: Option<Timestamp>,
}

/// How far a log was read: what one process hands to the next so that no line is lost or counted twice.
///
/// Holds fingerprints, never the content of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    generations: Vec<Place>,
    /// Read to their end; a copy of one that turns up late is not read again.
    finished: VecDeque<Place>,
    seen_at: Option<Timestamp>,
}

/// What one look at a log came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Round {
    /// Whether there is a file at the path of the log.
    pub is_present: bool,
    /// Whether nothing was known of the log before.
    pub is_first: bool,
    /// How many lines were read.
    pub lines: u64,
    /// How many times the log went on in another file, or in the same from its beginning.
    pub rotations: u64,
    /// How many times lines may have been lost, because a file was gone before it was read.
    pub gaps: u64,
    /// Bytes that are known to be there and were not read, because a round is bounded.
    pub lag: u64,
}

impl Position {
    /// When the log was looked at last.
    pub fn seen_at(&self) -> Option<Timestamp> {
        self.seen_at
    }
}

impl Round {
    /// Takes in a later round.
    pub(super) fn add(&mut self, later: Self) {
        *self = Self {
            is_present: later.is_present,
            is_first: self.is_first || later.is_first,
            lines: self.lines + later.lines,
            rotations: self.rotations + later.rotations,
            gaps: self.gaps + later.gaps,
            lag: later.lag,
        };
    }
}

/// What is there at one moment.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    current: Option<Sibling>,
    /// Oldest first.
    siblings: Vec<Sibling>,
}

impl Follower {
    /// Follows the log at `path` from `first_look` bytes before its end.
    pub fn new(path: impl Into<PathBuf>, first_look: u64) -> Self {
        Self {
            path: path.into(),
            first_look,
            generations: VecDeque::new(),
            finished: VecDeque::new(),
            resumed: Vec::new(),
            seen_at: None,
        }
    }

    /// Follows the log on from where another follower stopped.
    #[must_use]
    pub fn resuming(mut self, position: Position) -> Self {
        self.resumed = position.generations;
        self.finished = position.finished;
        self.seen_at = position.seen_at;
        self
    }

    /// How far the log was read.
    pub fn position(&self) -> Position {
        let generations = self.generations.iter().map(|generation| generation.place.clone());
        Position {
            generations: generations.chain(self.resumed.iter().cloned()).collect(),
            finished: self.finished.clone(),
            seen_at: self.seen_at,
        }
    }

    /// Reads what came since the last look, about `limit` bytes at most, and hands each complete line to `sink`.
    ///
    /// Whatever was handed over is remembered as read, even where an error follows.
    ///
    /// # Errors
    /// Those of the file system; that the log does not exist is none.
    pub fn read(&mut self, now: Timestamp, limit: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<Round> {
        let mut round = Round::default();
        let mut budget = Budget { bytes: limit.max(1) };
        let mut lines = 0;
        let mut count = |line: &[u8]| {
            lines += 1;
            sink(line);
        };
        self.recover(&mut round)?;
        // A log that is rotated while it is looked at is looked at again.
        for _ in 0..LOOKS {
            let snapshot = self.look()?;
            round.is_present = snapshot.current.is_some();
            let was_unread = self.is_unread();
            if !self.pump(now, &mut budget, &mut count, &mut round)? {
                continue;
            }
            let is_settled = self.notice(&snapshot, now, &mut round)?;
            if is_settled && (!was_unread || self.notice_cut(now, &mut round)?) {
                break;
            }
        }
        round.lines = lines;
        round.lag = self.lag();
        self.seen_at = Some(now);
        Ok(round)
    }

    /// What is there, looked at until it holds still, because a rotation changes several names one after the other.
    fn look(&self) -> io::Result<Snapshot> {
        let mut last = self.look_once()?;
        for _ in 0..LOOKS {
            let next = self.look_once()?;
            let same = |one: &Sibling, other: &Sibling| one.path == other.path && one.inode == other.inode;
            let holds_still = last.siblings.len() == next.siblings.len()
                && last
                    .siblings
                    .iter()
                    .zip(&next.siblings)
                    .all(|(one, other)| same(one, other))
                && last.current.as_ref().map(|file| file.inode)
                    == next.current.as_ref().map(|file| file.inode);
            last = next;
            if holds_still {
                break;
            }
        }
        Ok(last)
    }

    fn look_once(&self) -> io::Result<Snapshot> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let mut siblings: Vec<Sibling> = match fs::read_dir(folder.unwrap_or(Path::new("."))) {
            Ok(entries) => entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    file.strip_prefix(&*name).is_some_and(is_rotated)
                })
                .take(MOST_SIBLINGS)
                .filter_map(Sibling::at)
                .collect(),
            // The log may be readable where its folder may not be listed.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        sort(&mut siblings, &name);
        let current = Sibling::at(self.path.clone());
        Ok(Snapshot { current, siblings })
    }

    /// Finds again what an earlier process was reading.
    fn recover(&mut self, round: &mut Round) -> io::Result<()> {
        let places = std::mem::take(&mut self.resumed);
        let mut found: Vec<Option<Generation>> = places.iter().map(|_| None).collect();
        // Names may change hands at this moment, so that what is missing is looked for again.
        for _ in 0..LOOKS {
            if found.iter().all(Option::is_some) {
                break;
            }
            let snapshot = self.look()?;
            let files: Vec<&Sibling> = snapshot.siblings.iter().chain(&snapshot.current).collect();
            let first: Vec<Vec<u8>> = files.iter().map(|file| file.first_bytes()).collect();
            for (place, found) in places.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
                let is_same = |file: &Sibling| file.device == place.device && file.inode == place.inode;
                let is_known = |file: &Sibling, first: &[u8]| {
                    let mut all = places.iter().chain(&self.finished);
                    all.any(|place| file.continues(place, first))
                };
                let holds = |index: &usize| {
                    let (file, first) = (files[*index], &first[*index]);
                    match place.offset {
                        // Its number alone is no proof: it may belong to another file by now.
                        0 => is_same(file) && !file.is_gzip() && !is_known(file, first),
                        _ => file.continues(place, first),
                    }
                };
                let mut candidates: Vec<usize> = (0..files.len()).filter(holds).collect();
                // The file itself rather than a copy, and a plain copy rather than a compressed one.
                candidates.sort_by_key(|index| (!is_same(files[*index]), files[*index].is_gzip()));
                if let Some(index) = candidates.first() {
                    let generation = files[*index].open()?;
                    *found = generation.map(|generation| generation.resumed(place.clone()));
                }
            }
        }
        let newest = places.len();
        for (index, (place, found)) in places.into_iter().zip(found).enumerate() {
            match found {
                Some(generation) => self.generations.push_back(generation),
                None => {
                    // The last may have been written on. One of which nothing was read, because there was nothing,
                    // is found as any other file that came since.
                    let is_last = index + 1 == newest && place.offset > 0;
                    round.gaps += u64::from(is_last || place.offset < place.size);
                    self.finished.push_back(place);
                }
            }
        }
        Ok(())
    }

    /// Whether nothing was read yet of the file that is being written, so that its content is not known.
    fn is_unread(&self) -> bool {
        let last = self.generations.back();
        self.seen_at.is_some()
            && last.is_some_and(|last| last.place.left_at.is_none() && last.place.offset == 0)
    }

    /// A file of which nothing was read yet cannot be missed when it is copied and cut off. Looks for such a copy
    /// after reading what is there now. Whether there was none.
    fn notice_cut(&mut self, now: Timestamp, round: &mut Round) -> io::Result<bool> {
        let snapshot = self.look()?;
        let unread = self.unread(&snapshot);
        let Some(copies) = open_all(&unread, now)? else {
            return Ok(false);
        };
        let is_settled = copies.is_empty();
        if let Some(last) = self.generations.pop_back() {
            round.rotations += copies.len() as u64;
            self.generations.extend(copies);
            self.generations.push_back(last);
        }
        Ok(is_settled)
    }

    /// Compares the file that is the log now with the one that is followed. Whether they are the same.
    fn notice(&mut self, snapshot: &Snapshot, now: Timestamp, round: &mut Round) -> io::Result<bool> {
        let Some(current) = &snapshot.current else {
            return Ok(true);
        };
        if let Some(last) = self.generations.back_mut().filter(|last| last.is(current)) {
            last.place.left_at = None;
            return Ok(true);
        }
        // Where a name changed hands since the look, nothing is done, and the next look finds the right file.
        let Some(between) = open_all(&self.unread(snapshot), now)? else {
            return Ok(false);
        };
        let Some(mut generation) = current.open()? else {
            return Ok(false);
        };
        if self.seen_at.is_none() {
            round.is_first = true;
            generation.seek(generation.size()?.saturating_sub(self.first_look))?;
        } else {
            round.rotations += 1;
        }
        if let Some(last) = self.generations.back_mut() {
            last.place.left_at.get_or_insert(now);
        }
        self.generations.extend(between);
        self.generations.push_back(generation);
        Ok(false)
    }

    /// The files that came and went since the last look: written since, not followed, and no copy of what is known or
    /// of what is being written.
    fn unread(&self, snapshot: &Snapshot) -> Vec<Sibling> {
        let Some(seen_at) = self.seen_at else {
            return Vec::new();
        };
        let since = seen_at.checked_sub(SLACK).unwrap_or(Timestamp::MIN);
        let is_known = |file: &Sibling| {
            // In this order: where the log is cut off between the two questions, its copy is whole when the second
            // is asked.
            if let Some(current) = &snapshot.current
                && file.begins_like(current, &file.first_bytes())
            {
                return true;
            }
            let first = file.first_bytes();
            self.generations
                .iter()
                .any(|generation| generation.holds(file, &first))
                || self.finished.iter().any(|place| file.continues(place, &first))
        };
        // A file that is being compressed is there twice; the original is whole.
        let is_double = |file: &Sibling| {
            let original = file.path.with_extension("");
            file.is_gzip() && snapshot.siblings.iter().any(|other| other.path == original)
        };
        let siblings = snapshot.siblings.iter();
        siblings
            .filter(|file| !is_double(file))
            .filter(|file| file.modified >= since && file.size > 0 && !is_known(file))
            .cloned()
            .collect()
    }

    /// Reads everything that is followed, oldest first. Whether all of it was as expected; where a file was cut off
    /// its copy is looked for.
    fn pump(
        &mut self,
        now: Timestamp,
        budget: &mut Budget,
        sink: &mut dyn FnMut(&[u8]),
        round: &mut Round,
    ) -> io::Result<bool> {
        let mut index = 0;
        while index < self.generations.len() {
            let is_last = index + 1 == self.generations.len();
            let generation = &mut self.generations[index];
            let left_at = generation.place.left_at;
            let is_over = left_at
                .is_some_and(|left_at| now.duration_since(left_at) >= GRACE.try_into().unwrap_or_default());
            let progress = match generation.read(budget, is_over, sink) {
                // Compressed, and not to its end yet, or broken: patience, then a gap.
                Err(_) if generation.is_static() && !is_over => Progress::Stopped,
                Err(error) if generation.is_static() => {
                    tracing::warn!(%error, "a compressed log cannot be read");
                    round.gaps += 1;
                    self.finish(index);
                    continue;
                }
                progress => progress?,
            };
            generation.place.size = generation.size().unwrap_or(generation.place.offset);
            match progress {
                Progress::AtEnd if generation.is_static() => self.finish(index),
                // The present file stays, however long nothing is written.
                Progress::AtEnd if is_over && !is_last => self.finish(index),
                Progress::AtEnd => index += 1,
                Progress::Stopped => return Ok(true),
                Progress::Replaced => {
                    self.replace(index, now, round)?;
                    return Ok(false);
                }
            }
        }
        while self.generations.len() > MOST_OPEN {
            round.gaps += u64::from(self.generations[0].place.offset < self.generations[0].place.size);
            self.finish(0);
        }
        Ok(true)
    }

    fn finish(&mut self, index: usize) {
        if let Some(generation) = self.generations.remove(index) {
            self.finished.push_back(generation.place);
            if self.finished.len() > MOST_OPEN {
                self.finished.pop_front();
            }
        }
    }

    /// The file was cut off or written anew: what is left to be read of it is in a copy, and it begins again.
    fn replace(&mut self, index: usize, now: Timestamp, round: &mut Round) -> io::Result<()> {
        let Some(generation) = self.generations.get_mut(index) else {
            return Ok(());
        };
        let mut place = generation.begin_anew();
        let mut copy = None;
        for _ in 0..LOOKS {
            let snapshot = self.look()?;
            let is_followed = |file: &Sibling| self.generations.iter().any(|generation| generation.is(file));
            let mut candidates = snapshot.siblings.iter().rev();
            let found =
                candidates.find(|file| !is_followed(file) && file.continues(&place, &file.first_bytes()));
            copy = match found {
                Some(found) => found.open()?,
                None => None,
            };
            if copy.is_some() {
                break;
            }
        }
        round.rotations += 1;
        match copy {
            Some(copy) => {
                place.left_at = Some(now);
                self.generations.insert(index, copy.resumed(place));
            }
            None => {
                round.gaps += 1;
                self.finished.push_back(place);
            }
        }
        Ok(())
    }

    fn lag(&self) -> u64 {
        let unread = |generation: &Generation| {
            let size = generation.size().unwrap_or(0);
            size.saturating_sub(generation.place.offset)
        };
        self.generations.iter().map(unread).sum()
    }
}

/// Opens files that are the log no more; nothing where a name stands for another file by now.
fn open_all(files: &[Sibling], now: Timestamp) -> io::Result<Option<Vec<Generation>>> {
    let mut generations = Vec::with_capacity(files.len());
    for file in files {
        let Some(mut generation) = file.open()? else {
            return Ok(None);
        };
        generation.place.left_at = Some(now);
        generations.push(generation);
    }
    Ok(Some(generations))
}

/// Whether what follows the name of a log makes it an older part of it: `.1`, `.2.gz`, `-20240131`, `.old`.
fn is_rotated(suffix: &str) -> bool {
    let suffix = suffix.strip_suffix(".gz").unwrap_or(suffix);
    let Some(rest) = suffix.strip_prefix(['.', '-', '_']) else {
        return false;
    };
    let is_stamp = rest.starts_with(|first: char| first.is_ascii_digit())
        && rest
            .chars()
            .all(|letter| letter.is_ascii_digit() || "-._:TZ+".contains(letter));
    is_stamp || rest == "old"
}

/// Oldest first: by number where all are numbered, the greatest being the oldest; by time of the last write otherwise.
fn sort(siblings: &mut [Sibling], name: &str) {
    let number = |sibling: &Sibling| -> Option<u32> {
        let file = sibling.path.file_name()?.to_string_lossy().into_owned();
        let suffix = file.strip_prefix(name)?.strip_prefix('.')?;
        suffix.strip_suffix(".gz").unwrap_or(suffix).parse().ok()
    };
    if siblings.iter().all(|sibling| number(sibling).is_some()) {
        siblings.sort_by_key(|sibling| std::cmp::Reverse(number(sibling)));
    } else {
        siblings.sort_by(|one, other| (one.modified, &one.path).cmp(&(other.modified, &other.path)));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let mut file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.path(name))
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn rename(&self, from: &str, to: &str) {
            fs::rename(self.path(from), self.path(to)).unwrap();
        }

        fn copy_and_cut(&self, from: &str, to: &str) {
            fs::copy(self.path(from), self.path(to)).unwrap();
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(self.path(from))
                .unwrap();
        }

        fn compress(&self, name: &str) {
            let modified = fs::metadata(self.path(name)).unwrap().modified().unwrap();
            let file = File::create(self.path(&format!("{name}.gz"))).unwrap();
            let mut encoder = GzEncoder::new(file, Compression::fast());
            encoder.write_all(&fs::read(self.path(name)).unwrap()).unwrap();
            encoder.finish().unwrap().set_modified(modified).unwrap();
            fs::remove_file(self.path(name)).unwrap();
        }

        fn follower(&self) -> Follower {
            Follower::new(self.path("log"), 0)
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the times of files are the system's")]
    fn now() -> Timestamp {
        Timestamp::now()
    }

    fn read(follower: &mut Follower) -> (String, Round) {
        read_at(follower, now())
    }

    fn read_at(follower: &mut Follower, now: Timestamp) -> (String, Round) {
        let mut lines = Vec::new();
        let round = follower
            .read(now, u64::MAX, &mut |line| {
                lines.push(String::from_utf8_lossy(line).into_owned())
            })
            .unwrap();
        (lines.join(" "), round)
    }

    /// Follows by handing the place to a new follower each time, as separate processes do.
    fn restart(follower: Follower, folder: &Folder) -> Follower {
        let position = serde_json::to_string(&follower.position()).unwrap();
        folder
            .follower()
            .resuming(serde_json::from_str(&position).unwrap())
    }

    #[test]
    fn the_first_look_begins_at_a_line() {
        let folder = Folder::new();
        folder.write("log", "one\ntwo\nthree\n");
        let mut follower = Follower::new(folder.path("log"), 8);
        let (lines, round) = read(&mut follower);
        assert_eq!((lines.as_str(), round.is_first), ("three", true));
        folder.write("log", "fo");
        assert_eq!(read(&mut follower).0, "");
        folder.write("log", "ur\nfive\n");
        assert_eq!(read(&mut follower).0, "four five");
    }

    #[test]
    fn a_log_that_appears_later_is_read_from_its_beginning() {
        let folder = Folder::new();
        let mut follower = folder.follower();
        assert!(!read(&mut follower).1.is_present);
        folder.write("log", "one\n");
        let (lines, round) = read(&mut follower);
        assert_eq!((lines.as_str(), round.is_present, round.gaps), ("one", true, 0));
    }

    #[test]
    fn the_old_file_is_read_on_after_a_rename() {
        for restarts in [false, true] {
            let folder = Folder::new();
            folder.write("log", "old\n");
            let mut follower = folder.follower();
            read(&mut follower);
            folder.write("log", "a\n");
            folder.rename("log", "log.1");
            folder.write("log.1", "b\n");
            folder.write("log", "c\n");
            if restarts {
                follower = restart(follower, &folder);
            }
            assert_eq!(read(&mut follower).0, "a b c");
            // Its writer has not reopened yet.
            folder.write("log.1", "d\n");
            folder.write("log", "e\n");
            if restarts {
                follower = restart(follower, &folder);
            }
            let (lines, round) = read(&mut follower);
            assert_eq!((lines.as_str(), round.gaps), ("d e", 0));
        }
    }

    #[test]
    fn several_rotations_between_two_looks_lose_nothing() {
        for restarts in [false, true] {
            let folder = Folder::new();
            folder.write("log", "old\n");
            let mut follower = folder.follower();
            read(&mut follower);
            folder.write("log", "a\n");
            folder.rename("log", "log.2");
            folder.compress("log.2");
            folder.write("log.1", "b\n");
            folder.write("log", "c\n");
            if restarts {
                follower = restart(follower, &folder);
            }
            let (lines, round) = read(&mut follower);
            assert_eq!((lines.as_str(), round.gaps), ("a b c", 0), "restarts: {restarts}");
            folder.compress("log.1");
            assert_eq!(read(&mut follower).0, "");
        }
    }

    #[test]
    fn what_copytruncate_copied_is_read_from_the_copy() {
        for restarts in [false, true] {
            let folder = Folder::new();
            folder.write("log", "old\n");
            let mut follower = folder.follower();
            read(&mut follower);
            folder.write("log", "a\nb\n");
            folder.copy_and_cut("log", "log.1");
            folder.write("log", "c\nd\ne\nf\n");
            if restarts {
                follower = restart(follower, &folder);
            }
            let (lines, round) = read(&mut follower);
            assert_eq!((lines.as_str(), round.gaps), ("a b c d e f", 0));
            folder.rename("log.1", "log.2");
            folder.copy_and_cut("log", "log.1");
            folder.compress("log.2");
            folder.write("log", "g\n");
            if restarts {
                follower = restart(follower, &folder);
            }
            assert_eq!(read(&mut follower).0, "g");
        }
    }

    #[test]
    fn a_file_that_was_never_seen_is_not_missed_when_it_is_copied_and_cut() {
        let folder = Folder::new();
        folder.write("log", "old\n");
        let mut follower = folder.follower();
        read(&mut follower);
        folder.rename("log", "log.2");
        folder.write("log", "");
        read(&mut follower);
        folder.write("log", "a\n");
        folder.copy_and_cut("log", "log.1");
        folder.write("log", "b\n");
        let (lines, _) = read(&mut follower);
        assert_eq!(
            lines.split(' ').collect::<std::collections::BTreeSet<_>>(),
            ["a", "b"].into()
        );
    }

    #[test]
    fn a_deleted_file_is_read_to_its_end_and_one_never_read_is_a_gap() {
        let folder = Folder::new();
        folder.write("log", "old\n");
        let mut follower = folder.follower();
        read(&mut follower);
        folder.write("log", "a\n");
        fs::remove_file(folder.path("log")).unwrap();
        folder.write("log", "b\n");
        let (lines, round) = read(&mut follower);
        assert_eq!((lines.as_str(), round.gaps), ("a b", 0));
        folder.write("log", "c\n");
        fs::remove_file(folder.path("log")).unwrap();
        folder.write("log", "d\n");
        let (lines, round) = read(&mut restart(follower, &folder));
        assert_eq!((lines.as_str(), round.gaps), ("d", 1));
    }

    #[test]
    fn a_file_that_is_emptied_without_a_copy_is_a_gap() {
        let folder = Folder::new();
        folder.write("log", "old\n");
        let mut follower = folder.follower();
        read(&mut follower);
        File::create(folder.path("log")).unwrap();
        folder.write("log", "a\n");
        let (lines, round) = read(&mut follower);
        assert_eq!((lines.as_str(), round.gaps), ("a", 1));
    }

    #[test]
    fn a_line_that_never_ends_is_told_when_its_file_is_over() {
        let folder = Folder::new();
        folder.write("log", "old\n");
        let mut follower = folder.follower();
        read(&mut follower);
        folder.write("log", "half");
        folder.rename("log", "log.1");
        folder.write("log", "new\n");
        assert_eq!(read(&mut follower).0, "new");
        let later = now() + GRACE + Duration::from_secs(1);
        assert_eq!(read_at(&mut follower, later).0, "half");
        assert_eq!(follower.generations.len(), 1);
    }

    #[test]
    fn a_bounded_look_says_how_much_is_left() {
        let folder = Folder::new();
        folder.write("log", "");
        let mut follower = folder.follower();
        read(&mut follower);
        let line = format!("{}\n", "x".repeat(999));
        folder.write("log", &line.repeat(2000));
        let round = follower.read(now(), 1, &mut |_| ()).unwrap();
        assert!(round.lag > 0 && round.lines > 0, "{round:?}");
        let mut lines = round.lines;
        while follower.lag() > 0 {
            lines += follower.read(now(), 1, &mut |_| ()).unwrap().lines;
        }
        assert_eq!(lines, 2000);
    }

    #[test]
    fn only_names_that_a_rotation_makes_are_looked_at() {
        for suffix in [
            ".1",
            ".12.gz",
            "-20240131",
            "-20240131-12.gz",
            ".2024-01-31T10:00:00Z",
            ".old",
        ] {
            assert!(is_rotated(suffix), "{suffix}");
        }
        for suffix in ["", ".gz", ".bak", "2", ".1.bz2", "-error", ".1~"] {
            assert!(!is_rotated(suffix), "{suffix}");
        }
    }
}
