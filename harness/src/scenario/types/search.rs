//! The search for the highest rate that holds.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::units::{Duration, Fraction, Rate};

/// What is searched, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The rate of the first trial, at least 1.
    pub low: Rate,
    /// No trial is faster. At least `low`.
    pub high: Rate,
    /// How close the highest rate that holds and the lowest one that does not have to be: 2 % is a factor of 1.02.
    pub resolution: Fraction,
    /// Length of a trial after its warm-up.
    pub trial: Duration,
    /// Length of a trial that confirms the rate that was found.
    pub confirm: Duration,
    /// Expressions that must all hold for a rate to hold; at least one.
    pub sustainable: Vec<String>,
    /// What the user needs: headroom is told against it.
    pub target: Option<Rate>,
    /// Pause between two trials.
    pub cooldown: Duration,
    /// Load at the rate `low` before the first trial on a cluster, which is part of no result. Zero: none.
    pub warmup: Duration,
    /// Whether it is repeated with less of the cluster.
    pub headroom: Option<Headroom>,
}

/// With what a search is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Headroom {
    /// One broker fewer.
    #[serde(rename = "n-1")]
    OneDown,
}

/// How the next rate is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SearchMethod {
    /// Twice the rate until one does not hold, then the middle, by factors.
    Binary,
}
