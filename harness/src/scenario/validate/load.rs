//! Rules of `load`.

use std::collections::BTreeMap;

use crate::plan::RF_DEFAULT_MAX;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    Acks, Controllers, Extent, Key, Lifecycle, Overflow, Scenario, Search, Shape, Warmup,
};
use crate::units::{Duration, Rate};

/// Most pieces that a staircase may have: a larger number is a typo.
const LEVELS_MAX: u32 = 10_000;
/// What the resolution of a search may be: no two runs are more alike than a tenth of a percent, and steps of more than a
/// half tell little.
const RESOLUTION: std::ops::RangeInclusive<f64> = 0.001..=0.5;

/// How much faster or slower than it was recorded a load may be.
const SPEED: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

pub(super) fn validate(scenario: &Scenario, problems: &mut Problems<'_>) {
    let load = &scenario.load;
    shape("load", &load.shape, problems);
    if let Warmup::UntilStable { min, max } = load.warmup {
        warmup(min, max, problems);
    }
    if load.overflow == Overflow::Drop && !load.shape.is_scheduled() {
        problems.add(Finding {
            path: "load.overflow",
            message: "a closed model has nothing that could be dropped".to_owned(),
            label: "nothing is due before there is room for it",
            help: "remove it, or take a shape with a rate",
        });
    }
    match load.shape {
        Shape::MaxSearch(_) => fits_a_search(scenario, problems),
        Shape::Replay { .. } => fits_a_recording(scenario, problems),
        _ => {}
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
        Shape::Replay { speed, .. } => {
            if !SPEED.contains(speed) {
                problems.add(Finding {
                    path: &at("speed"),
                    message: format!("`{}` is {speed}", at("speed")),
                    label: "out of range",
                    help: "from 0.001 to 1000; 1 is as recorded",
                });
            }
        }
        Shape::MaxSearch(search) => max_search(path, search, problems),
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

fn max_search(path: &str, search: &Search, problems: &mut Problems<'_>) {
    let at = |field: &str| format!("{path}.search.{field}");
    sends_something(&at("low"), &[search.low], problems);
    if search.high < search.low {
        problems.add(Finding {
            path: &at("high"),
            message: format!("the search goes from {} up to {}", search.low, search.high),
            label: "below `low`",
            help: "raise `high`, or lower `low`",
        });
    }
    let resolution = search.resolution.get();
    if !RESOLUTION.contains(&resolution) {
        problems.add(Finding {
            path: &at("resolution"),
            message: format!("`{}` is {} %", at("resolution"), resolution * 100.0),
            label: "out of range",
            help: "from 0.1% to 50%, for example 2%",
        });
    }
    positive(&at("trial"), search.trial, problems);
    if problems.is_written(&at("confirm")) {
        positive(&at("confirm"), search.confirm, problems);
    }
    if let Some(target) = search.target {
        sends_something(&at("target"), &[target], problems);
    }
    if search.sustainable.is_empty() {
        problems.add(Finding {
            path: &at("sustainable"),
            message: format!("`{}` is empty", at("sustainable")),
            label: "every rate would hold",
            help: "say what must hold, for example [produce.latency p99 < 50ms, load.achieved_ratio >= 0.99]",
        });
    }
}

/// A recording says when each record comes and which key it has: what would say it again, or for whom it is not known.
fn fits_a_recording(scenario: &Scenario, problems: &mut Problems<'_>) {
    if let Warmup::UntilStable { .. } = scenario.load.warmup {
        problems.add(Finding {
            path: "load.warmup",
            message: "a recording has a warm-up of fixed length".to_owned(),
            label: "it is cut off the recording's begin",
            help: "for example `warmup: 30s`",
        });
    }
    if scenario.workload.producers.len() > 1 {
        problems.add(Finding {
            path: "workload.producers[1]",
            message: "a recording is replayed by one block of producers".to_owned(),
            label: "nobody says which of its records are whose",
            help: "raise `count` of the first: each of its producers gets the records of whole partitions",
        });
    }
    let Some(block) = scenario.workload.producers.first() else { return };
    if block.key != Key::None {
        let own = "workload.producers[0].key";
        problems.add(Finding {
            path: if problems.is_written(own) { own } else { "workload.key" },
            message: "a recording brings its own keys".to_owned(),
            label: "",
            help: "remove it; a recording without a column `key` has records without keys",
        });
    }
}

/// What a series of trials at constant rates has no room for.
fn fits_a_search(scenario: &Scenario, problems: &mut Problems<'_>) {
    if !scenario.faults.is_empty() {
        problems.add(Finding {
            path: "faults",
            message: "a search has no faults".to_owned(),
            label: "a fault leaves its traces for the next trial",
            help: "remove `faults`; run the rate that was found with them, as `shape: constant`",
        });
    }
    let topics = scenario.topics.iter().enumerate();
    for (index, _) in topics.filter(|(_, topic)| topic.lifecycle != Lifecycle::PerRun) {
        problems.add(Finding {
            path: &format!("topics[{index}].lifecycle"),
            message: "each trial of a search has topics of its own".to_owned(),
            label: "what one leaves behind would slow down the next",
            help: "remove it: topics are made before a trial and deleted after it",
        });
    }
    let blocks = scenario.workload.producers.iter().enumerate();
    for (index, _) in blocks.filter(|(_, block)| block.load.is_some()) {
        problems.add(Finding {
            path: &format!("workload.producers[{index}].load"),
            message: "a search sets the rate of all producers".to_owned(),
            label: "these have a load of their own",
            help: "remove it",
        });
    }
    if let Shape::MaxSearch(Search { headroom: Some(_), .. }) = scenario.load.shape {
        can_lose_a_broker(scenario, problems);
    }
    if scenario.workload.producers.iter().all(|block| block.config.acks == Acks::None) {
        problems.add(Finding {
            path: "workload.producers[0].config.acks",
            message: "a search needs acks".to_owned(),
            label: "with acks=0 nobody knows what the brokers took",
            help: "use acks all or 1",
        });
    }
}

/// Whether what is left without one broker can still be written to.
fn can_lose_a_broker(scenario: &Scenario, problems: &mut Problems<'_>) {
    let mut refuse = |message: String, label: &str, help: &str| {
        problems.add(Finding { path: "load.search.headroom", message, label, help });
    };
    let Some(local) = scenario.cluster.nodes() else {
        let message = "`headroom: n-1` takes a broker down for good".to_owned();
        return refuse(
            message,
            "not on a cluster that is not ours",
            "use `cluster: { local: … }`, or take it down yourself and search again",
        );
    };
    let least = if local.controllers == Controllers::Combined { 3 } else { 2 };
    if local.brokers < least {
        let message = format!(
            "`headroom: n-1` leaves {} of {} brokers",
            local.brokers.saturating_sub(1),
            local.brokers
        );
        let help = "raise `cluster.local.brokers` to 3: brokers that are controllers, too, need a majority";
        return refuse(message, "too few to go on", help);
    }
    for topic in &scenario.topics {
        let config = |properties: &BTreeMap<String, String>| properties.get("min.insync.replicas").cloned();
        let minimum = config(&topic.config).or_else(|| config(&local.config));
        let minimum = minimum.and_then(|text| text.trim().parse::<u16>().ok()).unwrap_or(1);
        let replicas = topic.replication_factor.unwrap_or(local.brokers.min(RF_DEFAULT_MAX));
        // New topics get their replicas on brokers that are up, as far as these go.
        let left = replicas.min(local.brokers - 1);
        if left < minimum {
            refuse(
                format!(
                    "`headroom: n-1` leaves {left} of {replicas} replicas of `{}`, whose min.insync.replicas is {minimum}",
                    topic.name
                ),
                "no write with acks=all could succeed",
                "lower min.insync.replicas, or raise the number of brokers",
            );
        }
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
