//! Which packets wait in a delay line, and until when: pure, so that it can be reasoned about without a device.
//!
//! Every packet is late by a draw of its own, but nothing overtakes on its connection, as with the proxy. Connections do not wait for each
//! other: with many packets at a time all of them would be as late as the latest.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::filter::Line;
use crate::proxy::{draw, late_ns};

/// What may wait at most, bytes; more is lost, as in a switch. Two seconds of what a million records of 100 bytes are a second.
const WAITING_MAX: usize = 256 << 20;
/// Of a waiting packet beyond its own bytes, about: so that small ones are bounded as well.
const OVERHEAD: usize = 64;
/// With so many connections those are forgotten that wait for nothing.
const FLOWS_MIN: usize = 4096;

/// One direction of a connection: both addresses and both ports, as they are in the packet.
type Flow = [u8; 12];

/// What waits.
#[derive(Debug)]
pub(super) struct Late {
    latency_ns: u64,
    jitter_ns: u64,
    waiting: BinaryHeap<Reverse<Frame>>,
    /// Bytes of it, with [`OVERHEAD`].
    waiting_bytes: usize,
    /// When the last packet of a connection is due.
    flows: HashMap<Flow, u64>,
    flows_max: usize,
    /// How many ever waited.
    count: u64,
    random: u64,
}

/// Ordered by when it is due, and among equals by when it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Frame {
    due_ns: u64,
    number: u64,
    bytes: Box<[u8]>,
}

impl Late {
    /// Nothing yet, of the line that `line` describes. `seed` begins the draws of its jitter.
    pub(super) fn new(line: &Line, seed: u64) -> Self {
        Self {
            latency_ns: line.latency_ns,
            jitter_ns: line.jitter_ns,
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            flows: HashMap::new(),
            flows_max: FLOWS_MIN,
            count: 0,
            random: seed,
        }
    }

    /// Takes an Ethernet frame that came `now_ns`. It is lost if it is none of a TCP connection, which nobody leads here, or if too
    /// much waits.
    pub(super) fn take(&mut self, frame: &[u8], now_ns: u64) {
        let Some(flow) = flow_of(frame) else { return };
        if self.waiting_bytes + frame.len() + OVERHEAD > WAITING_MAX {
            return;
        }
        if self.flows.len() >= self.flows_max {
            self.flows.retain(|_, due_ns| *due_ns > now_ns);
            self.flows_max = FLOWS_MIN.max(2 * self.flows.len());
        }
        let due_ns = now_ns + late_ns(self.latency_ns, self.jitter_ns, draw(&mut self.random));
        let last_ns = self.flows.entry(flow).or_default();
        *last_ns = due_ns.max(*last_ns);
        self.waiting_bytes += frame.len() + OVERHEAD;
        self.count += 1;
        self.waiting.push(Reverse(Frame { due_ns: *last_ns, number: self.count, bytes: frame.into() }));
    }

    /// When the next frame is due.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse(frame)| frame.due_ns)
    }

    /// The next frame, if it is due at `now_ns`.
    pub(super) fn next_due(&mut self, now_ns: u64) -> Option<Box<[u8]>> {
        if self.due_ns()? > now_ns {
            return None;
        }
        let Reverse(frame) = self.waiting.pop()?;
        self.waiting_bytes -= frame.bytes.len() + OVERHEAD;
        Some(frame.bytes)
    }
}

/// Of IPv4 and TCP (RFC 791, RFC 9293), in an Ethernet frame without VLAN.
fn flow_of(frame: &[u8]) -> Option<Flow> {
    let (ethernet, packet) = frame.split_at_checked(14)?;
    let is_ipv4 = ethernet[12..] == [8, 0] && packet.first()? >> 4 == 4;
    if !is_ipv4 || *packet.get(9)? != 6 {
        return None;
    }
    let header = usize::from(packet[0] & 0xf) * 4;
    let mut flow = [0; 12];
    flow[..8].copy_from_slice(packet.get(12..20)?);
    flow[8..].copy_from_slice(packet.get(header..header + 4)?);
    Some(flow)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn late(latency_ms: u64, jitter_ms: u64) -> Late {
        let line = Line { name: "d1_0".to_owned(), latency_ns: latency_ms * MS, jitter_ns: jitter_ms * MS };
        Late::new(&line, 7)
    }

    /// The smallest frame of a connection from `port`, with a number to tell it by.
    fn frame(port: u8, number: u16) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 20];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[14 + 9] = 6;
        frame[14 + 21] = port;
        frame.extend(number.to_be_bytes());
        frame
    }

    #[test]
    fn what_is_no_tcp_is_not_kept() {
        let mut late = late(1, 0);
        let mut arp = frame(1, 0);
        arp[13] = 6;
        let mut udp = frame(1, 0);
        udp[14 + 9] = 17;
        for other in [&arp[..], &udp, &frame(1, 0)[..20], &[]] {
            late.take(other, 0);
        }
        assert_eq!(late.due_ns(), None);
        assert_eq!(flow_of(&frame(9, 0)), Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0]));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut late = late(1, 0);
        let large = [frame(1, 0), vec![0; 1 << 20]].concat();
        for _ in 0..300 {
            late.take(&large, 0);
        }
        assert!(late.waiting_bytes <= WAITING_MAX && late.waiting_bytes > WAITING_MAX - (2 << 20));
        while late.next_due(MS).is_some() {}
        assert_eq!(late.waiting_bytes, 0);
    }

    #[test]
    fn connections_that_wait_for_nothing_are_forgotten() {
        let mut late = late(1, 0);
        for number in 0..20_000_u32 {
            let mut frame = frame(1, 0);
            frame[14 + 12..14 + 16].copy_from_slice(&number.to_be_bytes());
            late.take(&frame, u64::from(number) * MS);
        }
        assert!(late.flows.len() <= FLOWS_MIN, "{}", late.flows.len());
    }

    proptest! {
        #[test]
        fn each_is_as_late_as_it_may_be_and_none_overtakes(
            latency in 0u64..100, part in 0.0f64..=1.0, came in prop::collection::vec((0u64..20, 1u8..4), 1..200)
        ) {
            let jitter = (latency as f64 * part) as u64;
            let mut late = late(latency, jitter);
            let mut now_ns = 0;
            let mut entered = HashMap::new();
            for (number, (pause, port)) in (0u16..).zip(&came) {
                now_ns += pause * MS;
                late.take(&frame(*port, number), now_ns);
                entered.insert(number, now_ns);
            }
            let mut last: HashMap<u8, u16> = HashMap::new();
            let mut left = 0;
            while let Some(due_ns) = late.due_ns() {
                prop_assert!(due_ns == 0 || late.next_due(due_ns - 1).is_none());
                let bytes = late.next_due(due_ns).unwrap();
                let number = u16::from_be_bytes([bytes[54], bytes[55]]);
                let after = due_ns - entered[&number];
                prop_assert!(after >= (latency - jitter) * MS && after <= (latency + jitter) * MS, "{after}");
                let before = last.insert(bytes[35], number);
                prop_assert!(before.is_none_or(|before| before < number));
                left += 1;
            }
            prop_assert_eq!(left, came.len());
        }
    }
}
