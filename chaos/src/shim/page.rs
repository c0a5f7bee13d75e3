//! The page of a node, by its file: `shim/page.h` has the same layout, and says who writes what when. The kernel shows what is written to
//! a file to whoever has it mapped.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{FileError, OnPath};

const PAGE_BYTES: u64 = 4096;
const MAGIC: u32 = 0x4d48_5347;
const VERSION: u32 = 1;

/// Where fields begin, in bytes. `MAGIC` and `VERSION` are the first two.
const GENERATION: u64 = 8;
const OPERATIONS: u64 = 12;
const ERROR: u64 = 16;
const LATENCY_NS: u64 = 24;
const CLOCK_OFFSET_NS: u64 = 32;
const FIRST_ACTED_NS: u64 = 40;
const DELAYED: u64 = 48;
const FAILED: u64 = 56;
const MAPPED_BY: u64 = 64;

/// What is done to files; sets of these are orders.
pub(crate) mod operation {
    /// Bytes are read, or sent from a file.
    pub(crate) const READ: u32 = 1;
    /// Bytes are written, or a file gets longer.
    pub(crate) const WRITE: u32 = 2;
    /// What was written is made durable.
    pub(crate) const SYNC: u32 = 4;
    /// Something new gets a name.
    pub(crate) const CREATE: u32 = 8;
    /// A file that is there is opened for writing.
    pub(crate) const OPEN: u32 = 16;
    /// A file gets shorter, another name, or none.
    pub(crate) const CHANGE: u32 = 32;
}

/// What a node is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Orders {
    /// Which operations below `log.dirs` it is about: a set of [`operation`].
    pub(crate) operations: u32,
    /// How much later they are done, nanoseconds.
    pub(crate) latency_ns: u64,
    /// The `errno` that they fail with; 0: they do not.
    pub(crate) error: i32,
    /// What is added to the time of day, nanoseconds.
    pub(crate) clock_offset_ns: i64,
}

/// What a node has done of what it was ordered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    /// When an operation was first late, or failed; CLOCK_MONOTONIC, nanoseconds.
    pub(crate) first_acted_ns: Option<u64>,
    /// How many were late.
    pub(crate) delayed: u64,
    /// How many have failed.
    pub(crate) failed: u64,
    /// Whether a process of the node has ever had the page.
    pub(crate) is_mapped: bool,
}

/// The file.
#[derive(Debug)]
pub(super) struct PageFile {
    path: PathBuf,
    file: File,
    /// The number of the orders before.
    generation: u32,
}

impl PageFile {
    /// Writes a page on which nothing is ordered.
    pub(super) fn create(path: &Path) -> Result<(), FileError> {
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(true).mode(0o600).open(path).on("create", path)?;
        file.set_len(PAGE_BYTES).on("write", path)?;
        file.write_all_at(&MAGIC.to_ne_bytes(), 0).on("write", path)?;
        file.write_all_at(&VERSION.to_ne_bytes(), 4).on("write", path)
    }

    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let file = OpenOptions::new().read(true).write(true).open(path).on("open", path)?;
        let page = Self { path: path.to_path_buf(), file, generation: 0 };
        if (page.word(0)?, page.word(4)?) != (MAGIC, VERSION) {
            let other =
                io::Error::new(io::ErrorKind::InvalidData, "it is no page of this version of gauntlet");
            return Err(other).on("use", path);
        }
        Ok(Self { generation: page.word(GENERATION)?, ..page })
    }

    pub(super) fn order(&mut self, orders: Orders) -> Result<(), FileError> {
        self.take_back()?;
        for counter in [FIRST_ACTED_NS, DELAYED, FAILED] {
            self.write(counter, &0u64.to_ne_bytes())?;
        }
        self.write(OPERATIONS, &orders.operations.to_ne_bytes())?;
        self.write(ERROR, &orders.error.to_ne_bytes())?;
        self.write(LATENCY_NS, &orders.latency_ns.to_ne_bytes())?;
        self.write(CLOCK_OFFSET_NS, &orders.clock_offset_ns.to_ne_bytes())?;
        // Never 0, which is none.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.write(GENERATION, &self.generation.to_ne_bytes())
    }

    pub(super) fn take_back(&mut self) -> Result<(), FileError> {
        self.write(GENERATION, &0u32.to_ne_bytes())
    }

    pub(super) fn seen(&self) -> Result<Seen, FileError> {
        let first_acted_ns = self.long(FIRST_ACTED_NS)?;
        Ok(Seen {
            first_acted_ns: (first_acted_ns != 0).then_some(first_acted_ns),
            delayed: self.long(DELAYED)?,
            failed: self.long(FAILED)?,
            is_mapped: self.long(MAPPED_BY)? != 0,
        })
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all_at(bytes, at).on("write", &self.path)
    }

    fn word(&self, at: u64) -> Result<u32, FileError> {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, at).on("read", &self.path)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn long(&self, at: u64) -> Result<u64, FileError> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at).on("read", &self.path)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}
