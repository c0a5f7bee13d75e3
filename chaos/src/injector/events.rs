//! What the injector tells while it works: for the terminal and for `faults.ndjson`.

use serde::{Deserialize, Serialize};

use crate::target::ResolvedTarget;

/// One step of one fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEvent {
    /// When it happened; CLOCK_MONOTONIC, nanoseconds.
    pub at_ns: u64,
    /// Name of the fault.
    pub fault: String,
    /// What happened.
    pub step: FaultStep,
}

/// What happened to a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultStep {
    /// The victim is known and the journal written; the injection comes next.
    Injecting {
        /// The victim.
        target: ResolvedTarget,
    },
    /// The effect was seen.
    TookEffect {
        /// When the signal was sent; CLOCK_MONOTONIC, nanoseconds.
        injected_ns: u64,
    },
    /// It was not injected, or not seen to act.
    Failed {
        /// Why.
        error: String,
    },
    /// Healing began.
    HealBegan,
    /// The victim is whole.
    Healed,
    /// It is not, and it was given up.
    HealFailed {
        /// Why.
        error: String,
    },
}
