//! Which nodes a cluster has: ids, roles and ports.

use super::spec::{Controllers, LocalSpec};

/// Id of the first isolated controller. Far from the brokers' ids, so that a log line tells them apart.
pub(crate) const FIRST_CONTROLLER_ID: i32 = 101;

/// One JVM of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Kafka's `node.id`: brokers 1 to N, isolated controllers 101 to 100 + M.
    pub id: i32,
    /// What it is.
    pub roles: Roles,
    /// Port on 127.0.0.1 for clients and other brokers, if it is a broker.
    pub client_port: Option<u16>,
    /// Port on 127.0.0.1 of the KRaft quorum, if it is a controller.
    pub controller_port: Option<u16>,
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

    /// `host:port` for clients, if it is a broker.
    #[must_use]
    pub fn client_addr(&self) -> Option<String> {
        self.client_port.map(|port| format!("127.0.0.1:{port}"))
    }
}

/// How many ports the nodes of `spec` listen on.
pub(super) fn ports_needed(spec: &LocalSpec) -> usize {
    match spec.controllers {
        Controllers::Combined => 2 * spec.node_count(),
        Controllers::Isolated(_) => spec.node_count(),
    }
}

/// Deals `ports` (at least [`ports_needed`]) to the nodes of `spec`: brokers first, then isolated controllers.
pub(super) fn lay_out(spec: &LocalSpec, ports: &[u16]) -> Vec<Node> {
    assert!(ports.len() >= ports_needed(spec), "{} ports for {} nodes", ports.len(), spec.node_count());
    let mut ports = ports.iter().copied();
    let mut nodes = Vec::with_capacity(spec.node_count());
    let combined = spec.controllers == Controllers::Combined;
    for id in 1..=i32::from(spec.brokers) {
        nodes.push(Node {
            id,
            roles: if combined { Roles::Both } else { Roles::Broker },
            client_port: ports.next(),
            controller_port: if combined { ports.next() } else { None },
        });
    }
    if let Controllers::Isolated(count) = spec.controllers {
        for id in FIRST_CONTROLLER_ID..FIRST_CONTROLLER_ID + i32::from(count) {
            nodes.push(Node {
                id,
                roles: Roles::Controller,
                client_port: None,
                controller_port: ports.next(),
            });
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_gets_what_its_roles_need_and_no_port_twice() {
        for controllers in [Controllers::Combined, Controllers::Isolated(3)] {
            let spec = LocalSpec { brokers: 5, controllers, ..LocalSpec::default() };
            let ports: Vec<u16> = (20_000..).take(ports_needed(&spec)).collect();
            let nodes = lay_out(&spec, &ports);
            assert_eq!(nodes.len(), spec.node_count());
            for node in &nodes {
                assert_eq!(node.client_port.is_some(), node.roles != Roles::Controller, "{node:?}");
                assert_eq!(node.controller_port.is_some(), node.roles != Roles::Broker, "{node:?}");
            }
            let mut used: Vec<u16> =
                nodes.iter().flat_map(|n| [n.client_port, n.controller_port]).flatten().collect();
            used.sort_unstable();
            assert_eq!(used, ports);
        }
    }

    #[test]
    fn names_tell_the_roles() {
        let spec = LocalSpec { brokers: 1, controllers: Controllers::Isolated(1), ..LocalSpec::default() };
        let names: Vec<String> = lay_out(&spec, &[1, 2]).iter().map(Node::name).collect();
        assert_eq!(names, ["broker-1", "controller-101"]);
    }
}
