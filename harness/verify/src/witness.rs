//! Evidence: which records, where, and in which batch, for the first and the worst findings of a class.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BatchHeader, FindingClass, StreamKey};

/// One finding: a run of neighbouring records of one stream, or one record without a readable identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Name of the topic.
    pub topic: String,
    /// Partition whose log was read.
    pub partition: u32,
    /// Offset at which the first record was read, if it was.
    pub read_offset: Option<i64>,
    /// Offset that the ack gave to the first record, if it gave one.
    pub acked_offset: Option<i64>,
    /// The run.
    pub run: u32,
    /// The stream, if the identity is known.
    pub stream: Option<StreamKey>,
    /// Sequence number of the first record, if the identity is known.
    pub first_pseq: Option<u64>,
    /// How many neighbouring records.
    pub count: u64,
    /// Header of the batch that was read, if the finding was made while reading it.
    pub batch: Option<BatchHeader>,
    /// What else there is to say: the two epochs, the two watermarks, the right partition.
    pub detail: Option<String>,
    /// Who did it, where that can be told from what was seen.
    pub blame: Option<Blame>,
}

/// Who is to blame for a finding. Said only where the evidence leaves no other explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The client sent the record again where no broker could tell: under another producer id or epoch, or without
    /// idempotence.
    ClientResent,
    /// A broker appended what it must refuse: a batch of a producer id and epoch that the log already holds.
    BrokerAppendedTwice,
    /// After the ack the log was cut off below the record: another record lies at its offset, or the log ends before it.
    LogTruncated,
    /// A leader appended a batch of a transaction that the log had ended, or took it into the next one (KIP-890).
    BrokerAppendedLate,
    /// A coordinator ended a transaction otherwise than it was asked to, or than it answered.
    CoordinatorEndedOtherwise,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientResent => "the client sent it again under a new identity, or without idempotence",
            Self::BrokerAppendedTwice => "a broker appended the batch again",
            Self::LogTruncated => "the log was cut off below it after the ack",
            Self::BrokerAppendedLate => "a broker appended it when its transaction was over",
            Self::CoordinatorEndedOtherwise => {
                "a coordinator ended the transaction otherwise than it was asked, or than it answered"
            }
        })
    }
}

impl Witness {
    /// `count` offsets of a place from `first` on, whoever wrote what lies there.
    pub(crate) fn of_offsets(
        topic: String,
        partition: u32,
        run: u32,
        (first, count): (i64, u64),
        detail: String,
    ) -> Self {
        Self {
            topic,
            partition,
            read_offset: Some(first),
            acked_offset: None,
            run,
            stream: None,
            first_pseq: None,
            count,
            batch: None,
            detail: Some(detail),
            blame: None,
        }
    }

    /// Where in the log the finding lies, for ordering.
    fn place(&self) -> i64 {
        self.read_offset.or(self.acked_offset).unwrap_or(i64::MAX)
    }

    fn first_key(&self) -> (i64, &Witness) {
        (self.place(), self)
    }

    fn worst_key(&self) -> (Reverse<u64>, i64, &Witness) {
        (Reverse(self.count), self.place(), self)
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.stream, self.first_pseq) {
            (Some(stream), Some(first)) => {
                write!(f, "producer {} incarnation {} ", stream.producer, stream.incarnation)?;
                match self.count {
                    1 => write!(f, "pseq {first}")?,
                    count => write!(f, "pseq {first}..={} ({count} records)", first + count - 1)?,
                }
            }
            _ if self.count > 1 => write!(f, "{} records of unknown identity", self.count)?,
            _ => f.write_str("record of unknown identity")?,
        }
        write!(f, " in {}-{}", self.topic, self.partition)?;
        if let Some(offset) = self.acked_offset {
            write!(f, ", acked at offset {offset}")?;
        }
        match self.read_offset {
            Some(offset) => write!(f, ", read at offset {offset}")?,
            None => f.write_str(", not read")?,
        }
        if let Some(batch) = &self.batch {
            write!(f, ", in {batch}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, "; {detail}")?;
        }
        if let Some(blame) = self.blame {
            write!(f, "; {blame}")?;
        }
        write!(f, " (run {:08x})", self.run)
    }
}

/// The first and the worst few findings of one class. Bounded; which are kept does not depend on the
/// order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemplars {
    limit: usize,
    first: Vec<Witness>,
    worst: Vec<Witness>,
}

impl Exemplars {
    /// Keeps up to `limit` of either kind.
    pub fn new(limit: usize) -> Self {
        Self { limit, first: Vec::new(), worst: Vec::new() }
    }

    /// Those lowest in the log.
    pub fn first(&self) -> &[Witness] {
        &self.first
    }

    /// Those with the most records.
    pub fn worst(&self) -> &[Witness] {
        &self.worst
    }

    /// True if a finding of `count` records at `place` may still be kept. Spares the caller building a
    /// witness that is thrown away: a log that is all duplicates has millions.
    fn wants(&self, place: i64, count: u64) -> bool {
        self.first.len() < self.limit
            || self.first.last().is_some_and(|last| place <= last.place())
            || self.worst.last().is_some_and(|least| count >= least.count)
    }

    fn insert(&mut self, witness: Witness) {
        if let Err(at) = self.first.binary_search_by(|w| w.first_key().cmp(&witness.first_key()))
            && at < self.limit
        {
            self.first.insert(at, witness.clone());
            self.first.truncate(self.limit);
        }
        if let Err(at) = self.worst.binary_search_by(|w| w.worst_key().cmp(&witness.worst_key()))
            && at < self.limit
        {
            self.worst.insert(at, witness);
            self.worst.truncate(self.limit);
        }
    }

    /// Takes the evidence of another partition in.
    pub fn merge(&mut self, other: &Exemplars) {
        self.limit = self.limit.max(other.limit);
        for witness in other.first.iter().chain(&other.worst) {
            self.insert(witness.clone());
        }
    }
}

/// Evidence of all classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    limit: usize,
    by_class: BTreeMap<FindingClass, Exemplars>,
}

impl Evidence {
    /// Keeps up to `limit` first and `limit` worst findings of each class.
    pub fn new(limit: usize) -> Self {
        Self { limit, by_class: BTreeMap::new() }
    }

    /// The exemplars of a class, if there was any finding.
    pub fn get(&self, class: FindingClass) -> Option<&Exemplars> {
        self.by_class.get(&class)
    }

    /// Every class with findings.
    pub fn iter(&self) -> impl Iterator<Item = (FindingClass, &Exemplars)> {
        self.by_class.iter().map(|(class, exemplars)| (*class, exemplars))
    }

    /// True if [`Evidence::insert`] would keep a finding of `count` records at offset `place`.
    pub(crate) fn wants(&self, class: FindingClass, place: Option<i64>, count: u64) -> bool {
        let place = place.unwrap_or(i64::MAX);
        self.limit > 0 && self.by_class.get(&class).is_none_or(|kept| kept.wants(place, count))
    }

    /// Adds one finding.
    pub fn insert(&mut self, class: FindingClass, witness: Witness) {
        self.by_class.entry(class).or_insert_with(|| Exemplars::new(self.limit)).insert(witness);
    }

    /// Takes the evidence of another partition in. Associative and commutative for equal limits.
    pub fn merge(&mut self, other: &Evidence) {
        self.limit = self.limit.max(other.limit);
        for (class, exemplars) in &other.by_class {
            self.by_class.entry(*class).or_insert_with(|| Exemplars::new(self.limit)).merge(exemplars);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn witness(offset: i64, count: u64) -> Witness {
        Witness {
            topic: "t".to_owned(),
            partition: 3,
            read_offset: Some(offset),
            acked_offset: None,
            run: 0xAB,
            stream: Some(StreamKey { producer: 1, incarnation: 2 }),
            first_pseq: Some(40),
            count,
            batch: None,
            detail: None,
            blame: None,
        }
    }

    fn evidence(findings: &[(i64, u64)]) -> Evidence {
        let mut evidence = Evidence::new(3);
        for (offset, count) in findings {
            if evidence.wants(FindingClass::Lost, Some(*offset), *count) {
                evidence.insert(FindingClass::Lost, witness(*offset, *count));
            }
        }
        evidence
    }

    fn merged(left: &Evidence, right: &Evidence) -> Evidence {
        let mut both = left.clone();
        both.merge(right);
        both
    }

    proptest! {
        #[test]
        fn keeps_first_and_worst_whatever_the_order(
            findings in prop::collection::vec((0i64..50, 1u64..20), 1..30),
            cuts in (0usize..30, 0usize..30),
        ) {
            let all = evidence(&findings);
            let mut expected: Vec<_> = findings.clone();
            expected.sort_unstable();
            expected.dedup();
            let kept = all.get(FindingClass::Lost).unwrap();
            let first: Vec<_> = kept.first().iter().map(|w| (w.place(), w.count)).collect();
            prop_assert_eq!(&first, &expected[..expected.len().min(3)]);
            expected.sort_unstable_by_key(|(offset, count)| (Reverse(*count), *offset));
            let worst: Vec<_> = kept.worst().iter().map(|w| (w.place(), w.count)).collect();
            prop_assert_eq!(&worst, &expected[..expected.len().min(3)]);

            let (low, high) = (cuts.0.min(cuts.1).min(findings.len()), cuts.0.max(cuts.1).min(findings.len()));
            let [a, b, c] = [&findings[..low], &findings[low..high], &findings[high..]].map(evidence);
            prop_assert_eq!(merged(&merged(&a, &b), &c), all.clone());
            prop_assert_eq!(merged(&a, &merged(&b, &c)), all.clone());
            prop_assert_eq!(merged(&c, &merged(&b, &a)), all);
        }
    }

    #[test]
    fn reads_like_a_sentence() {
        let mut w = witness(900, 3);
        w.acked_offset = Some(890);
        assert_eq!(
            w.to_string(),
            "producer 1 incarnation 2 pseq 40..=42 (3 records) in t-3, acked at offset 890, \
             read at offset 900 (run 000000ab)"
        );
        w.read_offset = None;
        w.count = 1;
        assert_eq!(
            w.to_string(),
            "producer 1 incarnation 2 pseq 40 in t-3, acked at offset 890, not read (run 000000ab)"
        );
    }
}
