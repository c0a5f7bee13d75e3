//! `gauntlet recheck`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use gauntlet_reports::ExitReason;

use super::print;
use crate::recheck::{RecheckError, recheck};
use crate::rundir::RunDir;

#[derive(Debug, Args)]
pub(super) struct RecheckArgs {
    /// The run directories.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Print the results as JSON, one line per run.
    #[arg(long)]
    json: bool,
}

/// Checks runs again, and says what is otherwise. The exit code is that of the worst.
pub(super) fn run(args: &RecheckArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let mut reasons = Vec::new();
    for run in &args.runs {
        match recheck(&RunDir::existing(run)) {
            Ok(record) => {
                if args.json {
                    serde_json::to_writer(&mut *out, &record).map_err(std::io::Error::from)?;
                    writeln!(out)?;
                } else {
                    print::rechecked(out, &record)?;
                }
                reasons.push(record.exit_reason());
            }
            Err(error) => {
                writeln!(std::io::stderr(), "error: {}: {error}", run.display())?;
                reasons.push(match error {
                    RecheckError::History(_) => ExitReason::Usage,
                    RecheckError::Dir(_) | RecheckError::Json(_) => ExitReason::Environment,
                });
            }
        }
    }
    Ok(ExitReason::worst(reasons))
}
