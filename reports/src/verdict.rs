//! The verdict of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::evaluate::{Judged, Outcome};
use crate::exit_code::ExitReason;
use crate::expect::Severity;

/// What a run proved. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every expectation held and no guarantee was violated.
    Pass,
    /// Nothing broke that is valid, but something is unknown.
    Inconclusive,
    /// A valid expectation was broken.
    Fail,
    /// A guarantee was violated.
    Violation,
}

impl Verdict {
    /// Any violation, else any broken expectation, else anything unknown, else PASS.
    pub fn fold(violations: u64, judged: &[Judged], unknowns: usize) -> Verdict {
        let counts = |outcome| judged.iter().any(|j| j.severity == Severity::Fail && j.outcome == outcome);
        if violations > 0 {
            Verdict::Violation
        } else if counts(Outcome::Broken) {
            Verdict::Fail
        } else if counts(Outcome::Unknown) || unknowns > 0 {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }

    /// The exit reason that it gives by itself.
    pub fn exit_reason(self) -> ExitReason {
        match self {
            Verdict::Pass => ExitReason::Pass,
            Verdict::Inconclusive => ExitReason::Inconclusive,
            Verdict::Fail => ExitReason::ExpectationFailed,
            Verdict::Violation => ExitReason::Violation,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Pass => "PASS",
            Verdict::Inconclusive => "INCONCLUSIVE",
            Verdict::Fail => "FAIL",
            Verdict::Violation => "VIOLATION",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(outcome: Outcome, severity: Severity) -> Judged {
        Judged {
            rule: "r".into(),
            during: "all".into(),
            severity,
            builtin: false,
            outcome,
            observed: None,
            limit: 0.0,
            unit: crate::metric::Unit::Count,
            reason: None,
        }
    }

    #[test]
    fn the_worst_counts_and_warnings_do_not() {
        let ok = || judged(Outcome::Held, Severity::Fail);
        let broken = || judged(Outcome::Broken, Severity::Fail);
        let unknown = || judged(Outcome::Unknown, Severity::Fail);
        assert_eq!(Verdict::fold(0, &[ok()], 0), Verdict::Pass);
        assert_eq!(Verdict::fold(0, &[ok(), unknown()], 0), Verdict::Inconclusive);
        assert_eq!(Verdict::fold(0, &[ok()], 1), Verdict::Inconclusive);
        assert_eq!(Verdict::fold(0, &[broken(), unknown()], 1), Verdict::Fail);
        assert_eq!(Verdict::fold(1, &[broken()], 0), Verdict::Violation);
        let warned =
            [ok(), judged(Outcome::Broken, Severity::Warn), judged(Outcome::Unknown, Severity::Info)];
        assert_eq!(Verdict::fold(0, &warned, 0), Verdict::Pass);
        assert!(Verdict::Violation > Verdict::Fail && Verdict::Inconclusive > Verdict::Pass);
    }
}
