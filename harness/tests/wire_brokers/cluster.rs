//! The brokers that all tests share, and what is asked of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gauntlet_chaos::{ClusterDirs, Jvm, Launcher, LocalCluster, LocalSpec, cache_dir};
use gauntlet_wire::admin::{connect_first, wait_for_leaders};
use gauntlet_wire::{Connection, NewTopic};
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

pub(crate) const SUPERVISE: &str = "--hidden-supervise";
/// Nothing here should take as long; it only has to end.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) type TestResult = Result<(), Failed>;

/// Three brokers, started by the first test that needs them. Every test leaves all of them running.
pub(crate) struct SharedCluster {
    spec: fn() -> LocalSpec,
    running: Mutex<Option<(Arc<LocalCluster>, TempDir)>>,
}

impl SharedCluster {
    /// One that is not secured.
    pub(crate) fn plain() -> Self {
        Self::of(plain_spec)
    }

    /// One of this kind.
    pub(crate) fn of(spec: fn() -> LocalSpec) -> Self {
        Self { spec, running: Mutex::default() }
    }

    /// A test on the cluster.
    pub(crate) fn trial(self: &Arc<Self>, name: &str, test: fn(&Arc<LocalCluster>) -> TestResult) -> Trial {
        let shared = Arc::clone(self);
        Trial::test(name, move || test(&shared.get()?))
    }

    fn get(&self) -> Result<Arc<LocalCluster>, Failed> {
        let mut shared = locked(&self.running);
        if let Some((cluster, _)) = &*shared {
            return Ok(Arc::clone(cluster));
        }
        let base = tempfile::tempdir()?;
        let dirs = ClusterDirs {
            data: base.path().join("data"),
            logs: base.path().join("logs"),
            cache: cache_dir()?,
            keep_data: false,
            undo_journal: None,
        };
        let cluster =
            Arc::new(LocalCluster::start(&(self.spec)(), &dirs, &Launcher::current_exe([SUPERVISE]))?);
        *shared = Some((Arc::clone(&cluster), base));
        Ok(cluster)
    }

    /// Ends the cluster, if any test started it.
    pub(crate) fn shutdown(&self) -> TestResult {
        match locked(&self.running).take() {
            Some((cluster, _base)) => {
                Ok(Arc::into_inner(cluster).ok_or("a test still holds the cluster")?.shutdown()?)
            }
            None => Ok(()),
        }
    }
}

fn plain_spec() -> LocalSpec {
    let config = [
        // A lost broker is noticed after 3 s instead of 9.
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("replica.lag.time.max.ms", "5000"),
        // A quota is enforced on the last second instead of the last ten, which would all pass as one burst.
        ("quota.window.num", "2"),
        ("quota.window.size.seconds", "1"),
    ];
    let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    LocalSpec { brokers: 3, jvm: Jvm::Quick, config, ..LocalSpec::default() }
}

/// A topic of a test's own.
#[derive(Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: usize,
}

impl Topic {
    /// Creates it with three replicas, two of which must be in sync, and waits until it can be used.
    pub(crate) fn create(
        cluster: &LocalCluster,
        name: &str,
        partitions: usize,
        config: &[(&str, &str)],
    ) -> Result<Self, Failed> {
        // Records carry made-up timestamps, which the retention of a week would find too old.
        let config = [("min.insync.replicas", "2"), ("retention.ms", "-1")].iter().chain(config);
        let new_topic = NewTopic {
            name: name.to_owned(),
            partitions: partitions as i32,
            replication_factor: 3,
            config: config.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        connect(cluster)?.create_topic(&new_topic, LIMIT)?;
        let topic = Topic { name: name.to_owned(), partitions };
        topic.ends(cluster)?;
        Ok(topic)
    }

    /// End offset of every partition, taken when all of them are led and fully in sync.
    pub(crate) fn ends(&self, cluster: &LocalCluster) -> Result<BTreeMap<usize, i64>, Failed> {
        let (_, ends) = wait_for_leaders(&cluster.bootstrap(), &self.name, &cluster.operator(), LIMIT)?;
        Ok(ends.into_iter().map(|(partition, end)| (partition as usize, end)).collect())
    }

    /// The leader of a partition right now.
    pub(crate) fn leader(&self, cluster: &LocalCluster, partition: usize) -> Result<i32, Failed> {
        let metadata = connect(cluster)?.metadata(Some(&[&self.name]))?;
        let topic = metadata.topic(&self.name).ok_or("the topic is not in metadata")?;
        Ok(topic.partitions[partition].leader.ok_or("no leader")?)
    }
}

pub(crate) fn connect(cluster: &LocalCluster) -> Result<Connection, Failed> {
    Ok(connect_first(&cluster.bootstrap(), &cluster.operator())?)
}

pub(crate) fn eventually(what: &str, mut reached: impl FnMut() -> Result<bool, Failed>) -> TestResult {
    let deadline = Instant::now() + LIMIT;
    while !reached()? {
        if Instant::now() >= deadline {
            return Err(format!("not within {} s: {what}", LIMIT.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A panic elsewhere fails its own test; what it held is still good to look at.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A measured number, for whoever reads the test's output.
pub(crate) fn report(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}
