//! Who is at the other end of a connection: the process that holds its socket, as the kernel tells it.
//!
//! Bytes could tell it too (client ids of fetchers, replica ids, ids in heartbeats), but only after the first request, in every
//! version's own way, and not at all under TLS. All nodes are children of the supervisor on this host, so the kernel knows it from
//! the moment of the connection on, for every protocol: its table of sockets gives the inode of the end that has the peer's port
//! (proc(5), `/proc/net/tcp`), and the open files of a node name the inodes that it holds.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// The node whose process holds the end with `peer_port` of a connection to our port `front_port`, both on loopback. `None`: it is
/// no node, or the connection is gone already. `processes` are the pids of nodes.
pub(super) fn node_behind(peer_port: u16, front_port: u16, processes: &BTreeMap<i32, i32>) -> Option<i32> {
    // A JVM speaks IPv4 through sockets of both kinds.
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().skip(1).find_map(|line| inode_of(line, peer_port, front_port))
    })?;
    processes.iter().find(|(_, pid)| holds(**pid, inode).unwrap_or(false)).map(|(node, _)| *node)
}

/// The inode of a line of the table, if it is the socket with these ports. 0, a socket that nobody holds any more, is none.
fn inode_of(line: &str, local_port: u16, remote_port: u16) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    // "sl", then the two addresses, in hexadecimal: `0100007F:1F90`.
    let (local, remote) = (fields.nth(1)?, fields.next()?);
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    if port(local)? != local_port || port(remote)? != remote_port {
        return None;
    }
    // st, tx:rx, tr:when, retrnsmt, uid, timeout, inode.
    fields.nth(6)?.parse().ok().filter(|inode| *inode != 0)
}

/// Whether `pid` has this socket open.
fn holds(pid: i32, inode: u64) -> io::Result<bool> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A file that was closed while we looked was not it.
        if fs::read_link(entry?.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_line_of_the_table() {
        let line = "   3: 0100007F:9C42 0100007F:4E21 01 00000000:00000000 00:00000000 00000000  1000        0 778899 1 0000 20 4 30 10 -1";
        assert_eq!(inode_of(line, 0x9c42, 0x4e21), Some(778_899));
        assert_eq!(inode_of(line, 0x4e21, 0x9c42), None, "the other end");
        let mapped = "   0: 0000000000000000FFFF00000100007F:9C42 0000000000000000FFFF00000100007F:4E21 01 00000000:00000000 00:00000000 00000000  1000        0 42 1";
        assert_eq!(inode_of(mapped, 0x9c42, 0x4e21), Some(42));
        let closing = line.replace("778899", "0");
        assert_eq!(inode_of(&closing, 0x9c42, 0x4e21), None);
        assert_eq!(inode_of("   3: 0100007F:9C42", 0x9c42, 0), None);
    }

    #[test]
    fn our_own_connection_is_ours() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let front_port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, front_port)).unwrap();
        let peer_port = stream.local_addr().unwrap().port();
        let me = std::process::id().cast_signed();
        assert_eq!(node_behind(peer_port, front_port, &BTreeMap::from([(7, me)])), Some(7));
        // Process 1 is somebody else, and its files are not ours to read.
        assert_eq!(node_behind(peer_port, front_port, &BTreeMap::from([(7, 1)])), None);
        assert_eq!(node_behind(front_port, front_port, &BTreeMap::from([(7, me)])), None);
    }
}
