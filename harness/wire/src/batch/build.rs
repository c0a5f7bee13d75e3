//! Building a batch: records are written straight into one reused buffer, then compressed and sealed.

use bytes::{BufMut, Bytes};

use super::*;
use crate::codec::lz4::{self, Alike};
use crate::varint;

/// What identifies a batch to the broker's duplicate detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchStamp {
    /// Producer id, -1 without idempotence.
    pub producer_id: i64,
    /// Producer epoch, -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 without idempotence.
    pub base_sequence: i32,
}

impl BatchStamp {
    /// The stamp of a producer without idempotence.
    pub const NONE: BatchStamp = BatchStamp { producer_id: -1, producer_epoch: -1, base_sequence: -1 };
}

/// One record to append; its value is written in place by the caller.
#[derive(Debug, Clone, Copy)]
pub struct RecordSpec<'a> {
    /// Create time, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// Length of the value.
    pub value_bytes: usize,
    /// A record header in front of the others: one that changes from record to record, while those can stay.
    pub own_header: Option<(&'a str, &'a [u8])>,
    /// Record headers, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl RecordSpec<'_> {
    fn all_headers(&self) -> impl Iterator<Item = &(&str, &[u8])> {
        self.own_header.iter().chain(self.headers)
    }

    fn header_count(&self) -> i64 {
        (self.headers.len() + usize::from(self.own_header.is_some())) as i64
    }
}

/// Collects the records of one batch. Reused from batch to batch; appending does not allocate once it is warm.
#[derive(Debug)]
pub struct BatchBuilder {
    codec: Codec,
    lz4: lz4::Encoder,
    records: Vec<u8>,
    /// Which of them are as long as the one before.
    alike: Vec<Alike>,
    count: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new(codec: Codec) -> Self {
        BatchBuilder {
            codec,
            lz4: lz4::Encoder::default(),
            records: Vec::new(),
            alike: Vec::new(),
            count: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
        }
    }

    /// Number of records so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Size of the batch so far before compression, header included: what `batch.size` limits.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Appends a record; `write_value` gets the zeroed slice that its value is to be written into.
    #[inline]
    pub fn append(&mut self, spec: &RecordSpec<'_>, write_value: impl FnOnce(&mut [u8])) {
        if self.count == 0 {
            self.base_timestamp_ms = spec.timestamp_ms;
            self.max_timestamp_ms = spec.timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(spec.timestamp_ms);
        let timestamp_delta = spec.timestamp_ms - self.base_timestamp_ms;
        let offset_delta = i64::from(self.count);
        let body = record_bytes(spec, timestamp_delta, offset_delta);
        let begin = self.records.len();
        self.records.resize(begin + varint::encoded_len(body as i64) + body, 0);
        let out = &mut self.records[begin..];
        let mut at = varint::write(out, body as i64);
        at += 1; // attributes: none are defined for records
        at += varint::write(&mut out[at..], timestamp_delta);
        at += varint::write(&mut out[at..], offset_delta);
        at += write_nullable(&mut out[at..], spec.key);
        at += varint::write(&mut out[at..], spec.value_bytes as i64);
        write_value(&mut out[at..at + spec.value_bytes]);
        at += spec.value_bytes;
        let header_count = spec.header_count();
        at += varint::write(&mut out[at..], header_count);
        if header_count > 0 {
            for (key, value) in spec.all_headers() {
                at += write_nullable(&mut out[at..], Some(key.as_bytes()));
                at += write_nullable(&mut out[at..], Some(value));
            }
        }
        debug_assert_eq!(at, out.len());
        let stride = out.len();
        self.count += 1;
        let end = self.records.len();
        match self.alike.last_mut() {
            Some(last) if last.stride == stride => last.end = end,
            _ => self.alike.push(Alike { end, stride }),
        }
    }

    /// Compresses and seals what was appended, and empties the builder.
    ///
    /// # Panics
    /// If nothing was appended: brokers refuse empty batches from producers.
    pub fn seal(&mut self, stamp: BatchStamp) -> SealedBatch {
        assert!(self.count > 0, "a batch needs at least one record");
        let mut out = Vec::with_capacity(HEADER_BYTES + self.records.len() / 2 + 64);
        out.put_i64(0);
        out.put_i32(0);
        out.put_i32(-1);
        out.put_u8(MAGIC);
        out.put_u32(0);
        out.put_i16(self.codec as i16);
        out.put_i32(self.count as i32 - 1);
        out.put_i64(self.base_timestamp_ms);
        out.put_i64(self.max_timestamp_ms);
        out.put_i64(stamp.producer_id);
        out.put_i16(stamp.producer_epoch);
        out.put_i32(stamp.base_sequence);
        out.put_i32(self.count as i32);
        debug_assert_eq!(out.len(), HEADER_BYTES);
        let uncompressed_bytes = self.bytes() as u32;
        if self.codec == Codec::Lz4 {
            self.records.resize(self.records.len() + lz4::PADDING, 0);
            self.lz4.compress(&self.records, &self.alike, &mut out);
        } else {
            self.codec.compress(&self.records, &mut out);
        }
        let length = (out.len() - LENGTH_COUNTED_FROM) as i32;
        out[AT_LENGTH..AT_LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        write_crc(&mut out);
        let sealed = SealedBatch { bytes: out.into(), count: self.count, uncompressed_bytes, stamp };
        self.records.clear();
        self.alike.clear();
        self.count = 0;
        sealed
    }
}

/// A finished batch, ready to be put into a Produce request as often as it takes.
#[derive(Debug, Clone)]
pub struct SealedBatch {
    bytes: Bytes,
    count: u32,
    uncompressed_bytes: u32,
    stamp: BatchStamp,
}

impl SealedBatch {
    /// The bytes as they go on the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Size before compression, header included.
    pub fn uncompressed_bytes(&self) -> u32 {
        self.uncompressed_bytes
    }

    /// Its producer id, epoch and base sequence.
    pub fn stamp(&self) -> BatchStamp {
        self.stamp
    }

    /// The same records under another stamp. Only for a batch that is proven not to be in any log.
    pub fn restamp(&self, stamp: BatchStamp) -> SealedBatch {
        let mut bytes = self.bytes.to_vec();
        bytes[AT_PRODUCER_ID..AT_PRODUCER_ID + 8].copy_from_slice(&stamp.producer_id.to_be_bytes());
        bytes[AT_PRODUCER_EPOCH..AT_PRODUCER_EPOCH + 2].copy_from_slice(&stamp.producer_epoch.to_be_bytes());
        bytes[AT_BASE_SEQUENCE..AT_BASE_SEQUENCE + 4].copy_from_slice(&stamp.base_sequence.to_be_bytes());
        write_crc(&mut bytes);
        SealedBatch { bytes: bytes.into(), stamp, ..*self }
    }
}

fn write_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[AT_ATTRIBUTES..]);
    batch[AT_CRC..AT_CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

/// Bytes of a record behind its length.
#[inline]
fn record_bytes(spec: &RecordSpec<'_>, timestamp_delta: i64, offset_delta: i64) -> usize {
    let nullable = |bytes: Option<usize>| match bytes {
        Some(n) => varint::encoded_len(n as i64) + n,
        None => varint::encoded_len(-1),
    };
    let header = |(k, v): &(&str, &[u8])| nullable(Some(k.len())) + nullable(Some(v.len()));
    let header_count = spec.header_count();
    // Most records have none, and walking through nothing costs as much as the rest.
    let headers: usize = if header_count == 0 { 0 } else { spec.all_headers().map(header).sum() };
    1 + varint::encoded_len(timestamp_delta)
        + varint::encoded_len(offset_delta)
        + nullable(spec.key.map(<[u8]>::len))
        + nullable(Some(spec.value_bytes))
        + varint::encoded_len(header_count)
        + headers
}

#[inline]
fn write_nullable(out: &mut [u8], bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => varint::write(out, -1),
        Some(bytes) => {
            let at = varint::write(out, bytes.len() as i64);
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at + bytes.len()
        }
    }
}
