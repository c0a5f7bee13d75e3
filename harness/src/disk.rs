//! How much disk a run needs, how much there is, and what is done when that is not enough.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gauntlet_verify::IDENTITY_LEN;
use gauntlet_wire::batch::{BatchBuilder, BatchStamp, RecordSpec};
use gauntlet_wire::codec::Codec;

use crate::load::records::IDENTITY_HEADER;
use crate::payload::{BodyMaker, BodyPlan, IdentityPlace};

const MIB: u64 = 1 << 20;
/// Up to this share of the free disk everything is kept.
const KEEP_ALL_UP_TO: f64 = 0.6;
/// Of the free disk, with retention.
const WINDOWED_BUDGET: f64 = 0.4;
/// Bytes of an identity that no codec makes smaller.
const IDENTITY_NOISE_BYTES: usize = 8;

/// What happens to segments while a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Nothing is deleted before the verdict: all evidence is kept.
    KeepAll,
    /// Old segments go: `retention.bytes` and `segment.bytes` per partition.
    Windowed {
        /// `retention.bytes`.
        retention_bytes: u64,
        /// `segment.bytes`.
        segment_bytes: u64,
    },
}

/// Decides about retention for a need of `needed_bytes` on all brokers of one disk with `free_bytes` left, for so many
/// partition replicas.
///
/// The error says how much is missing: even two of the smallest segments per replica would not fit.
pub fn decide(needed_bytes: u64, free_bytes: u64, replicas: u64) -> Result<Retention, u64> {
    if needed_bytes as f64 <= free_bytes as f64 * KEEP_ALL_UP_TO {
        return Ok(Retention::KeepAll);
    }
    let replicas = replicas.max(1);
    let budget = (free_bytes as f64 * WINDOWED_BUDGET) as u64 / replicas;
    let segment_bytes = (budget / 8).clamp(16 * MIB, 256 * MIB);
    match budget.checked_sub(2 * segment_bytes).filter(|r| *r >= segment_bytes) {
        Some(retention_bytes) => Ok(Retention::Windowed { retention_bytes, segment_bytes }),
        None => Err((3 * 16 * MIB * replicas) as f64 as u64),
    }
}

/// A batch of a run's own bodies, batched and compressed as the run will do it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleBatch {
    /// Its records.
    pub records: u64,
    /// Bytes on the wire and on disk.
    pub stored_bytes: u64,
    /// Bytes before compression.
    pub uncompressed_bytes: u64,
}

impl SampleBatch {
    /// Bytes of a stored record.
    pub fn bytes_per_record(&self) -> f64 {
        self.stored_bytes as f64 / self.records as f64
    }

    /// Compressed to uncompressed.
    pub fn ratio(&self) -> f64 {
        self.stored_bytes as f64 / self.uncompressed_bytes as f64
    }
}

/// Makes a batch of values that are all of one size, made of such bodies, with their identities there.
pub fn sample_batch(
    value_bytes: usize,
    (body, identity): (&BodyPlan, IdentityPlace),
    codec: Codec,
    batch_bytes: usize,
) -> SampleBatch {
    let identity_bytes = value_bytes.min(identity.bytes_in_value());
    let maker = BodyMaker::new(1, 0, body.clone(), value_bytes - identity_bytes);
    // An identity costs what incompressible numbers cost: checksum, low bytes of time and sequence.
    let noise = BodyMaker::new(2, 0, BodyPlan::Random(1.0), IDENTITY_NOISE_BYTES);
    let mut builder = BatchBuilder::new(codec);
    let mut k = 0u64;
    while k == 0 || builder.bytes() + value_bytes + 16 <= batch_bytes.min(1 << 20) {
        let mut own = [0; IDENTITY_LEN];
        noise.fill(0, k, 0, &mut own[IDENTITY_LEN - IDENTITY_NOISE_BYTES..]);
        let timestamp_ms = k as i64 / 100;
        let spec = RecordSpec {
            timestamp_ms,
            key: (identity == IdentityPlace::Key).then_some(&own[..]),
            value_bytes,
            own_header: (identity == IdentityPlace::Header).then_some((IDENTITY_HEADER, &own[..])),
            headers: &[],
        };
        builder.append(&spec, |value| {
            maker.fill(1, k, timestamp_ms, &mut value[identity_bytes..]);
            value[..identity_bytes].copy_from_slice(&own[IDENTITY_LEN - identity_bytes..]);
        });
        k += 1;
    }
    let sealed = builder.seal(BatchStamp::NONE);
    SampleBatch {
        records: k,
        stored_bytes: sealed.bytes().len() as u64,
        uncompressed_bytes: u64::from(sealed.uncompressed_bytes()),
    }
}

fn statvfs(path: &Path) -> Option<libc::statvfs> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` is a valid C string, and the kernel fills `stat` whenever it returns 0.
    unsafe { (libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) == 0).then(|| stat.assume_init()) }
}

/// Bytes that we may still write to the file system of `path`.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = statvfs(path)?;
    Some(stat.f_bavail * stat.f_frsize)
}

/// How full the file system of `path` is for us, 0 to 1.
pub fn used_fraction(path: &Path) -> Option<f64> {
    let stat = statvfs(path)?;
    let usable = stat.f_blocks - stat.f_bfree + stat.f_bavail;
    (usable > 0).then(|| 1.0 - stat.f_bavail as f64 / usable as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_fits_is_kept() {
        assert_eq!(decide(50 * GIB, 100 * GIB, 36), Ok(Retention::KeepAll));
        let Ok(Retention::Windowed { retention_bytes, segment_bytes }) = decide(70 * GIB, 100 * GIB, 36)
        else {
            panic!("more than 60 % of the disk needs retention")
        };
        assert!((retention_bytes + 2 * segment_bytes) * 36 <= 40 * GIB);
        assert!((16 * MIB..=256 * MIB).contains(&segment_bytes));
        assert!(decide(70 * GIB, GIB, 1_000).is_err(), "three segments per replica do not fit");
    }

    #[test]
    fn stored_size_follows_compressibility() {
        let stored = |fraction: f64, codec: Codec| {
            sample_batch(100, (&BodyPlan::Random(fraction), IdentityPlace::Value), codec, 131_072)
                .bytes_per_record()
        };
        let none = stored(0.2, Codec::None);
        assert!((105.0..115.0).contains(&none), "{none}");
        let lz4 = stored(0.2, Codec::Lz4);
        assert!((25.0..50.0).contains(&lz4), "{lz4}");
        assert!(stored(1.0, Codec::Lz4) > 75.0);
    }

    #[test]
    fn this_disk_exists() {
        assert!(free_bytes(Path::new("/")).is_some());
        assert!((0.0..=1.0).contains(&used_fraction(Path::new("/")).unwrap()));
        assert_eq!(free_bytes(Path::new("/does/not/exist")), None);
    }
}
