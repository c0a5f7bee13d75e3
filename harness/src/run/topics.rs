//! Topics of a run: created with the stated configuration and checked, and where their logs begin and end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gauntlet_wire::admin::{connect_first, wait_for_leaders_without};
use gauntlet_wire::{
    ConnectOptions, Connection, ErrorCode, NewTopic, OffsetSpec, Operation, Permission, WireError,
};

use crate::plan::{Lifecycle, RF_DEFAULT_MAX, TopicPlan};

/// How long a topic may take to have leaders and full in-sync replicas everywhere.
const READY_LIMIT: Duration = Duration::from_secs(60);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);
/// A broker that has requests to handle appends something within this, however busy its host is.
const REST: Duration = Duration::from_secs(2);

/// A topic could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// A broker could not be reached, or refused.
    #[error("topic {topic}: {source}")]
    Wire {
        /// Its name.
        topic: String,
        /// What happened.
        source: WireError,
    },
    /// It is not as the scenario says.
    #[error("topic {topic}: {detail}")]
    Differs {
        /// Its name.
        topic: String,
        /// Where it differs, and what to do.
        detail: String,
    },
    /// It exists, but the run may not do with it what it is going to.
    #[error(
        "topic {topic}: {principal} lacks {}; grant it (`gauntlet plan` lists all that a run needs)",
        listed(missing)
    )]
    Forbidden {
        /// Its name.
        topic: String,
        /// Who we are, as far as we know.
        principal: String,
        /// What is missing.
        missing: Vec<Permission>,
    },
}

fn listed(permissions: &[Permission]) -> String {
    let texts: Vec<String> = permissions.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn wire(topic: &TopicPlan) -> impl Fn(WireError) -> TopicError {
    let topic = topic.name.clone();
    move |source| TopicError::Wire { topic: topic.clone(), source }
}

/// Creates a topic unless it is to be reused, balances its leaders, and waits until it serves. Makes sure that the run may
/// do `operations` on it. Brokers that are `absent` are not waited for. Returns the offset at which each partition's log ends now:
/// where this run begins.
pub(crate) fn prepare(
    bootstrap: &[String],
    topic: &TopicPlan,
    operations: &[Operation],
    absent: &[i32],
    options: &ConnectOptions,
) -> Result<BTreeMap<usize, i64>, TopicError> {
    let failed = wire(topic);
    if topic.lifecycle != Lifecycle::Reuse {
        create(bootstrap, topic, options)?;
    }
    let ready = || wait_for_leaders_without(absent, bootstrap, &topic.name, options, READY_LIMIT);
    let (metadata, _) = ready().map_err(&failed)?;
    let found = metadata.topic(&topic.name).map_or(0, |t| t.partitions.len());
    if found != topic.partitions as usize {
        return Err(TopicError::Differs {
            topic: topic.name.clone(),
            detail: format!("it has {found} partitions, the scenario says {}", topic.partitions),
        });
    }
    check_permissions(bootstrap, topic, operations, options)?;
    // What prefers a broker that is down can't be led by it, and of a new topic the rest is where it belongs.
    if topic.lifecycle != Lifecycle::Reuse && absent.is_empty() {
        balance_leaders(bootstrap, topic, options).map_err(&failed)?;
    }
    let (_, ends) = ready().map_err(&failed)?;
    Ok(ends.into_iter().filter_map(|(p, end)| Some((usize::try_from(p).ok()?, end))).collect())
}

fn create(bootstrap: &[String], topic: &TopicPlan, options: &ConnectOptions) -> Result<(), TopicError> {
    let replication_factor = match topic.replication_factor {
        Some(factor) => factor,
        None => {
            let metadata = connect_first(bootstrap, options).and_then(|mut c| c.metadata(Some(&[])));
            let brokers = metadata.map_err(wire(topic))?.brokers.len();
            u16::try_from(brokers).unwrap_or(u16::MAX).min(RF_DEFAULT_MAX)
        }
    };
    let new = NewTopic {
        name: topic.name.clone(),
        partitions: topic.partitions as i32,
        replication_factor: replication_factor as i16,
        config: topic.config.clone(),
    };
    let created = connect_first(bootstrap, options).and_then(|mut c| c.create_topic(&new, ADMIN_TIMEOUT));
    match created {
        Ok(()) => Ok(()),
        Err(e) if e.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => Err(TopicError::Differs {
            topic: topic.name.clone(),
            detail: "it exists already, and gauntlet touches no topic that it did not create; choose another name, \
                     or say `lifecycle: reuse`"
                .to_owned(),
        }),
        Err(e) => Err(wire(topic)(e)),
    }
}

/// A load that is not allowed to write would only be told so once it is under way.
fn check_permissions(
    bootstrap: &[String],
    topic: &TopicPlan,
    operations: &[Operation],
    options: &ConnectOptions,
) -> Result<(), TopicError> {
    let mut connection = connect_first(bootstrap, options).map_err(wire(topic))?;
    let Some(allowed) = connection.topic_operations(&topic.name).map_err(wire(topic))? else { return Ok(()) };
    let missing = operations.iter().filter(|operation| !allowed.contains(operation));
    let missing: Vec<Permission> =
        missing.map(|operation| Permission::on_topic(*operation, &topic.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(TopicError::Forbidden { topic: topic.name.clone(), principal: connection.principal(), missing })
}

/// Preferred replicas lead from the start, so that load is spread as the assignment meant it. Whoever may not elect leaders
/// keeps those that the topic has; where it is new, they mostly are the preferred ones.
fn balance_leaders(
    bootstrap: &[String],
    topic: &TopicPlan,
    options: &ConnectOptions,
) -> Result<(), WireError> {
    let partitions: Vec<i32> = (0..topic.partitions as i32).collect();
    let mut connection = connect_first(bootstrap, options)?;
    match connection.elect_preferred_leaders(&topic.name, &partitions, ADMIN_TIMEOUT) {
        Err(WireError::Denied { .. }) => Ok(()),
        other => other,
    }
}

/// High watermark of every partition that has a leader now.
pub(crate) fn end_offsets(
    bootstrap: &[String],
    topic: &str,
    options: &ConnectOptions,
) -> Result<BTreeMap<i32, i64>, WireError> {
    let metadata = connect_first(bootstrap, options)?.metadata(Some(&[topic]))?;
    let addresses = metadata.addresses();
    let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in metadata.topic(topic).map(|t| t.partitions.as_slice()).unwrap_or_default() {
        if let Some(leader) = partition.leader {
            by_leader.entry(leader).or_default().push(partition.index);
        }
    }
    let mut ends = BTreeMap::new();
    for (leader, partitions) in by_leader {
        let Some(addr) = addresses.get(&leader) else { continue };
        let Ok(mut connection) = Connection::connect(addr, options) else { continue };
        if let Ok(found) = connection.list_offsets(topic, &partitions, OffsetSpec::Latest) {
            ends.extend(found);
        }
    }
    Ok(ends)
}

/// Waits until every replica of the topic, but those on `absent` brokers, is in sync and returns the high watermarks: nothing can
/// be added to the log any more when every producer is done, unless it was not told of what it sent ([`resting_end_offsets`]).
pub(super) fn final_end_offsets(
    bootstrap: &[String],
    topic: &str,
    absent: &[i32],
    options: &ConnectOptions,
    limit: Duration,
) -> Result<BTreeMap<i32, i64>, WireError> {
    wait_for_leaders_without(absent, bootstrap, topic, options, limit).map(|(_, ends)| ends)
}

/// The high watermarks once they have not moved for a while, the last known ones after `limit`. For producers with acks=0: what they have
/// sent may wait in a broker's socket, and nobody is told when it is in the log.
pub(super) fn resting_end_offsets(
    bootstrap: &[String],
    topic: &str,
    mut ends: BTreeMap<i32, i64>,
    options: &ConnectOptions,
    limit: Duration,
) -> Result<BTreeMap<i32, i64>, WireError> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        std::thread::sleep(REST);
        let now = end_offsets(bootstrap, topic, options)?;
        if now == ends {
            break;
        }
        ends = now;
    }
    Ok(ends)
}

/// Deletes a topic of this run.
pub(crate) fn delete(
    bootstrap: &[String],
    topic: &TopicPlan,
    options: &ConnectOptions,
) -> Result<(), TopicError> {
    connect_first(bootstrap, options)
        .and_then(|mut c| c.delete_topic(&topic.name, ADMIN_TIMEOUT))
        .map_err(wire(topic))
}
