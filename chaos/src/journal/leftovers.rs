//! Undoing after everybody is dead: the run, and its supervisor too.

use nix::sys::signal::Signal;

use super::{PendingUndo, Undo, UndoAction};

/// Undoes by what the journal itself says, without any supervisor. For a command that finds the journal of a run that is gone.
#[derive(Clone, Copy, Debug)]
pub struct Leftovers;

impl Undo for Leftovers {
    /// Resumes the very process that was paused, if it still is there. A node that was ended stays so: its supervisor is gone
    /// and with it the cluster that it could come back to.
    fn undo(&self, pending: &PendingUndo) -> Result<(), String> {
        let process = pending.planned.process;
        match pending.planned.undo {
            UndoAction::Resume => process
                .signal(Signal::SIGCONT)
                .map(|_| ())
                .map_err(|error| format!("cannot resume {process}: {error}")),
            UndoAction::Start => Ok(()),
        }
    }
}
