//! What a rate means for disks: bytes per second, per day, and on all replicas.

use super::{SearchRecord, TrialRecord};

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// What is written at the confirmed rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    /// Bytes of a record as batches carry it: compressed, with its share of the batch's header.
    pub bytes_per_record: f64,
    /// Bytes per second of one copy.
    pub bytes_per_s: f64,
    /// Bytes per day of one copy.
    pub bytes_per_day: f64,
    /// Bytes per day on the disks of all replicas; `None` if nobody knows how many there are.
    pub disk_bytes_per_day: Option<f64>,
}

/// What the confirmed rate of a search means for disks. `None` without one.
#[must_use]
pub fn storage(record: &SearchRecord) -> Option<Storage> {
    let bytes_per_record = record.confirmation().and_then(bytes_per_record)?;
    let bytes_per_s = record.rate_per_s()? * bytes_per_record;
    let bytes_per_day = bytes_per_s * DAY_S;
    Some(Storage {
        bytes_per_record,
        bytes_per_s,
        bytes_per_day,
        disk_bytes_per_day: record.replication_factor.map(|replicas| bytes_per_day * f64::from(replicas)),
    })
}

fn bytes_per_record(trial: &TrialRecord) -> Option<f64> {
    trial.stored_bytes_per_record.filter(|bytes| bytes.is_finite() && *bytes > 0.0)
}
