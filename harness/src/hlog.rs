//! `histograms.hlog`: every slot's histograms, written as they come, in the HdrHistogram interval log format
//! (version 2, deflated), which the usual HdrHistogram tools read.
//!
//! One line per slot of 100 ms and metric; `Tag=` names the metric, the timestamp is seconds since the load began.
//! A slot can have several lines of one tag; they add up.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::time::Duration;

use gauntlet_reports::record::LatencyMs;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, IntervalLogWriterError, LogEntry, LogIteratorError, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::recorder::{LatencyHistogram, SLOT_NS, Slot, add_histogram, latency_histogram};

/// The metrics that have histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// Intended time -> ack, with the ages of records that failed.
    Latency,
    /// The ages of records that failed or are indeterminate.
    Censored,
    /// First byte written -> ack.
    Service,
    /// Intended time -> decoded in the reader.
    EndToEnd,
}

impl Series {
    /// All of them.
    pub const ALL: [Series; 4] = [Series::Latency, Series::Censored, Series::Service, Series::EndToEnd];

    /// The tag in the log.
    pub fn tag(self) -> &'static str {
        match self {
            Series::Latency => "produce.latency",
            Series::Censored => "produce.censored",
            Series::Service => "produce.service_time",
            Series::EndToEnd => "e2e.latency",
        }
    }

    fn of(self, slot: &Slot) -> Option<&LatencyHistogram> {
        match self {
            Series::Latency => Some(&slot.latency),
            Series::Censored => slot.censored.as_ref(),
            Series::Service => Some(&slot.service),
            Series::EndToEnd => Some(&slot.e2e),
        }
        .filter(|h| !h.is_empty())
    }
}

/// A log that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum HlogError {
    /// A line is not of the format.
    #[error("histogram log: line at byte {offset} cannot be parsed")]
    Line {
        /// Where it begins.
        offset: usize,
    },
    /// A histogram does not decode.
    #[error("histogram log: {0}")]
    Histogram(String),
}

/// Appends the histograms of slots to a log. `base_slot` is the slot in which the load began.
pub fn write_slots<'a>(
    out: &mut impl Write,
    base_slot: u64,
    slots: impl Iterator<Item = (u64, &'a Slot)>,
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new().begin_log_with(out, &mut serializer)?;
    for (slot, stats) in slots {
        let begin = Duration::from_nanos(slot.saturating_sub(base_slot) * SLOT_NS);
        for series in Series::ALL {
            let Some(histogram) = series.of(stats) else { continue };
            log.write_histogram(histogram, begin, Duration::from_nanos(SLOT_NS), Tag::new(series.tag()))
                .map_err(|e| match e {
                    IntervalLogWriterError::IoError(e) => e,
                    IntervalLogWriterError::SerializeError(e) => io::Error::other(e),
                })?;
        }
    }
    Ok(())
}

/// One line of a log: a histogram that is still encoded.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its slot, counted from the beginning of the load.
    pub slot: u64,
    /// Its metric.
    pub series: Series,
    encoded: &'a str,
}

impl Entry<'_> {
    /// Decodes it.
    ///
    /// # Errors
    /// If it is not a histogram.
    pub fn decode(&self) -> Result<LatencyHistogram, HlogError> {
        let bytes = decode_base64(self.encoded)?;
        Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| HlogError::Histogram(e.to_string()))
    }
}

/// The lines of a log, in its order. A torn last line (a crash while writing) is left out.
pub fn entries(log: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, HlogError>> {
    let whole = log.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    IntervalLogIterator::new(&log[..whole]).filter_map(|entry| match entry {
        Err(LogIteratorError::ParseError { offset }) => Some(Err(HlogError::Line { offset })),
        Ok(LogEntry::Interval(line)) => {
            let series = line.tag().and_then(|t| Series::ALL.into_iter().find(|s| s.tag() == t.as_str()))?;
            let slot = (line.start_timestamp().as_nanos() as u64 + SLOT_NS / 2) / SLOT_NS;
            Some(Ok(Entry { slot, series, encoded: line.encoded_histogram() }))
        }
        Ok(_) => None,
    })
}

/// Histograms of one slot, by series.
pub type SlotHistograms = BTreeMap<Series, LatencyHistogram>;

/// A log by slots. Its histograms stay encoded, which is a fortieth of what they take otherwise: a run of an hour has a hundred thousand.
#[derive(Debug, Default)]
pub struct SlotLog<'a> {
    slots: BTreeMap<u64, Vec<Entry<'a>>>,
}

impl<'a> SlotLog<'a> {
    /// Of the bytes of a log; its slots are counted from `base_slot` on. A torn last line (a crash while writing) ends it.
    ///
    /// # Errors
    /// A line is not of the format, or its histogram does not decode.
    pub fn read(log: &'a [u8], base_slot: u64) -> Result<Self, HlogError> {
        let mut slots: BTreeMap<u64, Vec<Entry<'a>>> = BTreeMap::new();
        for entry in entries(log) {
            let entry = entry?;
            entry.decode()?;
            slots.entry(base_slot + entry.slot).or_default().push(entry);
        }
        Ok(SlotLog { slots })
    }

    /// The histograms of these slots, decoded one slot after the other.
    pub fn range(&self, slots: Range<u64>) -> impl Iterator<Item = (u64, SlotHistograms)> + '_ {
        self.slots.range(slots).map(|(slot, entries)| {
            let mut histograms = SlotHistograms::new();
            // Each has been decoded before.
            for (series, histogram) in entries.iter().filter_map(|e| Some((e.series, e.decode().ok()?))) {
                add_histogram(histograms.entry(series).or_insert_with(latency_histogram), &histogram);
            }
            (*slot, histograms)
        })
    }
}

/// Percentiles of a histogram of microseconds, in milliseconds.
pub fn percentiles(histogram: &LatencyHistogram) -> LatencyMs {
    let ms = |us: u64| Some(us as f64 / 1_000.0);
    LatencyMs {
        p50: ms(histogram.value_at_quantile(0.5)),
        p99: ms(histogram.value_at_quantile(0.99)),
        p999: ms(histogram.value_at_quantile(0.999)),
        max: ms(histogram.max()),
    }
}

fn decode_base64(text: &str) -> Result<Vec<u8>, HlogError> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| HlogError::Histogram(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_adds_up() {
        let mut slot = Slot::default();
        slot.latency.record_n(1_234, 10).unwrap();
        slot.e2e.record(60_000_000).unwrap();
        let mut log = Vec::new();
        write_slots(&mut log, 1_000, [(1_000, &slot), (1_007, &slot)].into_iter()).unwrap();
        write_slots(&mut log, 1_000, [(1_007, &slot)].into_iter()).unwrap();
        log.extend_from_slice(b"Tag=produce.latency,0.3");
        let read = SlotLog::read(&log, 1_000).unwrap();
        assert_eq!(read.range(1_001..1_007).count(), 0);
        let back: BTreeMap<u64, SlotHistograms> =
            read.range(0..u64::MAX).map(|(slot, h)| (slot - 1_000, h)).collect();
        assert_eq!(back.keys().copied().collect::<Vec<_>>(), [0, 7]);
        assert_eq!(back[&0][&Series::Latency].len(), 10);
        assert_eq!(back[&7][&Series::Latency].len(), 20);
        assert_eq!(back[&7][&Series::EndToEnd].max(), slot.e2e.max());
        assert!(!back[&0].contains_key(&Series::Censored));
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(SlotLog::read(b"Tag=produce.latency,0.000,0.100,1.0,!!!!\n", 0).is_err());
    }
}
