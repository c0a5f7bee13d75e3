//! What is measured: cells of one kind of work, one size of record, one codec and one rate.

use std::fmt;
use std::str::FromStr;

use gauntlet_wire::codec::Codec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::{Bytes, Rate};

/// Which work.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Only write.
    Produce,
    /// Only read what is there already.
    Consume,
    /// Write and read what is written, in one process.
    Both,
}

impl Mode {
    /// As the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Produce => "produce",
            Mode::Consume => "consume",
            Mode::Both => "both",
        }
    }
}

/// At which rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pace {
    /// As fast as it goes: a closed model, whose latencies are no user's.
    FlatOut,
    /// So many records per second.
    At(Rate),
}

/// What was written is no pace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate; write `max`, or one like 100k/s")]
pub struct NoPace(String);

impl FromStr for Pace {
    type Err = NoPace;

    fn from_str(text: &str) -> Result<Self, NoPace> {
        if text == "max" {
            return Ok(Pace::FlatOut);
        }
        match text.parse::<Rate>() {
            Ok(rate) if rate.per_s() > 0 => Ok(Pace::At(rate)),
            _ => Err(NoPace(text.to_owned())),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::FlatOut => out.write_str("max"),
            Pace::At(rate) => rate.fmt(out),
        }
    }
}

impl Serialize for Pace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

mod codec_name {
    use super::*;

    pub(super) fn serialize<S: Serializer>(codec: &Codec, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(codec.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Codec, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One thing that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Which work.
    pub mode: Mode,
    /// Size of each record's value.
    pub size: Bytes,
    /// `compression.type`.
    #[serde(with = "codec_name")]
    pub codec: Codec,
    /// At which rate.
    pub pace: Pace,
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {} {}", self.mode.name(), self.size, self.codec.name(), self.pace)
    }
}

/// All that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Kinds of work.
    pub modes: Vec<Mode>,
    /// Sizes of values.
    pub sizes: Vec<Bytes>,
    /// Names of codecs.
    pub codecs: Vec<String>,
    /// Rates.
    pub paces: Vec<Pace>,
}

impl Matrix {
    /// Every cell, in order. What is read only is read as fast as it goes, whatever rates there are.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        let codecs: Vec<Codec> = self.codecs.iter().filter_map(|name| name.parse().ok()).collect();
        for &mode in &self.modes {
            let paces: &[Pace] = if mode == Mode::Consume { &[Pace::FlatOut] } else { &self.paces };
            for &size in &self.sizes {
                for &codec in &codecs {
                    cells.extend(paces.iter().map(|&pace| Cell { mode, size, codec, pace }));
                }
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_reads_back_what_it_prints() {
        for text in ["max", "100k/s", "1M/s"] {
            assert_eq!(text.parse::<Pace>().unwrap().to_string(), text);
        }
        for text in ["", "fast", "0/s", "100", "-1/s"] {
            assert!(text.parse::<Pace>().is_err(), "{text}");
        }
    }

    #[test]
    fn reading_has_no_rate() {
        let matrix = Matrix {
            modes: vec![Mode::Produce, Mode::Consume],
            sizes: vec![Bytes::new(100), Bytes::new(1024)],
            codecs: vec!["none".to_owned(), "lz4".to_owned()],
            paces: vec![Pace::FlatOut, Pace::At(Rate::per_second(100_000))],
        };
        let cells = matrix.cells();
        assert_eq!(cells.iter().filter(|cell| cell.mode == Mode::Produce).count(), 8);
        assert_eq!(cells.iter().filter(|cell| cell.mode == Mode::Consume).count(), 4);
        assert_eq!(cells[1].to_string(), "produce 100B none 100k/s");
    }

    #[test]
    fn a_cell_survives_json() {
        let cell = Cell {
            mode: Mode::Both,
            size: Bytes::new(100),
            codec: Codec::Lz4,
            pace: Pace::At(Rate::per_second(1_000_000)),
        };
        let json = serde_json::to_string(&cell).unwrap();
        assert_eq!(json, r#"{"mode":"both","size":"100B","codec":"lz4","pace":"1M/s"}"#);
        assert_eq!(serde_json::from_str::<Cell>(&json).unwrap(), cell);
    }
}
