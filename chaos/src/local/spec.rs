//! What a local cluster shall look like, and the rules it has to keep.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::security::LocalSecurity;
use crate::disks;
use crate::docker;
use crate::kafka_home::{KafkaSource, KafkaVersion};
use crate::shim;

/// A cluster of real brokers on this host, one JVM per node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSpec {
    /// Number of brokers, ids 1 to N.
    pub brokers: u16,
    /// Brokers more, with the ids above those, that have their place and are not started: [`BrokerAdd`](crate::fault::BrokerAdd) does.
    pub spare_brokers: u16,
    /// Who runs the KRaft quorum.
    pub controllers: Controllers,
    /// Controllers more, with the ids above those of the others (101 and up), that are not started:
    /// [`QuorumAddVoter`](crate::fault::QuorumAddVoter) does. Only for a quorum that is dynamic.
    pub spare_controllers: u16,
    /// Whether voters can join and leave the quorum (KIP-853, Kafka 3.9 and newer); else they are static, as configuration files name them.
    pub dynamic_quorum: bool,
    /// Which Kafka.
    pub kafka: KafkaSource,
    /// The release that brokers are started as after an upgrade ([`LocalCluster::upgrade`](super::LocalCluster::upgrade)); newer than the
    /// first. Its jars are found, or resolved, before anything starts.
    pub upgrade_to: Option<KafkaVersion>,
    /// How the JVMs are set.
    pub jvm: Jvm,
    /// Heap of each JVM, whole MiB; `None`: [`Jvm::usual_heap_bytes`].
    pub heap_bytes: Option<u64>,
    /// Broker properties by Kafka's names; they win over our defaults. Those in [`OWNED_PROPERTIES`] are refused.
    pub config: BTreeMap<String, String>,
    /// How clients and brokers are kept apart from others; `None`: PLAINTEXT.
    pub security: Option<LocalSecurity>,
    /// Where the nodes are.
    pub isolation: Isolation,
    /// Size of the disk of each node, a file system of its own in memory ([`crate::disks`]); `None`: they share one with this process. Needs
    /// root, and can't be kept.
    pub disk_bytes: Option<u64>,
    /// Whether a proxy stands in front of every node, which faults of the network need: every byte then takes one way more.
    pub proxied: bool,
    /// Whether nodes are started with a shim, which faults of disk and clock need ([`crate::shim`]).
    pub shimmed: bool,
    /// How long the start may take, from the first process to the moment when every broker lists all brokers.
    pub ready_within: Duration,
}

impl Default for LocalSpec {
    fn default() -> Self {
        Self {
            brokers: 3,
            spare_brokers: 0,
            controllers: Controllers::Combined,
            spare_controllers: 0,
            dynamic_quorum: false,
            kafka: KafkaSource::default(),
            upgrade_to: None,
            jvm: Jvm::Steady,
            heap_bytes: None,
            config: BTreeMap::new(),
            security: None,
            isolation: Isolation::Process,
            disk_bytes: None,
            proxied: false,
            shimmed: false,
            ready_within: Duration::from_secs(120),
        }
    }
}

/// Who runs the KRaft quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controllers {
    /// Every broker is a controller too. Killing a majority of the brokers then stops the quorum as well.
    Combined,
    /// So many processes that are only controllers, ids 101 and up: brokers can all be down and the quorum lives.
    Isolated(u16),
}

/// Where the nodes of a local cluster are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// On 127.0.0.1, each with ports of its own. Needs no rights.
    #[default]
    Process,
    /// Each in a network namespace of its own, with an address of its own ([`crate::netns`]). Needs root.
    Netns,
}

/// How the JVMs are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jvm {
    /// As in production: G1, both compilers, 1 GiB heap. For every number that is to mean something.
    Steady,
    /// First compiler only, serial collector, 512 MiB heap: starts in a third of the time. For tests of behaviour.
    Quick,
}

impl Jvm {
    /// The heap of a node that nobody set: as Kafka's own start script has it, or half of that.
    #[must_use]
    pub fn usual_heap_bytes(self) -> u64 {
        match self {
            Jvm::Steady => 1024 * MIB,
            Jvm::Quick => 512 * MIB,
        }
    }
}

const MIB: u64 = 1 << 20;
/// Heaps that a broker can have. Below, its 128 MiB for the log cleaner leave too little; above, it is a typo.
const HEAP_BYTES: std::ops::RangeInclusive<u64> = 256 * MIB..=64 * 1024 * MIB;

/// Whether a broker can live with such a heap, and the JVM's flags can say it: whole MiB, from 256 MiB to 64 GiB.
#[must_use]
pub fn is_heap(bytes: u64) -> bool {
    HEAP_BYTES.contains(&bytes) && bytes.is_multiple_of(MIB)
}

/// Properties that gauntlet must set itself, because clients, faults and clean-up rest on them.
pub const OWNED_PROPERTIES: [&str; 16] = [
    "advertised.listeners",
    "broker.id",
    "controller.listener.names",
    "controller.quorum.auto.join.enable",
    "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.dir",
    "log.dirs",
    "metadata.log.dir",
    "node.id",
    "process.roles",
    "security.inter.broker.protocol",
    "zookeeper.connect",
];

/// Most nodes of a local cluster. Each is a JVM of over 300 MB; a larger number is a typo.
const NODES_MAX: u16 = 50;

/// Why a spec describes no cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Too few or too many nodes.
    #[error("{what} must be from 1 to {NODES_MAX}, not {count}")]
    Count {
        /// `brokers` or `controllers`, those that are added later included.
        what: &'static str,
        /// The number given.
        count: u16,
    },
    /// An even quorum: it tolerates no more failures than the odd one below it.
    #[error("controllers must be an odd number, not {count}: {count} tolerate no more failures than {}", count - 1)]
    EvenQuorum {
        /// The number given.
        count: u16,
    },
    /// A spare voter of a quorum that takes none.
    #[error("controllers that join later need a quorum that is dynamic")]
    StaticQuorum,
    /// A heap that no broker can live with, or that the JVM's flags can't say.
    #[error("the heap must be whole MiB from {} MiB to {} MiB, not {bytes} bytes", HEAP_BYTES.start() / MIB, HEAP_BYTES.end() / MIB)]
    Heap {
        /// The size given.
        bytes: u64,
    },
    /// No later release.
    #[error("{to} is no upgrade of {from}: name a later version")]
    NoUpgrade {
        /// What it runs.
        from: KafkaVersion,
        /// What it should become.
        to: KafkaVersion,
    },
    /// A disk that is too small for a broker.
    #[error("disks must have {} MiB at least, not {bytes} bytes", disks::BYTES_MIN >> 20)]
    DiskSize {
        /// The size given.
        bytes: u64,
    },
    /// Disks that can't be.
    #[error("disks of a stated size are not possible here: {why}")]
    NoDisks {
        /// Why not.
        why: &'static str,
    },
    /// Data in memory is gone with its cluster.
    #[error("disks of a stated size are in memory and can't be kept")]
    DisksKept,
    /// A proxy where nodes have a real network.
    #[error(
        "nodes in network namespaces have no proxy in front of them: faults of their network are real ones"
    )]
    ProxiedNetns,
    /// A shim where there can't be one.
    #[error("faults of disk and clock need a library in front of the C library: {why}")]
    NoShim {
        /// Why there is none.
        why: &'static str,
    },
    /// A property that the user may not set.
    #[error("config may not set {name}: gauntlet sets it itself")]
    Owned {
        /// The property.
        name: String,
    },
    /// A property name that Kafka can't have.
    #[error("config names {name:?}, which is no property name (letters, digits, '.', '_' and '-')")]
    PropertyName {
        /// The name given.
        name: String,
    },
    /// No name of an image.
    #[error("{image:?} is no name of an image, such as apache/kafka:4.3.0")]
    Image {
        /// The name given.
        image: String,
    },
    /// Something that gauntlet's own processes can have, and containers can't.
    #[error("nodes in containers have no {what}: use local ones")]
    NotInContainers {
        /// What it is.
        what: &'static str,
    },
    /// A property that images would take for another one.
    #[error(
        "config names {name}, which an image would read as another property: KAFKA_ variables know no capitals, and no '.' beside '_' or '-'"
    )]
    Inexpressible {
        /// The name given.
        name: String,
    },
    /// Data in volumes of the engine are gone with its containers.
    #[error("data of nodes in containers are in volumes that go with them, and can't be kept")]
    VolumesKept,
    /// The distribution that was named does not exist.
    #[error("{} is not a directory", dir.display())]
    NoSuchDirectory {
        /// The directory that was named.
        dir: PathBuf,
    },
}

impl LocalSpec {
    /// Checks all rules that need no look at the host except that a named distribution exists.
    pub fn validate(&self) -> Result<(), SpecError> {
        let in_range = |what, count| match count {
            1..=NODES_MAX => Ok(()),
            _ => Err(SpecError::Count { what, count }),
        };
        in_range("brokers", self.brokers)?;
        in_range("brokers", self.brokers.saturating_add(self.spare_brokers))?;
        if let Controllers::Isolated(count) = self.controllers {
            in_range("controllers", count)?;
            in_range("controllers", count.saturating_add(self.spare_controllers))?;
            if count % 2 == 0 {
                return Err(SpecError::EvenQuorum { count });
            }
        }
        if self.spare_controllers > 0 && !self.dynamic_quorum {
            return Err(SpecError::StaticQuorum);
        }
        if let Some(bytes) = self.heap_bytes.filter(|bytes| !is_heap(*bytes)) {
            return Err(SpecError::Heap { bytes });
        }
        if let (KafkaSource::Maven(from), Some(to)) = (&self.kafka, &self.upgrade_to) {
            must_be_later(from, to)?;
        }
        if let KafkaSource::Image(image) = &self.kafka {
            self.validate_containers(image)?;
        }
        if let Some(bytes) = self.disk_bytes.filter(|bytes| *bytes < disks::BYTES_MIN) {
            return Err(SpecError::DiskSize { bytes });
        }
        if let Some(why) = disks::why_not().filter(|_| self.disk_bytes.is_some()) {
            return Err(SpecError::NoDisks { why });
        }
        if self.proxied && self.isolation == Isolation::Netns {
            return Err(SpecError::ProxiedNetns);
        }
        if let Some(why) = shim::why_not().filter(|_| self.shimmed) {
            return Err(SpecError::NoShim { why });
        }
        for name in self.config.keys() {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if name.is_empty() || !name.chars().all(allowed) {
                return Err(SpecError::PropertyName { name: name.clone() });
            }
            if OWNED_PROPERTIES.contains(&name.as_str()) {
                return Err(SpecError::Owned { name: name.clone() });
            }
        }
        match &self.kafka {
            KafkaSource::Directory(dir) if !dir.is_dir() => {
                Err(SpecError::NoSuchDirectory { dir: dir.clone() })
            }
            KafkaSource::Directory(_) | KafkaSource::Maven(_) | KafkaSource::Image(_) => Ok(()),
        }
    }

    /// What containers can't have or be.
    fn validate_containers(&self, image: &str) -> Result<(), SpecError> {
        if !docker::is_image(image) {
            return Err(SpecError::Image { image: image.to_owned() });
        }
        let impossible = [
            (self.security.is_some(), "security"),
            (self.isolation != Isolation::Process, "network namespaces"),
            (self.disk_bytes.is_some(), "disks of a stated size"),
            (self.proxied, "a proxy in front of them"),
            (self.shimmed, "a library in front of the C library"),
            (self.upgrade_to.is_some(), "an upgrade"),
            (self.spare_brokers > 0 || self.dynamic_quorum, "members that join or leave"),
        ];
        if let Some((_, what)) = impossible.iter().find(|(is_wanted, _)| *is_wanted) {
            return Err(SpecError::NotInContainers { what });
        }
        match self.config.keys().find(|name| !docker::is_expressible(name)) {
            Some(name) => Err(SpecError::Inexpressible { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Heap of each JVM.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        self.heap_bytes.unwrap_or(self.jvm.usual_heap_bytes())
    }

    /// Number of JVMs, when all that may join have.
    #[must_use]
    pub fn node_count(&self) -> usize {
        let isolated = match self.controllers {
            Controllers::Combined => 0,
            Controllers::Isolated(count) => count,
        };
        [self.brokers, self.spare_brokers, isolated, self.spare_controllers].map(usize::from).iter().sum()
    }
}

/// Kafka is upgraded; older brokers can't read what newer ones have written.
pub(super) fn must_be_later(from: &KafkaVersion, to: &KafkaVersion) -> Result<(), SpecError> {
    match to > from {
        true => Ok(()),
        false => Err(SpecError::NoUpgrade { from: from.clone(), to: to.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        LocalSpec::default().validate().unwrap();
        assert_eq!(LocalSpec::default().node_count(), 3);
    }

    const GIB_AND_A_BIT: u64 = 1024 * MIB + 1;

    fn image() -> KafkaSource {
        KafkaSource::Image("apache/kafka:4.3.0".to_owned())
    }

    #[test]
    fn each_rule_refuses_by_name() {
        let base = LocalSpec::default();
        let with = |name: &str| BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        let cases = [
            (LocalSpec { brokers: 0, ..base.clone() }, "brokers must be from 1"),
            (LocalSpec { brokers: 51, ..base.clone() }, "not 51"),
            (
                LocalSpec { controllers: Controllers::Isolated(2), ..base.clone() },
                "tolerate no more failures than 1",
            ),
            (LocalSpec { spare_brokers: 48, ..base.clone() }, "brokers must be from 1 to 50, not 51"),
            (LocalSpec { spare_controllers: 1, ..base.clone() }, "need a quorum that is dynamic"),
            (LocalSpec { heap_bytes: Some(255 * MIB), ..base.clone() }, "from 256 MiB to 65536 MiB"),
            (LocalSpec { heap_bytes: Some(GIB_AND_A_BIT), ..base.clone() }, "not 1073741825 bytes"),
            (
                LocalSpec { proxied: true, isolation: Isolation::Netns, ..base.clone() },
                "have no proxy in front",
            ),
            (LocalSpec { disk_bytes: Some(63 << 20), ..base.clone() }, "64 MiB at least"),
            (LocalSpec { config: with("node.id"), ..base.clone() }, "may not set node.id"),
            (LocalSpec { config: with("a=b\nnode.id"), ..base.clone() }, "no property name"),
            (
                LocalSpec { upgrade_to: Some(KafkaVersion::DEFAULT), ..base.clone() },
                "4.3.0 is no upgrade of 4.3.0",
            ),
            (
                LocalSpec { kafka: image(), disk_bytes: Some(64 << 20), ..base.clone() },
                "have no disks of a stated",
            ),
            (LocalSpec { kafka: image(), shimmed: true, ..base.clone() }, "use local ones"),
            (LocalSpec { kafka: image(), config: with("a.B"), ..base.clone() }, "names a.B, which an image"),
            (LocalSpec { kafka: KafkaSource::Image("-v".to_owned()), ..base.clone() }, "no name of an image"),
            (LocalSpec { kafka: KafkaSource::Directory("/nonexistent".into()), ..base }, "not a directory"),
        ];
        for (spec, message) in cases {
            let error = spec.validate().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
