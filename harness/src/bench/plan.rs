//! What a bench will take: trials, wall time, disk. Printed by `--plan`, and checked before anything starts.

use std::path::Path;

use super::contender::Entrant;
use super::curves;
use super::matrix::{Cell, Mode, Pace};
use super::options::{BenchOptions, Work};
use super::payload::RANDOM_FRACTION;
use super::tuning::{KnobSweep, representatives};
use crate::disk::{free_bytes, sample_batch};
use crate::payload::{BodyPlan, IdentityPlace};

/// Bytes of values per second that no contender exceeds flat out on brokers that share its host.
const FLAT_OUT_BYTES_S: f64 = 300e6;
/// A topic's creation, the wait for quiet brokers and for deleted files.
const AROUND_TRIAL_S: f64 = 7.0;
/// A probe's.
const PROBE_S: f64 = 15.0;
/// The cluster's start and end.
const CLUSTER_S: f64 = 40.0;
/// A contender goes on for so long after the window, and has to start and end.
const AROUND_LOAD_S: f64 = 5.0;
/// CPU time to count a record of a long run, about.
const COUNTED_NS: f64 = 300.0;
/// Of the free disk, what a bench may fill at once.
const DISK_SHARE: f64 = 0.6;

/// What a bench will take.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchPlan {
    /// Cells and who takes part in each.
    pub cells: Vec<(Cell, Vec<&'static str>)>,
    /// Trials, without rehearsals.
    pub trials: u32,
    /// Rehearsals.
    pub rehearsals: u32,
    /// Probes.
    pub probes: u32,
    /// How long, about.
    pub wall_s: f64,
    /// Most bytes on all brokers' disks at one time.
    pub disk_bytes: u64,
    /// What is free of the disk of the bench's directory.
    pub disk_free_bytes: Option<u64>,
}

impl BenchPlan {
    /// Of these contenders; `dir` is where it will write.
    #[must_use]
    pub fn new(options: &BenchOptions, entrants: &[Entrant], probes: usize, dir: &Path) -> Self {
        let mut plan = BenchPlan {
            cells: Vec::new(),
            trials: 0,
            rehearsals: 0,
            probes: probes as u32 * u32::from(options.repeats),
            wall_s: 0.0,
            disk_bytes: 0,
            disk_free_bytes: free_bytes(existing_ancestor(dir)),
        };
        let cells = cells(options);
        for &cell in &cells {
            let who: Vec<&Entrant> =
                entrants.iter().filter(|entrant| takes_part(options, entrant, cell)).collect();
            let rehearsals = |entrant: &&Entrant| match cell.mode {
                Mode::Consume => 1,
                _ if cell.pace == Pace::FlatOut && entrant.contender.is_counted() => 2,
                _ => 0,
            };
            plan.rehearsals += who.iter().map(rehearsals).sum::<u32>();
            plan.trials += who.iter().map(|entrant| trials(options, entrant, cell)).sum::<u32>();
            plan.cells.push((cell, who.iter().map(|entrant| entrant.name).collect()));
        }
        let load_s = f64::from(options.warmup_s + options.seconds) + AROUND_LOAD_S;
        plan.wall_s = f64::from(plan.trials) * (load_s + AROUND_TRIAL_S)
            + f64::from(plan.rehearsals) * (AROUND_LOAD_S + AROUND_TRIAL_S)
            + f64::from(plan.probes) * PROBE_S
            + f64::from(options.cluster_warmup_s)
            + CLUSTER_S;
        if options.work == Work::Curves {
            let counted = f64::from(options.curve_minutes) * 60.0 * options.curve_per_s as f64;
            plan.wall_s += counted * COUNTED_NS / 1e9;
        }
        plan.disk_bytes = disk_bytes(options, &cells);
        plan
    }

    /// Why the disk does not suffice, if it does not.
    #[must_use]
    pub fn lacks_disk(&self) -> Option<String> {
        let free = self.disk_free_bytes? as f64;
        (self.disk_bytes as f64 > free * DISK_SHARE).then(|| {
            format!(
                "a trial may fill {:.1} GB of disk, and {:.1} GB are free, of which {:.0} % may be used; shorten `--seconds`, \
                 leave out a size or `max`, or write elsewhere with --out",
                self.disk_bytes as f64 / 1e9,
                free / 1e9,
                DISK_SHARE * 100.0
            )
        })
    }
}

/// Cells that a bench has to do with.
fn cells(options: &BenchOptions) -> Vec<Cell> {
    let all = options.matrix.cells();
    match options.work {
        Work::Peers => all,
        Work::Tune => representatives(&all),
        Work::Curves => vec![curves::cell(options.curve_per_s)],
    }
}

/// Whether a contender has trials of its own in a cell.
#[must_use]
pub fn takes_part(options: &BenchOptions, entrant: &Entrant, cell: Cell) -> bool {
    let has_knobs = options.work != Work::Tune || entrant.tuned_as() == entrant.name;
    let has_brokers = !entrant.contender.is_secured() || is_secured(options, entrant);
    has_knobs && has_brokers && entrant.contender.does(cell)
}

/// Whether a contender needs brokers of its own that are secured. There are none beside those of somebody else.
#[must_use]
pub fn is_secured(options: &BenchOptions, entrant: &Entrant) -> bool {
    options.work == Work::Peers && options.bootstrap.is_empty() && entrant.contender.is_secured()
}

/// Trials of one contender in one cell.
fn trials(options: &BenchOptions, entrant: &Entrant, cell: Cell) -> u32 {
    let repeats = u32::from(options.repeats);
    match options.work {
        Work::Peers => repeats,
        Work::Tune => {
            let knobs = entrant.contender.knobs(cell.mode);
            repeats * KnobSweep::new(&knobs, cell, options.linger_ms).len() as u32
        }
        Work::Curves => curves::points(options).len() as u32,
    }
}

/// The directory is made later.
fn existing_ancestor(dir: &Path) -> &Path {
    let here = Path::new(".");
    dir.ancestors().find(|path| path.exists()).filter(|path| !path.as_os_str().is_empty()).unwrap_or(here)
}

/// Bytes of one replica per record of a cell.
fn stored_bytes(cell: Cell) -> f64 {
    let body = BodyPlan::Random(RANDOM_FRACTION);
    sample_batch(cell.size.get() as usize, (&body, IdentityPlace::Value), cell.codec, 131_072)
        .bytes_per_record()
}

/// The largest topic of a trial, and those that stay because they are only read.
fn disk_bytes(options: &BenchOptions, cells: &[Cell]) -> u64 {
    let load_s = f64::from(options.warmup_s + options.seconds) + AROUND_LOAD_S;
    let replicas = f64::from(options.replication_factor);
    let (mut largest, mut kept) = (0f64, 0f64);
    for &cell in cells {
        let most = FLAT_OUT_BYTES_S / cell.size.get().max(1) as f64;
        let per_s = match cell.pace {
            Pace::At(rate) => most.min(rate.per_s() as f64),
            Pace::FlatOut => most,
        };
        match cell.mode {
            Mode::Consume => {
                kept += options.consumed_records(cell.size) as f64 * stored_bytes(cell) * replicas;
            }
            _ => largest = largest.max(per_s * load_s * stored_bytes(cell) * replicas),
        }
    }
    (largest + kept) as u64
}

#[cfg(test)]
mod tests {
    use super::super::contender::{self, Kit};
    use super::*;

    #[test]
    fn a_full_bench_takes_hours_and_a_small_one_a_minute() {
        let full = BenchPlan::new(&BenchOptions::full(1), &[], 6, Path::new("/nonexistent/dir"));
        assert_eq!((full.cells.len(), full.trials, full.probes), (20 + 4 + 20, 0, 30));
        assert!(full.disk_free_bytes.is_some());
        // 300 MB/s for 25 s, three times.
        assert!((20e9..45e9).contains(&(full.disk_bytes as f64)), "{}", full.disk_bytes);
        let small = BenchPlan::new(&BenchOptions::ci(1), &[], 0, Path::new("."));
        assert!(small.wall_s < 60.0 && small.disk_bytes < 100_000_000, "{small:?}");
    }

    #[test]
    fn every_work_has_a_plan_of_its_own() {
        let plan = |work| {
            let only = ["wire", "wire-unchecked"].map(str::to_owned).to_vec();
            let options = BenchOptions { only, ..BenchOptions::full(1) }.of(work);
            let kit = Kit { cache: "/nonexistent".into(), gauntlet: "gauntlet".into(), kafka_home: None };
            let (entrants, _) = contender::find(&kit, &options.only, &mut |_| {});
            BenchPlan::new(&options, &entrants, 0, Path::new("."))
        };
        let both =
            |plan: &BenchPlan| plan.cells.iter().find(|(cell, _)| cell.mode == Mode::Both).unwrap().1.clone();
        let (peers, tune, curves) = (plan(Work::Peers), plan(Work::Tune), plan(Work::Curves));
        assert_eq!(both(&peers), ["wire", "wire-unchecked"]);
        assert_eq!(both(&tune), ["wire"], "the other has its settings");
        assert!(tune.cells.len() < peers.cells.len(), "one cell of each kind");
        // Numbers of producers, and of partitions.
        assert_eq!((curves.cells.len(), curves.trials, curves.rehearsals), (1, 8, 0));
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused() {
        let mut plan = BenchPlan::new(&BenchOptions::ci(1), &[], 0, Path::new("."));
        assert_eq!(plan.lacks_disk(), None);
        plan.disk_free_bytes = Some(plan.disk_bytes);
        assert!(plan.lacks_disk().unwrap().contains("--seconds"));
    }
}
