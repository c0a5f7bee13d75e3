//! Faults on a cluster that is somebody else's: what they are going to do to whom, and whether somebody has consented to that.

use gauntlet_chaos::{FaultAction, FaultSpec, ForeignCluster, Operation};

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

/// The cluster, its brokers, and each fault with what it changes and how that ends.
pub(crate) fn lines(cluster: &ForeignCluster, faults: &[FaultSpec]) -> Vec<String> {
    let brokers: Vec<String> = cluster.brokers().iter().map(|(id, addr)| format!("{id} ({addr})")).collect();
    let of = format!("blast radius: cluster {}, brokers {}", cluster.cluster_id(), brokers.join(", "));
    std::iter::once(of).chain(faults.iter().map(fault)).collect()
}

fn fault(spec: &FaultSpec) -> String {
    let FaultAction::Operation { operation } = &spec.action else {
        return format!("blast radius: {}: {}", spec.name, spec.action.name());
    };
    let healed = match operation {
        Operation::ElectionPreferred(_) => "nothing to undo".to_owned(),
        Operation::ElectionUnclean(_) => "what it loses is gone for good".to_owned(),
        Operation::TopicAddPartitions(_) => "can't be undone: Kafka removes no partitions".to_owned(),
        Operation::FeatureUpgrade(_) => "can't be undone: Kafka vouches for no way back".to_owned(),
        Operation::ConfigChange(_)
        | Operation::PartitionReassign(_)
        | Operation::LeaderImbalance(_)
        | Operation::QuotaChange(_) => match spec.recover_after {
            Some(after) => {
                let after = Duration::from_ns(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
                format!("what was before is put back after {after}")
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
