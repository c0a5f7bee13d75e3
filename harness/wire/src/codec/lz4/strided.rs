//! LZ4 blocks (lz4_Block_format.md) of records that are as long as the one before them.
//!
//! The reference library looks for matches anywhere, through a table of hashes; of a synthetic load's 100-byte records it
//! finds them one record back, again and again, and that search is the dearest thing that a producer does. Here the one
//! place to look at is known: sixty-four bytes are compared with those a record before them, at once, and what is equal is
//! the match. On such records that takes less than half of the library's time and is as small; on others it finds little,
//! which is why [`super::Encoder`] tries both.

/// Bytes that may be read behind the end of what is to be compressed.
pub(crate) const PADDING: usize = WINDOW;

/// Records of the same length, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alike {
    /// Where the last of them ends.
    pub(crate) end: usize,
    /// How long each is.
    pub(crate) stride: usize,
}

/// Bytes that are compared at once.
const WINDOW: usize = 64;
/// The shortest match of the format.
const MATCH_MIN: usize = 4;
/// The shortest that is used: a shorter one saves less than the two or three bytes that it takes are worth in time. At most 8.
const RUN_MIN: usize = 6;
/// The format's "the last five bytes are literals".
const LITERALS_LAST: usize = 5;
/// The format's "the last match starts at least twelve bytes before the end of the block".
const MATCH_START_LAST: usize = 12;
/// What a length can hold within the token.
const IN_TOKEN: usize = 15;
/// Literals up to so many are copied as this many, which is a few instructions.
const SHORT_COPY: usize = 32;

/// The most bytes that a block of `len` bytes can become here, and what a short copy may touch behind them.
pub(super) const fn room(len: usize) -> usize {
    len + len / 255 + 16 + SHORT_COPY
}

/// Writes the compressed form of `padded[begin..end]` to the front of `out` and returns its length.
///
/// `alike` says how long records are, up to `end` at least, and is only a hint: whatever it says, the block is the bytes'.
/// `padded` goes on for [`PADDING`] bytes behind `end`. `out` holds [`room`] bytes for the block.
pub(super) fn compress(padded: &[u8], begin: usize, end: usize, alike: &[Alike], out: &mut [u8]) -> usize {
    let mut block = Block { data: padded, anchor: begin, out, at: 0 };
    let starts_before = end.saturating_sub(MATCH_START_LAST - 1);
    let mut at = begin;
    for run in &alike[alike.partition_point(|run| run.end <= begin)..] {
        // A match must lie in the block, and its distance in two bytes.
        at = at.max(begin + run.stride);
        if run.stride > 0 && run.stride <= usize::from(u16::MAX) {
            let stop = run.end.min(end.saturating_sub(LITERALS_LAST));
            block.matches(at, run.stride, stop, starts_before);
        }
        at = at.max(run.end.min(end));
        if run.end >= end {
            break;
        }
    }
    block.finish(end)
}

struct Block<'a> {
    data: &'a [u8],
    /// What is before this has been written.
    anchor: usize,
    out: &'a mut [u8],
    at: usize,
}

impl Block<'_> {
    /// Writes every match at one distance from `at` on that starts before `starts_before` and ends by `stop`.
    fn matches(&mut self, mut at: usize, distance: usize, stop: usize, starts_before: usize) {
        let mut equal = self.equal(at, distance);
        // What of the window has not been looked at.
        let mut ahead = !0u64;
        while at < stop && at < starts_before {
            let starts = runs(equal) & ahead;
            if starts == 0 {
                // A run that begins at the window's end may be long enough with what is in the next.
                at += WINDOW - (equal.leading_ones() as usize).min(RUN_MIN - 1);
                (equal, ahead) = (self.equal(at, distance), !0);
                continue;
            }
            let skipped = starts.trailing_zeros();
            let start = at + skipped as usize;
            let mut stopped = skipped + (equal >> skipped).trailing_ones();
            while stopped == WINDOW as u32 && at + WINDOW < stop {
                at += WINDOW;
                equal = self.equal(at, distance);
                stopped = equal.trailing_ones();
            }
            let end = (at + stopped as usize).min(stop);
            if start >= starts_before || end < start + RUN_MIN {
                break;
            }
            self.sequence(start, distance, end - start);
            self.anchor = end;
            ahead = (!0u64).checked_shl(stopped).unwrap_or(0);
        }
    }

    /// Bit i says whether byte `at + i` is the one `distance` before it.
    #[inline]
    fn equal(&self, at: usize, distance: usize) -> u64 {
        let window = |from: usize| self.data.get(from..)?.first_chunk::<WINDOW>();
        match (window(at), window(at - distance)) {
            (Some(here), Some(there)) => equal_bytes(here, there),
            _ => 0,
        }
    }

    #[inline]
    fn sequence(&mut self, start: usize, distance: usize, length: usize) {
        debug_assert!(start >= self.anchor);
        let (literals, rest) = (start - self.anchor, length - MATCH_MIN);
        let token_at = self.at;
        self.literals(literals);
        self.out[token_at] |= rest.min(IN_TOKEN) as u8;
        self.out[self.at..self.at + 2].copy_from_slice(&(distance as u16).to_le_bytes());
        self.at += 2;
        self.length(rest);
    }

    /// A token without match length, and the literals.
    #[inline]
    fn literals(&mut self, count: usize) {
        self.out[self.at] = (count.min(IN_TOKEN) as u8) << 4;
        self.at += 1;
        self.length(count);
        let (from, to) = (&self.data[self.anchor..], &mut self.out[self.at..]);
        match (from.first_chunk::<SHORT_COPY>(), to.first_chunk_mut::<SHORT_COPY>()) {
            (Some(from), Some(to)) if count <= SHORT_COPY => *to = *from,
            _ => to[..count].copy_from_slice(&from[..count]),
        }
        self.at += count;
    }

    /// What of a length the token has no room for.
    #[inline]
    fn length(&mut self, length: usize) {
        let Some(mut left) = length.checked_sub(IN_TOKEN) else { return };
        while left >= 255 {
            self.out[self.at] = 255;
            self.at += 1;
            left -= 255;
        }
        self.out[self.at] = left as u8;
        self.at += 1;
    }

    fn finish(mut self, end: usize) -> usize {
        self.literals(end - self.anchor);
        self.at
    }
}

/// Where runs of at least [`RUN_MIN`] set bits begin, or go on for as long.
#[inline]
fn runs(equal: u64) -> u64 {
    let pairs = equal & (equal >> 1);
    let fours = pairs & (pairs >> 2);
    fours & (fours >> (RUN_MIN - 4))
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn equal_bytes(a: &[u8; WINDOW], b: &[u8; WINDOW]) -> u64 {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x};

    #[inline]
    fn wide(bytes: &[u8; 16]) -> __m128i {
        let value = u128::from_le_bytes(*bytes);
        // SAFETY: SSE2 is part of every x86-64.
        unsafe { _mm_set_epi64x((value >> 64) as i64, value as i64) }
    }
    let (a, b) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
    a.iter().zip(b).enumerate().fold(0, |mask, (i, (a, b))| {
        // SAFETY: as above.
        let equal = unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(wide(a), wide(b))) };
        mask | u64::from(equal as u16) << (16 * i)
    })
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn equal_bytes(a: &[u8; WINDOW], b: &[u8; WINDOW]) -> u64 {
    a.iter().zip(b).enumerate().fold(0, |mask, (i, (a, b))| mask | u64::from(a == b) << i)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::lz4::append_decompressed;

    fn round_trip(data: &[u8], begin: usize, alike: &[Alike]) -> usize {
        let mut padded = data.to_vec();
        padded.resize(data.len() + PADDING, 0xee);
        let mut out = vec![0xaa; room(data.len() - begin)];
        let length = compress(&padded, begin, data.len(), alike, &mut out);
        let mut back = Vec::new();
        append_decompressed(&out[..length], &mut back).unwrap();
        assert_eq!(back, data[begin..], "{alike:?}");
        length
    }

    proptest! {
        /// Few values, so that there are matches of every length at every distance; the hint may be wrong.
        #[test]
        fn whatever_the_hint_the_reference_decoder_gets_the_bytes(
            data in prop::collection::vec(0u8..3, 0..2_000),
            begin in 0.0..1.0,
            runs in prop::collection::vec((1usize..400, 0usize..80), 0..8),
        ) {
            let begin = (data.len() as f64 * begin) as usize;
            let mut end = 0;
            let alike: Vec<_> = runs.iter().map(|&(length, stride)| { end += length; Alike { end, stride } }).collect();
            round_trip(&data, begin, &alike);
        }

        #[test]
        fn records_that_repeat_shrink_to_what_differs(
            record in prop::collection::vec(any::<u8>(), 40..300),
            differs in prop::collection::vec(any::<[u8; 8]>(), 20..200),
        ) {
            let stride = record.len();
            let mut data = Vec::new();
            for own in &differs {
                data.extend_from_slice(&record);
                let at = data.len() - stride + 10;
                data[at..at + 8].copy_from_slice(own);
            }
            let length = round_trip(&data, 0, &[Alike { end: data.len(), stride }]);
            // Eight literals and, at most twice, a token, a distance and two bytes of length.
            prop_assert!(length <= stride + 20 + differs.len() * 18, "{length} of {}", data.len());
        }

        #[test]
        fn equal_bytes_are_found(a in prop::collection::vec(0u8..2, WINDOW), b in prop::collection::vec(0u8..2, WINDOW)) {
            let (a, b): ([u8; WINDOW], [u8; WINDOW]) = (a.try_into().unwrap(), b.try_into().unwrap());
            for i in 0..WINDOW {
                prop_assert_eq!(equal_bytes(&a, &b) >> i & 1 == 1, a[i] == b[i]);
            }
        }
    }

    #[test]
    fn what_has_nothing_alike_is_stored_as_literals() {
        for length in [0, 1, 11, 12, 13, 64, 1_000, 65_536] {
            let data: Vec<u8> =
                (0..length).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let alike = [Alike { end: data.len(), stride: 7 }];
            assert!(round_trip(&data, 0, &alike) <= room(data.len()) - SHORT_COPY);
        }
    }

    #[test]
    fn distances_of_more_than_two_bytes_are_left_alone() {
        let data = vec![5; 200_000];
        let alike = [Alike { end: data.len(), stride: 70_000 }];
        let mut padded = data.clone();
        padded.resize(data.len() + PADDING, 0);
        let mut out = vec![0; room(data.len())];
        assert!(compress(&padded, 0, data.len(), &alike, &mut out) > data.len());
    }
}
