use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use alpha_probes::probes::LogConfig;
use alpha_probes::probes::log::{Follower, Position};
use alpha_probes::{Clock, ErrorKind, SystemClock};
use serde_json::json;

use crate::support::{ask, probe, value_of};

/// Writes numbered lines and rotates the log in every way there is.
struct Writer {
    folder: PathBuf,
    file: File,
    next: u64,
    /// Numbers that look random and are the same every time.
    seed: u64,
}

impl Writer {
    fn new(folder: &Path, seed: u64) -> io::Result<Self> {
        let file = append(&folder.join("log"))?;
        let folder = folder.to_owned();
        let next = 0;
        Ok(Self {
            folder,
            file,
            next,
            seed,
        })
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below
    }

    fn write(&mut self, lines: u64) -> io::Result<()> {
        for _ in 0..lines {
            let filling = "x".repeat(self.random(60) as usize);
            let line = format!("{} {filling}\n", self.next);
            // A line may be seen half written.
            let (half, rest) = line.split_at(line.len() / 2);
            self.file.write_all(half.as_bytes())?;
            self.file.write_all(rest.as_bytes())?;
            self.next += 1;
        }
        Ok(())
    }

    fn name(&self, number: u64, suffix: &str) -> PathBuf {
        match number {
            0 => self.folder.join("log"),
            _ => self.folder.join(format!("log.{number}{suffix}")),
        }
    }

    /// Moves all old files on by one, as logrotate does.
    fn shift(&self) -> io::Result<()> {
        let is_there = |number: &u64| self.name(*number, "").exists() || self.name(*number, ".gz").exists();
        let last = (1..).take_while(is_there).count() as u64;
        for number in (1..=last).rev() {
            for suffix in ["", ".gz"] {
                match fs::rename(self.name(number, suffix), self.name(number + 1, suffix)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn rename(&mut self) -> io::Result<()> {
        self.shift()?;
        fs::rename(self.name(0, ""), self.name(1, ""))?;
        let new = append(&self.name(0, ""))?;
        // The writer goes on in the old file until it is told to reopen.
        let late = self.random(20);
        self.write(late)?;
        self.file = new;
        Ok(())
    }

    fn copy_and_cut(&self) -> io::Result<()> {
        self.shift()?;
        fs::copy(self.name(0, ""), self.name(1, ""))?;
        self.file.set_len(0)
    }

    fn delete(&mut self) -> io::Result<()> {
        let late = self.random(20);
        fs::remove_file(self.name(0, ""))?;
        self.write(late)?;
        self.file = append(&self.name(0, ""))?;
        Ok(())
    }

    /// Compresses an old file, if it is there and not compressed yet.
    fn compress(&self, number: u64) -> io::Result<()> {
        let path = self.name(number, "");
        if !path.exists() {
            return Ok(());
        }
        let status = Command::new("gzip").arg("-f").arg(&path).status()?;
        assert!(status.success());
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Follows a log while it is written and rotated, and returns the numbers seen.
fn follow(seed: u64, restarts: bool) -> io::Result<(Vec<u64>, u64, u64)> {
    let folder = tempfile::tempdir()?;
    let mut writer = Writer::new(folder.path(), seed)?;
    let mut follower = Follower::new(folder.path().join("log"), 0);
    follower.read(SystemClock.now(), u64::MAX, &mut |_| ())?;
    let (rounds, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut seen, mut gaps) = (Vec::new(), 0);
    let written = std::thread::scope(|scope| -> io::Result<u64> {
        let writing = scope.spawn(|| -> io::Result<u64> {
            let result = (|| {
                for _ in 0..60 {
                    let lines = writer.random(300);
                    writer.write(lines)?;
                    match writer.random(if restarts { 4 } else { 5 }) {
                        0 | 1 => writer.rename()?,
                        2 => writer.copy_and_cut()?,
                        3 => std::thread::sleep(Duration::from_millis(writer.random(20))),
                        _ => {
                            // What nobody has opened before it is deleted nobody can read.
                            let before = rounds.load(Ordering::SeqCst);
                            while rounds.load(Ordering::SeqCst) < before + 2 {
                                std::thread::yield_now();
                            }
                            writer.delete()?;
                        }
                    }
                    if restarts {
                        // A process that begins anew has nothing open, and needs the names to hold still for a moment.
                        let pause = 10 + writer.random(20);
                        std::thread::sleep(Duration::from_millis(pause));
                    }
                    if writer.random(3) == 0 {
                        // The file before the last, since the writer may still write into the last.
                        let number = 2 + writer.random(2);
                        writer.compress(number)?;
                    }
                }
                Ok(writer.next)
            })();
            is_over.store(true, Ordering::SeqCst);
            result
        });
        let mut last = false;
        loop {
            let now = SystemClock.now();
            let round = follower.read(now, 1 << 20, &mut |line| {
                let number = line.split(|byte| *byte == b' ').next().unwrap_or_default();
                seen.push(String::from_utf8_lossy(number).parse().unwrap_or(u64::MAX));
            })?;
            gaps += round.gaps;
            rounds.fetch_add(1, Ordering::SeqCst);
            if last && round.lag == 0 {
                break;
            }
            last = is_over.load(Ordering::SeqCst);
            if restarts {
                let position: Position = serde_json::from_str(&serde_json::to_string(&follower.position())?)?;
                follower = Follower::new(folder.path().join("log"), 0).resuming(position);
                std::thread::sleep(Duration::from_millis(3));
            }
        }
        writing.join().expect("the writer ends")
    })?;
    Ok((seen, written, gaps))
}

#[track_caller]
fn assert_each_once(seen: &[u64], written: u64) {
    let mut times = vec![0_u32; written as usize];
    for (index, number) in seen.iter().enumerate() {
        match times.get_mut(*number as usize) {
            Some(times) => *times += 1,
            None => panic!(
                "the line after {:?} was never written",
                &seen[index.saturating_sub(3)..index]
            ),
        }
    }
    let wrong: Vec<_> = times
        .iter()
        .enumerate()
        .filter(|(_, times)| **times != 1)
        .take(5)
        .collect();
    assert!(
        wrong.is_empty(),
        "of {written} lines, {} seen; first wrong: {wrong:?}",
        seen.len()
    );
}

#[test]
fn every_line_is_seen_once_whatever_rotates_the_log() {
    for seed in 1..=6 {
        let (seen, written, gaps) = follow(seed, false).unwrap();
        assert_each_once(&seen, written);
        assert_eq!(gaps, 0, "seed {seed}");
    }
}

#[test]
fn every_line_is_seen_once_by_processes_that_hand_on_their_place() {
    for seed in 11..=14 {
        let (seen, written, gaps) = follow(seed, true).unwrap();
        assert_each_once(&seen, written);
        assert_eq!(gaps, 0, "seed {seed}");
    }
}

#[tokio::test]
async fn matches_are_counted_since_the_last_look_and_shown_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    fs::write(&path, "ok\nERROR old\n").unwrap();
    let table = json!({ "path": path, "patterns": { "errors": "ERROR", "panics": "panicked" } });
    let log = probe::<LogConfig>(table);
    let first = ask(&*log).await.unwrap();
    assert_eq!(value_of(&first, "matches", "errors"), Some(1.0));
    assert_eq!(first.facts["first_look"], true);
    let mut file = append(&path).unwrap();
    file.write_all(b"ERROR one \xff\nERROR password=hunter2\nfine\n")
        .unwrap();
    let next = ask(&*log).await.unwrap();
    assert_eq!(value_of(&next, "matches", "errors"), Some(2.0));
    assert_eq!(value_of(&next, "matches", "panics"), Some(0.0));
    assert!(value_of(&next, "match_rate", "errors").unwrap() > 0.0);
    assert_eq!(next.facts["last_errors"], "ERROR password=[redacted]");
    assert_eq!(
        value_of(&ask(&*log).await.unwrap(), "matches", "errors"),
        Some(0.0)
    );
}

#[tokio::test]
async fn a_position_file_carries_the_place_from_one_process_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (path, place) = (folder.path().join("app.log"), folder.path().join("place"));
    fs::write(&path, "ERROR old\n").unwrap();
    let table = json!({ "path": path, "pattern": "ERROR", "position_file": place, "first_look_bytes": 0 });
    let one_shot = || probe::<LogConfig>(table.clone());
    assert_eq!(ask(&*one_shot()).await.unwrap().value("matches"), Some(0.0));
    append(&path).unwrap().write_all(b"ERROR new\n").unwrap();
    fs::rename(&path, folder.path().join("app.log.1")).unwrap();
    fs::write(&path, "ERROR newest\n").unwrap();
    let seen = ask(&*one_shot()).await.unwrap();
    assert_eq!(
        (seen.value("matches"), seen.value("rotations")),
        (Some(2.0), Some(1.0))
    );
    assert!(seen.value("match_rate").is_some());
    assert_eq!(ask(&*one_shot()).await.unwrap().value("matches"), Some(0.0));
    let mode = std::os::unix::fs::MetadataExt::mode(&place.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&place, "nonsense").unwrap();
    assert_eq!(ask(&*one_shot()).await.unwrap_err().kind(), ErrorKind::Malformed);
}

#[tokio::test]
async fn a_log_that_is_not_there_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let log = probe::<LogConfig>(json!({ "path": folder.path().join("none/app.log"), "pattern": "x" }));
    assert_eq!(ask(&*log).await.unwrap().value("present"), Some(0.0));
}
