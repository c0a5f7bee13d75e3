//! All contenders in all cells, in turns, and what follows from it.

use super::*;

/// Measures everything. What goes wrong in a trial is in its record.
///
/// # Errors
/// The cluster does not start, or files can't be written. What was found until then is in the directory.
pub fn bench(run: BenchRun<'_>) -> Result<BenchRecord, BenchError> {
    let mut session = Session::start(run)?;
    let measured = session.measure_all();
    if let Err(error) = &measured {
        (session.run.tell)(BenchNews::Note(&error.to_string()));
    }
    let interrupted = matches!(measured, Err(BenchError::Interrupted));
    session.record.complete = measured.is_ok();
    session.conclude();
    if measured.is_ok() && session.run.options.profiles {
        session.explain();
    }
    session.write()?;
    session.clear_up();
    let ended = session.end();
    match measured {
        Err(error) if !interrupted => Err(error),
        _ => ended,
    }
}

impl Session<'_> {
    fn measure_all(&mut self) -> Result<(), BenchError> {
        let entrants = self.run.entrants;
        let cells = self.run.options.matrix.cells();
        let pairs: Vec<(&Entrant, Cell)> = cells
            .iter()
            .flat_map(|&cell| entrants.iter().map(move |entrant| (entrant, cell)))
            .filter(|(entrant, cell)| takes_part(self.run.options, entrant, *cell))
            .collect();
        for &(entrant, cell) in &pairs {
            self.rehearse(entrant, cell)?;
        }
        let groups = vec![0; pairs.len()];
        let options = self.run.options;
        let slots = order::order(&groups, options.repeats, SweepOrder::Shuffled, options.seed);
        for repeat in 1..=options.repeats {
            for (index, _) in slots.iter().filter(|slot| slot.1 == repeat) {
                let (entrant, cell) = pairs[*index];
                let settings = self.settings(entrant, cell)?;
                self.trial(&Attempt { repeat, ..self.first_attempt(entrant, cell, settings) })?;
            }
            self.probe_all(repeat)?;
        }
        Ok(())
    }

    /// Computes what follows from the trials.
    fn conclude(&mut self) {
        self.record.summary = summary::summarise(&self.record.trials);
        self.record.goals = goal::judge(&self.record.conditions, &self.record.trials, &self.record.probes);
        self.write_page();
    }

    fn write_page(&mut self) {
        let page = render::markdown(&self.record);
        if let Err(error) = self.run.dir.replace(BENCH_MARKDOWN, page.as_bytes()) {
            (self.run.tell)(BenchNews::Note(&error.to_string()));
        }
    }

    /// Measures every missed goal once more, under `perf`; those that share a cell share a profile.
    fn explain(&mut self) {
        let missed: Vec<String> = self
            .record
            .goals
            .iter()
            .filter(|goal| goal.reached == goal::Reached::Missed)
            .map(|goal| goal.id.clone())
            .collect();
        let mut made: BTreeMap<String, String> = BTreeMap::new();
        for id in missed {
            if self.run.interrupt.is_set() {
                return;
            }
            let name = goal::explained_by(&id).map_or_else(
                || format!("bench-profile-{id}"),
                |(who, cell)| format!("bench-profile-{who}-{}", cell.to_string().replace([' ', '/'], "-")),
            );
            if !made.contains_key(&name) {
                (self.run.tell)(BenchNews::Phase(&format!("{id} was missed: profiling ({name})")));
                let explained =
                    self.profile(&id, &name).unwrap_or_else(|error| format!("no profile: {error}"));
                made.insert(name.clone(), explained);
            }
            let profile = made.get(&name).cloned();
            for goal in self.record.goals.iter_mut().filter(|goal| goal.id == id) {
                goal.profile.clone_from(&profile);
            }
        }
        self.write_page();
    }

    /// The name of the file with the profile that explains a goal.
    fn profile(&mut self, id: &str, name: &str) -> Result<String, BenchError> {
        let data = self.run.dir.file(&format!("{name}.perf"));
        profile::check()?;
        match goal::explained_by(id) {
            None => {
                let (probe, codec) = if id == "d" { (NULL_SINK, Some(Codec::Lz4)) } else { (CHECKER, None) };
                let command = self.probe_command(probe, Bytes::new(100), codec);
                self.work(profile::recorded(&command, &data), name)?;
            }
            Some((who, cell)) => {
                let entrants = self.run.entrants;
                let entrant = entrants.iter().find(|entrant| entrant.name == who);
                let entrant = entrant.ok_or_else(|| BenchError::Trial(format!("{who} did not take part")))?;
                let settings = self.settings(entrant, cell)?;
                let profile = Some(data.clone());
                let attempt = Attempt { profile, ..self.first_attempt(entrant, cell, settings) };
                self.attempt(&attempt)?.map_err(BenchError::Trial)?;
            }
        }
        let text = profile::report(&data)?;
        let file = format!("{name}.txt");
        self.run.dir.replace(&file, text.as_bytes())?;
        Ok(file)
    }
}
