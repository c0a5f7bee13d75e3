//! The supervisor process: one loop on the main thread that owns everything, fed by threads that only wait.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::children::Children;
use super::client::SupervisorConfig;
use super::control::{ControlSocket, read_line, write_line};
use super::page_cache::PageCacheTrimmer;
use super::protocol::{ExitRecord, NodeStatus, Reply, Request, SignalTimes};
use crate::clock::monotonic_ns;
use crate::disks::Disks;
use crate::docker::{ContainerSpec, Containers, remove_dead};
use crate::files::{OnPath, remove_marked_dir, write_atomically};
use crate::foreign::{ForeignLogin, no_login};
use crate::hook::{self, HookJob, Running};
use crate::journal::{JournalError, PendingUndo, PlannedHook, PlannedOperation, UndoAction, UndoJournal};
use crate::local::{ReservedPorts, operator_of};
use crate::netns::{Faults, HeldNetwork};
use crate::process::ProcessIdentity;
use crate::proxy::{Front, Nodes, Proxy, ProxyError};
use crate::shim::Shims;

/// What the supervisor says on its stdout once its socket is bound.
pub(super) const READY: &str = "ready\n";
/// File with the supervisor's [`ProcessIdentity`], in its state directory.
pub(crate) const IDENTITY_FILE: &str = "supervisor.identity.json";

/// Events that may wait for the main loop. Senders block beyond that.
const EVENTS_MAX: usize = 256;
/// How long killed nodes may take to be gone, after which their directory is left alone.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// With kept data, how long nodes may take to stop in order before they are killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to undo the operations of a dead run, all together. With the last answer that is waited for it is under the 10 s
/// in which a supervisor is to be done.
const UNDO_LIMIT: Duration = Duration::from_secs(6);
/// Longest wait of the loop when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// What the main loop reacts to.
#[derive(Debug)]
pub(super) enum Event {
    /// A request came in; its answer goes to `reply`.
    Request { request: Request, reply: SyncSender<Reply> },
    /// A node's process ended and waits to be reaped.
    Exited { node: i32, pid: i32, exit: ExitRecord },
    /// A pause or resume was seen in /proc, or was not.
    StateSeen { node: i32, paused: bool, seen: Result<u64, String> },
    /// The run is gone.
    LifelineClosed,
    /// SIGTERM.
    Terminated,
}

/// Somebody waits for something to happen to a node.
#[derive(Debug)]
struct Waiter {
    node: i32,
    what: Awaited,
    sent_ns: u64,
    /// `None`: as long as it takes.
    deadline: Option<Instant>,
    reply: SyncSender<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Exit,
    Paused(bool),
}

/// `main` of the supervisor process. `args` is what follows the hidden argument: the path of the configuration file that
/// [`Supervisor::launch`](super::Supervisor::launch) wrote.
///
/// Must be called on the process's main thread, before any other thread exists.
pub fn supervisor_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    supervisor_main_with(args, no_login)
}

/// As [`supervisor_main`], for a program that also injects faults into clusters that are somebody else's: `login` tells how to connect to
/// the one of a run.
pub fn supervisor_main_with(args: impl IntoIterator<Item = OsString>, login: ForeignLogin) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(config), None) = (args.next(), args.next()) else {
        log("expected one argument: the configuration file");
        return ExitCode::from(2);
    };
    match supervise(Path::new(&config), login) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn supervise(config_path: &Path, login: ForeignLogin) -> Result<(), Box<dyn std::error::Error>> {
    let config: SupervisorConfig = serde_json::from_slice(&fs::read(config_path).on("read", config_path)?)?;
    // A session of our own: no terminal, so no ^C and no hang-up. It fails only for a group leader, which then has what
    // matters already: a group that is not the terminal's foreground one.
    let _ = nix::unistd::setsid();
    let (events, inbox) = mpsc::sync_channel(EVENTS_MAX);
    watch_signals(events.clone())?;
    let identity = ProcessIdentity::of(std::process::id().cast_signed())?;
    write_atomically(&config.state_dir.join(IDENTITY_FILE), &serde_json::to_vec(&identity)?)?;
    let listener = ControlSocket::in_dir(&config.state_dir).bind()?;
    accept(listener, events.clone())?;
    watch_lifeline(events.clone())?;
    io::stdout().write_all(READY.as_bytes())?;
    io::stdout().flush()?;
    log(&format!("{identity} ready"));

    let nodes = Nodes::default();
    let mut supervisor = SupervisorProcess {
        children: Children::new(events, nodes.clone()),
        containers: None,
        identity,
        nodes,
        state_dir: config.state_dir.clone(),
        network: None,
        disks: Disks::default(),
        network_faults: Faults::default(),
        proxy: None,
        shims: Shims::default(),
        waiters: Vec::new(),
        reserved: Vec::new(),
        page_cache: None,
        hooks: Running::default(),
        ends_at: None,
        detached: false,
        login,
        inbox,
    };
    let reason = supervisor.run();
    log(&format!("ending: {reason}"));
    supervisor.shut_down(&config)?;
    log("nothing is left");
    Ok(())
}

/// The state of the main loop.
struct SupervisorProcess {
    children: Children,
    /// The nodes, if they are containers: then there are no others.
    containers: Option<Arc<Containers>>,
    identity: ProcessIdentity,
    /// Which process each node is, for the proxy.
    nodes: Nodes,
    state_dir: PathBuf,
    /// The namespaces of the nodes, if they have their own.
    network: Option<HeldNetwork>,
    /// The disks of the nodes, if they have their own.
    disks: Disks,
    network_faults: Faults,
    proxy: Option<Proxy>,
    shims: Shims,
    waiters: Vec<Waiter>,
    /// Held, never read: dropping them would free the ports.
    reserved: Vec<ReservedPorts>,
    page_cache: Option<PageCacheTrimmer>,
    /// Commands of hooks that run, each in a thread of its own.
    hooks: Running,
    /// When the time to live of a detached cluster is over.
    ends_at: Option<Instant>,
    detached: bool,
    login: ForeignLogin,
    inbox: Receiver<Event>,
}

impl SupervisorProcess {
    /// Serves until there is a reason to end, which it returns.
    fn run(&mut self) -> &'static str {
        loop {
            if self.ends_at.is_some_and(|at| Instant::now() >= at) {
                return "its time to live is over";
            }
            self.expire_waiters();
            match self.inbox.recv_timeout(self.next_wait()) {
                Ok(Event::Request { request: Request::Shutdown, reply }) => {
                    answer(&reply, Reply::Done);
                    return "asked to";
                }
                Ok(Event::Request { request, reply }) => self.handle(request, reply),
                Ok(Event::LifelineClosed) if !self.detached => return "the run is gone",
                Ok(Event::LifelineClosed) => {}
                Ok(Event::Terminated) => return "SIGTERM",
                Ok(event @ (Event::Exited { .. } | Event::StateSeen { .. })) => self.note(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return "all watching threads are gone",
            }
        }
    }

    fn handle(&mut self, request: Request, reply: SyncSender<Reply>) {
        if let (Some(containers), true) = (&self.containers, request.is_of_container()) {
            return by_engine(Arc::clone(containers), request, reply);
        }
        let now = match request {
            Request::ReservePorts { count } => self.reserve_ports(count),
            Request::MakeNetwork { nodes } => self.make_network(nodes),
            Request::MakeDisks { dirs, bytes } => Disks::make(&dirs, bytes)
                .map(|disks| {
                    log(&format!("{} disks of {bytes} bytes", dirs.len()));
                    self.disks = disks;
                    Reply::Done
                })
                .map_err(|error| error.to_string()),
            Request::MakeContainers { image, containers } => self.make_containers(&image, &containers),
            Request::StartContainer { node } => Err(format!("node {node} is no container")),
            Request::TrimPageCache { log_dirs } => PageCacheTrimmer::start(log_dirs)
                .map(|trimmer| {
                    self.page_cache = Some(trimmer);
                    Reply::Done
                })
                .map_err(|error| format!("cannot watch the logs: {error}")),
            Request::StartProxy { fronts } => self.start_proxy(&fronts),
            request @ (Request::InstallRules { .. }
            | Request::RemoveRules { .. }
            | Request::FirstActed { .. }) => self.handle_rules(request),
            request @ (Request::UseShims { .. }
            | Request::OrderShim { .. }
            | Request::TakeBackShim { .. }
            | Request::ShimSeen { .. }) => self.handle_shims(request),
            Request::Start { node, command } => {
                let started = self.children.start(node, &command);
                log(&format!("start node {node}: {started:?}"));
                started.map(|times| Reply::Seen { times })
            }
            Request::Kill { node } => return self.end_node(node, Signal::SIGKILL, None, reply),
            Request::Stop { node, .. } if self.children.is_paused(node) => {
                Err(format!("node {node} is paused and would not see SIGTERM: resume it first"))
            }
            Request::Stop { node, deadline_ms } => {
                let deadline = Instant::now() + Duration::from_millis(deadline_ms);
                return self.end_node(node, Signal::SIGTERM, Some(deadline), reply);
            }
            Request::Pause { node } => return self.set_paused(node, true, reply),
            Request::Resume { node } => return self.set_paused(node, false, reply),
            Request::RunHook { job } => return self.run_hook(job, reply),
            Request::List => Ok(Reply::Nodes { nodes: self.statuses() }),
            Request::Detach { ttl_ms } => {
                self.detached = true;
                self.ends_at = Some(Instant::now() + Duration::from_millis(ttl_ms));
                Ok(Reply::Done)
            }
            // The loop takes it before.
            Request::Shutdown => Err("shutdown is not handled here".to_owned()),
        };
        answer(&reply, now.unwrap_or_else(|message| Reply::Failed { message }));
    }

    fn statuses(&self) -> Vec<NodeStatus> {
        self.containers.as_ref().map_or_else(|| self.children.statuses(), |containers| containers.statuses())
    }

    /// Makes containers, and removes those of dead clusters first: nobody else might. Nobody waits for the loop yet.
    fn make_containers(&mut self, image: &str, containers: &[ContainerSpec]) -> Result<Reply, String> {
        if self.containers.is_some() {
            return Err("there are containers already".to_owned());
        }
        match remove_dead() {
            Ok(0) => {}
            Ok(removed) => log(&format!("{removed} containers of dead clusters are removed")),
            Err(error) => log(&format!("containers of dead clusters: {error}")),
        }
        let made = Containers::make(&self.state_dir, self.identity, image, containers);
        log(&format!("{} containers of {image}: {:?}", containers.len(), made.as_ref().map(|_| ())));
        self.containers = Some(Arc::new(made.map_err(|error| error.to_string())?));
        Ok(Reply::Done)
    }

    /// Answers when the command has ended; the loop goes on meanwhile.
    fn run_hook(&self, job: HookJob, reply: SyncSender<Reply>) {
        log(&format!("hook, {}: {}", job.step, job.command));
        let (running, told) = (self.hooks.clone(), reply.clone());
        let run = move || {
            let ended = hook::run(&job, &running);
            answer(
                &told,
                ended.map_or_else(|message| Reply::Failed { message }, |times| Reply::Seen { times }),
            );
        };
        if let Err(error) = spawn("hook", run) {
            answer(&reply, Reply::Failed { message: format!("no thread for a hook: {error}") });
        }
    }

    /// Rules of the network: of the namespaces, where nodes have these, else of the proxy.
    fn handle_rules(&mut self, request: Request) -> Result<Reply, String> {
        let sent_ns = monotonic_ns();
        let seen_ns = match request {
            Request::InstallRules { fault, rules } => {
                log(&format!("fault {fault}: {rules:?}"));
                match &self.network {
                    Some(held) => self.network_faults.install(&held.network, &fault, &rules)?,
                    None => self.by_proxy(|proxy| proxy.install(&fault, &rules))?,
                }
            }
            Request::RemoveRules { fault } => {
                log(&format!("fault {fault}: its rules end"));
                match &self.network {
                    Some(_) => self.network_faults.remove(&fault)?,
                    None => self.by_proxy(|proxy| proxy.remove(Some(&fault)))?,
                }
            }
            Request::FirstActed { fault } => {
                let at_ns = match &self.network {
                    Some(_) => self.network_faults.first_acted_ns(&fault)?,
                    None => self.by_proxy(|proxy| proxy.first_acted_ns(&fault))?,
                };
                return Ok(Reply::FirstActed { at_ns });
            }
            other => return Err(format!("{other:?} is not about the network")),
        };
        Ok(Reply::Seen { times: SignalTimes { sent_ns, seen_ns } })
    }

    fn handle_shims(&mut self, request: Request) -> Result<Reply, String> {
        let sent_ns = monotonic_ns();
        match request {
            Request::UseShims { pages } => {
                self.shims = Shims::open(&pages).map_err(|error| error.to_string())?;
                log(&format!("shims of {} nodes", pages.len()));
                return Ok(Reply::Done);
            }
            Request::OrderShim { node, orders } => {
                log(&format!("shim of node {node}: {orders:?}"));
                self.shims.order(node, orders)?;
            }
            Request::TakeBackShim { node } => {
                log(&format!("shim of node {node}: nothing any more"));
                self.shims.take_back(node)?;
            }
            Request::ShimSeen { node } => return Ok(Reply::Shim { seen: self.shims.seen(node)? }),
            other => return Err(format!("{other:?} is not about shims")),
        }
        Ok(Reply::Seen { times: SignalTimes { sent_ns, seen_ns: monotonic_ns() } })
    }

    fn reserve_ports(&mut self, count: usize) -> Result<Reply, String> {
        let reserved = ReservedPorts::take(count).map_err(|error| error.to_string())?;
        let ports = reserved.ports().to_vec();
        self.reserved.push(reserved);
        Ok(Reply::Ports { ports })
    }

    fn make_network(&mut self, nodes: Vec<i32>) -> Result<Reply, String> {
        if self.network.is_some() {
            return Err("there is a network already".to_owned());
        }
        let held = HeldNetwork::make(&self.state_dir, nodes).map_err(|error| error.to_string())?;
        let network = held.network.clone();
        log(&format!("a network {}, {}/24, of {} nodes", network.name, network.subnet, network.nodes.len()));
        self.network = Some(held);
        Ok(Reply::Network { network })
    }

    fn start_proxy(&mut self, fronts: &[Front]) -> Result<Reply, String> {
        if self.proxy.is_some() {
            return Err("there is a proxy already".to_owned());
        }
        self.proxy = Some(Proxy::start(fronts, self.nodes.clone()).map_err(|error| error.to_string())?);
        log(&format!("a proxy at {} ports", fronts.len()));
        Ok(Reply::Done)
    }

    fn by_proxy<T>(&self, act: impl FnOnce(&Proxy) -> Result<T, ProxyError>) -> Result<T, String> {
        let proxy = self.proxy.as_ref().ok_or("the nodes of this cluster have no proxy in front of them")?;
        act(proxy).map_err(|error| error.to_string())
    }

    fn end_node(&mut self, node: i32, signal: Signal, deadline: Option<Instant>, reply: SyncSender<Reply>) {
        match self.children.signal(node, signal) {
            Ok(sent_ns) => self.waiters.push(Waiter { node, what: Awaited::Exit, sent_ns, deadline, reply }),
            Err(message) => answer(&reply, Reply::Failed { message }),
        }
    }

    fn set_paused(&mut self, node: i32, paused: bool, reply: SyncSender<Reply>) {
        match self.children.set_paused(node, paused) {
            Ok(sent_ns) => {
                self.waiters.push(Waiter {
                    node,
                    what: Awaited::Paused(paused),
                    sent_ns,
                    deadline: None,
                    reply,
                });
            }
            Err(message) => answer(&reply, Reply::Failed { message }),
        }
    }

    /// Takes what a watching thread saw and tells those who wait for it.
    fn note(&mut self, event: Event) {
        match event {
            Event::Exited { node, pid, exit } => {
                self.children.reap(node, pid, exit);
                log(&format!("node {node}, pid {pid}: {exit}"));
                for waiter in self.take_waiters(|waiter| waiter.node == node) {
                    let reply = match waiter.what {
                        Awaited::Exit => {
                            let times = SignalTimes { sent_ns: waiter.sent_ns, seen_ns: exit.gone_ns };
                            Reply::Seen { times }
                        }
                        Awaited::Paused(_) => {
                            Reply::Failed { message: format!("node {node} is gone ({exit})") }
                        }
                    };
                    answer(&waiter.reply, reply);
                }
            }
            Event::StateSeen { node, paused, seen } => {
                let waits_for_it =
                    |waiter: &Waiter| waiter.node == node && waiter.what == Awaited::Paused(paused);
                for waiter in self.take_waiters(waits_for_it) {
                    let reply = match &seen {
                        Ok(seen_ns) => {
                            let times = SignalTimes { sent_ns: waiter.sent_ns, seen_ns: *seen_ns };
                            Reply::Seen { times }
                        }
                        Err(message) => Reply::Failed { message: message.clone() },
                    };
                    answer(&waiter.reply, reply);
                }
            }
            Event::Request { .. } | Event::LifelineClosed | Event::Terminated => {}
        }
    }

    fn take_waiters(&mut self, matches: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        self.waiters.extract_if(.., |waiter| matches(waiter)).collect()
    }

    fn expire_waiters(&mut self) {
        let now = Instant::now();
        for waiter in self.take_waiters(|waiter| waiter.deadline.is_some_and(|deadline| now >= deadline)) {
            let message = format!("node {} still runs at its deadline", waiter.node);
            answer(&waiter.reply, Reply::Failed { message });
        }
    }

    fn next_wait(&self) -> Duration {
        let deadlines = self.waiters.iter().filter_map(|waiter| waiter.deadline).chain(self.ends_at);
        deadlines.min().map_or(IDLE, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Heals, ends all nodes, removes the data unless it is to be kept.
    fn shut_down(&mut self, config: &SupervisorConfig) -> Result<(), String> {
        for waiter in std::mem::take(&mut self.waiters) {
            answer(&waiter.reply, Reply::Failed { message: "the supervisor is shutting down".to_owned() });
        }
        // What goes on being applied while it is healed would outlive that.
        let killed = self.hooks.end();
        if killed > 0 {
            log(&format!("killed {killed} commands of hooks"));
        }
        let journal = self.heal(config);
        // Data that is removed anyway needs no orderly stop; data that somebody will read does.
        if config.remove_dir.is_none() {
            self.signal_all(Signal::SIGTERM);
            self.wait_until_gone(STOP_LIMIT);
        }
        self.signal_all(Signal::SIGKILL);
        self.wait_until_gone(KILL_LIMIT);
        let left = self.children.live_ids();
        if !left.is_empty() {
            return Err(format!(
                "nodes {left:?} outlived SIGKILL by {} s; their data is left",
                KILL_LIMIT.as_secs()
            ));
        }
        if let Some(containers) = &self.containers {
            let removed = containers.remove().map_err(|error| error.to_string())?;
            log(&format!("{removed} containers are removed"));
        }
        // Only now: a namespace lasts as long as somebody is in it.
        if let Some(network) = self.network.take() {
            network.remove().map_err(|error| error.to_string())?;
        }
        self.disks.remove().map_err(|error| error.to_string())?;
        // A cluster that is somebody else's did not end with us.
        if let Some(journal) = journal.filter(|_| !config.foreign) {
            mark_ended(&journal, config.remove_dir.is_none()).map_err(|error| error.to_string())?;
        }
        match &config.remove_dir {
            Some(dir) => remove_marked_dir(dir).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Takes all rules of the network and all orders of shims out of force, and resumes what is paused, by what the journal says and by what we did
    /// ourselves: a paused process would see no SIGTERM, and a broker that is cut off can't hand over what it leads. Then hooks heal, and operations
    /// are undone, which needs brokers. Gives the journal, if there is one. One that can't be read must not keep the nodes alive.
    fn heal(&mut self, config: &SupervisorConfig) -> Option<UndoJournal> {
        let opened = config.undo_journal.as_deref().filter(|path| path.exists()).map(UndoJournal::open_file);
        let (journal, pending) = match opened.map(|journal| journal.and_then(|j| j.pending().map(|p| (j, p))))
        {
            Some(Ok((journal, pending))) => (Some(journal), pending),
            Some(Err(error)) => {
                log(&error.to_string());
                (None, Vec::new())
            }
            None => (None, Vec::new()),
        };
        if self.network.is_some() {
            log(&format!("healing: the network: {}", ok_or(&self.network_faults.remove_all())));
        }
        if let Some(proxy) = &self.proxy {
            log(&format!("healing: the network: {:?}", proxy.remove(None)));
        }
        if !self.shims.is_empty() {
            let problems = self.shims.take_all_back();
            log(&format!("healing: disks and clocks: {}", ok_or(&problems)));
        }
        let processes = pending.iter().filter_map(|pending| pending.planned.process());
        let paused = processes.filter(|planned| planned.undo == UndoAction::Resume);
        let journaled: Vec<i32> = paused.map(|planned| planned.node).collect();
        for node in self.children.live_ids() {
            if journaled.contains(&node) || self.children.is_paused(node) {
                let resumed = self.children.signal(node, Signal::SIGCONT);
                log(&format!("healing: resume node {node}: {resumed:?}"));
            }
        }
        if let Some(containers) = &self.containers {
            log(&format!("healing: containers that are paused: {}", ok_or(&containers.resume_all())));
        }
        if let Some(journal) = &journal {
            undo_hooks(journal, &pending, config);
            undo_operations(journal, &pending, config, self.login);
        }
        journal
    }

    fn signal_all(&self, signal: Signal) {
        for node in self.children.live_ids() {
            self.log_failure(self.children.signal(node, signal));
        }
    }

    fn log_failure(&self, sent: Result<u64, String>) {
        if let Err(message) = sent {
            log(&message);
        }
    }

    fn wait_until_gone(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.children.live_ids().is_empty() {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Request { reply, .. }) => {
                    answer(&reply, Reply::Failed { message: "the supervisor is shutting down".to_owned() });
                }
                Ok(event) => self.note(event),
                Err(_) => return,
            }
        }
    }
}

/// Does to a container what is asked, in a thread: commands of an engine take their time, and one must not delay the next.
fn by_engine(containers: Arc<Containers>, request: Request, reply: SyncSender<Reply>) {
    let told = reply.clone();
    let act = move || {
        let done = match &request {
            Request::StartContainer { node } => containers.start(*node),
            Request::Kill { node } => containers.kill(*node),
            Request::Stop { node, deadline_ms } => {
                containers.stop(*node, Duration::from_millis(*deadline_ms))
            }
            Request::Pause { node } => containers.pause(*node),
            Request::Resume { node } => containers.resume(*node),
            other => Err(format!("{other:?} is nothing that is done to containers")),
        };
        log(&format!("{request:?}: {done:?}"));
        answer(&told, done.map_or_else(|message| Reply::Failed { message }, |times| Reply::Seen { times }));
    };
    if let Err(error) = spawn("engine", act) {
        answer(&reply, Reply::Failed { message: format!("no thread for the engine: {error}") });
    }
}

/// Has the hooks among what is pending heal, all at once, so that one that hangs keeps no other from it, and marks those that did.
fn undo_hooks(journal: &UndoJournal, pending: &[PendingUndo], config: &SupervisorConfig) {
    let logs = config.log.parent().unwrap_or(Path::new("."));
    let heal = |id: u64, planned: &PlannedHook| {
        let undone =
            planned.undo(logs).and_then(|()| journal.mark_undone(id).map_err(|error| error.to_string()));
        log_undone(&planned.fault, undone);
    };
    let heal = &heal;
    thread::scope(|scope| {
        for (id, planned) in pending.iter().filter_map(|pending| Some((pending.id, pending.planned.hook()?)))
        {
            let thread = thread::Builder::new().name("heal".to_owned());
            if thread.spawn_scoped(scope, move || heal(id, planned)).is_err() {
                heal(id, planned);
            }
        }
    });
}

fn log_undone(fault: &str, undone: Result<(), String>) {
    log(&match undone {
        Ok(()) => format!("healing: fault {fault} is undone"),
        Err(why) => format!("healing: fault {fault} is not undone: {why}"),
    });
}

/// Undoes the operations among what is pending, latest first, and marks those that are undone.
fn undo_operations(
    journal: &UndoJournal,
    pending: &[PendingUndo],
    config: &SupervisorConfig,
    login: ForeignLogin,
) {
    let deadline = Instant::now() + UNDO_LIMIT;
    let operations = pending.iter().filter_map(|pending| Some((pending.id, pending.planned.operation()?)));
    for (id, planned) in operations {
        let left = deadline.saturating_duration_since(Instant::now());
        let undone = if planned.foreign {
            let run_dir = config.undo_journal.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
            login(run_dir).and_then(|security| planned.undo_on_foreign(security, left))
        } else {
            undo_operation(planned, &config.state_dir, left)
        };
        let undone = undone.and_then(|()| journal.mark_undone(id).map_err(|error| error.to_string()));
        log_undone(&planned.fault, undone);
    }
}

fn undo_operation(planned: &PlannedOperation, state_dir: &Path, left: Duration) -> Result<(), String> {
    let security = operator_of(state_dir).map_err(|error| error.to_string())?;
    let admin = planned.admin(security, left).ok_or("no broker answers")?;
    planned.undo.undo(&admin, None).map_err(|error| error.to_string())
}

/// Marks pending faults of `journal`: all nodes are gone, so nothing is left of any fault but, in data that is kept, of an operation
/// that could not be undone.
fn mark_ended(journal: &UndoJournal, data_is_kept: bool) -> Result<(), JournalError> {
    for pending in journal.pending()? {
        let fault = pending.planned.fault();
        if data_is_kept && pending.planned.operation().is_some() {
            log(&format!("fault {fault} stays in the data that is kept"));
            continue;
        }
        journal.mark_undone(pending.id)?;
        log(&format!("fault {fault} ended with its nodes"));
    }
    Ok(())
}

/// What went wrong, or that nothing did.
fn ok_or(problems: &[String]) -> String {
    if problems.is_empty() { "Ok".to_owned() } else { problems.join("; ") }
}

/// Whoever asked may be gone; that is its own affair.
fn answer(reply: &SyncSender<Reply>, message: Reply) {
    let _ = reply.try_send(message);
}

/// Reports SIGTERM. SIGINT and SIGHUP are caught and dropped: in our own session no terminal sends them, and a stray one
/// must not take the cluster down. Handlers, not SIG_IGN: an ignored signal would stay ignored in the brokers.
fn watch_signals(events: SyncSender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    spawn("signals", move || {
        for signal in signals.forever() {
            if signal == SIGTERM && events.send(Event::Terminated).is_err() {
                return;
            }
        }
    })
}

/// Reports the end of stdin, which is the lifeline. Nothing is ever written to it.
fn watch_lifeline(events: SyncSender<Event>) -> io::Result<()> {
    spawn("lifeline", move || {
        let mut lifeline = io::stdin().lock();
        let mut byte = [0];
        loop {
            match lifeline.read(&mut byte) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let _ = events.send(Event::LifelineClosed);
    })
}

/// Serves connections, each in a thread: a request may take as long as a broker takes to stop.
fn accept(listener: UnixListener, events: SyncSender<Event>) -> io::Result<()> {
    spawn("accept", move || {
        for stream in listener.incoming() {
            let served = stream.and_then(|stream| {
                let events = events.clone();
                spawn("control", move || {
                    if let Err(error) = serve(stream, &events) {
                        log(&format!("control connection: {error}"));
                    }
                })
            });
            if let Err(error) = served {
                // Out of descriptors or threads: the requester sees its connection end.
                log(&format!("cannot serve a control connection: {error}"));
                thread::sleep(Duration::from_millis(10));
            }
        }
    })
}

/// Answers the requests of one connection, one after the other.
fn serve(mut stream: std::os::unix::net::UnixStream, events: &SyncSender<Event>) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    while let Some(request) = read_line::<Request>(&mut lines)? {
        let (reply, answered) = mpsc::sync_channel(1);
        let sent = events.send(Event::Request { request, reply });
        // Both fail only when the main loop is gone, and then the process is about to be.
        let (Ok(()), Ok(answer)) = (sent, answered.recv()) else { return Ok(()) };
        write_line(&mut stream, &answer)?;
    }
    Ok(())
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(|_| ())
}

/// One line into the supervisor's log, which is its stderr.
fn log(message: &str) {
    let _ = writeln!(io::stderr(), "[{} ns] {message}", monotonic_ns());
}

/// The identity of the supervisor whose state lies in `state_dir`, if one ever started there.
pub(crate) fn read_identity(state_dir: &Path) -> Option<ProcessIdentity> {
    let path: PathBuf = state_dir.join(IDENTITY_FILE);
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
