//! Who joins a cluster in the course of a run: nodes that have to be there before, formatted and configured, and not started.

use std::collections::BTreeSet;

use gauntlet_chaos::Operation;

use super::{Controllers, FaultAction, LocalCluster, Scenario};
use crate::scenario::CONTROLLER_ID_MIN;

/// How many nodes join: those whose numbers come after the last one that is there from the begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joining {
    /// Brokers.
    pub brokers: u16,
    /// Controllers of their own.
    pub controllers: u16,
}

impl LocalCluster {
    /// How many controllers of their own it begins with.
    #[must_use]
    pub fn own_controllers(&self) -> u16 {
        match self.controllers {
            Controllers::Combined => 0,
            Controllers::Isolated(count) => count,
        }
    }

    /// Whether one of the nodes that it begins with, or of those that join, has this number.
    #[must_use]
    pub fn has_node(&self, id: u16, joining: Joining) -> bool {
        let brokers = self.brokers.saturating_add(joining.brokers);
        let controllers = self.own_controllers().saturating_add(joining.controllers);
        (1..=brokers).contains(&id) || (id >= CONTROLLER_ID_MIN && id - CONTROLLER_ID_MIN < controllers)
    }
}

impl Scenario {
    fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.faults.iter().filter_map(|fault| match &fault.action {
            FaultAction::Operation(operation) => Some(operation),
            _ => None,
        })
    }

    /// Who joins in the course of the run; nobody in a cluster that is not started for it.
    #[must_use]
    pub fn joining(&self) -> Joining {
        let Some(nodes) = self.cluster.nodes() else { return Joining::default() };
        let last_controller = CONTROLLER_ID_MIN - 1 + nodes.own_controllers();
        let (mut brokers, mut controllers) = (BTreeSet::new(), BTreeSet::new());
        for operation in self.operations() {
            match operation {
                Operation::BrokerAdd(add) if add.broker > i32::from(nodes.brokers) => {
                    brokers.insert(add.broker);
                }
                Operation::QuorumAddVoter(add) if add.controller > i32::from(last_controller) => {
                    controllers.insert(add.controller);
                }
                _ => {}
            }
        }
        // A run has fewer faults than fit.
        let count = |ids: BTreeSet<i32>| u16::try_from(ids.len()).unwrap_or(u16::MAX);
        Joining { brokers: count(brokers), controllers: count(controllers) }
    }

    /// Whether voters of the quorum join or leave.
    #[must_use]
    pub fn changes_voters(&self) -> bool {
        self.operations().any(|operation| {
            matches!(operation, Operation::QuorumAddVoter(_) | Operation::QuorumRemoveVoter(_))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::LoadOptions;

    fn scenario(cluster: &str, faults: &str) -> Scenario {
        let text = format!(
            "version: 1\nname: case\ncluster: {{ local: {{ {cluster} }} }}\n\
             load: {{ shape: constant, rate: 1k/s, duration: 60s, drain: 10s }}\nfaults: [{faults}]\n"
        );
        Scenario::parse("case.yaml", &text, &LoadOptions::default()).unwrap().scenario
    }

    #[test]
    fn who_joins_follows_from_the_faults() {
        let add = "{ name: a, at: 1s, for: 5s, action: broker.add, args: { broker: 4 } }, \
                   { name: b, at: 10s, for: 5s, action: broker.add, args: { broker: 4 } }, \
                   { name: c, at: 20s, action: broker.add, args: { broker: 5 } }";
        let growing = scenario("brokers: 3", add);
        assert_eq!(growing.joining(), Joining { brokers: 2, controllers: 0 });
        assert!(!growing.changes_voters());
        let voter = "{ name: a, at: 1s, action: quorum.add-voter, args: { controller: 104 } }";
        let voting = scenario("brokers: 3, controllers: 3", voter);
        assert_eq!(voting.joining(), Joining { brokers: 0, controllers: 1 });
        assert!(voting.changes_voters());
        let nodes = voting.cluster.nodes().unwrap();
        for (id, joined, begun) in [(3, true, true), (4, false, false), (103, true, true), (104, true, false)]
        {
            assert_eq!(nodes.has_node(id, voting.joining()), joined, "{id}");
            assert_eq!(nodes.has_node(id, Joining::default()), begun, "{id}");
        }
        assert!(scenario("brokers: 3", "{ name: a, at: 1s, action: quorum.remove-voter }").changes_voters());
    }
}
