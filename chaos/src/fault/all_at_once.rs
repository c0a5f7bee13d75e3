//! One thing done to several nodes at the same time. One after the other would be another fault: a killed broker is gone only
//! after the kernel has taken its memory back, and until then the next one would still lead and elect.

use std::thread;

use crate::error::ChaosError;
use crate::supervisor::SignalTimes;

/// Applies `one` to each of `nodes`, each in a thread of its own; gives the first time of sending and the last of seeing.
/// Fails with the first error, by the order of the nodes, after all have ended.
pub(super) fn apply(
    nodes: &[i32],
    one: impl Fn(i32) -> Result<SignalTimes, ChaosError> + Sync,
) -> Result<SignalTimes, ChaosError> {
    if let [node] = nodes {
        return one(*node);
    }
    let one = &one;
    let results: Vec<Result<SignalTimes, ChaosError>> = thread::scope(|scope| {
        let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(move || one(*node))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    });
    let mut all = SignalTimes { sent_ns: u64::MAX, seen_ns: 0 };
    for times in results {
        let times = times?;
        all =
            SignalTimes { sent_ns: all.sent_ns.min(times.sent_ns), seen_ns: all.seen_ns.max(times.seen_ns) };
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn all_are_hit_together_and_the_widest_times_count() {
        let together = Barrier::new(3);
        let one = |node: i32| {
            // Would wait for ever if they came one after the other.
            together.wait();
            let at_ns = node.unsigned_abs().into();
            Ok(SignalTimes { sent_ns: at_ns, seen_ns: at_ns * 10 })
        };
        assert_eq!(apply(&[2, 1, 3], one).unwrap(), SignalTimes { sent_ns: 1, seen_ns: 30 });
    }

    #[test]
    fn one_that_fails_fails_all_but_stops_none() {
        let hit = std::sync::Mutex::new(Vec::new());
        let one = |node: i32| {
            hit.lock().unwrap().push(node);
            match node {
                2 => Err(ChaosError::NoSuchNode { id: 2, known: vec![1, 3] }),
                _ => Ok(SignalTimes { sent_ns: 1, seen_ns: 2 }),
            }
        };
        assert!(apply(&[1, 2, 3], one).unwrap_err().to_string().contains("no node 2"));
        let mut hit = hit.into_inner().unwrap();
        hit.sort_unstable();
        assert_eq!(hit, [1, 2, 3]);
    }
}
