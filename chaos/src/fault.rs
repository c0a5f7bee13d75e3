//! Faults: what is broken, how it is proved to act, and how it heals.
//!
//! Four things can be done to a process, some to the network around it (`network`), to its disk (`disk`) and its clock (`clock_skew`), one file each and all of one shape: `apply` returns once the effect was *seen* (an order that was given proves nothing),
//! and `heal` brings the victim back from whatever state it is in: before the effect, after half of it, or healed already.
//! So healing twice is harmless, and so is healing what never acted. A fault of nodes is one of these, done to one node or to
//! several (`all_at_once`), and left for a time or healed at once. The others are operations of the cluster (`operations`), of the same
//! shape, that hit no node; or they hit clients of the run (`client`).
//!
//! These functions do not know of schedule or journal; [`crate::injector`] keeps "journal first" and "one fault per node" (`claim`).

mod all_at_once;
mod broker_kill;
mod broker_pause;
mod broker_slow_start;
mod broker_stop;
mod broker_upgrade;
mod claim;
mod client;
mod clock_skew;
mod cpu_starve;
mod disk;
mod full_disk;
mod hooked;
mod network;
mod operations;
mod power_loss;
mod record;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use claim::Claim;
pub use client::ClientFault;
pub use clock_skew::OFFSET_NS_MIN as CLOCK_OFFSET_NS_MIN;
pub use cpu_starve::SHARE_PERCENT_MAX as CPU_SHARE_PERCENT_MAX;
pub(crate) use cpu_starve::Starving;
pub use disk::{DiskFault, DiskOperations};
pub(crate) use hooked::Hooked;
pub use network::{Direction, NetworkFault, NetworkKind};
pub(crate) use operations::Admin;
pub use operations::{
    BrokerAbsent, BrokerAdd, BrokerPresent, BrokerRemove, ConfigBefore, ConfigChange, ElectionPreferred,
    ElectionUnclean, FeatureUpgrade, LeaderImbalance, Operation, OperationUndo, PartitionBefore,
    PartitionReassign, Placement, QuorumAddVoter, QuorumRemoveVoter, QuotaBefore, QuotaChange,
    ReassignBefore, TopicAddPartitions, TopicBefore, TopicDeleteRecreate, VoterAbsent, VoterPresent,
};
pub use record::{FaultRecord, LogLoss};

use crate::error::ChaosError;
use crate::journal::{PendingUndo, Planned, Undo, UndoAction};
use crate::local::LocalCluster;
use crate::process::ProcessIdentity;
use crate::supervisor::{NodeState, NodeStatus, SignalTimes};
use crate::target::Target;

/// How long the brokers may take to show what was before an operation, replicas that move back included. As long as a victim may take
/// to be whole again.
pub(crate) const UNDO_LIMIT: Duration = Duration::from_secs(60);

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
    /// How long after it took effect it is healed; `None`: when the run ends. Zero for an action that does not last
    /// ([`FaultAction::is_momentary`]).
    pub recover_after: Option<Duration>,
    /// Name of the fault before it: this one begins when that one is healed and every replica is in sync again, and not at
    /// all if that one went wrong.
    pub follows: Option<String>,
}

/// What is done to one node, to several at once, or to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A stop that is healed at once: the clean bounce of an operator.
    BrokerRestart {
        /// As for a stop.
        deadline_ms: u64,
    },
    /// A kill that is healed at once: a crash with something that starts the broker again.
    BrokerBounce,
    /// A stop that is healed at once, but slowly: until it is whole, the broker is left a share of the time.
    BrokerSlowStart {
        /// As for a stop.
        deadline_ms: u64,
        /// How much of the time it is left, in per cent.
        share_percent: u8,
    },
    /// One step of a rolling restart: a restart of a broker whose turn it is.
    BrokerRollingRestart {
        /// As for a stop.
        deadline_ms: u64,
    },
    /// One step of a rolling upgrade: the broker whose turn it is stops, and starts again from the jars of a later release.
    BrokerRollingUpgrade {
        /// As for a stop.
        deadline_ms: u64,
        /// The release, as the cluster was told before it started ([`LocalSpec::upgrade_to`](crate::LocalSpec::upgrade_to)).
        to: String,
    },
    /// A kill of every broker. Acts when all are gone.
    BrokerKillAll,
    /// A kill, and what was not on disk is gone from the logs. Acts when both is done; heals as a kill does.
    BrokerPowerLoss {
        /// So much of the end of each log at most was not on disk; `None`: all above the recovery point.
        tail_bytes: Option<u64>,
    },
    /// So many voters are lost at once that the others can elect nobody, the active controller among them. Acts when all of
    /// them are gone, or stopped.
    QuorumLoss {
        /// How they are lost.
        by: LossBy,
    },
    /// Something is done to the network around the victim. Acts when bytes or connections were seen to be treated so; heals
    /// when the rules of the proxy are gone.
    Network {
        /// What, on which links.
        fault: NetworkFault,
    },
    /// Something is done to what the victim does to its files. Acts when an operation of its own was late or has failed; heals when none is
    /// any more, and it is whole: it is started again if that ended it.
    Disk {
        /// What.
        fault: DiskFault,
    },
    /// The victim is stopped for a part of every tenth of a second. Acts when every thread was seen to stand still, and to go on; heals by
    /// SIGCONT.
    CpuStarve {
        /// How much of the time it is left, in per cent.
        share_percent: u8,
    },
    /// The victim's time of day is another one. Acts when a stamp of its own is; heals when one is right.
    ClockSkew {
        /// What is added, nanoseconds.
        offset_ns: i64,
    },
    /// Something is done to clients of the run that are programs.
    Client {
        /// What.
        fault: ClientFault,
    },
    /// Brokers are told to do or to be something, as by Kafka's tools. Acts when they show it; heals when they show what was
    /// before.
    Operation {
        /// What.
        operation: Operation,
    },
}

/// How nodes are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossBy {
    /// As by `broker.pause`: they come back as they were.
    Pause,
    /// As by `broker.kill`: they come back from disk.
    Kill,
}

/// What a fault is aimed at, and what is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim<'a> {
    Nodes(Means),
    Clients(ClientFault),
    Cluster(&'a Operation),
}

/// What is done to a victim: its process, or what is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    Kill,
    PowerLoss { tail_bytes: Option<u64> },
    Stop { deadline: Duration },
    Upgrade { deadline: Duration },
    SlowStart { deadline: Duration, share_percent: u8 },
    Pause,
    CpuStarve { share_percent: u8 },
    Network(NetworkFault),
    Disk(DiskFault),
    ClockSkew { offset_ns: i64 },
}

/// What was seen of a fault that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acted {
    pub(crate) times: SignalTimes,
    /// What it may have cost logs; empty for all but those that cut them off.
    pub(crate) losses: Vec<LogLoss>,
}

impl From<SignalTimes> for Acted {
    fn from(times: SignalTimes) -> Self {
        Self { times, losses: Vec::new() }
    }
}

impl FaultAction {
    /// As scenario files and reports spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BrokerKill => "broker.kill",
            Self::BrokerStop { .. } => "broker.stop",
            Self::BrokerPause => "broker.pause",
            Self::BrokerRestart { .. } => "broker.restart",
            Self::BrokerBounce => "broker.bounce",
            Self::BrokerSlowStart { .. } => "broker.slow-start",
            Self::BrokerRollingRestart { .. } => "broker.rolling-restart",
            Self::BrokerRollingUpgrade { .. } => "broker.rolling-upgrade",
            Self::BrokerKillAll => "broker.kill-all",
            Self::BrokerPowerLoss { .. } => "broker.power-loss",
            Self::QuorumLoss { .. } => "quorum.loss",
            Self::Network { fault } => fault.name(),
            Self::Disk { fault } => fault.name(),
            Self::CpuStarve { .. } => "cpu.starve",
            Self::ClockSkew { .. } => "clock.skew",
            Self::Client { fault } => fault.name(),
            Self::Operation { operation } => operation.name(),
        }
    }

    /// Whether it does not last: its victim is started again at once, or there is nothing to undo.
    #[must_use]
    pub fn is_momentary(&self) -> bool {
        match self {
            Self::BrokerRestart { .. }
            | Self::BrokerBounce
            | Self::BrokerSlowStart { .. }
            | Self::BrokerRollingRestart { .. }
            | Self::BrokerRollingUpgrade { .. } => true,
            Self::BrokerKill
            | Self::BrokerStop { .. }
            | Self::BrokerPause
            | Self::BrokerKillAll
            | Self::BrokerPowerLoss { .. }
            | Self::QuorumLoss { .. }
            | Self::Network { .. }
            | Self::Disk { .. }
            | Self::CpuStarve { .. }
            | Self::ClockSkew { .. }
            | Self::Client { .. } => false,
            Self::Operation { operation } => operation.is_momentary(),
        }
    }

    /// What the journal must say of each victim before this is done; `None` for operations, whose journal says what was before, and for
    /// faults of clients, which end with this process.
    #[must_use]
    pub fn undo(&self) -> Option<UndoAction> {
        match self.aim() {
            Aim::Nodes(means) => Some(means.undo()),
            Aim::Cluster(_) | Aim::Clients(_) => None,
        }
    }

    /// Whether it is something of the cluster's, and not of the run's own clients.
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        !matches!(self, Self::Client { .. })
    }

    pub(crate) fn aim(&self) -> Aim<'_> {
        Aim::Nodes(match self {
            Self::BrokerKill
            | Self::BrokerBounce
            | Self::BrokerKillAll
            | Self::QuorumLoss { by: LossBy::Kill } => Means::Kill,
            Self::BrokerPowerLoss { tail_bytes } => Means::PowerLoss { tail_bytes: *tail_bytes },
            Self::BrokerStop { deadline_ms }
            | Self::BrokerRestart { deadline_ms }
            | Self::BrokerRollingRestart { deadline_ms } => {
                Means::Stop { deadline: Duration::from_millis(*deadline_ms) }
            }
            Self::BrokerSlowStart { deadline_ms, share_percent } => Means::SlowStart {
                deadline: Duration::from_millis(*deadline_ms),
                share_percent: *share_percent,
            },
            Self::BrokerRollingUpgrade { deadline_ms, .. } => {
                Means::Upgrade { deadline: Duration::from_millis(*deadline_ms) }
            }
            Self::BrokerPause | Self::QuorumLoss { by: LossBy::Pause } => Means::Pause,
            Self::CpuStarve { share_percent } => Means::CpuStarve { share_percent: *share_percent },
            Self::Network { fault } => Means::Network(*fault),
            Self::Disk { fault } => Means::Disk(*fault),
            Self::ClockSkew { offset_ns } => Means::ClockSkew { offset_ns: *offset_ns },
            Self::Client { fault } => return Aim::Clients(*fault),
            Self::Operation { operation } => return Aim::Cluster(operation),
        })
    }
}

impl Means {
    pub(crate) fn undo(self) -> UndoAction {
        match self {
            Self::Kill
            | Self::PowerLoss { .. }
            | Self::Stop { .. }
            | Self::Upgrade { .. }
            | Self::SlowStart { .. } => UndoAction::Start,
            Self::Pause | Self::CpuStarve { .. } => UndoAction::Resume,
            Self::Network(_) => UndoAction::Reconnect,
            Self::Disk(_) | Self::ClockSkew { .. } => UndoAction::TakeBack,
        }
    }

    /// Whether it can be done to a container: plans refuse what can't ([`crate::docker::DOCKER_ACTIONS`]), so this is for other callers.
    fn is_for_containers(self) -> bool {
        matches!(self, Self::Kill | Self::Stop { .. } | Self::Pause)
    }

    /// Does it to all `nodes` at once, as the fault of this name; returns when the effect was seen on each: when the first signal was sent, and when the
    /// last effect was seen. On an error it may still have been done in part: heal.
    pub(crate) fn apply(
        self,
        name: &str,
        cluster: &LocalCluster,
        nodes: &[i32],
    ) -> Result<Acted, ChaosError> {
        if cluster.is_in_containers() && !self.is_for_containers() {
            let why = "nodes in containers can be killed, stopped and paused; this takes processes of gauntlet's own".to_owned();
            return Err(ChaosError::Refused { why });
        }
        let times = match self {
            Self::Kill => all_at_once::apply(nodes, |node| broker_kill::apply(cluster, node)),
            Self::PowerLoss { tail_bytes } => return power_loss::apply(cluster, nodes, tail_bytes),
            Self::Stop { deadline } | Self::SlowStart { deadline, .. } => {
                all_at_once::apply(nodes, |node| broker_stop::apply(cluster, node, deadline))
            }
            Self::Upgrade { deadline } => {
                all_at_once::apply(nodes, |node| broker_upgrade::apply(cluster, node, deadline))
            }
            Self::Pause => all_at_once::apply(nodes, |node| broker_pause::apply(cluster, node)),
            Self::CpuStarve { share_percent } => cpu_starve::apply(cluster, nodes, share_percent),
            Self::Network(fault) => fault.apply(name, cluster, nodes),
            Self::Disk(fault) => fault.apply(cluster, nodes),
            Self::ClockSkew { offset_ns } => clock_skew::apply(cluster, nodes, offset_ns),
        };
        times.map(Acted::from)
    }

    /// Brings `node`, whose process before the fault was `victim`, back; returns when a process of it runs. Harmless when
    /// one does already.
    pub(crate) fn heal(
        self,
        name: &str,
        cluster: &LocalCluster,
        node: i32,
        victim: ProcessIdentity,
    ) -> Result<(), ChaosError> {
        match self {
            Self::Kill | Self::PowerLoss { .. } => broker_kill::heal(cluster, node),
            // Which release it starts is known already.
            Self::Stop { .. } | Self::Upgrade { .. } => broker_stop::heal(cluster, node, victim),
            Self::SlowStart { share_percent, .. } => {
                broker_slow_start::heal(cluster, node, victim, share_percent)
            }
            Self::Pause => broker_pause::heal(cluster, node),
            Self::CpuStarve { .. } => cpu_starve::heal(cluster, node),
            Self::Network(_) => network::heal(name, cluster),
            Self::Disk(_) => disk::heal(cluster, node, victim),
            Self::ClockSkew { offset_ns } => clock_skew::heal(cluster, node, victim, offset_ns),
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
        // Whoever left it so is gone, and it is to run.
        NodeState::Paused => cluster.resume(node).map(|_| ()),
        NodeState::Running => Ok(()),
    }
}

/// The run itself undoes what its journal says: a backstop for faults whose own healing failed.
impl Undo for LocalCluster {
    fn undo(&self, pending: &PendingUndo) -> Result<(), String> {
        let undone = match &pending.planned {
            Planned::Operation(planned) => planned.undo.undo(&self.admin(planned.undo.limit()), Some(self)),
            // Nothing of a cluster of ours is done by hooks.
            Planned::Hook(planned) => {
                return Err(format!("fault {} is of another cluster", planned.fault));
            }
            Planned::Process(planned) => match planned.undo {
                UndoAction::Resume => broker_pause::heal(self, planned.node),
                UndoAction::Start => start_if_gone(self, planned.node),
                UndoAction::Reconnect => network::heal(&planned.fault, self),
                UndoAction::TakeBack => disk::heal(self, planned.node, planned.process),
            },
        };
        undone.map_err(|error| error.to_string())
    }
}
