//! What needs no brokers, measured between the repeats.

use super::*;

/// Probes that were asked for: name, size, codec.
#[must_use]
pub fn probes(options: &BenchOptions) -> Vec<(&'static str, Bytes, Option<Codec>)> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut probes = Vec::new();
    if options.work != Work::Peers {
        return probes;
    }
    for &size in &options.matrix.sizes {
        if wanted(CHECKER) {
            probes.push((CHECKER, size, None));
        }
        if wanted(NULL_SINK) {
            let codecs = options.matrix.codecs.iter().filter_map(|name| name.parse().ok());
            probes.extend(codecs.map(|codec: Codec| (NULL_SINK, size, Some(codec))));
        }
    }
    probes
}

impl Session<'_> {
    pub(super) fn probe_all(&mut self, repeat: u16) -> Result<(), BenchError> {
        for (probe, size, codec) in probes(self.run.options) {
            if self.run.interrupt.is_set() {
                return Err(BenchError::Interrupted);
            }
            self.wait_until_quiet();
            let cost = self.probe(probe, size, codec);
            let record = ProbeRecord {
                probe: probe.to_owned(),
                size,
                codec: codec.map(|codec| codec.name().to_owned()),
                repeat,
                cost: cost.as_ref().ok().copied(),
                failed: cost.as_ref().err().map(ToString::to_string),
            };
            if matches!(cost, Err(BenchError::Interrupted)) {
                return Err(BenchError::Interrupted);
            }
            (self.run.tell)(BenchNews::Probe(&record));
            self.record.probes.push(record);
            self.write()?;
        }
        Ok(())
    }

    pub(super) fn probe(&self, probe: &str, size: Bytes, codec: Option<Codec>) -> Result<Cost, BenchError> {
        let printed = self.work(self.probe_command(probe, size, codec), probe)?;
        serde_json::from_str(&printed)
            .map_err(|error| BenchError::Trial(format!("what {probe} printed can't be read: {error}")))
    }

    pub(super) fn probe_command(&self, probe: &str, size: Bytes, codec: Option<Codec>) -> Command {
        let records = self.run.options.probe_records * 100 / size.get().max(100);
        let mut command = Command::new(self.run.gauntlet);
        command.args(["bench-worker", probe, "--size", &size.to_string()]);
        command.args(["--records", &records.max(1).to_string()]);
        if let Some(codec) = codec {
            command.args(["--codec", codec.name()]);
        }
        command
    }
}
