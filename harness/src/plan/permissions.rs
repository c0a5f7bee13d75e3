//! What the principal of a run must be allowed to do, where brokers ask for ACLs.

use gauntlet_wire::{Operation, Permission, Resource};

use super::{Lifecycle, Plan, TopicPlan};

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

    fn permissions(rest: &str) -> Vec<String> {
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
        let needs = plan(&loaded, &options).unwrap().plan.permissions();
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
