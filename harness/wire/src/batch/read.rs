//! Reading batches out of a Fetch response, without copying what is not compressed.

use super::*;
use crate::codec::DecompressError;
use crate::varint;

/// Why a batch could not be read. `offset` is the base offset that its header claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A format older than v2 (Kafka < 0.11).
    #[error("batch at offset {offset} has magic {magic}; only format v2 is supported")]
    Magic {
        /// Base offset.
        offset: i64,
        /// The magic byte.
        magic: u8,
    },
    /// The stored CRC-32C is not that of the bytes.
    #[error("batch at offset {offset} has CRC {stored:#010x}, but its bytes have {computed:#010x}")]
    Crc {
        /// Base offset.
        offset: i64,
        /// As stored.
        stored: u32,
        /// As computed.
        computed: u32,
    },
    /// The records section did not decompress.
    #[error("batch at offset {offset}: {source}")]
    Decompress {
        /// Base offset.
        offset: i64,
        /// The cause.
        source: DecompressError,
    },
    /// Lengths inside the batch don't add up.
    #[error("batch at offset {offset} is malformed: {detail}")]
    Malformed {
        /// Base offset.
        offset: i64,
        /// What is wrong.
        detail: &'static str,
    },
}

/// The header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Leader epoch under which the batch was appended.
    pub leader_epoch: i32,
    /// Attributes: codec, timestamp type, transactional, control.
    pub attributes: i16,
    /// Offset of the last record minus that of the first. Stays when compaction removes records.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, in milliseconds since the Unix epoch.
    pub base_timestamp_ms: i64,
    /// Highest timestamp.
    pub max_timestamp_ms: i64,
    /// Producer id, or -1.
    pub producer_id: i64,
    /// Producer epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
    crc: u32,
    bytes: usize,
}

/// Splits the first batch off `data`: its header and its whole length in bytes.
///
/// `None` if `data` ends before the batch does: a broker cuts the last batch of a response at the byte limit.
pub fn next_batch(data: &[u8]) -> Result<Option<(BatchHeader, usize)>, BatchError> {
    let Some(fixed) = data.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let base_offset = be_i64(fixed, 0);
    let length = be_i32(fixed, AT_LENGTH);
    if fixed[AT_MAGIC] != MAGIC {
        return Err(BatchError::Magic { offset: base_offset, magic: fixed[AT_MAGIC] });
    }
    let bytes = usize::try_from(length).unwrap_or(0) + LENGTH_COUNTED_FROM;
    if bytes < HEADER_BYTES {
        return Err(BatchError::Malformed {
            offset: base_offset,
            detail: "its length is shorter than its header",
        });
    }
    if bytes > data.len() {
        return Ok(None);
    }
    let header = BatchHeader {
        base_offset,
        leader_epoch: be_i32(fixed, AT_LEADER_EPOCH),
        attributes: be_i16(fixed, AT_ATTRIBUTES),
        last_offset_delta: be_i32(fixed, AT_LAST_OFFSET_DELTA),
        base_timestamp_ms: be_i64(fixed, AT_BASE_TIMESTAMP),
        max_timestamp_ms: be_i64(fixed, AT_MAX_TIMESTAMP),
        producer_id: be_i64(fixed, AT_PRODUCER_ID),
        producer_epoch: be_i16(fixed, AT_PRODUCER_EPOCH),
        base_sequence: be_i32(fixed, AT_BASE_SEQUENCE),
        record_count: be_i32(fixed, AT_COUNT),
        crc: be_i32(fixed, AT_CRC) as u32,
        bytes,
    };
    Ok(Some((header, bytes)))
}

/// Where a batch ends whose checksum is wrong, and which `rest` follows. The checksum covers the number of its offsets but not the first of them, so
/// where the next batch begins is the better witness, if there is one.
pub fn end_of_damaged(header: &BatchHeader, rest: &[u8]) -> i64 {
    let claimed = header.last_offset().max(header.base_offset).saturating_add(1);
    match next_batch(rest) {
        Ok(Some((next, _))) if next.base_offset > header.base_offset => claimed.min(next.base_offset),
        _ => claimed,
    }
}

impl BatchHeader {
    /// Offset of the last record; never the highest that there is, so that another can follow. The first offset is not covered by the
    /// checksum and may be anything.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta)).min(i64::MAX - 1)
    }

    /// The codec; `None` for an id that is not one of Kafka's.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_attributes(self.attributes)
    }

    /// Whether its timestamps are the broker's: every record's is then [`BatchHeader::max_timestamp_ms`], whatever the
    /// record itself says (`message.timestamp.type`).
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Whether it holds transaction markers or other control records instead of data.
    pub fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// Compares the stored CRC with that of the bytes; `batch` begins where this header was read.
    pub fn verify_crc(&self, batch: &[u8]) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(&batch[AT_ATTRIBUTES..self.bytes]);
        if computed == self.crc {
            return Ok(());
        }
        Err(BatchError::Crc { offset: self.base_offset, stored: self.crc, computed })
    }

    /// The records of the batch; `batch` begins where this header was read, `buffer` holds them if they need
    /// decompressing.
    pub fn records<'a>(
        &self,
        batch: &'a [u8],
        buffer: &'a mut RecordsBuffer,
    ) -> Result<Records<'a>, BatchError> {
        let data = self.section(batch, buffer)?;
        self.records_in(data)
    }

    /// The records section of the batch as it was before compression, for [`BatchHeader::records_in`]; `batch` begins where
    /// this header was read, `buffer` holds it if it needs decompressing.
    pub fn section<'a>(
        &self,
        batch: &'a [u8],
        buffer: &'a mut RecordsBuffer,
    ) -> Result<&'a [u8], BatchError> {
        let section = &batch[HEADER_BYTES..self.bytes];
        let codec = self.codec().ok_or_else(|| self.malformed("its attributes name no known codec"))?;
        if codec == Codec::None {
            return Ok(section);
        }
        codec
            .decompress(section, &mut buffer.0)
            .map_err(|source| BatchError::Decompress { offset: self.base_offset, source })?;
        Ok(buffer.0.as_slice())
    }

    /// The records in a section that is not compressed any more.
    pub fn records_in<'a>(&self, section: &'a [u8]) -> Result<Records<'a>, BatchError> {
        let left =
            u32::try_from(self.record_count).map_err(|_| self.malformed("its record count is negative"))?;
        Ok(Records {
            data: section,
            at: 0,
            left,
            base_offset: self.base_offset,
            base_timestamp_ms: self.base_timestamp_ms,
        })
    }

    fn malformed(&self, detail: &'static str) -> BatchError {
        BatchError::Malformed { offset: self.base_offset, detail }
    }
}

/// Memory for decompressed records, reused from batch to batch.
#[derive(Debug, Default)]
pub struct RecordsBuffer(Vec<u8>);

/// Walks the records of one batch.
#[derive(Debug)]
pub struct Records<'a> {
    data: &'a [u8],
    at: usize,
    left: u32,
    base_offset: i64,
    base_timestamp_ms: i64,
}

/// One record, borrowed from the response or the decompression buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds since the Unix epoch (create time, unless the topic says log append time).
    pub timestamp_ms: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: i64,
}

impl<'a> Records<'a> {
    /// The next record, `None` after the last one.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<RecordView<'a>>, BatchError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match self.parse() {
            Some(record) => Ok(Some(record)),
            None => Err(BatchError::Malformed {
                offset: self.base_offset,
                detail: "a record's lengths reach beyond the batch",
            }),
        }
    }

    #[inline]
    fn parse(&mut self) -> Option<RecordView<'a>> {
        let mut at = self.at;
        let length = usize::try_from(varint::read(self.data, &mut at)?).ok()?;
        let body = self.data.get(at..at.checked_add(length)?)?;
        self.at = at + length;
        let mut at = 1; // attributes: none are defined
        let timestamp_delta = varint::read(body, &mut at)?;
        let offset_delta = varint::read(body, &mut at)?;
        let key = nullable(body, &mut at)?;
        let value = nullable(body, &mut at)?;
        let header_count = varint::read(body, &mut at)?;
        Some(RecordView {
            offset: self.base_offset.wrapping_add(offset_delta),
            timestamp_ms: self.base_timestamp_ms.wrapping_add(timestamp_delta),
            key,
            value,
            headers: body.get(at..)?,
            header_count,
        })
    }
}

impl<'a> RecordView<'a> {
    /// The record headers, in order. Ends early if they are malformed.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let (data, count) = (self.headers, self.header_count);
        let mut at = 0;
        (0..count).map_while(move |_| Some((nullable(data, &mut at)??, nullable(data, &mut at)?)))
    }
}

/// A length (-1 = null) and as many bytes. The outer `None` means malformed.
#[inline]
#[expect(clippy::option_option, reason = "null and malformed are different things")]
fn nullable<'a>(data: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = varint::read(data, at)?;
    if length < 0 {
        return Some(None);
    }
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let bytes = data.get(*at..end)?;
    *at = end;
    Some(Some(bytes))
}

fn be_i64(data: &[u8; HEADER_BYTES], at: usize) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&data[at..at + 8]);
    i64::from_be_bytes(bytes)
}

fn be_i32(data: &[u8; HEADER_BYTES], at: usize) -> i32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&data[at..at + 4]);
    i32::from_be_bytes(bytes)
}

fn be_i16(data: &[u8; HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes([data[at], data[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::super::HEADER_BYTES;
    use super::*;

    /// A header alone, with these offsets and no records.
    fn header(base_offset: i64, last_offset_delta: i32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&(HEADER_BYTES as i32 - 12).to_be_bytes());
        // Magic: format v2.
        bytes[16] = 2;
        bytes[23..27].copy_from_slice(&last_offset_delta.to_be_bytes());
        bytes
    }

    #[test]
    fn a_damaged_batch_does_not_hide_what_follows() {
        let end = |delta, rest: &[u8]| {
            let (damaged, _) = next_batch(&header(100, delta)).unwrap().unwrap();
            end_of_damaged(&damaged, rest)
        };
        let next = header(105, 3);
        assert_eq!(end(4, &next), 105);
        assert_eq!(end(1_000_000, &next), 105, "a number of offsets that was damaged itself");
        assert_eq!(end(2, &next), 103, "compacted");
        assert_eq!(end(-7, &next), 101);
        assert_eq!(end(4, &[]), 105);
        assert_eq!(end(4, &next[..20]), 105);
        let (last, _) = next_batch(&header(i64::MAX, 0)).unwrap().unwrap();
        assert_eq!(end_of_damaged(&last, &[]), i64::MAX);
    }
}
