//! `server.properties` of each node.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::security::Access;
use super::spec::LocalSpec;
use super::topology::{Node, Roles, own_ports};

/// Renders the file for `node`, one of `nodes`.
///
/// One line per key, sorted: first how it is secured, then our defaults, then the user's `config`, then what we own; later
/// ones replace earlier ones, so the user wins over the defaults and nobody over what we own.
pub(super) fn render(
    spec: &LocalSpec,
    access: &Access,
    node: &Node,
    nodes: &[Node],
    data_dir: &Path,
) -> String {
    let mut text = String::new();
    for (name, value) in &escaped_properties(spec, access, node, nodes, data_dir) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

/// As [`render`], for whoever writes the lines himself: values are escaped as in such a file.
pub(super) fn escaped_properties(
    spec: &LocalSpec,
    access: &Access,
    node: &Node,
    nodes: &[Node],
    data_dir: &Path,
) -> BTreeMap<String, String> {
    let listener = access.listener();
    let listeners = if node.has_brokers_listener() { vec![listener, BROKERS] } else { vec![listener] };
    let mut properties = access.properties(&listeners);
    properties.extend(configured(spec));
    properties.extend(owned(listener, node, data_dir));
    properties.extend([quorum(spec, nodes)]);
    properties.into_iter().map(|(name, value)| (name, escaped(&value))).collect()
}

/// Our defaults with the user's `config` over them.
fn configured(spec: &LocalSpec) -> BTreeMap<String, String> {
    let mut properties = defaults(spec);
    properties.extend(spec.config.iter().map(|(name, value)| (name.clone(), value.clone())));
    properties
}

/// Kafka 4's defaults of the properties that [`defaults`] sets.
const KAFKA_DEFAULTS: [(&str, &str); 9] = [
    ("group.initial.rebalance.delay.ms", "3000"),
    ("offsets.topic.replication.factor", "3"),
    ("replica.socket.receive.buffer.bytes", "65536"),
    ("share.coordinator.state.topic.min.isr", "2"),
    ("share.coordinator.state.topic.replication.factor", "3"),
    ("socket.receive.buffer.bytes", "102400"),
    ("socket.send.buffer.bytes", "102400"),
    ("transaction.state.log.min.isr", "2"),
    ("transaction.state.log.replication.factor", "3"),
];

impl LocalSpec {
    /// What every broker is told that differs from Kafka's defaults, by Kafka's names: the user's `config` and what
    /// gauntlet sets to make a small cluster work. Without what says who and where a node is.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = configured(self);
        settings.retain(|name, value| !KAFKA_DEFAULTS.contains(&(name.as_str(), value.as_str())));
        settings
    }
}

/// A socket buffer that the kernel sizes, and sizes again as it is used.
const KERNEL_SIZED: &str = "-1";

/// Defaults that differ from Kafka's: replicas of internal topics that fit the number of brokers (Kafka's own default of 3
/// makes consumer groups hang on a single broker), and no waiting for more members before the first rebalance, which
/// Kafka itself recommends for tests.
///
/// Socket buffers are the kernel's to size. Kafka's fixed ones (64 and 100 KB) are for segments of 1,500 bytes; loopback
/// sends up to 64 KB in one, two of which fill such a buffer. The kernel then drops the third and sends it again 200 ms
/// later, which was the p99 of a cluster that was otherwise half idle (`TcpExtTCPRcvQDrop`, `TcpRetransSegs`).
fn defaults(spec: &LocalSpec) -> BTreeMap<String, String> {
    let replicas = spec.brokers.min(3);
    let min_isr = replicas.min(2);
    BTreeMap::from([
        ("group.initial.rebalance.delay.ms".to_owned(), "0".to_owned()),
        ("offsets.topic.replication.factor".to_owned(), replicas.to_string()),
        ("replica.socket.receive.buffer.bytes".to_owned(), KERNEL_SIZED.to_owned()),
        ("share.coordinator.state.topic.min.isr".to_owned(), min_isr.to_string()),
        ("share.coordinator.state.topic.replication.factor".to_owned(), replicas.to_string()),
        ("socket.receive.buffer.bytes".to_owned(), KERNEL_SIZED.to_owned()),
        ("socket.send.buffer.bytes".to_owned(), KERNEL_SIZED.to_owned()),
        ("transaction.state.log.min.isr".to_owned(), min_isr.to_string()),
        ("transaction.state.log.replication.factor".to_owned(), replicas.to_string()),
    ])
}

/// Where the quorum is. Static voters unless they are to change, because these need no format step that knows the other nodes, and work the
/// same from 3.9 on. Of dynamic ones nodes are told where to ask, and what they were formatted with tells who votes (KIP-853).
fn quorum(spec: &LocalSpec, nodes: &[Node]) -> (String, String) {
    let voters = nodes.iter().filter(|node| !node.is_spare);
    let at =
        voters.filter_map(|voter| Some((voter.id, format!("{}:{}", voter.host, voter.controller_port?))));
    let (name, at): (_, Vec<String>) = match spec.dynamic_quorum {
        false => ("controller.quorum.voters", at.map(|(id, addr)| format!("{id}@{addr}")).collect()),
        true => ("controller.quorum.bootstrap.servers", at.map(|(_, addr)| addr).collect()),
    };
    (name.to_owned(), at.join(","))
}

/// What identifies the node and its place in the cluster.
fn owned(listener: &str, node: &Node, data_dir: &Path) -> BTreeMap<String, String> {
    let roles = match node.roles {
        Roles::Broker => "broker",
        Roles::Controller => "controller",
        Roles::Both => "broker,controller",
    };
    let ports = listeners(listener, node);
    let join = |port: fn(&Listener<'_>) -> Option<u16>| {
        let addresses = ports.iter().filter_map(|l| Some(format!("{}://{}:{}", l.name, node.host, port(l)?)));
        addresses.collect::<Vec<_>>().join(",")
    };
    let mut protocols = format!("CONTROLLER:PLAINTEXT,{listener}:{listener}");
    if node.has_brokers_listener() {
        protocols = format!("{BROKERS}:{listener},{protocols}");
    }
    let mut owned = BTreeMap::from([
        ("controller.listener.names".to_owned(), "CONTROLLER".to_owned()),
        ("listener.security.protocol.map".to_owned(), protocols),
        ("listeners".to_owned(), join(|l| Some(l.own))),
        ("log.dirs".to_owned(), data_dir.display().to_string()),
        ("node.id".to_owned(), node.id.to_string()),
        ("process.roles".to_owned(), roles.to_owned()),
    ]);
    let advertised = join(|l| l.advertised);
    if !advertised.is_empty() {
        owned.insert("advertised.listeners".to_owned(), advertised);
    }
    if node.client_port.is_some() {
        let between = if node.has_brokers_listener() { BROKERS } else { listener };
        owned.insert("inter.broker.listener.name".to_owned(), between.to_owned());
    }
    owned
}

/// Name of the listener for other brokers, where it is not that for clients.
const BROKERS: &str = "BROKERS";

/// A listener of a node.
struct Listener<'a> {
    name: &'a str,
    /// Where the node listens.
    own: u16,
    /// Where others are told to connect, if they are told.
    advertised: Option<u16>,
}

/// The listeners of `node`. Behind a proxy and in a namespace, brokers have one for each other; behind a proxy, what is advertised is the proxy's; controllers
/// advertise theirs as well, since followers of the quorum learn of its leader's address from itself (KIP-853). Without one,
/// that address is that of the voters.
fn listeners<'a>(client_listener: &'a str, node: &Node) -> Vec<Listener<'a>> {
    let Some(behind) = node.behind else {
        let open = |name, own| Listener { name, own, advertised: Some(own) };
        let client = node.client_port.map(|own| open(client_listener, own));
        let is_broker = node.client_port.is_some() && node.has_brokers_listener();
        let brokers = is_broker.then(|| open(BROKERS, own_ports::BROKERS));
        let controller =
            node.controller_port.map(|own| Listener { name: "CONTROLLER", own, advertised: None });
        return [client, brokers, controller].into_iter().flatten().collect();
    };
    let listeners = [
        (client_listener, behind.client_port, node.client_port),
        (BROKERS, behind.brokers_port, behind.brokers_front),
        ("CONTROLLER", behind.controller_port, node.controller_port),
    ];
    let listener = |(name, own, advertised): (&'a str, Option<u16>, Option<u16>)| {
        Some(Listener { name, own: own?, advertised })
    };
    listeners.into_iter().filter_map(listener).collect()
}

/// Escapes a value for `java.util.Properties.load(InputStream)`: backslashes, line ends, a leading blank, and everything
/// outside printable ASCII, which is read as Latin-1 unless written as UTF-16 escapes.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (index, c) in value.chars().enumerate() {
        match c {
            '\\' => text.push_str("\\\\"),
            ' ' if index == 0 => text.push_str("\\ "),
            ' '..='~' => text.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::spec::Controllers;
    use crate::local::topology::{lay_out, lay_out_in};
    use crate::netns::Network;

    const PORTS: [u16; 8] = [20_001, 20_002, 20_003, 20_004, 20_005, 20_006, 20_007, 20_008];

    #[test]
    fn a_combined_node() {
        let mut spec = LocalSpec::default();
        spec.config.insert("group.initial.rebalance.delay.ms".to_owned(), "3000".to_owned());
        spec.config.insert("unclean.leader.election.enable".to_owned(), "true".to_owned());
        let nodes = lay_out(&spec, &PORTS);
        let expected = "\
advertised.listeners=PLAINTEXT://127.0.0.1:20003
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:20002,2@127.0.0.1:20004,3@127.0.0.1:20006
group.initial.rebalance.delay.ms=3000
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
listeners=PLAINTEXT://127.0.0.1:20003,CONTROLLER://127.0.0.1:20004
log.dirs=/run/node-2/data
node.id=2
offsets.topic.replication.factor=3
process.roles=broker,controller
replica.socket.receive.buffer.bytes=-1
share.coordinator.state.topic.min.isr=2
share.coordinator.state.topic.replication.factor=3
socket.receive.buffer.bytes=-1
socket.send.buffer.bytes=-1
transaction.state.log.min.isr=2
transaction.state.log.replication.factor=3
unclean.leader.election.enable=true
";
        assert_eq!(
            render(&spec, &Access::default(), &nodes[1], &nodes, Path::new("/run/node-2/data")),
            expected
        );
    }

    #[test]
    fn behind_a_proxy_what_is_told_is_not_where_it_listens() {
        let spec = LocalSpec { brokers: 1, proxied: true, ..LocalSpec::default() };
        let nodes = lay_out(&spec, &PORTS);
        let text = render(&spec, &Access::default(), &nodes[0], &nodes, Path::new("/b"));
        let expected = [
            "advertised.listeners=PLAINTEXT://127.0.0.1:20001,BROKERS://127.0.0.1:20004,CONTROLLER://127.0.0.1:20002",
            "controller.quorum.voters=1@127.0.0.1:20002",
            "inter.broker.listener.name=BROKERS",
            "listener.security.protocol.map=BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "listeners=PLAINTEXT://127.0.0.1:20003,BROKERS://127.0.0.1:20005,CONTROLLER://127.0.0.1:20006",
        ];
        for line in expected {
            assert!(
                text.contains(&format!("\n{line}\n")) || text.starts_with(&format!("{line}\n")),
                "{text}"
            );
        }
        let spec = LocalSpec { controllers: Controllers::Isolated(1), ..spec };
        let nodes = lay_out(&spec, &PORTS);
        let broker = render(&spec, &Access::default(), &nodes[0], &nodes, Path::new("/b"));
        assert!(
            broker.contains("\nlisteners=PLAINTEXT://127.0.0.1:20002,BROKERS://127.0.0.1:20004\n"),
            "{broker}"
        );
        let controller = render(&spec, &Access::default(), &nodes[1], &nodes, Path::new("/c"));
        assert!(controller.contains("advertised.listeners=CONTROLLER://127.0.0.1:20005\n"), "{controller}");
        assert!(controller.contains("\nlisteners=CONTROLLER://127.0.0.1:20006\n"), "{controller}");
        assert!(!controller.contains("inter.broker"), "{controller}");
    }

    #[test]
    fn of_a_quorum_that_is_dynamic_nodes_are_told_where_to_ask() {
        let spares = LocalSpec { spare_brokers: 1, spare_controllers: 1, ..LocalSpec::default() };
        let spec =
            LocalSpec { brokers: 1, controllers: Controllers::Isolated(1), dynamic_quorum: true, ..spares };
        let nodes = lay_out(&spec, &PORTS);
        for node in &nodes {
            let text = render(&spec, &Access::default(), node, &nodes, Path::new("/n"));
            assert!(text.contains("\ncontroller.quorum.bootstrap.servers=127.0.0.1:20003\n"), "{text}");
            assert!(!text.contains("controller.quorum.voters"), "{text}");
        }
        let spec = LocalSpec { spare_controllers: 0, dynamic_quorum: false, ..spec };
        let nodes = lay_out(&spec, &PORTS);
        let added = render(&spec, &Access::default(), &nodes[1], &nodes, Path::new("/n"));
        assert!(added.contains("\ncontroller.quorum.voters=101@127.0.0.1:20003\n"), "{added}");
        assert!(added.contains("\nnode.id=2\n"), "{added}");
    }

    #[test]
    fn in_a_namespace_links_are_told_by_their_ports() {
        let spec = LocalSpec { brokers: 2, controllers: Controllers::Isolated(1), ..LocalSpec::default() };
        let nodes = vec![1, 2, 101];
        let network =
            Network { name: "gnt1".to_owned(), subnet: std::net::Ipv4Addr::new(10, 3, 7, 0), nodes };
        let nodes = lay_out_in(&spec, &network);
        let broker = render(&spec, &Access::default(), &nodes[1], &nodes, Path::new("/b"));
        for line in [
            "advertised.listeners=PLAINTEXT://10.3.7.12:9092,BROKERS://10.3.7.12:9094",
            "controller.quorum.voters=101@10.3.7.101:9093",
            "inter.broker.listener.name=BROKERS",
            "listeners=PLAINTEXT://10.3.7.12:9092,BROKERS://10.3.7.12:9094",
        ] {
            assert!(broker.lines().any(|one| one == line), "{line} in {broker}");
        }
        let controller = render(&spec, &Access::default(), &nodes[2], &nodes, Path::new("/c"));
        assert!(controller.contains("\nlisteners=CONTROLLER://10.3.7.101:9093\n"), "{controller}");
        assert!(!controller.contains("advertised"), "{controller}");
    }

    #[test]
    fn settings_are_what_differs_from_kafkas_defaults() {
        let mut spec = LocalSpec { brokers: 1, ..LocalSpec::default() };
        spec.config.insert("group.initial.rebalance.delay.ms".to_owned(), "3000".to_owned());
        spec.config.insert("num.io.threads".to_owned(), "2".to_owned());
        let settings = spec.settings();
        assert_eq!(settings.get("offsets.topic.replication.factor").map(String::as_str), Some("1"));
        assert_eq!(settings.get("num.io.threads").map(String::as_str), Some("2"));
        assert!(!settings.contains_key("group.initial.rebalance.delay.ms"), "{settings:?}");
    }

    #[test]
    fn an_isolated_controller_has_no_client_listener() {
        let spec = LocalSpec { brokers: 1, controllers: Controllers::Isolated(1), ..LocalSpec::default() };
        let nodes = lay_out(&spec, &PORTS);
        let broker = render(&spec, &Access::default(), &nodes[0], &nodes, Path::new("/b"));
        assert!(broker.contains("\nlisteners=PLAINTEXT://127.0.0.1:20001\n"), "{broker}");
        assert!(broker.contains("process.roles=broker\n"), "{broker}");
        assert!(broker.contains("offsets.topic.replication.factor=1\n"), "{broker}");
        let controller = render(&spec, &Access::default(), &nodes[1], &nodes, Path::new("/c"));
        assert!(controller.contains("\nlisteners=CONTROLLER://127.0.0.1:20002\n"), "{controller}");
        assert!(controller.contains("controller.quorum.voters=101@127.0.0.1:20002\n"), "{controller}");
        assert!(!controller.contains("advertised"), "{controller}");
    }

    #[test]
    fn values_survive_javas_parser() {
        assert_eq!(escaped(r" a\b é 😀 =:#"), r"\ a\\b \u00e9 \ud83d\ude00 =:#");
        assert_eq!(escaped("two\nlines\t"), r"two\u000alines\u0009");
    }

    #[test]
    fn whatever_the_value_it_stays_on_its_line() {
        use proptest::prelude::*;
        proptest!(|(value in any::<String>())| {
            let text = escaped(&value);
            prop_assert!(text.chars().all(|c| (' '..='~').contains(&c)), "{}", text);
        });
    }
}
