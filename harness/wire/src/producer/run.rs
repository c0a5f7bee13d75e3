//! The event loop that carries the producers of one thread.

use super::*;
use crate::links::TOKENS_PER_CLIENT;
use crate::turns::{EventLoop, LONGEST_SLEEP_NS, LoopError};

/// Runs producers until each has settled all that its workload had to send, or until the workload gives up. Returns
/// the workloads.
///
/// Blocks the calling thread. A producer costs something when it has something to do, and fifty times a second: what the others of its
/// thread do does not wake it.
pub fn run_producers<W: Workload>(fleet: Vec<(ProducerConfig, W)>) -> Result<Vec<W>, LoopError> {
    let mut event_loop = EventLoop::new()?;
    let mut producers = Vec::with_capacity(fleet.len());
    for (i, (config, workload)) in fleet.into_iter().enumerate() {
        producers.push(Producer::new(config, workload, event_loop.registry()?, i * TOKENS_PER_CLIENT));
    }
    // When each has something to do next, and when it was looked at last; `None`: it is done.
    let mut turns: Vec<Option<(u64, u64)>> = vec![Some((0, 0)); producers.len()];
    while let Some(due_ns) = turns.iter().flatten().map(|(due_ns, _)| *due_ns).min() {
        let now_ns = event_loop.sleep_until(due_ns)?;
        let EventLoop { events, lateness, scratch, .. } = &mut event_loop;
        let turn = Turn { now_ns, lateness };
        for event in &*events {
            let index = event.token().0 / TOKENS_PER_CLIENT;
            if let Some(producer) = producers.get_mut(index) {
                producer.drive(event.token(), turn, scratch);
                turns[index] = turns[index].map(|(_, seen_ns)| (now_ns, seen_ns));
            }
        }
        for (producer, its_turn) in producers.iter_mut().zip(&mut turns) {
            let is_due = |(due_ns, seen_ns)| due_ns <= now_ns || seen_ns + LONGEST_SLEEP_NS <= now_ns;
            if !its_turn.is_some_and(is_due) {
                continue;
            }
            producer.turn(turn);
            let over = producer.workload.give_up_ns().is_some_and(|at| at <= now_ns);
            if over {
                producer.abandon(turn);
            }
            let call_again_ns = producer.workload.turned(turn, &producer.stats);
            let next = || (producer.wakeup_ns(now_ns).min(call_again_ns), now_ns);
            *its_turn = (!over && !producer.is_finished()).then(next);
        }
    }
    Ok(producers.into_iter().map(|p| p.workload).collect())
}
