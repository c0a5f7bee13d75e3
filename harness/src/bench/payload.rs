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

/// Makes the values of one stream as gauntlet's producers do: identity, then body.
pub struct ValueMaker {
    run: u32,
    body: BodyMaker,
    seed: CrcSeed,
}

impl ValueMaker {
    /// Of so many bytes each, which must have room for an identity; bodies by `seed`, for partition 0 of `topic`.
    #[must_use]
    pub fn new(seed: u64, run: u32, topic: &str, value_bytes: usize) -> Self {
        let body = BodyMaker::new(
            seed,
            0,
            BodyPlan::Random(RANDOM_FRACTION),
            value_bytes.saturating_sub(IDENTITY_LEN),
        );
        ValueMaker { run, body, seed: CrcSeed::new(topic, 0) }
    }

    /// Record `pseq`, into a zeroed value.
    pub fn write(&self, pseq: u64, value: &mut [u8]) {
        self.body.fill(0, pseq, 0, &mut value[IDENTITY_LEN..]);
        let identity = Identity {
            flags: 0,
            run: self.run,
            producer: 0,
            incarnation: 0,
            partition: 0,
            pseq,
            intended_ns: 1_000_000_000_000 + pseq * 1_000,
        };
        let encoded = gauntlet_verify::identity::encode(&identity, &self.seed, value);
        debug_assert!(encoded.is_ok());
    }
}

/// Makes the values of a size, and lines of them.
pub struct LineMaker {
    values: ValueMaker,
    value_bytes: usize,
}

impl LineMaker {
    /// Of records of this size.
    #[must_use]
    pub fn new(seed: u64, size: Bytes) -> Self {
        let value_bytes = (size.get() as usize).max(IDENTITY_LEN);
        LineMaker { values: ValueMaker::new(seed, seed as u32, "bench", value_bytes), value_bytes }
    }

    /// A value as gauntlet would write it as record `index`.
    #[must_use]
    pub fn value(&self, index: u64) -> Vec<u8> {
        let mut value = vec![0; self.value_bytes];
        self.values.write(index, &mut value);
        value
    }

    /// The same as a line, without its end.
    #[must_use]
    pub fn line(&self, index: u64) -> Vec<u8> {
        let printable = PRINTABLE.end() - PRINTABLE.start() + 1;
        self.value(index).into_iter().map(|byte| PRINTABLE.start() + byte % printable).collect()
    }
}

/// Writes the file for a size of records into `dir`.
///
/// # Errors
/// It can't be written.
pub fn write(dir: &Path, seed: u64, size: Bytes) -> Result<PathBuf, BenchError> {
    let path = dir.join(format!("payload-{size}.txt"));
    let written = (|| {
        let mut file = BufWriter::new(File::create(&path)?);
        let lines = LineMaker::new(seed, size);
        for index in 0..(FILE_BYTES / size.get().max(1)).max(1) {
            file.write_all(&lines.line(index))?;
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
            let maker = LineMaker::new(1, size);
            let values = stored_bytes(Codec::Lz4, |index| maker.value(index));
            let lines = stored_bytes(Codec::Lz4, |index| maker.line(index));
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
