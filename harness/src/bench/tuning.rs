//! Which settings each contender is measured with: those that a sweep over its own knobs found best.
//!
//! The sweep goes knob by knob: it starts with the first value of each, tries the others one after the other, and keeps what is
//! better before it goes to the next knob. Flat out, more records per second are better, and less CPU where two are alike; at a fixed
//! rate, a lower p99 is, among settings that keep to the rate. What it found is committed (`docs/evidence/bench-tuning.json`), with all that
//! it tried.

use std::path::Path;

use gauntlet_wire::codec::Codec;
use serde::{Deserialize, Serialize};

use super::contender::{Knob, LINGER, first_settings};
use super::matrix::{Cell, Mode, Pace};
use super::record::{Conditions, Settings};
use super::{BenchError, on_file};
use crate::units::Bytes;

/// Name of the file that a sweep writes.
pub const TUNING_JSON: &str = "bench-tuning.json";
/// Version of its layout.
pub const TUNING_SCHEMA_VERSION: u32 = 1;
/// What was committed.
const COMMITTED: &str = include_str!("../../../docs/evidence/bench-tuning.json");

/// Two results that differ by less are alike.
const ALIKE: f64 = 0.03;
/// A rate is kept to if this part of it is achieved.
pub(super) const KEPT: f64 = 0.98;

/// What one setting came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// The settings, all of them.
    pub settings: Settings,
    /// Records per second.
    pub per_s: f64,
    /// Of the rate that was to be.
    pub achieved_ratio: Option<f64>,
    /// CPU per record.
    pub cpu_ns_per_message: f64,
    /// Latency to the ack.
    pub p99_ms: Option<f64>,
}

/// What was found for a contender and a kind of cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// Who.
    pub contender: String,
    /// The cell that it was found in. It holds for all cells of the same work, size and codec, flat out or not.
    pub cell: Cell,
    /// The best settings.
    pub settings: Settings,
    /// All that was tried, in order.
    pub tried: Vec<Tried>,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// [`TUNING_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it was measured, RFC 3339 in UTC; `None` if nothing was.
    pub measured_at: Option<String>,
    /// On what.
    pub host: Option<String>,
    /// What whoever measured it says of it.
    pub label: Option<String>,
    /// How.
    pub conditions: Option<Conditions>,
    /// What was found.
    pub tuned: Vec<Tuned>,
}

impl Tuning {
    /// What was committed.
    ///
    /// # Errors
    /// It is damaged, which a test rules out.
    pub fn committed() -> Result<Self, BenchError> {
        Self::parse(COMMITTED, Path::new(TUNING_JSON))
    }

    /// From a file.
    ///
    /// # Errors
    /// It can't be read, or is none.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let text = std::fs::read_to_string(path).map_err(on_file("read", path))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, BenchError> {
        let tuning: Tuning = serde_json::from_str(text).map_err(|error| {
            // serde_json tells line and column.
            BenchError::Trial(format!("{} is no file of settings: {error}", path.display()))
        })?;
        if tuning.schema_version != TUNING_SCHEMA_VERSION {
            return Err(BenchError::Trial(format!(
                "{} is of version {}, and this is {TUNING_SCHEMA_VERSION}; make it anew with `gauntlet bench tune`",
                path.display(),
                tuning.schema_version
            )));
        }
        Ok(tuning)
    }

    fn found(&self, contender: &str, cell: Cell) -> Option<&Tuned> {
        self.tuned.iter().find(|tuned| tuned.contender == contender && kind(tuned.cell) == kind(cell))
    }

    /// Whether a sweep found the settings of a contender in a cell.
    #[must_use]
    pub fn knows(&self, contender: &str, cell: Cell) -> bool {
        self.found(contender, cell).is_some()
    }

    /// All settings of a contender in a cell: what was found, and the first value of each knob where nothing was. At a fixed rate the
    /// linger is the same for all.
    ///
    /// # Errors
    /// The file sets what the contender has not.
    pub fn settings(
        &self,
        contender: &str,
        knobs: &[Knob],
        cell: Cell,
        linger_ms: u32,
    ) -> Result<Settings, BenchError> {
        let mut settings = first_settings(knobs);
        for (name, value) in self.found(contender, cell).iter().flat_map(|tuned| &tuned.settings) {
            let Some(setting) = settings.get_mut(name) else {
                return Err(BenchError::Trial(format!(
                    "{TUNING_JSON} sets `{name}` for {contender} in {cell}, which it has not; make it anew with `gauntlet bench tune`"
                )));
            };
            setting.clone_from(value);
        }
        fix_linger(&mut settings, cell, linger_ms);
        Ok(settings)
    }

    /// Keeps what was found, instead of what there was for the same.
    pub fn keep(&mut self, tuned: Tuned) {
        self.tuned.retain(|old| old.contender != tuned.contender || kind(old.cell) != kind(tuned.cell));
        self.tuned.push(tuned);
        self.tuned.sort_by(|a, b| (&a.contender, a.cell).cmp(&(&b.contender, b.cell)));
    }
}

/// Cells that share their settings.
fn kind(cell: Cell) -> (Mode, Bytes, Codec, bool) {
    (cell.mode, cell.size, cell.codec, cell.pace == Pace::FlatOut)
}

/// At a fixed rate all wait equally long for more records, whatever suits them best.
fn fix_linger(settings: &mut Settings, cell: Cell, linger_ms: u32) {
    if cell.pace != Pace::FlatOut
        && let Some(linger) = settings.get_mut(LINGER)
    {
        *linger = linger_ms.to_string();
    }
}

/// The cells that a sweep tunes for: of each kind the one with the highest rate.
#[must_use]
pub fn representatives(cells: &[Cell]) -> Vec<Cell> {
    let mut chosen: Vec<Cell> = Vec::new();
    for cell in cells {
        match chosen.iter_mut().find(|other| kind(**other) == kind(*cell)) {
            Some(other) => *other = (*other).max(*cell),
            None => chosen.push(*cell),
        }
    }
    chosen
}

/// A sweep over the knobs of one contender in one cell. Asks for one setting after the other, and is told what each came to.
#[derive(Debug)]
pub struct KnobSweep {
    cell: Cell,
    /// Settings still to be tried: index of the knob, and of its value.
    left: std::collections::VecDeque<(usize, usize)>,
    knobs: Vec<Knob>,
    best: Option<Tried>,
    first: Settings,
}

impl KnobSweep {
    /// Of these knobs.
    #[must_use]
    pub fn new(knobs: &[Knob], cell: Cell, linger_ms: u32) -> Self {
        let mut first = first_settings(knobs);
        fix_linger(&mut first, cell, linger_ms);
        let is_free = |knob: &Knob| knob.name != LINGER || cell.pace == Pace::FlatOut;
        let knobs: Vec<Knob> = knobs.iter().filter(|knob| is_free(knob)).copied().collect();
        let others = knobs
            .iter()
            .enumerate()
            .flat_map(|(at, knob)| (1..knob.values.len()).map(move |value| (at, value)));
        KnobSweep { cell, left: others.collect(), best: None, first, knobs }
    }

    /// How many settings will be tried.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left.len() + usize::from(self.best.is_none())
    }

    /// Whether all were tried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next setting to try; `None` when all were.
    pub fn next_settings(&mut self) -> Option<Settings> {
        let Some(best) = &self.best else { return Some(self.first.clone()) };
        let (knob, value) = self.left.pop_front()?;
        let mut settings = best.settings.clone();
        settings.insert(self.knobs[knob].name.to_owned(), self.knobs[knob].values[value].to_owned());
        Some(settings)
    }

    /// What the setting asked for last came to.
    pub fn tell(&mut self, tried: Tried) {
        if self.best.as_ref().is_none_or(|best| is_better(self.cell.pace, &tried, best)) {
            self.best = Some(tried);
        }
    }

    /// The best so far.
    #[must_use]
    pub fn best(&self) -> Option<&Settings> {
        self.best.as_ref().map(|best| &best.settings)
    }
}

/// Whether one result beats another by more than chance.
fn is_better(pace: Pace, new: &Tried, old: &Tried) -> bool {
    let less = |new: f64, old: f64| new < old * (1.0 - ALIKE);
    if pace == Pace::FlatOut {
        let alike = !less(new.per_s, old.per_s) && !less(old.per_s, new.per_s);
        return less(old.per_s, new.per_s) || alike && less(new.cpu_ns_per_message, old.cpu_ns_per_message);
    }
    let keeps = |tried: &Tried| tried.achieved_ratio.is_some_and(|ratio| ratio >= KEPT);
    match (keeps(new), keeps(old)) {
        (true, false) => true,
        (false, true) => false,
        (false, false) => less(old.per_s, new.per_s),
        (true, true) => match new.p99_ms.zip(old.p99_ms) {
            Some((new_ms, old_ms)) => less(new_ms, old_ms),
            None => less(new.cpu_ns_per_message, old.cpu_ns_per_message),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::contender;
    use super::super::matrix::Matrix;
    use super::super::options::BenchOptions;
    use super::*;
    use crate::units::Rate;

    const KNOBS: &[Knob] = &[
        Knob { name: LINGER, values: &["20", "5"] },
        Knob { name: "batch", values: &["big", "small"] },
        Knob { name: "flight", values: &["5", "1"] },
    ];

    fn cell(pace: Pace) -> Cell {
        Cell { mode: Mode::Produce, size: Bytes::new(100), codec: Codec::Lz4, pace }
    }

    fn paced() -> Cell {
        cell(Pace::At(Rate::per_second(1_000)))
    }

    fn tried(settings: Settings, per_s: f64, cpu_ns: f64, p99_ms: Option<f64>) -> Tried {
        let achieved_ratio = Some(per_s / 1_000.0);
        Tried { settings, per_s, achieved_ratio, cpu_ns_per_message: cpu_ns, p99_ms }
    }

    #[test]
    fn the_committed_file_is_one() {
        let tuning = Tuning::committed().unwrap();
        for tuned in &tuning.tuned {
            assert!(contender::names().any(|name| name == tuned.contender), "{}", tuned.contender);
        }
    }

    #[test]
    fn a_sweep_keeps_what_is_better_knob_by_knob() {
        let mut sweep = KnobSweep::new(KNOBS, cell(Pace::FlatOut), 20);
        let mut count = 0;
        assert_eq!(sweep.len(), 4);
        while let Some(settings) = sweep.next_settings() {
            count += 1;
            let fast = if settings["batch"] == "small" { 2_000.0 } else { 1_000.0 };
            let cheap = if settings["flight"] == "1" { 100.0 } else { 200.0 };
            sweep.tell(tried(settings, fast, cheap, None));
        }
        assert_eq!((count, sweep.is_empty()), (4, true));
        let best = sweep.best().unwrap();
        assert_eq!(
            (best["batch"].as_str(), best["flight"].as_str(), best[LINGER].as_str()),
            ("small", "1", "20")
        );
    }

    #[test]
    fn at_a_fixed_rate_the_linger_is_not_swept() {
        let mut sweep = KnobSweep::new(KNOBS, paced(), 7);
        assert_eq!(sweep.len(), 3);
        while let Some(settings) = sweep.next_settings() {
            assert_eq!(settings[LINGER], "7");
            sweep.tell(tried(settings, 1_000.0, 100.0, Some(10.0)));
        }
    }

    #[test]
    fn at_a_fixed_rate_keeping_to_it_comes_first() {
        let pace = paced().pace;
        let result = |per_s, p99_ms| tried(Settings::new(), per_s, 100.0, Some(p99_ms));
        assert!(is_better(pace, &result(1_000.0, 90.0), &result(500.0, 5.0)));
        assert!(!is_better(pace, &result(500.0, 5.0), &result(1_000.0, 90.0)));
        assert!(is_better(pace, &result(1_000.0, 80.0), &result(1_000.0, 90.0)));
        assert!(!is_better(pace, &result(1_000.0, 89.0), &result(1_000.0, 90.0)), "that is chance");
    }

    #[test]
    fn settings_are_those_that_were_found_and_complete() {
        let mut tuning = Tuning {
            schema_version: TUNING_SCHEMA_VERSION,
            measured_at: None,
            host: None,
            label: None,
            conditions: None,
            tuned: Vec::new(),
        };
        let found = Settings::from([("batch".to_owned(), "small".to_owned())]);
        let flat = cell(Pace::FlatOut);
        tuning.keep(Tuned { contender: "x".to_owned(), cell: flat, settings: found, tried: Vec::new() });
        let settings = tuning.settings("x", KNOBS, flat, 3).unwrap();
        assert_eq!(
            (settings["batch"].as_str(), settings["flight"].as_str(), settings[LINGER].as_str()),
            ("small", "5", "20")
        );
        let other = tuning.settings("x", KNOBS, paced(), 3).unwrap();
        assert_eq!((other["batch"].as_str(), other[LINGER].as_str()), ("big", "3"), "another kind of cell");
        let error = tuning.settings("x", &KNOBS[..1], flat, 3).unwrap_err().to_string();
        assert!(error.contains("sets `batch` for x"), "{error}");
    }

    #[test]
    fn one_cell_of_each_kind_is_tuned() {
        let matrix: Matrix = BenchOptions::full(1).matrix;
        let chosen = representatives(&matrix.cells());
        // Flat out and paced for writing and both, flat out for reading; two sizes and two codecs.
        assert_eq!(chosen.len(), (2 + 1 + 2) * 4);
        let highest = Pace::At(Rate::per_second(1_000_000));
        assert!(chosen.iter().all(|cell| cell.pace == Pace::FlatOut || cell.pace == highest));
    }
}
