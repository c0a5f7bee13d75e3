//! The brokers of a bench, and the topics on them: one per trial, gone before the next.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use gauntlet_chaos::{ClusterDirs, Launcher, LocalCluster, LocalSecurity, LocalSpec, Protocol};
use gauntlet_wire::admin::connect_first;
use gauntlet_wire::{ConnectOptions, Connection, OffsetSpec, WireError};

use super::BenchError;
use super::options::BenchOptions;
use crate::plan::{Lifecycle, TopicPlan};
use crate::run::{broker_usage, topics};
use crate::series::clusters::wait_for_removal;

/// Brokers are quiet when all of them together take less than this part of one processor …
const QUIET_CORES: f64 = 0.3;
/// … over so long. What they still do after a load (flushing, deleting, compiling) is the load's.
const QUIET_FOR: Duration = Duration::from_millis(500);

/// Local brokers, or somebody else's.
pub struct BenchBrokers {
    local: Option<LocalCluster>,
    bootstrap: Vec<String>,
    connect: ConnectOptions,
    security: Option<String>,
}

impl BenchBrokers {
    /// Starts local brokers below `dir`, or makes sure that others can be reached.
    ///
    /// # Errors
    /// They don't start, or can't be reached.
    pub fn start(
        options: &BenchOptions,
        dir: &Path,
        cache: &Path,
        launcher: &Launcher,
    ) -> Result<Self, BenchError> {
        let connect = ConnectOptions::default();
        if !options.bootstrap.is_empty() {
            connect_first(&options.bootstrap, &connect)?;
            let bootstrap = options.bootstrap.clone();
            return Ok(BenchBrokers { local: None, bootstrap, connect, security: None });
        }
        Self::start_local(&options.local_spec(), &dirs(dir, "cluster", cache), launcher)
    }

    /// Starts local brokers like those of [`BenchBrokers::start`], with TLS between all of them and their clients.
    ///
    /// # Errors
    /// They don't start.
    pub fn start_secured(
        options: &BenchOptions,
        dir: &Path,
        cache: &Path,
        launcher: &Launcher,
    ) -> Result<Self, BenchError> {
        let security = Some(LocalSecurity { protocol: Protocol::Ssl, acls: false });
        let spec = LocalSpec { security, ..options.local_spec() };
        Self::start_local(&spec, &dirs(dir, "cluster-tls", cache), launcher)
    }

    fn start_local(spec: &LocalSpec, dirs: &ClusterDirs, launcher: &Launcher) -> Result<Self, BenchError> {
        let local = LocalCluster::start(spec, dirs, launcher)?;
        let security = local.authority_file().zip(local.load_identity_file()).map(|(trust, identity)| {
            format!(
                "{{ security.protocol: SSL, ssl.truststore.location: \"{}\", ssl.keystore.location: \"{}\" }}",
                trust.display(),
                identity.display()
            )
        });
        let (bootstrap, connect) = (local.bootstrap(), local.operator());
        Ok(BenchBrokers { bootstrap, local: Some(local), connect, security })
    }

    /// How scenarios connect, as YAML; `None` if nothing has to be said.
    #[must_use]
    pub fn security(&self) -> Option<&str> {
        self.security.as_deref()
    }

    /// Addresses to begin with.
    #[must_use]
    pub fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    /// Version of Kafka, if the brokers are ours.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.local.as_ref()?.version().map(ToString::to_string)
    }

    /// Ends local brokers and removes their data.
    ///
    /// # Errors
    /// Something of them is left.
    pub fn end(self) -> Result<(), BenchError> {
        self.local.map_or(Ok(()), |local| Ok(local.shutdown()?))
    }

    /// Makes a topic and waits until all of it is led and in sync.
    ///
    /// # Errors
    /// It is there already, or the brokers refuse.
    pub fn create(
        &self,
        name: &str,
        partitions: u32,
        options: &BenchOptions,
    ) -> Result<TrialTopic, BenchError> {
        let plan = TopicPlan {
            name: name.to_owned(),
            partitions,
            replication_factor: Some(options.replication_factor),
            config: topic_config(options),
            lifecycle: Lifecycle::PerRun,
        };
        topics::prepare(&self.bootstrap, &plan, &[], &[], &self.connect)?;
        let ends = EndOffsets::connect(&self.bootstrap, name, &self.connect)?;
        Ok(TrialTopic { plan, ends })
    }

    /// Deletes a topic, and waits until its files are gone. Returns what a person should know.
    ///
    /// # Errors
    /// The brokers refuse.
    pub fn delete(&self, topic: &TrialTopic) -> Result<Option<String>, BenchError> {
        topics::delete(&self.bootstrap, &topic.plan, &self.connect)?;
        let local = self.local.as_ref();
        Ok(local.and_then(|local| wait_for_removal(local, &[], std::iter::once(topic.plan.name.as_str()))))
    }

    /// User and system time that all local brokers have taken so far.
    #[must_use]
    pub fn cpu_s(&self) -> Option<f64> {
        broker_usage::cpu_s(&broker_usage::processes(self.local.as_ref()?)?)
    }

    /// Bytes in the segments of a topic, all replicas together.
    #[must_use]
    pub fn log_bytes(&self, topic: &TrialTopic) -> Option<u64> {
        let local = self.local.as_ref()?;
        broker_usage::log_bytes(local, std::slice::from_ref(&topic.plan))
    }

    /// Waits until local brokers have nothing to do, but no longer than `limit`. Returns what a person should know. `stop` ends
    /// the wait early.
    pub fn wait_until_quiet(&self, limit: Duration, stop: &dyn Fn() -> bool) -> Option<String> {
        if limit.is_zero() {
            return None;
        }
        let deadline = Instant::now() + limit;
        loop {
            let (begun, before_s) = (Instant::now(), self.cpu_s()?);
            std::thread::sleep(QUIET_FOR);
            let cores = (self.cpu_s()? - before_s) / begun.elapsed().as_secs_f64();
            if cores < QUIET_CORES || stop() {
                return None;
            }
            if Instant::now() >= deadline {
                return Some(format!(
                    "the brokers still take {cores:.1} processors after {} s; the next trial goes on beside that",
                    limit.as_secs()
                ));
            }
        }
    }
}

fn dirs(dir: &Path, name: &str, cache: &Path) -> ClusterDirs {
    ClusterDirs {
        data: dir.join(name),
        logs: dir.join("logs").join(name),
        cache: cache.to_path_buf(),
        keep_data: false,
        undo_journal: None,
    }
}

/// Segments outlast a trial: the partitions are new and equally full, so all replicas would begin a new one at the same time.
fn topic_config(options: &BenchOptions) -> BTreeMap<String, String> {
    let min_isr = options.replication_factor.min(2);
    BTreeMap::from([
        ("min.insync.replicas".to_owned(), min_isr.to_string()),
        ("retention.bytes".to_owned(), "-1".to_owned()),
        ("retention.ms".to_owned(), "-1".to_owned()),
        ("segment.bytes".to_owned(), i32::MAX.to_string()),
    ])
}

/// A topic of one trial.
pub struct TrialTopic {
    plan: TopicPlan,
    /// Where its partitions end.
    pub ends: EndOffsets,
}

impl TrialTopic {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }
}

/// Asks the leaders of a topic where its partitions end, over connections that stay: nothing but a few requests a second is
/// added to what the brokers do.
pub struct EndOffsets {
    topic: String,
    leaders: Vec<(Connection, Vec<i32>)>,
}

impl EndOffsets {
    fn connect(bootstrap: &[String], topic: &str, options: &ConnectOptions) -> Result<Self, WireError> {
        let metadata = connect_first(bootstrap, options)?.metadata(Some(&[topic]))?;
        let mut led: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in metadata.topic(topic).map(|t| t.partitions.as_slice()).unwrap_or_default() {
            led.entry(partition.leader.unwrap_or(-1)).or_default().push(partition.index);
        }
        let addresses = metadata.addresses();
        let mut leaders = Vec::new();
        for (leader, partitions) in led {
            if let Some(addr) = addresses.get(&leader) {
                leaders.push((Connection::connect(addr, options)?, partitions));
            }
        }
        Ok(EndOffsets { topic: topic.to_owned(), leaders })
    }

    /// High watermarks of all partitions, added up: records that all replicas in sync have.
    ///
    /// # Errors
    /// A leader does not answer.
    pub fn sum(&mut self) -> Result<u64, WireError> {
        let mut sum = 0;
        for (leader, partitions) in &mut self.leaders {
            let ends = leader.list_offsets(&self.topic, partitions, OffsetSpec::Latest)?;
            sum += ends.values().map(|end| u64::try_from(*end).unwrap_or(0)).sum::<u64>();
        }
        Ok(sum)
    }
}
