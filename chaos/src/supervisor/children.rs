//! Spawning, signalling and reaping the nodes.
//!
//! Everything here runs on the supervisor's **main thread**, for two reasons. Signals and reaping by one thread can't race:
//! a pid is signalled only while it is unreaped, hence not reused. And `PR_SET_PDEATHSIG`, which each child sets so that it
//! dies with the supervisor, fires when the *thread* that forked it ends, not the process (prctl(2)); the main thread is the
//! one thread that lives exactly as long as the process. That is why it is wrong under a thread pool and right here.
//!
//! Other threads only watch: one per child blocks in `waitid(WNOWAIT)`, which reports the end and leaves the zombie for
//! the main thread to reap.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid, getppid};

use super::protocol::{ExitRecord, NodeCommand, NodeState, NodeStatus, SignalTimes};
use super::server::Event;
use crate::clock::monotonic_ns;
use crate::netns;
use crate::process::{ProcessIdentity, read_stat};
use crate::proxy::Nodes;

/// How long a SIGSTOP or SIGCONT may take to show in /proc. A thread in an uninterruptible disk wait stops only after it.
const STATE_LIMIT: Duration = Duration::from_secs(10);
/// How often /proc is looked at meanwhile: the resolution of a pause's `seen_ns`.
const STATE_POLL: Duration = Duration::from_micros(500);

/// All nodes that were ever started, by id.
#[derive(Debug)]
pub(super) struct Children {
    nodes: BTreeMap<i32, Node>,
    events: SyncSender<Event>,
    /// Told of every process.
    pids: Nodes,
}

/// The latest process of a node.
#[derive(Debug)]
struct Node {
    child: Child,
    process: ProcessIdentity,
    paused: bool,
    exit: Option<ExitRecord>,
}

impl Children {
    /// `events` is where the watching threads report, `pids` where it is noted which process each node is.
    pub(super) fn new(events: SyncSender<Event>, pids: Nodes) -> Self {
        Self { nodes: BTreeMap::new(), events, pids }
    }

    /// Starts `node`. Must be called on the main thread (see the head of this file).
    pub(super) fn start(&mut self, node: i32, command: &NodeCommand) -> Result<SignalTimes, String> {
        if self.nodes.get(&node).is_some_and(|known| known.exit.is_none()) {
            return Err(format!("node {node} is running already"));
        }
        let sent_ns = monotonic_ns();
        let mut child =
            spawn(command).map_err(|error| format!("cannot run {}: {error}", command.program.display()))?;
        let seen_ns = monotonic_ns();
        let pid = child.id().cast_signed();
        let watched = ProcessIdentity::of(pid).and_then(|process| {
            watch_exit(node, pid, self.events.clone())?;
            Ok(process)
        });
        let process = match watched {
            Ok(process) => process,
            Err(error) => {
                // Nobody would notice its end: better no node than an unwatched one.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("cannot watch pid {pid}: {error}"));
            }
        };
        self.pids.set(node, pid);
        self.nodes.insert(node, Node { child, process, paused: false, exit: None });
        Ok(SignalTimes { sent_ns, seen_ns })
    }

    /// Sends `signal` to a live node; gives the time before the call.
    pub(super) fn signal(&self, node: i32, signal: Signal) -> Result<u64, String> {
        let process = self.live(node)?.process;
        let sent_ns = monotonic_ns();
        match process.signal(signal) {
            // A zombie: its end is on the way to us as an event.
            Ok(_) => Ok(sent_ns),
            Err(error) => Err(format!("cannot send {signal} to node {node}, {process}: {error}")),
        }
    }

    /// Sends SIGSTOP (`paused`) or SIGCONT, and has a thread report [`Event::StateSeen`] once /proc shows the effect.
    pub(super) fn set_paused(&mut self, node: i32, paused: bool) -> Result<u64, String> {
        let signal = if paused { Signal::SIGSTOP } else { Signal::SIGCONT };
        let sent_ns = self.signal(node, signal)?;
        let events = self.events.clone();
        let Some(known) = self.nodes.get_mut(&node) else { return Err(format!("there is no node {node}")) };
        // Noted even if watching fails below: healing must know of it.
        known.paused = paused;
        let process = known.process;
        let watch = move || {
            let seen = wait_for_state(process, paused).map_err(|error| error.to_string());
            // The main loop is gone only when the process ends.
            let _ = events.send(Event::StateSeen { node, paused, seen });
        };
        let thread = thread::Builder::new().name(format!("state-{node}")).spawn(watch);
        thread.map(|_| sent_ns).map_err(|error| format!("cannot watch node {node}: {error}"))
    }

    /// Reaps a node whose end was reported.
    pub(super) fn reap(&mut self, node: i32, pid: i32, exit: ExitRecord) {
        if let Some(known) = self.nodes.get_mut(&node).filter(|known| known.process.pid == pid) {
            known.exit = Some(exit);
            known.paused = false;
            // It is a zombie, so this returns at once; its status was read before.
            let _ = known.child.wait();
        }
    }

    /// Whether `node` was paused by us and not resumed.
    pub(super) fn is_paused(&self, node: i32) -> bool {
        self.nodes.get(&node).is_some_and(|known| known.paused)
    }

    /// Ids of all nodes that have not ended.
    pub(super) fn live_ids(&self) -> Vec<i32> {
        self.nodes.iter().filter(|(_, known)| known.exit.is_none()).map(|(id, _)| *id).collect()
    }

    /// All nodes and their states.
    pub(super) fn statuses(&self) -> Vec<NodeStatus> {
        let state = |known: &Node| match (known.exit, known.paused) {
            (Some(exit), _) => NodeState::Exited(exit),
            (None, true) => NodeState::Paused,
            (None, false) => NodeState::Running,
        };
        let status = |(node, known): (&i32, &Node)| NodeStatus {
            node: *node,
            process: known.process,
            state: state(known),
        };
        self.nodes.iter().map(status).collect()
    }

    fn live(&self, node: i32) -> Result<&Node, String> {
        let known = self.nodes.get(&node).ok_or_else(|| format!("there is no node {node}"))?;
        match known.exit {
            None => Ok(known),
            Some(exit) => Err(format!("node {node} is not running ({exit})")),
        }
    }
}

/// Starts the process in a process group of its own, with its output appended to the node's log. It dies with the thread that calls
/// this (see the head of this file).
pub(crate) fn spawn(command: &NodeCommand) -> io::Result<Child> {
    let output = OpenOptions::new().create(true).append(true).open(&command.output)?;
    let errors = output.try_clone()?;
    let supervisor = getpid();
    let mut process = Command::new(&command.program);
    process
        .args(&command.args)
        .envs(&command.env)
        .current_dir(&command.work_dir)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0);
    if let Some(name) = &command.namespace {
        netns::enter(&mut process, &netns::Namespace::Named(name.clone()))?;
    }
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed: prctl and getppid
    // are plain system calls, and building the error allocates nothing.
    unsafe {
        process.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // If the supervisor died before the line above, its death signal is lost: leave by ourselves.
            if getppid() == supervisor { Ok(()) } else { Err(io::Error::from(io::ErrorKind::BrokenPipe)) }
        });
    }
    process.spawn()
}

/// Has a thread report [`Event::Exited`] when `pid` has ended, leaving it to be reaped.
fn watch_exit(node: i32, pid: i32, events: SyncSender<Event>) -> io::Result<()> {
    let watch = move || {
        let exit = wait_for_exit(pid);
        // The main loop is gone only when the process ends.
        let _ = events.send(Event::Exited { node, pid, exit });
    };
    thread::Builder::new().name(format!("wait-{node}")).spawn(watch).map(|_| ())
}

fn wait_for_exit(pid: i32) -> ExitRecord {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    loop {
        let status = waitid(Id::Pid(Pid::from_raw(pid)), flags);
        let gone_ns = monotonic_ns();
        let (code, signal) = match status {
            Ok(WaitStatus::Exited(_, code)) => (Some(code), None),
            Ok(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            Err(nix::errno::Errno::EINTR) => continue,
            // ECHILD: reaped already, which only happens when starting it failed half-way.
            Ok(_) | Err(_) => (None, None),
        };
        return ExitRecord { gone_ns, code, signal };
    }
}

/// Looks at /proc until the pause, or the end of it, is visible.
fn wait_for_state(process: ProcessIdentity, paused: bool) -> io::Result<u64> {
    let deadline = Instant::now() + STATE_LIMIT;
    loop {
        let reached =
            if paused { process.all_threads_stopped()? } else { !read_stat(process.pid)?.is_stopped() };
        if reached {
            return Ok(monotonic_ns());
        }
        if Instant::now() >= deadline {
            let expected = if paused { "stopped" } else { "running" };
            let message = format!("{process} was not {expected} within {} s", STATE_LIMIT.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(STATE_POLL);
    }
}
