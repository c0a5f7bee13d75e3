//! Payloads for contenders that take theirs from a file: one per line.
//!
//! Lines are values as gauntlet would write them (identity, then a body of the same compressibility), each byte mapped to a
//! printable one, because Kafka's tool reads its file as text. LZ4 has no entropy coding: what repeats in a value repeats in its
//! line, and what does not costs a byte in both. So batches of both compress alike, which a test holds.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use gauntlet_verify::{CrcSeed, IDENTITY_LEN, Identity};

use super::{BenchError, on_file};
use crate::payload::{BodyMaker, BodyPlan};
use crate::units::Bytes;

/// `payload.random_fraction` of a bench; the default of scenarios.
pub const RANDOM_FRACTION: f64 = 0.2;
/// Bytes of a file, about. Lines are drawn from it: so many that none comes twice within what a codec remembers.
const FILE_BYTES: u64 = 16 << 20;
/// Printable characters that are no blanks.
const PRINTABLE: std::ops::RangeInclusive<u8> = b'!'..=b'~';

/// A value as gauntlet would write it as record `index`.
#[must_use]
pub fn value(seed: u64, size: Bytes, index: u64) -> Vec<u8> {
    let mut value = vec![0; (size.get() as usize).max(IDENTITY_LEN)];
    let body_bytes = value.len() - IDENTITY_LEN;
    BodyMaker::new(seed, 0, BodyPlan::Random(RANDOM_FRACTION), body_bytes).fill(
        0,
        index,
        0,
        &mut value[IDENTITY_LEN..],
    );
    let identity = Identity {
        flags: 0,
        run: seed as u32,
        producer: 0,
        incarnation: 0,
        partition: 0,
        pseq: index,
        intended_ns: 1_000_000_000_000 + index * 1_000,
    };
    let encoded = gauntlet_verify::identity::encode(&identity, &CrcSeed::new("bench", 0), &mut value);
    debug_assert!(encoded.is_ok());
    value
}

/// The same as a line, without its end.
#[must_use]
pub fn line(seed: u64, size: Bytes, index: u64) -> Vec<u8> {
    let printable = PRINTABLE.end() - PRINTABLE.start() + 1;
    value(seed, size, index).into_iter().map(|byte| PRINTABLE.start() + byte % printable).collect()
}

/// Writes the file for a size of records into `dir`.
///
/// # Errors
/// It can't be written.
pub fn write(dir: &Path, seed: u64, size: Bytes) -> Result<PathBuf, BenchError> {
    let path = dir.join(format!("payload-{size}.txt"));
    let written = (|| {
        let mut file = BufWriter::new(File::create(&path)?);
        for index in 0..(FILE_BYTES / size.get().max(1)).max(1) {
            file.write_all(&line(seed, size, index))?;
            file.write_all(b"\n")?;
        }
        file.flush()
    })();
    written.map_err(on_file("write", &path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use gauntlet_wire::batch::{BatchBuilder, BatchStamp, RecordSpec};
    use gauntlet_wire::codec::Codec;

    use super::*;

    fn stored_bytes(codec: Codec, make: impl Fn(u64) -> Vec<u8>) -> f64 {
        let mut builder = BatchBuilder::new(codec);
        for index in 0..2_000 {
            let made = make(index);
            let spec = RecordSpec {
                timestamp_ms: 0,
                key: None,
                value_bytes: made.len(),
                headers: &[],
                own_header: None,
            };
            builder.append(&spec, |value| value.copy_from_slice(&made));
        }
        builder.seal(BatchStamp::NONE).bytes().len() as f64
    }

    #[test]
    fn lines_compress_as_values_do() {
        for bytes in [100, 1024] {
            let size = Bytes::new(bytes);
            let values = stored_bytes(Codec::Lz4, |index| value(1, size, index));
            let lines = stored_bytes(Codec::Lz4, |index| line(1, size, index));
            assert!((lines / values - 1.0).abs() < 0.05, "{size}: {lines} and {values} bytes");
        }
    }

    #[test]
    fn a_file_has_a_line_per_record() {
        let dir = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(write(dir.path(), 1, Bytes::new(1024)).unwrap()).unwrap();
        assert!(text.lines().count() > 10_000);
        assert!(text.lines().all(|line| line.len() == 1024 && line.is_ascii() && !line.contains(' ')));
    }
}
