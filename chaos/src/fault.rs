//! Faults: what is broken, how it is proved to act, and how it heals.
//!
//! One file per fault, all of one shape: `apply` returns once the effect was *seen* (an order that was given proves nothing),
//! and `heal` brings the victim back from whatever state it is in: before the effect, after half of it, or healed already.
//! So healing twice is harmless, and so is healing what never acted.
//!
//! These functions do not know of schedule or journal; [`crate::injector`] keeps "journal first" and "one fault per node".

mod broker_kill;
mod broker_pause;
mod broker_stop;
mod record;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use record::FaultRecord;

use crate::error::ChaosError;
use crate::journal::{PendingUndo, Undo, UndoAction};
use crate::local::LocalCluster;
use crate::process::ProcessIdentity;
use crate::supervisor::{NodeState, NodeStatus, SignalTimes};
use crate::target::Target;

/// A fault of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSpec {
    /// Its name, unique in the run: what clocks and windows are addressed by.
    pub name: String,
    /// What is done.
    pub action: FaultAction,
    /// To whom; resolved when it is due.
    pub target: Target,
    /// When, nanoseconds after the run's origin.
    pub at_ns: u64,
    /// How long after it took effect it is healed; `None`: when the run ends.
    pub recover_after: Option<Duration>,
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAction {
    /// SIGKILL. Acts when the process is gone; heals by starting the node on its old data.
    BrokerKill,
    /// SIGTERM, which lets the broker hand over its leaderships. Acts when the process is gone; heals as a kill does.
    BrokerStop {
        /// How long it may take, milliseconds. A broker that still runs then is a fault that was not seen to act.
        deadline_ms: u64,
    },
    /// SIGSTOP. Acts when every thread is in state T; heals by SIGCONT.
    BrokerPause,
}

impl FaultAction {
    /// As scenario files and reports spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BrokerKill => "broker.kill",
            Self::BrokerStop { .. } => "broker.stop",
            Self::BrokerPause => "broker.pause",
        }
    }

    /// What the journal must say before this is done.
    #[must_use]
    pub fn undo(&self) -> UndoAction {
        match self {
            Self::BrokerKill | Self::BrokerStop { .. } => UndoAction::Start,
            Self::BrokerPause => UndoAction::Resume,
        }
    }

    /// Does it to `node`; returns when the effect was seen. On an error it may still have been done in part: heal.
    pub(crate) fn apply(&self, cluster: &LocalCluster, node: i32) -> Result<SignalTimes, ChaosError> {
        match self {
            Self::BrokerKill => broker_kill::apply(cluster, node),
            Self::BrokerStop { deadline_ms } => {
                broker_stop::apply(cluster, node, Duration::from_millis(*deadline_ms))
            }
            Self::BrokerPause => broker_pause::apply(cluster, node),
        }
    }

    /// Brings `node`, whose process before the fault was `victim`, back; returns when a process of it runs. Harmless when
    /// one does already.
    pub(crate) fn heal(
        &self,
        cluster: &LocalCluster,
        node: i32,
        victim: ProcessIdentity,
    ) -> Result<(), ChaosError> {
        match self {
            Self::BrokerKill => broker_kill::heal(cluster, node),
            Self::BrokerStop { .. } => broker_stop::heal(cluster, node, victim),
            Self::BrokerPause => broker_pause::heal(cluster, node),
        }
    }
}

/// The status of `node`, which must have been started once.
pub(crate) fn status_of(cluster: &LocalCluster, node: i32) -> Result<NodeStatus, ChaosError> {
    let statuses = cluster.statuses()?;
    let known = statuses.iter().map(|status| status.node).collect();
    statuses.into_iter().find(|status| status.node == node).ok_or(ChaosError::NoSuchNode { id: node, known })
}

/// Starts `node` unless its process lives.
fn start_if_gone(cluster: &LocalCluster, node: i32) -> Result<(), ChaosError> {
    match status_of(cluster, node)?.state {
        NodeState::Exited(_) => cluster.start_node(node).map(|_| ()),
        NodeState::Running | NodeState::Paused => Ok(()),
    }
}

/// The run itself undoes what its journal says: a backstop for faults whose own healing failed.
impl Undo for LocalCluster {
    fn undo(&self, pending: &PendingUndo) -> Result<(), String> {
        let node = pending.planned.node;
        let undone = match pending.planned.undo {
            UndoAction::Resume => broker_pause::heal(self, node),
            UndoAction::Start => start_if_gone(self, node),
        };
        undone.map_err(|error| error.to_string())
    }
}
