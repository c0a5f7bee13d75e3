//! The undo journal: what is broken on purpose right now, on disk before it is broken.
//!
//! An entry is written and synced *before* its fault is injected and marked undone *after* it was healed. Whoever finds the
//! file later (the supervisor when its run died, a command after a crash) therefore knows at least what may still be broken.
//! "At least", because the run may have died between the entry and the injection: undoing must be harmless then, and twice.
//!
//! The format is one JSON object per line, append only. A crash can tear the last line. That loses nothing: a torn entry was
//! never acknowledged as durable, so its fault was not injected; a torn mark means that something is undone once more.

mod leftovers;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gauntlet_wire::Security;
pub use leftovers::{Leftover, Leftovers, RunLeftovers, undo_run, undo_run_with};
use serde::{Deserialize, Serialize};

use crate::clock::monotonic_ns;
use crate::fault::{Admin, OperationUndo};
use crate::files::{FileError, OnPath};
use crate::hook::{HookCommand, HookJob, HookStep, Running, output_file, run};
use crate::process::ProcessIdentity;

/// Name of the journal in a run directory.
pub const JOURNAL_FILE: &str = "undo.journal";
/// Largest journal that is read. A line has under 300 bytes, or about 50 per partition of a topic whose replicas are moved, or what the
/// command of a hook has: more than any run writes. A larger file is not ours.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What makes a fault undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoAction {
    /// SIGCONT to a process that SIGSTOP halted.
    Resume,
    /// Start a node that was ended, on its old data.
    Start,
    /// Take the fault's rules of the network out of force.
    Reconnect,
    /// Take back what the node's shim was ordered, and have a node go on that may have met an error: start it anew.
    TakeBack,
}

/// A fault that is about to be injected.
#[derive(Clone, Debug, PartialEq)]
pub enum Planned {
    /// Something is done to a node.
    Process(PlannedUndo),
    /// Brokers are told something.
    Operation(PlannedOperation),
    /// An operator's command does something to a broker.
    Hook(PlannedHook),
}

impl Planned {
    /// Name of the fault.
    #[must_use]
    pub fn fault(&self) -> &str {
        match self {
            Self::Process(planned) => &planned.fault,
            Self::Operation(planned) => &planned.fault,
            Self::Hook(planned) => &planned.fault,
        }
    }

    /// The victim and what undoes it, where there is a victim.
    #[must_use]
    pub fn process(&self) -> Option<&PlannedUndo> {
        match self {
            Self::Process(planned) => Some(planned),
            Self::Operation(_) | Self::Hook(_) => None,
        }
    }

    /// What was before, where brokers are told something.
    #[must_use]
    pub fn operation(&self) -> Option<&PlannedOperation> {
        match self {
            Self::Process(_) | Self::Hook(_) => None,
            Self::Operation(planned) => Some(planned),
        }
    }

    /// The command that undoes it, where an operator's does.
    #[must_use]
    pub fn hook(&self) -> Option<&PlannedHook> {
        match self {
            Self::Process(_) | Self::Operation(_) => None,
            Self::Hook(planned) => Some(planned),
        }
    }
}

impl From<PlannedUndo> for Planned {
    fn from(planned: PlannedUndo) -> Self {
        Self::Process(planned)
    }
}

impl From<PlannedOperation> for Planned {
    fn from(planned: PlannedOperation) -> Self {
        Self::Operation(planned)
    }
}

impl From<PlannedHook> for Planned {
    fn from(planned: PlannedHook) -> Self {
        Self::Hook(planned)
    }
}

/// A command of an operator that is about to do something to a broker of a cluster that is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedHook {
    /// Name of the fault.
    pub fault: String,
    /// Kafka's `node.id` of its victim.
    pub broker: i32,
    /// What undoes it, whether it was done or not: for this very broker. Of variables it has the names only.
    pub heal: HookCommand,
}

impl PlannedHook {
    /// Runs the command that undoes it; `logs` is the run's directory of logs.
    pub(crate) fn undo(&self, logs: &Path) -> Result<(), String> {
        let output = output_file(logs, &self.fault, self.broker);
        let job = HookJob { step: HookStep::Heal, command: self.heal.clone(), output };
        run(&job, &Running::default()).map(|_| ())
    }
}

/// An operation of the cluster that is about to begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOperation {
    /// Name of the fault.
    pub fault: String,
    /// The `cluster.id`: by the time that somebody undoes this, another cluster may listen at these addresses.
    pub cluster_id: String,
    /// Where it can be undone.
    pub brokers: Vec<BrokerAddress>,
    /// What was before it.
    pub undo: OperationUndo,
    /// The cluster is somebody else's: it outlives run and supervisor, and is not gone only because nobody answers.
    #[serde(default)]
    pub foreign: bool,
}

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerAddress {
    /// Kafka's `node.id`.
    pub id: i32,
    /// `host:port`.
    pub addr: String,
}

impl PlannedOperation {
    /// An operator's access to its cluster for `limit`; `None` if none of its brokers answers, or another cluster's.
    pub(crate) fn admin(&self, security: Security, limit: Duration) -> Option<Admin> {
        let addresses = self.brokers.iter().map(|broker| (broker.id, broker.addr.clone())).collect();
        let admin = Admin::new(addresses, security, limit);
        (admin.cluster_id().as_ref() == Some(&self.cluster_id)).then_some(admin)
    }

    /// Undoes it on a cluster that is somebody else's, within `limit`. That nobody answers is an error: it may be back.
    pub(crate) fn undo_on_foreign(&self, security: Security, limit: Duration) -> Result<(), String> {
        let admin = self.admin(security, limit).ok_or_else(|| {
            let brokers: Vec<&str> = self.brokers.iter().map(|broker| broker.addr.as_str()).collect();
            format!("no broker of cluster {} answers at {}", self.cluster_id, brokers.join(", "))
        })?;
        self.undo.undo(&admin, None).map_err(|error| error.to_string())
    }
}

/// A fault of a node that is about to be injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedUndo {
    /// Name of the fault.
    pub fault: String,
    /// Kafka's `node.id` of its victim.
    pub node: i32,
    /// The victim's process before the fault.
    pub process: ProcessIdentity,
    /// What makes it undone.
    pub undo: UndoAction,
}

/// An entry of the journal that was not marked undone.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingUndo {
    /// Its number in this journal, from 0.
    pub id: u64,
    /// CLOCK_MONOTONIC when it was written, nanoseconds.
    pub at_ns: u64,
    /// What to undo.
    pub planned: Planned,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Begin { id: u64, at_ns: u64, planned: PlannedUndo },
    BeginOperation { id: u64, at_ns: u64, planned: PlannedOperation },
    BeginHook { id: u64, at_ns: u64, planned: PlannedHook },
    Undone { id: u64, at_ns: u64 },
}

/// Why the journal could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file could not be read, written or synced.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line before the last one is no entry: somebody else wrote to the file.
    #[error("{}:{line} is no journal entry: {detail}", path.display())]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What the parser said.
        detail: String,
    },
}

/// An open journal. Shared by all faults of a run.
#[derive(Debug)]
pub struct UndoJournal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    next_id: u64,
    /// Length of the whole lines in the file, bytes.
    whole_bytes: u64,
}

impl UndoJournal {
    /// Opens the journal of `run_dir`, creating it if needed. The directory is synced too: a file that a crash makes
    /// nameless undoes nothing. A torn last line is cut off, so that the next entry starts on a line of its own.
    pub fn open(run_dir: &Path) -> Result<Self, JournalError> {
        Self::open_file(&run_dir.join(JOURNAL_FILE))
    }

    /// As [`UndoJournal::open`], by the path of the file itself.
    pub fn open_file(path: &Path) -> Result<Self, JournalError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path).on("open", path)?;
        let parsed = parse(path, &read_all(path)?)?;
        file.set_len(parsed.whole_bytes).on("cut the torn end off", path)?;
        file.sync_all().on("sync", path)?;
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            File::open(dir).and_then(|dir| dir.sync_all()).on("sync directory", dir)?;
        }
        let state = State { file, next_id: parsed.next_id, whole_bytes: parsed.whole_bytes };
        Ok(Self { path: path.to_path_buf(), state: Mutex::new(state) })
    }

    /// The journal's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an entry and returns once it is on disk. Only then may the fault be injected. Gives the entry's id.
    pub fn begin(&self, planned: impl Into<Planned>) -> Result<u64, JournalError> {
        let mut state = self.lock();
        let (id, at_ns) = (state.next_id, monotonic_ns());
        let line = match planned.into() {
            Planned::Process(planned) => Line::Begin { id, at_ns, planned },
            Planned::Operation(planned) => Line::BeginOperation { id, at_ns, planned },
            Planned::Hook(planned) => Line::BeginHook { id, at_ns, planned },
        };
        // Counted even if syncing fails: the id may be in the file.
        state.next_id += 1;
        self.append(&mut state, &line)?;
        Ok(id)
    }

    /// Notes that entry `id` is undone, and returns once that is on disk.
    pub fn mark_undone(&self, id: u64) -> Result<(), JournalError> {
        let line = Line::Undone { id, at_ns: monotonic_ns() };
        self.append(&mut self.lock(), &line)
    }

    /// All entries that are not marked undone, latest first: the order in which to undo. Read from the file.
    pub fn pending(&self) -> Result<Vec<PendingUndo>, JournalError> {
        // Under the lock, so that an entry which another thread is writing is seen whole or not at all.
        let _state = self.lock();
        read_pending(&self.path)
    }

    fn append(&self, state: &mut State, line: &Line) -> Result<(), JournalError> {
        let path = &self.path;
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::from).on("encode an entry of", path)?;
        bytes.push(b'\n');
        if let Err(error) = state.file.write_all(&bytes) {
            // Part of the line may be there (a full disk), and the next one must not be appended to it. If cutting fails
            // too, the first error is the one to tell.
            let _ = state.file.set_len(state.whole_bytes);
            return Err(error).on("write", path)?;
        }
        state.whole_bytes += bytes.len() as u64;
        Ok(state.file.sync_data().on("sync", path)?)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it held the lock left at worst a torn line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All entries of the journal at `path` that are not marked undone, latest first. A journal that does not exist has none.
pub fn read_pending(path: &Path) -> Result<Vec<PendingUndo>, JournalError> {
    Ok(parse(path, &read_all(path)?)?.pending)
}

/// Whoever can undo faults: the run's cluster, its supervisor, or a command that found a journal.
pub trait Undo {
    /// Undoes one entry. Must be harmless when there is nothing to undo (any more).
    fn undo(&self, pending: &PendingUndo) -> Result<(), String>;
}

/// What [`undo_pending`] did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UndoReport {
    /// Entries that are undone now.
    pub undone: Vec<PendingUndo>,
    /// Entries that could not be undone, and why. They stay pending.
    pub failed: Vec<(PendingUndo, String)>,
}

/// Undoes every pending entry of `journal`, latest first, and marks each that succeeded. One failure does not keep the
/// others from being undone. Doing it again is harmless. Fails only if the journal can't be read or written.
pub fn undo_pending(journal: &UndoJournal, healer: &impl Undo) -> Result<UndoReport, JournalError> {
    let mut report = UndoReport::default();
    for pending in journal.pending()? {
        match healer.undo(&pending) {
            Ok(()) => {
                journal.mark_undone(pending.id)?;
                report.undone.push(pending);
            }
            Err(why) => report.failed.push((pending, why)),
        }
    }
    Ok(report)
}

/// What a journal's bytes say.
struct Parsed {
    pending: Vec<PendingUndo>,
    next_id: u64,
    /// Length without the torn last line.
    whole_bytes: u64,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed, JournalError> {
    let mut open: BTreeMap<u64, PendingUndo> = BTreeMap::new();
    let mut next_id = 0;
    let mut whole_bytes = 0;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let is_last = whole_bytes + line.len() == bytes.len();
        let parsed = match line.strip_suffix(b"\n") {
            Some(whole) => serde_json::from_slice::<Line>(whole).map_err(|error| error.to_string()),
            None => Err("no line end".to_owned()),
        };
        let mut begins = |id, at_ns, planned| {
            next_id = next_id.max(id + 1);
            open.insert(id, PendingUndo { id, at_ns, planned });
        };
        match parsed {
            Ok(Line::Begin { id, at_ns, planned }) => begins(id, at_ns, Planned::Process(planned)),
            Ok(Line::BeginOperation { id, at_ns, planned }) => begins(id, at_ns, Planned::Operation(planned)),
            Ok(Line::BeginHook { id, at_ns, planned }) => begins(id, at_ns, Planned::Hook(planned)),
            Ok(Line::Undone { id, .. }) => {
                open.remove(&id);
            }
            // Torn: cut short, or (after a power loss) of full length but never filled.
            Err(_) if is_last => break,
            Err(detail) => {
                return Err(JournalError::Corrupt { path: path.to_path_buf(), line: index + 1, detail });
            }
        }
        whole_bytes += line.len();
    }
    Ok(Parsed { pending: open.into_values().rev().collect(), next_id, whole_bytes: whole_bytes as u64 })
}

fn read_all(path: &Path) -> Result<Vec<u8>, FileError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > JOURNAL_BYTES_MAX => {
            let detail = format!("{} bytes are no undo journal", metadata.len());
            Err(io::Error::new(io::ErrorKind::FileTooLarge, detail)).on("read", path)
        }
        Ok(_) => fs::read(path).on("read", path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).on("read", path),
    }
}

#[cfg(test)]
mod tests;
