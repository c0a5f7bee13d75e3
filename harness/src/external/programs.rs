//! The programs of a run: what they take of the host, for the numbers that say what a client costs, and what faults do to them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gauntlet_chaos::client::{Client, ClientOrder, ClientRole, ClientTarget, Clients};
use gauntlet_chaos::process::{ProcessGroup, ProcessIdentity};
use nix::sys::signal::Signal;

/// Processor time and memory of all programs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgramUsage {
    /// User and system time, of those that have ended, too.
    pub cpu_ns: u64,
    /// Resident memory now.
    pub rss_bytes: u64,
}

/// The programs that run, and what those took that ran before.
#[derive(Debug, Default)]
pub struct Programs(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: Vec<Running>,
    /// The clients whose programs they are, by name, until they have done their part.
    members: BTreeMap<String, Member>,
    ended_cpu_ns: u64,
    /// There was one.
    any: bool,
}

#[derive(Debug)]
struct Running {
    identity: ProcessIdentity,
    /// What was last seen: one that has just ended says nothing until it is reaped.
    cpu_ns: u64,
    /// It is about to be reaped: its pid may soon be somebody else's.
    leaving: bool,
}

/// A client that is a program, as faults know it.
#[derive(Debug)]
struct Member {
    who: Who,
    order: ClientOrder,
    /// Its program, if that takes work.
    ready: Option<ProcessIdentity>,
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Its name in the run: `producer-0`.
    pub name: String,
    /// What it does.
    pub role: ClientRole,
    /// Its `client.id` ...
    pub client_id: String,
    /// ... and that of the scenario's block.
    pub client_id_of_all: String,
}

impl Who {
    /// Whether it is meant.
    #[must_use]
    pub fn is(&self, whom: &ClientTarget) -> bool {
        let named = |id: &String| *id == self.client_id || *id == self.client_id_of_all;
        self.role == whom.role && whom.client_id.as_ref().is_none_or(named)
    }
}

impl Programs {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One was started.
    pub(super) fn started(&self, identity: ProcessIdentity) {
        let mut inner = self.lock();
        inner.any = true;
        inner.running.push(Running { identity, cpu_ns: 0, leaving: false });
    }

    /// One is about to be reaped.
    pub(super) fn leaving(&self, identity: ProcessIdentity) {
        let mut inner = self.lock();
        let running = inner.running.iter_mut().filter(|running| running.identity == identity);
        running.for_each(|running| running.leaving = true);
    }

    /// A client begins.
    pub(super) fn enter(&self, who: &Who) {
        let member = Member { who: who.clone(), order: ClientOrder::Run, ready: None };
        self.lock().members.insert(who.name.clone(), member);
    }

    /// A client has done its part.
    pub(super) fn leave(&self, name: &str) {
        self.lock().members.remove(name);
    }

    /// The program of a client that takes work now; `None`: it has none.
    pub(super) fn ready(&self, name: &str, program: Option<ProcessIdentity>) {
        if let Some(member) = self.lock().members.get_mut(name) {
            member.ready = program;
        }
    }

    /// What is to become of a client.
    pub(super) fn order_of(&self, name: &str) -> ClientOrder {
        self.lock().members.get(name).map_or(ClientOrder::Run, |member| member.order)
    }

    /// One was reaped, and had taken so much, as far as the kernel told.
    pub(super) fn ended(&self, identity: ProcessIdentity, cpu: Option<Duration>) {
        let mut inner = self.lock();
        let Some(at) = inner.running.iter().position(|running| running.identity == identity) else { return };
        let seen_ns = inner.running.swap_remove(at).cpu_ns;
        // Never less than was seen: what is made of it are differences.
        inner.ended_cpu_ns += cpu.map_or(0, |cpu| cpu.as_nanos() as u64).max(seen_ns);
    }

    /// What they have taken; `None` if there was never one.
    #[must_use]
    pub fn usage(&self) -> Option<ProgramUsage> {
        let mut inner = self.lock();
        let mut usage = ProgramUsage { cpu_ns: inner.ended_cpu_ns, rss_bytes: 0 };
        for running in &mut inner.running {
            if let Ok(cpu) = running.identity.cpu_time() {
                running.cpu_ns = running.cpu_ns.max(cpu.as_nanos() as u64);
            }
            usage.cpu_ns += running.cpu_ns;
            usage.rss_bytes += crate::run::collect::resident_bytes_of(running.identity.pid).unwrap_or(0);
        }
        inner.any.then_some(usage)
    }

    /// Waits until none is left, as long as `limit` at the most. Whether none is.
    pub(crate) fn wait_for_the_last(&self, limit: Duration) -> bool {
        /// They are killed, not asked: it is soon over.
        const STEP: Duration = Duration::from_millis(5);
        let deadline = Instant::now() + limit;
        while !self.lock().running.is_empty() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(STEP);
        }
        true
    }
}

impl Clients for Programs {
    fn find(&self, whom: &ClientTarget) -> Vec<Client> {
        let inner = self.lock();
        let meant = inner.members.values().filter(|member| member.who.is(whom));
        let client = |member: &Member| {
            let group = ProcessGroup { leader: member.ready? };
            Some(Client { name: member.who.name.clone(), group })
        };
        meant.filter_map(client).collect()
    }

    fn order(&self, name: &str, order: ClientOrder) {
        if let Some(member) = self.lock().members.get_mut(name) {
            member.order = order;
        }
    }

    fn signal(&self, group: ProcessGroup, signal: Signal) -> io::Result<bool> {
        // Under the lock, so that nobody reaps it meanwhile.
        let inner = self.lock();
        let is_ours = |running: &Running| running.identity == group.leader && !running.leaving;
        if inner.running.iter().any(is_ours) { group.signal(signal) } else { Ok(false) }
    }

    fn is_whole(&self, name: &str) -> bool {
        let inner = self.lock();
        let Some(member) = inner.members.get(name) else { return true };
        let Some(program) = member.ready.filter(|program| program.is_alive()) else { return false };
        match member.order {
            ClientOrder::Run => true,
            ClientOrder::StayDown => false,
            ClientOrder::Replace(old) => old.leader != program,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str, role: ClientRole, client_id: &str) -> Who {
        let client_id_of_all = client_id.to_owned();
        Who { name: name.to_owned(), role, client_id: format!("{client_id}-{name}"), client_id_of_all }
    }

    #[test]
    fn a_target_names_a_role_and_one_client_or_those_that_are_configured_together() {
        let programs = Programs::default();
        let me = ProcessIdentity::of(std::process::id().cast_signed()).unwrap();
        for who in [
            who("producer-0", ClientRole::Producer, "a"),
            who("producer-1", ClientRole::Producer, "a"),
            who("producer-2", ClientRole::Producer, "b"),
            who("reader-0", ClientRole::Consumer, "a"),
        ] {
            programs.enter(&who);
            programs.ready(&who.name, Some(me));
        }
        let found = |role, client_id: Option<&str>| -> Vec<String> {
            let whom = ClientTarget { role, client_id: client_id.map(str::to_owned) };
            programs.find(&whom).into_iter().map(|client| client.name).collect()
        };
        assert_eq!(found(ClientRole::Producer, None), ["producer-0", "producer-1", "producer-2"]);
        assert_eq!(found(ClientRole::Producer, Some("a")), ["producer-0", "producer-1"]);
        assert_eq!(found(ClientRole::Producer, Some("a-producer-1")), ["producer-1"]);
        assert_eq!(found(ClientRole::Consumer, Some("a")), ["reader-0"]);
        programs.ready("reader-0", None);
        assert!(found(ClientRole::Consumer, None).is_empty(), "it takes no work");
    }

    #[test]
    fn a_client_is_whole_when_its_program_is_the_one_that_it_is_to_have() {
        let programs = Programs::default();
        let me = ProcessIdentity::of(std::process::id().cast_signed()).unwrap();
        let parent = ProcessIdentity::of(std::os::unix::process::parent_id().cast_signed()).unwrap();
        assert!(programs.is_whole("producer-0"), "it has done its part");
        programs.enter(&who("producer-0", ClientRole::Producer, "a"));
        assert!(!programs.is_whole("producer-0"));
        programs.ready("producer-0", Some(me));
        assert!(programs.is_whole("producer-0"));
        programs.order("producer-0", ClientOrder::StayDown);
        assert!(!programs.is_whole("producer-0"));
        programs.order("producer-0", ClientOrder::Replace(ProcessGroup { leader: me }));
        assert!(!programs.is_whole("producer-0"), "the old one");
        programs.ready("producer-0", Some(parent));
        assert!(programs.is_whole("producer-0"));
        let gone = ProcessIdentity { start_ticks: me.start_ticks + 1, ..me };
        programs.ready("producer-0", Some(gone));
        assert!(!programs.is_whole("producer-0"), "nobody has noticed yet");
    }

    #[test]
    fn what_is_reaped_is_signalled_no_more() {
        let programs = Programs::default();
        let mut child = std::process::Command::new("sleep");
        crate::child::bind_to_this_thread(&mut child);
        let mut child = child.arg("60").spawn().unwrap();
        let group = ProcessGroup { leader: ProcessIdentity::of(child.id().cast_signed()).unwrap() };
        assert!(!programs.signal(group, Signal::SIGSTOP).unwrap(), "it is not known");
        programs.started(group.leader);
        assert!(programs.signal(group, Signal::SIGCONT).unwrap());
        programs.leaving(group.leader);
        assert!(!programs.signal(group, Signal::SIGCONT).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
