//! The end of a log that is in no checkpoint yet, cut off.
//!
//! A log is a row of segments, files named after their first offset; Kafka flushes one when it rolls (and when told to, by
//! `log.flush.*`), and then notes in `recovery-point-offset-checkpoint` up to where everything is on disk. After a crash it checks
//! what lies above, batch by batch, and makes indexes anew.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::files::{FileError, OnPath};

/// Where Kafka keeps up to where logs are on disk.
const CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// The log of the quorum, which is flushed before anybody counts on it.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// Bytes of a batch's header; it begins with the first offset and the length of what follows the length.
const HEADER_BYTES: usize = 61;
/// Bytes before what a batch's length counts.
const LENGTH_COUNTED_FROM: u64 = 12;
/// The only format of batches that Kafka writes (KIP-98).
const MAGIC: u8 = 2;

/// What one replica of a partition has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// Where its log ends now, once the broker has dropped what is torn.
    pub(super) kept_to: i64,
    /// Where it ended.
    pub(super) ended_at: i64,
    /// Leader epoch of what was its last batch; -1 if it had none.
    pub(super) leader_epoch: i32,
}

/// Cuts every log below `data_dir`, `log.dirs` of a broker that does not run.
pub(super) fn cut_logs(data_dir: &Path, tail_bytes: Option<u64>) -> Result<Vec<Cut>, FileError> {
    let flushed = recovery_points(&data_dir.join(CHECKPOINT))?;
    let mut cuts = Vec::new();
    for entry in fs::read_dir(data_dir).on("read", data_dir)? {
        let path = entry.on("read", data_dir)?.path();
        let Some((topic, partition)) = partition_of(&path) else { continue };
        if topic == METADATA_TOPIC {
            continue;
        }
        let log = Log::read(&path)?;
        // A log that is in no checkpoint was never flushed.
        let flushed_to = flushed.get(&(topic.clone(), partition)).copied().unwrap_or(0);
        let kept_to = log.cut(flushed_to, tail_bytes)?;
        let (ended_at, leader_epoch) =
            (log.end_offset(), log.batches.last().map_or(-1, |batch| batch.leader_epoch));
        cuts.push(Cut { topic, partition, kept_to, ended_at, leader_epoch });
    }
    cuts.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    Ok(cuts)
}

/// `orders-3`, the log of partition 3 of `orders`. Those that are being deleted or moved have other names.
fn partition_of(path: &Path) -> Option<(String, i32)> {
    let (topic, partition) = path.file_name()?.to_str()?.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    let partition = partition.parse().ok().filter(|_| is_number)?;
    path.is_dir().then(|| (topic.to_owned(), partition))
}

/// Topic, partition and offset in each line, behind a version and the number of lines. None if it is not there yet.
fn recovery_points(path: &Path) -> Result<BTreeMap<(String, i32), i64>, FileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).on("read", path),
    };
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        Some(((topic.to_owned(), partition.parse().ok()?), offset.parse().ok()?))
    };
    Ok(text.lines().skip(2).filter_map(entry).collect())
}

/// A batch in a segment.
#[derive(Clone, Copy, Debug)]
struct Batch {
    /// Index of its segment.
    segment: usize,
    /// Where it begins in it.
    at: u64,
    bytes: u64,
    base_offset: i64,
    end_offset: i64,
    leader_epoch: i32,
}

/// A log as it is on disk.
#[derive(Debug)]
struct Log {
    /// Files, by first offset.
    segments: Vec<(i64, PathBuf)>,
    /// All whole batches, in order.
    batches: Vec<Batch>,
}

impl Log {
    fn read(dir: &Path) -> Result<Self, FileError> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(dir).on("read", dir)? {
            let path = entry.on("read", dir)?.path();
            if let Some(base) = base_offset_of(&path, "log") {
                segments.push((base, path));
            }
        }
        segments.sort();
        let mut batches = Vec::new();
        for (segment, (_, path)) in segments.iter().enumerate() {
            let file = File::open(path).on("open", path)?;
            let length = file.metadata().on("read", path)?.len();
            let mut at = 0;
            while let Some(batch) = batch_at(&file, segment, at, length).on("read", path)? {
                at += batch.bytes;
                batches.push(batch);
            }
        }
        Ok(Self { segments, batches })
    }

    fn end_offset(&self) -> i64 {
        let begin = self.segments.first().map_or(0, |(base, _)| *base);
        self.batches.last().map_or(begin, |batch| batch.end_offset)
    }

    /// Cuts off what lies above `flushed_to`, of which `tail_bytes` at most; in the middle of a batch if that is where it comes to.
    /// Gives where the log ends then, whole batches counted.
    fn cut(&self, flushed_to: i64, tail_bytes: Option<u64>) -> Result<i64, FileError> {
        let mut left = tail_bytes.unwrap_or(u64::MAX);
        let mut kept_to = self.end_offset();
        let mut cut = None;
        for batch in self.batches.iter().rev().take_while(|batch| batch.base_offset >= flushed_to) {
            if left == 0 {
                break;
            }
            let gone = batch.bytes.min(left);
            left -= gone;
            kept_to = batch.base_offset;
            cut = Some((batch.segment, batch.at + batch.bytes - gone));
        }
        let Some((segment, at)) = cut else { return Ok(kept_to) };
        let path = &self.segments[segment].1;
        let file = OpenOptions::new().write(true).open(path).on("open", path)?;
        file.set_len(at).on("cut off", path)?;
        for (base, path) in &self.segments[segment + 1..] {
            remove_segment(*base, path)?;
        }
        Ok(kept_to)
    }
}

/// Removes a segment, and what belongs to it.
fn remove_segment(base: i64, path: &Path) -> Result<(), FileError> {
    let Some(dir) = path.parent() else { return Ok(()) };
    for entry in fs::read_dir(dir).on("read", dir)? {
        let path = entry.on("read", dir)?.path();
        let is_part = ["log", "index", "timeindex", "txnindex", "snapshot"]
            .iter()
            .any(|extension| base_offset_of(&path, extension) == Some(base));
        if is_part {
            fs::remove_file(&path).on("remove", &path)?;
        }
    }
    Ok(())
}

/// `00000000000000000042.log`: 42.
fn base_offset_of(path: &Path, extension: &str) -> Option<i64> {
    let name = path.file_name()?.to_str()?.strip_suffix(extension)?.strip_suffix('.')?;
    name.parse().ok().filter(|_| name.len() == 20)
}

/// The batch that begins at `at` in a file of this length; `None` if it is not whole, or none.
fn batch_at(file: &File, segment: usize, at: u64, length: u64) -> io::Result<Option<Batch>> {
    if at + HEADER_BYTES as u64 > length {
        return Ok(None);
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, at)?;
    let be_i32 = |from: usize| {
        i32::from_be_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]])
    };
    let base_offset = (i64::from(be_i32(0)) << 32) | i64::from(be_i32(4) as u32);
    let bytes = u64::try_from(be_i32(8)).unwrap_or(0) + LENGTH_COUNTED_FROM;
    let is_whole = header[16] == MAGIC && bytes >= HEADER_BYTES as u64 && at + bytes <= length;
    let end_offset = base_offset + i64::from(be_i32(23)) + 1;
    let leader_epoch = be_i32(12);
    Ok(is_whole.then_some(Batch { segment, at, bytes, base_offset, end_offset, leader_epoch }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of so many records and bytes.
    fn batch(base_offset: i64, records: i32, bytes: usize, leader_epoch: i32) -> Vec<u8> {
        let mut batch = vec![7; bytes];
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        batch[8..12].copy_from_slice(&(bytes as i32 - 12).to_be_bytes());
        batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
        batch[16] = MAGIC;
        batch[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        batch
    }

    /// `log.dirs` with a log of two segments, 0..10 and 10..30, of batches of five records and 100 bytes.
    fn data_dir() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for log in ["orders-0", "__cluster_metadata-0", "orders-1.f00d-delete"] {
            let dir = root.path().join(log);
            fs::create_dir(&dir).unwrap();
            for (base, batches) in [(0, 2), (10, 4)] {
                let bytes: Vec<u8> = (0..batches)
                    .flat_map(|index| batch(base + index * 5, 5, 100, 3 + base as i32 / 10))
                    .collect();
                let name = |extension| dir.join(format!("{base:020}.{extension}"));
                fs::write(name("log"), bytes).unwrap();
                fs::write(name("index"), b"").unwrap();
            }
        }
        root
    }

    fn sizes(root: &Path) -> Vec<u64> {
        let size = |base: i64| fs::metadata(root.join(format!("orders-0/{base:020}.log"))).ok();
        [0, 10].into_iter().filter_map(size).map(|file| file.len()).collect()
    }

    fn cut(root: &Path, tail_bytes: Option<u64>) -> Cut {
        let metadata = fs::read(root.join("__cluster_metadata-0/00000000000000000010.log")).unwrap();
        let mut cuts = cut_logs(root, tail_bytes).unwrap();
        assert_eq!(fs::read(root.join("__cluster_metadata-0/00000000000000000010.log")).unwrap(), metadata);
        assert_eq!(cuts.len(), 1, "neither the quorum's nor one that is being deleted: {cuts:?}");
        cuts.remove(0)
    }

    #[test]
    fn what_was_never_flushed_is_gone() {
        let root = data_dir();
        let lost = cut(root.path(), None);
        let expected =
            Cut { topic: "orders".to_owned(), partition: 0, kept_to: 0, ended_at: 30, leader_epoch: 4 };
        assert_eq!(lost, expected);
        assert_eq!(sizes(root.path()), [0]);
        assert!(!root.path().join("orders-0/00000000000000000010.index").exists());
    }

    #[test]
    fn what_was_flushed_stays() {
        let root = data_dir();
        fs::write(root.path().join(CHECKPOINT), "0\n2\norders 0 20\nothers 1 7\n").unwrap();
        let lost = cut(root.path(), None);
        assert_eq!((lost.kept_to, lost.ended_at), (20, 30));
        assert_eq!(sizes(root.path()), [200, 200]);
        let again = cut(root.path(), None);
        assert_eq!((again.kept_to, again.ended_at), (20, 20), "nothing more is lost");
    }

    #[test]
    fn a_tail_tears_the_batch_that_it_ends_in() {
        let root = data_dir();
        let lost = cut(root.path(), Some(130));
        assert_eq!((lost.kept_to, lost.ended_at), (20, 30));
        assert_eq!(sizes(root.path()), [200, 270]);
        // What is torn is no batch any more, and the next loss begins before it.
        assert_eq!(cut(root.path(), Some(0)).ended_at, 20);
        let lost = cut(root.path(), Some(350));
        assert_eq!((lost.kept_to, lost.ended_at), (0, 20));
        assert_eq!(sizes(root.path()), [50]);
    }

    #[test]
    fn a_log_without_anything_has_nothing_to_lose() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("new-2")).unwrap();
        fs::write(root.path().join("new-2/00000000000000000000.log"), b"").unwrap();
        let lost = cut_logs(root.path(), None).unwrap();
        let expected =
            Cut { topic: "new".to_owned(), partition: 2, kept_to: 0, ended_at: 0, leader_epoch: -1 };
        assert_eq!(lost, [expected]);
    }
}
