//! Reading the records: whose turn it is, and what to do about what is answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gauntlet_wire::fetch::{FetchFrom, FetchLimits, Fetched};
use gauntlet_wire::{ErrorCode, OffsetSpec, WireError};

use super::cursor::{Cursor, Taken};
use super::{BACKOFF, Live};
use crate::fingerprint::FingerprintError;
use crate::fingerprint::sample::{Bound, Sampler};

/// Partitions in one request.
const PARTITIONS_PER_FETCH: usize = 64;
const FETCH_LIMITS: FetchLimits = FetchLimits {
    bytes: 4 << 20,
    // Small, so that partitions advance side by side; a batch that is larger comes when its partition is first.
    partition_bytes: 64 << 10,
    wait: Duration::from_millis(100),
};

impl Live<'_> {
    /// Reads until all is read or a limit is reached. The partition that is furthest behind in time has its turn next, so that
    /// wherever this ends, all partitions have been read to about the same instant.
    pub(super) fn read(
        &mut self,
        cursors: &mut [Cursor],
        sampler: &mut Sampler,
    ) -> Result<Bound, FingerprintError> {
        let limits = self.asked.limits;
        loop {
            if !cursors.iter().any(Cursor::is_open) {
                return Ok(Bound::Everything);
            }
            // The newest records were counted by their offsets before; some more than wanted are read to the end.
            let enough = limits.records + limits.records / 10;
            if sampler.records() as u64 >= enough {
                return Ok(Bound::Records);
            }
            if sampler.fetched_bytes() >= limits.bytes {
                return Ok(Bound::Bytes);
            }
            if self.left() < Duration::from_millis(1) {
                return Ok(Bound::Timeout);
            }
            self.fetch_next(cursors, sampler)?;
        }
    }

    fn fetch_next(&mut self, cursors: &mut [Cursor], sampler: &mut Sampler) -> Result<(), FingerprintError> {
        cursors.sort_by_key(|cursor| (cursor.at_ms, cursor.partition));
        let now = Instant::now();
        let Some(first) = cursors.iter().find(|cursor| cursor.is_due(now)) else {
            // Each that is open has a time to try again.
            let next = cursors.iter().filter(|cursor| cursor.is_open()).filter_map(Cursor::due_at).min();
            let pause = next.map_or(BACKOFF, |at| at.saturating_duration_since(now));
            std::thread::sleep(pause.min(self.left()));
            return Ok(());
        };
        let first_partition = first.partition;
        let Some(leader) = self.leaders.get(&first_partition).copied() else {
            let code = ErrorCode::LEADER_NOT_AVAILABLE;
            for cursor in
                cursors.iter_mut().filter(|c| c.is_open() && !self.leaders.contains_key(&c.partition))
            {
                cursor.retry_later(self.cannot_read(cursor.partition, None, code).to_string(), now);
            }
            return self.relearn(self.cannot_read(first_partition, None, code));
        };
        let from = self.requested(cursors, leader.node, now);
        let topic = self.asked.topic.as_str();
        match self.connection(leader.node).and_then(|c| c.fetch(topic, &from, FETCH_LIMITS)) {
            Ok(answers) => {
                self.trouble = None;
                self.heard(&answers, (first_partition, leader.node), cursors, sampler)
            }
            // The deadline is seen to by who calls this.
            Err(WireError::Deadline { .. }) => Ok(()),
            Err(error) if error.is_retriable() => {
                // An answer may have been waited for long.
                let now = Instant::now();
                let asked = |cursor: &&mut Cursor| from.iter().any(|from| from.partition == cursor.partition);
                cursors
                    .iter_mut()
                    .filter(asked)
                    .for_each(|cursor| cursor.retry_later(error.to_string(), now));
                self.relearn(error)
            }
            Err(error) => Err(self.wire(error)),
        }
    }

    /// What a broker is asked for: of what it leads, what is furthest behind.
    fn requested(&self, cursors: &[Cursor], node: i32, now: Instant) -> Vec<FetchFrom> {
        let led = |cursor: &Cursor| {
            let leader = self.leaders.get(&cursor.partition).filter(|leader| leader.node == node)?;
            cursor.is_due(now).then_some(FetchFrom {
                partition: cursor.partition,
                offset: cursor.position,
                leader_epoch: leader.epoch,
            })
        };
        cursors.iter().filter_map(led).take(PARTITIONS_PER_FETCH).collect()
    }

    /// Takes what a broker has answered. `asked`: the partition that came first in the request, and the broker.
    fn heard(
        &mut self,
        answers: &[Fetched],
        asked: (i32, i32),
        cursors: &mut [Cursor],
        sampler: &mut Sampler,
    ) -> Result<(), FingerprintError> {
        let (first, node) = asked;
        let now = Instant::now();
        let mut stale = None;
        for answer in answers {
            let Some(cursor) = cursors.iter_mut().find(|c| c.partition == answer.partition) else { continue };
            match cursor.take(answer, sampler) {
                Taken::Records | Taken::Damaged => {}
                // Others may have got nothing because the answer was full.
                Taken::Nothing if cursor.partition != first => {}
                Taken::Nothing => cursor.retry_later(format!("partition {first}: an empty answer"), now),
                Taken::OutOfRange => self.find_place(cursor, node)?,
                Taken::Failed(code) => {
                    let error = self.cannot_read(cursor.partition, Some(node), code);
                    if code.is_retriable() {
                        cursor.retry_later(error.to_string(), now);
                        stale = Some(error);
                    } else {
                        cursor.give_up(error.to_string());
                    }
                }
            }
        }
        stale.map_or(Ok(()), |error| self.relearn(error))
    }

    /// Where to go on in a log that the position is not in. Brokers name no log start beside that error, so it is asked for.
    fn find_place(&mut self, cursor: &mut Cursor, node: i32) -> Result<(), FingerprintError> {
        let (partition, mut found) = (cursor.partition, BTreeMap::new());
        match self.try_offsets(OffsetSpec::Earliest, &[partition], &mut found) {
            Err(error) if error.is_retriable() => cursor.retry_later(error.to_string(), Instant::now()),
            // The deadline is seen to by the loop that reads.
            Err(WireError::Deadline { .. }) => {}
            Err(error) => return Err(self.wire(error)),
            Ok(()) => {
                if !found.get(&partition).is_some_and(|start| cursor.pass_to(start.offset)) {
                    // It ends below: it was truncated, and what was asked for is not there any more.
                    let error = self.cannot_read(partition, Some(node), ErrorCode::OFFSET_OUT_OF_RANGE);
                    cursor.give_up(error.to_string());
                }
            }
        }
        Ok(())
    }
}
