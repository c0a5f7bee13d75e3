//! gauntlet's client over numbers of producers and partitions, and over time.

use super::*;

/// Runs gauntlet's client over numbers of producers and partitions, and counts an hour. Writes [`CURVES_JSON`] as it goes.
///
/// # Errors
/// As [`bench`].
pub fn curves(run: BenchRun<'_>) -> Result<CurvesRecord, BenchError> {
    let mut session = Session::start(run)?;
    let mut record = CurvesRecord {
        schema_version: CURVES_SCHEMA_VERSION,
        started_at: session.record.started_at.clone(),
        label: session.record.label.clone(),
        gauntlet: session.record.gauntlet.clone(),
        kafka: session.record.kafka.clone(),
        host: session.record.host.clone(),
        per_s: session.run.options.curve_per_s,
        conditions: Conditions { linger_ms: curve::LINGER_MS, ..session.record.conditions.clone() },
        points: Vec::new(),
        hour: None,
        hour_failed: None,
    };
    let drawn = session.draw_curves(&mut record);
    session.brokers.end()?;
    drawn.map(|()| record)
}

impl Session<'_> {
    fn draw_curves(&mut self, record: &mut CurvesRecord) -> Result<(), BenchError> {
        let entrants = self.run.entrants;
        let Some(entrant) = entrants.iter().find(|entrant| entrant.name == REFERENCE) else {
            return Err(BenchError::Trial(format!(
                "curves are drawn of `{REFERENCE}`, which does not take part"
            )));
        };
        let cell = curve::cell(record.per_s);
        for (producers, partitions) in curve::points(self.run.options) {
            let mut settings = self.settings(entrant, cell)?;
            settings.insert("producers".to_owned(), producers.to_string());
            settings.insert(LINGER.to_owned(), curve::LINGER_MS.to_string());
            let attempt = Attempt { partitions, repeat: 1, ..self.first_attempt(entrant, cell, settings) };
            self.trial(&attempt)?;
            let last = self.record.trials.last();
            record.points.push(CurvePoint {
                producers,
                partitions,
                measured: last.and_then(|trial| trial.measured.clone()),
                failed: last.and_then(|trial| trial.failed.clone()),
            });
            self.keep(CURVES_JSON, record)?;
        }
        (self.run.tell)(BenchNews::Phase("counting a long run"));
        match self.count_hour() {
            Ok(hour) => record.hour = Some(hour),
            Err(BenchError::Interrupted) => return Err(BenchError::Interrupted),
            Err(error) => record.hour_failed = Some(error.to_string()),
        }
        self.keep(CURVES_JSON, record)
    }

    fn count_hour(&self) -> Result<Hour, BenchError> {
        let options = self.run.options;
        let mut command = Command::new(self.run.gauntlet);
        command
            .args(["bench-worker", "hour", "--minutes", &options.curve_minutes.to_string()])
            .args(["--rate", &format!("{}/s", options.curve_per_s)])
            .args(["--partitions", &options.partitions.to_string(), "--dir"])
            .arg(self.run.dir.file("hour"));
        let printed = self.work(command, "hour")?;
        serde_json::from_str(&printed)
            .map_err(|error| BenchError::Trial(format!("the counted run can't be read: {error}")))
    }
}
