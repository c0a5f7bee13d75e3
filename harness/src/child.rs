//! Processes that gauntlet starts and ends itself: they die with the thread that started them, and are reaped with what the
//! kernel counted.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// How a process ended, and what it took in all its life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// User and system time.
    pub cpu_s: f64,
    /// Highest resident memory, bytes.
    pub rss_bytes: u64,
}

/// Gives a command a process group of its own, so that ^C in the terminal does not reach it, and has the kernel end it when
/// the thread dies that is going to start it.
pub(crate) fn bind_to_this_thread(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec, only an async-signal-safe system call is made.
    unsafe { command.pre_exec(die_with_parent) };
}

fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal and changes nothing but this process.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a child has ended. It stays to be reaped, so its pid stays its own.
///
/// # Errors
/// It is no child of this process, or reaped already.
pub(crate) fn has_ended(pid: u32) -> io::Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    Ok(waitid(Id::Pid(Pid::from_raw(pid.cast_signed())), flags)? != WaitStatus::StillAlive)
}

/// Ends a child that was not reaped yet, and what it started in its process group.
pub(crate) fn kill_group(pid: u32) {
    // Nobody may be left in it; nothing else can go wrong with a group of our own.
    let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

/// As `waitpid`, with the resources that this very child has used; wait4(2). `None`: with WNOHANG, it has not ended.
///
/// # Errors
/// It is no child of this process, or reaped already.
pub(crate) fn wait4(pid: u32, flags: libc::c_int) -> io::Result<Option<Ended>> {
    let mut status = 0;
    // SAFETY: all bytes zero is a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to valid memory that lives for the call.
    let reaped = unsafe { libc::wait4(pid.cast_signed(), &raw mut status, flags, &raw mut usage) };
    match reaped {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        _ => {
            let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
            Ok(Some(Ended {
                code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
                cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
                // Linux counts it in KiB; getrusage(2).
                rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10,
            }))
        }
    }
}
