//! How much is sent, for how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Overflow, Search, Warmup};
use crate::units::{Duration, Rate};

/// How much is sent, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Form of the traffic.
    pub shape: Shape,
    /// How records are spread where the rate does not change.
    pub arrival: Arrival,
    /// Load before the measurement begins.
    pub warmup: Warmup,
    /// Longest wait after the load for what was acked to be read.
    pub drain: Duration,
    /// What happens to records that the brokers don't take in time.
    pub overflow: Overflow,
    /// For a load of some producers' own: when it begins, counted from the end of the warm-up.
    pub start: Duration,
}

/// Form of the traffic. Rates are of all producers of the load together.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Open model: one rate.
    Constant {
        /// Messages per second, at least 1.
        rate: Rate,
        /// Time after the warm-up, above zero.
        duration: Duration,
    },
    /// From one rate to another in a straight line.
    Ramp {
        /// First rate.
        from: Rate,
        /// Last rate.
        to: Rate,
        /// Time in between.
        duration: Duration,
    },
    /// A staircase.
    Step {
        /// Rate of the first level.
        from: Rate,
        /// What each level has more than the one before.
        increment: Rate,
        /// Number of levels.
        levels: u32,
        /// Length of a level.
        level_duration: Duration,
        /// Length of the ramp between two levels.
        ramp_between: Duration,
    },
    /// A burst on top of a constant rate.
    Spike {
        /// Rate before and after.
        base: Rate,
        /// Rate of the burst.
        peak: Rate,
        /// When it begins.
        spike_at: Duration,
        /// How long it lasts.
        spike_for: Duration,
        /// Length of the whole.
        duration: Duration,
    },
    /// Straight lines from one target to the next, the first from zero; as in k6.
    Stages(Vec<Stage>),
    /// Closed model: as fast as the brokers take it.
    Unlimited {
        /// When it ends.
        extent: Extent,
        /// Records that each producer may have under way at once; `None`: as many as the client's own limits let it.
        slots: Option<u64>,
    },
    /// A recorded load, record by record.
    Replay {
        /// The recording: CSV or NDJSON, relative to where gauntlet is called.
        file: String,
        /// How many times as fast as it was recorded; above zero.
        speed: f64,
    },
    /// A series of constant loads that finds the highest rate that holds. By itself, this stands for the first of them.
    MaxSearch(Search),
}

/// One stage: a ramp to `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with `target` and `duration`")]
pub struct Stage {
    /// Messages per second at its end.
    pub target: Rate,
    /// How long it takes to get there.
    pub duration: Duration,
}

impl Shape {
    /// How long load is sent after the warm-up, where that is known beforehand.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Self::Constant { duration, .. } | Self::Ramp { duration, .. } | Self::Spike { duration, .. } => {
                Some(*duration)
            }
            Self::Step { levels, level_duration, ramp_between, .. } => {
                let all = level_duration.as_ns().saturating_mul(u64::from(*levels));
                let ramps = ramp_between.as_ns().saturating_mul(u64::from(levels.saturating_sub(1)));
                Some(Duration::from_ns(all.saturating_add(ramps)))
            }
            Self::Stages(stages) => {
                Some(stages.iter().fold(Duration::ZERO, |sum, stage| sum.saturating_add(stage.duration)))
            }
            Self::Unlimited { extent: Extent::Duration(duration), .. } => Some(*duration),
            Self::Unlimited { extent: Extent::Messages(_), .. } | Self::Replay { .. } => None,
            Self::MaxSearch(search) => Some(search.trial),
        }
    }

    /// Whether records have intended times.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        !matches!(self, Self::Unlimited { .. })
    }
}

/// When an unlimited load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// After so long, not counting the warm-up.
    Duration(Duration),
    /// After so many messages, not counting those of the warm-up.
    Messages(u64),
}

/// How records are spread where the rate does not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// At even distances.
    #[default]
    Uniform,
    /// At random, each independent of the others (a Poisson process).
    Poisson,
}
