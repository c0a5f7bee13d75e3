//! The program under test.

use std::process::Output;

/// Where it is.
pub(crate) const GAUNTLET: &str = env!("CARGO_BIN_EXE_gauntlet");

/// Everything that it said.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
