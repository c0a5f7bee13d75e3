//! Compression of the records section of a batch, as Kafka's own clients and brokers expect it.

pub(crate) mod lz4;
mod snappy;
mod zstandard;

use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

/// `compression.type`, with the ids of the batch attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Codec {
    /// No compression.
    #[default]
    None = 0,
    /// RFC 1952, level 6 (`compression.gzip.level` default -1).
    Gzip = 1,
    /// Snappy in xerial framing, as the Java client writes it.
    Snappy = 2,
    /// LZ4 frames of independent 64 KiB blocks; a broker refuses linked ones.
    Lz4 = 3,
    /// Zstandard, level 3 (`compression.zstd.level` default).
    Zstd = 4,
}

/// A `compression.type` that is not one of Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown codec `{0}`: use none, gzip, snappy, lz4, or zstd")]
pub struct UnknownCodec(pub String);

/// The records section of a batch did not decompress.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{codec} data that cannot be decompressed: {detail}")]
pub struct DecompressError {
    /// The codec named by the batch.
    pub codec: Codec,
    /// What the decoder said.
    pub detail: String,
}

/// Largest records section after decompression, in bytes. A batch is at most a few MiB; a length beyond this is
/// corruption or an attack, not data.
const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;

impl Codec {
    /// All codecs, in the order of their ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// From the three low bits of the batch attributes.
    pub fn from_attributes(attributes: i16) -> Option<Codec> {
        Codec::ALL.get((attributes & 0b111) as usize).copied()
    }

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Appends the compressed form of `records` to `out`.
    pub fn compress(self, records: &[u8], out: &mut Vec<u8>) {
        match self {
            Codec::None => out.extend_from_slice(records),
            Codec::Gzip => {
                const INFALLIBLE: &str = "compressing into memory does not fail";
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder.write_all(records).expect(INFALLIBLE);
                encoder.finish().expect(INFALLIBLE);
            }
            Codec::Snappy => snappy::compress(records, out),
            Codec::Lz4 => lz4::compress(records, out),
            Codec::Zstd => zstandard::compress(records, out),
        }
    }

    /// Replaces the content of `out` by the decompressed form of `data`.
    ///
    /// `Codec::None` copies; callers on the hot path use the slice itself instead.
    pub fn decompress(self, data: &[u8], out: &mut Vec<u8>) -> Result<(), DecompressError> {
        out.clear();
        let failed = |detail: String| DecompressError { codec: self, detail };
        match self {
            Codec::None => out.extend_from_slice(data),
            Codec::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(data), out).map_err(failed)?,
            Codec::Snappy => snappy::decompress(data, out).map_err(failed)?,
            Codec::Lz4 => lz4::decompress(data, out).map_err(failed)?,
            Codec::Zstd => zstandard::decompress(data, out).map_err(failed)?,
        }
        Ok(())
    }
}

/// Reads to the end, refusing more than [`MAX_DECOMPRESSED_BYTES`].
fn read_bounded(reader: impl Read, out: &mut Vec<u8>) -> Result<(), String> {
    let read = reader.take(MAX_DECOMPRESSED_BYTES as u64 + 1).read_to_end(out).map_err(|e| e.to_string())?;
    if read > MAX_DECOMPRESSED_BYTES {
        return Err(format!("more than {MAX_DECOMPRESSED_BYTES} bytes after decompression"));
    }
    Ok(())
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        Codec::ALL.into_iter().find(|c| c.name() == name).ok_or_else(|| UnknownCodec(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(runs in prop::collection::vec((any::<u8>(), 1usize..3000), 0..60)) {
            let data: Vec<u8> = runs.iter().flat_map(|(byte, n)| std::iter::repeat_n(*byte, *n)).collect();
            for codec in Codec::ALL {
                let (mut packed, mut back) = (Vec::new(), vec![1, 2, 3]);
                codec.compress(&data, &mut packed);
                codec.decompress(&packed, &mut back).unwrap();
                prop_assert!(back == data, "{codec}");
            }
        }

        #[test]
        fn incompressible_data_survives(data in prop::collection::vec(any::<u8>(), 0..200_000)) {
            for codec in [Codec::Snappy, Codec::Lz4] {
                let (mut packed, mut back) = (Vec::new(), Vec::new());
                codec.compress(&data, &mut packed);
                codec.decompress(&packed, &mut back).unwrap();
                prop_assert!(back == data, "{codec}");
            }
        }

        #[test]
        fn garbage_is_an_error_or_data_but_never_a_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            for codec in Codec::ALL {
                let _ = codec.decompress(&data, &mut out);
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for codec in Codec::ALL {
            assert_eq!(codec.name().parse(), Ok(codec));
            assert_eq!(Codec::from_attributes(codec as i16), Some(codec));
        }
        assert_eq!("lz5".parse::<Codec>(), Err(UnknownCodec("lz5".to_owned())));
        assert_eq!(Codec::from_attributes(7), None);
    }
}
