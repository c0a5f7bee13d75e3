//! The identity that every record carries, and the checksum that binds it to its place.
//!
//! Layout of the 34 bytes in front of the body, big-endian like everything Kafka writes, so that a hex
//! dump of a segment reads field by field:
//!
//! | bytes  | field                                                                     |
//! |--------|---------------------------------------------------------------------------|
//! | 0      | magic and version, [`MAGIC_V1`]                                           |
//! | 1      | flags; none is assigned in version 1                                      |
//! | 2..6   | run                                                                       |
//! | 6..8   | producer                                                                  |
//! | 8..10  | incarnation                                                               |
//! | 10..14 | partition the record was sent to                                          |
//! | 14..22 | pseq, dense per producer, incarnation and partition                       |
//! | 22..30 | intended send time, nanoseconds of the load host's monotonic clock        |
//! | 30..34 | CRC-32C over topic name, partition, bytes 0..30 and the body              |
//!
//! Topic and partition are inside the checksum because Kafka's own batch checksum covers neither: a batch
//! that lands in the wrong log passes the broker's check (KAFKA-19012) and fails this one.

use thiserror::Error;

use crate::outcome::StreamKey;

/// Bytes that the identity takes in front of the body.
pub const IDENTITY_LEN: usize = 34;

/// First byte of every identity of this layout. A changed layout gets another value.
pub const MAGIC_V1: u8 = 0xD1;

const CRC_AT: usize = 30;

/// Who sent a record, as which one, and when it was meant to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Flag bits, carried as they are. Version 1 assigns none; writers set 0.
    pub flags: u8,
    /// The run that sent the record.
    pub run: u32,
    /// Index of the producer in the plan.
    pub producer: u16,
    /// Which life of that producer.
    pub incarnation: u16,
    /// The partition that the record was sent to.
    pub partition: u32,
    /// Dense sequence number within (producer, incarnation, partition), from 0.
    pub pseq: u64,
    /// When the schedule wanted the record sent, in nanoseconds of the load host's monotonic clock.
    pub intended_ns: u64,
}

impl Identity {
    /// The stream that the record belongs to.
    pub fn stream(&self) -> StreamKey {
        StreamKey { producer: self.producer, incarnation: self.incarnation }
    }
}

/// Checksum state after topic and partition: computed once per partition, so that a record costs only
/// its own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrcSeed {
    state: u32,
    partition: u32,
}

impl CrcSeed {
    /// Binds checksums to partition `partition` of `topic`.
    pub fn new(topic: &str, partition: u32) -> Self {
        let topic_crc = crc32c::crc32c(topic.as_bytes());
        Self { state: crc32c::crc32c_append(topic_crc, &partition.to_be_bytes()), partition }
    }

    /// The partition that this seed stands for.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Checksum of a value that is at least [`IDENTITY_LEN`] long.
    fn checksum(&self, value: &[u8]) -> u32 {
        crate::crc::append_both(self.state, &value[..CRC_AT], &value[IDENTITY_LEN..])
    }
}

/// Why a value is not an intact record of this run in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Nothing that this run wrote: too short, no magic, or the intact or broken work of another run.
    #[error("not a record of this run")]
    Foreign,
    /// Written by this run, and then changed, or sent to another place; the checksum does not hold here.
    #[error("checksum {stored:#010x} does not match the bytes, which give {computed:#010x}")]
    Checksum {
        /// The checksum in the record.
        stored: u32,
        /// The checksum of what was read.
        computed: u32,
    },
}

/// A buffer that can't hold an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a value of {len} bytes is too short for the {IDENTITY_LEN} bytes of its identity")]
pub struct TooShort {
    /// Length of the buffer.
    pub len: usize,
}

/// Writes the identity and its checksum in front of the body, which must already be in place from byte
/// [`IDENTITY_LEN`] on.
///
/// # Errors
/// [`TooShort`] if `value` can't hold the identity.
pub fn encode(identity: &Identity, seed: &CrcSeed, value: &mut [u8]) -> Result<(), TooShort> {
    debug_assert_eq!(identity.partition, seed.partition, "the seed belongs to another partition");
    let len = value.len();
    let Some(core) = value.first_chunk_mut::<IDENTITY_LEN>() else { return Err(TooShort { len }) };
    core[0] = MAGIC_V1;
    core[1] = identity.flags;
    core[2..6].copy_from_slice(&identity.run.to_be_bytes());
    core[6..8].copy_from_slice(&identity.producer.to_be_bytes());
    core[8..10].copy_from_slice(&identity.incarnation.to_be_bytes());
    core[10..14].copy_from_slice(&identity.partition.to_be_bytes());
    core[14..22].copy_from_slice(&identity.pseq.to_be_bytes());
    core[22..30].copy_from_slice(&identity.intended_ns.to_be_bytes());
    let crc = seed.checksum(value);
    value[CRC_AT..IDENTITY_LEN].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// Reads the identity of a record of run `run`, found in the partition that `seed` stands for.
///
/// One byte of magic is too little to tell a damaged record of ours from somebody else's data, so a value
/// whose magic or run differs is checked a second time as if both were right: if the checksum then holds,
/// the record is ours and was damaged just there; if not, it is foreign.
///
/// # Errors
/// [`DecodeError::Foreign`] or [`DecodeError::Checksum`]; the latter may be a misrouted record, see
/// [`verifies_in`].
#[inline]
pub fn decode(value: &[u8], run: u32, seed: &CrcSeed) -> Result<Identity, DecodeError> {
    let Some(core) = value.first_chunk::<IDENTITY_LEN>() else { return Err(DecodeError::Foreign) };
    let identity = read_fields(core);
    let stored = stored_crc(core);
    let ours = core[0] == MAGIC_V1 && identity.run == run;
    let computed = seed.checksum(value);
    if ours && stored == computed && identity.partition == seed.partition {
        return Ok(identity);
    }
    if ours || is_damaged_header(value, run, seed) {
        return Err(DecodeError::Checksum { stored, computed });
    }
    Err(DecodeError::Foreign)
}

/// When the schedule wanted a record of run `run` sent, without a look at its checksum: for readers that check nothing.
#[inline]
pub fn intended_ns_unchecked(value: &[u8], run: u32) -> Option<u64> {
    let identity = value.first_chunk::<IDENTITY_LEN>().filter(|core| core[0] == MAGIC_V1).map(read_fields)?;
    (identity.run == run).then_some(identity.intended_ns)
}

/// True if `value` is an intact record of run `run` that was meant for the partition of `seed`.
///
/// For the diagnosis of a record whose checksum fails where it was found.
pub fn verifies_in(value: &[u8], run: u32, seed: &CrcSeed) -> bool {
    decode(value, run, seed).is_ok()
}

/// The partition that a value claims to be meant for, whether or not its checksum holds.
pub fn claimed_partition(value: &[u8]) -> Option<u32> {
    value.first_chunk::<IDENTITY_LEN>().map(|core| read_fields(core).partition)
}

#[inline]
fn read_fields(core: &[u8; IDENTITY_LEN]) -> Identity {
    let [_magic, flags, r0, r1, r2, r3, p0, p1, i0, i1, n0, n1, n2, n3, rest @ ..] = core;
    let [s0, s1, s2, s3, s4, s5, s6, s7, t0, t1, t2, t3, t4, t5, t6, t7, _crc @ ..] = rest;
    Identity {
        flags: *flags,
        run: u32::from_be_bytes([*r0, *r1, *r2, *r3]),
        producer: u16::from_be_bytes([*p0, *p1]),
        incarnation: u16::from_be_bytes([*i0, *i1]),
        partition: u32::from_be_bytes([*n0, *n1, *n2, *n3]),
        pseq: u64::from_be_bytes([*s0, *s1, *s2, *s3, *s4, *s5, *s6, *s7]),
        intended_ns: u64::from_be_bytes([*t0, *t1, *t2, *t3, *t4, *t5, *t6, *t7]),
    }
}

#[inline]
fn stored_crc(core: &[u8; IDENTITY_LEN]) -> u32 {
    u32::from_be_bytes([core[30], core[31], core[32], core[33]])
}

/// True if the checksum holds once magic and run are put right.
#[cold]
fn is_damaged_header(value: &[u8], run: u32, seed: &CrcSeed) -> bool {
    let Some((core, body)) = value.split_first_chunk::<IDENTITY_LEN>() else { return false };
    let mut repaired = *core;
    repaired[0] = MAGIC_V1;
    repaired[2..6].copy_from_slice(&run.to_be_bytes());
    let crc = crc32c::crc32c_append(seed.state, &repaired[..CRC_AT]);
    crc32c::crc32c_append(crc, body) == stored_crc(core)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u32 = 0xA1B2_C3D4;

    fn sample() -> Identity {
        Identity {
            flags: 0,
            run: RUN,
            producer: 0x0102,
            incarnation: 0x0304,
            partition: 7,
            pseq: 0x1122_3344_5566_7788,
            intended_ns: 0x99AA_BBCC_DDEE_FF00,
        }
    }

    fn encoded(body: &[u8]) -> Vec<u8> {
        let mut value = vec![0; IDENTITY_LEN];
        value.extend_from_slice(body);
        encode(&sample(), &CrcSeed::new("orders", 7), &mut value).unwrap();
        value
    }

    /// The layout is a contract with stored evidence: `recheck` reads logs of older builds. A change
    /// here needs a new magic.
    #[test]
    fn layout_fingerprint() {
        let hex: String = encoded(b"body").iter().map(|b| format!("{b:02x}")).collect();
        let expected = concat!(
            "d1",
            "00",
            "a1b2c3d4",
            "0102",
            "0304",
            "00000007",
            "1122334455667788",
            "99aabbccddeeff00",
            // CRC-32C of "orders", 00000007, the bytes above and "body"; computed by another program.
            "e1dd4693",
            "626f6479"
        );
        assert_eq!(hex, expected);
    }

    #[test]
    fn round_trip() {
        for len in [0, 1, 66, 4096] {
            let value = encoded(&vec![0x5A; len]);
            assert_eq!(decode(&value, RUN, &CrcSeed::new("orders", 7)), Ok(sample()));
        }
    }

    #[test]
    fn every_flipped_bit_is_a_checksum_error() {
        let value = encoded(b"some body");
        let seed = CrcSeed::new("orders", 7);
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = decode(&damaged, RUN, &seed).unwrap_err();
            assert!(matches!(error, DecodeError::Checksum { .. }), "bit {bit}: {error}");
        }
    }

    #[test]
    fn the_same_bytes_do_not_verify_elsewhere() {
        let value = encoded(b"some body");
        assert!(verifies_in(&value, RUN, &CrcSeed::new("orders", 7)));
        assert!(!verifies_in(&value, RUN, &CrcSeed::new("orders", 8)));
        assert!(!verifies_in(&value, RUN, &CrcSeed::new("order", 7)));
        assert_eq!(claimed_partition(&value), Some(7));
    }

    #[test]
    fn the_intended_time_is_read_without_the_checksum() {
        let mut value = encoded(b"some body");
        assert_eq!(intended_ns_unchecked(&value, RUN), Some(sample().intended_ns));
        value[40] ^= 1;
        assert_eq!(intended_ns_unchecked(&value, RUN), Some(sample().intended_ns));
        assert_eq!(intended_ns_unchecked(&value, RUN + 1), None);
        assert_eq!(intended_ns_unchecked(b"short", RUN), None);
    }

    #[test]
    fn other_peoples_data_is_foreign() {
        let seed = CrcSeed::new("orders", 7);
        assert_eq!(decode(b"", RUN, &seed), Err(DecodeError::Foreign));
        assert_eq!(decode(&[MAGIC_V1; 33], RUN, &seed), Err(DecodeError::Foreign));
        // The magic alone proves nothing.
        assert_eq!(decode(&[MAGIC_V1; 100], RUN, &seed), Err(DecodeError::Foreign));
        // An intact record of another run.
        assert_eq!(decode(&encoded(b"x"), RUN + 1, &seed), Err(DecodeError::Foreign));
    }

    #[test]
    fn a_value_below_the_identity_is_refused() {
        let error = encode(&sample(), &CrcSeed::new("orders", 7), &mut [0; 33]).unwrap_err();
        assert_eq!(error, TooShort { len: 33 });
    }
}
