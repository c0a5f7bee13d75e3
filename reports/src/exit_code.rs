//! Exit codes, and which one wins when several apply.

use serde::{Deserialize, Serialize};

/// Why a process ended as it did. In order of precedence, the weightiest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// A fault could not be undone.
    RollbackFailed,
    /// A guarantee was violated.
    Violation,
    /// A bug of gauntlet, or an operating system that refused.
    InternalError,
    /// An expectation was broken.
    ExpectationFailed,
    /// Worse than the baseline.
    Regression,
    /// Ended by a signal.
    Aborted,
    /// The environment, or the steady state before load, was not reached.
    Environment,
    /// Something that the verdict depends on is unknown.
    Inconclusive,
    /// The scenario is invalid.
    InvalidScenario,
    /// Nothing ran.
    NothingRan,
    /// The command line was not understood.
    Usage,
    /// Everything held.
    Pass,
}

impl ExitReason {
    /// All reasons, in order of precedence.
    pub const ALL: [ExitReason; 12] = [
        ExitReason::RollbackFailed,
        ExitReason::Violation,
        ExitReason::InternalError,
        ExitReason::ExpectationFailed,
        ExitReason::Regression,
        ExitReason::Aborted,
        ExitReason::Environment,
        ExitReason::Inconclusive,
        ExitReason::InvalidScenario,
        ExitReason::NothingRan,
        ExitReason::Usage,
        ExitReason::Pass,
    ];

    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            ExitReason::Pass => 0,
            ExitReason::InternalError => 1,
            ExitReason::Usage => 2,
            ExitReason::InvalidScenario => 3,
            ExitReason::NothingRan => 4,
            ExitReason::Inconclusive => 5,
            ExitReason::Environment => 6,
            ExitReason::RollbackFailed => 7,
            ExitReason::Regression => 98,
            ExitReason::ExpectationFailed => 99,
            ExitReason::Violation => 100,
            ExitReason::Aborted => 105,
        }
    }

    /// The weightiest of several; `NothingRan` of none.
    pub fn worst(reasons: impl IntoIterator<Item = ExitReason>) -> ExitReason {
        reasons.into_iter().min().unwrap_or(ExitReason::NothingRan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_is_that_of_the_documentation() {
        let codes: Vec<u8> = ExitReason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes, [7, 100, 1, 99, 98, 105, 6, 5, 3, 4, 2, 0]);
        for pair in ExitReason::ALL.windows(2) {
            assert_eq!(ExitReason::worst([pair[1], pair[0]]), pair[0]);
        }
        assert_eq!(ExitReason::worst([]), ExitReason::NothingRan);
    }
}
