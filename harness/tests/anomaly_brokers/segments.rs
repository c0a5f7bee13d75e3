//! Edits of the log of a partition on a broker that is stopped, as a bad disk, a lost page cache or a bug would make them.
//!
//! A broker that was stopped in order believes its files: it looks at sizes and indexes, not at checksums. What points into a file that has
//! another length now (indexes, snapshots of producers) is removed, and made again by the broker from the log. Tests write little,
//! so there is one segment.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gauntlet_wire::batch::{BatchHeader, HEADER_BYTES, next_batch};

/// A batch in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) header: BatchHeader,
    at: u64,
    bytes: usize,
}

impl Batch {
    pub(crate) fn end_offset(&self) -> i64 {
        self.header.last_offset() + 1
    }
}

/// The only segment of a log.
pub(crate) struct Segment {
    dir: PathBuf,
    path: PathBuf,
}

impl Segment {
    pub(crate) fn of(dir: &Path) -> Self {
        let path = dir.join("00000000000000000000.log");
        assert!(path.is_file(), "{}", path.display());
        Segment { dir: dir.to_path_buf(), path }
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        let mut bytes = Vec::new();
        File::open(&self.path).unwrap().read_to_end(&mut bytes).unwrap();
        let mut batches = Vec::new();
        let mut at = 0;
        while let Some((header, length)) = next_batch(&bytes[at..]).unwrap() {
            batches.push(Batch { header, at: at as u64, bytes: length });
            at += length;
        }
        batches
    }

    /// One more than the last offset.
    pub(crate) fn end_offset(&self) -> i64 {
        self.batches().last().map_or(0, Batch::end_offset)
    }

    /// Cuts the log off so that it ends at this offset, which a batch has to begin at.
    pub(crate) fn truncate(&self, offset: i64) {
        let batches = self.batches();
        let first = batches.iter().find(|batch| batch.header.base_offset == offset).unwrap();
        self.open().set_len(first.at).unwrap();
        self.remove_what_points_into_it();
        assert_eq!(self.end_offset(), offset);
    }

    /// Takes a batch out, as if it had never been written: a gap, as compaction leaves it.
    pub(crate) fn remove(&self, batch: &Batch) {
        let mut bytes = std::fs::read(&self.path).unwrap();
        bytes.drain(batch.at as usize..batch.at as usize + batch.bytes);
        std::fs::write(&self.path, bytes).unwrap();
        self.remove_what_points_into_it();
    }

    /// Flips one bit in the last record of a batch.
    pub(crate) fn damage(&self, batch: &Batch) {
        assert!(batch.bytes > HEADER_BYTES + 100);
        let file = self.open();
        let at = batch.at + batch.bytes as u64 - 40;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    /// Appends the last batch once more, at the next offsets. Its checksum holds: it does not cover the offset.
    pub(crate) fn repeat_last_batch(&self) -> Batch {
        let last = *self.batches().last().unwrap();
        let mut bytes = vec![0; last.bytes];
        let file = self.open();
        file.read_exact_at(&mut bytes, last.at).unwrap();
        bytes[..8].copy_from_slice(&last.end_offset().to_be_bytes());
        file.write_all_at(&bytes, last.at + last.bytes as u64).unwrap();
        self.remove_what_points_into_it();
        assert_eq!(self.end_offset(), last.end_offset() + i64::from(last.header.record_count));
        last
    }

    fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).unwrap()
    }

    fn remove_what_points_into_it(&self) {
        for entry in std::fs::read_dir(&self.dir).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if ["index", "timeindex", "snapshot"].contains(&extension) {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}
