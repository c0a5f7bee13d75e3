//! Rules of `load`.

use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Extent, Load, Shape, Warmup};
use crate::units::{Duration, Rate};

/// Most pieces that a staircase may have: a larger number is a typo.
const LEVELS_MAX: u32 = 10_000;

pub(super) fn validate(load: &Load, problems: &mut Problems<'_>) {
    shape("load", &load.shape, problems);
    if let Warmup::UntilStable { min, max } = load.warmup {
        warmup(min, max, problems);
    }
}

/// The rules of a shape, of the scenario's load or of some producers' own.
pub(super) fn shape(path: &str, shape: &Shape, problems: &mut Problems<'_>) {
    let at = |field: &str| format!("{path}.{field}");
    match shape {
        Shape::Constant { rate, duration } => {
            sends_something(&at("rate"), &[*rate], problems);
            positive(&at("duration"), *duration, problems);
        }
        Shape::Ramp { from, to, duration } => {
            sends_something(&at("to"), &[*from, *to], problems);
            positive(&at("duration"), *duration, problems);
        }
        Shape::Step { from, increment, levels, level_duration, .. } => {
            sends_something(&at("from"), &[*from, *increment], problems);
            positive(&at("level_duration"), *level_duration, problems);
            if !(1..=LEVELS_MAX).contains(levels) {
                problems.add(Finding {
                    path: &at("levels"),
                    message: format!("`{}` is {levels}", at("levels")),
                    label: "out of range",
                    help: &format!("from 1 to {LEVELS_MAX}"),
                });
            }
        }
        Shape::Spike { base, peak, spike_at, spike_for, duration } => {
            sends_something(&at("peak"), &[*base, *peak], problems);
            positive(&at("spike_for"), *spike_for, problems);
            if spike_at.saturating_add(*spike_for) > *duration {
                problems.add(Finding {
                    path: &at("spike_for"),
                    message: format!(
                        "the spike ends at {}, after the load",
                        spike_at.saturating_add(*spike_for)
                    ),
                    label: "",
                    help: &format!("the load ends at {duration}: shorten the spike, or lengthen `duration`"),
                });
            }
        }
        Shape::Stages(stages) => {
            let targets: Vec<Rate> = stages.iter().map(|stage| stage.target).collect();
            sends_something(&at("stages"), &targets, problems);
            for (index, stage) in stages.iter().enumerate() {
                positive(&at(&format!("stages[{index}].duration")), stage.duration, problems);
            }
        }
        Shape::Unlimited { extent, slots } => unlimited(path, *extent, *slots, problems),
    }
}

fn unlimited(path: &str, extent: Extent, slots: Option<u64>, problems: &mut Problems<'_>) {
    match extent {
        Extent::Duration(duration) => positive(&format!("{path}.duration"), duration, problems),
        Extent::Messages(0) => problems.add(Finding {
            path: &format!("{path}.messages"),
            message: "a load of 0 messages".to_owned(),
            label: "nothing would be sent",
            help: "at least 1, for example 1_000_000",
        }),
        Extent::Messages(_) => {}
    }
    if slots == Some(0) {
        problems.add(Finding {
            path: &format!("{path}.slots"),
            message: "producers without a slot".to_owned(),
            label: "nothing would be sent",
            help: "at least 1: a producer that waits for each answer",
        });
    }
}

fn sends_something(path: &str, rates: &[Rate], problems: &mut Problems<'_>) {
    if rates.iter().all(|rate| rate.per_s() == 0) {
        problems.add(Finding {
            path,
            message: "a load of 0 messages per second".to_owned(),
            label: "nothing would be sent",
            help: "at least 1/s, for example 50k/s",
        });
    }
}

fn positive(path: &str, duration: Duration, problems: &mut Problems<'_>) {
    if duration == Duration::ZERO {
        problems.add(Finding {
            path,
            message: format!("`{path}` is zero"),
            label: "nothing would be sent",
            help: "for example 60s",
        });
    }
}

fn warmup(min: Duration, max: Duration, problems: &mut Problems<'_>) {
    if min > max {
        let at_min = problems.is_written("load.warmup.min");
        problems.add(Finding {
            path: if at_min { "load.warmup.min" } else { "load.warmup.max" },
            message: format!("the warm-up takes at least {min}, and at most {max}"),
            label: "min is above max",
            help: "lower `min`, or raise `max` (60s and 240s if left out)",
        });
    }
}
