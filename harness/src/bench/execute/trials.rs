//! One trial: a rehearsal where one is needed, its topic, its process, and what became of it.

use super::*;

/// So much longer than planned may a trial take.
const GRACE: Duration = Duration::from_secs(90);
/// A contender that counts is told to send so much more than its rehearsal promises: its end must not come before the window's.
const COUNT_MARGIN: f64 = 1.25;
/// Records that a reader reads to find out what starting it costs.
const STARTUP_RECORDS: u64 = 1_000;
/// A disk that is fuller than this ends a trial.
const DISK_FULL: f64 = 0.9;
const MIB: f64 = 1_048_576.0;

/// One trial to be run.
pub(super) struct Attempt<'e> {
    /// By whom.
    pub(super) entrant: &'e Entrant,
    pub(super) cell: Cell,
    pub(super) settings: Settings,
    pub(super) repeat: u16,
    /// How many, if it is known; else 0.
    pub(super) records: u64,
    pub(super) partitions: u32,
    /// A file for a profile, if it is to be profiled.
    pub(super) profile: Option<PathBuf>,
}

/// What came of it, with what is needed to plan others.
pub(super) struct Outcome {
    pub(super) measured: Measured,
    pub(super) overall_per_s: Option<f64>,
}

impl Session<'_> {
    /// One that counts for nothing yet.
    pub(super) fn first_attempt<'e>(
        &self,
        entrant: &'e Entrant,
        cell: Cell,
        settings: Settings,
    ) -> Attempt<'e> {
        let partitions = self.run.options.partitions;
        Attempt { entrant, cell, settings, repeat: 0, records: 0, partitions, profile: None }
    }

    /// Finds out what has to be known before a cell can be measured: how much a contender that counts is to send, or what it costs
    /// to start one that reads. A rehearsal that fails is told; its trials then begin with a guess, or fail in their turn.
    pub(super) fn rehearse(&mut self, entrant: &Entrant, cell: Cell) -> Result<(), BenchError> {
        if entrant.contender.is_secured() {
            return self.warm_up_secured(entrant, cell);
        }
        let counted = cell.pace == Pace::FlatOut && entrant.contender.is_counted();
        let records = match cell.mode {
            Mode::Consume => STARTUP_RECORDS,
            _ if counted => self.run.options.rehearsal_bytes / cell.size.get().max(1),
            _ => return Ok(()),
        };
        let settings = self.settings(entrant, cell)?;
        self.trial(&Attempt { records, ..self.first_attempt(entrant, cell, settings.clone()) })?;
        if cell.mode == Mode::Consume {
            return Ok(());
        }
        // As long as a trial, by what the first has shown: that was over before a compiler was warm, and trials that were planned by it
        // ended too soon to have a result.
        self.trial(&self.first_attempt(entrant, cell, settings))
    }

    /// The warm-up of secured brokers is trials that count for nothing: nobody else can write to them.
    fn warm_up_secured(&mut self, entrant: &Entrant, cell: Cell) -> Result<(), BenchError> {
        let length = Duration::from_secs(self.run.options.cluster_warmup_s.into());
        while self.secured_warmed < length {
            let begun = Instant::now();
            let settings = self.settings(entrant, cell)?;
            self.trial(&self.first_attempt(entrant, cell, settings))?;
            self.secured_warmed += begun.elapsed();
        }
        Ok(())
    }

    /// One trial and its record. Only what makes all others impossible is an error.
    pub(super) fn trial(&mut self, attempt: &Attempt<'_>) -> Result<(), BenchError> {
        if self.run.interrupt.is_set() {
            return Err(BenchError::Interrupted);
        }
        let began_s = self.begun.elapsed().as_secs_f64();
        let outcome = self.attempt(attempt)?;
        let number = self.record.trials.len() as u32 + 1;
        let mut trial = TrialRecord {
            number,
            repeat: attempt.repeat,
            contender: attempt.entrant.name.to_owned(),
            cell: attempt.cell,
            settings: attempt.settings.clone(),
            tuned: self.is_tuned(attempt),
            began_s,
            measured: None,
            failed: None,
        };
        match outcome {
            Ok(outcome) => {
                self.learn(attempt, &outcome);
                trial.measured = Some(outcome.measured);
            }
            Err(why) => trial.failed = Some(why),
        }
        (self.run.tell)(BenchNews::Trial(&trial));
        self.record.trials.push(trial);
        self.write()
    }

    /// What later trials of the same are planned by. Every one that counts its records tells anew how many it manages: a rehearsal
    /// is short, and its brokers and its own compiler were cold.
    fn learn(&mut self, attempt: &Attempt<'_>, outcome: &Outcome) {
        let key = (attempt.entrant.name, attempt.cell);
        if attempt.cell.mode != Mode::Consume {
            self.seen_per_s.extend(outcome.overall_per_s.map(|per_s| (key, per_s)));
        } else if attempt.repeat == 0 {
            self.startup_cpu_s.insert(key, outcome.measured.cpu_total_s);
        }
    }

    /// The inner error is why this trial has no result; the outer one is why there can be no more.
    pub(super) fn attempt(&mut self, attempt: &Attempt<'_>) -> Result<Result<Outcome, String>, BenchError> {
        let number = self.record.trials.len() + 1;
        let dir = self.run.dir.file("trials").join(format!("{number:04}-{}", attempt.entrant.name));
        std::fs::create_dir_all(&dir).map_err(on_file("create", &dir))?;
        self.wait_until_quiet();
        let tried = if attempt.cell.mode == Mode::Consume {
            self.reading(attempt, &dir)
        } else {
            let brokers = self.brokers_of(attempt.entrant);
            let mut topic = self.new_topic(brokers, &number.to_string(), attempt.partitions)?;
            let tried = self.writing(attempt, &dir, &mut topic);
            let note = brokers.delete(&topic)?;
            self.note(note);
            tried
        };
        match tried {
            Ok(outcome) => Ok(Ok(outcome)),
            // A broker that did not answer once, a program that did not start: the next trial may be better off. Brokers that
            // are gone refuse its topic, and that ends the bench.
            Err(error @ (BenchError::Trial(_) | BenchError::Wire(_) | BenchError::Run { .. })) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn new_trial<'t>(
        &'t self,
        attempt: &'t Attempt<'_>,
        dir: &'t Path,
        topic: &'t str,
        records: u64,
    ) -> Trial<'t> {
        let (options, brokers) = (self.run.options, self.brokers_of(attempt.entrant));
        Trial {
            cell: attempt.cell,
            settings: &attempt.settings,
            bootstrap: brokers.bootstrap(),
            security: brokers.security(),
            topic,
            partitions: attempt.partitions,
            dir,
            payloads: self.payloads.get(&attempt.cell.size).map_or(dir, PathBuf::as_path),
            seed: options.seed,
            run: self.fill_run(),
            warmup: Duration::from_secs(u64::from(options.warmup_s)),
            length: Duration::from_secs(u64::from(options.seconds)),
            records,
        }
    }

    /// Records that a contender is to write.
    pub(super) fn records_for(&self, attempt: &Attempt<'_>, load: Duration) -> u64 {
        if attempt.records > 0 {
            return attempt.records;
        }
        let per_s = match attempt.cell.pace {
            Pace::At(rate) => rate.per_s() as f64,
            Pace::FlatOut => {
                let key = (attempt.entrant.name, attempt.cell);
                let guess = self.run.options.rehearsal_bytes as f64 / attempt.cell.size.get().max(1) as f64;
                self.seen_per_s.get(&key).map_or(guess, |per_s| per_s * COUNT_MARGIN)
            }
        };
        (per_s * load.as_secs_f64()) as u64
    }

    pub(super) fn writing(
        &self,
        attempt: &Attempt<'_>,
        dir: &Path,
        topic: &mut TrialTopic,
    ) -> Result<Outcome, BenchError> {
        let name = topic.name().to_owned();
        let (contender, brokers) = (attempt.entrant.contender.as_ref(), self.brokers_of(attempt.entrant));
        let mut trial = self.new_trial(attempt, dir, &name, 0);
        trial.records = self.records_for(attempt, trial.load_time());
        let mut contestant = self.start_contestant(contender, &trial, attempt.profile.as_deref())?;
        let deadline = Instant::now() + trial.load_time() * 2 + GRACE;
        let disk = self.run.dir.path();
        let seen = |contestant: &mut Contestant| {
            if crate::disk::used_fraction(disk).is_some_and(|used| used > DISK_FULL) {
                return Err(BenchError::Trial("the disk is full; it was ended".to_owned()));
            }
            look(contestant, brokers, topic)
        };
        let (looks, ended) = watch(&mut contestant, seen, deadline, &self.stop())?;
        let said = said(contender, &trial, ended)?;
        let written = topic.ends.sum()?;
        let stored = brokers.log_bytes(topic).filter(|_| written > 0);
        let replicas = f64::from(self.run.options.replication_factor);
        let stored_bytes_per_record = stored.map(|bytes| bytes as f64 / written as f64 / replicas);
        let measured = if attempt.repeat == 0 {
            rehearsed(&looks, ended, written)
        } else {
            cut(&trial, &looks, ended, said)?
        };
        let measured = Measured { stored_bytes_per_record, ..measured };
        Ok(Outcome { measured, overall_per_s: overall_per_s(&looks) })
    }

    pub(super) fn start_contestant(
        &self,
        contender: &dyn Contender,
        trial: &Trial<'_>,
        profile: Option<&Path>,
    ) -> Result<Contestant, BenchError> {
        let mut command = contender.command(trial)?;
        if let Some(data) = profile {
            command = profile::recorded(&command, data);
        }
        Contestant::start(&mut command, trial.dir)
    }

    /// A topic with so many records, filled once.
    fn filled(&mut self, size: Bytes, codec: Codec, records: u64) -> Result<String, BenchError> {
        let key = (size, codec, records);
        if let Some(topic) = self.filled.get(&key) {
            return Ok(topic.name().to_owned());
        }
        let text = format!("writing {records} records of {size} to be read, {}", codec.name());
        (self.run.tell)(BenchNews::Phase(&text));
        let name = format!("read-{size}-{}-{records}", codec.name());
        let topic = self.new_topic(&self.brokers, &name, self.run.options.partitions)?;
        let name = topic.name().to_owned();
        if let Err(error) = self.fill(&topic, size, codec, records) {
            let note = self.brokers.delete(&topic)?;
            self.note(note);
            return Err(error);
        }
        self.filled.insert(key, topic);
        self.wait_until_quiet();
        Ok(name)
    }

    /// What is only read. Nobody can see from outside how far a reader is, so its CPU is that of its whole life, less that of
    /// one that reads next to nothing.
    fn reading(&mut self, attempt: &Attempt<'_>, dir: &Path) -> Result<Outcome, BenchError> {
        let cell = attempt.cell;
        let all = self.run.options.consumed_records(cell.size);
        let records = if attempt.records > 0 { attempt.records } else { all };
        let topic = self.filled(cell.size, cell.codec, records)?;
        let trial = self.new_trial(attempt, dir, &topic, records);
        let contender = attempt.entrant.contender.as_ref();
        let (host, brokers_s) = (HostTicks::now(), self.brokers.cpu_s());
        let mut contestant = self.start_contestant(contender, &trial, attempt.profile.as_deref())?;
        let deadline = Instant::now() + GRACE * 2;
        let (_, ended) = watch(&mut contestant, |_| Ok(None), deadline, &self.stop())?;
        let said = said(contender, &trial, ended)?;
        let read = said.read.ok_or_else(|| BenchError::Trial("it did not say what it read".to_owned()))?;
        if read.records < records {
            return Err(BenchError::Trial(format!("it read {} of {records} records", read.records)));
        }
        let cpu_s = ended.cpu_s - self.startup_cpu_s(attempt)?;
        if cpu_s <= 0.0 {
            let text = "it took no more CPU than to start; have it read more".to_owned();
            return Err(BenchError::Trial(text));
        }
        let read_records = read.records as f64;
        let brokers_s = self.brokers.cpu_s().zip(brokers_s).map(|(to, from)| to - from);
        let measured = Measured {
            seconds: read.seconds,
            records: read.records,
            // A rehearsal may be over within the clock's resolution.
            per_s: read_records / read.seconds.max(1e-3),
            achieved_ratio: None,
            cpu_ns_per_message: cpu_s * 1e9 / read_records,
            cpu_total_s: ended.cpu_s,
            rss_mib: ended.rss_bytes as f64 / MIB,
            latency_ms: None,
            e2e_ms: None,
            broker_cpu_ns_per_message: brokers_s.map(|seconds| seconds * 1e9 / read_records),
            stored_bytes_per_record: None,
            host: HostTicks::now().zip(host).and_then(|(to, from)| to.since(&from)),
        };
        Ok(Outcome { measured, overall_per_s: None })
    }

    /// What it costs to start the reader of an attempt; nothing is taken off of what finds that out.
    fn startup_cpu_s(&self, attempt: &Attempt<'_>) -> Result<f64, BenchError> {
        if attempt.repeat == 0 {
            return Ok(0.0);
        }
        let known = self.startup_cpu_s.get(&(attempt.entrant.name, attempt.cell)).copied();
        known.ok_or_else(|| {
            BenchError::Trial("its rehearsal failed, so nobody knows what starting it costs".to_owned())
        })
    }
}

/// What a contender said; that it failed is said with its last words.
fn said(contender: &dyn Contender, trial: &Trial<'_>, ended: Ended) -> Result<Said, BenchError> {
    if !contender.ended_well(ended.code) {
        let how = ended.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        return Err(BenchError::Trial(format!("it ended with {how}: {}", last_words(trial.dir))));
    }
    contender.read(trial).map_err(BenchError::Trial)
}

/// Cuts the window out of what was seen.
fn cut(trial: &Trial<'_>, looks: &[Look], ended: Ended, said: Said) -> Result<Measured, BenchError> {
    let window = window(looks, trial.warmup, trial.length).map_err(BenchError::Trial)?;
    let (records, per_s) = (window.records as f64, window.records as f64 / window.seconds);
    Ok(Measured {
        seconds: window.seconds,
        records: window.records,
        per_s,
        achieved_ratio: trial.per_s().map(|target| per_s / target as f64),
        cpu_ns_per_message: window.cpu_s * 1e9 / records,
        cpu_total_s: ended.cpu_s,
        rss_mib: ended.rss_bytes as f64 / MIB,
        latency_ms: said.latency_ms,
        e2e_ms: said.e2e_ms,
        broker_cpu_ns_per_message: window.broker_cpu_s.map(|seconds| seconds * 1e9 / records),
        stored_bytes_per_record: None,
        host: window.host,
    })
}

/// A rehearsal, warm-up and all: it may be too short for a window, and nothing is made of it but the rate.
fn rehearsed(looks: &[Look], ended: Ended, written: u64) -> Measured {
    let seconds =
        looks.first().zip(looks.last()).map_or(0.0, |(from, to)| (to.at_ns - from.at_ns) as f64 / 1e9);
    Measured {
        seconds,
        records: written,
        per_s: overall_per_s(looks).unwrap_or(0.0),
        achieved_ratio: None,
        cpu_ns_per_message: ended.cpu_s * 1e9 / written.max(1) as f64,
        cpu_total_s: ended.cpu_s,
        rss_mib: ended.rss_bytes as f64 / MIB,
        latency_ms: None,
        e2e_ms: None,
        broker_cpu_ns_per_message: None,
        stored_bytes_per_record: None,
        host: None,
    }
}
