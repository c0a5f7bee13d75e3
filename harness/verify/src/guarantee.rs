//! What a configuration promises about records, and the names for the usual promises.

use serde::{Deserialize, Serialize};

/// The `acks` setting of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acks {
    /// `acks=0`: the producer does not wait.
    None,
    /// `acks=1`: the leader has it.
    Leader,
    /// `acks=all`: every in-sync replica has it.
    All,
}

/// The settings that decide what may be promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerSemantics {
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`.
    pub idempotent: bool,
    /// `transactional.id` is set; implies idempotence.
    pub transactional: bool,
    /// `retries > 0`.
    pub retries: bool,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: u32,
    /// `unclean.leader.election.enable` of the topic.
    pub unclean_election: bool,
    /// The reader's `isolation.level` is `read_committed`.
    pub read_committed: bool,
}

/// How far the order of one stream is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Not at all: a retry may overtake.
    None,
    /// Acked records lie in the order sent; one that timed out may still land behind its successors.
    Acked,
    /// Every record lies in the order sent: the broker refuses a sequence out of order.
    All,
}

/// What is promised. A finding against a promise is a violation; without the promise it is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarantee {
    /// An acked record is never lost.
    pub durable: bool,
    /// A record is in the log at most once.
    pub unique: bool,
    /// How far the order within an incarnation holds.
    pub ordered: Order,
    /// A reader sees all of a transaction or nothing.
    pub atomic: bool,
}

/// Named guarantees, as scenarios write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Nothing is promised.
    None,
    /// Unique.
    AtMostOnce,
    /// Durable.
    AtLeastOnce,
    /// Durable, unique and ordered.
    Idempotent,
    /// Durable, unique, ordered and atomic.
    ExactlyOnce,
}

impl Preset {
    /// Every preset, weakest first.
    pub const ALL: [Preset; 5] =
        [Self::None, Self::AtMostOnce, Self::AtLeastOnce, Self::Idempotent, Self::ExactlyOnce];

    /// What the name stands for.
    pub fn guarantee(self) -> Guarantee {
        let none = Guarantee { durable: false, unique: false, ordered: Order::None, atomic: false };
        match self {
            Self::None => none,
            Self::AtMostOnce => Guarantee { unique: true, ..none },
            Self::AtLeastOnce => Guarantee { durable: true, ..none },
            Self::Idempotent => Guarantee { durable: true, unique: true, ordered: Order::All, atomic: false },
            Self::ExactlyOnce => Guarantee { durable: true, unique: true, ordered: Order::All, atomic: true },
        }
    }
}

impl From<Preset> for Guarantee {
    fn from(preset: Preset) -> Self {
        preset.guarantee()
    }
}

impl Guarantee {
    /// The most that a configuration gives.
    ///
    /// durable = acks=all and no unclean election. unique = idempotent, transactional, or no retries.
    /// ordered = idempotent; with one request in flight, or no retries, among acked records only: a
    /// request that timed out may be appended after its successors, and was never acked.
    /// atomic = transactional and read at read_committed.
    pub fn derive(semantics: &ProducerSemantics) -> Self {
        let idempotent = semantics.idempotent || semantics.transactional;
        let ordered = if idempotent {
            Order::All
        } else if semantics.max_in_flight <= 1 || !semantics.retries {
            Order::Acked
        } else {
            Order::None
        };
        Self {
            durable: semantics.acks == Acks::All && !semantics.unclean_election,
            unique: idempotent || !semantics.retries,
            ordered,
            atomic: semantics.transactional && semantics.read_committed,
        }
    }

    /// True if all four properties are promised in full.
    pub fn is_exactly_once(&self) -> bool {
        *self == Preset::ExactlyOnce.guarantee()
    }

    /// True if this promises something that `given` does not: a scenario that declares more than its
    /// configuration gives is a test of that difference.
    pub fn exceeds(&self, given: &Guarantee) -> bool {
        self.durable && !given.durable
            || self.unique && !given.unique
            || self.ordered > given.ordered
            || self.atomic && !given.atomic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: ProducerSemantics = ProducerSemantics {
        acks: Acks::All,
        idempotent: true,
        transactional: false,
        retries: true,
        max_in_flight: 5,
        unclean_election: false,
        read_committed: false,
    };

    #[test]
    fn presets_keep_their_names() {
        let names: Vec<String> = Preset::ALL.iter().map(|p| serde_json::to_string(p).unwrap()).collect();
        let expected =
            ["\"none\"", "\"at-most-once\"", "\"at-least-once\"", "\"idempotent\"", "\"exactly-once\""];
        assert_eq!(names, expected);
    }

    #[test]
    fn derivation_follows_the_settings() {
        let plain = ProducerSemantics { idempotent: false, ..SAFE };
        let one_in_flight = ProducerSemantics { max_in_flight: 1, ..plain };
        let no_retries = ProducerSemantics { retries: false, ..plain };
        let transactional = ProducerSemantics { transactional: true, read_committed: true, ..SAFE };
        let cases = [
            (SAFE, Preset::Idempotent.guarantee()),
            (plain, Preset::AtLeastOnce.guarantee()),
            (one_in_flight, Guarantee { durable: true, unique: false, ordered: Order::Acked, atomic: false }),
            (no_retries, Guarantee { durable: true, unique: true, ordered: Order::Acked, atomic: false }),
            (transactional, Preset::ExactlyOnce.guarantee()),
            (ProducerSemantics { read_committed: false, ..transactional }, Preset::Idempotent.guarantee()),
        ];
        for (semantics, expected) in cases {
            assert_eq!(Guarantee::derive(&semantics), expected, "{semantics:?}");
        }
    }

    #[test]
    fn durability_needs_acks_all_and_clean_elections() {
        for weak in [
            ProducerSemantics { acks: Acks::Leader, ..SAFE },
            ProducerSemantics { acks: Acks::None, ..SAFE },
            ProducerSemantics { unclean_election: true, ..SAFE },
        ] {
            assert!(!Guarantee::derive(&weak).durable, "{weak:?}");
        }
    }

    #[test]
    fn exceeds_is_strict() {
        let given = Preset::AtLeastOnce.guarantee();
        assert!(Preset::Idempotent.guarantee().exceeds(&given));
        assert!(Preset::AtMostOnce.guarantee().exceeds(&given));
        assert!(!given.exceeds(&given));
        assert!(!Preset::None.guarantee().exceeds(&given));
    }
}
