//! Rules of faults of disk and clock that need the cluster, or this machine.

use gauntlet_chaos::{DiskFault, shim};

use crate::scenario::CONTROLLER_ID_MIN;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Cluster, Controllers, Fault, FaultAction, Scenario, Target};

pub(super) fn validate(path: &str, fault: &Fault, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Cluster::Local(local) = &scenario.cluster else { return };
    let name = fault.action.name();
    if fault.action == FaultAction::Disk(DiskFault::Fill) && local.disk.is_some() {
        // Nothing has to be imitated.
        return;
    }
    if let Some(why) = shim::why_not() {
        problems.add(Finding {
            path: &format!("{path}.action"),
            message: format!("`{name}` can't be done here"),
            label: why,
            help: "run it on Linux with glibc, with a gauntlet that was built there",
        });
    }
    let has_own = local.controllers != Controllers::Combined;
    let hits_controller = match &fault.target {
        Target::Controller => has_own,
        target => target.numbers().iter().any(|id| *id >= CONTROLLER_ID_MIN),
    };
    if matches!(fault.action, FaultAction::ClockSkew { .. }) && hits_controller {
        problems.add(Finding {
            path: &format!("{path}.target"),
            message: format!("`{name}` of a controller that is no broker"),
            label: "nobody outside can see its clock",
            help: "aim at a broker, or let brokers be the controllers: `controllers: combined`",
        });
    }
}
