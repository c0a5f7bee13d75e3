//! The `gauntlet` program: parse, run, map to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    gauntlet::cli::main()
}
