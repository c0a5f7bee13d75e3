//! What is done to the containers of a cluster, and what is known of them.
//!
//! The supervisor is not their parent. A thread per start runs `docker start --attach`, which prints what the node prints and ends with
//! it; that the process is gone, or stands still, is what the kernel says of it, not what a command says that it did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::client::PROMPT;
use super::frozen::{is_frozen, is_of_container};
use super::life::{ContainerSpec, Made};
use super::{ClientError, DockerError};
use crate::clock::monotonic_ns;
use crate::files::last_lines;
use crate::process::ProcessIdentity;
use crate::supervisor::{ExitRecord, NodeState, NodeStatus, SignalTimes, spawn_node};

/// How long a container may take from being started to having a process.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a killed process may take to be gone. One in an uninterruptible disk wait dies only after it.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// How long the engine may take to show a pause.
const STATE_LIMIT: Duration = Duration::from_secs(10);
/// How long the engine may take to notice an end that the kernel has told already.
const NOTICE_LIMIT: Duration = Duration::from_secs(20);
/// How often the kernel is looked at while something is to happen: the resolution of `seen_ns`.
const LOOK: Duration = Duration::from_millis(1);
/// How often the engine is asked whether a container has a process.
const ASK: Duration = Duration::from_millis(20);
/// Lines of a node's log in an error.
const LOG_LINES: usize = 5;

/// The containers of a cluster: one for each node, from the beginning to the end.
#[derive(Debug)]
pub(crate) struct Containers {
    made: Made,
    state_dir: PathBuf,
    nodes: Mutex<BTreeMap<i32, Node>>,
    /// Something ended.
    changed: Condvar,
}

#[derive(Debug)]
struct Node {
    container: String,
    output: PathBuf,
    /// A start is under way.
    starting: bool,
    /// The latest process.
    process: Option<ProcessIdentity>,
    paused: bool,
    /// How the latest process ended.
    exit: Option<ExitRecord>,
}

impl Containers {
    /// Makes them, for the cluster whose state lies in `state_dir`. None runs yet.
    pub(crate) fn make(
        state_dir: &Path,
        supervisor: ProcessIdentity,
        image: &str,
        specs: &[ContainerSpec],
    ) -> Result<Self, DockerError> {
        let made = Made::make(state_dir, supervisor, image, specs)?;
        let node = |spec: &ContainerSpec| Node {
            container: made.container(&spec.name),
            output: spec.output.clone(),
            starting: false,
            process: None,
            paused: false,
            exit: None,
        };
        let nodes = Mutex::new(specs.iter().map(|spec| (spec.node, node(spec))).collect());
        Ok(Self { made, state_dir: state_dir.to_path_buf(), nodes, changed: Condvar::new() })
    }

    /// Starts the container of `node`, on the data that it has; `seen_ns` is when it had a process.
    pub(crate) fn start(self: &Arc<Self>, node: i32) -> Result<SignalTimes, String> {
        {
            let mut nodes = self.lock();
            let known = nodes.get_mut(&node).ok_or_else(|| format!("there is no node {node}"))?;
            if known.starting || known.is_live() {
                return Err(format!("node {node} is running already"));
            }
            known.starting = true;
        }
        let sent_ns = monotonic_ns();
        let (tell, told) = mpsc::sync_channel(1);
        let cluster = Arc::clone(self);
        let attend = move || cluster.attend(node, &tell);
        let thread = thread::Builder::new().name(format!("container-{node}")).spawn(attend);
        let started = match thread {
            Ok(_) => told.recv().unwrap_or_else(|_| Err(format!("the start of node {node} was abandoned"))),
            Err(error) => Err(format!("no thread for the container of node {node}: {error}")),
        };
        let seen_ns = started.inspect_err(|_| self.set(node, |known| known.starting = false))?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }

    /// Sends SIGKILL; `seen_ns` is when the process was gone.
    pub(crate) fn kill(&self, node: i32) -> Result<SignalTimes, String> {
        self.end(node, "KILL", KILL_LIMIT)
    }

    /// Sends SIGTERM; `seen_ns` is when the process was gone. An error if it was not within `limit`: it still runs then.
    pub(crate) fn stop(&self, node: i32, limit: Duration) -> Result<SignalTimes, String> {
        if self.lock().get(&node).is_some_and(|known| known.paused) {
            return Err(format!("node {node} is paused and would not see SIGTERM: resume it first"));
        }
        self.end(node, "TERM", limit)
    }

    /// Pauses the container; `seen_ns` is when the kernel had its control group stand still.
    pub(crate) fn pause(&self, node: i32) -> Result<SignalTimes, String> {
        // Noted before it is, and even if it is not seen: healing must know of it.
        self.live(node)?;
        self.set(node, |known| known.paused = true);
        self.set_paused(node, "pause", true)
    }

    /// Lets it go on; `seen_ns` is when the kernel let it.
    pub(crate) fn resume(&self, node: i32) -> Result<SignalTimes, String> {
        let times = self.set_paused(node, "unpause", false)?;
        self.set(node, |known| known.paused = false);
        Ok(times)
    }

    /// Lets all go on that were paused; gives what went wrong.
    pub(crate) fn resume_all(&self) -> Vec<String> {
        let paused = |(id, known): (&i32, &Node)| (known.paused && known.is_live()).then_some(*id);
        let paused: Vec<i32> = self.lock().iter().filter_map(paused).collect();
        paused.into_iter().filter_map(|node| self.resume(node).err()).collect()
    }

    /// All nodes that were ever started, and their states.
    pub(crate) fn statuses(&self) -> Vec<NodeStatus> {
        let status = |(node, known): (&i32, &Node)| {
            let state = match (known.exit, known.paused) {
                (Some(exit), _) => NodeState::Exited(exit),
                (None, true) => NodeState::Paused,
                (None, false) => NodeState::Running,
            };
            Some(NodeStatus { node: *node, process: known.process?, state })
        };
        self.lock().iter().filter_map(status).collect()
    }

    /// Removes all of them, and their volumes; gives how many there were. Waits until the commands that were attached to them have
    /// noticed.
    pub(crate) fn remove(&self) -> Result<usize, DockerError> {
        let removed = self.made.remove(&self.state_dir)?;
        // Those that have not are killed with this process.
        self.wait_until(PROMPT, |nodes| nodes.values().all(|known| !known.is_live()));
        Ok(removed)
    }

    /// Starts a container and stays with it until it has ended. In one thread from beginning to end: the command dies with the thread that
    /// started it (prctl(2), PR_SET_PDEATHSIG), hence with this process.
    fn attend(&self, node: i32, tell: &SyncSender<Result<u64, String>>) {
        let Some((container, output)) =
            self.lock().get(&node).map(|known| (known.container.clone(), known.output.clone()))
        else {
            return;
        };
        let command = self.made.access.command(&["start", "--attach", &container], output.clone());
        let started = command.map_err(|error| error.to_string()).and_then(|command| {
            spawn_node(&command).map_err(|error| format!("cannot run docker start: {error}"))
        });
        let started = started.and_then(|mut child| match self.wait_running(&container, &mut child) {
            Ok(process) => Ok((child, process)),
            Err(why) => {
                let _ = child.kill();
                let _ = child.wait();
                // Nobody would notice its end: better no node than an unwatched one.
                let _ = self.made.access.run(&["kill", &container], PROMPT);
                let said = last_lines(&output, LOG_LINES).join("; ");
                Err(format!("container {container} {why}; the end of {}: {said}", output.display()))
            }
        });
        let (mut child, process) = match started {
            Ok(started) => started,
            Err(why) => {
                let _ = tell.send(Err(why));
                return;
            }
        };
        self.set(node, |known| {
            (known.starting, known.paused) = (false, false);
            (known.process, known.exit) = (Some(process), None);
        });
        let _ = tell.send(Ok(monotonic_ns()));
        let code = child.wait().ok().and_then(|status| status.code());
        // It may have lost its engine only.
        while process.is_alive() {
            thread::sleep(ASK);
        }
        let exit = ExitRecord { gone_ns: monotonic_ns(), code, signal: None };
        self.set(node, |known| known.exit = Some(exit));
        self.changed.notify_all();
    }

    /// Waits until the engine has given the container a process; gives it.
    fn wait_running(&self, container: &str, child: &mut Child) -> Result<ProcessIdentity, String> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let format = "{{.State.Running}} {{.State.Pid}} {{.Id}}";
            // Before it is told: what was running then has ended since, or never ran.
            let ended = child.try_wait().map_err(|error| error.to_string())?;
            let told = self.made.access.run(&["inspect", "--format", format, container], PROMPT);
            let told = told.map_err(|error| format!("can't be looked at: {error}"))?;
            let mut fields = told.split(' ');
            let (running, pid, id) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
            let pid: i32 = pid.and_then(|pid| pid.parse().ok()).unwrap_or(0);
            if running == Some("true") && pid > 0 {
                let process = ProcessIdentity::of(pid).ok().filter(|process| is_of_container(*process, id));
                return process.ok_or_else(|| {
                    format!(
                        "is pid {pid} to its engine, and that is no process of it here: gauntlet needs an engine on this machine, not \
                         one in a virtual machine or elsewhere"
                    )
                });
            }
            if let Some(status) = ended {
                return Err(format!("ended before it was seen to run ({status})"));
            }
            if Instant::now() >= deadline {
                return Err(format!("had no process within {} s", START_LIMIT.as_secs()));
            }
            thread::sleep(ASK);
        }
    }

    fn end(&self, node: i32, signal: &str, limit: Duration) -> Result<SignalTimes, String> {
        let (container, process) = self.live(node)?;
        let deadline = Instant::now() + limit;
        let sent_ns = monotonic_ns();
        let refused = |error: ClientError| format!("cannot end node {node}: {error}");
        let command = self.made.access.begin(&["kill", "--signal", signal, &container]).map_err(refused)?;
        let mut asking = Some(command);
        while process.is_alive() {
            if asking.as_mut().is_some_and(super::client::Pending::has_ended)
                && let Some(ended) = asking.take()
            {
                ended.finish(PROMPT).map_err(refused)?;
            }
            if Instant::now() >= deadline {
                return Err(format!("node {node} still runs at its deadline"));
            }
            thread::sleep(LOOK);
        }
        let gone_ns = monotonic_ns();
        // It is gone, whatever the command has to say about that.
        let _ = asking.map(|command| command.finish(PROMPT));
        let ended = |nodes: &BTreeMap<i32, Node>| nodes.get(&node).is_some_and(|known| known.exit.is_some());
        if !self.wait_until(NOTICE_LIMIT, ended) {
            let limit_s = NOTICE_LIMIT.as_secs();
            return Err(format!("node {node} is gone, and its engine has not noticed within {limit_s} s"));
        }
        let at = |exit: &mut ExitRecord| exit.gone_ns = exit.gone_ns.min(gone_ns);
        self.set(node, |known| known.exit.iter_mut().for_each(at));
        Ok(SignalTimes { sent_ns, seen_ns: gone_ns })
    }

    fn set_paused(&self, node: i32, command: &str, paused: bool) -> Result<SignalTimes, String> {
        let (container, process) = self.live(node)?;
        let sent_ns = monotonic_ns();
        let done = self.made.access.run(&[command, &container], PROMPT);
        done.map_err(|error| format!("cannot {command} node {node}: {error}"))?;
        let deadline = Instant::now() + STATE_LIMIT;
        loop {
            match is_frozen(process) {
                Ok(frozen) if frozen == paused => {
                    return Ok(SignalTimes { sent_ns, seen_ns: monotonic_ns() });
                }
                Ok(_) if Instant::now() < deadline => thread::sleep(LOOK),
                Ok(_) => {
                    let limit_s = STATE_LIMIT.as_secs();
                    return Err(format!("node {node} was not seen to {command} within {limit_s} s"));
                }
                Err(error) => return Err(format!("cannot tell whether node {node} stands still: {error}")),
            }
        }
    }

    /// Container and process of a node that runs.
    fn live(&self, node: i32) -> Result<(String, ProcessIdentity), String> {
        let nodes = self.lock();
        let known = nodes.get(&node).ok_or_else(|| format!("there is no node {node}"))?;
        match (known.process, known.exit) {
            (Some(process), None) => Ok((known.container.clone(), process)),
            (_, Some(exit)) => Err(format!("node {node} is not running ({exit})")),
            (None, None) => Err(format!("node {node} was not started")),
        }
    }

    fn set(&self, node: i32, change: impl FnOnce(&mut Node)) {
        if let Some(known) = self.lock().get_mut(&node) {
            change(known);
        }
    }

    /// Waits until `reached`; whether it was, within `limit`.
    fn wait_until(&self, limit: Duration, reached: impl Fn(&BTreeMap<i32, Node>) -> bool) -> bool {
        let waiting = self.changed.wait_timeout_while(self.lock(), limit, |nodes| !reached(nodes));
        let (nodes, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        reached(&nodes)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Node>> {
        // Every change is a few assignments: a thread that panicked has left none half done.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn is_live(&self) -> bool {
        self.process.is_some() && self.exit.is_none()
    }
}
