//! Snappy in the "xerial" framing of snappy-java, which Kafka's Java clients and brokers write, and the raw form that
//! librdkafka writes.

use super::MAX_DECOMPRESSED_BYTES;

/// snappy-java's magic, followed by version 1 and compatible version 1.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_MAGIC_BYTES: usize = 8;
const BLOCK_BYTES: usize = 32 << 10;

pub(super) fn compress(data: &[u8], out: &mut Vec<u8>) {
    let mut encoder = snap::raw::Encoder::new();
    out.extend_from_slice(&XERIAL_HEADER);
    for block in data.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        out.resize(length_at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let packed = encoder
            .compress(block, &mut out[length_at + 4..])
            .expect("the output has room for the worst case of a 32 KiB block");
        out.truncate(length_at + 4 + packed);
        out[length_at..length_at + 4].copy_from_slice(&(packed as u32).to_be_bytes());
    }
}

pub(super) fn decompress(data: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    if !data.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_BYTES]) {
        return append_block(data, out);
    }
    let mut rest = data.get(XERIAL_HEADER.len()..).ok_or("the xerial header is cut")?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or("a block's length is cut")?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > after.len() {
            return Err(format!("a block of {length} bytes where {} are left", after.len()));
        }
        let (block, next) = after.split_at(length);
        append_block(block, out)?;
        rest = next;
    }
    Ok(())
}

fn append_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let length = snap::raw::decompress_len(block).map_err(|e| e.to_string())?;
    let begin = out.len();
    if begin + length > MAX_DECOMPRESSED_BYTES {
        return Err(format!("more than {MAX_DECOMPRESSED_BYTES} bytes after decompression"));
    }
    out.resize(begin + length, 0);
    let got = snap::raw::Decoder::new().decompress(block, &mut out[begin..]).map_err(|e| e.to_string())?;
    out.truncate(begin + got);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_form_is_read_too() {
        let data = vec![7u8; 100_000];
        let raw = snap::raw::Encoder::new().compress_vec(&data).unwrap();
        let mut back = Vec::new();
        decompress(&raw, &mut back).unwrap();
        assert_eq!(back, data);
    }
}
