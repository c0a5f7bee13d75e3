//! How far a partition has been read, and what an answer of a broker does to that. No I/O.

use std::time::{Duration, Instant};

use gauntlet_wire::ErrorCode;
use gauntlet_wire::batch::next_batch;
use gauntlet_wire::fetch::Fetched;

use crate::fingerprint::sample::{Coverage, Sampler};
use crate::fingerprint::window::{Begin, Log};

/// Pause before a partition that gave trouble is asked for again: longer than finding the leaders anew takes, so that others have
/// their turns meanwhile, though this one is furthest behind.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How far a partition has been read.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) partition: i32,
    begins_late: bool,
    /// Next offset to read.
    pub(super) position: i64,
    /// Offset to end at: what came behind it after the sample was begun is not read.
    end: i64,
    /// Time of what was read last.
    pub(super) at_ms: i64,
    /// What is dated later is no time to go by.
    latest_ms: i64,
    read: bool,
    /// What went wrong the last time, and nothing went well since.
    trouble: Option<String>,
    /// When to try again after that; `None`: never.
    retry_at: Option<Instant>,
}

/// What an answer has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Records.
    Records,
    /// None, which means nothing where the answer may have been full.
    Nothing,
    /// The position is not in the log.
    OutOfRange,
    /// An error.
    Failed(ErrorCode),
    /// Bytes that can't be gone on from.
    Damaged,
}

impl Cursor {
    pub(super) fn new(partition: i32, begin: Begin, log: Log, latest_ms: i64) -> Self {
        Cursor {
            partition,
            begins_late: begin.late,
            position: begin.offset,
            end: log.end,
            at_ms: i64::MIN,
            latest_ms,
            read: false,
            trouble: None,
            retry_at: None,
        }
    }

    /// Whether there is more to read, and hope of it.
    pub(super) fn is_open(&self) -> bool {
        self.position < self.end && (self.trouble.is_none() || self.retry_at.is_some())
    }

    /// When it may be asked for.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_open() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// It gave trouble that may pass. How long that may last is up to the deadline of the whole.
    pub(super) fn retry_later(&mut self, why: String, now: Instant) {
        self.trouble = Some(why);
        self.retry_at = Some(now + RETRY_AFTER);
    }

    /// There is no more to be had of it.
    pub(super) fn give_up(&mut self, why: String) {
        self.trouble = Some(why);
        self.retry_at = None;
    }

    /// Goes on where the log begins by now, as retention was faster. `false`: the position is not below that.
    pub(super) fn pass_to(&mut self, log_start: i64) -> bool {
        if log_start <= self.position {
            return false;
        }
        if log_start >= self.end {
            self.give_up("all that was asked for was deleted meanwhile".to_owned());
            return true;
        }
        self.position = log_start;
        self.begins_late = true;
        (self.trouble, self.retry_at) = (None, None);
        true
    }

    /// What is covered of it, if anything is known.
    pub(super) fn coverage(&self) -> Option<Coverage> {
        (self.read || self.position >= self.end).then_some(Coverage {
            partition: self.partition as u32,
            begins_late: self.begins_late,
            ends_early: self.position < self.end,
        })
    }

    /// Why it was not read to its end, where that is trouble and no limit.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| self.position < self.end)
    }

    /// Whether part of it was read before the trouble.
    pub(super) fn is_half_read(&self) -> bool {
        self.read && self.trouble().is_some()
    }

    /// Whether its turn never came.
    pub(super) fn is_unreached(&self) -> bool {
        !self.read && self.position < self.end && self.trouble.is_none()
    }

    /// Adds what was answered.
    pub(super) fn take(&mut self, answer: &Fetched, sampler: &mut Sampler) -> Taken {
        sampler.count_fetched(answer.records.len());
        if answer.error == ErrorCode::OFFSET_OUT_OF_RANGE {
            return Taken::OutOfRange;
        }
        if !answer.error.is_ok() {
            return Taken::Failed(answer.error);
        }
        let mut data = &answer.records[..];
        let before = self.position;
        while self.position < self.end {
            let (header, length) = match next_batch(data) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    // Without a length there is no next batch to go on with.
                    sampler.unreadable(&error);
                    self.give_up(error.to_string());
                    return Taken::Damaged;
                }
            };
            let (batch, rest) = data.split_at(length);
            data = rest;
            let next = header.last_offset() + 1;
            if next <= self.position {
                continue;
            }
            let added = header
                .verify_crc(batch)
                .and_then(|()| sampler.batch(self.partition as u32, &header, batch, self.position..self.end));
            if let Err(error) = added {
                sampler.unreadable(&error);
            }
            self.position = next;
            if header.max_timestamp_ms <= self.latest_ms {
                self.at_ms = self.at_ms.max(header.max_timestamp_ms);
            }
            self.read = true;
        }
        if self.position == before {
            return Taken::Nothing;
        }
        (self.trouble, self.retry_at) = (None, None);
        Taken::Records
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gauntlet_wire::batch::{BatchBuilder, BatchStamp, RecordSpec};
    use gauntlet_wire::codec::Codec;

    use super::*;
    use crate::fingerprint::sample::Ending;

    /// Batches of five records, a millisecond each, with offsets from `first_offset` on.
    fn log(first_offset: i64, batches: i64) -> Vec<u8> {
        let mut log = Vec::new();
        for first in (0..batches).map(|batch| first_offset + batch * 5) {
            let mut builder = BatchBuilder::new(Codec::None);
            for offset in first..first + 5 {
                let spec = RecordSpec {
                    timestamp_ms: offset,
                    key: None,
                    value_bytes: 10,
                    own_header: None,
                    headers: &[],
                };
                builder.append(&spec, |_| {});
            }
            let mut bytes = builder.seal(BatchStamp::NONE).bytes().to_vec();
            // As the broker does; the CRC does not cover it.
            bytes[..8].copy_from_slice(&first.to_be_bytes());
            log.extend(bytes);
        }
        log
    }

    /// With the log start that brokers answer beside an error.
    fn answer(error: ErrorCode, records: Vec<u8>) -> Fetched {
        Fetched {
            partition: 0,
            error,
            log_start_offset: -1,
            high_watermark: -1,
            records: Bytes::from(records),
        }
    }

    fn cursor(offset: i64, end: i64) -> Cursor {
        Cursor::new(0, Begin { offset, late: false }, Log { start: 0, end }, 1_000)
    }

    #[test]
    fn only_what_lies_between_position_and_end_is_taken() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(7, 18));
        assert_eq!(cursor.take(&answer(ErrorCode::NONE, log(5, 4)), &mut sampler), Taken::Records);
        assert_eq!((sampler.records(), cursor.position, cursor.at_ms), (11, 20, 19));
        assert!(!cursor.is_open());
        assert_eq!(cursor.coverage().map(|c| c.ends_early), Some(false));
    }

    #[test]
    fn a_batch_that_was_cut_is_read_with_the_next_answer() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(0, 10));
        let mut cut = log(0, 2);
        cut.truncate(cut.len() - 1);
        cursor.take(&answer(ErrorCode::NONE, cut), &mut sampler);
        assert_eq!((sampler.records(), cursor.position, cursor.is_open()), (5, 5, true));
        assert_eq!(cursor.coverage().map(|c| c.ends_early), Some(true), "if it ended here");
        cursor.take(&answer(ErrorCode::NONE, log(5, 1)), &mut sampler);
        assert_eq!((sampler.records(), cursor.is_open()), (10, false));
    }

    #[test]
    fn what_was_deleted_meanwhile_is_passed_over() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(7, 50));
        let out_of_range = answer(ErrorCode::OFFSET_OUT_OF_RANGE, Vec::new());
        assert_eq!(cursor.take(&out_of_range, &mut sampler), Taken::OutOfRange);
        assert!(cursor.pass_to(40));
        assert_eq!((cursor.position, cursor.is_open()), (40, true));
        assert!(!cursor.pass_to(40), "the log was truncated, not expired");
        cursor.take(&answer(ErrorCode::NONE, log(40, 1)), &mut sampler);
        assert_eq!(cursor.coverage().map(|c| c.begins_late), Some(true));
        assert!(cursor.pass_to(50));
        assert!(!cursor.is_open() && cursor.is_half_read());
    }

    #[test]
    fn trouble_is_tried_again_however_often_it_comes() {
        let (mut sampler, mut cursor, now) = (Sampler::new(1), cursor(0, 10), Instant::now());
        assert!(cursor.is_due(now) && cursor.is_unreached());
        for _ in 0..50 {
            assert_eq!(
                cursor.take(&answer(ErrorCode::NOT_LEADER_OR_FOLLOWER, Vec::new()), &mut sampler),
                Taken::Failed(ErrorCode::NOT_LEADER_OR_FOLLOWER)
            );
            cursor.retry_later("not the leader".to_owned(), now);
            assert!(cursor.is_open() && !cursor.is_due(now) && cursor.is_due(now + RETRY_AFTER));
        }
        assert_eq!((cursor.trouble(), cursor.coverage()), (Some("not the leader"), None));
        assert!(!cursor.is_unreached() && !cursor.is_half_read());
        cursor.take(&answer(ErrorCode::NONE, log(0, 1)), &mut sampler);
        assert_eq!((cursor.trouble(), cursor.is_due(now)), (None, true), "it is over");
        cursor.give_up("for good".to_owned());
        assert!(!cursor.is_open() && cursor.is_half_read());
    }

    #[test]
    fn a_damaged_batch_is_counted_and_passed_over() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(0, 10));
        let mut damaged = log(0, 2);
        damaged[70] ^= 1;
        cursor.take(&answer(ErrorCode::NONE, damaged), &mut sampler);
        let sample = sampler.finish(Ending::default(), &[]);
        assert_eq!((sample.records.len(), sample.unreadable_batches), (5, 1));
        assert!(sample.unreadable_because.is_some_and(|why| why.contains("CRC")));
    }

    #[test]
    fn a_log_without_batches_is_given_up() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(0, 10));
        let mut old = log(0, 2);
        let second = old.len() / 2;
        old[second + 16] = 1;
        assert_eq!(cursor.take(&answer(ErrorCode::NONE, old), &mut sampler), Taken::Damaged);
        assert!(!cursor.is_open() && cursor.is_half_read());
    }

    #[test]
    fn a_date_ahead_is_no_time_to_go_by() {
        let (mut sampler, mut cursor) = (Sampler::new(1), cursor(995, 1_010));
        cursor.take(&answer(ErrorCode::NONE, log(995, 3)), &mut sampler);
        assert_eq!((sampler.records(), cursor.at_ms), (15, 999));
    }
}
