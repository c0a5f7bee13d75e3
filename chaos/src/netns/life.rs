//! Making a network and removing it. Removing is harmless when there is nothing, or only a part.

use std::path::{Path, PathBuf};

use super::enter::NAMES;
use super::layout::Network;
use super::subnet::{self, ReservedSubnet};
use super::tools::{Tool, run};
use super::{NETWORK_FILE, NetnsError};
use crate::remains;

/// The network of a cluster that runs. It outlives this value: [`HeldNetwork::remove`] ends it, or [`undo`].
#[derive(Debug)]
pub(crate) struct HeldNetwork {
    pub(crate) network: Network,
    state_dir: PathBuf,
    _subnet: ReservedSubnet,
}

impl HeldNetwork {
    /// Makes the network of the cluster whose state lies in `state_dir`, and which has these nodes. If that fails, nothing of it is left.
    pub(crate) fn make(state_dir: &Path, nodes: Vec<i32>) -> Result<Self, NetnsError> {
        let name = Network::name_for(state_dir);
        let subnet = subnet::reserve()?;
        let network = Network { name, subnet: subnet.subnet, nodes };
        if network.is_there() {
            return Err(NetnsError::Exists { name: network.name });
        }
        remains::note(state_dir, NETWORK_FILE, &network)?;
        let held = Self { network, state_dir: state_dir.to_path_buf(), _subnet: subnet };
        for command in held.network.commands() {
            let args: Vec<&str> = command.split(' ').collect();
            if let Err(error) = run(Tool::Ip, None, &args, "") {
                // The first error is the one to tell; what can't be removed now is for whoever finds the file.
                let _ = held.remove();
                return Err(error.into());
            }
        }
        Ok(held)
    }

    /// Removes it. Its nodes must be gone.
    pub(crate) fn remove(&self) -> Result<(), NetnsError> {
        remove(&self.network, &self.state_dir)
    }
}

/// Removes the network of the cluster whose state lies in `cluster_dir`, if its supervisor did not: it was killed, and its nodes with it.
/// Gives the name of the network; `None` if there is none, or the supervisor lives and will remove it. Harmless when repeated.
///
/// # Errors
/// What could not be removed: it is left to the next call.
pub fn undo(cluster_dir: &Path) -> Result<Option<String>, NetnsError> {
    let Some(network) = remains::find::<Network>(cluster_dir, NETWORK_FILE)? else { return Ok(None) };
    remove(&network, cluster_dir)?;
    Ok(Some(network.name))
}

/// As [`undo`], for all clusters whose state lies in `dir` or at most `depth` levels below it; gives the names of the networks that were
/// removed. Links are not followed.
///
/// # Errors
/// The first that could not be removed; the others are.
pub fn undo_below(dir: &Path, depth: usize) -> Result<Vec<String>, NetnsError> {
    remains::undo_below(dir, depth, undo)
}

fn remove(network: &Network, state_dir: &Path) -> Result<(), NetnsError> {
    let mut problems = Vec::new();
    let mut ip = |args: &[&str]| {
        if let Err(error) = run(Tool::Ip, None, args, "") {
            problems.push(error.to_string());
        }
    };
    // By itself it would go with its other end, but some time later.
    if has_interface(&network.name) {
        ip(&["link", "del", &network.name]);
    }
    for namespace in network.namespaces().iter().filter(|name| has_namespace(name)) {
        ip(&["netns", "del", namespace]);
    }
    if network.is_there() {
        return Err(NetnsError::Left { name: network.name.clone(), problems });
    }
    Ok(remains::forget(state_dir, NETWORK_FILE)?)
}

impl Network {
    /// Whether anything of it is on this host.
    fn is_there(&self) -> bool {
        has_interface(&self.name) || self.namespaces().iter().any(|name| has_namespace(name))
    }
}

fn has_interface(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

fn has_namespace(name: &str) -> bool {
    Path::new(NAMES).join(name).exists()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{SocketAddr, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::fault::{Direction, NetworkFault, NetworkKind};
    use crate::netns::{Faults, Namespace, why_no_delay, why_not};
    use crate::proxy::Links;

    /// What becomes of a connection to a node. Nobody listens in these tests: one that is reached refuses.
    fn connected(network: &Network, node: i32, limit: Duration) -> io::ErrorKind {
        let addr = SocketAddr::from((network.addr_of(node), crate::local::own_ports::CLIENTS));
        let Err(error) = TcpStream::connect_timeout(&addr, limit) else {
            panic!("somebody listens at {addr}")
        };
        error.kind()
    }

    /// The bridge passes nothing on before it has noticed that somebody is plugged in, which takes a busy kernel a while.
    fn is_reached(network: &Network, node: i32) -> bool {
        connected(network, node, Duration::from_secs(30)) == io::ErrorKind::ConnectionRefused
    }

    fn is_silent(network: &Network, node: i32) -> bool {
        connected(network, node, Duration::from_millis(300)) == io::ErrorKind::TimedOut
    }

    /// A network in a directory of its own, which does not outlive its test.
    struct Made {
        held: HeldNetwork,
        dir: tempfile::TempDir,
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _ = self.held.remove();
        }
    }

    /// `None`, which is said, where this machine can have none.
    fn made(nodes: Vec<i32>) -> Option<Made> {
        if let Some(unable) = why_not() {
            println!("skipped: {}", unable.why);
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let held = HeldNetwork::make(dir.path(), nodes).unwrap();
        Some(Made { held, dir })
    }

    #[test]
    fn what_a_dead_supervisor_left_is_removed_by_its_file() {
        let Some(made) = made(vec![1, 101]) else { return };
        let (held, dir) = (&made.held, &made.dir);
        assert!(held.network.is_there());
        assert!(is_reached(&held.network, 101));
        let again = HeldNetwork::make(dir.path(), vec![1]).unwrap_err().to_string();
        assert!(again.contains("there is a network gnt"), "{again}");
        assert!(held.network.is_there(), "what is there is left alone");
        // Part of it is gone already, as when somebody was killed while removing it.
        run(Tool::Ip, None, &["netns", "del", &held.network.name_of(1)], "").unwrap();
        assert_eq!(undo_below(dir.path(), 0).unwrap(), std::slice::from_ref(&held.network.name));
        assert!(!held.network.is_there());
        assert_eq!(undo(dir.path()).unwrap(), None);
        held.remove().unwrap();
    }

    #[test]
    fn rules_act_are_counted_and_go() {
        let Some(made) = made(vec![1, 2]) else { return };
        let network = &made.held.network;
        let of = |kind, direction| {
            NetworkFault { kind, links: Links::ALL, direction, peer: None, apis: None }.rules(&[2])
        };
        // So that silence and counts below are the rules' doing.
        assert!(is_reached(network, 1) && is_reached(network, 2));
        let mut faults = Faults::default();
        faults.install(network, "cut#1", &of(NetworkKind::Isolate, Direction::Both)).unwrap();
        assert_eq!(faults.first_acted_ns("cut#1"), Ok(None));
        assert!(is_silent(network, 2));
        assert!(is_reached(network, 1), "the other one is not hit");
        assert!(faults.first_acted_ns("cut#1").unwrap().is_some());
        // In place of what it was, and beside another fault.
        faults.install(network, "cut#1", &of(NetworkKind::Isolate, Direction::From)).unwrap();
        assert_eq!(faults.first_acted_ns("cut#1"), Ok(None), "other rules, other counts");
        assert!(is_silent(network, 2));
        let slow = of(NetworkKind::Bandwidth { bytes_per_s: 1000 }, Direction::Both);
        faults.install(network, "slow", &slow).unwrap();
        let error = faults.install(network, "slower", &slow).unwrap_err();
        assert_eq!(error, "fault slow limits the rate there already");
        faults.remove("cut#1").unwrap();
        faults.remove("cut#1").unwrap();
        assert!(is_reached(network, 2));
        assert!(faults.first_acted_ns("slow").unwrap().is_some(), "both ways, on the bridge as well");
        assert_eq!(faults.remove_all(), Vec::<String>::new());
        faults.install(network, "slow", &slow).unwrap();
        assert_eq!(faults.remove_all(), Vec::<String>::new());
        made.held.remove().unwrap();
        assert!(!network.is_there());
    }

    /// How long a node took to refuse a connection, whose request was late as well as the refusal.
    fn refused_after(network: &Network, node: i32) -> Duration {
        let begun = Instant::now();
        assert!(is_reached(network, node));
        begun.elapsed()
    }

    #[test]
    fn packets_are_as_late_as_all_faults_together_say() {
        let Some(made) = made(vec![1, 2]) else { return };
        if let Some(unable) = why_no_delay() {
            println!("skipped: {}", unable.why);
            return;
        }
        let network = &made.held.network;
        let latency = Duration::from_millis(200);
        let kind = NetworkKind::Delay { latency_ns: latency.as_nanos() as u64, jitter_ns: 0 };
        let late =
            NetworkFault { kind, links: Links::ALL, direction: Direction::Both, peer: None, apis: None };
        let late = late.rules(&[2]);
        assert!(is_reached(network, 1) && is_reached(network, 2));
        let mut faults = Faults::default();
        faults.install(network, "late", &late).unwrap();
        assert_eq!(faults.first_acted_ns("late"), Ok(None));
        assert!(refused_after(network, 2) >= 2 * latency, "there and back");
        assert!(faults.first_acted_ns("late").unwrap().is_some());
        faults.install(network, "later", &late).unwrap();
        assert!(refused_after(network, 2) >= 4 * latency, "of both");
        // The one that is younger is left, and gets a younger one.
        faults.remove("late").unwrap();
        assert!(refused_after(network, 2) >= 2 * latency);
        faults.install(network, "latest", &late).unwrap();
        assert!(refused_after(network, 2) >= 4 * latency);
        assert_eq!(faults.remove_all(), Vec::<String>::new());
        let begun = Instant::now();
        while refused_after(network, 2) >= latency {
            assert!(begun.elapsed() < Duration::from_secs(30), "it is late still");
        }
        let inside = Some(Namespace::Named(network.switch()));
        let links = run(Tool::Ip, inside.as_ref(), &["-o", "link"], "").unwrap();
        assert!(!links.contains(": d"), "a line is left: {links}");
    }
}
