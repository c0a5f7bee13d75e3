//! What the principal of a run must be allowed to do, where brokers ask for ACLs.

use gauntlet_chaos::{FaultAction, FaultSpec, Operation as Fault};
use gauntlet_wire::{ConfigResource, Operation, Permission, Resource};

use super::{ClusterPlan, Lifecycle, Plan, TopicPlan};

/// A permission that a run uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The permission.
    pub permission: Permission,
    /// Without it the run goes on; this is then different. `None`: it is required.
    pub otherwise: Option<&'static str>,
}

impl Plan {
    /// What the run is going to do on its topics and its cluster, each once.
    #[must_use]
    pub fn permissions(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        for index in 0..self.topics.len() {
            let resource = self.resource(&self.topics[index]);
            let created = self.topics[index].lifecycle != Lifecycle::Reuse;
            let create = created.then_some(Operation::Create);
            for operation in create.into_iter().chain(self.topic_operations(index)) {
                let permission = Permission { operation, resource: resource.clone() };
                needs.push(Need { permission, otherwise: None });
            }
        }
        let mut optional = |operation, otherwise| {
            let permission = Permission::on_cluster(operation);
            needs.push(Need { permission, otherwise: Some(otherwise) });
        };
        if self.topics.iter().any(|topic| topic.lifecycle != Lifecycle::Reuse) {
            optional(Operation::Alter, "new topics keep the leaders that they happen to have");
        }
        optional(Operation::Describe, "the report does not know the active controller");
        if self.producers.iter().any(|block| block.idempotent) {
            optional(Operation::IdempotentWrite, "nothing changes, unless brokers are older than 2.8");
        }
        needs
    }

    /// What the faults of a run do with the run's own login, each once: operations on a cluster that gauntlet did not start. On one of its own
    /// an operator who may do everything does them.
    #[must_use]
    pub fn fault_permissions(&self, faults: &[FaultSpec]) -> Vec<Permission> {
        let mut needs = Vec::new();
        if matches!(self.cluster, ClusterPlan::Local(_)) {
            return needs;
        }
        for fault in faults {
            let FaultAction::Operation { operation } = &fault.action else { continue };
            for permission in self.operation_permissions(operation) {
                if !needs.contains(&permission) {
                    needs.push(permission);
                }
            }
        }
        needs
    }

    /// As brokers ask for them (KafkaApis, ControllerApis). Every operation looks at the topic, or at what was before.
    fn operation_permissions(&self, operation: &Fault) -> Vec<Permission> {
        let topic = operation.topic().map(|name| {
            let own = self.topics.iter().find(|topic| topic.name == name);
            own.map_or_else(|| Resource::Topic(name.to_owned()), |topic| self.resource(topic))
        });
        let on_topic = |operation| topic.clone().map(|resource| Permission { operation, resource });
        let mut needs: Vec<Permission> = on_topic(Operation::Describe).into_iter().collect();
        let configs = |of: Option<Resource>| {
            let resource = of.unwrap_or(Resource::Cluster);
            [Operation::DescribeConfigs, Operation::AlterConfigs]
                .map(|operation| Permission { operation, resource: resource.clone() })
        };
        match operation {
            Fault::ConfigChange(change) => match &change.of {
                ConfigResource::Topic(_) => needs.extend(configs(topic.clone())),
                ConfigResource::Broker(_) | ConfigResource::AllBrokers => needs.extend(configs(None)),
            },
            Fault::PartitionReassign(reassign) => {
                needs.extend([Operation::Describe, Operation::Alter].map(Permission::on_cluster));
                if reassign.throttle.is_some() {
                    needs.extend(configs(topic.clone()).into_iter().chain(configs(None)));
                }
            }
            Fault::LeaderImbalance(_) => {
                needs.extend([Operation::Describe, Operation::Alter].map(Permission::on_cluster));
            }
            Fault::ElectionPreferred(_) | Fault::ElectionUnclean(_) | Fault::FeatureUpgrade(_) => {
                needs.push(Permission::on_cluster(Operation::Alter));
            }
            Fault::TopicAddPartitions(_) => needs.extend(on_topic(Operation::Alter)),
            Fault::TopicDeleteRecreate(_) => {
                // Whether replicas are being moved: what is where could not be told then.
                needs.push(Permission::on_cluster(Operation::Describe));
                let needed = [Operation::DescribeConfigs, Operation::Delete, Operation::Create];
                needs.extend(needed.into_iter().filter_map(on_topic));
            }
            Fault::QuotaChange(_) => needs.extend(configs(None)),
            // Of clusters of ours, whose operator may do everything.
            Fault::BrokerAdd(_)
            | Fault::BrokerRemove(_)
            | Fault::QuorumAddVoter(_)
            | Fault::QuorumRemoveVoter(_) => {}
        }
        needs
    }

    /// What the run is going to do on the topic of this index, once that exists.
    #[must_use]
    pub fn topic_operations(&self, index: usize) -> Vec<Operation> {
        let written = self.producers.iter().any(|block| block.topic == index);
        // Whatever nobody read during the load is read at the end.
        let read = self.verify.is_some() || self.readers.iter().any(|block| block.topic == index);
        let deleted = self.topics[index].lifecycle == Lifecycle::PerRun;
        [
            Some(Operation::Describe),
            written.then_some(Operation::Write),
            read.then_some(Operation::Read),
            deleted.then_some(Operation::Delete),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// A topic that is called differently in every run is granted by what its names have in common.
    fn resource(&self, topic: &TopicPlan) -> Resource {
        match topic.name.split_once(self.run_id.as_str()) {
            Some((prefix, _)) if !prefix.is_empty() => Resource::TopicPrefix(prefix.to_owned()),
            _ => Resource::Topic(topic.name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{PlanOptions, plan};
    use crate::scenario::{LoadOptions, Scenario};

    fn planned(rest: &str) -> crate::plan::Planned {
        let text = format!(
            "version: 1\nname: x\nload: {{ shape: constant, rate: 1/s, duration: 1s }}\n\
             cluster: {{ bootstrap_servers: \"127.0.0.1:9\" }}\n{rest}"
        );
        let loaded = Scenario::parse("x.yaml", &text, &LoadOptions::default()).unwrap();
        let out = tempfile::tempdir().unwrap();
        let options = PlanOptions {
            run_id: "20261121-1".to_owned(),
            run: 1,
            seed: 1,
            kafka_home: None,
            out: Some(out.path().to_path_buf()),
        };
        plan(&loaded, &options).unwrap()
    }

    fn permissions(rest: &str) -> Vec<String> {
        let needs = planned(rest).plan.permissions();
        let text = |need: super::Need| {
            format!("{}{}", need.permission, need.otherwise.map(|_| " (optional)").unwrap_or_default())
        };
        needs.into_iter().map(text).collect()
    }

    #[test]
    fn a_topic_of_the_runs_own_is_named_by_its_prefix() {
        assert_eq!(
            permissions(""),
            [
                "Create on topics gauntlet-x-*",
                "Describe on topics gauntlet-x-*",
                "Write on topics gauntlet-x-*",
                "Read on topics gauntlet-x-*",
                "Delete on topics gauntlet-x-*",
                "Alter on the cluster (optional)",
                "Describe on the cluster (optional)",
                "IdempotentWrite on the cluster (optional)",
            ]
        );
    }

    #[test]
    fn operations_need_what_brokers_ask_for_them() {
        let planned = planned(
            "topics: [{ name: orders, lifecycle: keep }]\n\
             faults:\n\
             - { name: a, at: 0s, for: 1s, action: config.change, args: { topic: orders, entries: { max.message.bytes: 9000 } } }\n\
             - { name: b, at: 0s, for: 1s, action: partition.reassign, args: { topic: orders, brokers: [1, 2, 3], throttle: 1MB } }\n\
             - { name: c, at: 0s, action: election.preferred, args: { topic: orders } }\n",
        );
        let needs = planned.plan.fault_permissions(&planned.faults);
        let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
        assert_eq!(
            needs,
            [
                "Describe on topic orders",
                "DescribeConfigs on topic orders",
                "AlterConfigs on topic orders",
                "Describe on the cluster",
                "Alter on the cluster",
                "DescribeConfigs on the cluster",
                "AlterConfigs on the cluster",
            ]
        );
    }

    #[test]
    fn who_deletes_a_topic_must_be_allowed_to_create_it_again() {
        let planned = planned(
            "topics: [{ name: orders, lifecycle: keep }]\nverify: off\n\
             faults: [{ name: gone, at: 0s, for: 1s, action: topic.delete-recreate, args: { topic: orders } }]\n",
        );
        let needs = planned.plan.fault_permissions(&planned.faults);
        let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
        assert_eq!(
            needs,
            [
                "Describe on topic orders",
                "Describe on the cluster",
                "DescribeConfigs on topic orders",
                "Delete on topic orders",
                "Create on topic orders",
            ]
        );
    }

    #[test]
    fn nothing_is_asked_for_that_is_not_done() {
        let kept = permissions(
            "topics: [{ name: orders, lifecycle: keep }]\nverify: off\n\
             workload: { consumers: [], producers: { config: { acks: 1, enable.idempotence: false } } }\n",
        );
        assert_eq!(
            kept,
            [
                "Create on topic orders",
                "Describe on topic orders",
                "Write on topic orders",
                "Alter on the cluster (optional)",
                "Describe on the cluster (optional)",
            ]
        );
    }
}
