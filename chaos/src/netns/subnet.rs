//! Which addresses a network may have: a private subnet that no route and no interface of this host overlaps, and that no other
//! gauntlet is about to take.

use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use serde_json::Value;

use super::NetnsError;
use super::layout::PREFIX_BITS;
use super::tools::{Tool, run};
use crate::random::random_bytes;

/// Where private networks are, most room first; the last is for measurements of networks (RFC 2544).
const POOLS: [Subnet; 4] = [
    Subnet { first: u32::from_be_bytes([10, 0, 0, 0]), bits: 8 },
    Subnet { first: u32::from_be_bytes([172, 16, 0, 0]), bits: 12 },
    Subnet { first: u32::from_be_bytes([192, 168, 0, 0]), bits: 16 },
    Subnet { first: u32::from_be_bytes([198, 18, 0, 0]), bits: 15 },
];
/// How many subnets are tried in each.
const TRIES: usize = 64;
/// Routes for more than this are for whatever has no route of its own: the default, and the halves of everything that VPNs set.
const DEFAULT_BITS_MAX: u8 = 7;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subnet {
    first: u32,
    bits: u8,
}

/// A range that is in use, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    subnet: Subnet,
    shown: String,
}

/// A subnet that is ours until this is dropped: no other gauntlet on this host takes it meanwhile.
#[derive(Debug)]
pub(super) struct ReservedSubnet {
    pub(super) subnet: Ipv4Addr,
    _reservation: UnixListener,
}

impl Subnet {
    /// `10.1.2.0/24`, or one address; `None` for `default` and what is no IPv4.
    fn parse(text: &str) -> Option<Self> {
        let (addr, bits) = text.split_once('/').unwrap_or((text, "32"));
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32)?;
        let addr: Ipv4Addr = addr.parse().ok()?;
        Some(Self { first: u32::from(addr) & Self::mask(bits), bits })
    }

    fn mask(bits: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
    }

    fn overlaps(self, other: Self) -> bool {
        let mask = Self::mask(self.bits.min(other.bits));
        self.first & mask == other.first & mask
    }

    /// One of the subnets in it, drawn by `random`.
    fn within(self, random: u32) -> Self {
        let inside = Self::mask(PREFIX_BITS) & !Self::mask(self.bits);
        Self { first: self.first | (random & inside), bits: PREFIX_BITS }
    }
}

/// Finds a subnet that is free and holds it.
pub(super) fn reserve() -> Result<ReservedSubnet, NetnsError> {
    choose(&taken()?, || u32::from_le_bytes(random_bytes()))
}

fn choose(taken: &[Taken], mut random: impl FnMut() -> u32) -> Result<ReservedSubnet, NetnsError> {
    let mut clashes: Vec<String> = Vec::new();
    for pool in POOLS {
        for _ in 0..TRIES {
            let subnet = pool.within(random());
            if let Some(clash) = taken.iter().find(|taken| taken.subnet.overlaps(subnet)) {
                if !clashes.contains(&clash.shown) {
                    clashes.push(clash.shown.clone());
                }
            } else if let Some(reserved) = hold(subnet) {
                return Ok(reserved);
            }
        }
    }
    Err(NetnsError::NoSubnet { clashes })
}

/// Holds the name of a subnet as ports are held (`local/ports.rs`); `None` if another gauntlet has it.
fn hold(subnet: Subnet) -> Option<ReservedSubnet> {
    let addr = Ipv4Addr::from(subnet.first);
    let name = SocketAddr::from_abstract_name(format!("gauntlet-subnet-{addr}")).ok()?;
    Some(ReservedSubnet { subnet: addr, _reservation: UnixListener::bind_addr(&name).ok()? })
}

/// All ranges that routes and interfaces of this host are for.
fn taken() -> Result<Vec<Taken>, NetnsError> {
    let routes = json("ip -j -4 route show table all", &["-j", "-4", "route", "show", "table", "all"])?;
    let addresses = json("ip -j -4 addr show", &["-j", "-4", "addr", "show"])?;
    Ok(routes.iter().filter_map(route).chain(addresses.iter().flat_map(interface)).collect())
}

fn json(command: &'static str, args: &[&str]) -> Result<Vec<Value>, NetnsError> {
    let text = run(Tool::Ip, None, args, "")?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&text).map_err(|error| NetnsError::Unreadable { command, detail: error.to_string() })
}

/// What a line of `ip route` is for, unless it is for everything.
fn route(route: &Value) -> Option<Taken> {
    let to = route["dst"].as_str()?;
    let subnet = Subnet::parse(to).filter(|subnet| subnet.bits > DEFAULT_BITS_MAX)?;
    Some(Taken { subnet, shown: shown(to, &route["dev"]) })
}

/// The networks that an interface is in, also while it is down.
fn interface(link: &Value) -> Vec<Taken> {
    let addresses = link["addr_info"].as_array().into_iter().flatten();
    let of = |address: &Value| {
        let (local, bits) = (address["local"].as_str()?, address["prefixlen"].as_u64()?);
        let text = format!("{local}/{bits}");
        Some(Taken { subnet: Subnet::parse(&text)?, shown: shown(&text, &link["ifname"]) })
    };
    addresses.filter_map(of).collect()
}

fn shown(range: &str, device: &Value) -> String {
    device.as_str().map_or_else(|| range.to_owned(), |device| format!("{range} ({device})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(ranges: &[&str]) -> Vec<Taken> {
        let of = |text: &&str| Taken { subnet: Subnet::parse(text).unwrap(), shown: (*text).to_owned() };
        ranges.iter().map(of).collect()
    }

    #[test]
    fn ranges_as_ip_tells_them() {
        let all: Vec<Value> = serde_json::from_str(
            r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},
                {"dst":"10.8.0.0/16","dev":"tun0"},{"type":"local","dst":"127.0.0.1","dev":"lo","table":"local"},
                {"dst":"0.0.0.0/1","dev":"tun0"},{"type":"blackhole","dst":"172.20.0.0/16"}]"#,
        )
        .unwrap();
        let shown: Vec<String> = all.iter().filter_map(route).map(|taken| taken.shown).collect();
        assert_eq!(shown, ["10.8.0.0/16 (tun0)", "127.0.0.1 (lo)", "172.20.0.0/16"]);
        let link: Value = serde_json::from_str(
            r#"{"ifname":"docker0","addr_info":[{"family":"inet","local":"172.17.0.1","prefixlen":16}]}"#,
        )
        .unwrap();
        assert_eq!(interface(&link)[0].shown, "172.17.0.1/16 (docker0)");
        assert_eq!(interface(&link)[0].subnet, Subnet::parse("172.17.0.0/16").unwrap());
    }

    #[test]
    fn what_overlaps_is_passed_over_and_named_if_nothing_is_left() {
        let free = choose(&taken(&["10.0.0.0/8", "172.16.0.0/13"]), || 0x00_1f_07_63).unwrap();
        assert_eq!(free.subnet, Ipv4Addr::new(172, 31, 7, 0));
        let all = taken(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4"]);
        let error = choose(&all, || 7 << 8).unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 198.18.0.0/15;"), "{error}");
        assert!(error.contains("isolation: process"), "{error}");
    }

    /// Of subnets that nobody else draws: those of other tests are random.
    #[test]
    fn two_at_once_have_different_ones() {
        let mut draws = [0x00_fd_fd_00_u32, 0x00_fd_fd_00, 0x00_fd_fe_00].into_iter();
        let mut next = || draws.next().unwrap_or(0);
        let first = choose(&[], &mut next).unwrap();
        let second = choose(&[], &mut next).unwrap();
        assert_eq!(first.subnet, Ipv4Addr::new(10, 253, 253, 0));
        assert_eq!(second.subnet, Ipv4Addr::new(10, 253, 254, 0));
    }

    #[test]
    fn whatever_is_chosen_overlaps_nothing() {
        use proptest::prelude::*;
        proptest!(|(ranges in prop::collection::vec((any::<u32>(), 8_u8..=32), 0..40), seed in any::<u32>())| {
            let of = |(addr, bits): &(u32, u8)| Taken {
                subnet: Subnet { first: addr & Subnet::mask(*bits), bits: *bits },
                shown: String::new(),
            };
            let all: Vec<Taken> = ranges.iter().map(of).collect();
            let mut state = seed;
            let chosen = choose(&all, || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); state });
            if let Ok(chosen) = chosen {
                let chosen = Subnet { first: u32::from(chosen.subnet), bits: PREFIX_BITS };
                prop_assert!(POOLS.iter().any(|pool| pool.overlaps(chosen)));
                prop_assert!(all.iter().all(|taken| !taken.subnet.overlaps(chosen)));
            }
        });
    }
}
