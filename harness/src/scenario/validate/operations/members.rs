//! Rules of brokers and controllers that join and leave.

use gauntlet_chaos::fault::{BrokerAdd, BrokerRemove, QuorumAddVoter, QuorumRemoveVoter};

use super::Place;
use crate::scenario::CONTROLLER_ID_MIN;
use crate::scenario::problems::Problems;
use crate::scenario::types::{Controllers, LocalCluster};

/// Kafka's default of replicas of its own topics, which every cluster of gauntlet's has, as far as it has so many brokers.
const INTERNAL_REPLICAS: u16 = 3;

/// Refuses a number that somebody has from the begin, and one that would leave a gap.
fn next_number(
    place: &Place<'_>,
    (field, what): (&str, &str),
    id: i32,
    (first, last): (u16, u16),
    problems: &mut Problems<'_>,
) {
    let (next, last_with) = (i32::from(first), i32::from(last));
    if (next..=last_with).contains(&id) {
        return;
    }
    let message = match id < next {
        true => format!("{what} {id} is none that could join"),
        false => format!("{what} {id} would not be the next one"),
    };
    let help = format!("{what}s that join have the numbers after the last one: {next} is the first");
    place.refuse(field, message, "", &help, problems);
}

pub(super) fn broker_add(place: &Place<'_>, add: &BrokerAdd, problems: &mut Problems<'_>) {
    let (Some(local), Some(brokers)) = (place.local(), place.brokers()) else { return };
    next_number(place, ("broker", "broker"), add.broker, (local.brokers + 1, brokers), problems);
}

/// Somebody has to take its replicas.
pub(super) fn broker_remove(place: &Place<'_>, remove: &BrokerRemove, problems: &mut Problems<'_>) {
    let (Some(local), Some(brokers)) = (place.local(), place.brokers()) else { return };
    place.check_broker("broker", remove.broker, problems);
    let most = local.brokers.min(INTERNAL_REPLICAS);
    let everywhere =
        place.scenario.topics.iter().find(|topic| topic.replication_factor.unwrap_or(most) >= brokers);
    if let Some(topic) = everywhere {
        let message = format!(
            "topic `{}` has a replica on every broker: nobody could take those of broker {}",
            topic.name, remove.broker
        );
        let help = "lower the topic's `replication_factor`, raise `cluster.local.brokers`, or write a `broker.add` before it";
        place.refuse("broker", message, "nobody is without", help, problems);
    }
}

pub(super) fn quorum_add_voter(place: &Place<'_>, add: &QuorumAddVoter, problems: &mut Problems<'_>) {
    let Some(local) = place.local() else { return };
    let first = CONTROLLER_ID_MIN + local.own_controllers();
    let last = first + place.scenario.joining().controllers - 1;
    next_number(place, ("controller", "controller"), add.controller, (first, last), problems);
}

pub(super) fn quorum_remove_voter(
    place: &Place<'_>,
    remove: &QuorumRemoveVoter,
    problems: &mut Problems<'_>,
) {
    let Some(local) = place.local() else { return };
    let joining = place.scenario.joining().controllers;
    let (first, begins_with) = begins_with(local);
    if begins_with + joining < 2 {
        let message = "the only controller can't leave the quorum".to_owned();
        let help = "nobody would lead the cluster: have more controllers, or add one before";
        place.refuse("controller", message, "the only voter", help, problems);
        return;
    }
    let Some(id) = remove.controller else { return };
    let votes = (i32::from(first)..i32::from(first + begins_with)).contains(&id);
    let first_joining = i32::from(CONTROLLER_ID_MIN + local.own_controllers());
    let has_joined = (first_joining..first_joining + i32::from(joining)).contains(&id);
    if !votes && !has_joined {
        let message = format!("the quorum has no voter {id}");
        let help = format!("voters are {first} to {}", first + begins_with - 1);
        place.refuse("controller", message, "there is no such voter", &help, problems);
    }
}

/// The first voter's number, and how many vote from the begin.
fn begins_with(local: &LocalCluster) -> (u16, u16) {
    match local.controllers {
        Controllers::Combined => (1, local.brokers),
        Controllers::Isolated(count) => (CONTROLLER_ID_MIN, count),
    }
}
