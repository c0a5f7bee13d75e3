//! The event loop that carries the producers of one thread.

use super::*;
use crate::links::TOKENS_PER_CLIENT;
use crate::turns::{EventLoop, LoopError};

/// Runs producers until each has settled all that its workload had to send, or until the workload gives up. Returns
/// the workloads.
///
/// Blocks the calling thread. Cost grows with the number of producers on the thread, so fleets are spread over a few.
pub fn run_producers<W: Workload>(fleet: Vec<(ProducerConfig, W)>) -> Result<Vec<W>, LoopError> {
    let mut event_loop = EventLoop::new()?;
    let mut producers = Vec::with_capacity(fleet.len());
    for (i, (config, workload)) in fleet.into_iter().enumerate() {
        producers.push(Producer::new(config, workload, event_loop.registry()?, i * TOKENS_PER_CLIENT));
    }
    let mut running: Vec<bool> = vec![true; producers.len()];
    let mut wakeup_ns: u64 = 0;
    while running.iter().any(|r| *r) {
        let now_ns = event_loop.sleep_until(wakeup_ns)?;
        let EventLoop { events, lateness, scratch, .. } = &mut event_loop;
        let turn = Turn { now_ns, lateness };
        for event in &*events {
            if let Some(producer) = producers.get_mut(event.token().0 / TOKENS_PER_CLIENT) {
                producer.drive(event.token(), turn, scratch);
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
