//! librdkafka under gauntlet's own schedule, with gauntlet's records, recorder and checker (`driver: rdkafka`): what differs from
//! [`wire`] is the client alone.

use std::process::Command;

use super::{Contender, Kit, Knob, Missing, Said, Trial, wire};
use crate::bench::BenchError;
use crate::bench::matrix::{Cell, Mode};
use crate::bench::record::{ContenderRecord, LatencyFrom};

pub(super) const NAME: &str = "rdkafka";

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
                "librdkafka with gauntlet's records and checker; all but the client is that of `wire`"
                    .to_owned(),
            ),
        }
    }

    fn does(&self, cell: Cell) -> bool {
        cell.mode != Mode::Consume
    }

    fn knobs(&self, mode: Mode) -> &'static [Knob] {
        if mode == Mode::Both { wire::BOTH } else { wire::PRODUCE }
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
