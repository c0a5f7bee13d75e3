//! `gauntlet export`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use gauntlet_reports::ExitReason;
use gauntlet_reports::quantity::grouped;

use crate::export::{ExportError, Wanted, Written, export};
use crate::rundir::RunDir;
use crate::units::Duration;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The run directory. Its history has to be there: see `verify.keep_history`.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Only what was read from then on, since t = 0 (the end of warm-up).
    #[arg(long, value_name = "DURATION")]
    from: Option<Duration>,
    /// Only what was read before then.
    #[arg(long, value_name = "DURATION")]
    until: Option<Duration>,
    /// Only this topic.
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Only these partitions.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    partition: Vec<u32>,
    /// Only these offsets, from the first up to the last without it.
    #[arg(long, value_name = "FIRST..LAST", value_parser = offsets)]
    offsets: Option<Range<i64>>,
    /// Write there instead of showing it.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `4096..8192`, as an argument.
fn offsets(text: &str) -> Result<Range<i64>, String> {
    let bounds =
        text.split_once("..").and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match bounds {
        Some((first, last)) if 0 <= first && first < last => Ok(first..last),
        _ => Err("write it like 4096..8192, the first below the last".to_owned()),
    }
}

/// Writes a part of a run as a history.
pub(super) fn run(args: &ExportArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let wanted = Wanted {
        from: args.from.map(Duration::to_std),
        until: args.until.map(Duration::to_std),
        topic: args.topic.clone(),
        partitions: args.partition.clone(),
        offsets: args.offsets.clone(),
    };
    let dir = RunDir::existing(&args.run);
    let written = match &args.out {
        None => export(&dir, &wanted, &mut BufWriter::new(out)),
        Some(path) => export_to(path, &dir, &wanted),
    };
    match written {
        Ok(written) => {
            writeln!(std::io::stderr(), "{}", in_words(&written))?;
            Ok(ExitReason::Pass)
        }
        // Whoever read our output has gone.
        Err(ExportError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(error),
        Err(error) => {
            writeln!(std::io::stderr(), "error: {}: {error}", args.run.display())?;
            Ok(match error {
                ExportError::Write(_) => ExitReason::Environment,
                _ => ExitReason::Usage,
            })
        }
    }
}

/// Replaces a file, once it is known that there is something to write.
fn export_to(path: &Path, dir: &RunDir, wanted: &Wanted) -> Result<Written, ExportError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let written = File::create(&unfinished)
        .map_err(ExportError::Write)
        .and_then(|file| export(dir, wanted, &mut BufWriter::new(file)));
    match written {
        Ok(_) => std::fs::rename(&unfinished, path)?,
        // It may not even be there; what went wrong is said already.
        Err(_) => drop(std::fs::remove_file(&unfinished)),
    }
    written
}

fn in_words(written: &Written) -> String {
    let Written { operations, sent, read, left_out, unexplained, elsewhere } = *written;
    let count = |n: u64| grouped(n as f64);
    let mut text =
        format!("{} operations: {} records sent, {} read", count(operations), count(sent), count(read));
    let mut add = |n: u64, what: &str| {
        if n > 0 {
            text.push_str(&format!("; {} {what}", count(n)));
        }
    };
    add(left_out, "that are damaged or not of this run are left out");
    add(unexplained, "were read and never sent, as far as the history says: as sends of unknown outcome");
    add(elsewhere, "were acked at an offset outside the window: without it");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_a_range() {
        assert_eq!(offsets("0..5"), Ok(0..5));
        for wrong in ["5", "5..5", "6..5", "-1..5", "a..b", "1..", "1...5"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_left_out_is_said() {
        let written = Written { operations: 1_200, sent: 5, read: 4, ..Written::default() };
        assert_eq!(in_words(&written), "1 200 operations: 5 records sent, 4 read");
        let written = Written { left_out: 2, unexplained: 1, ..written };
        assert_eq!(
            in_words(&written),
            "1 200 operations: 5 records sent, 4 read; 2 that are damaged or not of this run are left out; 1 were read and never sent, as \
             far as the history says: as sends of unknown outcome"
        );
    }
}
