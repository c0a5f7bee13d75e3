//! `gauntlet fingerprint`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use gauntlet_reports::ExitReason;
use gauntlet_wire::Security;

use crate::fingerprint::{Asked, Fingerprint, Limits, Part, RECORDS_MAX, Written, fingerprint as measure};
use crate::plan::client_security;
use crate::scenario::{LoadOptions, LoadedSecurity, ScenarioError, is_host_and_port};
use crate::units::{Bytes, Count, Duration};

#[derive(Debug, Args)]
pub(super) struct FingerprintArgs {
    /// Some brokers of the cluster.
    #[arg(long, value_name = "HOST:PORT,...", required = true, value_delimiter = ',', value_parser = server)]
    bootstrap: Vec<String>,
    /// The topic. Needs Read, Describe and, for what is set on it, DescribeConfigs.
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// How to connect: a file with the keys of a scenario's `cluster.security`. PLAINTEXT without.
    #[arg(long, value_name = "FILE")]
    security: Option<PathBuf>,
    /// Which records to read: the newest (`tail`) or the oldest (`start`).
    #[arg(long, default_value = "tail")]
    from: FromArg,
    /// Of the newest, only those that are not older.
    #[arg(long, value_name = "DURATION")]
    last: Option<Duration>,
    /// Read about so many records, of all partitions together.
    #[arg(long, value_name = "COUNT", default_value = "100k", value_parser = records)]
    records: u64,
    /// Read about so many bytes, as they are in the log.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    bytes: Bytes,
    /// Take no longer.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    timeout: Duration,
    /// Write the scenario there instead of showing it.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file of `--out`.
    #[arg(long, requires = "out")]
    force: bool,
    /// Show what was measured as JSON, and the scenario only where `--out` says.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FromArg {
    /// The newest records.
    Tail,
    /// The oldest records.
    Start,
}

/// `HOST:PORT`, as an argument.
pub(super) fn server(text: &str) -> Result<String, String> {
    match is_host_and_port(text) {
        true => Ok(text.to_owned()),
        false => Err("write it like localhost:9092 or [::1]:9092".to_owned()),
    }
}

/// `100k`, `2M`, `50_000`.
fn records(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.strip_suffix(['k', 'M']) {
        Some(number) if text.ends_with('k') => (number, 1_000),
        Some(number) => (number, 1_000_000),
        None => (text, 1),
    };
    let count =
        number.parse::<Count>().map_err(|_| format!("`{text}` is not a count, such as 100k or 50_000"))?;
    let records = count.get().saturating_mul(factor);
    if (1..=RECORDS_MAX).contains(&records) {
        Ok(records)
    } else {
        Err(format!("from 1 to {RECORDS_MAX}: what is read is held in memory"))
    }
}

impl FingerprintArgs {
    /// What is asked for, or what is wrong with it.
    fn asked(&self) -> Result<Asked, (ExitReason, String)> {
        let usage = |text: &str| Err((ExitReason::Usage, format!("error: {text}")));
        let part = match (self.from, self.last) {
            (FromArg::Start, None) => Part::Oldest,
            (FromArg::Start, Some(_)) => {
                return usage("--last is about the newest records: leave out --from start");
            }
            (FromArg::Tail, last) => Part::Newest { last: last.map(Duration::to_std) },
        };
        if self.timeout == Duration::ZERO || self.bytes.get() == 0 || self.last == Some(Duration::ZERO) {
            return usage("--timeout, --bytes and --last must be above zero");
        }
        if let Some(out) = self.out.as_deref().filter(|out| !self.force && out.exists()) {
            return usage(&format!("{} exists; --force replaces it", out.display()));
        }
        let security = self.security.as_deref().map_or(Ok(Security::default()), security);
        Ok(Asked {
            bootstrap: self.bootstrap.clone(),
            topic: self.topic.clone(),
            security: security.map_err(|error| (ExitReason::InvalidScenario, format!("{error}\n")))?,
            limits: Limits {
                records: self.records,
                bytes: self.bytes.get(),
                timeout: self.timeout.to_std(),
                part,
            },
        })
    }
}

fn security(file: &Path) -> Result<Security, ScenarioError> {
    client_security(&LoadedSecurity::load(file, &LoadOptions::of_process().env)?)
}

pub(super) fn fingerprint(args: &FingerprintArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let mut err = std::io::stderr();
    let asked = match args.asked() {
        Ok(asked) => asked,
        Err((exit, text)) => {
            writeln!(err, "{text}")?;
            return Ok(exit);
        }
    };
    let found = match measure(&asked) {
        Ok(found) => found,
        Err(error) => {
            writeln!(err, "error: {error}")?;
            return Ok(ExitReason::Environment);
        }
    };
    let written = match found.scenario() {
        Ok(written) => written,
        Err(error) => {
            writeln!(err, "error: what was made of the sample is no valid scenario: this is a bug\n{error}")?;
            return Ok(ExitReason::InternalError);
        }
    };
    if let Some(file) = &args.out
        && let Err(error) = write(file, args.force, &written.yaml)
    {
        writeln!(err, "error: cannot write {}: {error}", file.display())?;
        return Ok(ExitReason::Environment);
    }
    summary(&mut err, &found, &written, args.out.as_deref())?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &found).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else if args.out.is_none() {
        write!(out, "{}", written.yaml)?;
    }
    Ok(ExitReason::Pass)
}

/// Replaces a file only if that is wanted, also if it has come there meanwhile.
fn write(file: &Path, force: bool, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(file)?.write_all(text.as_bytes())
}

/// For people; the scenario has the same as comments.
fn summary(
    err: &mut impl Write,
    found: &Fingerprint,
    written: &Written,
    file: Option<&Path>,
) -> std::io::Result<()> {
    for (heading, text) in found.in_words() {
        writeln!(err, "{heading:<10} {text}")?;
    }
    if let Some(calibrated) = &written.calibrated {
        writeln!(
            err,
            "bodies     random to {:.3}: batches become {:.3}, for {:.3} of the topic's",
            calibrated.random_fraction, calibrated.reached_ratio, calibrated.wanted_ratio
        )?;
    }
    writeln!(err, "not said")?;
    for doubt in found.doubts() {
        writeln!(err, "           {doubt}")?;
    }
    if let Some(file) = file {
        let file = file.display();
        writeln!(err, "written    {file}  (`gauntlet plan {file}` shows what it would do)")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_records() {
        assert_eq!(records("100k"), Ok(100_000));
        assert_eq!(records("2M"), Ok(2_000_000));
        assert_eq!(records("50_000"), Ok(50_000));
        for text in ["0", "6M", "k", "1.5k", "10m", "", "1kM"] {
            assert!(records(text).is_err(), "{text}");
        }
    }
}
