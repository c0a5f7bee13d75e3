//! From what faults may have cost to the windows that the checkers are told of, before they judge.
//!
//! Only faults of the scenario excuse anything, and each by what it has seen itself: a loss of power which end of which log is gone, an
//! unclean election where the new leader's log began. A topic that allows unclean elections by its configuration promises no durability,
//! unless the scenario declares that it does: then what such an election loses is what the scenario is there to find.

use gauntlet_chaos::FaultAction;
use gauntlet_chaos::fault::{FaultRecord, LogLoss};
use gauntlet_verify::TruncationWindow;

use crate::plan::{Plan, TopicPlan};

/// The windows of one topic, with their partitions.
pub(crate) type Windows = Vec<(usize, TruncationWindow)>;

/// What the faults may have cost `topic`.
pub(super) fn windows(plan: &Plan, topic: &TopicPlan, records: &[FaultRecord]) -> Windows {
    let mut windows = Vec::new();
    for record in records {
        for loss in record.losses.iter().filter(|loss| loss.topic == topic.name) {
            let excuse = match &record.action {
                FaultAction::BrokerPowerLoss { .. } => {
                    of_power_loss(record, loss, plan.min_insync_replicas(topic))
                }
                // Whoever asked for an election did not wait for its answer to have been given.
                _ => record.injected_ns.map(|sent_ns| (sent_ns, "the unclean election of")),
            };
            let (Some((acked_before_ns, what)), Ok(partition)) = (excuse, usize::try_from(loss.partition))
            else {
                continue;
            };
            let window = TruncationWindow {
                from_offset: loss.from_offset,
                until_offset: loss.until_offset,
                first_epoch: loss.first_epoch,
                acked_before_ns,
                cause: format!("{what} {} (fault {})", brokers(&loss.brokers), record.name),
            };
            windows.push((partition, window));
        }
    }
    windows
}

/// As long as fewer replicas lost something than have to have a record before it is acked, some replica has it: nothing is excused.
/// Acks that came before the first broker was started again are from before the loss: no victim has given one since.
fn of_power_loss(record: &FaultRecord, loss: &LogLoss, min_insync: usize) -> Option<(u64, &'static str)> {
    let is_enough = loss.brokers.len() >= min_insync;
    is_enough.then(|| (record.heal_began_ns.unwrap_or(u64::MAX), "power loss of"))
}

/// `broker 2`, `brokers 1, 2, 3`.
fn brokers(ids: &[i32]) -> String {
    let plural = if ids.len() == 1 { "" } else { "s" };
    let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
    format!("broker{plural} {}", ids.join(", "))
}

#[cfg(test)]
mod tests {
    use gauntlet_chaos::Operation;
    use gauntlet_chaos::fault::ElectionUnclean;

    use super::*;
    use crate::plan::PlanOptions;
    use crate::scenario::{LoadOptions, Scenario};

    fn plan() -> Plan {
        let text = "version: 1\nname: case\ncluster: { local: { brokers: 3 } }\n\
                    topics: [{ name: orders, partitions: 2, config: { min.insync.replicas: 2 } }]\n\
                    load: { shape: constant, rate: 1k/s, duration: 60s, drain: 10s }\n";
        let loaded = Scenario::parse("case.yaml", text, &LoadOptions::default()).unwrap();
        let options = PlanOptions { run_id: "1".to_owned(), run: 1, seed: 1, kafka_home: None, out: None };
        crate::plan::plan(&loaded, &options).unwrap().plan
    }

    fn record(action: FaultAction, brokers: &[i32]) -> FaultRecord {
        let loss = LogLoss {
            topic: "orders".to_owned(),
            partition: 1,
            brokers: brokers.to_vec(),
            from_offset: 70,
            until_offset: 100,
            first_epoch: 5,
        };
        let other = LogLoss { topic: "__consumer_offsets".to_owned(), ..loss.clone() };
        FaultRecord {
            injected_ns: Some(1_000),
            heal_began_ns: Some(9_000),
            losses: vec![other, loss],
            ..FaultRecord::planned("dark", action, 0)
        }
    }

    fn stated(action: FaultAction, brokers: &[i32]) -> Windows {
        let plan = plan();
        windows(&plan, &plan.topics[0], &[record(action, brokers)])
    }

    #[test]
    fn power_is_lost_by_as_many_as_had_to_have_it_or_by_too_few() {
        let action = FaultAction::BrokerPowerLoss { tail_bytes: None };
        let window = TruncationWindow {
            from_offset: 70,
            until_offset: 100,
            first_epoch: 5,
            acked_before_ns: 9_000,
            cause: "power loss of brokers 1, 3 (fault dark)".to_owned(),
        };
        assert_eq!(stated(action.clone(), &[1, 3]), [(1, window)]);
        assert_eq!(stated(action, &[2]), []);
    }

    #[test]
    fn an_election_is_excused_from_when_it_was_asked_for() {
        let operation = Operation::ElectionUnclean(ElectionUnclean { topic: "orders".to_owned() });
        let windows = stated(FaultAction::Operation { operation }, &[2]);
        assert_eq!(windows[0].1.acked_before_ns, 1_000);
        assert_eq!(windows[0].1.cause, "the unclean election of broker 2 (fault dark)");
    }
}
