//! LZ4 frames (lz4_Frame_format.md 1.6.4) around the block functions of the reference library.
//!
//! A frame encoder takes twice as long per batch as the block function; the frame that Kafka needs is seven fixed
//! bytes and a length per block. Reading takes the same short cut for frames of that kind and leaves every other one
//! (linked blocks, checksums) to `lz4_flex`.

mod strided;

use std::io::Read;

use super::MAX_DECOMPRESSED_BYTES;
pub(crate) use strided::{Alike, PADDING};

/// Magic, FLG (version 1, independent blocks, nothing else), BD (blocks of up to 64 KiB), and the checksum of FLG and
/// BD (second byte of their xxHash-32).
const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const BLOCK_BYTES: usize = 64 << 10;
/// Set in a block's length when its bytes are stored as they are.
const STORED: u32 = 1 << 31;
/// Every so many blocks both ways of compressing are tried.
const TRY_EVERY: u64 = 64;

pub(super) fn compress(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&FRAME_HEADER);
    for block in data.chunks(BLOCK_BYTES) {
        append_block(block, out);
    }
    out.extend_from_slice(&0u32.to_le_bytes());
}

/// Makes frames of one batch after the other, and remembers what its records are like.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    blocks: u64,
    /// Records are best compared with the one before; see [`strided`].
    is_strided: bool,
    scratch: Vec<u8>,
}

impl Encoder {
    /// Appends the frame of `padded`, but for its last [`PADDING`] bytes, which are only there to be read. `alike` says how
    /// long records are.
    ///
    /// The reference library and [`strided`] both try some blocks, and until the next of those the latter does the work if
    /// it came within 5 % of what the library made: what goes on the wire is no larger than another client's.
    pub(crate) fn compress(&mut self, padded: &[u8], alike: &[Alike], out: &mut Vec<u8>) {
        let end = padded.len() - PADDING;
        out.extend_from_slice(&FRAME_HEADER);
        for begin in (0..end).step_by(BLOCK_BYTES) {
            let block_end = end.min(begin + BLOCK_BYTES);
            let block = &padded[begin..block_end];
            let is_trial = self.blocks.is_multiple_of(TRY_EVERY);
            self.blocks += 1;
            if !is_trial && !self.is_strided {
                append_block(block, out);
                continue;
            }
            // Grown to the largest block so far: a fleet of producers with small batches has many of these.
            self.scratch.resize(self.scratch.len().max(strided::room(block.len())), 0);
            let packed = strided::compress(padded, begin, block_end, alike, &mut self.scratch);
            if is_trial {
                let length_at = out.len();
                append_block(block, out);
                let library = out.len() - length_at - 4;
                self.is_strided = packed * 20 <= library * 21;
                if !self.is_strided {
                    continue;
                }
                out.truncate(length_at);
            }
            if packed < block.len() {
                out.extend_from_slice(&(packed as u32).to_le_bytes());
                out.extend_from_slice(&self.scratch[..packed]);
            } else {
                append_stored(block, out);
            }
        }
        out.extend_from_slice(&0u32.to_le_bytes());
    }
}

/// Appends a block, with its length in front, as the reference library compresses it.
fn append_block(block: &[u8], out: &mut Vec<u8>) {
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    match append_compressed(block, out) {
        Some(packed) => out[length_at..length_at + 4].copy_from_slice(&(packed as u32).to_le_bytes()),
        None => {
            out.truncate(length_at);
            append_stored(block, out);
        }
    }
}

/// Appends a block as it is, with its length in front.
fn append_stored(block: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(block.len() as u32 | STORED).to_le_bytes());
    out.extend_from_slice(block);
}

/// Appends the compressed form of `block` and returns its length; `None`, with nothing appended, if it is not shorter.
fn append_compressed(block: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let begin = out.len();
    // With no more room than this, the library gives up on what does not shrink.
    let room = block.len().checked_sub(1)?;
    out.reserve(room);
    let spare = out.spare_capacity_mut();
    // SAFETY: the library reads `block.len()` bytes of `block` and writes at most `room` bytes, which were reserved.
    // Both lengths are at most a block's, so they fit into a C int.
    let packed = unsafe {
        lz4_sys::LZ4_compress_default(
            block.as_ptr().cast(),
            spare.as_mut_ptr().cast(),
            block.len() as i32,
            room as i32,
        )
    };
    let packed = usize::try_from(packed).ok().filter(|n| (1..=room).contains(n))?;
    // SAFETY: the library has written so many bytes behind the old end, inside what was reserved.
    unsafe { out.set_len(begin + packed) };
    Some(packed)
}

/// Appends the decompressed form of a block, at most [`BLOCK_BYTES`].
fn append_decompressed(block: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let begin = out.len();
    let length = i32::try_from(block.len()).map_err(|_| "a block of over 2 GiB")?;
    out.reserve(BLOCK_BYTES);
    let spare = out.spare_capacity_mut();
    // SAFETY: the library reads `length` bytes of `block` and writes at most `BLOCK_BYTES` bytes, which were reserved,
    // whatever the block holds.
    let got = unsafe {
        lz4_sys::LZ4_decompress_safe(
            block.as_ptr().cast(),
            spare.as_mut_ptr().cast(),
            length,
            BLOCK_BYTES as i32,
        )
    };
    let got = usize::try_from(got)
        .ok()
        .filter(|n| *n <= BLOCK_BYTES)
        .ok_or("a block that is malformed, or longer than 64 KiB")?;
    // SAFETY: the library has written so many bytes behind the old end, inside what was reserved.
    unsafe { out.set_len(begin + got) };
    Ok(())
}

pub(super) fn decompress(data: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    match data.strip_prefix(&FRAME_HEADER) {
        Some(blocks) => plain_blocks(blocks, out),
        None => super::read_bounded(lz4_flex::frame::FrameDecoder::new(data).by_ref(), out),
    }
}

fn plain_blocks(mut rest: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    loop {
        let (header, after) = rest.split_first_chunk::<4>().ok_or("the frame ends before its end mark")?;
        let header = u32::from_le_bytes(*header);
        if header == 0 {
            return Ok(());
        }
        let length = (header & !STORED) as usize;
        if length > after.len() {
            return Err(format!("a block of {length} bytes where {} are left", after.len()));
        }
        let (block, next) = after.split_at(length);
        if header & STORED != 0 {
            out.extend_from_slice(block);
        } else {
            append_decompressed(block, out)?;
        }
        if out.len() > MAX_DECOMPRESSED_BYTES {
            return Err(format!("more than {MAX_DECOMPRESSED_BYTES} bytes after decompression"));
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

    use super::*;

    fn sample() -> Vec<u8> {
        (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect()
    }

    #[test]
    fn the_reference_decoder_reads_our_frames() {
        let mut packed = Vec::new();
        compress(&sample(), &mut packed);
        let mut back = Vec::new();
        FrameDecoder::new(packed.as_slice()).read_to_end(&mut back).unwrap();
        assert_eq!(back, sample());
    }

    #[test]
    fn frames_of_other_kinds_are_read() {
        for (mode, checksum) in
            [(BlockMode::Linked, false), (BlockMode::Independent, true), (BlockMode::Linked, true)]
        {
            let info = FrameInfo::new()
                .block_mode(mode)
                .block_size(BlockSize::Max256KB)
                .block_checksums(checksum)
                .content_checksum(checksum);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&sample()).unwrap();
            let packed = encoder.finish().unwrap();
            let mut back = Vec::new();
            decompress(&packed, &mut back).unwrap();
            assert_eq!(back, sample());
        }
    }

    /// As good as random (the finalizer of SplitMix64).
    fn mixed(i: u64) -> u64 {
        let i = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let i = (i ^ (i >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i ^ (i >> 31)
    }

    /// A batch of records, each of which begins with eight bytes of its own, and is then as `body` says.
    fn batch(records: u64, body: impl Fn(u64) -> Vec<u8>) -> (Vec<u8>, Vec<Alike>) {
        let (mut padded, mut alike) = (Vec::new(), Vec::<Alike>::new());
        for i in 0..records {
            let begin = padded.len();
            padded.extend_from_slice(&mixed(i).to_be_bytes());
            padded.extend_from_slice(&body(i));
            let (end, stride) = (padded.len(), padded.len() - begin);
            match alike.last_mut() {
                Some(last) if last.stride == stride => last.end = end,
                _ => alike.push(Alike { end, stride }),
            }
        }
        padded.resize(padded.len() + PADDING, 0);
        (padded, alike)
    }

    /// Length of the frame, and whether the encoder then compares record with record.
    fn encoded(padded: &[u8], alike: &[Alike]) -> (usize, bool) {
        let (mut encoder, mut frame, mut back) = (Encoder::default(), Vec::new(), Vec::new());
        for _ in 0..2 {
            frame.clear();
            encoder.compress(padded, alike, &mut frame);
            back.clear();
            decompress(&frame, &mut back).unwrap();
            assert_eq!(back, padded[..padded.len() - PADDING]);
        }
        (frame.len(), encoder.is_strided)
    }

    #[test]
    fn records_alike_are_compared_with_each_other() {
        // Two counters, noise, and what is the same in each: what the records of a synthetic load are made of.
        let record = |i: u64| {
            let counters = [i.to_be_bytes(), (1_789_000_000_000 + i * 12_000).to_be_bytes()];
            [counters.concat(), mixed(i + 7_000).to_be_bytes().to_vec(), vec![b'x'; 60]].concat()
        };
        let (padded, alike) = batch(2_000, record);
        let (length, is_strided) = encoded(&padded, &alike);
        let mut library = Vec::new();
        compress(&padded[..padded.len() - PADDING], &mut library);
        assert!(is_strided, "{length}, by the library {}", library.len());
        assert!(length * 20 <= library.len() * 21, "{length}, by the library {}", library.len());
    }

    /// Text that repeats itself within a record, or sizes that differ: what is alike is not one record back.
    #[test]
    fn other_records_are_left_to_the_library() {
        let word =
            |i: u64| ["alpha-alpha", "beta-beta-b", "gamma-gamma"][(i % 3) as usize].repeat(5).into_bytes();
        let sizes = |i: u64| vec![b'x'; 60 + (i * 7 % 31) as usize];
        for (padded, alike) in [batch(2_000, word), batch(2_000, sizes)] {
            let (length, is_strided) = encoded(&padded, &alike);
            assert!(!is_strided);
            let mut library = Vec::new();
            compress(&padded[..padded.len() - PADDING], &mut library);
            assert_eq!(length, library.len());
        }
    }

    #[test]
    fn what_does_not_shrink_is_stored() {
        let noise = |i: u64| (0..90).map(|k| mixed(i * 90 + k) as u8).collect();
        let (padded, alike) = batch(1_500, noise);
        assert!(encoded(&padded, &alike).0 <= padded.len());
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let mut packed = Vec::new();
        compress(&sample(), &mut packed);
        for end in [7, 9, 100, packed.len() - 1] {
            assert!(decompress(&packed[..end], &mut Vec::new()).is_err(), "cut at {end}");
        }
    }
}
