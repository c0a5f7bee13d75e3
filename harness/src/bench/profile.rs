//! Why a goal was missed: the same work once more under `perf`, and where its time went.

use std::path::Path;
use std::process::Command;

use super::BenchError;

/// Samples per second and thread: no multiple of the kernel's or the client's own ticks.
const SAMPLES_PER_S: &str = "499";
/// Shares of the time below this are left out.
const SHARE_MIN_PERCENT: &str = "0.5";
/// Lines that are kept.
const LINES_MAX: usize = 60;

/// Makes sure that there is a `perf`.
///
/// # Errors
/// There is none.
pub fn check() -> Result<(), BenchError> {
    match Command::new("perf").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err(BenchError::Trial(
            "perf is not installed; on Debian it is in the package linux-perf".to_owned(),
        )),
    }
}

/// The command, recorded.
#[must_use]
pub fn recorded(command: &Command, data: &Path) -> Command {
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "--freq", SAMPLES_PER_S, "--output"]).arg(data).arg("--");
    perf.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => perf.env(name, value),
            None => perf.env_remove(name),
        };
    }
    perf
}

/// Where the time went, by function.
///
/// # Errors
/// `perf` can't read what it recorded.
pub fn report(data: &Path) -> Result<String, BenchError> {
    let output = Command::new("perf")
        .args(["report", "--stdio", "--no-children", "--fields", "overhead,comm,dso,symbol"])
        .args(["--percent-limit", SHARE_MIN_PERCENT, "--input"])
        .arg(data)
        .output()
        .map_err(|source| BenchError::Run { program: "perf".to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .take(LINES_MAX)
        .collect();
    if lines.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(BenchError::Trial(format!("perf reported nothing: {}", why.trim())));
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_recorded_with_its_arguments_and_environment() {
        let mut command = Command::new("program");
        command.args(["-a", "b"]).env("GOGC", "400");
        let perf = recorded(&command, Path::new("x.perf"));
        let args: Vec<_> = perf.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert_eq!(args[args.len() - 4..], ["--", "program", "-a", "b"]);
        assert_eq!(perf.get_envs().count(), 1);
    }
}
