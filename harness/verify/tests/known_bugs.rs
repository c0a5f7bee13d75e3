//! Bugs of Kafka that were reproduced on brokers, as the logs and answers that they gave: what the checker of transactions says of each.

use gauntlet_verify::transaction::{Answer, BatchKey, Config, End, Event, TransactionKey};
use gauntlet_verify::{BatchHeader, Blame, FindingClass as C, Found, Place, StreamKey, Transactions};

const SECOND: u64 = 1_000_000_000;
const P: Place = Place { topic: 0, partition: 0 };
const Q: Place = Place { topic: 0, partition: 1 };
const ID: i64 = 7;

/// Tells a checker what happens, a microsecond apart.
struct Teller {
    checker: Transactions,
    now_ns: u64,
    ends: [i64; 2],
}

impl Teller {
    fn new() -> Self {
        let checker = Transactions::new(Config {
            run: 1,
            topics: vec!["t".to_owned()],
            readers: 0,
            timeout_ns: 60 * SECOND,
            abort_grace_ns: 40 * SECOND,
            open_limit: 100,
            witness_limit: 4,
        });
        Self { checker, now_ns: 1, ends: [0; 2] }
    }

    fn tell(&mut self, event: &Event) {
        self.now_ns += 1_000;
        self.checker.tell(event);
    }

    fn begin(&mut self, number: u32, version: u8) {
        self.tell(&Event::Began { key: key(number), version });
    }

    fn wrote(&mut self, number: u32, place: Place, epoch: i16, sequence: i32) {
        let batch = BatchKey { place, producer_id: ID, producer_epoch: epoch, base_sequence: sequence };
        let first_pseq = u64::from(number);
        self.tell(&Event::Wrote { key: key(number), batch, first_pseq, count: 1, source: None });
    }

    fn header(&mut self, place: Place, epoch: i16, sequence: i32) -> BatchHeader {
        let end = &mut self.ends[place.partition as usize];
        *end += 1;
        BatchHeader {
            base_offset: *end - 1,
            last_offset: *end - 1,
            leader_epoch: 0,
            producer_id: ID,
            producer_epoch: epoch,
            base_sequence: sequence,
            control: sequence < 0,
            transactional: true,
        }
    }

    fn logged(&mut self, place: Place, epoch: i16, sequence: i32) {
        let (header, at_ns) = (self.header(place, epoch, sequence), self.now_ns);
        self.tell(&Event::LogBatch { place, header, at_ns });
    }

    fn marked(&mut self, place: Place, epoch: i16, end: End) {
        let (header, at_ns) = (self.header(place, epoch, -1), self.now_ns);
        self.tell(&Event::LogMarker { place, header, end, coordinator_epoch: 0, at_ns });
    }

    fn ends(&mut self, number: u32, end: End) {
        let at_ns = self.now_ns;
        self.tell(&Event::EndSent { key: key(number), end, at_ns });
    }

    fn answered(&mut self, number: u32, answer: Answer) {
        self.tell(&Event::Answered { key: key(number), answer });
    }

    /// A leader says the same for so long.
    fn stands(&mut self, place: Place, stable: i64, seconds: u64) {
        for at_ns in [self.now_ns, self.now_ns + seconds * SECOND] {
            let high_watermark = self.ends[place.partition as usize];
            self.tell(&Event::Stable { place, last_stable_offset: stable, high_watermark, at_ns });
        }
    }

    fn found(self) -> (Vec<(C, u64)>, Found) {
        let found = self.checker.finish();
        (found.counts().collect(), found)
    }
}

fn key(number: u32) -> TransactionKey {
    TransactionKey { stream: StreamKey { producer: 0, incarnation: 0 }, number }
}

/// KAFKA-17754: the EndTxn(commit) of a transaction comes again, late, and commits the next one, which its client then aborts.
/// `second` is where that writes after it was ended.
fn replayed_end(second: Place) -> (Vec<(C, u64)>, Found) {
    let mut it = Teller::new();
    it.begin(1, 1);
    it.wrote(1, P, 0, 0);
    it.logged(P, 0, 0);
    it.ends(1, End::Commit);
    it.marked(P, 0, End::Commit);
    it.answered(1, Answer::Done);
    it.begin(2, 1);
    it.wrote(2, P, 0, 1);
    it.logged(P, 0, 1);
    it.marked(P, 0, End::Commit);
    let sequence = if second == P { 2 } else { 0 };
    it.wrote(2, second, 0, sequence);
    it.logged(second, 0, sequence);
    it.ends(2, End::Abort);
    it.marked(second, 0, End::Abort);
    it.answered(2, Answer::Done);
    it.found()
}

#[test]
fn kafka_17754_an_end_that_comes_again_commits_the_next_transaction() {
    for second in [P, Q] {
        let (counts, found) = replayed_end(second);
        let expected = [(C::AbortedRead, 1), (C::TornTransaction, 1), (C::MarkerAgainstAnswer, 1)];
        assert_eq!(counts, expected, "the second batch goes to {second:?}");
        let aborted = &found.evidence.get(C::AbortedRead).map(|kept| kept.first()[0].blame);
        assert_eq!(*aborted, Some(Some(Blame::CoordinatorEndedOtherwise)));
    }
}

/// KIP-890, part 1: a batch that was held up comes behind the marker of its transaction.
fn late_batch() -> Teller {
    let mut it = Teller::new();
    it.begin(1, 1);
    it.wrote(1, P, 0, 0);
    it.wrote(1, P, 0, 1);
    it.logged(P, 0, 0);
    it.ends(1, End::Abort);
    it.marked(P, 0, End::Abort);
    it.answered(1, Answer::Done);
    it.logged(P, 0, 1);
    it
}

#[test]
fn kip_890_a_late_batch_hangs_the_partition() {
    let mut it = late_batch();
    it.stands(P, 2, 101);
    assert_eq!(it.found().0, [(C::ZombieWrite, 1), (C::HangingTransaction, 1)]);
    let mut soon = late_batch();
    soon.stands(P, 2, 100);
    assert_eq!(soon.found().0, [(C::ZombieWrite, 1)]);
}

#[test]
fn kip_890_a_late_batch_becomes_part_of_the_next_transaction() {
    // As librdkafka does it: a new epoch, and the next transaction commits.
    let mut it = late_batch();
    it.begin(2, 1);
    it.wrote(2, P, 1, 0);
    it.logged(P, 1, 0);
    it.ends(2, End::Commit);
    it.marked(P, 1, End::Commit);
    it.answered(2, Answer::Done);
    let (counts, found) = it.found();
    assert_eq!(counts, [(C::AbortedRead, 1), (C::TornTransaction, 1), (C::ZombieWrite, 1)]);
    let aborted = found.evidence.get(C::AbortedRead).map(|kept| kept.first()[0].blame);
    assert_eq!(aborted, Some(Some(Blame::BrokerAppendedLate)));
}

#[test]
fn kip_890_with_verification_the_late_batch_is_refused() {
    let mut it = Teller::new();
    it.begin(1, 1);
    it.wrote(1, P, 0, 0);
    it.wrote(1, P, 0, 1);
    it.logged(P, 0, 0);
    it.ends(1, End::Abort);
    it.marked(P, 0, End::Abort);
    it.answered(1, Answer::Done);
    it.stands(P, 2, 1_000);
    assert_eq!(it.found().0, []);
}

#[test]
fn kafka_19367_a_transaction_at_the_last_epoch_stays_open() {
    let mut it = Teller::new();
    it.begin(1, 2);
    it.wrote(1, P, 32_766, 0);
    it.logged(P, 32_766, 0);
    it.answered(1, Answer::Refused);
    it.stands(P, 0, 3_600);
    assert_eq!(it.found().0, [(C::HangingTransaction, 1)]);
}

/// transaction.version 2: the marker carries the next epoch, with which the next transaction begins; a marker that comes again is nothing.
#[test]
fn markers_of_the_next_epoch_are_right() {
    let mut it = Teller::new();
    for number in 0..3 {
        let epoch = number as i16;
        it.begin(number, 2);
        it.wrote(number, P, epoch, 0);
        it.logged(P, epoch, 0);
        it.ends(number, End::Commit);
        it.marked(P, epoch + 1, End::Commit);
        it.marked(P, epoch + 1, End::Commit);
        it.answered(number, Answer::Done);
    }
    assert_eq!(it.found().0, []);
}

/// KIP-1228: under transaction.version 2 a marker with the epoch of the open transaction is that of an earlier end.
#[test]
fn a_marker_of_the_open_epoch_is_late_under_version_2() {
    for (version, expected) in [(1, vec![]), (2, vec![(C::ZombieWrite, 1)])] {
        let mut it = Teller::new();
        it.begin(1, version);
        it.wrote(1, P, 5, 0);
        it.logged(P, 5, 0);
        it.ends(1, End::Commit);
        it.marked(P, 5, End::Commit);
        it.answered(1, Answer::Done);
        assert_eq!(it.found().0, expected, "version {version}");
    }
}
