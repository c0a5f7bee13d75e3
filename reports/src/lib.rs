//! Metrics, expectations, verdicts and the run record: pure, no I/O.
//!
//! - [`metric`]: what can be measured, its unit and statistics, and which part of a plan produces it
//! - [`expect`]: the expectation grammar, parsed and type-checked before anything starts
//! - [`evaluate`]: expectations against what was observed
//! - [`verdict`]: PASS, FAIL, VIOLATION, INCONCLUSIVE
//! - [`exit_code`]: what a pipeline sees of them
//! - [`mod@record`]: what a run found, `run.json`
//! - [`mod@junit`]: that, for CI servers
//! - [`run_data`]: that and the series beside it: what a report is rendered from
//! - [`html`]: that report
//! - [`sweep`]: what a sweep found, `sweep.json`
//! - [`search`]: what a search for the highest rate found, `search.json`

pub mod evaluate;
pub mod exit_code;
pub mod expect;
pub mod html;
pub mod junit;
pub mod metric;
pub mod quantity;
pub mod record;
pub mod run_data;
pub mod search;
pub mod sweep;
pub mod verdict;

pub use evaluate::{Doubt, Judged, Observations, Observed, Truth, evaluate};
pub use exit_code::ExitReason;
pub use expect::{ExpectError, Expectation, Severity};
pub use metric::{Capabilities, Metric, Stat, Unit};
pub use verdict::Verdict;
