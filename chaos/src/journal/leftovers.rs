//! Undoing after everybody is dead: the run, and its supervisor too.

use std::path::Path;

use nix::sys::signal::Signal;

use super::{JOURNAL_FILE, JournalError, PendingUndo, Undo, UndoAction, UndoJournal, undo_pending};
use crate::process::ProcessIdentity;
use crate::supervisor::read_identity;

/// Undoes by what the journal itself says, without any supervisor. For a command that finds the journal of a run that is gone.
#[derive(Clone, Copy, Debug)]
pub struct Leftovers;

impl Undo for Leftovers {
    /// Resumes the very process that was paused, if it still is there. A node that was ended stays so: its supervisor is gone
    /// and with it the cluster that it could come back to. So is the proxy that a fault of the network was in.
    fn undo(&self, pending: &PendingUndo) -> Result<(), String> {
        let process = pending.planned.process;
        match pending.planned.undo {
            UndoAction::Resume => process
                .signal(Signal::SIGCONT)
                .map(|_| ())
                .map_err(|error| format!("cannot resume {process}: {error}")),
            UndoAction::Start | UndoAction::Reconnect => Ok(()),
        }
    }
}

/// What there was to undo of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The entry.
    pub pending: PendingUndo,
    /// Whether its victim was still there. If not, nothing was left of the fault but the entry.
    pub was_alive: bool,
    /// Why it could not be undone, if so. It stays pending then.
    pub error: Option<String>,
}

/// Undoes what the journal in `run_dir` says, for a run whose cluster keeps its state in `cluster_dir`, and marks it. Doing it
/// again is harmless. Fails if the journal can't be read or written.
pub fn undo_run(run_dir: &Path, cluster_dir: &Path) -> Result<RunLeftovers, JournalError> {
    if !run_dir.join(JOURNAL_FILE).exists() {
        return Ok(RunLeftovers::NoJournal);
    }
    if let Some(supervisor) = read_identity(cluster_dir).filter(|supervisor| supervisor.is_alive()) {
        return Ok(RunLeftovers::GoesOn { supervisor });
    }
    let journal = UndoJournal::open(run_dir)?;
    let alive: Vec<ProcessIdentity> =
        journal.pending()?.iter().map(|p| p.planned.process).filter(|process| process.is_alive()).collect();
    let report = undo_pending(&journal, &Leftovers)?;
    let undone = report.undone.into_iter().map(|pending| (pending, None));
    let failed = report.failed.into_iter().map(|(pending, why)| (pending, Some(why)));
    let leftover = |(pending, error): (PendingUndo, Option<String>)| Leftover {
        was_alive: alive.contains(&pending.planned.process),
        pending,
        error,
    };
    Ok(RunLeftovers::Undone(undone.chain(failed).map(leftover).collect()))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::files::write_atomically;
    use crate::journal::PlannedUndo;
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
        journal.begin(&PlannedUndo { fault: format!("fault-{node}"), node, process, undo }).unwrap();
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
        let told: Vec<(i32, bool, Option<String>)> =
            undone.into_iter().map(|l| (l.pending.planned.node, l.was_alive, l.error)).collect();
        assert_eq!(told, [(2, false, None), (1, true, None)]);
        assert!(!paused.process().all_threads_stopped().unwrap());
        assert_eq!(undo_run(run.path(), &cluster).unwrap(), RunLeftovers::Undone(Vec::new()));
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
