//! When a warm-up that ends by itself is over (`warmup: {until: stable}`).
//!
//! Three things must have settled, each looked at in windows of 5 s, the last six against the six before:
//!
//! - the load keeps to its schedule, and nothing that is due waits;
//! - p99 no longer falls;
//! - the brokers' processor time per record no longer falls. While the JVM's second compiler still replaces code this
//!   shrinks steadily, and much less noisily than p99 does: on two cores, brokers that look settled by p99 alone may still be a tenth
//!   more busy than they will be, and have their latencies fall by a third in the minutes that were to be measured.

use std::collections::VecDeque;

use crate::recorder::{LatencyHistogram, add_histogram, latency_histogram};

/// Length of a window.
const WINDOW_NS: u64 = 5_000_000_000;
/// Number of windows on each side of a comparison.
const WINDOWS: usize = 6;
/// p99 has settled if it fell by no more than this between the two sides.
const P99_DROP_MAX: f64 = 0.25;
/// The brokers' processor time per record has settled if it fell by no more than this.
const CPU_DROP_MAX: f64 = 0.03;
/// The load keeps to its schedule if what is acked per second differs from what is intended by no more than this share...
const ON_SCHEDULE: f64 = 0.03;
/// ...and if what is due and not yet acked is no more than so many seconds of it. Cold brokers let a backlog grow, and
/// where it turns from growing to shrinking both rate and p99 look settled, at many seconds.
const BACKLOG_MAX_S: f64 = 1.0;

/// What is known at the end of a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    /// CLOCK_MONOTONIC.
    pub(super) at_ns: u64,
    /// Latencies of the records that were acked since the last look.
    pub(super) latency: &'a LatencyHistogram,
    /// How many these are.
    pub(super) acked: u64,
    /// User and system time of all brokers since they were started, seconds; `None` where nobody can tell.
    pub(super) brokers_cpu_s: Option<f64>,
}

/// Whether the cluster has settled.
#[derive(Debug)]
pub(super) struct Stability {
    window: Option<Window>,
    past: VecDeque<Past>,
    /// When the load began, when it was last looked at, and how many records were acked in between.
    began_ns: u64,
    last_ns: u64,
    acked: u64,
}

/// The window under way.
#[derive(Debug)]
struct Window {
    began_ns: u64,
    latency: LatencyHistogram,
    acked: u64,
    cpu_s: Option<f64>,
}

/// A window that is over.
#[derive(Debug)]
struct Past {
    p99_us: f64,
    acked_per_s: f64,
    cpu_s_per_record: Option<f64>,
}

impl Window {
    /// One that begins with `look`; what that counted was acked before.
    fn begin(look: &Look<'_>) -> Self {
        Window { began_ns: look.at_ns, latency: latency_histogram(), acked: 0, cpu_s: look.brokers_cpu_s }
    }

    fn end(&self, look: &Look<'_>) -> Past {
        let cpu_s = look.brokers_cpu_s.zip(self.cpu_s).map(|(now, then)| now - then);
        Past {
            p99_us: self.latency.value_at_quantile(0.99) as f64,
            acked_per_s: self.acked as f64 * 1e9 / (look.at_ns - self.began_ns) as f64,
            cpu_s_per_record: cpu_s.filter(|_| self.acked > 0).map(|cpu_s| cpu_s / self.acked as f64),
        }
    }
}

impl Stability {
    /// For a load that begins at `began_ns`.
    pub(super) fn new(began_ns: u64) -> Self {
        Stability { window: None, past: VecDeque::new(), began_ns, last_ns: began_ns, acked: 0 }
    }

    /// Takes in one second.
    pub(super) fn add(&mut self, look: Look<'_>) {
        self.acked += look.acked;
        self.last_ns = look.at_ns;
        let Some(window) = &mut self.window else {
            self.window = Some(Window::begin(&look));
            return;
        };
        add_histogram(&mut window.latency, look.latency);
        window.acked += look.acked;
        if look.at_ns - window.began_ns >= WINDOW_NS {
            self.past.push_back(window.end(&look));
            self.window = Some(Window::begin(&look));
        }
        while self.past.len() > 2 * WINDOWS {
            self.past.pop_front();
        }
    }

    /// `target` is the scheduled rate, if there is one.
    pub(super) fn is_stable(&self, target: Option<f64>) -> bool {
        self.past.len() == 2 * WINDOWS
            && target.is_none_or(|target| self.is_on_schedule(target))
            && self.fell_by(|past| Some(past.p99_us)).is_some_and(|fell| fell <= P99_DROP_MAX)
            && self.fell_by(|past| past.cpu_s_per_record).is_none_or(|fell| fell <= CPU_DROP_MAX)
    }

    fn is_on_schedule(&self, target: f64) -> bool {
        let last = self.past.iter().skip(WINDOWS);
        let rate = last.map(|past| past.acked_per_s).sum::<f64>() / WINDOWS as f64;
        (rate / target - 1.0).abs() <= ON_SCHEDULE && self.backlog_s(target) <= BACKLOG_MAX_S
    }

    /// By which share the median of a value is lower in the last windows than in those before. `None` if a window has none.
    fn fell_by(&self, value: impl Fn(&Past) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.past.iter().map(value).collect::<Option<_>>()?;
        let (before, after) = values.split_at_mut(WINDOWS);
        Some(1.0 - median(after) / median(before))
    }

    /// What is due and not acked, in seconds of the scheduled rate.
    fn backlog_s(&self, target: f64) -> f64 {
        self.last_ns.saturating_sub(self.began_ns) as f64 / 1e9 - self.acked as f64 / target
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    (values[middle - 1] + values[middle]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a window with this p99 at so many records per second, after which brokers have taken so much time.
    fn add(stability: &mut Stability, p99_ms: u64, rate: u64, brokers_cpu_s: Option<f64>) {
        let mut latency = latency_histogram();
        latency.record_n(p99_ms * 1_000, 100).unwrap();
        let at_ns = stability.last_ns + WINDOW_NS;
        stability.add(Look { at_ns, latency: &latency, acked: rate * 5, brokers_cpu_s });
    }

    fn begun(brokers_cpu_s: Option<f64>) -> Stability {
        let mut stability = Stability::new(0);
        stability.add(Look { at_ns: 0, latency: &latency_histogram(), acked: 0, brokers_cpu_s });
        stability
    }

    /// Windows with these p99s, at so many records per second, on brokers that nobody can look at.
    fn stability(p99_ms: &[u64], rate: u64) -> Stability {
        let mut stability = begun(None);
        p99_ms.iter().for_each(|ms| add(&mut stability, *ms, rate, None));
        stability
    }

    #[test]
    fn stable_is_when_p99_no_longer_falls() {
        let falling = [400, 350, 300, 250, 200, 150, 120, 100, 90, 80, 70, 60];
        assert!(!stability(&falling, 1_000).is_stable(Some(1_000.0)), "it fell by more than a quarter");
        assert!(!stability(&[55; 11], 1_000).is_stable(Some(1_000.0)), "too early to say");
        assert!(stability(&[55; 12], 1_000).is_stable(Some(1_000.0)));
        assert!(stability(&[55; 12], 1_000).is_stable(None));
    }

    #[test]
    fn a_backlog_is_not_stable() {
        // Flat at twenty seconds, while what piled up is worked off.
        assert!(!stability(&[20_000; 12], 1_200).is_stable(Some(1_000.0)));
        assert!(!stability(&[20_000; 12], 900).is_stable(Some(1_000.0)));
        // Neither growing nor shrinking, and still there.
        let mut turning = stability(&[20_000; 4], 200);
        (0..20).for_each(|_| add(&mut turning, 16_000, 1_000, None));
        assert!(!turning.is_stable(Some(1_000.0)), "sixteen seconds of load wait");
    }

    /// Twelve windows of the same p99, in each of which brokers take this much less time than in the one before.
    fn with_cpu_falling_by(share: f64) -> Stability {
        let (mut cpu_s, mut taken_s) = (0.0, 5.0);
        let mut stability = begun(Some(cpu_s));
        for _ in 0..2 * WINDOWS {
            cpu_s += taken_s;
            taken_s *= 1.0 - share;
            add(&mut stability, 55, 1_000, Some(cpu_s));
        }
        stability
    }

    #[test]
    fn brokers_that_still_get_cheaper_are_not_stable() {
        assert!(!with_cpu_falling_by(0.02).is_stable(Some(1_000.0)), "eleven per cent within half a minute");
        assert!(with_cpu_falling_by(0.004).is_stable(Some(1_000.0)));
        assert!(with_cpu_falling_by(-0.02).is_stable(Some(1_000.0)), "dearer is not colder");
    }

    #[test]
    fn brokers_that_could_not_be_looked_at_throughout_are_judged_by_p99_alone() {
        let mut replaced = with_cpu_falling_by(0.02);
        add(&mut replaced, 55, 1_000, None);
        assert!(replaced.is_stable(Some(1_000.0)));
    }
}
