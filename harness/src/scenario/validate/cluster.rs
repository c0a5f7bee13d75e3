//! Rules of `cluster`.

use gauntlet_chaos::KafkaVersion;
use gauntlet_chaos::disks::BYTES_MIN;
use gauntlet_chaos::docker::{is_expressible, is_image};
use gauntlet_chaos::local::{OWNED_PROPERTIES, is_heap};

use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    Cluster, Controllers, DockerCluster, ForeignCluster, LocalCluster, LocalProtocol, LocalSecurity,
};

/// Most nodes of a kind; each is a JVM of over 300 MB, so that a larger number is a typo.
const NODES_MAX: u16 = 50;

pub(super) fn validate(cluster: &Cluster, problems: &mut Problems<'_>) {
    match cluster {
        Cluster::Local(nodes) => self::nodes(nodes, cluster.nodes_path(), problems),
        Cluster::Docker(docker) => {
            self::nodes(&docker.nodes, cluster.nodes_path(), problems);
            containers(docker, problems);
        }
        Cluster::Bootstrap(foreign) => {
            bootstrap(&foreign.servers, problems);
            consent(foreign, problems);
        }
    }
}

/// What containers can't be, or can't be told.
fn containers(docker: &DockerCluster, problems: &mut Problems<'_>) {
    let image = &docker.image;
    if !is_image(image) {
        problems.add(Finding {
            path: "cluster.docker.image",
            message: format!("`{image}` is no name of an image"),
            label: "",
            help: "for example apache/kafka:4.3.0",
        });
    }
    for name in docker.nodes.config.keys().filter(|name| is_property_name(name) && !is_expressible(name)) {
        problems.add(Finding {
            path: &format!("cluster.docker.config.{name}"),
            message: format!("`{name}` can't be told to a container"),
            label: "an image would read another property",
            help: "its variables (KAFKA_…) know no capitals, and no `.` beside `_` or `-`; use `cluster: { local: … }`",
        });
    }
}

/// Rules of what is at `path`, whatever the nodes are.
fn nodes(local: &LocalCluster, path: &str, problems: &mut Problems<'_>) {
    let mut in_range = |what: &str, count: u16| {
        if !(1..=NODES_MAX).contains(&count) {
            problems.add(Finding {
                path: &format!("{path}.{what}"),
                message: format!("`{path}.{what}` is {count}"),
                label: "out of range",
                help: &format!("from 1 to {NODES_MAX}; each is a JVM of over 300 MB"),
            });
        }
    };
    in_range("brokers", local.brokers);
    if let Controllers::Isolated(count) = local.controllers {
        in_range("controllers", count);
        if count > 0 && count % 2 == 0 {
            problems.add(Finding {
                path: &format!("{path}.controllers"),
                message: format!("a quorum of {count} controllers"),
                label: "an even number",
                help: &format!("{count} tolerate no more failures than {}: write an odd number", count - 1),
            });
        }
    }
    if let Err(error) = local.version.parse::<KafkaVersion>() {
        problems.add(Finding {
            path: "cluster.local.version",
            message: error.to_string(),
            label: "",
            help: "gauntlet gets the release of this version from Maven",
        });
    }
    if let Some(disk) = local.disk.filter(|disk| disk.get() < BYTES_MIN) {
        problems.add(Finding {
            path: "cluster.local.disk",
            message: format!("a disk of {disk}"),
            label: "too small for a broker",
            help: "at least 64MiB",
        });
    }
    if let Some(heap) = local.heap.filter(|heap| !is_heap(heap.get())) {
        problems.add(Finding {
            path: &format!("{path}.heap"),
            message: format!("a heap of {heap}"),
            label: "out of range",
            help: "whole MiB, from 256MiB to 64GiB",
        });
    }
    for name in local.config.keys() {
        property(name, path, problems);
    }
    if let Some(LocalSecurity { protocol: LocalProtocol::Ssl, mechanism: Some(_), .. }) = local.security {
        problems.add(Finding {
            path: "cluster.local.security.mechanism",
            message: "`mechanism` does not fit protocol SSL".to_owned(),
            label: "nobody logs in",
            help: "remove it: with SSL the load shows a certificate; or set `protocol` to SASL_SSL",
        });
    }
}

fn property(name: &str, path: &str, problems: &mut Problems<'_>) {
    let path = format!("{path}.config.{name}");
    if OWNED_PROPERTIES.contains(&name) {
        problems.add(Finding {
            path: &path,
            message: format!("the broker property `{name}` can't be set"),
            label: "gauntlet sets it itself",
            help: "remove it: clients, faults, and clean-up rest on it",
        });
    }
    if !is_property_name(name) {
        problems.add(Finding {
            path: &path,
            message: format!("`{name}` is no property name"),
            label: "",
            help: "property names are made of letters, digits, `.`, `_`, and `-`",
        });
    }
}

/// Whether Kafka could have a property of this name.
pub(super) fn is_property_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.chars().all(allowed)
}

fn bootstrap(servers: &[String], problems: &mut Problems<'_>) {
    if servers.is_empty() {
        problems.add(Finding {
            path: "cluster.bootstrap_servers",
            message: "`cluster.bootstrap_servers` is empty".to_owned(),
            label: "",
            help: "name a broker, for example localhost:9092",
        });
    }
    for (index, server) in servers.iter().enumerate() {
        if !is_host_and_port(server) {
            problems.add(Finding {
                path: &format!("cluster.bootstrap_servers[{index}]"),
                message: format!("`{server}` is not host:port"),
                label: "",
                help: "write it like localhost:9092 or [::1]:9092",
            });
        }
    }
}

/// Consent in a file is for one cluster: addresses are copied from file to file, and come to mean another one.
fn consent(foreign: &ForeignCluster, problems: &mut Problems<'_>) {
    if foreign.allow_faults && foreign.cluster_id.is_none() {
        problems.add(Finding {
            path: "cluster.allow_faults",
            message: "`allow_faults` is for one cluster, and `cluster.cluster_id` does not say which"
                .to_owned(),
            label: "needs `cluster_id`",
            help: "add `cluster_id: …`; `gauntlet plan` and `kafka-cluster cluster-id` tell it",
        });
    }
    if foreign.cluster_id.as_deref().is_some_and(|id| id.trim().is_empty()) {
        problems.add(Finding {
            path: "cluster.cluster_id",
            message: "`cluster.cluster_id` is empty".to_owned(),
            label: "",
            help: "`gauntlet plan` and `kafka-cluster cluster-id` tell it",
        });
    }
}

/// Whether a text names a broker: `host:port`, with an IPv6 address in brackets.
pub(crate) fn is_host_and_port(server: &str) -> bool {
    let Some((host, port)) = server.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let plain = !host.is_empty() && !host.contains([':', '/', ' ', '@', '[', ']']);
    (bracketed || plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["localhost:9092", "127.0.0.1:1", "[::1]:9092", "kafka-1.example:65535"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in
            ["", "localhost", ":9092", "h:0", "h:65536", "::1:9092", "PLAINTEXT://h:9092", "h:x", "h 1:9"]
        {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }
}
