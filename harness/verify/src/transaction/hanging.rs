//! **Hanging transaction**: the last stable offset stands still below the high watermark for longer than any transaction may be open.
//!
//! A coordinator aborts a transaction that is older than its `transaction.timeout.ms` when it next looks
//! (`transaction.abort.timed.out.transaction.cleanup.interval.ms`), so no offset stays unstable for longer than both and the time that
//! the abort takes, while the partition and the coordinator have a leader and a full `min.insync.replicas`; the clock begins anew when that was
//! not so. Each offset that hangs counts once.

use crate::finding::FindingClass;
use crate::found::Place;
use crate::witness::Witness;

use super::Transactions;

/// A last stable offset that stands below the high watermark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stuck {
    offset: i64,
    since_ns: u64,
    counted: bool,
}

impl Transactions {
    pub(super) fn note_stable(&mut self, place: Place, stable: i64, high_watermark: i64, at_ns: u64) {
        let limit_ns = self.config.timeout_ns.saturating_add(self.config.abort_grace_ns);
        let log = self.logs.entry(place).or_default();
        if stable < 0 || stable >= high_watermark {
            log.stuck = None;
            return;
        }
        let Some(stuck) = log.stuck.as_mut().filter(|stuck| stuck.offset == stable) else {
            log.stuck = Some(Stuck { offset: stable, since_ns: at_ns, counted: false });
            return;
        };
        let stood_ns = at_ns.saturating_sub(stuck.since_ns);
        if stuck.counted || stood_ns <= limit_ns {
            return;
        }
        stuck.counted = true;
        self.note_hanging(place, stable, high_watermark, stood_ns);
    }

    pub(super) fn note_hampered(&mut self, place: Place, at_ns: u64) {
        if let Some(stuck) = self.logs.get_mut(&place).and_then(|log| log.stuck.as_mut()) {
            stuck.since_ns = stuck.since_ns.max(at_ns);
        }
    }

    fn note_hanging(&mut self, place: Place, stable: i64, high_watermark: i64, stood_ns: u64) {
        let opened_there = |(id, producer): (&i64, &super::log::Producer)| {
            producer.open.as_ref().filter(|(first, _)| *first == stable).map(|_| (*id, producer.epoch))
        };
        let who = self.logs.get(&place).and_then(|log| log.producers.iter().find_map(opened_there));
        let who = who.map_or_else(String::new, |(id, epoch)| {
            format!(", opened there by producer id {id} epoch {epoch}")
        });
        let detail = format!(
            "the last stable offset stood there for {} s, the high watermark is {high_watermark}{who}",
            stood_ns / 1_000_000_000
        );
        let (topic, run) = (self.topic(place), self.config.run);
        self.found.note(FindingClass::HangingTransaction, 1, Some(stable), || Witness {
            topic,
            partition: place.partition,
            read_offset: Some(stable),
            acked_offset: None,
            run,
            stream: None,
            first_pseq: None,
            count: 1,
            batch: None,
            detail: Some(detail),
            blame: None,
        });
    }
}
