//! How busy the host is, and how much of its processor time its hypervisor gave to others (*steal*): on a virtual machine
//! the one cause of lateness that nothing inside can see otherwise.
//!
//! From the first line of `/proc/stat`; proc_stat(5).

use gauntlet_reports::record::HostRecord;

/// Processor time of all CPUs since boot, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostTicks {
    all: u64,
    idle: u64,
    steal: u64,
}

impl HostTicks {
    /// As of now; `None` where the kernel does not say.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?;
        // user, nice, system, idle, iowait, irq, softirq, steal; what guests of this host took is part of user and nice.
        let ticks: Vec<u64> =
            fields.split_ascii_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[_, _, _, idle, iowait, _, _, steal] = ticks.as_slice() else { return None };
        Some(HostTicks { all: ticks.iter().sum(), idle: idle + iowait, steal })
    }

    /// What the host did from `earlier` until this; `None` if no tick passed.
    pub(crate) fn since(&self, earlier: &Self) -> Option<HostRecord> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all > 0)? as f64;
        let steal = self.steal.saturating_sub(earlier.steal) as f64 / all;
        let idle = self.idle.saturating_sub(earlier.idle) as f64 / all;
        Some(HostRecord { busy: (1.0 - idle - steal).max(0.0), steal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_neither_idle_nor_stolen() {
        let at = |line: &str| HostTicks::parse(line).unwrap();
        let first = at("cpu  100 0 50 1000 10 0 5 20 0 0\ncpu0 1 2 3");
        let last = at("cpu  150 0 70 1020 15 0 10 40 0 0\ncpu0 1 2 3");
        // 120 ticks: 75 of work, 25 idle, 20 stolen.
        let record = last.since(&first).unwrap();
        assert!((record.busy - 75.0 / 120.0).abs() < 1e-9, "{record:?}");
        assert!((record.steal - 20.0 / 120.0).abs() < 1e-9, "{record:?}");
        assert_eq!(first.since(&first), None);
        assert_eq!(HostTicks::parse("cpu 1 2 3"), None, "a kernel without steal");
        assert_eq!(HostTicks::parse(""), None);
    }

    #[test]
    fn this_host_has_ticks() {
        assert!(HostTicks::now().is_some_and(|ticks| ticks.all >= ticks.idle + ticks.steal));
    }
}
