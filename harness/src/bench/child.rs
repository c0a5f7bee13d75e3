//! A contender's process: started, looked at, and reaped with what the kernel counted.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gauntlet_chaos::process::ProcessIdentity;

use super::{BenchError, on_file};
use crate::child::{bind_to_this_thread, kill_group, wait4};

pub use crate::child::Ended;

/// Name of what a contender printed.
pub const STDOUT: &str = "stdout";
/// Name of what it complained about.
pub const STDERR: &str = "stderr";

/// A process under way. Dropping it ends it.
pub struct Contestant {
    child: Child,
    identity: ProcessIdentity,
    /// Highest resident memory of this process when it forked.
    forker_rss_bytes: u64,
    /// Highest resident memory of the child that was seen.
    seen_rss_bytes: u64,
    ended: Option<Ended>,
}

impl Contestant {
    /// Starts a command whose output goes to files in `dir`. ^C in the terminal does not reach it; the death of this thread does.
    ///
    /// # Errors
    /// It can't be started, or its output not be written.
    pub fn start(command: &mut Command, dir: &Path) -> Result<Self, BenchError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| BenchError::Run { program: program.clone(), source };
        let output = |name: &str| {
            let path = dir.join(name);
            File::create(&path).map_err(on_file("create", &path))
        };
        command.stdin(Stdio::null()).stdout(output(STDOUT)?).stderr(output(STDERR)?);
        bind_to_this_thread(command);
        let forker_rss_bytes = peak_rss_bytes(std::process::id()).unwrap_or(0);
        let child = command.spawn().map_err(failed)?;
        // Unreaped, so its pid is its own even if it has ended already.
        let identity = ProcessIdentity::of(child.id().cast_signed()).map_err(failed)?;
        Ok(Contestant { child, identity, forker_rss_bytes, seen_rss_bytes: 0, ended: None })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far; `None` once it has ended.
    #[must_use]
    pub fn cpu_s(&self) -> Option<f64> {
        self.identity.cpu_time().ok().as_ref().map(Duration::as_secs_f64)
    }

    /// Whether it has ended, and how. Does not wait.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn ended(&mut self) -> Result<Option<Ended>, BenchError> {
        if self.ended.is_none() {
            self.seen_rss_bytes = self.seen_rss_bytes.max(peak_rss_bytes(self.child.id()).unwrap_or(0));
            self.reap(libc::WNOHANG)?;
        }
        Ok(self.ended)
    }

    /// Ends it, however it is.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> Result<Ended, BenchError> {
        if let Some(ended) = self.ended {
            return Ok(ended);
        }
        kill_group(self.child.id());
        self.reap(0)?;
        self.ended.ok_or_else(|| self.lost(io::Error::from(io::ErrorKind::NotFound)))
    }

    fn reap(&mut self, flags: libc::c_int) -> Result<(), BenchError> {
        let reaped = wait4(self.child.id(), flags).map_err(|source| self.lost(source))?;
        self.ended = reaped.map(|mut ended| {
            // The kernel counts from the fork on, program or not: a small program would have the memory of its parent.
            if ended.rss_bytes <= self.forker_rss_bytes && self.seen_rss_bytes > 0 {
                ended.rss_bytes = self.seen_rss_bytes;
            }
            ended
        });
        Ok(())
    }

    fn lost(&self, source: io::Error) -> BenchError {
        BenchError::Run { program: format!("process {}", self.child.id()), source }
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // Nobody is left to tell; the kernel ends it with us at the latest.
        let _ = self.kill();
    }
}

/// The high-water mark of the program that a process runs now: `VmHWM`, proc_pid_status(5).
fn peak_rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// The end of what a contender printed, for an error message.
#[must_use]
pub fn last_words(dir: &Path) -> String {
    const WORDS_MAX: usize = 300;
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap_or_default();
    let text = [STDERR, STDOUT].map(read).into_iter().find(|text| !text.trim_ascii().is_empty());
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).trim().replace('\n', " | ");
    let cut = text.char_indices().rev().nth(WORDS_MAX).map_or(0, |(at, _)| at);
    text[cut..].to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn wait(contestant: &mut Contestant) -> Ended {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(ended) = contestant.ended().unwrap() {
                return ended;
            }
            assert!(Instant::now() < deadline, "it never ended");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_process_took_is_that_of_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let busy =
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo said; echo complained >&2; exit 3";
        let mut contestant = Contestant::start(&mut shell(busy), dir.path()).unwrap();
        let ended = wait(&mut contestant);
        assert_eq!(ended.code, Some(3));
        assert!(ended.cpu_s > 0.0 && ended.rss_bytes > 100_000, "{ended:?}");
        assert_eq!(contestant.cpu_s(), None, "it is gone");
        assert_eq!(std::fs::read_to_string(dir.path().join(STDOUT)).unwrap(), "said\n");
        assert_eq!(last_words(dir.path()), "complained");
        assert_eq!(contestant.kill().unwrap(), ended, "ending what has ended changes nothing");
    }

    #[test]
    fn one_that_is_dropped_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let contestant = Contestant::start(&mut shell("sleep 600 & wait"), dir.path()).unwrap();
        let identity = contestant.identity;
        assert!(identity.is_alive() && contestant.cpu_s().is_some());
        drop(contestant);
        assert!(!identity.is_alive());
    }
}
