//! What hooks need of this machine, and the brokers that faults name.

use std::collections::BTreeMap;

use gauntlet_chaos::Hook;

use super::convert::{Refusal, refuse};
use super::security::Environment;
use super::{ClusterPlan, NamedBroker, Plan};
use crate::scenario::LoadedScenario;
use crate::scenario::types as file;

/// The hooks of a cluster; refused if a variable that one names is not set: whoever heals needs it, too.
pub(super) fn hooks(
    foreign: &file::ForeignCluster,
    env: Environment<'_>,
) -> Result<BTreeMap<String, Hook>, Refusal> {
    for (action, hook) in &foreign.hooks {
        if let Some(unset) = hook.variables().find(|name| env(name).is_none()) {
            return Err(refuse(
                format!("cluster.command.{action}"),
                format!("the environment variable {unset}, which the hook of {action} names, is not set"),
                "set it for gauntlet, and for `gauntlet faults undo`, or take it out of the hook's `env`",
            ));
        }
    }
    Ok(foreign.hooks.clone())
}

/// Notes where faults name brokers, which can be checked once somebody has asked the cluster.
pub(super) fn name_brokers(plan: &mut Plan, loaded: &LoadedScenario) {
    let ClusterPlan::Bootstrap(foreign) = &mut plan.cluster else { return };
    for (index, fault) in loaded.scenario.faults.iter().enumerate() {
        let field = if matches!(fault.target, file::Target::Id(_)) { "id" } else { "ids" };
        let place = loaded.span_of(&format!("faults[{index}].target.{field}")).to_string();
        foreign.named.extend(fault.target.numbers().iter().map(|id| NamedBroker {
            id: i32::from(*id),
            fault: fault.name.clone(),
            place: place.clone(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{LoadOptions, Scenario};

    #[test]
    fn a_variable_that_is_not_set_is_missed_before_anything_starts() {
        let text = "version: 1\nname: case\ncluster:\n  bootstrap_servers: localhost:9092\n  command:\n    \
                    broker.stop: { apply: [a], heal: [b], env: [SET, UNSET] }\n\
                    load: { shape: constant, rate: 1k/s, duration: 60s }\n";
        let loaded = Scenario::parse("case.yaml", text, &LoadOptions::default()).unwrap();
        let file::Cluster::Bootstrap(foreign) = &loaded.scenario.cluster else { panic!() };
        let refused = hooks(foreign, &|name| (name == "SET").then(String::new)).unwrap_err();
        assert!(refused.message.contains("variable UNSET"), "{}", refused.message);
        assert!(hooks(foreign, &|_| Some(String::new())).is_ok());
    }
}
