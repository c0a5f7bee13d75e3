//! One process: started, spoken to through its pipes without ever waiting for it, ended and reaped.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_wire::monotonic_ns;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::launch::{Assignment, KAFKA_LIBS, Launch};
use super::lines::{LINE_BYTES_MAX, Mistake, shortened};
use super::log::Scribe;
use super::programs::Programs;
use crate::child::{self, Ended};

/// Bytes that the kernel is asked to hold in each direction, where it allows that.
const PIPE_BYTES: i32 = 256 << 10;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// How often it is looked whether a program that holds its pipes open has ended.
const LOOK_EVERY_NS: u64 = 100_000_000;
/// How long one may take to end that has closed its output.
const GRACE_NS: u64 = 300_000_000;
/// Lines of standard error that are kept for messages.
const LAST_WORDS_MAX: usize = 5;

/// Something went wrong with a program.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// It can't be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The operating system does not let it be spoken with.
    #[error("cannot speak with `{program}`: {source}")]
    Pipe {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("`{program}` {how} before it said `ready`{words}")]
    NeverReady {
        /// Its name.
        program: String,
        /// How it ended.
        how: String,
        /// What it complained about.
        words: String,
    },
    /// It did not get ready.
    #[error("`{program}` did not say `ready` within {limit_s} s{words}")]
    NotReady {
        /// Its name.
        program: String,
        /// How long it was waited for.
        limit_s: u64,
        /// What it complained about.
        words: String,
    },
    /// It said something that the contract does not allow.
    #[error("`{program}` broke the contract in line {line} of its output, `{text}`: {what}")]
    Contract {
        /// Its name.
        program: String,
        /// Number of the line.
        line: u64,
        /// The line, shortened.
        text: String,
        /// What is wrong with it.
        what: Broken,
    },
    /// It ended again and again.
    #[error("`{program}` ended {times} times in a row without any progress; the last time it {how}{words}")]
    KeepsDying {
        /// Its name.
        program: String,
        /// How often.
        times: u32,
        /// How it ended.
        how: String,
        /// What it complained about.
        words: String,
    },
    /// Nobody needs it any more.
    #[error("the run ended before `{program}` was ready")]
    NotNeeded {
        /// Its name.
        program: String,
    },
}

/// A line that the contract does not allow, or not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is none of the contract's lines.
    #[error(transparent)]
    Mistake(#[from] Mistake),
    /// It is one of the other role's.
    #[error("a {0} does not say this")]
    NotThisRole(&'static str),
    /// `ready` comes first, and once.
    #[error("`ready` comes first, and once")]
    OutOfPlace,
    /// A record that it did not get.
    #[error("no record of this program has the id {0}")]
    NotSent(u64),
    /// A record that it has reported before.
    #[error("one of these records has ended already; each ends once")]
    EndedAlready,
    /// A partition that is not its to read.
    #[error("partition {0} is not assigned to it")]
    NotAssigned(usize),
    /// Offsets only go up.
    #[error("offset {offset} of partition {partition} is below {position}, from where it was to go on")]
    WentBack {
        /// The partition.
        partition: usize,
        /// What it said.
        offset: i64,
        /// What has been read.
        position: i64,
    },
    /// Where a log begins is above the position, and where it ends below.
    #[error("partition {partition} is at {position}, and {offset} is not {where_to} that")]
    NoJump {
        /// The partition.
        partition: usize,
        /// What it said.
        offset: i64,
        /// What has been read.
        position: i64,
        /// Above or below.
        where_to: &'static str,
    },
    /// It never ends its line.
    #[error("it is longer than {} MiB", LINE_BYTES_MAX >> 20)]
    TooLong,
}

/// What the one who takes lines says after each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next one.
    Line,
    /// No more for now.
    Stop,
}

/// What there may still be to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// More, at once.
    More,
    /// Nothing now.
    Nothing,
    /// Nothing ever: it has closed its output, or has ended.
    Over,
}

/// A running program. Dropping it ends it.
pub struct Program {
    child: Child,
    identity: ProcessIdentity,
    programs: Arc<Programs>,
    scribe: Scribe,
    name: String,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    outgoing: Vec<u8>,
    /// So much of it was written.
    written: usize,
    incoming: Vec<u8>,
    /// What of it was read and not taken yet.
    begin: usize,
    end: usize,
    /// Whole lines are left, because somebody had enough.
    stopped: bool,
    lines: u64,
    /// A part of a line of standard error, and the last lines of it.
    complaint: Vec<u8>,
    last_words: VecDeque<String>,
    /// By the last wait.
    readable: bool,
    next_look_ns: u64,
    reaped: bool,
}

impl Program {
    /// Starts it on the calling thread, whose death ends it, and says what it is to do.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(launch: &Launch, plan: &Assignment) -> Result<Self, ExternalError> {
        let (name, arguments) = launch.command.split_first().map_or(("", &[][..]), |(n, a)| (n.as_str(), a));
        let failed = |source| ExternalError::Start { program: name.to_owned(), source };
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(libs) = &launch.kafka_libs {
            command.env(KAFKA_LIBS, libs);
        }
        child::bind_to_this_thread(&mut command);
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // Unreaped, so its pid is its own even if it has ended already.
        let identity = ProcessIdentity::of(child.id().cast_signed()).map_err(failed)?;
        launch.programs.started(identity);
        let program = Program {
            child,
            identity,
            programs: Arc::clone(&launch.programs),
            scribe: launch.scribe.clone(),
            name: name.to_owned(),
            stdin,
            stdout,
            stderr,
            outgoing: plan.line(),
            written: 0,
            incoming: vec![0; READ_BYTES],
            begin: 0,
            end: 0,
            stopped: false,
            lines: 0,
            complaint: Vec::new(),
            last_words: VecDeque::new(),
            readable: false,
            next_look_ns: 0,
            reaped: false,
        };
        program.prepare_pipes().map_err(failed)?;
        program.scribe.gauntlet(&format!(
            "started `{}` as pid {}",
            launch.command.join(" ").replace('\n', " "),
            program.child.id()
        ));
        Ok(program)
    }

    fn prepare_pipes(&self) -> io::Result<()> {
        fn prepare(pipe: Option<&impl AsFd>) -> io::Result<()> {
            let Some(pipe) = pipe else { return Ok(()) };
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            // As much as the kernel gives is good enough.
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
            Ok(())
        }
        prepare(self.stdin.as_ref())?;
        prepare(self.stdout.as_ref())?;
        prepare(self.stderr.as_ref())
    }

    /// Where what is about it is written.
    #[must_use]
    pub fn scribe(&self) -> &Scribe {
        &self.scribe
    }

    /// Its name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process, which leads a group.
    #[must_use]
    pub fn identity(&self) -> ProcessIdentity {
        self.identity
    }

    /// Bytes that it was told and has not taken.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// Says something. `lines` is empty afterwards.
    pub fn say(&mut self, lines: &mut Vec<u8>) {
        if self.unwritten() == 0 {
            self.outgoing.clear();
            self.written = 0;
            std::mem::swap(&mut self.outgoing, lines);
        } else {
            self.outgoing.append(lines);
        }
    }

    /// Hands over as much as it takes now.
    ///
    /// # Errors
    /// The pipe is broken in a way that is not the program's.
    pub fn flush(&mut self) -> Result<(), ExternalError> {
        while self.unwritten() > 0 {
            let Some(stdin) = &mut self.stdin else { break };
            match stdin.write(&self.outgoing[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => {}
                    // It no longer listens. What it has said is still read; that it is gone is seen there.
                    ErrorKind::BrokenPipe => self.stdin = None,
                    _ => return Err(self.unspeakable(error)),
                },
            }
        }
        Ok(())
    }

    fn unspeakable(&self, source: io::Error) -> ExternalError {
        ExternalError::Pipe { program: self.name.clone(), source }
    }

    /// Waits until it has something to say, or takes what it is told, or the time is over.
    ///
    /// # Errors
    /// The operating system refuses to wait.
    pub fn wait(&mut self, timeout_ns: u64) -> Result<(), ExternalError> {
        let outgoing = self.unwritten() > 0;
        let (stdout, stderr) = (self.stdout.as_ref(), self.stderr.as_ref());
        let stdin = self.stdin.as_ref().filter(|_| outgoing);
        let mut fds = Vec::with_capacity(3);
        fds.extend(stdout.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        fds.extend(stderr.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        fds.extend(stdin.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(Duration::from_nanos(timeout_ns))), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                drop(fds);
                return Err(self.unspeakable(errno.into()));
            }
        }
        let is_ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        let readable = stdout.is_some() && is_ready(fds.first());
        let complains = stderr.is_some() && is_ready(fds.get(usize::from(stdout.is_some())));
        drop(fds);
        self.readable = readable;
        if complains {
            self.hear_complaints();
        }
        Ok(())
    }

    /// Hands its lines to `take`, with when they were read, until there are no more for now.
    ///
    /// # Errors
    /// A line breaks the contract, or can't be read.
    pub fn read(
        &mut self,
        mut take: impl FnMut(&[u8], u64) -> Result<Next, Broken>,
    ) -> Result<Left, ExternalError> {
        if self.stopped && self.hand_on(self.begin, monotonic_ns(), &mut take)? == Next::Stop {
            return Ok(Left::More);
        }
        if !self.readable && !self.is_gone() {
            return Ok(Left::Nothing);
        }
        self.readable = false;
        self.make_room()?;
        let Some(stdout) = &mut self.stdout else { return Ok(Left::Over) };
        let room = self.incoming.len() - self.end;
        let read = loop {
            match stdout.read(&mut self.incoming[self.end..]) {
                Ok(read) => break read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(if self.is_gone() { Left::Over } else { Left::Nothing });
                }
                Err(error) => return Err(self.unspeakable(error)),
            }
        };
        let now_ns = monotonic_ns();
        if read == 0 {
            self.stdout = None;
            return Ok(Left::Over);
        }
        let from = self.end;
        self.end += read;
        let next = self.hand_on(from, now_ns, &mut take)?;
        let more = next == Next::Stop || read == room || self.is_gone();
        // Where the buffer was filled there may be more, also if nobody says so.
        self.readable = more;
        Ok(if more { Left::More } else { Left::Nothing })
    }

    /// Hands on whole lines; the bytes before `from` are known to hold no line's end.
    fn hand_on(
        &mut self,
        from: usize,
        now_ns: u64,
        take: &mut impl FnMut(&[u8], u64) -> Result<Next, Broken>,
    ) -> Result<Next, ExternalError> {
        let mut from = from.max(self.begin);
        self.stopped = false;
        while let Some(length) = self.incoming[from..self.end].iter().position(|byte| *byte == b'\n') {
            let line = self.begin..from + length;
            self.begin = from + length + 1;
            from = self.begin;
            self.lines += 1;
            match take(&self.incoming[line.clone()], now_ns) {
                Ok(Next::Line) => {}
                Ok(Next::Stop) => {
                    self.stopped = true;
                    return Ok(Next::Stop);
                }
                Err(what) => return Err(self.broken(&self.incoming[line], what)),
            }
        }
        Ok(Next::Line)
    }

    fn broken(&self, line: &[u8], what: Broken) -> ExternalError {
        let text = self.scribe.log.clean(&shortened(line));
        let error = ExternalError::Contract { program: self.name.clone(), line: self.lines, text, what };
        self.scribe.gauntlet(&error.to_string());
        error
    }

    /// Makes room for more of a line that is not at its end.
    fn make_room(&mut self) -> Result<(), ExternalError> {
        self.incoming.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        if self.end < self.incoming.len() / 2 {
            return Ok(());
        }
        if self.end >= LINE_BYTES_MAX {
            self.lines += 1;
            return Err(self.broken(&self.incoming[..self.end], Broken::TooLong));
        }
        self.incoming.resize(self.incoming.len() * 2, 0);
        Ok(())
    }

    /// Whether it has ended although somebody holds its pipes open. Looked at now and then.
    fn is_gone(&mut self) -> bool {
        let now_ns = monotonic_ns();
        if now_ns < self.next_look_ns {
            return false;
        }
        self.next_look_ns = now_ns + LOOK_EVERY_NS;
        let gone = child::has_ended(self.child.id()).unwrap_or(true);
        if gone {
            // From now on always.
            self.next_look_ns = 0;
        }
        gone
    }

    fn hear_complaints(&mut self) {
        let mut bytes = [0; 4096];
        // Bounded, so that a flood of complaints does not keep the load waiting.
        for _ in 0..4 {
            let Some(stderr) = &mut self.stderr else { return };
            match stderr.read(&mut bytes) {
                Ok(0) => self.stderr = None,
                Ok(read) => bytes[..read].iter().for_each(|byte| self.complain(*byte)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.stderr = None,
            }
        }
    }

    fn complain(&mut self, byte: u8) {
        const COMPLAINT_BYTES_MAX: usize = 1000;
        if byte != b'\n' {
            self.complaint.push(byte);
            if self.complaint.len() < COMPLAINT_BYTES_MAX {
                return;
            }
        }
        let line = self.scribe.log.clean(&String::from_utf8_lossy(&std::mem::take(&mut self.complaint)));
        self.scribe.stderr(&line);
        if self.last_words.len() == LAST_WORDS_MAX {
            self.last_words.pop_front();
        }
        self.last_words.push_back(line);
    }

    /// The last lines of its standard error, for a message.
    #[must_use]
    pub fn last_words(&mut self) -> String {
        self.hear_complaints();
        if !self.complaint.is_empty() {
            self.complain(b'\n');
        }
        let words = self.last_words.iter().map(|line| shortened(line.as_bytes())).collect::<Vec<_>>();
        if words.is_empty() {
            return "; it complained about nothing on standard error".to_owned();
        }
        format!("; its standard error ends with: {}", words.join(" | "))
    }

    /// Waits for its end, as long as `limit` at the most, and ends it then. What it says goes to `take`.
    ///
    /// # Errors
    /// What it says breaks the contract, or can't be read.
    pub fn finish(
        mut self,
        limit: Duration,
        mut take: impl FnMut(&[u8], u64) -> Result<Next, Broken>,
    ) -> Result<(), ExternalError> {
        let deadline_ns = monotonic_ns() + limit.as_nanos() as u64;
        self.say(&mut super::lines::END.to_vec());
        loop {
            self.flush()?;
            if self.read(&mut take)? == Left::Over && child::has_ended(self.child.id()).unwrap_or(true) {
                break;
            }
            if monotonic_ns() >= deadline_ns {
                self.scribe.gauntlet(&format!("still runs {} s after `end`; it is ended", limit.as_secs()));
                break;
            }
            self.wait(5_000_000)?;
        }
        self.bury();
        Ok(())
    }

    /// Ends it, however it is, and what it started. Returns how it ended, in words: `ended with exit code 3`.
    pub fn bury(&mut self) -> String {
        if self.reaped {
            return "was ended".to_owned();
        }
        // Its output is closed a moment before it has ended; how it ends by itself is worth that moment.
        let until_ns = monotonic_ns() + GRACE_NS;
        while self.stdout.is_none()
            && !child::has_ended(self.child.id()).unwrap_or(true)
            && monotonic_ns() < until_ns
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.hear_complaints();
        let was_alive = !child::has_ended(self.child.id()).unwrap_or(true);
        self.programs.leaving(self.identity);
        // Also what it left behind: the group is its own until it is reaped.
        child::kill_group(self.child.id());
        let ended: Option<Ended> = child::wait4(self.child.id(), 0).ok().flatten();
        self.reaped = true;
        self.programs.ended(self.identity, ended.map(|ended| Duration::from_secs_f64(ended.cpu_s)));
        let how = match ended.and_then(|ended| ended.code) {
            _ if was_alive => "closed its output, and was ended".to_owned(),
            Some(code) => format!("ended with exit code {code}"),
            None => "was ended by a signal".to_owned(),
        };
        self.scribe.gauntlet(&how);
        how
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.reaped {
            self.bury();
        }
    }
}
