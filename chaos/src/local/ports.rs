//! Ports for brokers: outside the range from which the kernel takes ports for outgoing connections, free now, and held
//! against other clusters for as long as this one lives.
//!
//! A broker binds its port seconds after it was chosen, and again after every restart. Inside the kernel's own range an
//! outgoing connection may take it meanwhile (seen: `BindException`, "cluster never ready"). Another gauntlet could take it
//! too while the broker is down on purpose; against that, each chosen port is also reserved by binding an abstract Unix
//! socket named after it. Such a name belongs to the network namespace, like the port itself, needs no file, and the
//! kernel frees it when the holder (the supervisor) dies.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::random::random_bytes;

const KERNEL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Below are well-known services.
const LOWEST: u16 = 10_000;
/// A range with fewer ports is not worth searching.
const USABLE_MIN: u16 = 1_000;

/// Why there are no ports.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The kernel's range could not be read.
    #[error("cannot read {KERNEL_RANGE}: {0}")]
    KernelRange(io::Error),
    /// The kernel's range leaves no room.
    #[error("ip_local_port_range {}-{} leaves too few ports for brokers; narrow it, e.g. sysctl net.ipv4.ip_local_port_range=\"32768 60999\"", kernel.start, u32::from(kernel.end))]
    NoRoom {
        /// The kernel's range.
        kernel: Range<u16>,
    },
    /// Everything in the range is in use.
    #[error("found only {found} of {wanted} free ports in {}-{}", range.start, range.end)]
    Exhausted {
        /// Where it was searched.
        range: Range<u16>,
        /// How many are needed.
        wanted: usize,
        /// How many were free.
        found: usize,
    },
}

/// Ports that are ours until this is dropped.
#[derive(Debug)]
pub(crate) struct ReservedPorts {
    ports: Vec<u16>,
    _reservations: Vec<UnixListener>,
}

impl ReservedPorts {
    /// Reserves `count` ports that are free on 127.0.0.1.
    pub(crate) fn take(count: usize) -> Result<Self, PortError> {
        let range = broker_range()?;
        // A random start keeps clusters that start at the same moment from trying the same ports one after the other.
        let offset = u16::from_le_bytes(random_bytes()) % range.end.abs_diff(range.start);
        let start = range.start + offset;
        let candidates = (start..range.end).chain(range.start..start);
        let (ports, reservations): (Vec<_>, Vec<_>) =
            candidates.filter_map(|port| Some((port, reserve(port)?))).take(count).unzip();
        if ports.len() < count {
            return Err(PortError::Exhausted { range, wanted: count, found: ports.len() });
        }
        Ok(Self { ports, _reservations: reservations })
    }

    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }
}

/// Reserves the name of `port`, then checks that nobody listens on the port itself; `None` if either is taken.
fn reserve(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("gauntlet-broker-port-{port}")).ok()?;
    let reservation = UnixListener::bind_addr(&name).ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(reservation)
}

/// The ports brokers may use on this host.
pub(crate) fn broker_range() -> Result<Range<u16>, PortError> {
    let text = fs::read_to_string(KERNEL_RANGE).map_err(PortError::KernelRange)?;
    let unreadable =
        || PortError::KernelRange(io::Error::new(io::ErrorKind::InvalidData, format!("{text:?}")));
    let mut bounds = text.split_ascii_whitespace().map(str::parse::<u16>);
    match (bounds.next(), bounds.next()) {
        (Some(Ok(first)), Some(Ok(last))) => range_outside(first..last),
        _ => Err(unreadable()),
    }
}

/// The larger part of 10000..65535 that is outside the kernel's range; normally the part below it.
fn range_outside(kernel: Range<u16>) -> Result<Range<u16>, PortError> {
    let below = LOWEST..kernel.start.max(LOWEST);
    let above = kernel.end.saturating_add(1).max(LOWEST)..u16::MAX;
    let best = if below.len() >= above.len() { below } else { above };
    if best.len() < usize::from(USABLE_MIN) { Err(PortError::NoRoom { kernel }) } else { Ok(best) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_outside_the_kernels_range() {
        assert_eq!(range_outside(32_768..60_999).unwrap(), 10_000..32_768);
        assert_eq!(range_outside(1_024..40_000).unwrap(), 40_001..65_535);
        let error = range_outside(1_024..65_535).unwrap_err().to_string();
        assert!(error.contains("narrow it"), "{error}");
    }

    /// One test for all that really takes ports: two at the same time could take each other's.
    #[test]
    fn a_port_is_one_clusters_as_long_as_it_lives() {
        let first = ReservedPorts::take(200).unwrap();
        let second = ReservedPorts::take(200).unwrap();
        assert!(first.ports().iter().all(|port| !second.ports().contains(port)));

        let port = first.ports()[0];
        assert!(reserve(port).is_none(), "reserved by name");
        drop(first);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(reserve(port).is_none(), "in use by a listener");
        drop(listener);
        assert!(reserve(port).is_some());
    }
}
