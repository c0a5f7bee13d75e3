//! What a disk does.

use gauntlet_chaos::DiskOperations;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An operation of a disk, for `disk.slow` and `disk.fail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOperation {
    /// Reading, and sending from a file.
    Read,
    /// Writing; for `disk.fail`, everything else that changes what is on the disk as well.
    Write,
    /// Making durable what was written: fsync and fdatasync.
    Sync,
}

impl DiskOperation {
    /// Those of a list together.
    #[must_use]
    pub(crate) fn together(list: &[Self]) -> DiskOperations {
        let has = |one: Self| list.contains(&one);
        DiskOperations { read: has(Self::Read), write: has(Self::Write), sync: has(Self::Sync) }
    }
}
