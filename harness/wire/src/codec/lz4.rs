//! LZ4 frames (lz4_Frame_format.md 1.6.4) around the block functions of the reference library.
//!
//! A frame encoder takes twice as long per batch as the block function; the frame that Kafka needs is seven fixed
//! bytes and a length per block. Reading takes the same short cut for frames of that kind and leaves every other one
//! (linked blocks, checksums) to `lz4_flex`.

use std::io::Read;

use super::MAX_DECOMPRESSED_BYTES;

/// Magic, FLG (version 1, independent blocks, nothing else), BD (blocks of up to 64 KiB), and the checksum of FLG and
/// BD (second byte of their xxHash-32).
const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const BLOCK_BYTES: usize = 64 << 10;
/// Set in a block's length when its bytes are stored as they are.
const STORED: u32 = 1 << 31;
/// How much harder than by default the compressor looks for speed than for matches. On records of 100 bytes it takes a
/// sixth less time for the same ratio, within 2 %.
const ACCELERATION: i32 = 8;

pub(super) fn compress(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&FRAME_HEADER);
    for block in data.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let header = match append_compressed(block, out) {
            Some(packed) => packed as u32,
            None => {
                out.extend_from_slice(block);
                block.len() as u32 | STORED
            }
        };
        out[length_at..length_at + 4].copy_from_slice(&header.to_le_bytes());
    }
    out.extend_from_slice(&0u32.to_le_bytes());
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
        lz4_sys::LZ4_compress_fast(
            block.as_ptr().cast(),
            spare.as_mut_ptr().cast(),
            block.len() as i32,
            room as i32,
            ACCELERATION,
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

    #[test]
    fn a_cut_frame_is_an_error() {
        let mut packed = Vec::new();
        compress(&sample(), &mut packed);
        for end in [7, 9, 100, packed.len() - 1] {
            assert!(decompress(&packed[..end], &mut Vec::new()).is_err(), "cut at {end}");
        }
    }
}
