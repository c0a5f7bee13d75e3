//! Faults on a cluster that is somebody else's: what they are going to do to whom, and whether somebody has consented to that.

use std::collections::BTreeMap;

use gauntlet_chaos::hook::HookedBroker;
use gauntlet_chaos::{FaultAction, FaultSpec, ForeignCluster, Hook, Operation, Target};

use crate::plan::ForeignPlan;
use crate::units::Duration;

/// Why nothing is done to a cluster that is somebody else's. Nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoConsent {
    /// Neither the command line nor the scenario allows it.
    #[error(
        "no fault is injected into cluster {seen}, which gauntlet did not start, without consent: if it is the one that you mean, \
         add --yes to the command line, or `allow_faults: true` and `cluster_id: {seen}` to `cluster`"
    )]
    Missing {
        /// What the cluster calls itself.
        seen: String,
    },
    /// The scenario means another one.
    #[error(
        "no fault is injected: the cluster calls itself {seen}, and the scenario means {meant}; correct \
         `cluster.bootstrap_servers` or `cluster.cluster_id` (--yes does not overrule it)"
    )]
    OtherCluster {
        /// What the cluster calls itself.
        seen: String,
        /// What the scenario says.
        meant: String,
    },
}

/// Whether faults may be injected into the cluster that calls itself `seen`; `yes` is the consent of the command line.
pub(crate) fn consent(foreign: &ForeignPlan, seen: &str, yes: bool) -> Result<(), NoConsent> {
    match &foreign.cluster_id {
        Some(meant) if meant != seen => {
            Err(NoConsent::OtherCluster { seen: seen.to_owned(), meant: meant.clone() })
        }
        Some(_) if foreign.allow_faults => Ok(()),
        _ if yes => Ok(()),
        _ => Err(NoConsent::Missing { seen: seen.to_owned() }),
    }
}

/// Faults name brokers that the cluster has not. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct NoSuchBroker(Vec<String>);

/// Whether the cluster has the brokers that faults name.
pub(crate) fn brokers_are_there(foreign: &ForeignPlan, cluster: &ForeignCluster) -> Result<(), NoSuchBroker> {
    let known: Vec<String> = cluster.brokers().keys().map(i32::to_string).collect();
    let missing: Vec<String> = foreign
        .named
        .iter()
        .filter(|named| !cluster.brokers().contains_key(&named.id))
        .map(|named| {
            format!(
                "{}: fault `{}` is aimed at broker {}, which cluster {} does not have; its brokers are {}",
                named.place,
                named.fault,
                named.id,
                cluster.cluster_id(),
                known.join(", ")
            )
        })
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(NoSuchBroker(missing)) }
}

/// Whether anything is done to the cluster: for what is done to the run's own clients, nobody has to be asked.
pub(crate) fn needs_consent(faults: &[FaultSpec]) -> bool {
    faults.iter().any(|fault| fault.action.is_of_cluster())
}

/// The cluster, its brokers, and each fault with what it changes and how that ends.
pub(crate) fn lines(cluster: &ForeignCluster, faults: &[FaultSpec]) -> Vec<String> {
    let brokers: Vec<String> = cluster.brokers().iter().map(|(id, addr)| format!("{id} ({addr})")).collect();
    let of = format!("blast radius: cluster {}, brokers {}", cluster.cluster_id(), brokers.join(", "));
    std::iter::once(of).chain(faults.iter().flat_map(|spec| fault(cluster, spec))).collect()
}

fn fault(cluster: &ForeignCluster, spec: &FaultSpec) -> Vec<String> {
    match (&spec.action, cluster.hook(spec.action.name())) {
        (FaultAction::Operation { operation }, _) => vec![operation_line(spec, operation)],
        (FaultAction::Client { .. }, _) => {
            vec![format!(
                "blast radius: {}: {} of {}, of this run",
                spec.name,
                spec.action.name(),
                spec.target
            )]
        }
        (_, Some(hook)) => hooked(spec, hook, cluster.brokers()),
        (_, None) => vec![format!("blast radius: {}: {}", spec.name, spec.action.name())],
    }
}

/// Whom a hook may hit, and with which commands: all that it could be, as roles are given away only when it is due.
fn hooked(spec: &FaultSpec, hook: &Hook, brokers: &BTreeMap<i32, String>) -> Vec<String> {
    let healed = match spec.recover_after {
        Some(after) if after.is_zero() => "healed at once".to_owned(),
        Some(after) => format!("healed after {}", lasting(after)),
        None => "healed when the run ends".to_owned(),
    };
    let ids: Vec<i32> = match (&spec.target, brokers.len() as u64) {
        (Target::Broker { id }, _) => vec![*id],
        (Target::Nodes { ids }, _) => ids.clone(),
        (Target::Drawn { number }, count @ 1..) => {
            brokers.keys().copied().skip((number % count) as usize).take(1).collect()
        }
        _ => brokers.keys().copied().collect(),
    };
    let whom = match ids[..] {
        [one] => format!("broker {one}"),
        _ => format!("{}, decided when it is due", spec.target),
    };
    let mut lines =
        vec![format!("blast radius: {}: {} of {whom}, by hook; {healed}", spec.name, spec.action.name())];
    for id in ids {
        let Some(addr) = brokers.get(&id) else { continue };
        let commands = match hook.of(&HookedBroker { id, addr, fault: &spec.name }) {
            Ok(hook) => {
                let check = hook.check.map(|check| format!("; check: {check}")).unwrap_or_default();
                format!("apply: {}{check}; heal: {}", hook.apply, hook.heal)
            }
            Err(why) => why,
        };
        lines.push(format!("blast radius: {}: on broker {id} ({addr}): {commands}", spec.name));
    }
    lines
}

fn lasting(time: std::time::Duration) -> Duration {
    Duration::from_ns(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn operation_line(spec: &FaultSpec, operation: &Operation) -> String {
    let healed = match operation {
        Operation::ElectionPreferred(_) => "nothing to undo".to_owned(),
        Operation::ElectionUnclean(_) => "what it loses is gone for good".to_owned(),
        Operation::TopicAddPartitions(_) => "can't be undone: Kafka removes no partitions".to_owned(),
        Operation::FeatureUpgrade(_) => "can't be undone: Kafka vouches for no way back".to_owned(),
        Operation::ConfigChange(_)
        | Operation::PartitionReassign(_)
        | Operation::LeaderImbalance(_)
        | Operation::QuotaChange(_)
        | Operation::TopicDeleteRecreate(_)
        | Operation::BrokerAdd(_)
        | Operation::BrokerRemove(_)
        | Operation::QuorumAddVoter(_)
        | Operation::QuorumRemoveVoter(_) => match spec.recover_after {
            Some(after) => {
                format!("what was before is put back after {}", lasting(after))
            }
            None => "what was before is put back when the run ends".to_owned(),
        },
    };
    format!("blast radius: {}: {} of {operation}; {healed}", spec.name, spec.action.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_for_one_cluster() {
        let plan = |allow_faults, cluster_id: Option<&str>| ForeignPlan {
            servers: Vec::new(),
            security: gauntlet_wire::Security::default(),
            allow_faults,
            cluster_id: cluster_id.map(str::to_owned),
            hooks: BTreeMap::new(),
            named: Vec::new(),
        };
        for (allow, id, yes, allowed) in [
            (false, None, false, false),
            (false, None, true, true),
            (false, Some("staging"), false, false),
            (false, Some("staging"), true, true),
            (true, Some("staging"), false, true),
            // Validation refuses it; it would be consent to anything.
            (true, None, false, false),
            (true, Some("other"), false, false),
            (true, Some("other"), true, false),
        ] {
            let given = consent(&plan(allow, id), "staging", yes);
            assert_eq!(given.is_ok(), allowed, "allow_faults {allow}, cluster_id {id:?}, --yes {yes}");
        }
        let told = consent(&plan(false, None), "staging", false).unwrap_err().to_string();
        assert!(told.contains("cluster staging") && told.contains("`cluster_id: staging`"), "{told}");
        assert!(told.contains("--yes"), "{told}");
        let told = consent(&plan(true, Some("other")), "staging", true).unwrap_err().to_string();
        assert!(told.contains("calls itself staging") && told.contains("means other"), "{told}");
    }
}
