//! `topic.add-partitions`: a topic gets more partitions (CreatePartitions). Acts when they are there and led. Kafka removes no partition
//! again, so it can't be undone.

use std::fmt;

use gauntlet_wire::ErrorCode;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::admin::{CONTROLLER_LIMIT, described};
use super::placement::partitions_of;
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::supervisor::SignalTimes;

/// A topic grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicAddPartitions {
    /// Which.
    pub topic: String,
    /// How many partitions it has then.
    pub partitions: i32,
}

impl TopicAddPartitions {
    pub(super) fn apply(&self, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let (topic, wanted) = (&self.topic, self.partitions);
        let now = partitions_of(topic, admin)?.len();
        if usize::try_from(wanted).is_ok_and(|wanted| now >= wanted) {
            return Err(super::refused(format!("{topic} has {now} partitions already")));
        }
        let sent_ns = monotonic_ns();
        admin.ask(None, |connection| {
            match connection.create_partitions(topic, wanted, CONTROLLER_LIMIT) {
                // Asked again because the answer got lost: it has them. If it has other ones, that is seen below.
                Err(error) if error.code() == Some(ErrorCode::INVALID_PARTITIONS) => {
                    let has = described(connection, topic)?.len();
                    if usize::try_from(wanted) == Ok(has) { Ok(()) } else { Err(error) }
                }
                other => other,
            }
        })?;
        let seen_ns = admin.until_seen(None, &format!("{topic} has {wanted} partitions"), |connection| {
            let partitions = described(connection, topic)?;
            if usize::try_from(wanted) != Ok(partitions.len()) {
                return Ok(Some(format!("it has {}", partitions.len())));
            }
            let unled = partitions.iter().find(|partition| partition.leader.is_none());
            Ok(unled.map(|partition| format!("{topic}-{} has no leader", partition.index)))
        })?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }
}

impl fmt::Display for TopicAddPartitions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "topic {}, to {} partitions for good", self.topic, self.partitions)
    }
}
