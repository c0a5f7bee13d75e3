//! Record batches, format v2 (KIP-98): building them for Produce and reading them from Fetch.
//!
//! ```text
//! base offset i64 | batch length i32 | partition leader epoch i32 | magic i8 = 2 | CRC-32C u32 |
//! attributes i16 | last offset delta i32 | base timestamp i64 | max timestamp i64 | producer id i64 |
//! producer epoch i16 | base sequence i32 | record count i32 | records (perhaps compressed)
//! ```
//! The CRC covers everything behind itself. Offsets and the leader epoch are set by the broker and are outside.

mod build;
mod read;

pub use build::{BatchBuilder, BatchStamp, RecordSpec, SealedBatch};
pub use read::{BatchError, BatchHeader, RecordView, Records, RecordsBuffer, end_of_damaged, next_batch};

use crate::codec::Codec;

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the batch length starts to count.
const LENGTH_COUNTED_FROM: usize = 12;
const AT_LENGTH: usize = 8;
const AT_LEADER_EPOCH: usize = 12;
const AT_MAGIC: usize = 16;
const AT_CRC: usize = 17;
const AT_ATTRIBUTES: usize = 21;
const AT_LAST_OFFSET_DELTA: usize = 23;
const AT_BASE_TIMESTAMP: usize = 27;
const AT_MAX_TIMESTAMP: usize = 35;
const AT_PRODUCER_ID: usize = 43;
const AT_PRODUCER_EPOCH: usize = 51;
const AT_BASE_SEQUENCE: usize = 53;
const AT_COUNT: usize = 57;
const MAGIC: u8 = 2;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
const ATTRIBUTE_CONTROL: i16 = 0x20;

/// Sequence numbers live in 0..2^31 and wrap to 0 (KIP-98).
///
/// `base` must be a valid sequence number; the result is one too.
pub fn advance_sequence(base: i32, by: u32) -> i32 {
    ((i64::from(base) + i64::from(by)) % (1 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::records::{
        Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Sample {
        timestamp: i64,
        key: Option<Vec<u8>>,
        value: Vec<u8>,
        headers: Vec<(String, Vec<u8>)>,
    }

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let sample = (
            0i64..10_000_000,
            prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            prop::collection::vec(any::<u8>(), 0..300),
            prop::collection::vec(("[a-z]{0,9}", prop::collection::vec(any::<u8>(), 0..20)), 0..3),
        )
            .prop_map(|(timestamp, key, value, headers)| Sample {
                timestamp: 1_700_000_000_000 + timestamp,
                key,
                value,
                headers,
            });
        prop::collection::vec(sample, 1..40)
    }

    fn build(samples: &[Sample], codec: Codec, stamp: BatchStamp) -> SealedBatch {
        let mut builder = BatchBuilder::new(codec);
        for s in samples {
            let headers: Vec<(&str, &[u8])> =
                s.headers.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
            let spec = RecordSpec {
                timestamp_ms: s.timestamp,
                key: s.key.as_deref(),
                value_bytes: s.value.len(),
                own_header: None,
                headers: &headers,
            };
            builder.append(&spec, |value| value.copy_from_slice(&s.value));
        }
        builder.seal(stamp)
    }

    proptest! {
        #[test]
        fn the_protocol_crate_reads_what_we_build(samples in samples(), codec in 0usize..1, epoch in 0i16..9, sequence in 0i32..1_000_000) {
            let codec = Codec::ALL[codec];
            let stamp = BatchStamp { producer_id: 77, producer_epoch: epoch, base_sequence: sequence };
            let batch = build(&samples, codec, stamp);
            let decoded = RecordBatchDecoder::decode(&mut batch.bytes().clone()).unwrap();
            prop_assert_eq!(decoded.records.len(), samples.len());
            for (i, (record, sample)) in decoded.records.iter().zip(&samples).enumerate() {
                prop_assert_eq!(record.offset, i as i64);
                prop_assert_eq!(record.timestamp, sample.timestamp);
                prop_assert_eq!(record.key.as_deref(), sample.key.as_deref());
                prop_assert_eq!(record.value.as_deref(), Some(sample.value.as_slice()));
                prop_assert_eq!((record.producer_id, record.producer_epoch), (77, epoch));
                prop_assert_eq!(record.sequence, sequence + i as i32);
                prop_assert_eq!(record.headers.len(), sample.headers.iter().map(|(k, _)| k).collect::<std::collections::BTreeSet<_>>().len());
            }
        }

        #[test]
        fn we_read_what_we_build(samples in samples(), codec in 0usize..5) {
            let codec = Codec::ALL[codec];
            let stamp = BatchStamp { producer_id: 5, producer_epoch: 1, base_sequence: 9 };
            let batch = build(&samples, codec, stamp);
            check_read(batch.bytes(), &samples, codec)?;
            let restamped = batch.restamp(BatchStamp { producer_id: 6, producer_epoch: 0, base_sequence: 0 });
            let (header, _) = next_batch(restamped.bytes()).unwrap().unwrap();
            header.verify_crc(restamped.bytes()).unwrap();
            prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (6, 0, 0));
        }

        #[test]
        fn we_read_what_the_protocol_crate_builds(samples in samples()) {
            let records: Vec<Record> = samples.iter().enumerate().map(|(i, s)| Record {
                transactional: false, control: false, delete_horizon: false, partition_leader_epoch: 3,
                producer_id: 5, producer_epoch: 1, timestamp_type: TimestampType::Creation,
                offset: i as i64, sequence: 9 + i as i32, timestamp: s.timestamp,
                key: s.key.clone().map(Bytes::from), value: Some(Bytes::from(s.value.clone())),
                headers: s.headers.iter().map(|(k, v)| (k.clone().into(), Some(Bytes::from(v.clone())))).collect(),
            }).collect();
            let mut out = BytesMut::new();
            let options = RecordEncodeOptions { version: 2, compression: Compression::None };
            RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
            let mut unique = samples.clone();
            for s in &mut unique {
                // The crate keeps headers in a map: a later one of the same name replaces the first's value.
                let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
                for (k, v) in std::mem::take(&mut s.headers) {
                    match seen.iter_mut().find(|(name, _)| *name == k) {
                        Some(slot) => slot.1 = v,
                        None => seen.push((k, v)),
                    }
                }
                s.headers = seen;
            }
            check_read(&out, &unique, Codec::None)?;
        }

        #[test]
        fn a_flipped_bit_is_noticed(samples in samples(), codec in 0usize..5, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let batch = build(&samples, Codec::ALL[codec], BatchStamp::NONE);
            let mut bytes = batch.bytes().to_vec();
            let at = AT_CRC + at.index(bytes.len() - AT_CRC);
            bytes[at] ^= 1 << bit;
            let noticed = match next_batch(&bytes) {
                Err(_) | Ok(None) => true,
                Ok(Some((header, _))) => header.verify_crc(&bytes).is_err(),
            };
            prop_assert!(noticed);
        }

        #[test]
        fn garbage_is_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut buffer = RecordsBuffer::default();
            if let Ok(Some((header, _))) = next_batch(&bytes) && let Ok(mut records) = header.records(&bytes, &mut buffer) {
                while let Ok(Some(_)) = records.next_record() {}
            }
        }
    }

    fn check_read(bytes: &[u8], samples: &[Sample], codec: Codec) -> Result<(), TestCaseError> {
        let (header, length) = next_batch(bytes).unwrap().unwrap();
        prop_assert_eq!(length, bytes.len());
        header.verify_crc(bytes).unwrap();
        prop_assert_eq!(header.codec(), Some(codec));
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (5, 1, 9));
        prop_assert_eq!(header.record_count as usize, samples.len());
        prop_assert_eq!(header.max_timestamp_ms, samples.iter().map(|s| s.timestamp).max().unwrap());
        let mut buffer = RecordsBuffer::default();
        let mut records = header.records(bytes, &mut buffer).unwrap();
        for (i, sample) in samples.iter().enumerate() {
            let record = records.next_record().unwrap().unwrap();
            prop_assert_eq!(record.offset, i as i64);
            prop_assert_eq!(record.timestamp_ms, sample.timestamp);
            prop_assert_eq!(record.key, sample.key.as_deref());
            prop_assert_eq!(record.value, Some(sample.value.as_slice()));
            let headers: Vec<(String, Vec<u8>)> = record
                .headers()
                .map(|(k, v)| (String::from_utf8(k.to_vec()).unwrap(), v.unwrap().to_vec()))
                .collect();
            prop_assert_eq!(&headers, &sample.headers);
        }
        prop_assert!(records.next_record().unwrap().is_none());
        Ok(())
    }

    #[test]
    fn sequences_wrap_at_two_to_the_31() {
        assert_eq!(advance_sequence(0, 5), 5);
        assert_eq!(advance_sequence(i32::MAX, 1), 0);
        assert_eq!(advance_sequence(i32::MAX - 1, 5), 3);
    }
}
