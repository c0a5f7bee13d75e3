//! What is broken on purpose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Duration;

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
    /// How it ends. None: it lasts until the run ends.
    pub recover: Option<Recover>,
}

impl Fault {
    /// When it ends, counted from the end of the warm-up.
    #[must_use]
    pub fn heals_at(&self) -> Option<Duration> {
        self.recover.map(|recover| self.at.saturating_add(recover.after))
    }
}

/// What is done to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum FaultAction {
    /// SIGKILL.
    #[serde(rename = "broker.kill")]
    BrokerKill,
    /// SIGTERM: a controlled shutdown.
    #[serde(rename = "broker.stop")]
    BrokerStop,
    /// SIGSTOP.
    #[serde(rename = "broker.pause")]
    BrokerPause,
}

impl FaultAction {
    /// The name in scenarios.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BrokerKill => "broker.kill",
            Self::BrokerStop => "broker.stop",
            Self::BrokerPause => "broker.pause",
        }
    }

    /// What ends it.
    #[must_use]
    pub fn heal_action(self) -> HealAction {
        match self {
            Self::BrokerKill | Self::BrokerStop => HealAction::BrokerStart,
            Self::BrokerPause => HealAction::BrokerResume,
        }
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
}

impl HealAction {
    /// The name in scenarios.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BrokerStart => "broker.start",
            Self::BrokerResume => "broker.resume",
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
    /// The active controller of the KRaft quorum.
    Controller,
    /// A broker that is drawn with the seed.
    Broker {
        /// Whether the broker that is the active controller is spared.
        not_controller: bool,
    },
    /// The node of this number: a broker (1 and up) or a controller of its own (101 and up).
    Id(u16),
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
