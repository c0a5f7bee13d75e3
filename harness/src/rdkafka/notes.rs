//! What clients of librdkafka say, away from their loops: log lines are written to a file, statistics are read and passed on
//! to the collector.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gauntlet_rdkafka::Notice;
use gauntlet_rdkafka::statistics::Statistics;
use gauntlet_wire::Security;

use crate::load::{ClientStats, Interval, Origin};
use crate::redaction::Redaction;

/// Lines and statistics that may wait; more are dropped, and counted.
const WAITING_MAX: usize = 4096;
/// Bytes of the log: a client that is set to debug everything would fill the disk.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// Severity of syslog(3), by number.
const LEVELS: [&str; 8] = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

struct Note {
    at_ns: u64,
    from: Origin,
    notice: Notice,
}

/// The end of the channel that loops write to.
#[derive(Debug, Clone)]
pub struct Notes {
    sender: Sender<Note>,
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Note").field("from", &self.from).field("notice", &self.notice).finish()
    }
}

impl Notes {
    /// A channel, and what is to run in a thread of its own until every loop has ended. Lines go to `log`, without the secrets
    /// of `security`.
    #[must_use]
    pub fn new(log: BufWriter<File>, security: &Security, intervals: Sender<Interval>) -> (Self, Clerk) {
        let (sender, receiver) = bounded(WAITING_MAX);
        let redaction = Redaction::of(security);
        let clerk = Clerk { receiver, log, redaction, intervals, clients: BTreeMap::new(), written: 0 };
        (Notes { sender }, clerk)
    }

    /// Hands something over. Never waits.
    pub fn tell(&self, from: Origin, notice: Notice) {
        let note = Note { at_ns: gauntlet_wire::monotonic_ns(), from, notice };
        match self.sender.try_send(note) {
            // A client that floods its log must not hold up the load; statistics come again in a second.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

/// What the thread does.
#[derive(Debug)]
pub struct Clerk {
    receiver: Receiver<Note>,
    log: BufWriter<File>,
    redaction: Redaction,
    intervals: Sender<Interval>,
    clients: BTreeMap<Origin, Totals>,
    written: u64,
}

impl Clerk {
    /// Works until every loop has ended.
    pub fn run(mut self) {
        while let Ok(note) = self.receiver.recv() {
            self.take(&note);
            if self.receiver.is_empty() {
                // A log that can't be written is no reason to end a run.
                let _ = self.log.flush();
            }
        }
    }

    fn take(&mut self, note: &Note) {
        match &note.notice {
            Notice::Log { level, facility, text } => self.write(note, *level, facility, text),
            Notice::Error { text, fatal } => {
                let facility = if *fatal { "FATAL" } else { "ERROR" };
                self.write(note, if *fatal { 2 } else { 3 }, facility, text);
            }
            Notice::TokenWanted => {}
            Notice::Statistics(json) => match Statistics::parse(json) {
                Ok(seen) => {
                    let (client, (wire_bytes, uncompressed_bytes)) =
                        self.clients.entry(note.from).or_default().add(&seen);
                    // What a consumer sends is requests; on the wire of the load are the bytes of producers.
                    let is_producer = matches!(note.from, Origin::ProducerClient(_));
                    let interval = Interval {
                        client: Some(client),
                        wire_bytes: if is_producer { wire_bytes } else { 0 },
                        uncompressed_bytes: if is_producer { uncompressed_bytes } else { 0 },
                        ..Interval::empty(note.from, note.at_ns)
                    };
                    // The collector only goes away when the run is being torn down.
                    let _ = self.intervals.send(interval);
                }
                Err(error) => {
                    self.write(note, 4, "STATISTICS", &format!("cannot be read: {error}"));
                }
            },
        }
    }

    fn write(&mut self, note: &Note, level: i32, facility: &str, text: &str) {
        if self.written >= LOG_BYTES_MAX {
            return;
        }
        let level =
            usize::try_from(level).ok().and_then(|level| LEVELS.get(level)).copied().unwrap_or("debug");
        let line = format!("{} {} {level} {facility}: {text}\n", note.at_ns, name(note.from));
        let mut line = self.redaction.clean(line);
        self.written += line.len() as u64;
        if self.written >= LOG_BYTES_MAX {
            line += "the log ends here: it has reached its limit\n";
        }
        let _ = self.log.write_all(line.as_bytes());
    }
}

fn name(origin: Origin) -> String {
    match origin {
        Origin::Producer(index) | Origin::ProducerClient(index) => format!("producer-{index}"),
        Origin::Reader(index) | Origin::ReaderClient(index) => format!("reader-{index}"),
    }
}

/// Totals of a client's place, over all clients that were there one after the other: each counts from its own start.
#[derive(Debug, Default)]
struct Totals {
    requests: Total,
    retries: Total,
    wire_bytes: Total,
    uncompressed_bytes: Total,
    throttle_ms_max: u32,
}

/// One number that only grows, except that each new client begins at 0 again.
#[derive(Debug, Default)]
struct Total {
    before: u64,
    last: u64,
}

impl Total {
    /// Takes the number that was seen now. Returns all, and what is new.
    fn add(&mut self, now: u64) -> (u64, u64) {
        if now < self.last {
            self.before += std::mem::take(&mut self.last);
        }
        let new = now - self.last;
        self.last = now;
        (self.before + now, new)
    }
}

impl Totals {
    /// Takes statistics. Returns what they say, and the bytes that were sent since the last: on the wire, and of keys and
    /// values.
    fn add(&mut self, seen: &Statistics) -> (ClientStats, (u64, u64)) {
        let throttled = seen.brokers.values().map(|b| b.throttle.max).max().unwrap_or(0);
        self.throttle_ms_max = self.throttle_ms_max.max(u32::try_from(throttled).unwrap_or(u32::MAX));
        let stats = ClientStats {
            queue_records: seen.msg_cnt,
            queue_bytes: seen.msg_size,
            rtt_p50_us: seen.worst_rtt_us(|rtt| rtt.p50),
            rtt_p99_us: seen.worst_rtt_us(|rtt| rtt.p99),
            requests: self.requests.add(seen.total(|b| b.tx)).0,
            retries: self.retries.add(seen.total(|b| b.txretries)).0,
            throttle_ms_max: self.throttle_ms_max,
        };
        let wire_bytes = self.wire_bytes.add(seen.total(|b| b.txbytes)).1;
        (stats, (wire_bytes, self.uncompressed_bytes.add(seen.txmsg_bytes).1))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossbeam_channel::unbounded;
    use gauntlet_wire::security::{Login, Secret};

    use super::*;

    fn statistics(tx: u64, retries: u64, throttle: u64) -> Notice {
        Notice::Statistics(format!(
            r#"{{ "msg_cnt": 3, "msg_size": 300, "txmsg_bytes": {tx}0, "brokers": {{ "a": {{ "tx": {tx}, "txbytes": {tx}, "txretries": {retries},
                "rtt": {{ "cnt": 1, "p50": 10, "p99": 20 }}, "throttle": {{ "max": {throttle} }} }} }} }}"#
        ))
    }

    #[test]
    fn lines_are_written_without_secrets_and_statistics_add_up_over_clients() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("librdkafka.log");
        let (intervals, received) = unbounded();
        let log = BufWriter::new(File::create(&path).unwrap());
        let login = Login::plain("tim", Secret::new("hunter2"));
        let security = Security { tls: None, login: Some(Arc::new(login)) };
        let (notes, clerk) = Notes::new(log, &security, intervals);
        let thread = std::thread::spawn(move || clerk.run());
        let producer = Origin::ProducerClient(4);
        let text = "127.0.0.1:9092/1: Connect failed, hunter2".to_owned();
        notes.tell(producer, Notice::Log { level: 3, facility: "FAIL".to_owned(), text });
        notes.tell(producer, Notice::Error { text: "it is over".to_owned(), fatal: true });
        for (tx, retries, throttle) in [(10, 1, 0), (20, 2, 70), (5, 1, 30)] {
            notes.tell(producer, statistics(tx, retries, throttle));
        }
        notes.tell(producer, Notice::Statistics("{".to_owned()));
        drop(notes);
        thread.join().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(" producer-4 error FAIL: 127.0.0.1:9092/1: Connect failed, ***\n"), "{text}");
        assert!(
            text.contains(" producer-4 critical FATAL: it is over\n") && !text.contains("hunter2"),
            "{text}"
        );
        assert!(text.contains("warning STATISTICS: cannot be read"), "{text}");
        let received: Vec<Interval> = received.iter().collect();
        let bytes: Vec<_> = received.iter().map(|i| (i.wire_bytes, i.uncompressed_bytes)).collect();
        assert_eq!(bytes, [(10, 100), (10, 100), (5, 50)]);
        let seen: Vec<ClientStats> = received.iter().filter_map(|i| i.client).collect();
        assert_eq!(
            seen.iter().map(|s| s.requests).collect::<Vec<_>>(),
            [10, 20, 25],
            "the third is another client"
        );
        let last = ClientStats {
            queue_records: 3,
            queue_bytes: 300,
            rtt_p50_us: Some(10),
            rtt_p99_us: Some(20),
            requests: 25,
            retries: 3,
            throttle_ms_max: 70,
        };
        assert_eq!(seen.last(), Some(&last));
    }
}
