//! Random numbers that are a function of what they are for, so that any record's can be had without those before it.

use std::convert::Infallible;

use rand::TryRng;

/// Odd constants of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX_1: u64 = 0xbf58_476d_1ce4_e5b9;
const MIX_2: u64 = 0x94d0_49bb_1331_11eb;

/// One round of splitmix64's mixing.
#[inline]
pub fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(MIX_1);
    z = (z ^ (z >> 27)).wrapping_mul(MIX_2);
    z ^ (z >> 31)
}

/// A splitmix64 generator.
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    /// The generator of record `index` of `partition`, under a seed that is the producer's own.
    #[inline]
    pub fn of(seed: u64, partition: u64, index: u64) -> Self {
        SplitMix(seed ^ mix(index.wrapping_mul(GOLDEN) ^ (partition << 40)))
    }

    /// The seed of producer `producer` for one purpose. Different purposes draw different numbers.
    pub fn seed(seed: u64, producer: u16, purpose: u64) -> u64 {
        mix(seed.wrapping_add(GOLDEN.wrapping_mul(u64::from(producer) + 1)).wrapping_add(mix(purpose)))
    }

    /// The next 64 bits.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number from 0 up to and without 1.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        // The 53 bits that a float holds.
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A draw from the exponential distribution of mean 1.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

impl TryRng for SplitMix {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.draw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.draw())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_their_record() {
        let draw = |seed, partition, index| SplitMix::of(seed, partition, index).draw();
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        let all = [draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(a));
        }
    }

    #[test]
    fn draws_have_their_means() {
        let mut rng = SplitMix::of(7, 0, 0);
        let n = 200_000;
        let unit: f64 = (0..n).map(|_| rng.unit()).sum::<f64>() / f64::from(n);
        let exponential: f64 = (0..n).map(|_| rng.exponential()).sum::<f64>() / f64::from(n);
        assert!((unit - 0.5).abs() < 0.005, "{unit}");
        assert!((exponential - 1.0).abs() < 0.01, "{exponential}");
    }
}
