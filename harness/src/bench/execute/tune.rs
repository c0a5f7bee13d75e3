//! The knobs of every contender, one after the other.

use super::*;

/// Looks for the best settings of every contender, and writes them to [`TUNING_JSON`] as they are found, in place of those that
/// the run began with.
///
/// # Errors
/// As [`bench`].
pub fn tune(run: BenchRun<'_>) -> Result<(), BenchError> {
    let mut session = Session::start(run)?;
    let mut tuning = Tuning {
        measured_at: Some(session.record.started_at.clone()),
        host: Some(session.record.host.clone()),
        label: session.record.label.clone(),
        conditions: Some(session.record.conditions.clone()),
        ..session.run.tuning.clone()
    };
    let tuned = session.tune_all(&mut tuning);
    session.record.complete = tuned.is_ok();
    session.write()?;
    session.clear_up();
    session.brokers.end()?;
    tuned
}

impl Session<'_> {
    fn tune_all(&mut self, tuning: &mut Tuning) -> Result<(), BenchError> {
        let entrants = self.run.entrants;
        let cells = representatives(&self.run.options.matrix.cells());
        for cell in cells {
            for entrant in entrants.iter().filter(|entrant| takes_part(self.run.options, entrant, cell)) {
                self.rehearse(entrant, cell)?;
                if let Some(tuned) = self.tune_one(entrant, cell)? {
                    (self.run.tell)(BenchNews::Phase(&render::tuned(&tuned)));
                    tuning.keep(tuned);
                    self.keep(TUNING_JSON, tuning)?;
                }
            }
        }
        self.keep(TUNING_JSON, tuning)
    }

    /// Every setting is measured as often as there are repeats; their medians count. `None` if not one could be measured.
    fn tune_one(&mut self, entrant: &Entrant, cell: Cell) -> Result<Option<Tuned>, BenchError> {
        let options = self.run.options;
        let mut sweep = KnobSweep::new(&entrant.contender.knobs(cell.mode), cell, options.linger_ms);
        let mut all = Vec::new();
        while let Some(settings) = sweep.next_settings() {
            let before = self.record.trials.len();
            for repeat in 1..=options.repeats {
                let attempt = self.first_attempt(entrant, cell, settings.clone());
                self.trial(&Attempt { repeat, ..attempt })?;
            }
            let summary = summary::summarise(&self.record.trials[before..]);
            let tried = summary.first().and_then(|summary| {
                Some(Tried {
                    settings: settings.clone(),
                    per_s: summary.per_s?.median,
                    achieved_ratio: summary.achieved_ratio.map(|spread| spread.median),
                    cpu_ns_per_message: summary.cpu_ns?.median,
                    p99_ms: summary.p99_ms.map(|spread| spread.median),
                })
            });
            match tried {
                Some(tried) => {
                    sweep.tell(tried.clone());
                    all.push(tried);
                }
                None if all.is_empty() => return Ok(None),
                None => {}
            }
        }
        let best = sweep.best().cloned();
        Ok(best.map(|settings| Tuned { contender: entrant.name.to_owned(), cell, settings, tried: all }))
    }
}
