//! The run's side of the supervisor.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::control::ControlSocket;
use super::protocol::{NodeCommand, NodeStatus, Reply, Request, SignalTimes};
use super::server::READY;
use crate::docker::ContainerSpec;
use crate::files::{FileError, OnPath, last_lines, write_atomically};
use crate::hook::HookJob;
use crate::netns::Network;
use crate::process::ProcessIdentity;
use crate::proxy::{Front, Rule};
use crate::shim::{NodePage, Orders, Seen};

/// Time for an answer that needs no waiting on the supervisor's side.
const PROMPT: Duration = Duration::from_secs(15);
/// Time for a pause, or the end of one, to be seen: the supervisor's own limits, of an engine's command too.
const PAUSE_LIMIT: Duration = Duration::from_secs(30);
/// Time for the engine to make containers, or to start one, on a machine that may be busy with others.
const CONTAINER_LIMIT: Duration = Duration::from_secs(120);
/// Time for a killed node to be gone. A process in an uninterruptible disk wait dies only after it.
const KILL_LIMIT: Duration = Duration::from_secs(60);
/// Time for a whole shutdown: the supervisor's own limits (stop, then kill) and removing the data.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(90);

/// How to start this program again as a supervisor.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The executable.
    pub exe: PathBuf,
    /// The hidden argument(s) on which its `main` calls [`supervisor_main`](super::supervisor_main).
    pub args: Vec<OsString>,
}

impl Launcher {
    /// Re-executes the running program with `args`. Through `/proc/self/exe`, so that it is the same program even if its file
    /// was replaced meanwhile.
    #[must_use]
    pub fn current_exe(args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { exe: PathBuf::from("/proc/self/exe"), args: args.into_iter().map(Into::into).collect() }
    }
}

/// What a supervisor must know before its first request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisorConfig {
    /// Where its socket and identity lie. Must exist.
    pub state_dir: PathBuf,
    /// Directory of ours to remove at the end, after the last node; `None` keeps everything and stops nodes in order.
    pub remove_dir: Option<PathBuf>,
    /// File to which it appends what it did.
    pub log: PathBuf,
    /// The run's undo journal, if faults may be injected: what it says is healed before the nodes end.
    pub undo_journal: Option<PathBuf>,
    /// The brokers are somebody else's and outlive it: what can't be undone stays in the journal.
    #[serde(default)]
    pub foreign: bool,
}

/// Why the supervisor did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// It could not be executed.
    #[error("cannot start the supervisor {}: {source}", exe.display())]
    NotRunnable {
        /// The executable.
        exe: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("the supervisor ended while starting ({how}); it said:\n  {}", last_lines.join("\n  "))]
    NotReady {
        /// Exit status, or what went wrong.
        how: String,
        /// The end of its log.
        last_lines: Vec<String>,
    },
    /// It does not answer.
    #[error("the supervisor does not answer at {}: {source}", socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It tried and failed, or refused.
    #[error("{0}")]
    Refused(String),
    /// It answered with something else than the request asks for.
    #[error("the supervisor answered {reply} to {request}")]
    UnexpectedReply {
        /// What was asked.
        request: String,
        /// What came back.
        reply: String,
    },
    /// It did not end in time.
    #[error("the supervisor, {process}, did not end within {} s", limit.as_secs())]
    StillRunning {
        /// Its process.
        process: ProcessIdentity,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It ended, but not everything is gone.
    #[error("the clean-up failed ({status}); the supervisor said:\n  {}", last_lines.join("\n  "))]
    CleanUp {
        /// Its exit status.
        status: ExitStatus,
        /// The end of its log.
        last_lines: Vec<String>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A running supervisor, tied to this process by its lifeline: dropping it ends all nodes.
#[derive(Debug)]
pub struct Supervisor {
    child: Child,
    lifeline: Option<ChildStdin>,
    process: ProcessIdentity,
    socket: ControlSocket,
    log: PathBuf,
    /// Set when the drop has nothing to end.
    released: bool,
}

impl Supervisor {
    /// Starts a supervisor and waits until it takes requests.
    pub fn launch(launcher: &Launcher, config: &SupervisorConfig) -> Result<Self, SupervisorError> {
        let config_path = config.state_dir.join("supervisor.json");
        let text =
            serde_json::to_vec_pretty(config).map_err(|error| SupervisorError::Refused(error.to_string()))?;
        write_atomically(&config_path, &text)?;
        let log = OpenOptions::new().create(true).append(true).open(&config.log).on("open", &config.log)?;
        let not_runnable = |source| SupervisorError::NotRunnable { exe: launcher.exe.clone(), source };
        let mut child = Command::new(&launcher.exe)
            // What `ps` shows; the path would be /proc/self/exe.
            .arg0("gauntlet-supervisor")
            .args(&launcher.args)
            .arg(&config_path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(not_runnable)?;
        let lifeline = child.stdin.take();
        let ready = wait_until_ready(&mut child);
        let process = ProcessIdentity::of(child.id().cast_signed());
        match (ready, process) {
            (Ok(()), Ok(process)) => Ok(Self {
                child,
                lifeline,
                process,
                socket: ControlSocket::in_dir(&config.state_dir),
                log: config.log.clone(),
                released: false,
            }),
            (Err(error), _) | (Ok(()), Err(error)) => {
                let _ = child.kill();
                let how = match child.wait() {
                    Ok(status) => format!("{error}, {status}"),
                    Err(wait_error) => format!("{error}, {wait_error}"),
                };
                Err(SupervisorError::NotReady { how, last_lines: last_lines(&config.log, 10) })
            }
        }
    }

    /// The supervisor's process.
    #[must_use]
    pub fn process(&self) -> ProcessIdentity {
        self.process
    }

    /// Reserves `count` ports on 127.0.0.1 for as long as the supervisor lives.
    pub fn reserve_ports(&self, count: usize) -> Result<Vec<u16>, SupervisorError> {
        match self.ask(&Request::ReservePorts { count }, PROMPT)? {
            Reply::Ports { ports } => Ok(ports),
            other => Err(unexpected("reserve_ports", &other)),
        }
    }

    /// Has network namespaces made for these nodes, for as long as the supervisor lives.
    pub(crate) fn make_network(&self, nodes: Vec<i32>) -> Result<Network, SupervisorError> {
        match self.ask(&Request::MakeNetwork { nodes }, PROMPT)? {
            Reply::Network { network } => Ok(network),
            other => Err(unexpected("make_network", &other)),
        }
    }

    /// Has these directories made, each on a disk of `bytes`, for as long as the supervisor lives.
    pub(crate) fn make_disks(&self, dirs: Vec<PathBuf>, bytes: u64) -> Result<(), SupervisorError> {
        match self.ask(&Request::MakeDisks { dirs, bytes }, PROMPT)? {
            Reply::Done => Ok(()),
            other => Err(unexpected("make_disks", &other)),
        }
    }

    /// Has containers of `image` made, for as long as the supervisor lives: all nodes are such then.
    pub(crate) fn make_containers(
        &self,
        image: String,
        containers: Vec<ContainerSpec>,
    ) -> Result<(), SupervisorError> {
        match self.ask(&Request::MakeContainers { image, containers }, CONTAINER_LIMIT)? {
            Reply::Done => Ok(()),
            other => Err(unexpected("make_containers", &other)),
        }
    }

    /// Starts the container of a node that does not run: times before the command and when it had a process.
    pub(crate) fn start_container(&self, node: i32) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::StartContainer { node }, CONTAINER_LIMIT)
    }

    /// Keeps the logs below these `log.dirs` out of memory once nobody reads them any more, for as long as the supervisor
    /// lives. It is the brokers' host that this work is done for: a run that counts its own CPU does not count it.
    pub fn trim_page_cache(&self, log_dirs: Vec<PathBuf>) -> Result<(), SupervisorError> {
        match self.ask(&Request::TrimPageCache { log_dirs }, PROMPT)? {
            Reply::Done => Ok(()),
            other => Err(unexpected("trim_page_cache", &other)),
        }
    }

    /// Has a proxy listen in front of the nodes, which are to be started after it, for as long as the supervisor lives.
    pub(crate) fn start_proxy(&self, fronts: Vec<Front>) -> Result<(), SupervisorError> {
        match self.ask(&Request::StartProxy { fronts }, PROMPT)? {
            Reply::Done => Ok(()),
            other => Err(unexpected("start_proxy", &other)),
        }
    }

    /// Puts rules of the network into force for `fault`, in place of those it had. `seen_ns`: from then on they are.
    pub(crate) fn install_rules(
        &self,
        fault: &str,
        rules: Vec<Rule>,
    ) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::InstallRules { fault: fault.to_owned(), rules }, PROMPT)
    }

    /// Takes the rules of `fault` out of force; harmless if it has none.
    pub(crate) fn remove_rules(&self, fault: &str) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::RemoveRules { fault: fault.to_owned() }, PROMPT)
    }

    /// When the rules of `fault` first acted, if they have; CLOCK_MONOTONIC, nanoseconds.
    pub(crate) fn first_acted_ns(&self, fault: &str) -> Result<Option<u64>, SupervisorError> {
        match self.ask(&Request::FirstActed { fault: fault.to_owned() }, PROMPT)? {
            Reply::FirstActed { at_ns } => Ok(at_ns),
            other => Err(unexpected("first_acted", &other)),
        }
    }

    /// Has the supervisor give the orders of the nodes' shims, for as long as it lives.
    pub(crate) fn use_shims(&self, pages: Vec<NodePage>) -> Result<(), SupervisorError> {
        match self.ask(&Request::UseShims { pages }, PROMPT)? {
            Reply::Done => Ok(()),
            other => Err(unexpected("use_shims", &other)),
        }
    }

    /// Orders the shim of `node` to do so, instead of what it was ordered before. `seen_ns`: from then on it does.
    pub(crate) fn order_shim(&self, node: i32, orders: Orders) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::OrderShim { node, orders }, PROMPT)
    }

    /// Takes back what the shim of `node` was ordered; harmless if it was not.
    pub(crate) fn take_back_shim(&self, node: i32) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::TakeBackShim { node }, PROMPT)
    }

    /// What the shim of `node` has done of what it was ordered last.
    pub(crate) fn shim_seen(&self, node: i32) -> Result<Seen, SupervisorError> {
        match self.ask(&Request::ShimSeen { node }, PROMPT)? {
            Reply::Shim { seen } => Ok(seen),
            other => Err(unexpected("shim_seen", &other)),
        }
    }

    /// Starts a node that does not run: times before the fork and after the exec. It is not ready by then.
    pub fn start(&self, node: i32, command: &NodeCommand) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::Start { node, command: command.clone() }, PROMPT)
    }

    /// Sends SIGKILL and waits until the process is gone.
    pub fn kill(&self, node: i32) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::Kill { node }, KILL_LIMIT)
    }

    /// Sends SIGTERM and waits at most `deadline` until the process is gone. When it is not, the node still runs and the
    /// caller decides.
    pub fn stop(&self, node: i32, deadline: Duration) -> Result<SignalTimes, SupervisorError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.seen(&Request::Stop { node, deadline_ms }, deadline.saturating_add(PAUSE_LIMIT))
    }

    /// Sends SIGSTOP and waits until every thread of the process is stopped.
    pub fn pause(&self, node: i32) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::Pause { node }, PAUSE_LIMIT)
    }

    /// Sends SIGCONT and waits until the process is no longer stopped.
    pub fn resume(&self, node: i32) -> Result<SignalTimes, SupervisorError> {
        self.seen(&Request::Resume { node }, PAUSE_LIMIT)
    }

    /// Runs a command of a hook until it has ended; an error if it fails or takes too long.
    pub(crate) fn run_hook(&self, job: &HookJob) -> Result<SignalTimes, SupervisorError> {
        let limit = job.command.timeout().saturating_add(PROMPT);
        self.seen(&Request::RunHook { job: job.clone() }, limit)
    }

    /// All nodes ever started, with their latest process and its state.
    pub fn list(&self) -> Result<Vec<NodeStatus>, SupervisorError> {
        match self.ask(&Request::List, PROMPT)? {
            Reply::Nodes { nodes } => Ok(nodes),
            other => Err(unexpected("list", &other)),
        }
    }

    /// Lets the supervisor and its nodes outlive this process, for at most `ttl`.
    pub fn detach(mut self, ttl: Duration) -> Result<(), SupervisorError> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        match self.ask(&Request::Detach { ttl_ms }, PROMPT)? {
            Reply::Done => {
                self.released = true;
                Ok(())
            }
            other => Err(unexpected("detach", &other)),
        }
    }

    /// Ends all nodes, removes what the configuration says, and waits until that is done.
    pub fn shutdown(mut self) -> Result<(), SupervisorError> {
        self.end()
    }

    /// Closing the lifeline is the whole request: it works even if the socket is gone.
    fn end(&mut self) -> Result<(), SupervisorError> {
        self.released = true;
        drop(self.lifeline.take());
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(SupervisorError::CleanUp { status, last_lines: last_lines(&self.log, 10) });
                }
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Ok(None) => {
                    return Err(SupervisorError::StillRunning {
                        process: self.process,
                        limit: SHUTDOWN_LIMIT,
                    });
                }
                Err(source) => {
                    return Err(SupervisorError::Unreachable { socket: self.socket.path(), source });
                }
            }
        }
    }

    fn seen(&self, request: &Request, limit: Duration) -> Result<SignalTimes, SupervisorError> {
        match self.ask(request, limit)? {
            Reply::Seen { times } => Ok(times),
            other => Err(unexpected(&format!("{request:?}"), &other)),
        }
    }

    fn ask(&self, request: &Request, limit: Duration) -> Result<Reply, SupervisorError> {
        match self.socket.request(request, limit)? {
            Reply::Failed { message } => Err(SupervisorError::Refused(message)),
            reply => Ok(reply),
        }
    }
}

impl Drop for Supervisor {
    /// Ends everything and waits for it, so that a test or a run that returns early leaves nothing behind. Errors have nobody
    /// to go to; [`Supervisor::shutdown`] reports them.
    fn drop(&mut self) {
        if !self.released {
            let _ = self.end();
        }
    }
}

fn unexpected(request: &str, reply: &Reply) -> SupervisorError {
    SupervisorError::UnexpectedReply { request: request.to_owned(), reply: format!("{reply:?}") }
}

/// Waits for the line that says that the socket is bound. If the process ends instead, its stdout does too.
fn wait_until_ready(child: &mut Child) -> io::Result<()> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("its stdout is not a pipe"))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line == READY { Ok(()) } else { Err(io::Error::other(format!("expected {READY:?}, got {line:?}"))) }
}

/// Asks the supervisor in `state_dir`, which is no child of ours, to end, and waits until it is gone. One that does not
/// answer gets SIGTERM, then SIGKILL, which takes its nodes along (their parent-death signal).
pub(crate) fn end_detached(state_dir: &Path, process: ProcessIdentity) -> Result<(), SupervisorError> {
    let socket = ControlSocket::in_dir(state_dir);
    if socket.request(&Request::Shutdown, PROMPT).is_ok() && gone_within(process, SHUTDOWN_LIMIT) {
        return Ok(());
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let sent = process.signal(signal);
        sent.map_err(|source| SupervisorError::Unreachable { socket: socket.path(), source })?;
        if gone_within(process, PROMPT) {
            return Ok(());
        }
    }
    Err(SupervisorError::StillRunning { process, limit: PROMPT })
}

fn gone_within(process: ProcessIdentity, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while process.is_alive() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}
