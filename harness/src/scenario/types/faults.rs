//! What is broken on purpose.

use gauntlet_chaos::{ClientFault, ClientTarget, DiskFault, KafkaVersion, Operation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network::{NetworkEffect, NetworkFault};
use crate::units::{Bytes, Duration};

/// A fault: what is done to whom, when, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What expectations call it.
    pub name: String,
    /// When, counted from the end of the warm-up.
    pub at: Duration,
    /// What is done.
    pub action: FaultAction,
    /// To whom, decided when the fault is due.
    pub target: Target,
    /// How it ends. None: it lasts until the run ends, or, if its action is over at once, no time at all.
    pub recover: Option<Recover>,
    /// How long after it began it begins again, as long as the load lasts. None: it happens once.
    pub every: Option<Duration>,
    /// Longest that it may be late on purpose; drawn with the seed, each time anew.
    pub jitter: Duration,
}

impl Fault {
    /// The topic that it names, if it names one.
    pub(crate) fn topic_mut(&mut self) -> Option<&mut String> {
        match &mut self.action {
            FaultAction::Operation(operation) => operation.topic_mut(),
            _ => self.target.topic_mut(),
        }
    }

    /// When it ends at the latest, counted from the end of the warm-up; the first time, if it is repeated.
    #[must_use]
    pub fn heals_at(&self) -> Option<Duration> {
        let latest = self.at.saturating_add(self.jitter);
        if self.action.is_momentary() {
            return Some(latest);
        }
        self.recover.map(|recover| latest.saturating_add(recover.after))
    }

    /// When it is due, without jitter and counted from the end of the warm-up: every time that it begins before the load,
    /// which lasts for `load`, is over, and can end before load and drain are. At least once, at most `most` times.
    #[must_use]
    pub fn due(&self, load: Option<Duration>, drain: Duration, most: usize) -> Vec<Duration> {
        let (Some(every), Some(load)) = (self.every.filter(|every| *every > Duration::ZERO), load) else {
            return vec![self.at];
        };
        let lasts_ns = self.heals_at().map_or(0, |heals_at| heals_at.as_ns().saturating_sub(self.at.as_ns()));
        let end_ns = load.saturating_add(drain).as_ns();
        let fits = |at_ns: &u64| {
            at_ns.saturating_add(self.jitter.as_ns()) < load.as_ns()
                && at_ns.saturating_add(lasts_ns) <= end_ns
        };
        let later = (1..).map(|time: u64| self.at.as_ns().saturating_add(every.as_ns().saturating_mul(time)));
        let again = later.take_while(fits).take(most.saturating_sub(1)).map(Duration::from_ns);
        std::iter::once(self.at).chain(again).collect()
    }
}

/// What is done to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// SIGKILL.
    BrokerKill,
    /// SIGTERM: a controlled shutdown.
    BrokerStop,
    /// SIGSTOP.
    BrokerPause,
    /// SIGTERM, and a start as soon as it is gone.
    BrokerRestart,
    /// SIGKILL, and a start as soon as it is gone.
    BrokerBounce,
    /// SIGTERM, and a start with a share of the time until it is whole.
    BrokerSlowStart {
        /// How much, in per cent.
        share_percent: u8,
    },
    /// Every broker in turn: SIGTERM, start, all replicas in sync.
    BrokerRollingRestart,
    /// The same, started from a later release.
    BrokerRollingUpgrade {
        /// Which.
        to: KafkaVersion,
    },
    /// SIGKILL of every broker at once.
    BrokerKillAll,
    /// SIGKILL, and what was not on disk is gone.
    BrokerPowerLoss {
        /// So many bytes of the end of each log at most were not.
        tail: Option<Bytes>,
    },
    /// So many voters of the quorum at once that the others can elect nobody.
    QuorumLoss(LossBy),
    /// Something is done to the network around the target.
    Network(NetworkFault),
    /// Something is done to what the target does to its disk. What this is made of is what the injector takes.
    Disk(DiskFault),
    /// The target gets only a share of the time.
    CpuStarve {
        /// How much, in per cent.
        share_percent: u8,
    },
    /// The target's clock is another one.
    ClockSkew {
        /// What is added, nanoseconds.
        offset_ns: i64,
    },
    /// Something is done to clients of the run that are programs.
    Client(ClientFault),
    /// Brokers are told something, as by Kafka's tools. What this is made of is what the injector takes: there is no unit to resolve.
    Operation(Operation),
}

/// The name of an action in scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ActionName {
    /// The preferred replica of every partition of a topic is elected leader.
    #[serde(rename = "election.preferred")]
    ElectionPreferred,
    /// Whoever is there is elected leader of those partitions of a topic that have none, in sync or not.
    #[serde(rename = "election.unclean")]
    ElectionUnclean,
    /// One broker becomes the leader of every partition of a topic.
    #[serde(rename = "leader.imbalance")]
    LeaderImbalance,
    /// Clients of a user or with a client id are limited.
    #[serde(rename = "quota.change")]
    QuotaChange,
    /// Properties of a topic or of brokers are set.
    #[serde(rename = "config.change")]
    ConfigChange,
    /// Replicas of a topic are moved to other brokers.
    #[serde(rename = "partition.reassign")]
    PartitionReassign,
    /// A topic gets more partitions, for good.
    #[serde(rename = "topic.add-partitions")]
    TopicAddPartitions,
    /// A topic is deleted, and created again as it was, without its records.
    #[serde(rename = "topic.delete-recreate")]
    TopicDeleteRecreate,
    /// A feature of the cluster, such as `metadata.version`, is raised, for good.
    #[serde(rename = "feature.upgrade")]
    FeatureUpgrade,
    /// A broker joins the cluster.
    #[serde(rename = "broker.add")]
    BrokerAdd,
    /// A broker is decommissioned: its replicas are moved away, it ends, and the controller forgets it.
    #[serde(rename = "broker.remove")]
    BrokerRemove,
    /// A controller joins the quorum.
    #[serde(rename = "quorum.add-voter")]
    QuorumAddVoter,
    /// A controller votes no longer.
    #[serde(rename = "quorum.remove-voter")]
    QuorumRemoveVoter,
    /// SIGKILL.
    #[serde(rename = "broker.kill")]
    BrokerKill,
    /// SIGTERM: a controlled shutdown.
    #[serde(rename = "broker.stop")]
    BrokerStop,
    /// SIGSTOP.
    #[serde(rename = "broker.pause")]
    BrokerPause,
    /// SIGTERM, and a start as soon as it is gone: a clean bounce.
    #[serde(rename = "broker.restart")]
    BrokerRestart,
    /// SIGKILL, and a start as soon as it is gone: a hard bounce.
    #[serde(rename = "broker.bounce")]
    BrokerBounce,
    /// SIGTERM, started again at once, and slowly.
    #[serde(rename = "broker.slow-start")]
    BrokerSlowStart,
    /// Every broker in turn, the active controller last: SIGTERM, start, all replicas in sync.
    #[serde(rename = "broker.rolling-restart")]
    BrokerRollingRestart,
    /// Every broker in turn, the active controller last: SIGTERM, start from the jars of a later release, all replicas in sync.
    #[serde(rename = "broker.rolling-upgrade")]
    BrokerRollingUpgrade,
    /// SIGKILL of every broker at once.
    #[serde(rename = "broker.kill-all")]
    BrokerKillAll,
    /// SIGKILL, and what the broker had not on disk is gone from its logs.
    #[serde(rename = "broker.power-loss")]
    BrokerPowerLoss,
    /// So many voters of the quorum at once that the others can elect nobody.
    #[serde(rename = "quorum.loss")]
    QuorumLoss,
    /// Bytes from and to the target arrive later.
    #[serde(rename = "network.delay")]
    NetworkDelay,
    /// Bytes from and to the target arrive at a low rate.
    #[serde(rename = "network.bandwidth")]
    NetworkBandwidth,
    /// Connections of the target are reset, and new ones as well.
    #[serde(rename = "network.reset")]
    NetworkReset,
    /// Connections that are there are lost, and one end is not told, or neither; new ones are served.
    #[serde(rename = "network.half-open")]
    NetworkHalfOpen,
    /// Connections of the target are never answered.
    #[serde(rename = "network.black-hole")]
    NetworkBlackHole,
    /// The target is cut off from other nodes, or from one of them; clients reach it.
    #[serde(rename = "network.partition")]
    NetworkPartition,
    /// The target is cut off from other nodes and from clients.
    #[serde(rename = "network.isolate")]
    NetworkIsolate,
    /// What the target does to its disk takes longer.
    #[serde(rename = "disk.slow")]
    DiskSlow,
    /// The target's disk has no room.
    #[serde(rename = "disk.fill")]
    DiskFill,
    /// What the target does to its disk fails.
    #[serde(rename = "disk.fail")]
    DiskFail,
    /// Nothing on the target's disk can be changed.
    #[serde(rename = "disk.read-only")]
    DiskReadOnly,
    /// The target's time of day is another one.
    #[serde(rename = "clock.skew")]
    ClockSkew,
    /// A node gets only a share of the time.
    #[serde(rename = "cpu.starve")]
    CpuStarve,
    /// SIGKILL to clients that are programs.
    #[serde(rename = "client.kill")]
    ClientKill,
    /// SIGSTOP to clients that are programs.
    #[serde(rename = "client.pause")]
    ClientPause,
    /// SIGSTOP to clients that are programs, whose places others take, and then they go on.
    #[serde(rename = "client.zombie")]
    ClientZombie,
}

impl ActionName {
    /// All of them, in the order of their danger.
    pub const ALL: [Self; 40] = [
        Self::ClientPause,
        Self::ClientKill,
        Self::ClientZombie,
        Self::ElectionPreferred,
        Self::LeaderImbalance,
        Self::QuotaChange,
        Self::ConfigChange,
        Self::PartitionReassign,
        Self::TopicAddPartitions,
        Self::FeatureUpgrade,
        Self::BrokerAdd,
        Self::QuorumAddVoter,
        Self::QuorumRemoveVoter,
        Self::BrokerRemove,
        Self::BrokerRestart,
        Self::BrokerStop,
        Self::BrokerBounce,
        Self::BrokerSlowStart,
        Self::BrokerKill,
        Self::BrokerPause,
        Self::BrokerRollingRestart,
        Self::BrokerRollingUpgrade,
        Self::BrokerKillAll,
        Self::ElectionUnclean,
        Self::BrokerPowerLoss,
        Self::TopicDeleteRecreate,
        Self::QuorumLoss,
        Self::NetworkDelay,
        Self::NetworkBandwidth,
        Self::NetworkReset,
        Self::NetworkHalfOpen,
        Self::NetworkBlackHole,
        Self::NetworkPartition,
        Self::NetworkIsolate,
        Self::ClockSkew,
        Self::CpuStarve,
        Self::DiskSlow,
        Self::DiskReadOnly,
        Self::DiskFill,
        Self::DiskFail,
    ];

    /// The name in scenarios.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ElectionPreferred => "election.preferred",
            Self::ElectionUnclean => "election.unclean",
            Self::LeaderImbalance => "leader.imbalance",
            Self::QuotaChange => "quota.change",
            Self::ConfigChange => "config.change",
            Self::PartitionReassign => "partition.reassign",
            Self::TopicAddPartitions => "topic.add-partitions",
            Self::TopicDeleteRecreate => "topic.delete-recreate",
            Self::FeatureUpgrade => "feature.upgrade",
            Self::BrokerAdd => "broker.add",
            Self::BrokerRemove => "broker.remove",
            Self::QuorumAddVoter => "quorum.add-voter",
            Self::QuorumRemoveVoter => "quorum.remove-voter",
            Self::BrokerKill => "broker.kill",
            Self::BrokerStop => "broker.stop",
            Self::BrokerPause => "broker.pause",
            Self::BrokerRestart => "broker.restart",
            Self::BrokerBounce => "broker.bounce",
            Self::BrokerSlowStart => "broker.slow-start",
            Self::BrokerRollingRestart => "broker.rolling-restart",
            Self::BrokerRollingUpgrade => "broker.rolling-upgrade",
            Self::BrokerKillAll => "broker.kill-all",
            Self::BrokerPowerLoss => "broker.power-loss",
            Self::QuorumLoss => "quorum.loss",
            Self::NetworkDelay => "network.delay",
            Self::NetworkBandwidth => "network.bandwidth",
            Self::NetworkReset => "network.reset",
            Self::NetworkHalfOpen => "network.half-open",
            Self::NetworkBlackHole => "network.black-hole",
            Self::NetworkPartition => "network.partition",
            Self::NetworkIsolate => "network.isolate",
            Self::DiskSlow => "disk.slow",
            Self::DiskFill => "disk.fill",
            Self::DiskFail => "disk.fail",
            Self::DiskReadOnly => "disk.read-only",
            Self::ClockSkew => "clock.skew",
            Self::CpuStarve => "cpu.starve",
            Self::ClientKill => "client.kill",
            Self::ClientPause => "client.pause",
            Self::ClientZombie => "client.zombie",
        }
    }

    /// What ends it, where its arguments don't say otherwise; None for one that is over at once.
    #[must_use]
    pub fn heal_action(self) -> Option<HealAction> {
        match self {
            Self::BrokerKill | Self::BrokerStop | Self::BrokerKillAll | Self::BrokerPowerLoss => {
                Some(HealAction::BrokerStart)
            }
            Self::BrokerPause | Self::QuorumLoss => Some(HealAction::BrokerResume),
            Self::NetworkDelay
            | Self::NetworkBandwidth
            | Self::NetworkReset
            | Self::NetworkHalfOpen
            | Self::NetworkBlackHole
            | Self::NetworkPartition
            | Self::NetworkIsolate => Some(HealAction::NetworkHeal),
            Self::DiskSlow | Self::DiskFill | Self::DiskFail | Self::DiskReadOnly => {
                Some(HealAction::DiskHeal)
            }
            Self::ClockSkew => Some(HealAction::ClockHeal),
            Self::CpuStarve => Some(HealAction::CpuHeal),
            Self::ClientKill => Some(HealAction::ClientStart),
            Self::ClientPause | Self::ClientZombie => Some(HealAction::ClientResume),
            Self::LeaderImbalance
            | Self::QuotaChange
            | Self::ConfigChange
            | Self::PartitionReassign
            | Self::TopicDeleteRecreate
            | Self::BrokerAdd
            | Self::BrokerRemove
            | Self::QuorumAddVoter
            | Self::QuorumRemoveVoter => Some(HealAction::OperationUndo),
            Self::BrokerRestart
            | Self::BrokerBounce
            | Self::BrokerSlowStart
            | Self::BrokerRollingRestart
            | Self::BrokerRollingUpgrade
            | Self::ElectionPreferred
            | Self::ElectionUnclean
            | Self::TopicAddPartitions
            | Self::FeatureUpgrade => None,
        }
    }

    /// Why it is over at once, if it is.
    #[must_use]
    pub fn why_momentary(self) -> Option<&'static str> {
        match self {
            Self::BrokerRestart
            | Self::BrokerBounce
            | Self::BrokerSlowStart
            | Self::BrokerRollingRestart
            | Self::BrokerRollingUpgrade => Some("its broker is started again at once"),
            Self::ElectionPreferred => Some("there is nothing to undo"),
            Self::ElectionUnclean => Some("what it loses is gone for good"),
            Self::TopicAddPartitions => Some("Kafka removes no partitions"),
            Self::FeatureUpgrade => Some("Kafka vouches for no way back"),
            _ => None,
        }
    }
}

/// How the voters of a `quorum.loss` are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossBy {
    /// SIGSTOP.
    #[default]
    Pause,
    /// SIGKILL.
    Kill,
}

impl FaultAction {
    /// What scenarios call it.
    #[must_use]
    pub fn action_name(&self) -> ActionName {
        match self {
            Self::BrokerKill => ActionName::BrokerKill,
            Self::BrokerStop => ActionName::BrokerStop,
            Self::BrokerPause => ActionName::BrokerPause,
            Self::BrokerRestart => ActionName::BrokerRestart,
            Self::BrokerBounce => ActionName::BrokerBounce,
            Self::BrokerSlowStart { .. } => ActionName::BrokerSlowStart,
            Self::BrokerRollingRestart => ActionName::BrokerRollingRestart,
            Self::BrokerRollingUpgrade { .. } => ActionName::BrokerRollingUpgrade,
            Self::BrokerKillAll => ActionName::BrokerKillAll,
            Self::BrokerPowerLoss { .. } => ActionName::BrokerPowerLoss,
            Self::QuorumLoss(_) => ActionName::QuorumLoss,
            Self::Network(fault) => match fault.effect {
                NetworkEffect::Delay { .. } => ActionName::NetworkDelay,
                NetworkEffect::Bandwidth { .. } => ActionName::NetworkBandwidth,
                NetworkEffect::Reset => ActionName::NetworkReset,
                NetworkEffect::HalfOpen => ActionName::NetworkHalfOpen,
                NetworkEffect::BlackHole => ActionName::NetworkBlackHole,
                NetworkEffect::Partition => ActionName::NetworkPartition,
                NetworkEffect::Isolate => ActionName::NetworkIsolate,
            },
            Self::Disk(fault) => match fault {
                DiskFault::Slow { .. } => ActionName::DiskSlow,
                DiskFault::Fill => ActionName::DiskFill,
                DiskFault::Fail { .. } => ActionName::DiskFail,
                DiskFault::ReadOnly => ActionName::DiskReadOnly,
            },
            Self::ClockSkew { .. } => ActionName::ClockSkew,
            Self::CpuStarve { .. } => ActionName::CpuStarve,
            Self::Client(fault) => match fault {
                ClientFault::Kill => ActionName::ClientKill,
                ClientFault::Pause => ActionName::ClientPause,
                ClientFault::Zombie => ActionName::ClientZombie,
            },
            Self::Operation(operation) => match operation {
                Operation::ConfigChange(_) => ActionName::ConfigChange,
                Operation::PartitionReassign(_) => ActionName::PartitionReassign,
                Operation::LeaderImbalance(_) => ActionName::LeaderImbalance,
                Operation::ElectionPreferred(_) => ActionName::ElectionPreferred,
                Operation::ElectionUnclean(_) => ActionName::ElectionUnclean,
                Operation::TopicAddPartitions(_) => ActionName::TopicAddPartitions,
                Operation::TopicDeleteRecreate(_) => ActionName::TopicDeleteRecreate,
                Operation::FeatureUpgrade(_) => ActionName::FeatureUpgrade,
                Operation::BrokerAdd(_) => ActionName::BrokerAdd,
                Operation::BrokerRemove(_) => ActionName::BrokerRemove,
                Operation::QuorumAddVoter(_) => ActionName::QuorumAddVoter,
                Operation::QuorumRemoveVoter(_) => ActionName::QuorumRemoveVoter,
                Operation::QuotaChange(_) => ActionName::QuotaChange,
            },
        }
    }

    /// The name in scenarios.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.action_name().name()
    }

    /// Whether it goes from broker to broker, and takes as long as that takes.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        matches!(self, Self::BrokerRollingRestart | Self::BrokerRollingUpgrade { .. })
    }

    /// What ends it; None for one that is over at once.
    #[must_use]
    pub fn heal_action(&self) -> Option<HealAction> {
        match self {
            Self::QuorumLoss(LossBy::Kill) => Some(HealAction::BrokerStart),
            _ => self.action_name().heal_action(),
        }
    }

    /// Whether it is over at once: its victim is started again, or there is nothing to undo.
    #[must_use]
    pub fn is_momentary(&self) -> bool {
        self.heal_action().is_none()
    }
}

/// What ends a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum HealAction {
    /// The process is started again on its data.
    #[serde(rename = "broker.start")]
    BrokerStart,
    /// SIGCONT.
    #[serde(rename = "broker.resume")]
    BrokerResume,
    /// The network is as it was.
    #[serde(rename = "network.heal")]
    NetworkHeal,
    /// The disk is as it was, and a broker that it ended runs again.
    #[serde(rename = "disk.heal")]
    DiskHeal,
    /// The clock is right.
    #[serde(rename = "clock.heal")]
    ClockHeal,
    /// It gets all of the time.
    #[serde(rename = "cpu.heal")]
    CpuHeal,
    /// Another program takes the client's place.
    #[serde(rename = "client.start")]
    ClientStart,
    /// SIGCONT to the client.
    #[serde(rename = "client.resume")]
    ClientResume,
    /// What was before is put back.
    #[serde(rename = "operation.undo")]
    OperationUndo,
}

impl HealAction {
    /// The name in scenarios.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BrokerStart => "broker.start",
            Self::BrokerResume => "broker.resume",
            Self::NetworkHeal => "network.heal",
            Self::DiskHeal => "disk.heal",
            Self::ClockHeal => "clock.heal",
            Self::CpuHeal => "cpu.heal",
            Self::ClientStart => "client.start",
            Self::ClientResume => "client.resume",
            Self::OperationUndo => "operation.undo",
        }
    }
}

/// The end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recover {
    /// What ends it; the one that fits the fault's action.
    pub action: HealAction,
    /// How long after the fault.
    pub after: Duration,
}

/// Who is hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The leader of a partition.
    Leader {
        /// Topic, one of the scenario's. May hold `${run.id}`.
        topic: String,
        /// Which of its partitions.
        partition: PartitionChoice,
    },
    /// Every replica of a partition but its leader.
    Followers {
        /// Topic, one of the scenario's. May hold `${run.id}`.
        topic: String,
        /// Which of its partitions.
        partition: u32,
    },
    /// The active controller of the KRaft quorum.
    Controller,
    /// A broker that is drawn with the seed.
    Broker {
        /// Whether the broker that is the active controller is spared.
        not_controller: bool,
    },
    /// The node of this number: a broker (1 and up) or a controller of its own (101 and up).
    Id(u16),
    /// The nodes of these numbers, all at once; ascending, two at least.
    Ids(Vec<u16>),
    /// Every broker: at once for `broker.kill-all` and `broker.power-loss`, in turn for `broker.rolling-restart` and `broker.rolling-upgrade`.
    AllBrokers,
    /// Enough voters of the quorum, for `quorum.loss`.
    EnoughVoters,
    /// No node: clients of the run.
    Clients(ClientTarget),
    /// No node: the cluster, for operations.
    Cluster,
}

impl Target {
    /// The nodes that it names by their numbers.
    #[must_use]
    pub fn numbers(&self) -> &[u16] {
        match self {
            Self::Id(id) => std::slice::from_ref(id),
            Self::Ids(ids) => ids,
            _ => &[],
        }
    }

    /// The topic that it names.
    #[must_use]
    pub fn topic_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Leader { topic, .. } | Self::Followers { topic, .. } => Some(topic),
            Self::Controller
            | Self::Broker { .. }
            | Self::Id(_)
            | Self::Ids(_)
            | Self::AllBrokers
            | Self::EnoughVoters
            | Self::Clients(_)
            | Self::Cluster => None,
        }
    }
}

/// Which partition's leader is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionChoice {
    /// The one of this number.
    Number(u32),
    /// The lowest that has a leader.
    Lowest,
    /// The lowest whose leader is not the active controller.
    LowestNotController,
}

/// Whom a fault spares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotController {
    /// The node that is the active controller when the fault is due.
    Controller,
}

/// Whether open faults are healed when the run ends early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rollback {
    /// Whenever the run ends.
    #[default]
    Always,
    /// Only when the run ends before its time.
    OnFailure,
    /// Never: the cluster stays as it is.
    Never,
}
