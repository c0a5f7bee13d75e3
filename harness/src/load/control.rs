//! What the threads of a run agree on while it goes: when load ends, when to give up, and where intervals go.

use std::sync::atomic::{AtomicU64, Ordering};

use gauntlet_wire::fetcher::FetcherStats;
use gauntlet_wire::lateness::Charge;
use gauntlet_wire::producer::ProducerStats;

use crate::recorder::SlotMap;

/// Instants that are decided while the run goes; CLOCK_MONOTONIC nanoseconds, `u64::MAX` until decided.
#[derive(Debug)]
pub struct Control {
    zero_ns: AtomicU64,
    load_end_ns: AtomicU64,
    give_up_ns: AtomicU64,
    read_until_ns: AtomicU64,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            zero_ns: AtomicU64::new(u64::MAX),
            load_end_ns: AtomicU64::new(u64::MAX),
            give_up_ns: AtomicU64::new(u64::MAX),
            read_until_ns: AtomicU64::new(u64::MAX),
        }
    }
}

impl Control {
    /// t = 0, the end of the warm-up.
    pub fn zero_ns(&self) -> u64 {
        self.zero_ns.load(Ordering::Relaxed)
    }

    /// Says when t = 0 is. Must be said once, and early enough for every thread to hear of it before: schedules change
    /// there.
    pub fn begin_at(&self, zero_ns: u64) {
        self.zero_ns.store(zero_ns, Ordering::Relaxed);
    }

    /// Records intended at or after this instant are not part of the run.
    pub fn load_end_ns(&self) -> u64 {
        self.load_end_ns.load(Ordering::Relaxed)
    }

    /// Ends the load at `at_ns`, or leaves it where it is if that is earlier.
    pub fn end_load(&self, at_ns: u64) {
        self.load_end_ns.fetch_min(at_ns, Ordering::Relaxed);
    }

    /// When producers stop waiting for answers.
    pub fn give_up_ns(&self) -> u64 {
        self.give_up_ns.load(Ordering::Relaxed)
    }

    /// Makes producers stop waiting at `at_ns`.
    pub fn give_up(&self, at_ns: u64) {
        self.give_up_ns.fetch_min(at_ns, Ordering::Relaxed);
    }

    /// When readers stop even if they are not at their end.
    pub fn read_until_ns(&self) -> u64 {
        self.read_until_ns.load(Ordering::Relaxed)
    }

    /// Makes readers stop at `at_ns`.
    pub fn read_until(&self, at_ns: u64) {
        self.read_until_ns.fetch_min(at_ns, Ordering::Relaxed);
    }
}

/// Which thread an interval comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A producer, by index.
    Producer(u16),
    /// A reader, by index.
    Reader(u16),
    /// The client of a producer, where that is not ours and speaks for itself.
    ProducerClient(u16),
    /// The client of a reader, where that is not ours and speaks for itself.
    ReaderClient(u16),
}

/// What a client that is not ours says about itself. Totals count from its start; the rest is of its last second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Records in its queue.
    pub queue_records: u64,
    /// Bytes of their keys and values.
    pub queue_bytes: u64,
    /// Median of its round trips, at the broker where that is highest; `None` if no broker answered.
    pub rtt_p50_us: Option<u64>,
    /// 99th percentile of the same.
    pub rtt_p99_us: Option<u64>,
    /// Requests sent, in all.
    pub requests: u64,
    /// Requests sent again, in all.
    pub retries: u64,
    /// Longest time that a broker told it to wait, since it began.
    pub throttle_ms_max: u32,
}

/// What one thread did since its last interval.
#[derive(Debug)]
pub struct Interval {
    /// Which thread.
    pub origin: Origin,
    /// When it was taken.
    pub at_ns: u64,
    /// No other will come from this thread.
    pub is_last: bool,
    /// Counts and histograms.
    pub slots: SlotMap,
    /// Bytes of acked batches as sent, and before compression.
    pub wire_bytes: u64,
    /// Bytes of acked batches before compression.
    pub uncompressed_bytes: u64,
    /// The thread's lateness since it began.
    pub lateness: Charge,
    /// Running totals of a producer.
    pub producer: Option<ProducerStats>,
    /// Running totals of a reader.
    pub reader: Option<FetcherStats>,
    /// What its client says about itself.
    pub client: Option<ClientStats>,
    /// (when, records between the reader's positions and the high watermarks that it knows).
    pub lag: Vec<(u64, u64)>,
    /// First and last ack of each partition in this interval, and the longest time without one.
    pub acks: Vec<AckSpan>,
    /// What the checkers of a reader were told, by partition, where that is kept.
    pub history: Vec<(u32, Vec<u8>)>,
}

impl Interval {
    /// An interval in which nothing happened.
    pub fn empty(origin: Origin, at_ns: u64) -> Self {
        Interval {
            origin,
            at_ns,
            is_last: false,
            slots: SlotMap::new(),
            wire_bytes: 0,
            uncompressed_bytes: 0,
            lateness: Charge::default(),
            producer: None,
            reader: None,
            client: None,
            lag: Vec::new(),
            acks: Vec::new(),
            history: Vec::new(),
        }
    }
}

/// Acks of one partition in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckSpan {
    /// Partition index.
    pub partition: usize,
    /// First ack.
    pub first_ns: u64,
    /// Last ack.
    pub last_ns: u64,
    /// Longest time between two neighbouring acks of the span, and when it began.
    pub longest_gap_ns: u64,
    /// When the longest gap began.
    pub gap_began_ns: u64,
}

impl AckSpan {
    /// A span of one ack.
    pub fn at(partition: usize, now_ns: u64) -> Self {
        AckSpan { partition, first_ns: now_ns, last_ns: now_ns, longest_gap_ns: 0, gap_began_ns: now_ns }
    }

    /// Adds a later ack.
    pub fn extend(&mut self, now_ns: u64) {
        let gap_ns = now_ns.saturating_sub(self.last_ns);
        if gap_ns > self.longest_gap_ns {
            self.longest_gap_ns = gap_ns;
            self.gap_began_ns = self.last_ns;
        }
        self.last_ns = now_ns;
    }
}
