//! librdkafka under gauntlet's own schedule, with gauntlet's records, recorder and checker (`driver: rdkafka`): what differs from
//! [`wire`] is the client alone.
//!
//! Of its CPU at rates that the brokers hardly take, a part is waiting: while a partition has messages queued and all requests
//! that may be under way are, librdkafka's broker threads ask again and again instead of sleeping
//! (`rd_kafka_toppar_producer_serve` of 2.12 sets the next wake-up to now).

use std::process::Command;

use super::{Contender, Kit, Knob, LINGER, Missing, Said, Trial, wire};
use crate::bench::BenchError;
use crate::bench::matrix::{Cell, Mode};
use crate::bench::record::{ContenderRecord, LatencyFrom};

pub(super) const NAME: &str = "rdkafka";

/// How many requests may wait for a broker before batches are left to grow.
const BACKPRESSURE: Knob =
    Knob { name: "rdkafka.queue.buffering.backpressure.threshold", values: &["1", "10", "100"] };

pub(super) const PRODUCE: &[Knob] = &[
    Knob { name: LINGER, values: &["20", "5", "50"] },
    Knob { name: "batch.size", values: &["262144", "65536", "1048576"] },
    Knob { name: "buffer.memory", values: &["268435456", "67108864"] },
    Knob { name: "max.in.flight.requests.per.connection", values: &["5", "2", "1"] },
    BACKPRESSURE,
    Knob { name: "producers", values: &["1", "2"] },
];

struct Rdkafka {
    kit: Kit,
}

pub(super) fn find(kit: &Kit) -> Result<Box<dyn Contender>, Missing> {
    if !cfg!(feature = "rdkafka") {
        return Err(Missing("this gauntlet was built without its feature `rdkafka`".to_owned()));
    }
    Ok(Box::new(Rdkafka { kit: kit.clone() }))
}

impl Contender for Rdkafka {
    fn describe(&self) -> ContenderRecord {
        ContenderRecord {
            name: NAME.to_owned(),
            what: format!("gauntlet {} with `driver: rdkafka`", env!("CARGO_PKG_VERSION")),
            latency_from: LatencyFrom::Intended,
            note: Some(
                "librdkafka with gauntlet's records and checker; all but the client is that of `wire`. Its threads poll without \
                 waiting while records are queued and all requests that may be under way are"
                    .to_owned(),
            ),
        }
    }

    fn does(&self, cell: Cell) -> bool {
        cell.mode != Mode::Consume
    }

    fn knobs(&self, mode: Mode) -> Vec<Knob> {
        if mode == Mode::Both { [PRODUCE, wire::CONSUME].concat() } else { PRODUCE.to_vec() }
    }

    fn is_counted(&self) -> bool {
        false
    }

    fn command(&self, trial: &Trial<'_>) -> Result<Command, BenchError> {
        wire::run_command(&self.kit, trial, true, NAME)
    }

    fn ended_well(&self, code: Option<i32>) -> bool {
        wire::run_ended_well(code)
    }

    fn read(&self, trial: &Trial<'_>) -> Result<Said, String> {
        wire::said_by_run(trial, true)
    }
}
