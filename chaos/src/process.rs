//! What the kernel says about a process, read from `/proc`.
//!
//! A pid alone names nothing for long: pids are recycled. A process is therefore always named by pid *and* start time
//! ([`ProcessIdentity`]), and nothing is signalled before the start time was compared.

use std::fmt;
use std::fs;
use std::io;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// One process of this boot, and never another one that got its pid later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of `/proc/<pid>/stat` (proc(5)).
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// Identifies the process that has `pid` now. Fails with `NotFound` if there is none.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: read_stat(pid)?.start_ticks })
    }

    /// Whether it still runs. A zombie (dead, not yet reaped) counts as gone: it holds no socket, file or memory.
    #[must_use]
    pub fn is_alive(self) -> bool {
        read_stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
    }

    /// User and system time that it has taken so far, those of its threads included (proc(5), `stat`, fields 14 and 15). Fails
    /// with `NotFound` if it is gone.
    pub fn cpu_time(self) -> io::Result<std::time::Duration> {
        let stat = read_stat(self.pid)?;
        if stat.start_ticks != self.start_ticks || stat.is_dead() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let ticks_per_s =
            sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100);
        Ok(std::time::Duration::from_secs_f64(stat.cpu_ticks as f64 / ticks_per_s as f64))
    }

    /// Sends `signal` if this very process still runs; `Ok(false)` if it is gone.
    ///
    /// Between comparing and signalling the process could end and its pid be given to another one. For children that is
    /// impossible (an unreaped pid is never reused); for others the kernel would have to cycle through all pids within
    /// microseconds.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        if !self.is_alive() {
            return Ok(false);
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) => Ok(true),
            Err(nix::errno::Errno::ESRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether every thread is stopped (state `T`), which is what SIGSTOP has to reach before a pause "took effect".
    /// `Ok(false)` as long as one thread still runs; fails with `NotFound` if the process is gone.
    pub fn all_threads_stopped(self) -> io::Result<bool> {
        let main = read_stat(self.pid)?;
        if main.start_ticks != self.start_ticks || main.is_dead() {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        if !main.is_stopped() {
            return Ok(false);
        }
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let path = task?.path().join("stat");
            // A thread that ended while we looked is no longer running either.
            let Ok(text) = fs::read_to_string(path) else { continue };
            if parse_stat(&text).is_some_and(|stat| !stat.is_stopped() && !stat.is_dead()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A process that leads a group, and all that it has started in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessGroup {
    /// The process that it is named by.
    pub leader: ProcessIdentity,
}

impl ProcessGroup {
    /// Sends `signal` to all of its processes; `Ok(false)` if none is left. The caller knows that its leader was not reaped: the number of
    /// the group is nobody else's until then.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        match killpg(Pid::from_raw(self.leader.pid), signal) {
            Ok(()) => Ok(true),
            Err(nix::errno::Errno::ESRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether every thread of every process is stopped (state `T`) or stops before it does anything else, and there is one.
    #[must_use]
    pub fn is_stopped(self) -> bool {
        let stands = |one: &ProcessIdentity| {
            one.all_threads_stopped().unwrap_or(true)
                || fs::read_to_string(format!("/proc/{}/status", one.pid))
                    .is_ok_and(|status| is_to_stop(&status))
        };
        let members = self.members();
        !members.is_empty() && members.iter().all(stands)
    }

    /// Whether some process is stopped.
    #[must_use]
    pub fn any_stopped(self) -> bool {
        self.members().iter().any(|one| one.all_threads_stopped().unwrap_or(false))
    }

    /// Whether no process is left but zombies, which hold no socket, file or memory.
    #[must_use]
    pub fn is_gone(self) -> bool {
        self.members().is_empty()
    }

    /// Its processes that are not dead.
    fn members(self) -> Vec<ProcessIdentity> {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let member = |pid| {
            let stat = read_stat(pid).ok().filter(|stat| stat.group == self.leader.pid && !stat.is_dead())?;
            Some(ProcessIdentity { pid, start_ticks: stat.start_ticks })
        };
        pids.filter_map(member).collect()
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "pid {} (started at tick {})", self.pid, self.start_ticks)
    }
}

/// The fields of `/proc/<pid>/stat` that are needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    /// `R` running, `S`/`D` sleeping, `T` stopped by a signal, `t` by a tracer, `Z` zombie, `X` dead.
    state: char,
    /// Number of its process group.
    group: i32,
    start_ticks: u64,
    /// User and system time.
    cpu_ticks: u64,
}

impl ProcessStat {
    pub(crate) fn is_stopped(self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    fn is_dead(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Reads and parses `/proc/<pid>/stat`.
pub(crate) fn read_stat(pid: i32) -> io::Result<ProcessStat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("unreadable stat: {text:?}")))
}

/// Whether a process sleeps where no signal wakes it (state `D`) with a SIGSTOP pending. A shell that starts a command is so for as long as
/// that is stopped before its exec (vfork(2)); it stops as soon as it could go on.
fn is_to_stop(status: &str) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let pending = field("ShdPnd:").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    field("State:").is_some_and(|state| state.starts_with('D'))
        && pending >> (Signal::SIGSTOP as u32 - 1) & 1 == 1
}

/// Parses a stat line. Field 2, the command name, stands in parentheses and may itself contain blanks and parentheses,
/// so counting starts after the *last* closing one.
fn parse_stat(line: &str) -> Option<ProcessStat> {
    let after_name = &line[line.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // `state` is field 3 and the group 5; user time is field 14, system time 15, the start time 22.
    let group = fields.nth(1)?.parse().ok()?;
    let user_ticks: u64 = fields.nth(8)?.parse().ok()?;
    let system_ticks: u64 = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(6)?.parse().ok()?;
    Some(ProcessStat { state, group, start_ticks, cpu_ticks: user_ticks + system_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_stopped_child_stops_next() {
        let status = |state: &str, pending: &str| {
            format!("Name:\tsh\nState:\t{state}\nSigPnd:\t0\nShdPnd:\t{pending}\n")
        };
        assert!(is_to_stop(&status("D (disk sleep)", "0000000000050000")), "SIGSTOP and SIGCHLD");
        assert!(!is_to_stop(&status("D (disk sleep)", "0000000000010000")), "SIGCHLD");
        assert!(!is_to_stop(&status("R (running)", "0000000000040000")));
        assert!(!is_to_stop(""));
    }

    #[test]
    fn a_hostile_command_name_does_not_shift_the_fields() {
        let line = "77 (a) T (b) 1 2) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 123456 1 2 3";
        assert_eq!(
            parse_stat(line),
            Some(ProcessStat { state: 'S', group: 77, start_ticks: 123_456, cpu_ticks: 11 })
        );
    }

    #[test]
    fn a_cut_line_is_refused() {
        assert_eq!(parse_stat("77 (java) S 1 77"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn another_process_with_our_pid_is_not_us() {
        let me = ProcessIdentity::of(std::process::id().cast_signed()).unwrap();
        assert!(me.is_alive());
        let other = ProcessIdentity { start_ticks: me.start_ticks + 1, ..me };
        assert!(!other.is_alive());
        assert!(!other.signal(Signal::SIGKILL).unwrap());
    }

    #[test]
    fn a_zombie_counts_as_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id().cast_signed()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while identity.is_alive() {
            assert!(std::time::Instant::now() < deadline, "the child never ended");
            std::thread::yield_now();
        }
        assert!(read_stat(identity.pid).is_ok(), "it must still be unreaped here");
        child.wait().unwrap();
    }
}
