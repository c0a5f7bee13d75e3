//! What is done to the network of nodes in namespaces, as text for `nft`: pure, so that it can be read without root.
//!
//! Packets are told by addresses, which tell nodes and clients, and by ports, which tell links: every kind has a port of its own, the
//! same on every node ([`own_ports`]). A rule is about one direction, so of a connection it sees requests (to the port) or
//! responses (from it). It stands where the packets of its direction begin if that is a node, else where they end.
//!
//! What is to be late is led away where it enters the bridge, into a delay line ([`super::delay_line`]). A rule of that kind is about
//! what comes out of the lines that were there before as well, so that delays of both ends add up.
//!
//! Nodes have connections to themselves as well, through `lo`; no rule is about these, as no network carries them.

use std::fmt::Write;

use super::layout::{HOST_PORT, NODE_INTERFACE, Network};
use crate::local::own_ports;
use crate::proxy::{Effect, End, Ends, Link, Links, Rule};

/// Class of the shaper that packets of a limited rule are given to.
pub(super) const CLASS: &str = "1:1";

/// Where in its hook a filter stands: at netfilter's place for them.
const FILTER: &str = "priority 0";

/// A set of rules in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The namespace.
    pub(super) namespace: String,
    /// `inet` in that of a node, `bridge` or `netdev` in that of the switch.
    pub(super) family: &'static str,
    /// Its name there.
    pub(super) name: String,
    /// The whole of it, as `nft -f` reads it.
    pub(super) text: String,
    /// The interface that sends what it limits, and at which rate, bytes a second.
    pub(super) limit: Option<(String, u64)>,
    /// The delay line that it leads into.
    pub(super) line: Option<Line>,
}

/// A delay line, plugged into the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Of its device; at most 15 bytes, as the kernel has it.
    pub(super) name: String,
    /// How much later what enters it leaves it, nanoseconds.
    pub(super) latency_ns: u64,
    /// By how much more or less, at most.
    pub(super) jitter_ns: u64,
}

/// Why a rule can't be put into tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTable {
    /// No node is at either end.
    #[error("a rule about nobody in particular")]
    NoNode,
    /// Only something that reads what is sent could do it.
    #[error("the kernel can't tell requests of one API from others")]
    Apis,
    /// Only something that has the connection could do it.
    #[error("the kernel does not tell packets of connections that were there before from others")]
    HalfOpen,
}

/// The tables that do what `rules` say, for the fault with this number; `lines` are the delay lines of faults with lower ones.
pub(super) fn tables(
    network: &Network,
    rules: &[Rule],
    number: u32,
    lines: &[String],
) -> Result<Vec<Table>, NoTable> {
    let mut lines = lines.to_vec();
    let table = |(index, rule): (usize, &Rule)| {
        let table = table(network, rule, number, index, &lines)?;
        lines.extend(table.line.iter().map(|line| line.name.clone()));
        Ok(table)
    };
    rules.iter().enumerate().map(table).collect()
}

fn table(
    network: &Network,
    rule: &Rule,
    number: u32,
    index: usize,
    lines: &[String],
) -> Result<Table, NoTable> {
    if rule.apis.is_some() {
        return Err(NoTable::Apis);
    }
    let name = format!("gauntlet_{number}_{index}");
    let (verdict, limit) = match rule.effect {
        Effect::Hold => ("drop".to_owned(), None),
        Effect::Reset => ("reject with tcp reset".to_owned(), None),
        Effect::Limit { bytes_per_s } => (format!("meta priority set {CLASS}"), Some(bytes_per_s)),
        Effect::Delay { latency_ns, jitter_ns } => {
            let line = Line { name: format!("d{number}_{index}"), latency_ns, jitter_ns };
            return delaying(network, rule, name, line, i64::from(number) * 1000 + index as i64, lines);
        }
        Effect::HalfOpen => return Err(NoTable::HalfOpen),
    };
    let limit = |interface: String| limit.map(|bytes_per_s| (interface, bytes_per_s));
    match (&rule.from, &rule.to) {
        (Ends::Only(End::Node(node)), to) => {
            let lines = lines_of(rule, &about(network, "daddr", to), &verdict);
            let text = text("inet", &name, "output", FILTER, "oifname \"lo\" accept", &lines);
            let limit = limit(NODE_INTERFACE.to_owned());
            Ok(Table { namespace: network.name_of(*node), family: "inet", name, text, limit, line: None })
        }
        // Only who sends can be slowed down, which is the bridge.
        (from, Ends::Only(End::Node(node))) if matches!(rule.effect, Effect::Limit { .. }) => {
            let port = Network::port_of(*node);
            let about = format!("oifname \"{port}\" {}", about(network, "saddr", from));
            let text = text("bridge", &name, "forward", FILTER, "", &lines_of(rule, &about, &verdict));
            let limit = limit(port);
            Ok(Table { namespace: network.switch(), family: "bridge", name, text, limit, line: None })
        }
        (from, Ends::Only(End::Node(node))) => {
            let lines = lines_of(rule, &about(network, "saddr", from), &verdict);
            let text = text("inet", &name, "input", FILTER, "iifname \"lo\" accept", &lines);
            let namespace = network.name_of(*node);
            Ok(Table { namespace, family: "inet", name, text, limit: None, line: None })
        }
        (
            Ends::Any | Ends::Outside(_) | Ends::Only(End::Client),
            Ends::Any | Ends::Outside(_) | Ends::Only(End::Client),
        ) => Err(NoTable::NoNode),
    }
}

/// The table that leads packets into `line`, wherever they enter the bridge: through the ports of nodes and of this host, or out of one of
/// `lines`. Tables with lower priorities see packets first, which must be those of older lines: their lines don't end in younger tables
/// otherwise.
fn delaying(
    network: &Network,
    rule: &Rule,
    name: String,
    line: Line,
    priority: i64,
    lines: &[String],
) -> Result<Table, NoTable> {
    let (mut devices, about) = match (&rule.from, &rule.to) {
        (from @ Ends::Only(End::Node(node)), to) => {
            let about = about(network, "saddr", from) + &about(network, "daddr", to);
            (vec![Network::port_of(*node)], about)
        }
        (from, to @ Ends::Only(End::Node(node))) => {
            let others = network.nodes.iter().filter(|other| *other != node);
            let ports = others.map(|other| Network::port_of(*other));
            let about = about(network, "daddr", to) + &about(network, "saddr", from);
            (std::iter::once(HOST_PORT.to_owned()).chain(ports).collect(), about)
        }
        _ => return Err(NoTable::NoNode),
    };
    devices.extend_from_slice(lines);
    let hooked = format!("devices = {{ {} }} priority {priority}", devices.join(", "));
    let lines = lines_of(rule, &about, &format!("fwd to \"{}\"", line.name));
    let text = text("netdev", &name, "ingress", &hooked, "", &lines);
    Ok(Table { namespace: network.switch(), family: "netdev", name, text, limit: None, line: Some(line) })
}

/// Which packets are from, or to, the other end; nothing if that is whoever.
fn about(network: &Network, field: &str, end: &Ends) -> String {
    match end {
        Ends::Any => String::new(),
        Ends::Outside(side) => {
            let side: Vec<String> = side.iter().map(|node| network.addr_of(*node).to_string()).collect();
            format!("ip {field} != {{ {} }} ", side.join(", "))
        }
        Ends::Only(End::Client) => format!("ip {field} {} ", network.host_addr()),
        Ends::Only(End::Node(node)) => format!("ip {field} {} ", network.addr_of(*node)),
    }
}

/// A line for requests and one for responses.
fn lines_of(rule: &Rule, about: &str, verdict: &str) -> [String; 2] {
    let ports = ports(rule.links);
    // What a reset passes by is a reset, the answer to what this rule was about in the other direction.
    let but = if rule.effect == Effect::Reset { "tcp flags & rst == 0 " } else { "" };
    ["dport", "sport"].map(|side| format!("{about}tcp {side} {{ {ports} }} {but}counter {verdict}"))
}

fn ports(links: Links) -> String {
    let all = [
        (Link::Clients, own_ports::CLIENTS),
        (Link::Controllers, own_ports::CONTROLLERS),
        (Link::Brokers, own_ports::BROKERS),
    ];
    let ports: Vec<String> =
        all.into_iter().filter(|(link, _)| links.has(*link)).map(|(_, port)| port.to_string()).collect();
    ports.join(", ")
}

/// The text of a table with one chain: at `hook`, `hooked` to it so.
fn text(family: &str, name: &str, hook: &str, hooked: &str, first: &str, lines: &[String; 2]) -> String {
    let mut text = format!("table {family} {name} {{\n  chain {hook} {{\n");
    // Writing to a String can't fail.
    let _ = writeln!(text, "    type filter hook {hook} {hooked}; policy accept;");
    for line in std::iter::once(first).chain(lines.iter().map(String::as_str)).filter(|line| !line.is_empty())
    {
        let _ = writeln!(text, "    {line}");
    }
    text.push_str("  }\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::fault::{Direction, NetworkFault, NetworkKind};

    fn network() -> Network {
        Network { name: "gnt1".to_owned(), subnet: Ipv4Addr::new(10, 3, 7, 0), nodes: vec![1, 2, 3] }
    }

    fn of(kind: NetworkKind, links: Links, direction: Direction, peer: Option<i32>) -> Vec<Table> {
        let rules = NetworkFault { kind, links, direction, peer, apis: None }.rules(&[2]);
        tables(&network(), &rules, 7, &[]).unwrap()
    }

    #[test]
    fn cut_off_from_everybody() {
        let [to, from] = &of(NetworkKind::Isolate, Links::ALL, Direction::Both, None)[..] else { panic!() };
        assert_eq!((to.namespace.as_str(), from.namespace.as_str()), ("gnt1-2", "gnt1-2"));
        assert_eq!(
            to.text,
            "table inet gauntlet_7_0 {\n  chain input {\n    type filter hook input priority 0; policy accept;\n    \
             iifname \"lo\" accept\n    tcp dport { 9092, 9093, 9094 } counter drop\n    \
             tcp sport { 9092, 9093, 9094 } counter drop\n  }\n}\n"
        );
        assert!(
            from.text.contains("hook output") && from.text.contains("oifname \"lo\" accept"),
            "{}",
            from.text
        );
        assert_eq!(from.name, "gauntlet_7_1");
    }

    #[test]
    fn two_from_each_other_and_one_way() {
        let pair = of(NetworkKind::Partition, Links::only(Link::Brokers), Direction::Both, Some(3));
        let places: Vec<&str> = pair.iter().map(|table| table.namespace.as_str()).collect();
        assert_eq!(places, ["gnt1-3", "gnt1-2"], "where packets begin");
        assert!(
            pair[0].text.contains("ip daddr 10.3.7.12 tcp dport { 9094 } counter drop"),
            "{}",
            pair[0].text
        );
        assert!(
            pair[1].text.contains("ip daddr 10.3.7.13 tcp sport { 9094 } counter drop"),
            "{}",
            pair[1].text
        );
        let [from] = &of(NetworkKind::Partition, Links::NODES, Direction::From, None)[..] else { panic!() };
        assert!(from.text.contains("output") && from.text.contains("{ 9093, 9094 }"), "{}", from.text);
    }

    #[test]
    fn one_side_from_the_other() {
        let fault = NetworkFault {
            kind: NetworkKind::Partition,
            links: Links::NODES,
            direction: Direction::To,
            peer: None,
            apis: None,
        };
        let sides = tables(&network(), &fault.rules(&[2, 3]), 7, &[]).unwrap();
        let places: Vec<&str> = sides.iter().map(|table| table.namespace.as_str()).collect();
        assert_eq!(places, ["gnt1-2", "gnt1-3"]);
        let line = "ip saddr != { 10.3.7.12, 10.3.7.13 } tcp dport { 9093, 9094 } counter drop";
        assert!(sides[0].text.contains(line), "{}", sides[0].text);
    }

    #[test]
    fn resets_are_not_reset() {
        let [to, _] = &of(NetworkKind::Reset, Links::only(Link::Clients), Direction::Both, None)[..] else {
            panic!()
        };
        let line = "tcp dport { 9092 } tcp flags & rst == 0 counter reject with tcp reset";
        assert!(to.text.contains(line), "{}", to.text);
    }

    #[test]
    fn what_a_node_is_sent_is_limited_on_the_bridge() {
        let kind = NetworkKind::Bandwidth { bytes_per_s: 1000 };
        let [to, from] = &of(kind, Links::only(Link::Clients), Direction::Both, None)[..] else { panic!() };
        assert_eq!((to.namespace.as_str(), to.family), ("gnt1-sw", "bridge"));
        assert!(
            to.text.contains("    oifname \"n2\" tcp dport { 9092 } counter meta priority set 1:1\n"),
            "{}",
            to.text
        );
        assert_eq!(to.limit, Some(("n2".to_owned(), 1000)));
        assert_eq!((from.namespace.as_str(), &from.limit), ("gnt1-2", &Some(("eth0".to_owned(), 1000))));
    }

    #[test]
    fn what_is_late_is_led_away_where_it_enters_the_bridge() {
        let kind = NetworkKind::Delay { latency_ns: 50, jitter_ns: 20 };
        let fault = NetworkFault {
            kind,
            links: Links::only(Link::Brokers),
            direction: Direction::Both,
            peer: Some(3),
            apis: None,
        };
        let older = ["d6_0".to_owned()];
        let [to, from] = &tables(&network(), &fault.rules(&[2]), 7, &older).unwrap()[..] else { panic!() };
        assert_eq!((from.namespace.as_str(), from.family), ("gnt1-sw", "netdev"));
        assert_eq!(from.line, Some(Line { name: "d7_1".to_owned(), latency_ns: 50, jitter_ns: 20 }));
        // By whom it is sent, whichever line it was in before: that of the same fault, and of one before it.
        assert_eq!(
            from.text,
            "table netdev gauntlet_7_1 {\n  chain ingress {\n    \
             type filter hook ingress devices = { n2, d6_0, d7_0 } priority 7001; policy accept;\n    \
             ip saddr 10.3.7.12 ip daddr 10.3.7.13 tcp dport { 9094 } counter fwd to \"d7_1\"\n    \
             ip saddr 10.3.7.12 ip daddr 10.3.7.13 tcp sport { 9094 } counter fwd to \"d7_1\"\n  }\n}\n"
        );
        assert!(to.text.contains("devices = { n3, d6_0 } priority 7000;"), "{}", to.text);
    }

    #[test]
    fn what_whoever_sends_is_late_from_every_port_but_its_own() {
        let kind = NetworkKind::Delay { latency_ns: 50, jitter_ns: 0 };
        let [to] = &of(kind, Links::ALL, Direction::To, None)[..] else { panic!() };
        assert!(to.text.contains("devices = { host, n1, n3 }"), "{}", to.text);
        assert!(to.text.contains("    ip daddr 10.3.7.12 tcp dport"), "{}", to.text);
    }

    #[test]
    fn what_the_kernel_can_not_do_is_refused() {
        let mut fault = NetworkFault {
            kind: NetworkKind::HalfOpen,
            links: Links::ALL,
            direction: Direction::Both,
            peer: None,
            apis: None,
        };
        assert_eq!(tables(&network(), &fault.rules(&[2]), 1, &[]), Err(NoTable::HalfOpen));
        fault.kind = NetworkKind::Reset;
        fault.apis = crate::proxy::Apis::named(&["Fetch".to_owned()]).ok();
        assert_eq!(tables(&network(), &fault.rules(&[2]), 1, &[]), Err(NoTable::Apis));
        let nobody =
            Rule { from: Ends::Any, to: Ends::Any, apis: None, links: Links::ALL, effect: Effect::Hold };
        assert_eq!(tables(&network(), &[nobody], 1, &[]), Err(NoTable::NoNode));
    }
}
