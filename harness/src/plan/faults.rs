//! From the faults of a scenario to what the injector does: one fault of the plan for each time and each turn.

use gauntlet_chaos::fault::{Direction, LossBy};
use gauntlet_chaos::proxy::{Link, Links};
use gauntlet_chaos::{FaultAction, FaultSpec, NetworkFault, NetworkKind, Target};

use super::convert::{Refusal, refuse};
use crate::random::SplitMix;
use crate::scenario::types as file;
use crate::scenario::{FAULT_REPEATS_MAX, Scenario};

/// Between the name of a scenario's fault and the number of the time or turn. No name has it.
const NUMBER: char = '#';
/// What the seed is used for besides: numbers of other purposes are small.
const JITTER: u64 = 0x6a69_7474;
/// A broker that is asked to stop moves its leaderships away first; Kafka's own scripts wait as long.
const STOP_DEADLINE_MS: u64 = 60_000;
/// Most faults that the injector takes.
const FAULTS_MAX: usize = 256;

/// Which fault of the scenario it is that the plan calls `name`: `kill` for `kill`, `kill#1` and `kill#2`.
#[must_use]
pub fn fault_of(name: &str) -> &str {
    name.split_once(NUMBER).map_or(name, |(fault, _)| fault)
}

/// The faults of a scenario, in its order; those that happen more than once are numbered from 1. Jitter is drawn from `seed`.
pub(super) fn faults(scenario: &Scenario, seed: u64, refusals: &mut Vec<Refusal>) -> Vec<FaultSpec> {
    let mut specs = Vec::new();
    for (index, fault) in scenario.faults.iter().enumerate() {
        if fault.action.is_rolling() {
            specs.extend(turns(scenario, fault, index, seed));
        } else {
            specs.extend(times(scenario, fault, index, seed, &target(scenario, fault, seed)));
        }
    }
    if specs.len() > FAULTS_MAX {
        let message = format!("{} faults are too many for one run", specs.len());
        refusals.push(refuse("faults", message, format!("at most {FAULTS_MAX}: repeat them less often")));
    }
    specs
}

/// Each time that a fault happens.
fn times(
    scenario: &Scenario,
    fault: &file::Fault,
    index: usize,
    seed: u64,
    target: &Target,
) -> Vec<FaultSpec> {
    let due = fault.due(scenario.load.shape.duration(), scenario.load.drain, FAULT_REPEATS_MAX);
    let number = |time: usize| match fault.every {
        Some(_) => format!("{}{NUMBER}{}", fault.name, time + 1),
        None => fault.name.clone(),
    };
    let spec = |(time, at): (usize, crate::units::Duration)| FaultSpec {
        name: number(time),
        action: action(&fault.action),
        target: target.clone(),
        at_ns: at.as_ns().saturating_add(jitter_ns(fault, index, time, seed)),
        recover_after: recover_after(fault),
        follows: None,
    };
    due.into_iter().enumerate().map(spec).collect()
}

/// The turns of a rolling restart or upgrade, one for each broker.
fn turns(scenario: &Scenario, fault: &file::Fault, index: usize, seed: u64) -> Vec<FaultSpec> {
    // On others validation has refused it.
    let brokers = scenario.cluster.nodes().map_or(0, |nodes| nodes.brokers);
    let name = |turn: u16| format!("{}{NUMBER}{turn}", fault.name);
    let spec = |turn: u16| FaultSpec {
        name: name(turn),
        action: action(&fault.action),
        target: Target::NextOfRoll,
        at_ns: fault.at.as_ns().saturating_add(jitter_ns(fault, index, 0, seed)),
        recover_after: recover_after(fault),
        follows: (turn > 1).then(|| name(turn - 1)),
    };
    (1..=brokers).map(spec).collect()
}

/// How much later than the scenario says, up to its jitter, in whole milliseconds: a plan is read by people.
fn jitter_ns(fault: &file::Fault, index: usize, time: usize, seed: u64) -> u64 {
    let mut draws = SplitMix::of(seed ^ JITTER, index as u64, time as u64);
    (draws.unit() * fault.jitter.as_ns() as f64) as u64 / 1_000_000 * 1_000_000
}

fn recover_after(fault: &file::Fault) -> Option<std::time::Duration> {
    match fault.action.is_momentary() {
        true => Some(std::time::Duration::ZERO),
        false => fault.recover.map(|recover| recover.after.to_std()),
    }
}

fn action(action: &file::FaultAction) -> FaultAction {
    let deadline_ms = STOP_DEADLINE_MS;
    match action {
        file::FaultAction::BrokerKill => FaultAction::BrokerKill,
        file::FaultAction::BrokerStop => FaultAction::BrokerStop { deadline_ms },
        file::FaultAction::BrokerPause => FaultAction::BrokerPause,
        file::FaultAction::BrokerRestart => FaultAction::BrokerRestart { deadline_ms },
        file::FaultAction::BrokerBounce => FaultAction::BrokerBounce,
        file::FaultAction::BrokerSlowStart { share_percent } => {
            FaultAction::BrokerSlowStart { deadline_ms, share_percent: *share_percent }
        }
        file::FaultAction::BrokerRollingRestart => FaultAction::BrokerRollingRestart { deadline_ms },
        file::FaultAction::BrokerRollingUpgrade { to } => {
            FaultAction::BrokerRollingUpgrade { deadline_ms, to: to.to_string() }
        }
        file::FaultAction::BrokerKillAll => FaultAction::BrokerKillAll,
        file::FaultAction::BrokerPowerLoss { tail } => {
            FaultAction::BrokerPowerLoss { tail_bytes: tail.map(crate::units::Bytes::get) }
        }
        file::FaultAction::QuorumLoss(by) => FaultAction::QuorumLoss {
            by: match by {
                file::LossBy::Pause => LossBy::Pause,
                file::LossBy::Kill => LossBy::Kill,
            },
        },
        file::FaultAction::Network(fault) => FaultAction::Network { fault: network(*fault) },
        file::FaultAction::Disk(fault) => FaultAction::Disk { fault: *fault },
        file::FaultAction::ClockSkew { offset_ns } => FaultAction::ClockSkew { offset_ns: *offset_ns },
        file::FaultAction::CpuStarve { share_percent } => {
            FaultAction::CpuStarve { share_percent: *share_percent }
        }
        file::FaultAction::Client(fault) => FaultAction::Client { fault: *fault },
        file::FaultAction::Operation(operation) => FaultAction::Operation { operation: operation.clone() },
    }
}

fn network(fault: file::NetworkFault) -> NetworkFault {
    NetworkFault {
        kind: match fault.effect {
            file::NetworkEffect::Isolate => NetworkKind::Isolate,
            file::NetworkEffect::Partition => NetworkKind::Partition,
            file::NetworkEffect::BlackHole => NetworkKind::BlackHole,
            file::NetworkEffect::Delay { latency, jitter } => {
                NetworkKind::Delay { latency_ns: latency.as_ns(), jitter_ns: jitter.as_ns() }
            }
            file::NetworkEffect::Bandwidth { rate } => NetworkKind::Bandwidth { bytes_per_s: rate.get() },
            file::NetworkEffect::Reset => NetworkKind::Reset,
            file::NetworkEffect::HalfOpen => NetworkKind::HalfOpen,
        },
        links: match fault.link {
            file::Link::All => Links::ALL,
            file::Link::Clients => Links::only(Link::Clients),
            file::Link::Brokers => Links::only(Link::Brokers),
            file::Link::Controllers => Links::only(Link::Controllers),
            file::Link::Nodes => Links::NODES,
        },
        direction: match fault.direction {
            file::Direction::Both => Direction::Both,
            file::Direction::To => Direction::To,
            file::Direction::From => Direction::From,
        },
        peer: fault.peer.map(i32::from),
        apis: fault.apis,
    }
}

fn target(scenario: &Scenario, fault: &file::Fault, seed: u64) -> Target {
    match &fault.target {
        file::Target::Leader { topic, partition } => match partition {
            file::PartitionChoice::Number(number) => {
                Target::LeaderOf { topic: topic.clone(), partition: *number as i32 }
            }
            file::PartitionChoice::LowestNotController => {
                Target::LowestPartitionLeaderNotController { topic: topic.clone() }
            }
            // Before a fault every partition has a leader, so the lowest that has one is 0.
            file::PartitionChoice::Lowest => Target::LeaderOf { topic: topic.clone(), partition: 0 },
        },
        file::Target::Followers { topic, partition } => {
            Target::FollowersOf { topic: topic.clone(), partition: *partition as i32 }
        }
        file::Target::Controller => Target::ActiveController,
        file::Target::Broker { not_controller: true } => Target::NotController,
        file::Target::Broker { not_controller: false } => match scenario.cluster.nodes() {
            Some(nodes) => {
                let brokers = u64::from(nodes.brokers.max(1));
                Target::Broker { id: (seed % brokers) as i32 + 1 }
            }
            None => Target::Drawn { number: seed },
        },
        file::Target::Id(id) => Target::Broker { id: i32::from(*id) },
        file::Target::Ids(ids) => Target::Nodes { ids: ids.iter().copied().map(i32::from).collect() },
        file::Target::AllBrokers => Target::AllBrokers,
        file::Target::EnoughVoters => Target::EnoughVoters,
        file::Target::Clients(clients) => Target::Clients(clients.clone()),
        file::Target::Cluster => Target::Cluster,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::LoadOptions;

    fn specs(faults: &str, seed: u64) -> Vec<FaultSpec> {
        let text = format!(
            "version: 1\nname: case\ncluster: {{ local: {{ brokers: 3 }} }}\n\
             load: {{ shape: constant, rate: 1k/s, duration: 60s, drain: 10s }}\nfaults: [{faults}]\n"
        );
        let loaded = Scenario::parse("case.yaml", &text, &LoadOptions::default()).unwrap();
        let mut refusals = Vec::new();
        let specs = super::faults(&loaded.scenario, seed, &mut refusals);
        assert!(refusals.is_empty());
        specs
    }

    #[test]
    fn a_fault_happens_as_often_as_it_can_be_over() {
        let again = "{ name: a, at: 5s, every: 20s, action: broker.pause, target: { id: 1 }, for: 9s }";
        let told = |specs: &[FaultSpec]| -> Vec<(String, u64)> {
            specs.iter().map(|s| (s.name.clone(), s.at_ns / 1_000_000_000)).collect()
        };
        let expected = [("a#1".to_owned(), 5), ("a#2".to_owned(), 25), ("a#3".to_owned(), 45)];
        assert_eq!(told(&specs(again, 1)), expected);
        // 45 s + 30 s is after load and drain.
        let long = "{ name: a, at: 5s, every: 40s, action: broker.pause, target: { id: 1 }, for: 30s }";
        assert_eq!(told(&specs(long, 1)), [("a#1".to_owned(), 5)]);
        let once = "{ name: a, at: 5s, action: broker.restart, target: { id: 1 } }";
        let [spec] = &specs(once, 1)[..] else { panic!() };
        assert_eq!((spec.name.as_str(), spec.recover_after), ("a", Some(std::time::Duration::ZERO)));
        assert_eq!((fault_of("a#2"), fault_of("a")), ("a", "a"));
    }

    #[test]
    fn jitter_is_the_seeds_and_differs_each_time() {
        let faults = "{ name: a, at: 5s, every: 20s, jitter: 4s, action: broker.bounce, target: { id: 1 } }, \
                      { name: b, at: 5s, every: 20s, jitter: 4s, action: broker.bounce, target: { id: 2 } }";
        let late = |seed| -> Vec<u64> {
            let specs = specs(faults, seed);
            specs
                .iter()
                .enumerate()
                .map(|(i, s)| s.at_ns - (5 + 20 * (i as u64 % 3)) * 1_000_000_000)
                .collect()
        };
        let drawn = late(7);
        assert_eq!(drawn.len(), 6);
        assert_eq!(drawn, late(7));
        assert_ne!(drawn, late(8));
        assert!(drawn.iter().all(|ns| *ns < 4_000_000_000), "{drawn:?}");
        let distinct: std::collections::BTreeSet<u64> = drawn.iter().copied().collect();
        assert_eq!(distinct.len(), 6, "{drawn:?}");
    }

    #[test]
    fn operations_are_aimed_at_the_cluster() {
        let faults = "{ name: a, at: 5s, for: 9s, action: config.change, args: { broker: all, entries: { x: 1 } } }, \
                      { name: b, at: 20s, action: election.preferred }";
        let specs = specs(faults, 1);
        assert!(specs.iter().all(|spec| spec.target == Target::Cluster));
        let lasts: Vec<Option<u64>> = specs.iter().map(|s| s.recover_after.map(|d| d.as_secs())).collect();
        assert_eq!(lasts, [Some(9), Some(0)]);
        assert_eq!(specs[0].action.name(), "config.change");
        let FaultAction::Operation { operation } = &specs[1].action else { panic!("{:?}", specs[1]) };
        assert_eq!(operation.topic(), Some("gauntlet-case-${run.id}"));
    }

    #[test]
    fn a_roll_is_a_chain_of_turns() {
        let specs = specs("{ name: roll, at: 5s, action: broker.rolling-restart }", 1);
        let links: Vec<(&str, Option<&str>)> =
            specs.iter().map(|s| (s.name.as_str(), s.follows.as_deref())).collect();
        assert_eq!(links, [("roll#1", None), ("roll#2", Some("roll#1")), ("roll#3", Some("roll#2"))]);
        assert!(specs.iter().all(|s| s.target == Target::NextOfRoll && s.at_ns == 5_000_000_000));
    }
}
