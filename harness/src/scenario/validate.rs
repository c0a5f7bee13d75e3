//! t
use super::diagnostic::Sources; use super::problems::Problems; use super::types::Scenario; use super::ExpectationCheck;
pub(crate) fn validate(_s: &Scenario, _so: &Sources, _c: Option<ExpectationCheck<'_>>, _p: &mut Problems<'_>) {}
