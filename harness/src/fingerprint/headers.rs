//! Record headers.
//!
//! **Definition.** A header is *usual* if more than half of the records have it; its length is the median length of its
//! values. Of others only the number is told.

use serde::Serialize;

use super::quantile::quantile;
use super::sample::Sample;

/// Longest value that is written into a scenario.
pub(super) const VALUE_BYTES_MAX: u64 = 4 << 10;

/// Record headers of a topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeaderEstimate {
    /// Those that most records have, by name.
    pub usual: Vec<UsualHeader>,
    /// How many others there are, at least.
    pub others: u64,
    /// How many that most records have are left out, because their names are no text.
    pub no_text: u64,
}

/// A header that most records have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsualHeader {
    /// Its name.
    pub name: String,
    /// Share of the records that have it.
    pub share: f64,
    /// Median length of its values in bytes.
    pub bytes: u64,
}

pub(super) fn estimate(sample: &Sample) -> HeaderEstimate {
    let records = sample.records.len().max(1) as f64;
    let mut found = HeaderEstimate { usual: Vec::new(), others: u64::from(sample.more_headers), no_text: 0 };
    for (name, seen) in &sample.headers {
        let share = seen.records as f64 / records;
        if share <= 0.5 {
            found.others += 1;
            continue;
        }
        let Ok(name) = String::from_utf8(name.clone()) else {
            found.no_text += 1;
            continue;
        };
        let repeated = |(bytes, times): (&u32, &u64)| std::iter::repeat_n(u64::from(*bytes), *times as usize);
        let lengths: Vec<u64> = seen.lengths.iter().flat_map(repeated).collect();
        found.usual.push(UsualHeader { name, share, bytes: quantile(&lengths, 0.5) });
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fingerprint::sample::{HeaderSeen, RecordSeen};

    #[test]
    fn what_most_records_have_is_usual() {
        let record = RecordSeen { partition: 0, timestamp_ms: 0, key: None, value_bytes: None };
        let mut sample = Sample { records: vec![record; 100], ..Sample::default() };
        let mut add = |name: &[u8], records: u64, lengths: &[(u32, u64)]| {
            let lengths = lengths.iter().copied().collect::<BTreeMap<u32, u64>>();
            sample.headers.insert(name.to_vec(), HeaderSeen { records, lengths, ..HeaderSeen::default() });
        };
        add(b"trace", 100, &[(16, 70), (32, 30)]);
        add(b"half", 50, &[(1, 50)]);
        add(b"\xff\xfe", 90, &[(1, 90)]);
        let trace = UsualHeader { name: "trace".to_owned(), share: 1.0, bytes: 16 };
        assert_eq!(estimate(&sample), HeaderEstimate { usual: vec![trace], others: 1, no_text: 1 });
    }
}
