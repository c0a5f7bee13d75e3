//! A search for the highest rate that a cluster sustains: a series of trials, each an ordinary run at a constant rate with a
//! directory of its own below the search's.
//!
//! - [`rates`]: which rate is tried next, from what the trials before came to; pure
//! - [`plan`](mod@plan): how long it may take, and what it needs; made before anything starts
//! - [`execute`](mod@execute): trials one after the other, `search.json` written as it goes
//! - [`report`]: the report of a search, from its directory alone
//!
//! **What a trial is worth.** All trials go on one cluster, which is warmed up first. Each has a topic of its own, and the next one
//! begins when it is gone from the brokers' disks and a pause is over, so that what an overloaded trial left behind does not
//! spoil its successor. A rate is approached from below, because the other way round the first trial would be the one that
//! overloads the cluster most. What a short trial found has to hold in a longer one before it is the answer, and the answer is
//! never more than was acked per second while it was confirmed.

pub mod execute;
pub mod plan;
pub mod rates;
pub mod report;

pub use execute::{SearchListener, execute};
pub use plan::{SearchPlan, SearchPlanOptions, plan};

/// Name of the summary of a search, in its directory.
pub const SEARCH_JSON: &str = "search.json";
