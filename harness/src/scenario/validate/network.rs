//! Rules of faults of the network that need the cluster.

use super::faults::{CONTROLLER_ID_MIN, is_node};
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    Cluster, Controllers, Fault, Link, LocalCluster, NetworkEffect, NetworkFault, Scenario, Target,
};

pub(super) fn validate(
    path: &str,
    fault: &Fault,
    network: &NetworkFault,
    scenario: &Scenario,
    problems: &mut Problems<'_>,
) {
    let Cluster::Local(local) = &scenario.cluster else { return };
    let name = fault.action.name();
    if local.security.is_some() {
        problems.add(Finding {
            path: &format!("{path}.action"),
            message: format!("`{name}` on a cluster with `security`"),
            label: "not in this version of gauntlet",
            help: "remove `cluster.local.security`; faults of the network need a proxy in front of brokers, which was tried with PLAINTEXT only",
        });
    }
    if let Some(peer) = network.peer {
        self::peer(&format!("{path}.args.peer"), peer, fault, local, problems);
    }
    let no_link = match (&fault.target, network.link) {
        (Target::Id(id), Link::Clients | Link::Brokers) if *id >= CONTROLLER_ID_MIN => {
            Some(format!("node {id} is no broker"))
        }
        _ if needs_others(network) && nodes(local) == 1 => Some("the cluster has one node".to_owned()),
        _ => None,
    };
    if let Some(message) = no_link {
        problems.add(Finding {
            path: &format!("{path}.action"),
            message,
            label: "there is no such link",
            help: "name another target, or other links with `args: { link: … }`",
        });
    }
}

fn peer(path: &str, peer: u16, fault: &Fault, local: &LocalCluster, problems: &mut Problems<'_>) {
    if !is_node(local, peer) {
        problems.add(Finding {
            path,
            message: format!("the cluster has no node {peer}"),
            label: "there is no such node",
            help: "name a broker, 1 and up, or a controller of its own, 101 and up",
        });
    } else if fault.target == Target::Id(peer) {
        problems.add(Finding {
            path,
            message: format!("node {peer} is the target itself"),
            label: "one node is not two",
            help: "name another one, or leave it out: all others",
        });
    }
}

/// Whether it is about links between nodes only.
fn needs_others(network: &NetworkFault) -> bool {
    let between_nodes = matches!(network.link, Link::Brokers | Link::Controllers | Link::Nodes);
    between_nodes || network.peer.is_some() || network.effect == NetworkEffect::Partition
}

fn nodes(local: &LocalCluster) -> u16 {
    match local.controllers {
        Controllers::Combined => local.brokers,
        Controllers::Isolated(count) => local.brokers.saturating_add(count),
    }
}
