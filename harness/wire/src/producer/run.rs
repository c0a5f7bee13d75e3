//! The event loop that carries the producers of one thread.

use std::time::Duration;

use mio::{Events, Poll};

use super::*;
use crate::clock::monotonic_ns;
use crate::links::{SCRATCH_BYTES, TOKENS_PER_CLIENT};

/// The loop could not be set up or kept running: the operating system refused.
#[derive(Debug, thiserror::Error)]
#[error("event loop: {0}")]
pub struct LoopError(#[from] std::io::Error);

/// The loop wakes at least this often, so that a stop is seen and lateness is charged in small pieces.
const LONGEST_SLEEP_NS: u64 = 20_000_000;

/// Runs producers until each has settled all that its workload had to send, or until the workload gives up. Returns
/// the workloads.
///
/// Blocks the calling thread. Cost grows with the number of producers on the thread, so fleets are spread over a few.
pub fn run_producers<W: Workload>(fleet: Vec<(ProducerConfig, W)>) -> Result<Vec<W>, LoopError> {
    let mut poll = Poll::new()?;
    let mut producers = Vec::with_capacity(fleet.len());
    for (i, (config, workload)) in fleet.into_iter().enumerate() {
        let registry = poll.registry().try_clone()?;
        producers.push(Producer::new(config, workload, registry, i * TOKENS_PER_CLIENT));
    }
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0u8; SCRATCH_BYTES];
    let mut lateness = Lateness::of_this_thread(monotonic_ns());
    let mut running: Vec<bool> = vec![true; producers.len()];
    let mut wakeup_ns: u64 = 0;
    while running.iter().any(|r| *r) {
        let began_ns = monotonic_ns();
        let timeout_ns = wakeup_ns.saturating_sub(began_ns).min(LONGEST_SLEEP_NS);
        lateness.poll_begins(began_ns);
        match poll.poll(&mut events, Some(Duration::from_nanos(timeout_ns))) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
        let now_ns = monotonic_ns();
        // epoll sleeps in whole milliseconds; waking that much later is as it was meant to be.
        lateness.poll_ended(now_ns, timeout_ns + 1_000_000);
        let turn = Turn { now_ns, lateness: &lateness };
        for event in &events {
            if let Some(producer) = producers.get_mut(event.token().0 / TOKENS_PER_CLIENT) {
                producer.drive(event.token(), turn, &mut scratch);
            }
        }
        wakeup_ns = u64::MAX;
        for (producer, running) in producers.iter_mut().zip(&mut running).filter(|(_, r)| **r) {
            producer.turn(turn);
            let over = producer.workload.give_up_ns().is_some_and(|at| at <= now_ns);
            if over {
                producer.abandon(turn);
            }
            *running = !over && !producer.is_finished();
            let call_again_ns = producer.workload.turned(turn, &producer.stats);
            wakeup_ns = wakeup_ns.min(producer.wakeup_ns(now_ns)).min(call_again_ns);
        }
    }
    Ok(producers.into_iter().map(|p| p.workload).collect())
}
