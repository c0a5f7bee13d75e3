//! `history.zst`: what the checkers of a run were told, for whoever wants to judge it again (`gauntlet recheck`).
//!
//! The file is a row of zstd frames with checksums, one per second of the run: each can be read without those behind it, so a run that
//! was killed loses at most the second under way, and `zstd -d` decompresses all of them. Inside are [`Block`]s in postcard's encoding,
//! behind a line of text that names the format. The events within a block are [`gauntlet_verify::history`]'s.
//!
//! It grows with batches, not with records, and only up to a limit (`verify.history_max`): what comes after that is not kept,
//! and the file says so.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use gauntlet_verify::Guarantee;
use gauntlet_verify::history::HISTORY_VERSION;
use serde::{Deserialize, Serialize};

use crate::rundir::{HISTORY, RunDir, RunDirError};

/// What the first frame begins with.
const MAGIC: &[u8] = b"gauntlet history\n";
/// Fast; the events are small differences, and more effort saves little.
const ZSTD_LEVEL: i32 = 1;
/// No second of a run has a frame as large; a file that says so is damaged.
const FRAME_BYTES_MAX: u64 = 1 << 30;

/// What has to be known to judge what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Id of the run: part of paths.
    pub(crate) run_id: String,
    /// When the load began, CLOCK_MONOTONIC nanoseconds.
    pub(crate) origin_ns: u64,
    /// What the run was judged by.
    pub(crate) guarantee: Guarantee,
    /// A topic of the run allowed unclean elections.
    pub(crate) unclean_election: bool,
    /// What the clients that read can't show.
    pub(crate) not_looked_for: Vec<String>,
    /// How many examples are kept of each class.
    pub(crate) examples_max: usize,
}

/// A part of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Block<'a> {
    /// The first block.
    Head(Head),
    /// What the checker of a partition was told, by the reader of that number.
    Told { reader: u16, partition: u32, events: Cow<'a, [u8]> },
    /// The file had come to its limit; what followed was not kept.
    Full,
}

/// Writes the file as the run goes.
#[derive(Debug)]
pub(crate) struct HistoryWriter {
    out: BufWriter<File>,
    /// The frame under way, before compression.
    frame: Vec<u8>,
    written: u64,
    bytes_max: u64,
    is_full: bool,
}

impl HistoryWriter {
    /// Begins the file of a run, which is to be no longer than `bytes_max`.
    pub(crate) fn create(dir: &RunDir, head: &Head, bytes_max: u64) -> Result<Self, RunDirError> {
        let out = dir.append(HISTORY)?;
        let mut frame = MAGIC.to_vec();
        frame.extend(HISTORY_VERSION.to_be_bytes());
        let mut writer = HistoryWriter { out, frame, written: 0, bytes_max, is_full: false };
        writer.push(&Block::Head(head.clone()));
        let written = writer.flush();
        written.map_err(|source| RunDirError { action: "write", path: dir.file(HISTORY), source })?;
        Ok(writer)
    }

    #[expect(clippy::expect_used, reason = "an encoder that loses evidence must not go on")]
    fn push(&mut self, block: &Block<'_>) {
        let frame = std::mem::take(&mut self.frame);
        self.frame = postcard::to_extend(block, frame).expect("a vector takes whatever is of known length");
    }

    /// Takes what the checker of a partition was told.
    pub(crate) fn add(&mut self, reader: u16, partition: u32, events: &[u8]) {
        if !self.is_full {
            self.push(&Block::Told { reader, partition, events: events.into() });
        }
    }

    /// Writes what was taken since this was called last.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let mut compressed = compressed(&self.frame)?;
        self.frame.clear();
        // The last frame has to fit, too.
        const LAST_FRAME_BYTES_MAX: u64 = 64;
        if self.written + compressed.len() as u64 + LAST_FRAME_BYTES_MAX > self.bytes_max {
            self.is_full = true;
            self.push(&Block::Full);
            compressed = self::compressed(&std::mem::take(&mut self.frame))?;
        }
        self.written += compressed.len() as u64;
        self.out.write_all(&compressed)?;
        self.out.flush()
    }

    /// Whether it had come to its limit.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }
}

fn compressed(frame: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(frame)
}

/// A history that can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryFileError {
    /// None was kept.
    #[error(
        "{} has no history: `verify.keep_history` was `never`, or `on-failure` and it passed, or it was run by a gauntlet that kept none",
        .0.display()
    )]
    NotThere(PathBuf),
    /// The operating system says why.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Something else.
    #[error("{} is not a history of a run", .0.display())]
    NotAHistory(PathBuf),
    /// Of another version of gauntlet.
    #[error("{} is of version {found}, this gauntlet reads version {HISTORY_VERSION}: use the one that ran it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Bytes changed since they were written.
    #[error("{}: frame {frame} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which frame, from 0.
        frame: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// How the file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileEnd {
    /// Behind a frame.
    Frame,
    /// Within a frame: the run was killed while it wrote.
    Torn,
    /// At its limit.
    Full,
}

/// Reads the history of a run. Hands over, in order, what the checkers were told: reader, partition, events. Memory is that of
/// one second of the run.
///
/// # Errors
/// [`HistoryFileError`]; what `each` returns is taken for damage of the frame.
pub(crate) fn read(
    dir: &RunDir,
    mut each: impl FnMut(u16, u32, &[u8]) -> Result<(), String>,
) -> Result<(Head, FileEnd), HistoryFileError> {
    let (path, mut frames) = open(dir)?;
    let failed = |source: io::Error| HistoryFileError::Read { path: path.clone(), source };
    let mut head: Option<Head> = None;
    let mut end = FileEnd::Frame;
    for number in 0.. {
        if frames.fill_buf().map_err(failed)?.is_empty() {
            break;
        }
        let damaged = |what: String| HistoryFileError::Damaged { path: path.clone(), frame: number, what };
        let Some(frame) = next_frame(&mut frames).map_err(|error| damaged(error.to_string()))? else {
            end = FileEnd::Torn;
            break;
        };
        let blocks = if number == 0 { behind_magic(&frame, &path)? } else { &frame };
        for block in blocks_of(blocks) {
            match (block.map_err(damaged)?, &head) {
                (Block::Head(found), None) => head = Some(found),
                (Block::Told { reader, partition, events }, Some(_)) => {
                    each(reader, partition, &events).map_err(damaged)?;
                }
                (Block::Full, Some(_)) => end = FileEnd::Full,
                _ => return Err(HistoryFileError::NotAHistory(path.clone())),
            }
        }
    }
    Ok((head.ok_or(HistoryFileError::NotAHistory(path))?, end))
}

/// Reads only what has to be known to judge what was found.
///
/// # Errors
/// [`HistoryFileError`].
pub(crate) fn head(dir: &RunDir) -> Result<Head, HistoryFileError> {
    let (path, mut frames) = open(dir)?;
    let damaged = |what: String| HistoryFileError::Damaged { path: path.clone(), frame: 0, what };
    let frame = next_frame(&mut frames).map_err(|error| damaged(error.to_string()))?.unwrap_or_default();
    match blocks_of(behind_magic(&frame, &path)?).next() {
        Some(Ok(Block::Head(head))) => Ok(head),
        Some(Err(what)) => Err(damaged(what)),
        _ => Err(HistoryFileError::NotAHistory(path)),
    }
}

/// The file, and where it is.
fn open(dir: &RunDir) -> Result<(PathBuf, BufReader<File>), HistoryFileError> {
    let path = dir.file(HISTORY);
    match File::open(&path) {
        Ok(file) => Ok((path, BufReader::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(HistoryFileError::NotThere(dir.path().to_owned()))
        }
        Err(source) => Err(HistoryFileError::Read { path, source }),
    }
}

/// The next frame, decompressed; `None` if the file ends within it.
fn next_frame(frames: &mut BufReader<File>) -> io::Result<Option<Vec<u8>>> {
    let mut frame = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(frames)?.single_frame();
    match decoder.take(FRAME_BYTES_MAX).read_to_end(&mut frame) {
        Ok(_) => Ok(Some(frame)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// What follows the begin of the first frame.
fn behind_magic<'a>(frame: &'a [u8], path: &Path) -> Result<&'a [u8], HistoryFileError> {
    let not_a_history = || HistoryFileError::NotAHistory(path.to_owned());
    let versioned = frame.strip_prefix(MAGIC).ok_or_else(not_a_history)?;
    let (version, blocks) = versioned.split_first_chunk().ok_or_else(not_a_history)?;
    match u32::from_be_bytes(*version) {
        HISTORY_VERSION => Ok(blocks),
        found => Err(HistoryFileError::Version { path: path.to_owned(), found }),
    }
}

/// The blocks of a frame, up to the first that is none.
fn blocks_of(mut bytes: &[u8]) -> impl Iterator<Item = Result<Block<'_>, String>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        Some(match postcard::take_from_bytes(bytes) {
            Ok((block, rest)) => {
                bytes = rest;
                Ok(block)
            }
            Err(error) => {
                bytes = &[];
                Err(error.to_string())
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rundir::RunDir;
    use gauntlet_verify::Preset;

    fn head() -> Head {
        Head {
            run_id: "1".to_owned(),
            origin_ns: 5,
            guarantee: Preset::Idempotent.guarantee(),
            unclean_election: false,
            not_looked_for: vec!["zombie-write".to_owned()],
            examples_max: 8,
        }
    }

    /// A directory with a history of `seconds` seconds, each with two parts.
    fn written(seconds: u8, bytes_max: u64) -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::create(&root.path().join("h"), "h", "1").unwrap();
        let mut writer = HistoryWriter::create(&dir, &head(), bytes_max).unwrap();
        for second in 0..seconds {
            writer.add(0, 3, &[second; 40]);
            writer.add(1, 4, &(0..=second).map(|byte| byte.wrapping_mul(97)).collect::<Vec<_>>());
            writer.flush().unwrap();
        }
        writer.flush().unwrap();
        (root, dir)
    }

    /// What is read: how it ends, and the first bytes of what reader 0 told.
    fn seconds_of(dir: &RunDir) -> Result<(FileEnd, Vec<u8>), HistoryFileError> {
        let mut seconds = Vec::new();
        let (found, end) = read(dir, |reader, partition, events| {
            assert_eq!(partition, 3 + u32::from(reader));
            if reader == 0 {
                seconds.push(events[0]);
            }
            Ok(())
        })?;
        assert_eq!(found, head());
        Ok((end, seconds))
    }

    #[test]
    fn what_is_written_is_read() {
        let (_root, dir) = written(50, 1 << 20);
        assert_eq!(seconds_of(&dir).unwrap(), (FileEnd::Frame, (0..50).collect()));
        assert_eq!(super::head(&dir).unwrap(), head());
    }

    #[test]
    fn a_history_that_was_cut_off_is_read_up_to_there() {
        let (_root, dir) = written(3, 1 << 20);
        let whole = dir.read(HISTORY).unwrap();
        let mut last = 4;
        for length in (1..whole.len()).rev() {
            std::fs::write(dir.file(HISTORY), &whole[..length]).unwrap();
            match seconds_of(&dir) {
                Ok((_, seconds)) => {
                    assert_eq!(seconds, (0..seconds.len() as u8).collect::<Vec<_>>());
                    assert!(seconds.len() <= last);
                    last = seconds.len();
                }
                Err(error) => assert!(matches!(error, HistoryFileError::NotAHistory(_)), "{length}: {error}"),
            }
        }
        assert_eq!(last, 0);
    }

    #[test]
    fn a_changed_byte_is_found() {
        let (_root, dir) = written(3, 1 << 20);
        let whole = dir.read(HISTORY).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(dir.file(HISTORY), &bytes).unwrap();
        let error = seconds_of(&dir).unwrap_err();
        assert!(matches!(error, HistoryFileError::Damaged { .. }), "{error}");
    }

    #[test]
    fn at_its_limit_it_ends_and_says_so() {
        let (_root, dir) = written(50, 1_000);
        let (end, seconds) = seconds_of(&dir).unwrap();
        assert_eq!(end, FileEnd::Full);
        assert!((1..50).contains(&seconds.len()), "{seconds:?}");
        assert!(std::fs::metadata(dir.file(HISTORY)).unwrap().len() <= 1_000);
    }

    #[test]
    fn what_is_no_history_of_this_version_is_refused() {
        let (_root, dir) = written(1, 1 << 20);
        let mut other = MAGIC.to_vec();
        other.extend((HISTORY_VERSION + 1).to_be_bytes());
        std::fs::write(dir.file(HISTORY), compressed(&other).unwrap()).unwrap();
        let error = seconds_of(&dir).unwrap_err().to_string();
        assert!(error.contains("use the one that ran it"), "{error}");
        std::fs::write(dir.file(HISTORY), compressed(b"something else").unwrap()).unwrap();
        assert!(matches!(seconds_of(&dir).unwrap_err(), HistoryFileError::NotAHistory(_)));
        std::fs::remove_file(dir.file(HISTORY)).unwrap();
        assert!(matches!(seconds_of(&dir).unwrap_err(), HistoryFileError::NotThere(_)));
    }
}
