//! Which rate is tried next. No I/O, no clock, no randomness: the answers so far decide.
//!
//! 1. **Up**: `low`, then twice the rate each time, until one does not hold or `high` does. If `low` does not hold: down, a
//!    quarter each time, a few times.
//! 2. **Between**: the middle, by factors, of the highest rate that held and the lowest that did not, until they are as close
//!    as the resolution.
//! 3. **Confirm**: the highest rate that held, in a longer trial. If it does not hold, the next lower one, by one resolution, then
//!    two, four, …, a few times.
//!
//! A trial of which nobody can say whether the cluster or gauntlet was the limit is repeated once; then its rate counts as one
//! that did not hold, and the answer as one that may not be the cluster's.
//!
//! Every search ends, after at most [`Limits::trials_max`] trials, and no rate is ever below 1 or above `high`.

use gauntlet_reports::search::{Finding, Hold, Limit, Stage};

/// How often a search that began too high goes down to a quarter: to 1/256 of `low`.
const STEPS_DOWN_MAX: u32 = 4;
/// The factor of a step down.
const DOWN: u64 = 4;
/// The factor of a step up.
const UP: u64 = 2;
/// What the end of a trial may cut off of what is under way, as a share: so little is no lower rate. The finest resolution that a
/// search may have.
const CUT_OFF_MAX: f64 = 0.001;
/// How often a rate that was not confirmed is lowered.
const CONFIRMATIONS_MAX: u32 = 5;

/// Between which rates is searched, and how closely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Rate of the first trial, messages per second; at least 1.
    pub low_per_s: u64,
    /// No rate is higher; at least `low_per_s`.
    pub high_per_s: u64,
    /// How close the highest rate that holds and the lowest that does not have to be: 0.02 is a factor of 1.02. Above 0.
    pub resolution: f64,
}

impl Limits {
    /// Trials at the most, whatever they come to.
    #[must_use]
    pub fn trials_max(&self) -> u32 {
        // Every trial may have to be repeated.
        2 * (self.trials_until_found() + 1 + CONFIRMATIONS_MAX)
    }

    /// Trials at the most if every one has a clear result and the first confirmation holds.
    #[must_use]
    pub fn trials_expected(&self) -> u32 {
        self.trials_until_found() + 1
    }

    fn trials_until_found(&self) -> u32 {
        let span = self.high_per_s.max(1) as f64 / self.low_per_s.max(1) as f64;
        let up = span.log2().ceil().max(0.0) as u32 + 1;
        let upwards = up + self.halvings(UP as f64);
        let downwards = 1 + STEPS_DOWN_MAX + self.halvings(DOWN as f64);
        upwards.max(downwards)
    }

    /// How often an interval of this factor is halved until it is as narrow as the resolution. Whole rates cost one more at the
    /// most: the middle is rounded.
    fn halvings(&self, factor: f64) -> u32 {
        let needed = (factor.ln() / (1.0 + self.resolution).ln()).log2().ceil();
        needed.max(0.0) as u32 + 1
    }
}

/// What a trial came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Whether the rate held.
    pub hold: Hold,
    /// Records acked per second, if that was measured.
    pub achieved_per_s: Option<f64>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A trial.
    Try {
        /// At this rate.
        rate_per_s: u64,
        /// For this.
        stage: Stage,
    },
    /// Nothing more.
    End(Finding),
}

/// A rate that did not hold.
#[derive(Debug, Clone, Copy)]
struct NotHeld {
    rate_per_s: u64,
    limit: Limit,
}

#[derive(Debug, Clone)]
enum Phase {
    Find { steps_down: u32 },
    Confirm { lowered: u32 },
    Ended(Finding),
}

/// A search under way.
#[derive(Debug, Clone)]
pub struct Rates {
    limits: Limits,
    phase: Phase,
    /// What is tried now.
    rate_per_s: u64,
    /// Whether it is tried for the second time, because the first proved nothing.
    is_repeated: bool,
    trials: u32,
    highest_held: Option<u64>,
    lowest_not_held: Option<NotHeld>,
}

impl Rates {
    /// A search that begins with `low`.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let low_per_s = limits.low_per_s.max(1);
        let limits = Limits { low_per_s, high_per_s: limits.high_per_s.max(low_per_s), ..limits };
        Rates {
            limits,
            phase: Phase::Find { steps_down: 0 },
            rate_per_s: low_per_s,
            is_repeated: false,
            trials: 0,
            highest_held: None,
            lowest_not_held: None,
        }
    }

    /// What is to be done now. Asking changes nothing.
    #[must_use]
    pub fn step(&self) -> Step {
        let stage = match &self.phase {
            Phase::Find { .. } => Stage::Search,
            Phase::Confirm { .. } => Stage::Confirm,
            Phase::Ended(finding) => return Step::End(finding.clone()),
        };
        Step::Try { rate_per_s: self.rate_per_s, stage }
    }

    /// Takes in what the trial came to that [`step`](Self::step) asked for.
    pub fn tell(&mut self, answer: Answer) {
        self.trials += 1;
        if answer.hold == Hold::Unknown && !self.is_repeated {
            self.is_repeated = true;
            return;
        }
        self.is_repeated = false;
        let limit = match answer.hold {
            // Rules may let a rate pass at which nothing arrives; it is none.
            Hold::Held if answer.achieved_per_s.is_some_and(|rate| rate < 1.0) => Some(Limit::Cluster),
            Hold::Held => None,
            Hold::Broke => Some(Limit::Cluster),
            Hold::Unknown => Some(Limit::Ourselves),
        };
        match limit {
            None => self.highest_held = Some(self.rate_per_s),
            Some(limit) => {
                self.lowest_not_held = Some(NotHeld { rate_per_s: self.rate_per_s, limit });
            }
        }
        match self.phase {
            Phase::Find { steps_down } => self.find_on(steps_down),
            Phase::Confirm { .. } if limit.is_none() => self.confirmed(answer.achieved_per_s),
            Phase::Confirm { lowered } => self.lower(lowered),
            Phase::Ended(_) => {}
        }
    }

    /// The next rate between what held and what did not, or the begin of the confirmation.
    fn find_on(&mut self, steps_down: u32) {
        match (self.highest_held, self.lowest_not_held) {
            (Some(held), None) if held == self.limits.high_per_s => self.confirm(held),
            (Some(held), None) => {
                self.rate_per_s = held.saturating_mul(UP).min(self.limits.high_per_s);
            }
            (None, Some(not_held)) => {
                if steps_down == STEPS_DOWN_MAX || not_held.rate_per_s == 1 {
                    return self.end(None);
                }
                self.rate_per_s = (not_held.rate_per_s / DOWN).max(1);
                self.phase = Phase::Find { steps_down: steps_down + 1 };
            }
            (Some(held), Some(not_held)) => match self.middle(held, not_held.rate_per_s) {
                Some(middle) => self.rate_per_s = middle,
                None => self.confirm(held),
            },
            (None, None) => {}
        }
    }

    /// The middle by factors; `None` if both are as close as the resolution, or nothing is between them.
    fn middle(&self, held: u64, not_held: u64) -> Option<u64> {
        let is_close = not_held as f64 <= held as f64 * (1.0 + self.limits.resolution);
        if is_close || not_held <= held + 1 {
            return None;
        }
        let middle = (held as f64 * not_held as f64).sqrt().round() as u64;
        Some(middle.clamp(held + 1, not_held - 1))
    }

    fn confirm(&mut self, rate_per_s: u64) {
        self.rate_per_s = rate_per_s;
        self.phase = Phase::Confirm { lowered: 0 };
    }

    /// The answer: what was acked counts, not what was sent.
    fn confirmed(&mut self, achieved_per_s: Option<f64>) {
        let intended = self.rate_per_s as f64;
        let short = achieved_per_s.filter(|rate| *rate < intended * (1.0 - CUT_OFF_MAX));
        if short.is_some() && self.lowest_not_held.is_none() {
            // What was sent was too much, whatever `sustainable` says of it: the answer is no lower bound.
            self.lowest_not_held = Some(NotHeld { rate_per_s: self.rate_per_s, limit: Limit::Cluster });
        }
        self.end(Some(short.unwrap_or(intended)));
    }

    /// The next lower rate to confirm.
    fn lower(&mut self, lowered: u32) {
        if lowered == CONFIRMATIONS_MAX || self.rate_per_s == 1 {
            return self.end(None);
        }
        let factor = (1.0 + self.limits.resolution).powi(1 << lowered);
        let lower = (self.rate_per_s as f64 / factor) as u64;
        self.rate_per_s = lower.clamp(1, self.rate_per_s - 1);
        self.phase = Phase::Confirm { lowered: lowered + 1 };
    }

    fn end(&mut self, rate_per_s: Option<f64>) {
        self.phase = Phase::Ended(Finding {
            rate_per_s,
            confirmed_by: rate_per_s.map(|_| self.trials),
            not_held_per_s: self.lowest_not_held.map(|not_held| not_held.rate_per_s),
            limit: self.lowest_not_held.map_or(Limit::High, |not_held| not_held.limit),
        });
    }
}

#[cfg(test)]
mod tests;
