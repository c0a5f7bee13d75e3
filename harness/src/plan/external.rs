//! Blocks with `driver: external`: their program, looked up, and what it is configured by.

use std::path::{Path, PathBuf};

use gauntlet_wire::security::Credentials;
use nix::unistd::{AccessFlags, access};

use super::convert::{Refusal, refuse};
use super::{ClusterPlan, DriverPlan};
use crate::external::settings::{self, Settings};
use crate::scenario::Scenario;
use crate::scenario::types as file;

/// A program as a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalPlan {
    /// The program, by its whole path, and its arguments.
    pub command: Vec<String>,
    /// What it is configured by, but for what only a run knows, by the names of Kafka's Java client.
    pub settings: Settings,
    /// Those of them that the scenario handed over raw.
    pub raw: Settings,
}

pub(super) fn of_producers(block: &file::Producers) -> DriverPlan {
    DriverPlan::External(ExternalPlan {
        command: found(&block.command),
        settings: settings::producer(block),
        raw: block.external.clone(),
    })
}

pub(super) fn of_consumers(block: &file::Consumers) -> DriverPlan {
    DriverPlan::External(ExternalPlan {
        command: found(&block.command),
        settings: settings::consumer(block),
        raw: block.external.clone(),
    })
}

/// The command with the whole path of its program; as it is if that is not found, which [`check`] refuses.
fn found(command: &[String]) -> Vec<String> {
    let mut command = command.to_vec();
    if let Some(program) = command.first_mut()
        && let Ok(path) = look_up(program)
    {
        *program = path.display().to_string();
    }
    command
}

/// Refuses programs that can't be started, and what they could not do.
pub(super) fn check(scenario: &Scenario, cluster: Option<&ClusterPlan>, refusals: &mut Vec<Refusal>) {
    let producers = scenario.workload.producers.iter().map(|b| (b.driver, &b.command)).enumerate();
    let consumers = scenario.workload.consumers.iter().map(|b| (b.driver, &b.command)).enumerate();
    let paths = producers.map(|(i, block)| (format!("workload.producers[{i}]"), block));
    let paths = paths.chain(consumers.map(|(i, block)| (format!("workload.consumers[{i}]"), block)));
    let by_token = cluster.is_some_and(logs_in_by_token);
    for (path, (driver, command)) in paths {
        if driver != file::Driver::External {
            continue;
        }
        // The grammar has seen to it that there is one.
        let program = command.first().map_or("", String::as_str);
        if let Err(why) = look_up(program) {
            let help = "with a slash in it, it is relative to where gauntlet is called; without, it is looked up in PATH";
            refusals.push(refuse(format!("{path}.command"), why, help));
        }
        if by_token {
            let message = "`driver: external` does not log in by OAUTHBEARER in this version";
            refusals.push(refuse(format!("{path}.driver"), message, "use PLAIN, SCRAM, or certificates"));
        }
    }
}

fn logs_in_by_token(cluster: &ClusterPlan) -> bool {
    match cluster {
        // Those that gauntlet starts know no tokens.
        ClusterPlan::Local(_) => false,
        ClusterPlan::Bootstrap(foreign) => {
            let login = foreign.security.login.as_ref();
            login.is_some_and(|login| matches!(login.credentials(), Credentials::Token(_)))
        }
    }
}

/// The whole path of a program, as execvp(3) finds it, or why there is none.
fn look_up(program: &str) -> Result<PathBuf, String> {
    let can_run = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if program.contains('/') {
        let path = Path::new(program);
        let whole = std::path::absolute(path).map_err(|error| format!("`{program}`: {error}"))?;
        return match (path.exists(), can_run(path)) {
            (false, _) => Err(format!("there is no `{program}`")),
            (true, false) => Err(format!("`{program}` can't be executed")),
            (true, true) => Ok(whole),
        };
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&places).map(|dir| dir.join(program));
    candidates.find(|path| can_run(path)).ok_or_else(|| format!("there is no `{program}` in PATH"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn programs_are_looked_up_as_a_shell_does() {
        assert!(look_up("sh").unwrap().is_absolute());
        assert_eq!(look_up("no-such-program").unwrap_err(), "there is no `no-such-program` in PATH");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client");
        let name = path.display().to_string();
        assert_eq!(look_up(&name).unwrap_err(), format!("there is no `{name}`"));
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(look_up(&name).unwrap_err(), format!("`{name}` can't be executed"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(look_up(&name), Ok(path));
    }
}
