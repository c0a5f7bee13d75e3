//! CRC-32C of short pieces.
//!
//! The `crc32c` crate is made for long buffers: it aligns its reads byte by byte first, which for a record of 100
//! bytes costs more than the rest. Here unaligned words go straight into the processor's instruction. Longer pieces,
//! and other processors, are left to the crate.

/// Above this the crate's three interleaved streams win.
const SHORT_BYTES_MAX: usize = 512;

/// Continues `crc` over `head` and then `body`, as `crc32c_append` twice would.
#[inline]
pub(crate) fn append_both(crc: u32, head: &[u8], body: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if head.len() + body.len() <= SHORT_BYTES_MAX && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instructions that the function is compiled for.
        return unsafe { x86::append_both(crc, head, body) };
    }
    crc32c::crc32c_append(crc32c::crc32c_append(crc, head), body)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};

    #[target_feature(enable = "sse4.2")]
    pub(super) fn append_both(crc: u32, head: &[u8], body: &[u8]) -> u32 {
        !append(append(!crc, head), body)
    }

    #[inline]
    #[target_feature(enable = "sse4.2")]
    fn append(state: u32, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut wide = u64::from(state);
        for word in words {
            wide = _mm_crc32_u64(wide, u64::from_le_bytes(*word));
        }
        let mut state = wide as u32;
        let (quads, rest) = rest.as_chunks::<4>();
        for quad in quads {
            state = _mm_crc32_u32(state, u32::from_le_bytes(*quad));
        }
        for byte in rest {
            state = _mm_crc32_u8(state, *byte);
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_the_crate_computes(
            crc in any::<u32>(),
            head in prop::collection::vec(any::<u8>(), 0..70),
            body in prop::collection::vec(any::<u8>(), 0..700),
        ) {
            let expected = crc32c::crc32c_append(crc32c::crc32c_append(crc, &head), &body);
            prop_assert_eq!(append_both(crc, &head, &body), expected);
        }
    }
}
