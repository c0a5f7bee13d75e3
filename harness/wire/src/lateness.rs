//! What of a loop's own behaviour made records late.
//!
//! An event loop sends what is due on every turn, so a record leaves late for one of two reasons: the broker gave no
//! room for it (no slot, no leader, no connection …), or the loop did not turn. Only the second is our fault, and it
//! splits again: the *host* did not run the thread (the kernel counted it as runnable and waiting, or woke it late),
//! or *gauntlet* was busy with something else. Each turn that was late by more than [`NOTABLE_NS`] leaves an entry
//! here, so that the lateness of a batch can be charged exactly, for the span of time in which it happened.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Turns that came less than this late are not remembered; far below what would be charged (5 ms).
pub const NOTABLE_NS: u64 = 500_000;
/// How far back lateness can be asked for. Older records have latencies of seconds, of which ten percent is more
/// than a loop loses unnoticed.
const REMEMBERED_NS: u64 = 20_000_000_000;

/// Nanoseconds that a record or an answer waited for us, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// The host did not run the thread.
    pub host_ns: u64,
    /// The thread was busy.
    pub gauntlet_ns: u64,
}

impl Charge {
    /// Both together.
    pub fn total_ns(self) -> u64 {
        self.host_ns + self.gauntlet_ns
    }
}

#[derive(Debug, Clone, Copy)]
struct LateTurn {
    /// When the loop last had a chance to act before.
    from_ns: u64,
    /// When it acted again.
    to_ns: u64,
    /// How much of the span was the host's, at its end.
    host_ns: u64,
    /// How much of the span was ours; the rest the loop slept as it meant to.
    gauntlet_ns: u64,
    /// Whether the loop found something to do: an answer that had come, or a time of its own that had.
    worked: bool,
    /// What all turns before this one were charged with, since the loop began.
    before: Sums,
}

/// Sums over turns.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    all: Charge,
    /// Over those in which there was something to do.
    worked: Charge,
}

/// Which turns are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Worked,
}

impl Sums {
    fn of(&self, which: Which) -> &Charge {
        match which {
            Which::All => &self.all,
            Which::Worked => &self.worked,
        }
    }
}

impl LateTurn {
    /// How much of it was lost by us between these times.
    fn charge(&self, from_ns: u64, to_ns: u64, which: Which) -> Charge {
        if which == Which::Worked && !self.worked {
            return Charge::default();
        }
        let length_ns = self.to_ns.min(to_ns).saturating_sub(self.from_ns.max(from_ns));
        // Lateness ends when the turn does: what was asked for last waited for the end of the span.
        let host_ns = self.host_ns.min(length_ns);
        Charge { host_ns, gauntlet_ns: self.gauntlet_ns.min(length_ns - host_ns) }
    }
}

/// The late turns of one loop, newest last.
#[derive(Debug)]
pub struct Lateness {
    turns: VecDeque<LateTurn>,
    /// What all turns that were ever remembered were charged with.
    remembered: Sums,
    run_delay: RunDelay,
    poll_began_ns: u64,
    poll_ended_ns: u64,
    /// Part of the current turn that was spent in the client under test.
    lent_ns: u64,
    totals: Charge,
}

impl Lateness {
    /// For the loop of the calling thread, from now on.
    pub fn of_this_thread(now_ns: u64) -> Self {
        Lateness {
            turns: VecDeque::new(),
            remembered: Sums::default(),
            run_delay: RunDelay::of_this_thread(),
            poll_began_ns: now_ns,
            poll_ended_ns: now_ns,
            lent_ns: 0,
            totals: Charge::default(),
        }
    }

    /// So much of the current turn was spent inside a client that is under test, not on work of ours: being busy with that
    /// is no fault of gauntlet's. What the host does to the thread meanwhile is still the host's.
    pub fn lend(&mut self, ns: u64) {
        self.lent_ns += ns;
    }

    /// The loop goes to sleep.
    pub fn poll_begins(&mut self, now_ns: u64) {
        self.poll_began_ns = now_ns;
    }

    /// The loop is back: `timeout_ns` is how long it meant to sleep at most, `worked` whether it finds something to do, as far as
    /// it knows: an answer that has come, or a time of its own that has.
    pub fn poll_ended(&mut self, now_ns: u64, timeout_ns: u64, worked: bool) {
        let busy_ns = self.poll_began_ns.saturating_sub(self.poll_ended_ns);
        let busy_ns = busy_ns.saturating_sub(std::mem::take(&mut self.lent_ns));
        // A thread stopped by a signal is not "runnable": only that it wakes late gives it away.
        let overslept_ns = now_ns.saturating_sub(self.poll_began_ns).saturating_sub(timeout_ns);
        let span_ns = now_ns.saturating_sub(self.poll_ended_ns);
        let host_ns = self.run_delay.since_last_ns().max(overslept_ns).min(span_ns);
        let gauntlet_ns = busy_ns.saturating_sub(host_ns.saturating_sub(overslept_ns));
        let before = self.remembered;
        let turn =
            LateTurn { from_ns: self.poll_ended_ns, to_ns: now_ns, host_ns, gauntlet_ns, worked, before };
        self.poll_ended_ns = now_ns;
        self.totals.host_ns += host_ns;
        self.totals.gauntlet_ns += gauntlet_ns;
        if host_ns + gauntlet_ns >= NOTABLE_NS {
            for (sum, which) in
                [(&mut self.remembered.all, Which::All), (&mut self.remembered.worked, Which::Worked)]
            {
                let charge = turn.charge(0, u64::MAX, which);
                sum.host_ns += charge.host_ns;
                sum.gauntlet_ns += charge.gauntlet_ns;
            }
            self.turns.push_back(turn);
        }
        while self.turns.front().is_some_and(|t| t.to_ns + REMEMBERED_NS < now_ns) {
            self.turns.pop_front();
        }
    }

    /// When the current turn began.
    pub fn turn_began_ns(&self) -> u64 {
        self.poll_ended_ns
    }

    /// All lateness since the loop began, for the interval series.
    pub fn totals(&self) -> Charge {
        self.totals
    }

    /// How much of the time between `from_ns` and `to_ns` was lost by us. `from_ns` is when something could have
    /// been done, `to_ns` when it was done.
    ///
    /// The time that this takes does not depend on how long ago that is: a loop that is behind by seconds, with thousands of late
    /// turns, must not get slower by asking.
    pub fn between(&self, from_ns: u64, to_ns: u64) -> Charge {
        self.sum(from_ns, to_ns, Which::All)
    }

    fn sum(&self, from_ns: u64, to_ns: u64, which: Which) -> Charge {
        let first = self.turns.partition_point(|turn| turn.to_ns <= from_ns);
        let end = self.turns.partition_point(|turn| turn.from_ns < to_ns);
        if first >= end {
            return Charge::default();
        }
        // Only the first and the last of them may lie in it in part.
        let (first, last) = (&self.turns[first], &self.turns[end - 1]);
        let of_last = last.charge(from_ns, to_ns, which);
        if first.from_ns == last.from_ns {
            return of_last;
        }
        let (of_first, all_of_first) =
            (first.charge(from_ns, to_ns, which), first.charge(0, u64::MAX, which));
        let sum = |part: fn(&Charge) -> u64| {
            part(last.before.of(which)) - part(first.before.of(which)) - part(&all_of_first)
                + part(&of_first)
                + part(&of_last)
        };
        Charge { host_ns: sum(|charge| charge.host_ns), gauntlet_ns: sum(|charge| charge.gauntlet_ns) }
    }

    /// As [`Lateness::between`], for something that the broker gave no room for from `blocked_ns` on. From then on it was not held up by
    /// what the thread was busy with; and a host that ran the thread late held it up only where the thread found something to do then:
    /// an answer that made room, or a time to ask again. A thread that wakes late to find that there still is no room has delayed nothing.
    pub fn between_blocked(&self, from_ns: u64, to_ns: u64, blocked_ns: Option<u64>) -> Charge {
        let all = self.between(from_ns, to_ns);
        let Some(blocked_ns) = blocked_ns.filter(|blocked| *blocked < to_ns) else { return all };
        let until = self.between(from_ns, blocked_ns);
        let since = self.sum(blocked_ns.max(from_ns), to_ns, Which::Worked);
        // A turn in which it became blocked is in both in part.
        Charge {
            host_ns: (until.host_ns + since.host_ns).min(all.host_ns),
            gauntlet_ns: until.gauntlet_ns.min(all.gauntlet_ns),
        }
    }

    /// Lateness of an answer that was read in the current turn and can have arrived at any time since the loop last
    /// looked, but not before `asked_ns`.
    pub fn of_answer(&self, asked_ns: u64) -> Charge {
        match self.turns.back() {
            Some(turn) if turn.to_ns == self.poll_ended_ns => {
                self.between(turn.from_ns.max(asked_ns), turn.to_ns)
            }
            _ => Charge::default(),
        }
    }
}

/// Time that the kernel counted this thread as runnable but not running (`/proc/…/schedstat`, second field).
#[derive(Debug)]
struct RunDelay {
    schedstat: Option<File>,
    seen_ns: u64,
}

impl RunDelay {
    fn of_this_thread() -> Self {
        // SAFETY: gettid has no preconditions and cannot fail.
        let tid = unsafe { libc::gettid() };
        let mut delay =
            RunDelay { schedstat: File::open(format!("/proc/self/task/{tid}/schedstat")).ok(), seen_ns: 0 };
        delay.since_last_ns();
        delay
    }

    /// Zero where the kernel keeps no such statistics; then only overslept time and the canary speak for the host.
    fn since_last_ns(&mut self) -> u64 {
        let Some(file) = &self.schedstat else { return 0 };
        let mut text = [0u8; 96];
        let Ok(length) = file.read_at(&mut text, 0) else { return 0 };
        let total = std::str::from_utf8(&text[..length])
            .ok()
            .and_then(|t| t.split_ascii_whitespace().nth(1))
            .and_then(|field| field.parse().ok())
            .unwrap_or(self.seen_ns);
        let delta = u64::saturating_sub(total, self.seen_ns);
        self.seen_ns = total;
        delta
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn quiet() -> Lateness {
        let mut lateness = Lateness::of_this_thread(0);
        lateness.run_delay.schedstat = None;
        lateness
    }

    #[test]
    fn sleeping_as_meant_is_nobodys_fault() {
        let mut l = quiet();
        l.poll_begins(0);
        l.poll_ended(5 * MS, 5 * MS, true);
        assert_eq!(l.between(0, 5 * MS), Charge::default());
        assert_eq!(l.of_answer(0), Charge::default());
    }

    #[test]
    fn a_busy_turn_is_charged_to_gauntlet() {
        let mut l = quiet();
        l.poll_begins(20 * MS);
        l.poll_ended(21 * MS, 5 * MS, true);
        assert_eq!(l.between(0, 21 * MS), Charge { host_ns: 0, gauntlet_ns: 20 * MS });
        // Something that became due ten milliseconds before the end waited ten.
        assert_eq!(l.between(11 * MS, 21 * MS), Charge { host_ns: 0, gauntlet_ns: 10 * MS });
        assert_eq!(l.of_answer(16 * MS), Charge { host_ns: 0, gauntlet_ns: 5 * MS });
    }

    #[test]
    fn time_in_the_client_under_test_is_not_ours() {
        let mut l = quiet();
        l.lend(15 * MS);
        l.poll_begins(20 * MS);
        l.poll_ended(21 * MS, 5 * MS, true);
        assert_eq!(l.between(0, 21 * MS), Charge { host_ns: 0, gauntlet_ns: 5 * MS });
        l.poll_begins(41 * MS);
        l.poll_ended(42 * MS, 5 * MS, true);
        assert_eq!(l.between(21 * MS, 42 * MS).gauntlet_ns, 20 * MS, "the next turn is its own");
    }

    #[test]
    fn being_busy_is_no_fault_while_the_broker_gives_no_room() {
        let mut l = quiet();
        for i in 0..10 {
            l.poll_begins(i * 20 * MS + 10 * MS);
            l.poll_ended((i + 1) * 20 * MS, 10 * MS, true);
        }
        assert_eq!(l.between(0, 200 * MS).gauntlet_ns, 100 * MS);
        assert_eq!(l.between_blocked(0, 200 * MS, None).gauntlet_ns, 100 * MS);
        assert_eq!(l.between_blocked(0, 200 * MS, Some(0)).gauntlet_ns, 0);
        assert_eq!(l.between_blocked(0, 200 * MS, Some(40 * MS)).gauntlet_ns, 20 * MS);
        assert_eq!(l.between_blocked(0, 200 * MS, Some(200 * MS)).gauntlet_ns, 100 * MS);
    }

    #[test]
    fn waking_late_delays_nothing_while_there_is_no_room_and_nothing_to_do() {
        let stalled = |worked: bool| {
            let mut l = quiet();
            for i in 0..10 {
                l.poll_begins(i * 100 * MS);
                l.poll_ended((i + 1) * 100 * MS, 20 * MS, worked || i == 9);
            }
            l
        };
        // The answer that made room was read 80 ms late; those who woke before had nothing to read.
        assert_eq!(stalled(false).between_blocked(0, 1_000 * MS, Some(0)).host_ns, 80 * MS);
        assert_eq!(stalled(false).between_blocked(0, 1_000 * MS, Some(300 * MS)).host_ns, (3 * 80 + 80) * MS);
        assert_eq!(stalled(false).between_blocked(0, 1_000 * MS, None).host_ns, 800 * MS);
        // Each of ten answers late, one after the other.
        assert_eq!(stalled(true).between_blocked(0, 1_000 * MS, Some(0)).host_ns, 800 * MS);
    }

    #[test]
    fn waking_late_is_charged_to_the_host() {
        let mut l = quiet();
        l.poll_begins(0);
        l.poll_ended(3_000 * MS, 5 * MS, true);
        assert_eq!(l.between(0, 3_000 * MS), Charge { host_ns: 2_995 * MS, gauntlet_ns: 0 });
        l.poll_begins(3_001 * MS);
        l.poll_ended(3_002 * MS, 5 * MS, true);
        // Still known in the next turn, but no longer the fault of answers read now.
        assert_eq!(l.between(2_000 * MS, 3_002 * MS).host_ns, 1_000 * MS);
    }

    proptest! {
        /// As if every late turn were looked at, one by one.
        #[test]
        fn a_span_is_charged_with_the_sum_of_its_turns(
            turns in prop::collection::vec(
                (0..3_000_000u64, 0..3_000_000u64, 0..2_000_000u64, prop::bool::ANY), 1..60),
            spans in prop::collection::vec((0..150_000_000u64, 0..150_000_000u64), 1..40),
        ) {
            let mut l = quiet();
            let mut now_ns = 0;
            for (busy_ns, slept_ns, timeout_ns, worked) in turns {
                l.poll_begins(now_ns + busy_ns);
                now_ns += busy_ns + slept_ns;
                l.poll_ended(now_ns, timeout_ns, worked);
            }
            for (from_ns, to_ns) in spans {
                for which in [Which::All, Which::Worked] {
                    let mut naive = Charge::default();
                    for turn in &l.turns {
                        let charge = turn.charge(from_ns, to_ns, which);
                        naive.host_ns += charge.host_ns;
                        naive.gauntlet_ns += charge.gauntlet_ns;
                    }
                    prop_assert_eq!(l.sum(from_ns, to_ns, which), naive);
                }
            }
        }
    }

    #[test]
    fn old_turns_are_forgotten() {
        let mut l = quiet();
        for i in 0..100u64 {
            l.poll_begins(i * 1_000 * MS + 10 * MS);
            l.poll_ended(i * 1_000 * MS + 10 * MS, 0, true);
        }
        assert!(l.turns.len() < 25);
    }
}
