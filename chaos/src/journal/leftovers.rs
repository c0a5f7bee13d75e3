//! Undoing after everybody is dead: the run, and its supervisor too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gauntlet_wire::Security;
use nix::sys::signal::Signal;

use super::{JOURNAL_FILE, JournalError, PendingUndo, Planned, Undo, UndoAction, UndoJournal, undo_pending};
use crate::fault::UNDO_LIMIT;
use crate::foreign::{ForeignLogin, no_login};
use crate::local::operator_of;
use crate::process::ProcessIdentity;
use crate::supervisor::read_identity;

/// Where a run directory has its logs.
const LOGS_DIR: &str = "logs";

/// Undoes by what the journal itself says, without any supervisor. For a command that finds the journal of a run that is gone.
#[derive(Clone, Debug)]
pub struct Leftovers {
    /// Where the cluster keeps its state.
    pub cluster_dir: PathBuf,
    /// The run's directory.
    pub run_dir: PathBuf,
    /// How to connect to a cluster that is somebody else's.
    pub login: ForeignLogin,
}

impl Leftovers {
    /// Of a run whose cluster was ours.
    #[must_use]
    pub fn of_local(cluster_dir: PathBuf) -> Self {
        Self { run_dir: cluster_dir.clone(), cluster_dir, login: no_login }
    }

    /// How an operator connects. Where nothing says so, nothing is secured.
    fn security(&self) -> Security {
        operator_of(&self.cluster_dir).unwrap_or_default()
    }

    /// Whether what was hit is still there: its process, or a broker of its cluster.
    fn is_there(&self, planned: &Planned) -> bool {
        match planned {
            Planned::Process(planned) => planned.process.is_alive(),
            // Only its command could tell.
            Planned::Hook(_) => true,
            Planned::Operation(planned) if planned.foreign => {
                let security = (self.login)(&self.run_dir);
                security.is_ok_and(|security| planned.admin(security, Duration::ZERO).is_some())
            }
            Planned::Operation(planned) => planned.admin(self.security(), Duration::ZERO).is_some(),
        }
    }
}

impl Undo for Leftovers {
    /// Resumes the very process that was paused, if it still is there. A node that was ended stays so: its supervisor is gone
    /// and with it the cluster that it could come back to. So is the proxy that a fault of the network was in, and, as no node outlives its
    /// supervisor, whoever had a shim. An operation is
    /// undone as long as a broker of its cluster answers; one on somebody else's cluster stays pending until one does. The command of a hook is run
    /// in any case: it is harmless where nothing is left to undo.
    fn undo(&self, pending: &PendingUndo) -> Result<(), String> {
        match &pending.planned {
            Planned::Process(planned) => match planned.undo {
                UndoAction::Resume => planned
                    .process
                    .signal(Signal::SIGCONT)
                    .map(|_| ())
                    .map_err(|error| format!("cannot resume {}: {error}", planned.process)),
                UndoAction::Start | UndoAction::Reconnect | UndoAction::TakeBack => Ok(()),
            },
            Planned::Hook(planned) => planned.undo(&self.run_dir.join(LOGS_DIR)),
            Planned::Operation(planned) if planned.foreign => {
                planned.undo_on_foreign((self.login)(&self.run_dir)?, UNDO_LIMIT)
            }
            Planned::Operation(planned) => match planned.admin(self.security(), UNDO_LIMIT) {
                Some(admin) => planned.undo.undo(&admin, None).map_err(|error| error.to_string()),
                None => Ok(()),
            },
        }
    }
}

/// What there was to undo of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunLeftovers {
    /// It never opened a journal: no fault was about to be injected.
    NoJournal,
    /// Its supervisor lives, which heals when the run ends: nothing was touched.
    GoesOn {
        /// The supervisor.
        supervisor: ProcessIdentity,
    },
    /// Every pending entry, latest first; none is left of a run that ended in order.
    Undone(Vec<Leftover>),
}

/// A fault that nobody had marked undone.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    /// The entry.
    pub pending: PendingUndo,
    /// Whether its victim, or a broker of its cluster, was still there, as far as can be told. If not, nothing was left of the fault but the entry.
    pub was_alive: bool,
    /// Why it could not be undone, if so. It stays pending then.
    pub error: Option<String>,
}

/// Undoes what the journal in `run_dir` says, for a run whose cluster keeps its state in `cluster_dir`, and marks it. Doing it
/// again is harmless. Fails if the journal can't be read or written.
pub fn undo_run(run_dir: &Path, cluster_dir: &Path) -> Result<RunLeftovers, JournalError> {
    undo_run_with(run_dir, cluster_dir, no_login)
}

/// As [`undo_run`], also on clusters that are somebody else's, to which `login` tells how to connect.
pub fn undo_run_with(
    run_dir: &Path,
    cluster_dir: &Path,
    login: ForeignLogin,
) -> Result<RunLeftovers, JournalError> {
    if !run_dir.join(JOURNAL_FILE).exists() {
        return Ok(RunLeftovers::NoJournal);
    }
    if let Some(supervisor) = read_identity(cluster_dir).filter(|supervisor| supervisor.is_alive()) {
        return Ok(RunLeftovers::GoesOn { supervisor });
    }
    let journal = UndoJournal::open(run_dir)?;
    let leftovers =
        Leftovers { cluster_dir: cluster_dir.to_path_buf(), run_dir: run_dir.to_path_buf(), login };
    let pending = journal.pending()?;
    let alive: Vec<u64> =
        pending.iter().filter(|pending| leftovers.is_there(&pending.planned)).map(|p| p.id).collect();
    let report = undo_pending(&journal, &leftovers)?;
    let undone = report.undone.into_iter().map(|pending| (pending, None));
    let failed = report.failed.into_iter().map(|(pending, why)| (pending, Some(why)));
    let leftover = |(pending, error): (PendingUndo, Option<String>)| Leftover {
        was_alive: alive.contains(&pending.id),
        pending,
        error,
    };
    Ok(RunLeftovers::Undone(undone.chain(failed).map(leftover).collect()))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::fault::{ConfigBefore, OperationUndo};
    use crate::files::write_atomically;
    use crate::journal::{BrokerAddress, PlannedOperation, PlannedUndo};
    use crate::supervisor::IDENTITY_FILE;

    /// A process of ours that does nothing, ended when dropped.
    struct Idle(Child);

    impl Idle {
        fn start() -> Self {
            Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
        }

        fn process(&self) -> ProcessIdentity {
            ProcessIdentity::of(self.0.id().cast_signed()).unwrap()
        }
    }

    impl Drop for Idle {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn entry(journal: &UndoJournal, node: i32, process: ProcessIdentity, undo: UndoAction) {
        journal.begin(PlannedUndo { fault: format!("fault-{node}"), node, process, undo }).unwrap();
    }

    #[test]
    fn a_paused_process_goes_on_and_a_dead_one_is_no_obstacle() {
        let run = tempfile::tempdir().unwrap();
        let cluster = run.path().join("cluster");
        assert_eq!(undo_run(run.path(), &cluster).unwrap(), RunLeftovers::NoJournal);
        let (paused, gone) = (Idle::start(), Idle::start().process());
        let journal = UndoJournal::open(run.path()).unwrap();
        entry(&journal, 1, paused.process(), UndoAction::Resume);
        entry(&journal, 2, gone, UndoAction::Start);
        paused.process().signal(Signal::SIGSTOP).unwrap();

        let RunLeftovers::Undone(undone) = undo_run(run.path(), &cluster).unwrap() else { panic!() };
        let told: Vec<(i32, bool, Option<String>)> = undone
            .into_iter()
            .map(|l| (l.pending.planned.process().unwrap().node, l.was_alive, l.error))
            .collect();
        assert_eq!(told, [(2, false, None), (1, true, None)]);
        assert!(!paused.process().all_threads_stopped().unwrap());
        assert_eq!(undo_run(run.path(), &cluster).unwrap(), RunLeftovers::Undone(Vec::new()));
    }

    /// Nobody listens where its brokers were: nothing is left to undo, and that is said.
    #[test]
    fn an_operation_on_a_cluster_that_is_gone_is_no_obstacle() {
        let run = tempfile::tempdir().unwrap();
        let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let journal = UndoJournal::open(run.path()).unwrap();
        let of = gauntlet_wire::ConfigResource::Topic("orders".to_owned());
        let entries = [("retention.ms".to_owned(), None)].into();
        let undo = OperationUndo::Config(ConfigBefore { of, entries });
        let (fault, cluster_id) = ("shorter".to_owned(), "id".to_owned());
        let brokers = vec![BrokerAddress { id: 1, addr }];
        journal.begin(PlannedOperation { fault, cluster_id, brokers, undo, foreign: false }).unwrap();
        let RunLeftovers::Undone(undone) = undo_run(run.path(), run.path()).unwrap() else { panic!() };
        let [left] = &undone[..] else { panic!("{undone:?}") };
        assert_eq!((left.was_alive, &left.error), (false, &None));
        assert_eq!(undo_run(run.path(), run.path()).unwrap(), RunLeftovers::Undone(Vec::new()));
    }

    #[test]
    fn a_run_that_goes_on_is_left_alone() {
        let run = tempfile::tempdir().unwrap();
        let (paused, supervisor) = (Idle::start(), Idle::start());
        let journal = UndoJournal::open(run.path()).unwrap();
        entry(&journal, 1, paused.process(), UndoAction::Resume);
        let identity = serde_json::to_vec(&supervisor.process()).unwrap();
        write_atomically(&run.path().join(IDENTITY_FILE), &identity).unwrap();
        let left = undo_run(run.path(), run.path()).unwrap();
        assert_eq!(left, RunLeftovers::GoesOn { supervisor: supervisor.process() });
        assert_eq!(journal.pending().unwrap().len(), 1);
    }
}
