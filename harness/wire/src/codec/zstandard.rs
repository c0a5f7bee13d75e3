//! Zstandard, with one context per thread. A new one for every batch costs as much as 16 KiB take to compress, and three times
//! what they take to decompress: the tables and the window are allocated, and zeroed, again each time.

use std::cell::RefCell;
use std::io::Cursor;

use zstd::bulk::Compressor;
use zstd::stream::read::Decoder;
use zstd::zstd_safe::{DCtx, compress_bound};

thread_local! {
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::new(
        Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).expect("the default level is one"),
    );
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Appends the frame of `data`.
pub(super) fn compress(data: &[u8], out: &mut Vec<u8>) {
    let begin = out.len() as u64;
    out.reserve(compress_bound(data.len()));
    let mut end = Cursor::new(out);
    end.set_position(begin);
    COMPRESSOR
        .with_borrow_mut(|compressor| compressor.compress_to_buffer(data, &mut end))
        .expect("there is room for whatever it becomes");
}

/// Appends what the frames of `data` hold. They need not tell their size, as those of the Java client don't.
pub(super) fn decompress(data: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    DECOMPRESSOR.with_borrow_mut(|context| super::read_bounded(Decoder::with_context(data, context), out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_frame_does_not_touch_the_next() {
        let (data, mut packed) = (b"kafka ".repeat(50_000), Vec::new());
        compress(&data, &mut packed);
        for end in [3, packed.len() / 2, packed.len() - 1] {
            assert!(decompress(&packed[..end], &mut Vec::new()).is_err(), "cut at {end}");
            let mut back = Vec::new();
            decompress(&packed, &mut back).unwrap();
            assert!(back == data, "after the one cut at {end}");
        }
    }

    #[test]
    fn a_frame_that_does_not_tell_its_size_is_read() {
        let data = b"kafka ".repeat(50_000);
        let packed = zstd::stream::encode_all(&data[..], 0).unwrap();
        assert!(matches!(zstd::zstd_safe::get_frame_content_size(&packed), Ok(None)));
        let mut back = Vec::new();
        decompress(&packed, &mut back).unwrap();
        assert!(back == data);
    }

    #[test]
    fn what_is_in_the_way_stays() {
        let mut out = b"header".to_vec();
        compress(b"records", &mut out);
        assert_eq!(&out[..6], b"header");
        let mut back = Vec::new();
        decompress(&out[6..], &mut back).unwrap();
        assert_eq!(back, b"records");
    }
}
