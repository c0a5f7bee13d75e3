//! What batches compress to.
//!
//! **Definition.** Bytes in the log over bytes before compression, batch headers included in both, of all whole batches with
//! the codec that most records have. Batches without a codec say nothing about that, so zstd at its default level is tried
//! on the first 4 MiB; the same is told of every topic, so that topics can be compared. Of batches that are not in the sample as
//! a whole only the codec is known.

use std::collections::BTreeMap;

use gauntlet_wire::codec::Codec;
use serde::Serialize;

use super::sample::{Packed, Sample};

/// What batches of a topic compress to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompressibilityEstimate {
    /// The codec that most records have, by Kafka's name.
    pub codec: String,
    /// Records by codec.
    pub records_by_codec: BTreeMap<String, u64>,
    /// Bytes in the log over bytes before compression, with `codec`; `None` without a whole batch of it.
    pub ratio: Option<f64>,
    /// The same with zstd, as tried; `None` without a whole batch.
    pub zstd_ratio: Option<f64>,
}

impl CompressibilityEstimate {
    /// The codec that most records have.
    pub fn codec(&self) -> Codec {
        self.codec.parse().unwrap_or_default()
    }

    /// A codec that compresses, and what batches come to with it; `None` where that could not be measured.
    pub fn measured(&self) -> Option<(Codec, f64)> {
        let tried = self.zstd_ratio.map(|ratio| (Codec::Zstd, ratio));
        match self.codec() {
            Codec::None => tried,
            codec => self.ratio.map(|ratio| (codec, ratio)).or(tried),
        }
    }
}

pub(super) fn estimate(sample: &Sample) -> CompressibilityEstimate {
    let mut by_codec: BTreeMap<Codec, (u64, Packed)> = BTreeMap::new();
    for batch in &sample.batches {
        let (records, packed) = by_codec.entry(batch.codec).or_default();
        *records += u64::from(batch.records);
        packed.uncompressed_bytes += batch.uncompressed_bytes;
        packed.stored_bytes += batch.stored_bytes;
    }
    for (codec, records) in &sample.other_codecs {
        by_codec.entry(*codec).or_default().0 += records;
    }
    let most = by_codec.iter().max_by_key(|(_, (records, _))| *records);
    let (codec, packed) =
        most.map_or((Codec::None, Packed::default()), |(codec, (_, packed))| (*codec, *packed));
    CompressibilityEstimate {
        codec: codec.name().to_owned(),
        records_by_codec: by_codec.iter().map(|(codec, (n, _))| (codec.name().to_owned(), *n)).collect(),
        ratio: measured(packed),
        zstd_ratio: measured(sample.zstd),
    }
}

fn measured(packed: Packed) -> Option<f64> {
    (packed.uncompressed_bytes > 0).then(|| packed.ratio())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::sample::BatchSeen;

    fn batch(codec: Codec, records: u32, stored_bytes: u64) -> BatchSeen {
        BatchSeen {
            partition: 0,
            codec,
            producer_id: -1,
            records,
            stored_bytes,
            uncompressed_bytes: 1_000,
            spread_ms: Some(0),
            transactional: false,
        }
    }

    #[test]
    fn the_codec_of_most_records_is_measured() {
        let batches =
            vec![batch(Codec::Lz4, 10, 400), batch(Codec::Lz4, 10, 600), batch(Codec::None, 15, 1_000)];
        let zstd = Packed { uncompressed_bytes: 3_000, stored_bytes: 900 };
        let found = estimate(&Sample { batches, zstd, ..Sample::default() });
        assert_eq!((found.codec.as_str(), found.ratio, found.zstd_ratio), ("lz4", Some(0.5), Some(0.3)));
        assert_eq!(found.records_by_codec["none"], 15);
        assert_eq!(found.measured(), Some((Codec::Lz4, 0.5)));
    }

    #[test]
    fn without_a_whole_batch_only_the_codec_is_known() {
        let other_codecs = BTreeMap::from([(Codec::Gzip, 40), (Codec::None, 3)]);
        let found = estimate(&Sample { other_codecs, ..Sample::default() });
        assert_eq!((found.codec.as_str(), found.ratio, found.zstd_ratio), ("gzip", None, None));
        assert_eq!((found.records_by_codec["gzip"], found.measured()), (40, None));
    }

    #[test]
    fn without_a_codec_zstd_is_tried() {
        let zstd = Packed { uncompressed_bytes: 1_000, stored_bytes: 250 };
        let batches = vec![batch(Codec::None, 1, 1_000)];
        let found = estimate(&Sample { batches, zstd, ..Sample::default() });
        assert_eq!(found.measured(), Some((Codec::Zstd, 0.25)));
        assert_eq!(estimate(&Sample::default()).measured(), None);
    }
}
