//! Writes the report of every fixture of the tests into a directory, to be looked at:
//! `cargo run -p gauntlet-reports --example render_fixture -- DIRECTORY`.

#[path = "../tests/fixtures/runs.rs"]
mod fixtures;
#[path = "../tests/fixtures/sweeps.rs"]
mod sweeps;

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(std::io::Error::other("which directory shall the pages go to?"));
    };
    std::fs::create_dir_all(&directory)?;
    for (name, data) in fixtures::all() {
        std::fs::write(directory.join(format!("{name}.html")), gauntlet_reports::html::render(&data))?;
    }
    for (name, data) in sweeps::all() {
        std::fs::write(directory.join(format!("{name}.html")), gauntlet_reports::html::render_sweep(&data))?;
    }
    Ok(())
}
