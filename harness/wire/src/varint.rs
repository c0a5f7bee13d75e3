//! Zig-zag variable-length integers of Kafka's record format (the encoding of Protocol Buffers' `sint32`/`sint64`).

/// Bytes that the longest varint takes.
pub(crate) const MAX_VARINT_BYTES: usize = 10;

/// Number of bytes that `value` takes when encoded.
#[inline]
pub(crate) fn encoded_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    // Seven payload bits a byte; zero still takes one.
    (70 - (zigzag | 1).leading_zeros() as usize) / 7
}

/// Writes `value` at the start of `out` and returns how many bytes it took. `out` must have room for them.
#[inline]
pub(crate) fn write(out: &mut [u8], value: i64) -> usize {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    let mut at = 0;
    while zigzag >= 0x80 {
        out[at] = zigzag as u8 | 0x80;
        zigzag >>= 7;
        at += 1;
    }
    out[at] = zigzag as u8;
    at + 1
}

/// Reads a varint from `data` at `*at` and moves `*at` behind it. `None` if it is cut or longer than ten bytes.
#[inline]
pub(crate) fn read(data: &[u8], at: &mut usize) -> Option<i64> {
    let first = *data.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(i64::from(first >> 1) ^ -i64::from(first & 1));
    }
    // Lengths from 64 bytes on, and most offset deltas, take two.
    if let Some(second) = data.get(*at + 1).filter(|b| **b < 0x80) {
        *at += 2;
        let zigzag = i64::from(first & 0x7f) | i64::from(*second) << 7;
        return Some(zigzag >> 1 ^ -(zigzag & 1));
    }
    read_long(data, at)
}

#[cold]
fn read_long(data: &[u8], at: &mut usize) -> Option<i64> {
    let mut zigzag = 0u64;
    for i in 0..MAX_VARINT_BYTES {
        let byte = *data.get(*at + i)?;
        zigzag |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *at += i + 1;
            return Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(value in any::<i64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut out = [0u8; MAX_VARINT_BYTES];
            let written = write(&mut out, value);
            prop_assert_eq!(written, encoded_len(value));
            let mut at = 0;
            prop_assert_eq!(read(&out[..written], &mut at), Some(value));
            prop_assert_eq!(at, written);
            let mut at = 0;
            prop_assert_eq!(read(&out[..written - 1], &mut at), None);
        }
    }

    #[test]
    fn known_values() {
        let mut out = [0u8; MAX_VARINT_BYTES];
        assert_eq!((write(&mut out, -1), out[0]), (1, 1));
        assert_eq!((write(&mut out, 63), out[0]), (1, 126));
        assert_eq!((write(&mut out, 64), out[0], out[1]), (2, 0x80, 1));
        assert_eq!(encoded_len(i64::MIN), 10);
    }
}
