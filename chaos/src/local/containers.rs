//! Nodes as containers: what is told to the engine about each.

use std::path::Path;

use super::LocalNode;
use super::NodeRun;
use super::jvm::heap_and_collector;
use super::properties::escaped_properties;
use super::security::Access;
use super::spec::LocalSpec;
use super::topology::Node;
use crate::docker::{ContainerSpec, DATA_DIR, environment};

/// What the containers of a cluster are made from.
pub(super) struct Containers<'a> {
    pub(super) spec: &'a LocalSpec,
    pub(super) access: &'a Access,
    pub(super) logs: &'a Path,
    pub(super) cluster_id: &'a str,
}

impl Containers<'_> {
    /// The nodes, and the containers that they are going to be.
    pub(super) fn describe(&self, nodes: &[Node]) -> (Vec<LocalNode>, Vec<ContainerSpec>) {
        nodes.iter().map(|node| self.describe_one(node, nodes)).unzip()
    }

    fn describe_one(&self, node: &Node, nodes: &[Node]) -> (LocalNode, ContainerSpec) {
        let log = self.logs.join(format!("{}.log", node.name()));
        let properties = escaped_properties(self.spec, self.access, node, nodes, Path::new(DATA_DIR));
        let flags = heap_and_collector(self.spec.jvm, self.spec.heap_bytes());
        let container = ContainerSpec {
            node: node.id,
            name: node.name(),
            environment: environment(&properties, self.cluster_id, &flags),
            output: log.clone(),
        };
        let node = LocalNode {
            node: node.clone(),
            data_dir: None,
            log,
            gc_log: None,
            page: None,
            run: NodeRun::Container,
        };
        (node, container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KafkaSource;
    use crate::local::topology::lay_out;

    /// What a container is told is what a local node's file says, but for where its data are.
    #[test]
    fn a_container_is_configured_as_a_local_node() {
        let mut spec = LocalSpec { kafka: KafkaSource::Image("i".to_owned()), ..LocalSpec::default() };
        spec.config.insert("log.dir_x-y".to_owned(), "a\\b".to_owned());
        let nodes = lay_out(&spec, &[20_001, 20_002, 20_003, 20_004, 20_005, 20_006]);
        let access = Access::default();
        let containers =
            Containers { spec: &spec, access: &access, logs: Path::new("/logs"), cluster_id: "id" };
        let (described, specs) = containers.describe(&nodes);
        assert_eq!(described[1].log, Path::new("/logs/broker-2.log"));
        let told = &specs[1].environment;
        let value = |name: &str| told.get(name).map(String::as_str);
        assert_eq!(
            value("KAFKA_LISTENERS"),
            Some("PLAINTEXT://127.0.0.1:20003,CONTROLLER://127.0.0.1:20004")
        );
        assert_eq!(value("KAFKA_LOG_DIRS"), Some(DATA_DIR));
        assert_eq!(value("KAFKA_LOG_DIR__X___Y"), Some("a\\\\b"));
        assert!(value("KAFKA_HEAP_OPTS").is_some_and(|heap| heap.starts_with("-Xms1024m -Xmx1024m")));
        assert!(value("KAFKA_JVM_PERFORMANCE_OPTS").is_some_and(|flags| flags.contains("-XX:+UseG1GC")));
        let file = super::super::properties::render(&spec, &access, &nodes[1], &nodes, Path::new(DATA_DIR));
        // Cluster id, heap and the other flags are no properties.
        assert_eq!(file.lines().count() + 3, told.len(), "{file}\n{told:?}");
    }
}
