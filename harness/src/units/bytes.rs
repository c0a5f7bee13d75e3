//! Amounts of data.

use std::fmt;
use std::str::FromStr;

use super::{Quantity, UnitError, number};

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// An amount of data: `100B`, `1KiB` (1024), `64MB` (64,000,000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes {
    bytes: u64,
}

impl Bytes {
    /// So many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self { bytes }
    }

    /// In bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.bytes
    }
}

impl Quantity for Bytes {
    const QUANTITY: &'static str = "a size";
    const EXAMPLE: &'static str = "100B, 1KiB, or 64MB";
    const PATTERN: &'static str = r"^[0-9][0-9_]*(\.[0-9]+)?(B|KB|KiB|MB|MiB|GB|GiB|TB|TiB)$";
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = number::split(text).ok_or_else(|| Self::malformed(text))?;
        if unit.is_empty() {
            return Self::from_bare(text);
        }
        let (_, unit_bytes) =
            UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| Self::malformed(text))?;
        let bytes = number::scaled(number, *unit_bytes)
            .ok_or_else(|| Self::out_of_range(text, "a whole number of bytes below 16 EiB"))?;
        Ok(Self { bytes })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |unit_bytes: u64| self.bytes >= unit_bytes && self.bytes.is_multiple_of(unit_bytes);
        match UNITS.iter().find(|(_, unit_bytes)| fits(*unit_bytes)) {
            Some((name, unit_bytes)) => write!(formatter, "{}{name}", self.bytes / unit_bytes),
            None => write!(formatter, "{}B", self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let bytes = |text: &str| text.parse::<Bytes>().unwrap().get();
        assert_eq!(bytes("100B"), 100);
        assert_eq!(bytes("1KiB"), 1024);
        assert_eq!(bytes("64MB"), 64_000_000);
        assert_eq!(bytes("1.5GiB"), 1_610_612_736);
        assert_eq!(bytes("1_000B"), 1000);
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "100", "1k", "1kb", "-1B", "0.5B", "16777216TiB", "1 KiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(bytes in prop_oneof![any::<u64>(), (0u64..2000).prop_map(|k| k << 10)]) {
            let bytes = Bytes::new(bytes);
            prop_assert_eq!(bytes.to_string().parse(), Ok(bytes));
        }
    }
}
