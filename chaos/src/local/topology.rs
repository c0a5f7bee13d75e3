//! Which nodes a cluster has: ids, roles and ports.

use std::net::{Ipv4Addr, SocketAddr};

use super::spec::{Controllers, LocalSpec};
use crate::netns::Network;
use crate::proxy::{Front, Link};

/// Id of the first isolated controller. Far from the brokers' ids, so that a log line tells them apart.
pub(crate) const FIRST_CONTROLLER_ID: i32 = 101;

/// One JVM of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Kafka's `node.id`: brokers 1 to N, isolated controllers 101 to 100 + M.
    pub id: i32,
    /// What it is.
    pub roles: Roles,
    /// Whether it belongs to the cluster only once it has been added.
    pub is_spare: bool,
    /// Where all its ports are, and those of a proxy in front of it.
    pub host: Ipv4Addr,
    /// Port where clients, and without a proxy other brokers, reach it, if it is a broker.
    pub client_port: Option<u16>,
    /// Port where the KRaft quorum reaches it, if it is a controller.
    pub controller_port: Option<u16>,
    /// The network namespace that it is in, if it has its own.
    pub(crate) namespace: Option<String>,
    /// Where it really listens, if a proxy has these ports.
    pub(crate) behind: Option<BehindProxy>,
}

/// Ports of nodes that share no address with others: those that Kafka's own examples have, and one more, because links of each kind
/// are told by their ports.
pub(crate) mod own_ports {
    /// Of clients.
    pub(crate) const CLIENTS: u16 = 9092;
    /// Of the KRaft quorum.
    pub(crate) const CONTROLLERS: u16 = 9093;
    /// Of other brokers.
    pub(crate) const BROKERS: u16 = 9094;
}

/// Ports of a node behind a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BehindProxy {
    /// Where it listens for clients.
    pub(crate) client_port: Option<u16>,
    /// Where other brokers reach it, which is at the proxy.
    pub(crate) brokers_front: Option<u16>,
    /// Where it listens for them.
    pub(crate) brokers_port: Option<u16>,
    /// Where it listens for the quorum.
    pub(crate) controller_port: Option<u16>,
}

/// `process.roles` of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// Serves clients only.
    Broker,
    /// Runs the quorum only.
    Controller,
    /// Both (combined mode).
    Both,
}

impl Node {
    /// `broker-1` or `controller-101`: the name of its logs.
    #[must_use]
    pub fn name(&self) -> String {
        match self.roles {
            Roles::Controller => format!("controller-{}", self.id),
            Roles::Broker | Roles::Both => format!("broker-{}", self.id),
        }
    }

    /// Whether brokers have a listener for each other, apart from that for clients.
    pub(super) fn has_brokers_listener(&self) -> bool {
        self.behind.is_some() || self.namespace.is_some()
    }

    /// The proxy's ports in front of it.
    pub(crate) fn fronts(&self) -> Vec<Front> {
        let Some(behind) = self.behind else { return Vec::new() };
        let links = [
            (Link::Clients, self.client_port, behind.client_port),
            (Link::Brokers, behind.brokers_front, behind.brokers_port),
            (Link::Controllers, self.controller_port, behind.controller_port),
        ];
        let front = |(link, port, node_port): (Link, Option<u16>, Option<u16>)| {
            Some(Front { port: port?, node_port: node_port?, node: self.id, link })
        };
        links.into_iter().filter_map(front).collect()
    }

    /// Where it listens itself for the quorum, whoever stands in front of it.
    pub(crate) fn own_controller_addr(&self) -> Option<SocketAddr> {
        let port = self.behind.map_or(self.controller_port, |behind| behind.controller_port)?;
        Some(SocketAddr::from((self.host, port)))
    }

    /// `host:port` for clients, if it is a broker.
    #[must_use]
    pub fn client_addr(&self) -> Option<String> {
        self.client_port.map(|port| format!("{}:{port}", self.host))
    }
}

/// A node before it has a place.
#[derive(Clone, Copy)]
struct Member {
    id: i32,
    roles: Roles,
    is_spare: bool,
}

/// All nodes of `spec`, those included that may be added: brokers first, then isolated controllers.
fn members(spec: &LocalSpec) -> Vec<Member> {
    let (broker, isolated) = match spec.controllers {
        Controllers::Combined => (Roles::Both, 0),
        Controllers::Isolated(count) => (Roles::Broker, count),
    };
    let groups = [
        (1, spec.brokers, broker, false),
        (1 + i32::from(spec.brokers), spec.spare_brokers, Roles::Broker, true),
        (FIRST_CONTROLLER_ID, isolated, Roles::Controller, false),
        (FIRST_CONTROLLER_ID + i32::from(isolated), spec.spare_controllers, Roles::Controller, true),
    ];
    let of_group = |(first, count, roles, is_spare)| {
        (first..first + i32::from(count)).map(move |id| Member { id, roles, is_spare })
    };
    groups.into_iter().flat_map(of_group).collect()
}

/// The ids of all nodes of `spec`: brokers first, then isolated controllers.
pub(super) fn ids(spec: &LocalSpec) -> Vec<i32> {
    members(spec).into_iter().map(|member| member.id).collect()
}

/// Gives every node of `spec` its place in `network`.
pub(super) fn lay_out_in(spec: &LocalSpec, network: &Network) -> Vec<Node> {
    let place = |Member { id, roles, is_spare }: Member| Node {
        id,
        roles,
        is_spare,
        host: network.addr_of(id),
        client_port: (roles != Roles::Controller).then_some(own_ports::CLIENTS),
        controller_port: (roles != Roles::Broker).then_some(own_ports::CONTROLLERS),
        namespace: Some(network.name_of(id)),
        behind: None,
    };
    members(spec).into_iter().map(place).collect()
}

/// How many ports a cluster of `spec` needs.
pub(super) fn ports_needed(spec: &LocalSpec) -> usize {
    let (for_broker, for_controller) = if spec.proxied { (4, 2) } else { (1, 1) };
    let of_member = |member: &Member| match member.roles {
        Roles::Broker => for_broker,
        Roles::Controller => for_controller,
        Roles::Both => for_broker + for_controller,
    };
    members(spec).iter().map(of_member).sum()
}

/// Deals `ports` (at least [`ports_needed`]) to the nodes of `spec`: brokers first, then isolated controllers.
pub(super) fn lay_out(spec: &LocalSpec, ports: &[u16]) -> Vec<Node> {
    assert!(ports.len() >= ports_needed(spec), "{} ports for {} nodes", ports.len(), spec.node_count());
    let mut ports = ports.iter().copied();
    let place = |Member { id, roles, is_spare }: Member| {
        let mut port_of = |wanted: bool| if wanted { ports.next() } else { None };
        let (broker, controller) = (roles != Roles::Controller, roles != Roles::Broker);
        let (client_port, controller_port) = (port_of(broker), port_of(controller));
        let behind = spec.proxied.then(|| BehindProxy {
            client_port: port_of(broker),
            brokers_front: port_of(broker),
            brokers_port: port_of(broker),
            controller_port: port_of(controller),
        });
        let host = Ipv4Addr::LOCALHOST;
        Node { id, roles, is_spare, host, client_port, controller_port, namespace: None, behind }
    };
    members(spec).into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_gets_what_its_roles_need_and_no_port_twice() {
        let arrangements = [Controllers::Combined, Controllers::Isolated(3)];
        for (controllers, proxied) in arrangements.into_iter().flat_map(|c| [(c, false), (c, true)]) {
            let (spare_brokers, spare_controllers) = (2, 1);
            let spares = LocalSpec { spare_brokers, spare_controllers, ..LocalSpec::default() };
            let spec = LocalSpec { brokers: 5, controllers, proxied, ..spares };
            let ports: Vec<u16> = (20_000..).take(ports_needed(&spec)).collect();
            let nodes = lay_out(&spec, &ports);
            assert_eq!(nodes.len(), spec.node_count());
            for node in &nodes {
                assert_eq!(node.client_port.is_some(), node.roles != Roles::Controller, "{node:?}");
                assert_eq!(node.controller_port.is_some(), node.roles != Roles::Broker, "{node:?}");
            }
            let mut used: Vec<u16> = match proxied {
                false => nodes.iter().flat_map(|n| [n.client_port, n.controller_port]).flatten().collect(),
                true => nodes.iter().flat_map(Node::fronts).flat_map(|f| [f.port, f.node_port]).collect(),
            };
            used.sort_unstable();
            assert_eq!(used, ports);
        }
    }

    #[test]
    fn those_that_may_be_added_have_the_next_ids() {
        let controllers = Controllers::Isolated(3);
        let spec = LocalSpec { spare_brokers: 2, controllers, spare_controllers: 1, ..LocalSpec::default() };
        let spares: Vec<(i32, Roles)> =
            members(&spec).iter().filter(|m| m.is_spare).map(|m| (m.id, m.roles)).collect();
        assert_eq!(spares, [(4, Roles::Broker), (5, Roles::Broker), (104, Roles::Controller)]);
        assert_eq!(ids(&spec), [1, 2, 3, 4, 5, 101, 102, 103, 104]);
        let combined = LocalSpec { controllers: Controllers::Combined, ..spec };
        // Who joins votes nowhere unless it is told to.
        assert_eq!(members(&combined)[3].roles, Roles::Broker);
        assert_eq!(ids(&combined), [1, 2, 3, 4, 5, 101]);
    }

    #[test]
    fn in_namespaces_ports_are_alike_and_addresses_differ() {
        let spec = LocalSpec { brokers: 2, controllers: Controllers::Isolated(1), ..LocalSpec::default() };
        let name = "gnt0a1b2c3d".to_owned();
        let network = Network { name, subnet: Ipv4Addr::new(10, 3, 7, 0), nodes: ids(&spec) };
        let nodes = lay_out_in(&spec, &network);
        let ids = |nodes: &[Node]| -> Vec<(i32, Roles)> { nodes.iter().map(|n| (n.id, n.roles)).collect() };
        assert_eq!(ids(&nodes), ids(&lay_out(&spec, &[1, 2, 3])));
        assert_eq!(nodes[1].client_addr().as_deref(), Some("10.3.7.12:9092"));
        assert_eq!(nodes[2].own_controller_addr().map(|a| a.to_string()).as_deref(), Some("10.3.7.101:9093"));
        assert_eq!(nodes[2].namespace.as_deref(), Some("gnt0a1b2c3d-101"));
    }

    #[test]
    fn names_tell_the_roles() {
        let spec = LocalSpec { brokers: 1, controllers: Controllers::Isolated(1), ..LocalSpec::default() };
        let names: Vec<String> = lay_out(&spec, &[1, 2]).iter().map(Node::name).collect();
        assert_eq!(names, ["broker-1", "controller-101"]);
    }
}
