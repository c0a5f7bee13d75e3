//! The proxy over real sockets: what arrives, and when it must not.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::local::ReservedPorts;

/// How long something is waited for that must come.
const LIMIT: Duration = Duration::from_secs(30);
/// How long it is waited for something that must not come.
const SILENCE: Duration = Duration::from_millis(150);

/// A proxy in front of two servers that send back what they get.
struct Stage {
    proxy: Proxy,
    fronts: Vec<Front>,
    nodes: Nodes,
    _ports: ReservedPorts,
}

impl Stage {
    fn set() -> Self {
        let ports = ReservedPorts::take(3).unwrap();
        let links = [(1, Link::Clients), (2, Link::Clients), (1, Link::Brokers)];
        let servers = [echo(), echo()];
        let front = |(port, (node, link)): (&u16, (i32, Link))| Front {
            port: *port,
            node_port: servers[usize::try_from(node).unwrap() - 1],
            node,
            link,
        };
        let fronts: Vec<Front> = ports.ports().iter().zip(links).map(front).collect();
        let nodes = Nodes::default();
        let proxy = Proxy::start(&fronts, nodes.clone()).unwrap();
        Self { proxy, fronts, nodes, _ports: ports }
    }

    fn connect(&self, front: usize) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.fronts[front].port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// A server; gives its port. Its threads end with the test's process.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut answers = stream.try_clone().unwrap();
                let _ = io::copy(&mut stream, &mut answers);
                let _ = answers.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

/// Sends, and waits until as much has come back.
fn round_trip(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(bytes)?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn rules(node: i32, effect: Effect) -> [Rule; 2] {
    let node = Ends::Only(End::Node(node));
    let rule = |from, to| Rule { links: Links::ALL, from, to, apis: None, effect };
    [rule(node.clone(), Ends::Any), rule(Ends::Any, node)]
}

#[test]
fn without_rules_everything_arrives_and_ends() {
    let stage = Stage::set();
    let mut stream = stage.connect(0);
    assert_eq!(round_trip(&mut stream, b"hello").unwrap(), b"hello");
    // More than all buffers on the way: whoever does not read makes the sender wait, and loses nothing.
    let sent: Vec<u8> = (0..40_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let sending = sent.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&sending).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    sender.join().unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
}

#[test]
fn what_is_held_arrives_when_the_rule_is_gone() {
    let stage = Stage::set();
    let (mut held, mut other) = (stage.connect(0), stage.connect(1));
    round_trip(&mut held, b"before").unwrap();
    stage.proxy.install("cut", &rules(1, Effect::Hold)).unwrap();
    assert_eq!(stage.proxy.first_acted_ns("cut").unwrap(), None, "nothing came by");
    held.write_all(b"during").unwrap();
    assert!(is_silent(&mut held));
    assert!(stage.proxy.first_acted_ns("cut").unwrap().is_some());
    assert_eq!(round_trip(&mut other, b"another node").unwrap(), b"another node");
    let mut late = stage.connect(0);
    late.write_all(b"new").unwrap();
    assert!(is_silent(&mut late), "a new connection is held, too");

    stage.proxy.remove(Some("cut")).unwrap();
    stage.proxy.remove(Some("cut")).unwrap();
    let mut answer = [0; 6];
    held.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"during");
    late.read_exact(&mut answer[..3]).unwrap();
    assert_eq!(&answer[..3], b"new");
}

#[test]
fn one_way_holds_answers_only() {
    let stage = Stage::set();
    let mut stream = stage.connect(0);
    let [from_node, _] = rules(1, Effect::Hold);
    stage.proxy.install("half", &[from_node]).unwrap();
    stream.write_all(b"x").unwrap();
    assert!(is_silent(&mut stream));
    // The request has arrived: its answer is what acted.
    assert!(stage.proxy.first_acted_ns("half").unwrap().is_some());
    stage.proxy.remove(None).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

#[test]
fn what_is_delayed_is_late_and_in_order() {
    let stage = Stage::set();
    let mut stream = stage.connect(0);
    let delay = Effect::Delay { latency_ns: 60_000_000, jitter_ns: 20_000_000 };
    stage.proxy.install("late", &rules(1, delay)).unwrap();
    let begun = Instant::now();
    let text: Vec<u8> = (0..200).collect();
    // In pieces of one, of which each draws its own delay.
    for byte in &text {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text);
    assert!(begun.elapsed() >= Duration::from_millis(80), "{:?}", begun.elapsed());
    // The end is late as well, and comes after everything else.
    stream.write_all(b"z").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"z");
}

#[test]
fn a_limit_takes_its_time() {
    let stage = Stage::set();
    let mut stream = stage.connect(0);
    // Half a second there; the way back is free.
    let [_, to_node] = rules(1, Effect::Limit { bytes_per_s: 200_000 });
    stage.proxy.install("slow", &[to_node]).unwrap();
    let begun = Instant::now();
    let text = vec![7; 100_000];
    assert!(round_trip(&mut stream, &text).unwrap() == text);
    assert!(begun.elapsed() >= Duration::from_millis(490), "{:?}", begun.elapsed());
    assert!(stage.proxy.first_acted_ns("slow").unwrap().is_some());
}

#[test]
fn a_reset_ends_what_is_there_and_what_comes() {
    let stage = Stage::set();
    let mut stream = stage.connect(0);
    round_trip(&mut stream, b"before").unwrap();
    stage.proxy.install("no", &rules(1, Effect::Reset)).unwrap();
    let kind = |read: io::Result<usize>| read.map_err(|error| error.kind());
    assert_eq!(kind(stream.read(&mut [0])), Err(io::ErrorKind::ConnectionReset));
    let mut again = stage.connect(0);
    assert_eq!(kind(again.read(&mut [0])), Err(io::ErrorKind::ConnectionReset));
    assert!(stage.proxy.first_acted_ns("no").unwrap().is_some());
    round_trip(&mut stage.connect(1), b"another node").unwrap();
    stage.proxy.remove(Some("no")).unwrap();
    round_trip(&mut stage.connect(0), b"after").unwrap();
}

/// What is sent to the node gets nowhere: the node sees an end, whoever sends sees nothing, until the network is back.
#[test]
fn a_lost_connection_is_silent_to_who_sends_and_closed_to_who_would_hear() {
    let stage = Stage::set();
    let (mut client, mut other) = (stage.connect(0), stage.connect(1));
    round_trip(&mut client, b"before").unwrap();
    round_trip(&mut other, b"before").unwrap();
    let [from_node, to_node] = rules(1, Effect::HalfOpen);
    stage.proxy.install("lost", std::slice::from_ref(&to_node)).unwrap();
    assert!(stage.proxy.first_acted_ns("lost").unwrap().is_some(), "a connection was there");
    // More than any buffer would take of what nobody reads.
    client.write_all(&vec![7; 20_000_000]).unwrap();
    assert!(is_silent(&mut client));
    round_trip(&mut stage.connect(0), b"a new one").unwrap();
    round_trip(&mut other, b"another node").unwrap();
    stage.proxy.remove(Some("lost")).unwrap();
    let kind = |read: io::Result<usize>| read.map_err(|error| error.kind());
    assert_eq!(
        kind(client.read(&mut [0])),
        Err(io::ErrorKind::ConnectionReset),
        "the network knows nothing of it"
    );

    // What the node sends gets nowhere: it is the client who sees an end.
    let mut client = stage.connect(0);
    round_trip(&mut client, b"before").unwrap();
    stage.proxy.install("lost", std::slice::from_ref(&from_node)).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    stage.proxy.remove(None).unwrap();

    // Neither is told; and one that gives up does not tell the other one either.
    let (mut one, mut two) = (stage.connect(0), stage.connect(0));
    round_trip(&mut one, b"before").unwrap();
    round_trip(&mut two, b"before").unwrap();
    stage.proxy.install("lost", &[from_node, to_node]).unwrap();
    one.write_all(b"x").unwrap();
    assert!(is_silent(&mut one) && is_silent(&mut two));
    drop(one);
    round_trip(&mut stage.connect(0), b"a new one").unwrap();
}

/// On the links of nodes, a connection has the node at its end whose process made it; on those of clients it has not.
#[test]
fn a_nodes_own_connections_are_known() {
    let stage = Stage::set();
    stage.nodes.set(2, std::process::id().cast_signed());
    let (mut client, mut node) = (stage.connect(0), stage.connect(2));
    let pair = Rule {
        links: Links::ALL,
        from: Ends::Only(End::Node(2)),
        to: Ends::Only(End::Node(1)),
        apis: None,
        effect: Effect::Hold,
    };
    stage.proxy.install("pair", &[pair]).unwrap();
    round_trip(&mut client, b"client").unwrap();
    node.write_all(b"node").unwrap();
    assert!(is_silent(&mut node));
    // Node 1 speaks to itself, whatever is done to it.
    stage.nodes.set(1, std::process::id().cast_signed());
    stage.nodes.set(2, 0);
    stage.proxy.install("pair", &rules(1, Effect::Hold)).unwrap();
    round_trip(&mut stage.connect(2), b"itself").unwrap();
}

#[test]
fn nobody_behind_it_is_a_reset() {
    let ports = ReservedPorts::take(2).unwrap();
    let front = Front { port: ports.ports()[0], node_port: ports.ports()[1], node: 1, link: Link::Clients };
    let _proxy = Proxy::start(&[front], Nodes::default()).unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, front.port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let read = stream.read(&mut [0]);
    assert!(read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
}

#[test]
fn it_ends_with_its_owner() {
    let stage = Stage::set();
    let mut stream = stage.connect(0);
    round_trip(&mut stream, b"x").unwrap();
    drop(stage.proxy);
    let ended = match stream.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    };
    assert!(ended, "it is still there");
}

/// A request of the API, which our servers send back. For the proxy that is its response: it has the API's key and version, which is
/// 0, where a response has its correlation id.
fn request(api: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = (8 + body.len() as i32).to_be_bytes().to_vec();
    frame.extend(api.to_be_bytes());
    frame.extend(0i16.to_be_bytes());
    frame.extend((i32::from(api) << 16).to_be_bytes());
    frame.extend(body);
    frame
}

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;

/// What happens to Produce between node 1 and its clients.
fn produce(from: Ends, to: Ends, effect: Effect) -> Rule {
    let apis = Apis::named(&["Produce".to_owned()]).ok();
    Rule { links: Links::only(Link::Clients), from, to, apis, effect }
}

const NODE: Ends = Ends::Only(End::Node(1));

#[test]
fn responses_of_an_api_are_held_and_what_comes_behind_them_waits() {
    let stage = Stage::set();
    let mut stream = stage.connect(0);
    let (fetch, asked) = (request(FETCH, b"one"), request(PRODUCE, &[7; 100_000]));
    round_trip(&mut stream, &asked).unwrap();
    stage.proxy.install("mute", &[produce(NODE, Ends::Any, Effect::Hold)]).unwrap();
    // In pieces that end within a head.
    stream.write_all(&fetch[..6]).unwrap();
    assert!(is_silent(&mut stream));
    assert_eq!(round_trip(&mut stream, &fetch[6..]).unwrap(), fetch[..fetch.len() - 6]);
    let mut rest = [0; 6];
    stream.read_exact(&mut rest).unwrap();
    assert_eq!(rest, fetch[fetch.len() - 6..]);
    assert_eq!(stage.proxy.first_acted_ns("mute").unwrap(), None, "there was no Produce");

    stream.write_all(&asked).unwrap();
    stream.write_all(&fetch).unwrap();
    assert!(is_silent(&mut stream));
    assert!(stage.proxy.first_acted_ns("mute").unwrap().is_some());
    assert_eq!(round_trip(&mut stage.connect(0), &fetch).unwrap(), fetch, "another connection goes on");
    stage.proxy.remove(Some("mute")).unwrap();
    let mut answers = vec![0; asked.len() + fetch.len()];
    stream.read_exact(&mut answers).unwrap();
    assert!(answers == [asked, fetch].concat(), "in their order");
}

#[test]
fn a_connection_is_reset_when_a_request_of_the_api_comes() {
    let stage = Stage::set();
    stage.proxy.install("no", &[produce(Ends::Any, NODE, Effect::Reset)]).unwrap();
    let fetch = request(FETCH, b"still there");
    let mut stream = stage.connect(0);
    assert_eq!(round_trip(&mut stream, &fetch).unwrap(), fetch);
    let error = round_trip(&mut stream, &request(PRODUCE, b"never seen")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let mut next = stage.connect(0);
    assert_eq!(round_trip(&mut next, &fetch).unwrap(), fetch, "a new one is taken");
    assert_eq!(round_trip(&mut stage.connect(1), &request(PRODUCE, b"2")).unwrap().len(), 13, "another node");
}
