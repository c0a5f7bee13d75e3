//! An operator's connections: any broker will do for most questions, and the one that was asked last may have been killed since.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, PartitionMetadata, Security, WireError};

use crate::clock::monotonic_ns;
use crate::error::ChaosError;

/// Limit for one answer: a broker that is paused uses up so much of the time.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// What brokers are told to wait at most for the controller: less than they are waited for themselves.
pub(super) const CONTROLLER_LIMIT: Duration = Duration::from_secs(2);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// An operator's access to a cluster, until a deadline.
#[derive(Debug)]
pub(crate) struct Admin {
    addresses: BTreeMap<i32, String>,
    options: ConnectOptions,
    begun: Instant,
    deadline: Instant,
    /// Who answered last.
    last: Cell<Option<i32>>,
}

impl Admin {
    /// To the brokers with these addresses by id, for `limit` from now on.
    pub(crate) fn new(addresses: BTreeMap<i32, String>, security: Security, limit: Duration) -> Self {
        let begun = Instant::now();
        let options =
            ConnectOptions { client_id: "gauntlet-operator".to_owned(), timeout: ANSWER_LIMIT, security };
        Self { addresses, options, begun, deadline: begun + limit, last: Cell::new(None) }
    }

    /// The id that the first broker that answers knows the cluster by; `None` if nobody answers.
    pub(crate) fn cluster_id(&self) -> Option<String> {
        let ask = |addr: &String| Connection::connect(addr, &self.options)?.metadata(Some(&[]));
        self.addresses.values().find_map(|addr| ask(addr).ok()?.cluster_id)
    }

    /// Asks broker `whom`, or one after the other, until one has answered or the deadline is over. What can't be helped by asking again
    /// is told at once. So `question` may be asked, and carried out, more than once.
    pub(super) fn ask<T>(
        &self,
        whom: Option<i32>,
        question: impl Fn(&mut Connection) -> Result<T, WireError>,
    ) -> Result<T, ChaosError> {
        loop {
            let mut last = None;
            for (id, addr) in self.in_order(whom)? {
                match Connection::connect(addr, &self.options).and_then(|mut open| question(&mut open)) {
                    Ok(answer) => {
                        self.last.set(Some(id));
                        return Ok(answer);
                    }
                    Err(error) if error.is_retriable() => last = Some(error),
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(error) = last.filter(|_| Instant::now() >= self.deadline) {
                return Err(error.into());
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until broker `whom`, or every broker that answers, has nothing to say against `what`: `look` gives what is missing yet.
    /// Gives the time when that was seen, CLOCK_MONOTONIC. One that does not answer is not asked again.
    pub(super) fn until_seen(
        &self,
        whom: Option<i32>,
        what: &str,
        look: impl Fn(&mut Connection) -> Result<Option<String>, WireError>,
    ) -> Result<u64, ChaosError> {
        let mut silent = BTreeSet::new();
        loop {
            let (mut agree, mut missing, mut unreachable) = (0, None, None);
            let mut asked = self.in_order(whom)?;
            asked.retain(|(id, _)| !silent.contains(id));
            for (id, addr) in asked {
                match Connection::connect(addr, &self.options).and_then(|mut open| look(&mut open)) {
                    Ok(None) => agree += 1,
                    Ok(Some(lacks)) => missing = Some(format!("to broker {id}, {lacks}")),
                    Err(error @ (WireError::Connect { .. } | WireError::Io { .. })) => {
                        silent.insert(id);
                        unreachable = Some(error.to_string());
                    }
                    Err(error) if error.is_retriable() => missing = Some(error.to_string()),
                    Err(error) => return Err(error.into()),
                }
            }
            let last = match (missing, agree) {
                (None, 1..) => return Ok(monotonic_ns()),
                (Some(missing), _) => missing,
                (None, _) => {
                    // Nobody is left to ask: whoever was silent may be back.
                    silent.clear();
                    unreachable.unwrap_or_else(|| "no broker answers".to_owned())
                }
            };
            if Instant::now() >= self.deadline {
                let within_s = self.begun.elapsed().as_secs();
                return Err(ChaosError::NotSeenToAct {
                    why: format!("not within {within_s} s: {what}; {last}"),
                });
            }
            thread::sleep(POLL);
        }
    }

    /// Whom to ask in which order: who answered last comes first.
    fn in_order(&self, whom: Option<i32>) -> Result<Vec<(i32, &String)>, ChaosError> {
        let mut brokers: Vec<(i32, &String)> = self.addresses.iter().map(|(id, addr)| (*id, addr)).collect();
        if let Some(whom) = whom {
            brokers.retain(|(id, _)| *id == whom);
        }
        let last = self.last.get();
        brokers.sort_by_key(|(id, _)| Some(*id) != last);
        match (brokers.is_empty(), whom) {
            (false, _) => Ok(brokers),
            (true, Some(id)) => {
                Err(ChaosError::NoSuchNode { id, known: self.addresses.keys().copied().collect() })
            }
            (true, None) => Err(super::refused("the cluster has no brokers".to_owned())),
        }
    }
}

/// The partitions of `topic` as the broker knows them.
pub(super) fn described(
    connection: &mut Connection,
    topic: &str,
) -> Result<Vec<PartitionMetadata>, WireError> {
    let described = connection.describe_topic(topic)?;
    match described.error {
        ErrorCode::NONE => Ok(described.partitions),
        code => {
            let what = format!("describe topic {topic} on {}", connection.addr());
            Err(WireError::Kafka { what, code, message: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(limit: Duration) -> Admin {
        // Ports that nobody listens on: bound here, and given up again.
        let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let addresses = BTreeMap::from([(1, port()), (2, port())]);
        Admin::new(addresses, Security::default(), limit)
    }

    #[test]
    fn nobody_there_is_told_when_the_time_is_over() {
        let admin = admin(Duration::from_millis(50));
        assert_eq!(admin.cluster_id(), None);
        let error = admin.ask(None, |connection| connection.metadata(Some(&[]))).unwrap_err();
        assert!(error.to_string().contains("cannot connect to 127.0.0.1:"), "{error}");
        let error = admin.until_seen(None, "the end", |_| Ok(None)).unwrap_err().to_string();
        assert!(error.contains("the end; "), "{error}");
        let error = admin.ask(Some(7), |connection| connection.metadata(Some(&[]))).unwrap_err();
        assert_eq!(error.to_string(), "there is no node 7; there are [1, 2]");
    }

    #[test]
    fn who_answered_last_is_asked_first() {
        let admin = admin(Duration::ZERO);
        let order = |admin: &Admin| -> Vec<i32> {
            admin.in_order(None).unwrap().into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!(order(&admin), [1, 2]);
        admin.last.set(Some(2));
        assert_eq!(order(&admin), [2, 1]);
    }
}
