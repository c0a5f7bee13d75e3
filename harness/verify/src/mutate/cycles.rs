//! Planted circles, for the search for them (G1c).
//!
//! A victim gets a partner that nobody else knows: each is given what the other wrote. If the victim is not aborted, that is a circle, and
//! as a clean history has none, no other can pass through it.

use std::collections::BTreeSet;

use crate::found::{Found, Place};
use crate::outcome::StreamKey;
use crate::transaction::TransactionKey;
use crate::transaction::cycle::{Cycles, RecordKey};

use super::NEVER_SENT_INCARNATION;
use super::transactions::dice;

/// A search for circles with a fault in front of it.
#[derive(Debug)]
pub struct CycleSaboteur {
    cycles: Cycles,
    seed: u64,
    period: Option<u64>,
    victims: BTreeSet<TransactionKey>,
    planted: u64,
}

impl CycleSaboteur {
    /// Makes a circle of one transaction in about `period`; of none if that is `None`.
    pub fn new(cycles: Cycles, seed: u64, period: Option<u64>) -> Self {
        Self { cycles, seed, period, victims: BTreeSet::new(), planted: 0 }
    }

    /// How many circles must be found.
    pub fn planted(&self) -> u64 {
        self.planted
    }

    fn is_chosen(&self, key: TransactionKey) -> bool {
        let dice = dice(self.seed, key);
        self.period.is_some_and(|period| dice.is_multiple_of(period.max(1)))
    }

    /// See [`Cycles::began`].
    pub fn began(&mut self, key: TransactionKey) {
        self.cycles.began(key);
    }

    /// See [`Cycles::wrote`].
    pub fn wrote(&mut self, key: TransactionKey, record: RecordKey) {
        self.cycles.wrote(key, record);
        if !self.is_chosen(key) || !self.victims.insert(key) {
            return;
        }
        let (partner, answer) = (partner_of(key), record_of_partner(key));
        self.cycles.began(partner);
        self.cycles.wrote(partner, answer);
        self.cycles.read(partner, record);
        self.cycles.read(key, answer);
    }

    /// See [`Cycles::read`].
    pub fn read(&mut self, key: TransactionKey, record: RecordKey) {
        self.cycles.read(key, record);
    }

    /// See [`Cycles::ended`].
    pub fn ended(&mut self, key: TransactionKey, aborted: bool) {
        if self.victims.remove(&key) {
            self.cycles.ended(partner_of(key), false);
            self.planted += u64::from(!aborted);
        }
        self.cycles.ended(key, aborted);
    }

    /// See [`Cycles::finish`].
    pub fn finish(self) -> Found {
        self.cycles.finish()
    }
}

/// The same, under an incarnation that no plan gets to.
fn partner_of(key: TransactionKey) -> TransactionKey {
    let stream = StreamKey { incarnation: NEVER_SENT_INCARNATION - key.stream.incarnation, ..key.stream };
    TransactionKey { stream, ..key }
}

fn record_of_partner(key: TransactionKey) -> RecordKey {
    let place = Place { topic: u16::MAX, partition: 0 };
    RecordKey { place, stream: partner_of(key).stream, pseq: u64::from(key.number) }
}
