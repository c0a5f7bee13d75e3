//! Who is measured. A contender is a program that writes or reads records, how it is started with its settings, and how what it
//! says is read. One file each; whatever a machine has not is skipped by name.

mod franz_go;
mod kafka_tools;
mod peer_build;
mod rdkafka;
mod rdkafka_performance;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gauntlet_reports::record::LatencyMs;

use super::BenchError;
use super::matrix::{Cell, Mode, Pace};
use super::record::{ContenderRecord, Settings, SkippedRecord};

/// Contenders go on for so long after the window, so that it does not see their end.
const TAIL: Duration = Duration::from_secs(1);
/// The setting that is the same for all at a fixed rate. Every contender calls it so.
pub const LINGER: &str = "linger.ms";

/// The contender that others are compared with.
pub const REFERENCE: &str = wire::CHECKED;
/// The same without its checker.
pub const UNCHECKED: &str = wire::UNCHECKED;
/// librdkafka, with the same records at the same times.
pub const LIBRDKAFKA: &str = rdkafka::NAME;
/// A franz-go client.
pub const FRANZ_GO: &str = franz_go::NAME;

/// What contenders are made of.
#[derive(Debug, Clone)]
pub struct Kit {
    /// Where jars are, and what was built of peers.
    pub cache: PathBuf,
    /// This program.
    pub gauntlet: PathBuf,
    /// A distribution of Kafka to use instead of resolving one.
    pub kafka_home: Option<PathBuf>,
}

/// One trial, as its contender has to know it.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// What is measured.
    pub cell: Cell,
    /// With which settings, all of them.
    pub settings: &'a Settings,
    /// Where the brokers are.
    pub bootstrap: &'a [String],
    /// How scenarios connect to them, as YAML; `None` if they are not secured.
    pub security: Option<&'a str>,
    /// Where records go to, or come from.
    pub topic: &'a str,
    /// Its partitions.
    pub partitions: u32,
    /// A directory of the trial's own.
    pub dir: &'a Path,
    /// Payloads, one per line.
    pub payloads: &'a Path,
    /// Seed of payloads.
    pub seed: u64,
    /// Id of the run whose records are in a topic that is only read.
    pub run: u32,
    /// Load before the window.
    pub warmup: Duration,
    /// Length of the window.
    pub length: Duration,
    /// How many records to write or read, for who has to be told; a guess, where it depends on the contender's speed.
    pub records: u64,
}

impl Trial<'_> {
    /// How long to write.
    #[must_use]
    pub fn load_time(&self) -> Duration {
        self.warmup + self.length + TAIL
    }

    /// Of the records, those in the warm-up.
    #[must_use]
    pub fn warmup_records(&self) -> u64 {
        (self.records as f64 * self.warmup.as_secs_f64() / self.load_time().as_secs_f64()) as u64
    }

    /// Records per second, if the rate is fixed.
    #[must_use]
    pub fn per_s(&self) -> Option<u64> {
        match self.cell.pace {
            Pace::FlatOut => None,
            Pace::At(rate) => Some(rate.per_s()),
        }
    }

    /// A setting by its name; every contender's are complete.
    #[must_use]
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// Addresses as every client takes them.
    #[must_use]
    pub fn servers(&self) -> String {
        self.bootstrap.join(",")
    }
}

/// Something that can be set, with the values that a sweep tries. The first one holds where nothing was tried.
#[derive(Debug, Clone, Copy)]
pub struct Knob {
    /// The contender's name for it.
    pub name: &'static str,
    /// Values.
    pub values: &'static [&'static str],
}

/// What a contender said at its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// Its latency to the ack.
    pub latency_ms: Option<LatencyMs>,
    /// Intended send time to decoded.
    pub e2e_ms: Option<LatencyMs>,
    /// Of a reader: records that it read, and seconds from the first to the last.
    pub read: Option<Read>,
}

/// What a reader said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Read {
    /// Records.
    pub records: u64,
    /// From the first to the last.
    pub seconds: f64,
}

/// A program that is measured.
pub trait Contender {
    /// Its name, what it is, and what has to be known to compare it.
    fn describe(&self) -> ContenderRecord;

    /// The contender whose settings it has, if two are to differ in one thing alone; as a rule it has its own.
    fn tuned_as(&self) -> Option<&'static str> {
        None
    }

    /// Whether its brokers are secured: they are others than those of the rest, and run beside them.
    fn is_secured(&self) -> bool {
        false
    }

    /// Whether it can do that.
    fn does(&self, cell: Cell) -> bool;

    /// What can be set for such work.
    fn knobs(&self, mode: Mode) -> Vec<Knob>;

    /// Whether it stops after a number of records, instead of after a time.
    fn is_counted(&self) -> bool;

    /// The command of a trial. May write files into the trial's directory.
    ///
    /// # Errors
    /// They can't be written.
    fn command(&self, trial: &Trial<'_>) -> Result<Command, BenchError>;

    /// Whether such an exit code is that of a trial that can be read.
    fn ended_well(&self, code: Option<i32>) -> bool {
        code == Some(0)
    }

    /// What it said; the error is why that can't be used.
    ///
    /// # Errors
    /// It did not say what it should, or that something went wrong.
    fn read(&self, trial: &Trial<'_>) -> Result<Said, String>;
}

/// A contender that is not on this machine: what is missing, and the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

type Find = fn(&Kit) -> Result<Box<dyn Contender>, Missing>;

/// Contenders that only take part if they are named: what they need would be in the way of the others.
const ON_REQUEST: [&str; 1] = [wire::SECURED];

/// All contenders there are. A new one is a file and a line here.
const ALL: [(&str, Find); 7] = [
    (wire::CHECKED, wire::find_checked),
    (wire::UNCHECKED, wire::find_unchecked),
    (wire::SECURED, wire::find_secured),
    (rdkafka::NAME, rdkafka::find),
    (kafka_tools::NAME, kafka_tools::find),
    (rdkafka_performance::NAME, rdkafka_performance::find),
    (franz_go::NAME, franz_go::find),
];

/// Names of all contenders.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// A contender that takes part.
pub struct Entrant {
    /// Its name.
    pub name: &'static str,
    /// It.
    pub contender: Box<dyn Contender>,
}

impl Entrant {
    /// The contender under whose name its settings were found.
    #[must_use]
    pub fn tuned_as(&self) -> &'static str {
        self.contender.tuned_as().unwrap_or(self.name)
    }
}

/// Whether one of this name is asked for by these (none: all but those that have to be named).
fn is_wanted(name: &str, only: &[String]) -> bool {
    if only.is_empty() { !ON_REQUEST.contains(&name) } else { only.iter().any(|wanted| wanted == name) }
}

/// Finds the contenders that are asked for, building what has to be built. `tell` hears what takes a while.
pub fn find(kit: &Kit, only: &[String], tell: &mut dyn FnMut(&str)) -> (Vec<Entrant>, Vec<SkippedRecord>) {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for (name, find) in ALL.iter().filter(|(name, _)| is_wanted(name, only)) {
        tell(&format!("looking for {name}"));
        match find(kit) {
            Ok(contender) => found.push(Entrant { name, contender }),
            Err(Missing(why)) => skipped.push(SkippedRecord { name: (*name).to_owned(), why }),
        }
    }
    (found, skipped)
}

/// The settings that hold where nothing was tried.
#[must_use]
pub fn first_settings(knobs: &[Knob]) -> Settings {
    let first = |knob: &Knob| Some((knob.name.to_owned(), (*knob.values.first()?).to_owned()));
    knobs.iter().filter_map(first).collect()
}

/// What a contender printed in a trial.
fn printed(trial: &Trial<'_>) -> Result<String, String> {
    let path = trial.dir.join(super::child::STDOUT);
    std::fs::read(&path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| format!("what it printed can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_different_and_fit_into_topic_names() {
        let all: BTreeSet<_> = names().collect();
        assert_eq!(all.len(), ALL.len());
        assert!(
            all.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'_'))
        );
        assert!(all.contains(REFERENCE) && all.contains(LIBRDKAFKA) && all.contains(FRANZ_GO));
    }

    #[test]
    fn every_contender_has_its_linger_and_no_empty_knob() {
        for knobs in [
            wire::PRODUCE,
            rdkafka::PRODUCE,
            kafka_tools::PRODUCE,
            rdkafka_performance::PRODUCE,
            franz_go::PRODUCE,
        ] {
            assert!(knobs.iter().any(|knob| knob.name == LINGER));
            assert!(knobs.iter().all(|knob| !knob.values.is_empty()));
            assert_eq!(first_settings(knobs).len(), knobs.len(), "no name twice");
        }
    }
}
