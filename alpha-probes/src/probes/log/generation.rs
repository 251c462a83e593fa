//! One file of a log and how far it was read.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is read at once.
const CHUNK: usize = 256 * 1024;

/// A line longer than this is cut, so that a file without line breaks cannot fill the memory.
pub(super) const LONGEST_LINE: usize = 64 * 1024;

/// How many bytes tell one content from another.
const MARK: usize = 1024;

/// A fingerprint of some bytes of a file, by which they are known again in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) length: usize,
    hash: u64,
}

impl Default for Mark {
    /// That of no bytes.
    fn default() -> Self {
        Self::of(&[])
    }
}

impl Mark {
    /// FNV-1a: the same in every release and on every machine. It tells contents apart, it guards nothing.
    fn of(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self {
            length: bytes.len(),
            hash,
        }
    }
}

/// How far one file was read, as it is kept between two processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Everything before this byte was read; it follows a line break.
    pub(super) offset: u64,
    /// The first bytes of the file.
    pub(super) head: Mark,
    /// The bytes just before `offset`.
    pub(super) tail: Mark,
    /// How long the file was when it was last looked at.
    pub(super) size: u64,
    /// Whether the rest of an overlong line comes next.
    pub(super) is_skipping: bool,
    /// Since when the log goes on in another file.
    pub(super) left_at: Option<Timestamp>,
}

/// Where the bytes of a generation are.
#[derive(Debug)]
enum Content {
    /// Held open, so that neither a new name nor its removal takes it away.
    Plain(File),
    /// Compressed, and not written any more; held open as well.
    Gzip(File),
}

/// One file of a log: the one that is written, or one that was.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) place: Place,
    content: Content,
}

/// How reading a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything that is there was read, but for a line that is not complete yet.
    AtEnd,
    /// No more may be read this time.
    Stopped,
    /// What was read before is not there any more: the file was cut off or written anew.
    Replaced,
}

/// What is left to be read in one round.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) bytes: u64,
}

/// Takes lines, without their line breaks.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) + 'a;

/// A file beside the log that may be an older part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sibling {
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: Timestamp,
}

impl Sibling {
    /// What is known of the file at `path`; nothing where it is no file, or gone by now.
    pub(super) fn at(path: PathBuf) -> Option<Self> {
        let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: Timestamp::new(metadata.mtime(), metadata.mtime_nsec() as i32).ok()?,
            path,
        })
    }

    pub(super) fn is_gzip(&self) -> bool {
        is_gzip(&self.path)
    }

    /// Opens the file; nothing where the name stands for another one by now.
    fn file(&self) -> io::Result<Option<File>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let metadata = file.metadata()?;
        Ok(((metadata.dev(), metadata.ino()) == (self.device, self.inode)).then_some(file))
    }

    /// Opens it as an unread generation; nothing where the name stands for another file by now.
    pub(super) fn open(&self) -> io::Result<Option<Generation>> {
        let Some(file) = self.file()? else {
            return Ok(None);
        };
        let place = Place {
            device: self.device,
            inode: self.inode,
            // How long a compressed file is in truth shows only when it is read.
            size: if self.is_gzip() { 0 } else { self.size },
            ..Place::default()
        };
        let content = if self.is_gzip() {
            Content::Gzip(file)
        } else {
            Content::Plain(file)
        };
        Ok(Some(Generation { place, content }))
    }

    /// Its first bytes, decompressed; fewer where it has fewer.
    pub(super) fn first_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MARK);
        // What could be read before an error is still what it begins with.
        if let Ok(reader) = self.reader() {
            let _ = reader.take(MARK as u64).read_to_end(&mut bytes);
        }
        bytes
    }

    /// Whether it holds what was read at `place`, so that reading may go on in it; `first` are its first bytes.
    pub(super) fn continues(&self, place: &Place, first: &[u8]) -> bool {
        let head = first.get(..place.head.length).map(Mark::of);
        if place.offset == 0 || head != Some(place.head) {
            return false;
        }
        let before = place.offset - place.tail.length as u64;
        let tail = || -> io::Result<Mark> {
            let mut bytes = vec![0; place.tail.length];
            if self.is_gzip() {
                let mut reader = self.reader()?;
                skip(&mut reader, before)?;
                reader.read_exact(&mut bytes)?;
            } else {
                let file = self.file()?.ok_or(io::ErrorKind::NotFound)?;
                file.read_exact_at(&mut bytes, before)?;
            }
            Ok(Mark::of(&bytes))
        };
        tail().is_ok_and(|tail| tail == place.tail)
    }

    /// Whether it begins as `other` does, as far as both go: a copy that is being made, or not yet cut off. `first`
    /// are its first bytes.
    pub(super) fn begins_like(&self, other: &Self, first: &[u8]) -> bool {
        let length = first.len().min(usize::try_from(self.size).unwrap_or(MARK));
        let theirs = other.first_bytes();
        !self.is_gzip()
            && length > 0
            && self.size <= other.size
            && theirs
                .get(..length)
                .is_some_and(|theirs| *theirs == first[..length])
    }

    fn reader(&self) -> io::Result<Box<dyn Read>> {
        let file = self.file()?.ok_or(io::ErrorKind::NotFound)?;
        Ok(if self.is_gzip() {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        })
    }
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

fn skip(reader: &mut impl Read, bytes: u64) -> io::Result<()> {
    match io::copy(&mut reader.take(bytes), &mut io::sink())? {
        skipped if skipped == bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Generation {
    /// The same content, read as far as `place` says.
    pub(super) fn resumed(mut self, place: Place) -> Self {
        self.place = Place {
            device: self.place.device,
            inode: self.place.inode,
            ..place
        };
        self
    }

    pub(super) fn is(&self, sibling: &Sibling) -> bool {
        self.place.device == sibling.device && self.place.inode == sibling.inode
    }

    /// The same file as if nothing had been read of it.
    pub(super) fn begin_anew(&mut self) -> Place {
        let anew = Place {
            device: self.place.device,
            inode: self.place.inode,
            left_at: self.place.left_at,
            ..Place::default()
        };
        std::mem::replace(&mut self.place, anew)
    }

    /// Whether `file`, which begins with `first`, is this one or a copy of it, compressed or not.
    pub(super) fn holds(&self, file: &Sibling, first: &[u8]) -> bool {
        if self.is(file) || file.continues(&self.place, first) {
            return true;
        }
        let Content::Plain(own) = &self.content else {
            return false;
        };
        if self.place.offset > 0 {
            return false;
        }
        // Nothing was read of it yet, so that only its first bytes can tell.
        let mut bytes = [0; MARK];
        let length = read_at(own, &mut bytes, 0).unwrap_or(0);
        length > 0 && first.get(..length) == Some(&bytes[..length])
    }

    pub(super) fn is_static(&self) -> bool {
        matches!(self.content, Content::Gzip(_))
    }

    /// How long the file is at this moment; of a compressed one, as long as it is not read to its end, unknown.
    pub(super) fn size(&self) -> io::Result<u64> {
        match &self.content {
            Content::Plain(file) => Ok(file.metadata()?.size()),
            Content::Gzip(_) => Ok(self.place.offset),
        }
    }

    /// Moves on to the first line that begins at or after `offset`, without reading what is before.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        let Content::Plain(file) = &self.content else {
            return Ok(());
        };
        if offset == 0 {
            return Ok(());
        }
        let mut buffer = vec![0; LONGEST_LINE];
        let length = read_at(file, &mut buffer, offset - 1)?;
        let line = buffer[..length].iter().position(|byte| *byte == b'\n');
        let offset = line.map_or(offset, |line| offset + line as u64);
        let mark = |from: u64, to: u64| -> io::Result<Mark> {
            let mut bytes = vec![0; (to - from) as usize];
            let length = read_at(file, &mut bytes, from)?;
            Ok(Mark::of(&bytes[..length]))
        };
        self.place.head = mark(0, offset.min(MARK as u64))?;
        self.place.tail = mark(offset.saturating_sub(MARK as u64), offset)?;
        self.place.offset = offset;
        // Where no line begins within reach, the rest of the present one is passed over.
        self.place.is_skipping = line.is_none();
        Ok(())
    }

    /// Reads on. With `finish` a last line without a line break counts as well.
    pub(super) fn read(
        &mut self,
        budget: &mut Budget,
        finish: bool,
        sink: &mut Sink<'_>,
    ) -> io::Result<Progress> {
        match &self.content {
            Content::Plain(_) => self.read_plain(budget, finish, sink),
            Content::Gzip(file) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                self.read_gzip(file, budget, sink)
            }
        }
    }

    fn read_plain(&mut self, budget: &mut Budget, finish: bool, sink: &mut Sink<'_>) -> io::Result<Progress> {
        let mut buffer = vec![0; MARK + CHUNK];
        loop {
            let Content::Plain(file) = &self.content else {
                return Ok(Progress::AtEnd);
            };
            let known = self.place.tail.length;
            // What was read before is read once more, in the same call as what comes next and again after it: were the
            // file cut off and filled anew in the meantime, new bytes would otherwise pass for the continuation of
            // old ones.
            let began = self.place.offset - known as u64;
            let length = read_once(file, &mut buffer[..known + CHUNK], began)?;
            if length < known || Mark::of(&buffer[..known]) != self.place.tail {
                return Ok(Progress::Replaced);
            }
            let mut again = [0; MARK];
            let again = &mut again[..length.min(MARK)];
            if read_once(file, again, began)? < again.len() || *again != buffer[..again.len()] {
                match known {
                    0 => continue,
                    _ => return Ok(Progress::Replaced),
                }
            }
            if length == known {
                return Ok(Progress::AtEnd);
            }
            if budget.bytes == 0 {
                return Ok(Progress::Stopped);
            }
            let is_full = length == known + CHUNK;
            let taken = take_lines(
                &buffer[known..length],
                !is_full && finish,
                &mut self.place.is_skipping,
                sink,
            );
            if taken == 0 {
                return Ok(Progress::AtEnd);
            }
            budget.bytes = budget.bytes.saturating_sub(taken as u64);
            self.place.advance(&buffer[..known + taken], taken);
        }
    }

    fn read_gzip(&mut self, file: File, budget: &mut Budget, sink: &mut Sink<'_>) -> io::Result<Progress> {
        if budget.bytes == 0 {
            return Ok(Progress::Stopped);
        }
        let mut reader = MultiGzDecoder::new(file);
        let known = self.place.tail.length;
        skip(&mut reader, self.place.offset - known as u64)?;
        let mut buffer = vec![0; known];
        reader.read_exact(&mut buffer)?;
        if Mark::of(&buffer) != self.place.tail {
            return Ok(Progress::Replaced);
        }
        loop {
            let known = buffer.len();
            (&mut reader).take(CHUNK as u64).read_to_end(&mut buffer)?;
            let is_end = buffer.len() < known + CHUNK;
            let read_before = self.place.tail.length;
            let taken = take_lines(&buffer[read_before..], is_end, &mut self.place.is_skipping, sink);
            budget.bytes = budget.bytes.saturating_sub(taken as u64);
            self.place.advance(&buffer[..read_before + taken], taken);
            buffer.drain(..read_before + taken - self.place.tail.length);
            match (is_end, budget.bytes) {
                (true, _) => return Ok(Progress::AtEnd),
                (false, 0) => return Ok(Progress::Stopped),
                (false, _) => {}
            }
        }
    }
}

impl Place {
    /// Takes in `taken` more bytes, the last of `bytes`, which begin where the tail began.
    fn advance(&mut self, bytes: &[u8], taken: usize) {
        let began = self.offset - self.tail.length as u64;
        if began == 0 && self.head.length < MARK {
            self.head = Mark::of(&bytes[..bytes.len().min(MARK)]);
        }
        self.tail = Mark::of(&bytes[bytes.len().saturating_sub(MARK)..]);
        self.offset += taken as u64;
    }
}

/// Hands the complete lines of `bytes` to `sink`, and with `finish` the incomplete last one too; how many bytes that
/// were. Of a line that is too long the beginning is handed over, and the rest passed over.
fn take_lines(bytes: &[u8], finish: bool, is_skipping: &mut bool, sink: &mut Sink<'_>) -> usize {
    let mut taken = 0;
    while let Some(length) = bytes[taken..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[taken..taken + length];
        taken += length + 1;
        if !std::mem::take(is_skipping) {
            sink(trim(&line[..line.len().min(LONGEST_LINE)]));
        }
    }
    let rest = &bytes[taken..];
    if *is_skipping {
        *is_skipping = !(finish);
        return bytes.len();
    }
    if rest.len() > LONGEST_LINE {
        sink(trim(&rest[..LONGEST_LINE]));
        *is_skipping = !finish;
        return bytes.len();
    }
    if finish && !rest.is_empty() {
        sink(trim(rest));
        return bytes.len();
    }
    taken
}

/// Without what ends a line on other systems, and without the empty bytes that a writer leaves at the beginning of a
/// file that was cut off under it.
fn trim(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let begin = line.iter().position(|byte| *byte != 0).unwrap_or(line.len());
    &line[begin..]
}

fn read_once(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            length => return length,
        }
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match read_once(file, &mut buffer[length..], offset + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut seen, mut is_skipping, mut rest) = (Vec::new(), false, Vec::new());
        for (index, piece) in pieces.iter().enumerate() {
            rest.extend_from_slice(piece);
            let finish = index + 1 == pieces.len();
            let taken = take_lines(&rest, finish, &mut is_skipping, &mut |line| {
                seen.push(String::from_utf8_lossy(line).into_owned());
            });
            rest.drain(..taken);
        }
        seen
    }

    #[test]
    fn lines_end_as_they_end_elsewhere_too() {
        assert_eq!(lines(&[b"a\r\n\0\0b\n", b"c"]), ["a", "b", "c"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_once() {
        let long = vec![b'x'; LONGEST_LINE + 10];
        let seen = lines(&[b"a\n", &long, &long, b"yyy\nb\n"]);
        assert_eq!(seen.len(), 3);
        assert_eq!((seen[1].len(), seen[2].as_str()), (LONGEST_LINE, "b"));
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_the_lines_are_the_same(text in "[ab\\n]{0,60}", cuts in prop::collection::vec(0..60_usize, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(0);
            cuts.push(text.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let expected: Vec<String> = text.lines().map(str::to_owned).collect();
            prop_assert_eq!(lines(&pieces), expected);
        }
    }
}
