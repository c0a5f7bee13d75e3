//! Rules of faults of the network that need the cluster.

use gauntlet_chaos::netns;

use crate::scenario::CONTROLLER_ID_MIN;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    Cluster, Fault, Isolation, Joining, Link, LocalCluster, LocalProtocol, NetworkEffect, NetworkFault,
    Scenario, Target,
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
    let has_tls =
        local.security.as_ref().is_some_and(|security| security.protocol != LocalProtocol::SaslPlaintext);
    if has_tls && network.apis.is_some() && network.link != Link::Controllers {
        problems.add(Finding {
            path: &format!("{path}.args.api"),
            message: format!("`{name}` of some APIs where TLS hides what is asked"),
            label: "nobody between the two ends can tell",
            help: "leave `api` out, or use `protocol: SASL_PLAINTEXT`, or `link: controllers`, which has no TLS",
        });
    }
    if local.isolation == Isolation::Netns {
        in_namespaces(path, fault, network, problems);
    }
    if let Some(peer) = network.peer {
        self::peer(&format!("{path}.args.peer"), peer, fault, local, problems);
    }
    let no_link = match (&fault.target, network.link) {
        (Target::Id(id), Link::Clients | Link::Brokers) if *id >= CONTROLLER_ID_MIN => {
            Some(format!("node {id} is no broker"))
        }
        (Target::Ids(ids), _) if splits(network) && ids.len() >= usize::from(nodes(local)) => {
            Some("all nodes are on one side".to_owned())
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

/// What the network of namespaces does not do, anywhere or on this machine.
fn in_namespaces(path: &str, fault: &Fault, network: &NetworkFault, problems: &mut Problems<'_>) {
    let name = fault.action.name();
    if network.apis.is_some() {
        problems.add(Finding {
            path: &format!("{path}.args.api"),
            message: format!("`{name}` of some APIs with `isolation: netns`"),
            label: "the kernel can't tell requests of one API from others",
            help: "leave `api` out, or use `isolation: process`, where a proxy reads what is asked",
        });
    }
    let (why, help) = match network.effect {
        NetworkEffect::HalfOpen => (
            "the kernel does not tell packets of older connections from others",
            "use `isolation: process`, where a proxy does it",
        ),
        NetworkEffect::Delay { .. } => match netns::why_no_delay() {
            Some(unable) => (unable.why.as_str(), unable.next_step.as_str()),
            None => return,
        },
        _ => return,
    };
    problems.add(Finding {
        path: &format!("{path}.action"),
        message: format!("`{name}` with `isolation: netns`"),
        label: why,
        help,
    });
}

fn peer(path: &str, peer: u16, fault: &Fault, local: &LocalCluster, problems: &mut Problems<'_>) {
    if !local.has_node(peer, Joining::default()) {
        problems.add(Finding {
            path,
            message: format!("the cluster has no node {peer}"),
            label: "there is no such node",
            help: "name a broker, 1 and up, or a controller of its own, 101 and up",
        });
    } else if fault.target.numbers().contains(&peer) {
        problems.add(Finding {
            path,
            message: format!("node {peer} is the target itself"),
            label: "one node is not two",
            help: "name another one, or leave it out: all others",
        });
    }
}

/// Whether several targets are one side of a network that is split.
fn splits(network: &NetworkFault) -> bool {
    network.effect == NetworkEffect::Partition && network.peer.is_none()
}

/// Whether it is about links between nodes only.
fn needs_others(network: &NetworkFault) -> bool {
    let between_nodes = matches!(network.link, Link::Brokers | Link::Controllers | Link::Nodes);
    between_nodes || network.peer.is_some() || network.effect == NetworkEffect::Partition
}

fn nodes(local: &LocalCluster) -> u16 {
    local.brokers.saturating_add(local.own_controllers())
}
