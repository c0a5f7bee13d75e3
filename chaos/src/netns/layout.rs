//! What a cluster's network consists of, and what everything in it is called.

use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::local::FIRST_CONTROLLER_ID;

/// The bridge, in the switch's namespace.
pub(super) const BRIDGE: &str = "br0";
/// The bridge's port to this host.
pub(super) const HOST_PORT: &str = "host";
/// A node's own interface.
pub(super) const NODE_INTERFACE: &str = "eth0";
/// Length of the network's prefix.
pub(super) const PREFIX_BITS: u8 = 24;
/// Added to a broker's id; a controller's id, 101 and up, is the last part of its address as it is.
const FIRST_BROKER: i32 = 10;

/// The network of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    /// Of this host's interface; all namespaces begin with it. At most 15 bytes, as the kernel has it.
    pub(crate) name: String,
    /// The first of 256 addresses.
    pub(crate) subnet: Ipv4Addr,
    /// Kafka's `node.id` of every node.
    pub(crate) nodes: Vec<i32>,
}

impl Network {
    /// The name of the network of the cluster whose state lies in `dir`: the same for the same directory, which has the run's id in
    /// it, and hardly ever the same for two.
    pub(super) fn name_for(dir: &Path) -> String {
        // FNV-1a, 32 bits.
        let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        let hash = dir.as_os_str().as_bytes().iter().fold(0x811c_9dc5, step);
        format!("gnt{hash:08x}")
    }

    /// The address of this host in it.
    pub(crate) fn host_addr(&self) -> Ipv4Addr {
        self.addr(1)
    }

    /// The address of a node: broker 1 is `.11`, controller 101 is `.101`.
    pub(crate) fn addr_of(&self, node: i32) -> Ipv4Addr {
        let last = if node < FIRST_CONTROLLER_ID { node + FIRST_BROKER } else { node };
        // A cluster has at most 50 nodes of a kind.
        self.addr(u8::try_from(last).unwrap_or(u8::MAX))
    }

    fn addr(&self, last: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.subnet.octets();
        Ipv4Addr::new(a, b, c, last)
    }

    /// The name of the namespace of a node.
    pub(crate) fn name_of(&self, node: i32) -> String {
        format!("{}-{node}", self.name)
    }

    /// The name of the namespace of the bridge.
    pub(super) fn switch(&self) -> String {
        format!("{}-sw", self.name)
    }

    /// The bridge's port to a node.
    pub(super) fn port_of(node: i32) -> String {
        format!("n{node}")
    }

    /// The names of all its namespaces.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let nodes = self.nodes.iter().map(|node| self.name_of(*node));
        std::iter::once(self.switch()).chain(nodes).collect()
    }

    /// The arguments of `ip` that make it, in this order.
    pub(super) fn commands(&self) -> Vec<String> {
        let (name, switch, host) = (&self.name, self.switch(), self.host_addr());
        let mut commands = vec![
            format!("netns add {switch}"),
            format!("-n {switch} link add {BRIDGE} type bridge"),
            format!("-n {switch} link set {BRIDGE} up"),
            format!("link add {name} type veth peer name {HOST_PORT} netns {switch}"),
            format!("-n {switch} link set {HOST_PORT} master {BRIDGE} up"),
            format!("addr add {host}/{PREFIX_BITS} dev {name}"),
            format!("link set {name} up"),
        ];
        for node in &self.nodes {
            let (inside, port, addr) = (self.name_of(*node), Self::port_of(*node), self.addr_of(*node));
            commands.extend([
                format!("netns add {inside}"),
                format!("-n {inside} link set lo up"),
                format!("-n {inside} link add {NODE_INTERFACE} type veth peer name {port} netns {switch}"),
                format!("-n {inside} addr add {addr}/{PREFIX_BITS} dev {NODE_INTERFACE}"),
                format!("-n {inside} link set {NODE_INTERFACE} up"),
                format!("-n {switch} link set {port} master {BRIDGE} up"),
            ]);
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        let subnet = Ipv4Addr::new(10, 3, 7, 0);
        Network { name: "gnt0a1b2c3d".to_owned(), subnet, nodes: vec![1, 50, 101, 150] }
    }

    #[test]
    fn names_fit_and_follow_the_directory() {
        let name = Network::name_for(Path::new("/runs/kill/20261123-0835-7f3a/cluster"));
        assert_eq!(name, Network::name_for(Path::new("/runs/kill/20261123-0835-7f3a/cluster")));
        assert_ne!(name, Network::name_for(Path::new("/runs/kill/20261123-0835-7f3b/cluster")));
        assert!(name.len() <= 15 && name.starts_with("gnt"), "{name}");
        assert_eq!(network().namespaces()[..2], ["gnt0a1b2c3d-sw", "gnt0a1b2c3d-1"]);
    }

    #[test]
    fn no_two_have_an_address() {
        let network = network();
        let last: Vec<u8> = network.nodes.iter().map(|node| network.addr_of(*node).octets()[3]).collect();
        assert_eq!(last, [11, 60, 101, 150]);
        assert_eq!(network.host_addr(), Ipv4Addr::new(10, 3, 7, 1));
    }

    #[test]
    fn the_bridge_is_in_a_namespace_and_this_host_gets_one_interface() {
        let network = Network { nodes: vec![2], ..network() };
        let expected = "\
netns add gnt0a1b2c3d-sw
-n gnt0a1b2c3d-sw link add br0 type bridge
-n gnt0a1b2c3d-sw link set br0 up
link add gnt0a1b2c3d type veth peer name host netns gnt0a1b2c3d-sw
-n gnt0a1b2c3d-sw link set host master br0 up
addr add 10.3.7.1/24 dev gnt0a1b2c3d
link set gnt0a1b2c3d up
netns add gnt0a1b2c3d-2
-n gnt0a1b2c3d-2 link set lo up
-n gnt0a1b2c3d-2 link add eth0 type veth peer name n2 netns gnt0a1b2c3d-sw
-n gnt0a1b2c3d-2 addr add 10.3.7.12/24 dev eth0
-n gnt0a1b2c3d-2 link set eth0 up
-n gnt0a1b2c3d-sw link set n2 master br0 up";
        assert_eq!(network.commands().join("\n"), expected);
    }
}
