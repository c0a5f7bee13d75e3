//! A cluster of real brokers on this host: one JVM per node, KRaft, on loopback or in network namespaces.
//!
//! Layout: `spec` what is wanted, `topology` which nodes that makes, `ports` where they listen, `properties` their
//! configuration, `format` their directories, `containers` what the engine is told of those that are containers, `jvm` their command lines, `readiness` when they may be used, `security` who may
//! come in.

mod containers;
mod format;
mod jvm;
mod ports;
mod properties;
mod readiness;
mod security;
mod spec;
mod topology;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use format::FormatError;
pub use ports::PortError;
pub(crate) use ports::{ReservedPorts, broker_range};
pub use readiness::NotReady;
pub(crate) use security::operator_of;
pub use security::{AccessError, LocalSecurity, Mechanism, Protocol};
pub use spec::{Controllers, Isolation, Jvm, LocalSpec, OWNED_PROPERTIES, SpecError, is_heap};
pub(crate) use topology::{FIRST_CONTROLLER_ID, own_ports};
pub use topology::{Node, Roles};

use gauntlet_wire::{ConnectOptions, Permission, Security};

use self::containers::Containers;
use self::format::{FirstVoter, Format};
use self::security::Access;
use crate::docker;
use crate::error::ChaosError;
use crate::fault::{Admin, Starving};
use crate::files::{
    FileError, OnPath, create_marked_dir, create_private_dir, remove_marked_dir, write_atomically,
};
use crate::kafka_home::{Java, KafkaHome, KafkaSource, KafkaVersion};
use crate::process::ProcessIdentity;
use crate::proxy::Rule;
use crate::random::kafka_uuid;
use crate::shim::{self, NodePage, Orders, Seen};
use crate::supervisor::{
    Launcher, NodeCommand, NodeState, NodeStatus, SignalTimes, Supervisor, SupervisorConfig,
};
use crate::target::{Target, TargetError};

/// Where a cluster keeps its files. Relative paths are made absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDirs {
    /// Data, configuration and control socket. Must be empty or not exist; removed when the cluster ends, unless `keep_data`.
    pub data: PathBuf,
    /// Logs of nodes, JVMs and supervisor. Stays.
    pub logs: PathBuf,
    /// Jars and formats that all runs share: [`crate::cache_dir`].
    pub cache: PathBuf,
    /// Stop the nodes in order at the end and leave `data` in place.
    pub keep_data: bool,
    /// The run's undo journal ([`crate::UndoJournal::path`]), if faults may be injected. When the run dies, the supervisor
    /// heals what it says before it ends the nodes, and marks it.
    pub undo_journal: Option<PathBuf>,
}

/// A running local cluster. Dropping it ends all of it and waits until it is gone.
#[derive(Debug)]
pub struct LocalCluster {
    nodes: Vec<LocalNode>,
    cluster_id: String,
    version: Option<KafkaVersion>,
    access: Access,
    supervisor: Supervisor,
    /// After the supervisor, which ends whom it leaves stopped.
    starving: Starving,
    /// Nodes that are started from the jars of the later release.
    upgraded: Mutex<BTreeSet<i32>>,
    /// Spare nodes that have been added.
    joined: Mutex<BTreeSet<i32>>,
    /// Voters can join and leave the quorum.
    dynamic_quorum: bool,
    /// Every node has a disk of a stated size.
    own_disks: bool,
}

/// A node and where its traces are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Id, roles and ports.
    pub node: Node,
    /// Its `log.dirs`; `None` in a container, where they are the engine's.
    pub data_dir: Option<PathBuf>,
    /// What it printed: Kafka's log, from every start.
    pub log: PathBuf,
    /// The JVM's GC and safepoint log, stamped with CLOCK_MONOTONIC (`timenanos`); `None` in a container.
    pub gc_log: Option<PathBuf>,
    /// The page of its shim, if it has one.
    page: Option<NodePage>,
    run: NodeRun,
}

impl LocalNode {
    /// Its `log.dirs`; an error if they are in a container.
    pub(crate) fn log_dirs(&self) -> Result<&Path, ChaosError> {
        let why = || format!("the log.dirs of {} are in its container", self.node.name());
        self.data_dir.as_deref().ok_or_else(|| ChaosError::Refused { why: why() })
    }
}

/// How a node is run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NodeRun {
    /// As a process of the supervisor's.
    Process {
        command: NodeCommand,
        /// Once it is upgraded, if the cluster can be.
        upgraded: Option<Box<NodeCommand>>,
    },
    /// By the engine.
    Container,
}

/// A release that nodes are run from.
struct Release {
    home: KafkaHome,
    java: Java,
}

impl Release {
    fn find(source: &KafkaSource, cache: &Path) -> Result<Self, ChaosError> {
        let home = KafkaHome::resolve(source, cache)?;
        let java = Java::find(home.version.java_min())?;
        Ok(Self { home, java })
    }
}

impl LocalCluster {
    /// Starts a cluster and waits until every broker lists all brokers. If anything fails, everything is gone again when the
    /// error is returned, except the logs.
    pub fn start(spec: &LocalSpec, dirs: &ClusterDirs, launcher: &Launcher) -> Result<Self, ChaosError> {
        spec.validate()?;
        if let KafkaSource::Image(image) = &spec.kafka {
            return Self::start_containers(spec, dirs, launcher, image);
        }
        let release = Release::find(&spec.kafka, &dirs.cache)?;
        let later = |to: &KafkaVersion| Release::find(&KafkaSource::Maven(to.clone()), &dirs.cache);
        let later = spec.upgrade_to.as_ref().map(later).transpose()?;
        let releases = Releases { first: &release, later: later.as_ref() };
        if let Some(later) = releases.later {
            spec::must_be_later(&release.home.version, &later.home.version)?;
        }
        if spec.disk_bytes.is_some() && dirs.keep_data {
            return Err(SpecError::DisksKept.into());
        }
        releases.all().try_for_each(|release| refuse_awkward(&release.home.libs))?;
        Self::start_from(spec, dirs, launcher, Origin::Jars(releases))
    }

    fn start_containers(
        spec: &LocalSpec,
        dirs: &ClusterDirs,
        launcher: &Launcher,
        image: &str,
    ) -> Result<Self, ChaosError> {
        if dirs.keep_data {
            return Err(SpecError::VolumesKept.into());
        }
        docker::ensure_image(image)?;
        Self::start_from(spec, dirs, launcher, Origin::Image(image))
    }

    fn start_from(
        spec: &LocalSpec,
        dirs: &ClusterDirs,
        launcher: &Launcher,
        origin: Origin<'_>,
    ) -> Result<Self, ChaosError> {
        let dirs = prepare(dirs)?;
        let started = Self::start_in(spec, &dirs, launcher, origin);
        // Normally the supervisor did it; this is for the failures before there was one. What says where containers are is not removed
        // before they are.
        if started.is_err() && !dirs.keep_data && !dirs.data.join(docker::DOCKER_FILE).exists() {
            remove_marked_dir(&dirs.data)?;
        }
        started
    }

    fn start_in(
        spec: &LocalSpec,
        dirs: &ClusterDirs,
        launcher: &Launcher,
        origin: Origin<'_>,
    ) -> Result<Self, ChaosError> {
        let deadline = Instant::now() + spec.ready_within;
        let config = SupervisorConfig {
            state_dir: dirs.data.clone(),
            remove_dir: (!dirs.keep_data).then(|| dirs.data.clone()),
            log: dirs.logs.join("supervisor.log"),
            undo_journal: dirs.undo_journal.clone(),
            foreign: false,
        };
        let supervisor = Supervisor::launch(launcher, &config)?;
        let nodes = match spec.isolation {
            Isolation::Process => {
                let ports = supervisor.reserve_ports(topology::ports_needed(spec))?;
                topology::lay_out(spec, &ports)
            }
            Isolation::Netns => {
                let network = supervisor.make_network(topology::ids(spec))?;
                topology::lay_out_in(spec, &network)
            }
        };
        if let Some(bytes) = spec.disk_bytes {
            let of_node = |node: &Node| data_dir_of(&dirs.data, node);
            supervisor.make_disks(nodes.iter().map(of_node).collect(), bytes)?;
        }
        let cluster_id = kafka_uuid();
        let hosts: BTreeSet<Ipv4Addr> = nodes.iter().map(|node| node.host).collect();
        let access = Access::make(spec.security, &Vec::from_iter(hosts), &dirs.data)?;
        let nodes = match origin {
            Origin::Jars(releases) => {
                let files = NodeFiles { spec, dirs, releases, access: &access, cluster_id: &cluster_id };
                let nodes = files.write(&nodes)?;
                supervisor
                    .trim_page_cache(nodes.iter().filter_map(|node| node.data_dir.clone()).collect())?;
                nodes
            }
            Origin::Image(image) => {
                let cluster_id = &cluster_id;
                let containers = Containers { spec, access: &access, logs: &dirs.logs, cluster_id };
                let (nodes, containers) = containers.describe(&nodes);
                supervisor.make_containers(image.to_owned(), containers)?;
                nodes
            }
        };
        if spec.proxied {
            supervisor.start_proxy(nodes.iter().flat_map(|node| node.node.fronts()).collect())?;
        }
        if spec.shimmed {
            supervisor.use_shims(nodes.iter().filter_map(|node| node.page.clone()).collect())?;
        }
        let version = origin.version();
        let cluster = Self {
            nodes,
            cluster_id,
            version,
            access,
            supervisor,
            starving: Starving::default(),
            upgraded: Mutex::default(),
            joined: Mutex::default(),
            dynamic_quorum: spec.dynamic_quorum,
            own_disks: spec.disk_bytes.is_some(),
        };
        cluster.start_all()?;
        for node in cluster.brokers() {
            cluster.wait_until_ready(node, deadline)?;
        }
        cluster.refuse_without_shim()?;
        cluster.access.admit_load(&cluster.bootstrap(), deadline)?;
        Ok(cluster)
    }

    /// Addresses of all brokers, `host:port`.
    #[must_use]
    pub fn bootstrap(&self) -> Vec<String> {
        self.broker_addresses().into_values().collect()
    }

    /// As [`LocalCluster::bootstrap`], those first that neither stand still nor are gone: of others an answer is only waited for.
    pub(crate) fn bootstrap_of_running(&self) -> Vec<String> {
        let statuses = self.statuses().unwrap_or_default();
        let runs = |id: i32| statuses.iter().any(|s| s.node == id && s.state == NodeState::Running);
        let mut addresses: Vec<(bool, String)> =
            self.broker_addresses().into_iter().map(|(id, addr)| (!runs(id), addr)).collect();
        addresses.sort_by_key(|(stands, _)| *stands);
        addresses.into_iter().map(|(_, addr)| addr).collect()
    }

    /// `host:port` of every broker, by id.
    #[must_use]
    pub fn broker_addresses(&self) -> BTreeMap<i32, String> {
        self.members().filter_map(|node| Some((node.node.id, node.node.client_addr()?))).collect()
    }

    /// The nodes that belong to the cluster, whether they run or not: those that may be added do once they are.
    pub(crate) fn members(&self) -> impl Iterator<Item = &LocalNode> {
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.nodes.iter().filter(move |node| !node.node.is_spare || joined.contains(&node.node.id))
    }

    /// A node that may be added belongs to the cluster from now on, or no longer.
    pub(crate) fn set_joined(&self, id: i32, has_joined: bool) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if has_joined {
            joined.insert(id)
        } else {
            joined.remove(&id)
        };
    }

    /// Whether voters can join and leave its quorum.
    pub(crate) fn has_dynamic_quorum(&self) -> bool {
        self.dynamic_quorum
    }

    /// How the user of the load connects: by what the spec says, with secrets that were made for this cluster.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.access.load
    }

    /// How its operator connects, who may do everything.
    #[must_use]
    pub fn operator(&self) -> ConnectOptions {
        ConnectOptions { security: self.access.operator.clone(), ..ConnectOptions::default() }
    }

    /// An operator's access to its brokers, for `limit` from now on.
    pub(crate) fn admin(&self, limit: Duration) -> Admin {
        Admin::new(self.broker_addresses(), self.access.operator.clone(), limit)
    }

    /// Whom ACLs have to name for the load; `None` if the cluster has none.
    #[must_use]
    pub fn load_principal(&self) -> Option<&'static str> {
        self.access.load_principal()
    }

    /// The certificate of the authority that vouches for the brokers, as PEM, where there is TLS.
    #[must_use]
    pub fn authority_file(&self) -> Option<&Path> {
        self.access.authority_file()
    }

    /// Key and certificate of the user of the load in one file, as PEM, where brokers ask for them. It is removed with the cluster.
    #[must_use]
    pub fn load_identity_file(&self) -> Option<&Path> {
        self.access.load_file()
    }

    /// Grants the user of the load what is listed, and waits until every broker has applied it, `limit` at most. Nothing is
    /// to be done on a cluster without ACLs.
    pub fn grant(&self, permissions: &[Permission], limit: Duration) -> Result<(), ChaosError> {
        Ok(self.access.grant(&self.bootstrap(), permissions, Instant::now() + limit)?)
    }

    /// All nodes, those included that may be added: brokers by id, then isolated controllers by id.
    #[must_use]
    pub fn nodes(&self) -> &[LocalNode] {
        &self.nodes
    }

    /// The `cluster.id` it was formatted with.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The version of Kafka it was started with; `None` if only its image knows.
    #[must_use]
    pub fn version(&self) -> Option<&KafkaVersion> {
        self.version.as_ref()
    }

    /// Whether its nodes are containers of an engine.
    pub(crate) fn is_in_containers(&self) -> bool {
        self.nodes.iter().any(|node| node.run == NodeRun::Container)
    }

    /// Starts all nodes: containers at the same time, as each takes its engine a while.
    fn start_all(&self) -> Result<(), ChaosError> {
        if !self.is_in_containers() {
            return self.members().try_for_each(|node| self.start_node(node.node.id).map(|_| ()));
        }
        let results: Vec<Result<SignalTimes, ChaosError>> = thread::scope(|scope| {
            let start = |node: &LocalNode| {
                let id = node.node.id;
                scope.spawn(move || self.start_node(id))
            };
            let threads: Vec<_> = self.nodes.iter().map(start).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        });
        results.into_iter().try_for_each(|started| started.map(|_| ()))
    }

    /// The supervisor's process.
    #[must_use]
    pub fn supervisor_process(&self) -> ProcessIdentity {
        self.supervisor.process()
    }

    /// Which process each node is, and what it is doing.
    pub fn statuses(&self) -> Result<Vec<NodeStatus>, ChaosError> {
        Ok(self.supervisor.list()?)
    }

    /// Sends SIGKILL; `seen_ns` is when the process was gone.
    pub fn kill(&self, id: i32) -> Result<SignalTimes, ChaosError> {
        Ok(self.supervisor.kill(id)?)
    }

    /// Sends SIGTERM; `seen_ns` is when the process was gone. An error if it was not by `deadline`: it still runs then.
    pub fn stop(&self, id: i32, deadline: Duration) -> Result<SignalTimes, ChaosError> {
        Ok(self.supervisor.stop(id, deadline)?)
    }

    /// Sends SIGSTOP; `seen_ns` is when all of its threads were stopped.
    pub fn pause(&self, id: i32) -> Result<SignalTimes, ChaosError> {
        Ok(self.supervisor.pause(id)?)
    }

    /// Sends SIGCONT; `seen_ns` is when it ran again.
    pub fn resume(&self, id: i32) -> Result<SignalTimes, ChaosError> {
        Ok(self.supervisor.resume(id)?)
    }

    /// Who is left a share of the time only.
    pub(crate) fn starving(&self) -> &Starving {
        &self.starving
    }

    /// Puts rules of the network into force for `fault`, in place of those it had. Only for a cluster with
    /// [`LocalSpec::proxied`], or [`Isolation::Netns`].
    pub fn install_rules(&self, fault: &str, rules: Vec<Rule>) -> Result<SignalTimes, ChaosError> {
        Ok(self.supervisor.install_rules(fault, rules)?)
    }

    /// Takes the rules of `fault` out of force; harmless if it has none.
    pub fn remove_rules(&self, fault: &str) -> Result<SignalTimes, ChaosError> {
        Ok(self.supervisor.remove_rules(fault)?)
    }

    /// When the rules of `fault` first acted on bytes or a connection, if they have; CLOCK_MONOTONIC, nanoseconds.
    pub fn first_acted_ns(&self, fault: &str) -> Result<Option<u64>, ChaosError> {
        Ok(self.supervisor.first_acted_ns(fault)?)
    }

    /// Orders the shim of node `id` to do so, instead of what it was ordered before.
    pub(crate) fn order_shim(&self, id: i32, orders: Orders) -> Result<SignalTimes, ChaosError> {
        Ok(self.supervisor.order_shim(id, orders)?)
    }

    /// Takes back what the shim of node `id` was ordered; harmless if it was not.
    pub(crate) fn take_back_shim(&self, id: i32) -> Result<SignalTimes, ChaosError> {
        Ok(self.supervisor.take_back_shim(id)?)
    }

    /// What the shim of node `id` has done of what it was ordered last.
    pub(crate) fn shim_seen(&self, id: i32) -> Result<Seen, ChaosError> {
        Ok(self.supervisor.shim_seen(id)?)
    }

    /// Whether node `id` runs with a shim.
    pub(crate) fn has_shim(&self, id: i32) -> Result<bool, ChaosError> {
        Ok(self.node(id)?.page.is_some())
    }

    /// Whether every node has a disk of a stated size.
    pub(crate) fn has_own_disks(&self) -> bool {
        self.own_disks
    }

    /// The node of this id.
    pub(crate) fn local_node(&self, id: i32) -> Result<&LocalNode, ChaosError> {
        self.node(id)
    }

    /// A library that can't be preloaded is left out with a warning: better no run than one whose faults do nothing.
    fn refuse_without_shim(&self) -> Result<(), ChaosError> {
        self.members().try_for_each(|node| self.check_shim(node.node.id))
    }

    /// An error if node `id` is to have a shim, and runs without.
    pub(crate) fn check_shim(&self, id: i32) -> Result<(), ChaosError> {
        let node = self.node(id)?;
        if node.page.is_some() && !self.shim_seen(id)?.is_mapped {
            return Err(ChaosError::NoShim { name: node.node.name(), log: node.log.clone() });
        }
        Ok(())
    }

    /// Starts a node that is down, on its old data and ports; `seen_ns` is when the process existed. It serves nobody before
    /// [`LocalCluster::wait_ready`].
    pub fn start_node(&self, id: i32) -> Result<SignalTimes, ChaosError> {
        let (command, upgraded) = match &self.node(id)?.run {
            NodeRun::Process { command, upgraded } => (command, upgraded),
            NodeRun::Container => return Ok(self.supervisor.start_container(id)?),
        };
        let is_upgraded = self.upgraded.lock().unwrap_or_else(PoisonError::into_inner).contains(&id);
        let command = upgraded.as_deref().filter(|_| is_upgraded).unwrap_or(command);
        Ok(self.supervisor.start(id, command)?)
    }

    /// From its next start on, node `id` runs the release of [`LocalSpec::upgrade_to`]. Harmless when repeated.
    pub(crate) fn upgrade(&self, id: i32) -> Result<(), ChaosError> {
        if !matches!(self.node(id)?.run, NodeRun::Process { upgraded: Some(_), .. }) {
            let why = "the cluster was started without a release to upgrade to".to_owned();
            return Err(ChaosError::Refused { why });
        }
        self.upgraded.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Ok(())
    }

    /// Waits until broker `id` answers and lists every broker that runs. Gives the time of that answer, CLOCK_MONOTONIC.
    /// Fails with the end of its log when it exits, or when `limit` is over.
    pub fn wait_ready(&self, id: i32, limit: Duration) -> Result<u64, ChaosError> {
        self.wait_until_ready(self.node(id)?, Instant::now() + limit)
    }

    /// Waits until node `id` is whole after a fault; gives the time when that was seen, CLOCK_MONOTONIC. A broker is whole
    /// when it answers and lists itself: it is registered and not fenced. A controller, which answers no client, is when it
    /// listens and the quorum has a leader, as told by a broker that runs. Unlike [`LocalCluster::wait_ready`] it does not mind
    /// what other nodes do, so that faults may overlap.
    pub(crate) fn wait_whole(&self, id: i32, limit: Duration) -> Result<u64, ChaosError> {
        let deadline = Instant::now() + limit;
        let node = self.node(id)?;
        let registered_ns =
            readiness::wait_registered(&self.supervisor, node, &self.access.operator, deadline)?;
        if node.node.controller_port.is_none() {
            return Ok(registered_ns);
        }
        readiness::wait_quorum(&self.supervisor, node, &self.nodes, &self.access.operator, deadline)
    }

    /// Partitions whose replicas are not all in sync, as broker `witness` says: `orders-0 (1, 2 of 1, 2, 3)`.
    pub(crate) fn out_of_sync(&self, witness: i32) -> Result<Vec<String>, ChaosError> {
        let node = self.node(witness)?;
        Ok(readiness::out_of_sync(node, &self.access.operator)?)
    }

    /// Kills a broker, the lowest that is not the active controller, and waits until the others have taken over what it led. It
    /// stays down. Returns its id.
    ///
    /// # Errors
    /// Nobody but the active controller is there, or the others still count on it when `limit` is over.
    pub fn lose_broker(&self, limit: Duration) -> Result<i32, ChaosError> {
        let resolved = Target::NotController.resolve(self, &BTreeSet::new(), || true)?;
        let id =
            *resolved.nodes.first().ok_or_else(|| TargetError::Vacant("no broker was found".to_owned()))?;
        self.kill(id)?;
        let deadline = Instant::now() + limit;
        let operator = &self.access.operator;
        readiness::wait_unlisted(&self.supervisor, self.node(id)?, &self.nodes, operator, deadline)?;
        Ok(id)
    }

    /// Ends all nodes and the supervisor, removes the data unless it is to be kept, and reports what went wrong with it.
    pub fn shutdown(self) -> Result<(), ChaosError> {
        Ok(self.supervisor.shutdown()?)
    }

    /// Lets the cluster outlive this process, for at most `ttl`.
    pub(crate) fn detach(self, ttl: Duration) -> Result<(), ChaosError> {
        Ok(self.supervisor.detach(ttl)?)
    }

    fn node(&self, id: i32) -> Result<&LocalNode, ChaosError> {
        self.nodes.iter().find(|node| node.node.id == id).ok_or_else(|| ChaosError::NoSuchNode {
            id,
            known: self.nodes.iter().map(|node| node.node.id).collect(),
        })
    }

    fn brokers(&self) -> impl Iterator<Item = &LocalNode> {
        self.members().filter(|node| node.node.client_port.is_some())
    }

    fn wait_until_ready(&self, node: &LocalNode, deadline: Instant) -> Result<u64, ChaosError> {
        readiness::wait(&self.supervisor, node, &self.nodes, &self.access.operator, deadline)
    }
}

/// Makes the directories and returns their absolute paths.
fn prepare(dirs: &ClusterDirs) -> Result<ClusterDirs, ChaosError> {
    let absolute = |path: &Path| std::path::absolute(path).on("resolve", path);
    let dirs = ClusterDirs {
        data: absolute(&dirs.data)?,
        logs: absolute(&dirs.logs)?,
        undo_journal: dirs.undo_journal.as_deref().map(absolute).transpose()?,
        ..dirs.clone()
    };
    refuse_awkward(&dirs.data)?;
    refuse_awkward(&dirs.logs)?;
    create_marked_dir(&dirs.data)?;
    create_private_dir(&dirs.logs)?;
    Ok(dirs)
}

/// `log.dirs` of a node.
fn data_dir_of(data: &Path, node: &Node) -> PathBuf {
    data.join(node.name()).join("data")
}

/// Refuses paths that can't be said to a broker: `log.dirs` is split at commas, a class path at colons, JVM logs expand `%`
/// and take quotes, and a configuration file is text.
fn refuse_awkward(path: &Path) -> Result<(), ChaosError> {
    let awkward = |c: char| matches!(c, ',' | ':' | ';' | '%' | '"' | '*') || c.is_control();
    match path.to_str().map(|text| text.find(awkward)) {
        Some(None) => Ok(()),
        _ => Err(ChaosError::AwkwardPath { path: path.to_path_buf() }),
    }
}

/// What a cluster is made of.
#[derive(Clone, Copy)]
enum Origin<'a> {
    /// Processes, from jars.
    Jars(Releases<'a>),
    /// Containers, of this image.
    Image(&'a str),
}

impl Origin<'_> {
    fn version(&self) -> Option<KafkaVersion> {
        match self {
            Self::Jars(releases) => Some(releases.first.home.version.clone()),
            Self::Image(_) => None,
        }
    }
}

/// What nodes are run from: in the beginning, and after an upgrade if there may be one.
#[derive(Clone, Copy)]
struct Releases<'a> {
    first: &'a Release,
    later: Option<&'a Release>,
}

impl<'a> Releases<'a> {
    fn all(self) -> impl Iterator<Item = &'a Release> {
        std::iter::once(self.first).chain(self.later)
    }
}

/// What the files of nodes are written from.
struct NodeFiles<'a> {
    spec: &'a LocalSpec,
    dirs: &'a ClusterDirs,
    releases: Releases<'a>,
    access: &'a Access,
    cluster_id: &'a str,
}

impl NodeFiles<'_> {
    /// Formats every node and writes its configuration.
    fn write(&self, nodes: &[Node]) -> Result<Vec<LocalNode>, ChaosError> {
        let Release { home, java } = self.releases.first;
        let checkpoint = format::bootstrap_checkpoint(home, java, &self.dirs.data.join("format"))?;
        for release in self.releases.all() {
            let logging = jvm::logging_config(release.home.logging);
            let path = self.logging_config(release);
            fs::write(&path, logging.content).on("write", &path)?;
        }
        let directories: Vec<String> = nodes.iter().map(|_| kafka_uuid()).collect();
        let snapshot = self.first_snapshot(nodes, &directories)?;
        let written = nodes.iter().zip(&directories).map(|(node, directory)| {
            let is_voter = node.controller_port.is_some() && !node.is_spare;
            let snapshot = snapshot.as_deref().filter(|_| is_voter);
            let (cluster_id, checkpoint) = (self.cluster_id, &checkpoint[..]);
            let format = Format { cluster_id, node_id: node.id, directory, checkpoint, snapshot };
            self.write_node(node, nodes, &format)
        });
        Ok(written.collect::<Result<_, _>>()?)
    }

    /// What its first voters begin with, where the quorum is dynamic.
    fn first_snapshot(&self, nodes: &[Node], directories: &[String]) -> Result<Option<Vec<u8>>, FormatError> {
        if !self.spec.dynamic_quorum {
            return Ok(None);
        }
        let Release { home, java } = self.releases.first;
        let first = nodes.iter().zip(directories).filter(|(node, _)| !node.is_spare);
        let voter = |(node, directory): (&Node, &String)| {
            let addr = SocketAddr::from((node.host, node.controller_port?));
            Some(FirstVoter { id: node.id, addr, directory: directory.clone() })
        };
        let voters: Vec<FirstVoter> = first.filter_map(voter).collect();
        format::first_snapshot(home, java, &self.dirs.data.join("format-quorum"), &voters).map(Some)
    }

    /// What a node's logging is configured by: one file for each kind of it.
    fn logging_config(&self, release: &Release) -> PathBuf {
        self.dirs.data.join(jvm::logging_config(release.home.logging).file_name)
    }

    fn write_node(&self, node: &Node, nodes: &[Node], format: &Format<'_>) -> Result<LocalNode, FileError> {
        let work_dir = self.dirs.data.join(node.name());
        let data_dir = data_dir_of(&self.dirs.data, node);
        format.write(&data_dir)?;
        let temp_dir = work_dir.join("tmp");
        create_private_dir(&temp_dir)?;
        let properties = work_dir.join("server.properties");
        // It may hold passwords.
        let text = properties::render(self.spec, self.access, node, nodes, &data_dir);
        write_atomically(&properties, text.as_bytes())?;
        let log = self.dirs.logs.join(format!("{}.log", node.name()));
        let gc_log = self.dirs.logs.join(format!("{}-gc.log", node.name()));
        let command = |release: &Release| {
            let paths = jvm::NodePaths {
                properties: &properties,
                logging_config: &self.logging_config(release),
                work_dir: &work_dir,
                temp_dir: &temp_dir,
                log: &log,
                gc_log: &gc_log,
            };
            jvm::node_command(&release.java, &release.home, self.spec, &paths)
        };
        let mut command_lines = (command(self.releases.first), self.releases.later.map(command));
        let mut page = None;
        if self.spec.shimmed {
            let (own, environment) = shim::install(node.id, &work_dir, &data_dir)?;
            for line in std::iter::once(&mut command_lines.0).chain(&mut command_lines.1) {
                line.env.extend(environment.clone());
            }
            page = Some(own);
        }
        for line in std::iter::once(&mut command_lines.0).chain(&mut command_lines.1) {
            line.namespace.clone_from(&node.namespace);
        }
        let (command, upgraded) = command_lines;
        let (data_dir, gc_log) = (Some(data_dir), Some(gc_log));
        let run = NodeRun::Process { command, upgraded: upgraded.map(Box::new) };
        Ok(LocalNode { node: node.clone(), data_dir, log, gc_log, page, run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults act on a cluster from threads of their own.
    #[test]
    fn a_cluster_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<LocalCluster>();
    }

    #[test]
    fn paths_a_broker_can_not_be_told_are_refused_before_anything_starts() {
        for path in ["/run/a,b", "/run/a:b", "/run/100%", "/run/\"", "/run/a\nb"] {
            assert!(refuse_awkward(Path::new(path)).is_err(), "{path}");
        }
        refuse_awkward(Path::new("/run/with blank/20261121-0903-7f3a")).unwrap();
    }
}
