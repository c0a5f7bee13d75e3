//! How to connect to the foreign cluster of a run, as its scenario says, for whoever undoes what a dead run left.

use std::path::Path;

use gauntlet_wire::Security;

use super::security::{process_environment, security};
use crate::rundir::SCENARIO;
use crate::scenario::types::Cluster;
use crate::scenario::{LoadOptions, Scenario};

/// Reads the scenario in `run_dir` again. It names environment variables and files, whose secrets are read now: none is in the run
/// directory.
///
/// # Errors
/// The scenario, or a secret, can't be read.
pub fn foreign_login(run_dir: &Path) -> Result<Security, String> {
    let loaded = Scenario::load(&run_dir.join(SCENARIO), &LoadOptions::of_process())
        .map_err(|error| error.to_string())?;
    match &loaded.scenario.cluster {
        Cluster::Bootstrap(foreign) => {
            security(&foreign.security, &process_environment).map_err(|refusal| refusal.message)
        }
        Cluster::Local(_) | Cluster::Docker(_) => {
            Err(format!("{} is about local brokers", run_dir.join(SCENARIO).display()))
        }
    }
}
