//! The cluster that runs of a series share, one after the other.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gauntlet_chaos::supervisor::{NodeState, NodeStatus};
use gauntlet_chaos::{ClusterDirs, Launcher, LocalCluster};
use gauntlet_reports::Expectation;
use gauntlet_reports::record::RunRecord;

use super::SETTLE_LIMIT;
use crate::plan::{ClusterPlan, Lifecycle, Plan};
use crate::run::{Progress, RunError, RunOptions, RunningCluster, execute_on};

/// How clusters are started.
pub(crate) struct ClusterFiles<'a> {
    /// The directory of the series.
    pub(crate) dir: &'a Path,
    /// Jars and formats that runs share.
    pub(crate) cache: &'a Path,
    /// Leave the brokers' data in place.
    pub(crate) keep_data: bool,
    /// How to start a supervisor.
    pub(crate) launcher: &'a Launcher,
}

/// At most one cluster at a time.
pub(crate) struct Clusters<'a> {
    files: ClusterFiles<'a>,
    current: Option<(ClusterPlan, RunningCluster)>,
}

impl<'a> Clusters<'a> {
    pub(crate) fn new(files: ClusterFiles<'a>) -> Self {
        Clusters { files, current: None }
    }

    /// Whether the brokers of a plan run already.
    pub(crate) fn has(&self, plan: &ClusterPlan) -> bool {
        self.current.as_ref().is_some_and(|(running, _)| running.is_same(plan))
    }

    /// The cluster of a plan, started if another one or none runs.
    pub(crate) fn get(&mut self, plan: &ClusterPlan) -> Result<&RunningCluster, RunError> {
        let current = match self.current.take() {
            Some(current) if current.0.is_same(plan) => current,
            other => {
                if let Some((_, cluster)) = other {
                    cluster.end()?;
                }
                (plan.clone(), self.start(plan)?)
            }
        };
        Ok(&self.current.insert(current).1)
    }

    fn start(&self, plan: &ClusterPlan) -> Result<RunningCluster, RunError> {
        let name = self.next_name();
        let dirs = ClusterDirs {
            data: self.files.dir.join(&name),
            logs: self.files.dir.join("logs").join(&name),
            cache: self.files.cache.to_path_buf(),
            keep_data: self.files.keep_data,
            undo_journal: None,
        };
        RunningCluster::start(plan, &dirs, self.files.launcher)
    }

    /// A name that no cluster of this series has had, in earlier sessions either.
    fn next_name(&self) -> String {
        let is_taken = |name: &String| {
            self.files.dir.join(name).exists() || self.files.dir.join("logs").join(name).exists()
        };
        let mut names = (1..).map(|number| format!("cluster-{number}"));
        names.find(|name| !is_taken(name)).unwrap_or_default()
    }

    /// One run on its plan's cluster, and the wait for its traces to be gone.
    pub(crate) fn run(
        &mut self,
        plan: &Plan,
        expectations: &[Expectation],
        options: &RunOptions,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<RunRecord, RunError> {
        let run = execute_on(self.get(&plan.cluster)?, plan, expectations, options, tell);
        if let Some(note) = self.settle(plan) {
            tell(Progress::Note(&note));
        }
        Ok(run)
    }

    /// After a run: waits until its topics are gone from the brokers' disks, so that deleting them is not part of what the next
    /// run measures. A cluster that is not whole any more is ended. Returns what a person should know.
    fn settle(&mut self, plan: &Plan) -> Option<String> {
        let (_, cluster) = self.current.as_ref()?;
        let local = cluster.local()?;
        let absent = cluster.absent();
        let is_as_it_should =
            |node: &NodeStatus| node.state == NodeState::Running || absent.contains(&node.node);
        let whole = local.statuses().is_ok_and(|all| all.iter().all(is_as_it_should));
        if !whole {
            let ended = self.end().err().map_or_else(String::new, |error| format!(" ({error})"));
            return Some(format!("a broker of the cluster is gone; the next run starts a new one{ended}"));
        }
        let deleted = plan.topics.iter().filter(|topic| topic.lifecycle == Lifecycle::PerRun);
        wait_for_removal(local, cluster.absent(), deleted.map(|topic| topic.name.as_str()))
    }

    /// The broker of the cluster that runs that was taken down.
    pub(crate) fn lost(&self) -> Option<i32> {
        self.current.as_ref()?.1.absent().first().copied()
    }

    /// Takes down a broker of the cluster that runs. Returns its id.
    ///
    /// # Errors
    /// No cluster runs, or the other brokers do not take over.
    pub(crate) fn lose_broker(&mut self) -> Result<i32, RunError> {
        let (_, cluster) =
            self.current.as_mut().ok_or_else(|| RunError::Faults("no cluster runs".to_owned()))?;
        cluster.lose_broker()
    }

    /// Ends the cluster, if one runs.
    pub(crate) fn end(&mut self) -> Result<(), RunError> {
        self.current.take().map_or(Ok(()), |(_, cluster)| cluster.end())
    }
}

/// Waits until the files of deleted topics are gone from the disks of local brokers, but for those that are `absent`: nobody
/// removes anything there. Returns what a person should know.
pub(crate) fn wait_for_removal<'t>(
    local: &LocalCluster,
    absent: &[i32],
    topics: impl Iterator<Item = &'t str>,
) -> Option<String> {
    let present = local.nodes().iter().filter(|node| !absent.contains(&node.node.id));
    let dirs: Vec<PathBuf> = present.filter_map(|node| node.data_dir.clone()).collect();
    let deadline = Instant::now() + SETTLE_LIMIT;
    for topic in topics {
        while dirs.iter().any(|dir| holds(dir, topic)) {
            if Instant::now() >= deadline {
                return Some(format!(
                    "files of {topic} are still there after {} s; the next run shares the disks with their removal",
                    SETTLE_LIMIT.as_secs()
                ));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    None
}

/// Whether a broker's log directory has files of a topic: `NAME-0`, or `NAME-0.ID-delete` while they are being deleted.
fn holds(data_dir: &Path, topic: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(data_dir) else { return false };
    let prefix = format!("{topic}-");
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else { return false };
        rest.split('.')
            .next()
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_topic_are_told_from_those_of_others() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["orders-p01-0", "orders-p02-11.0a1b-delete", "orders-p03-x-0"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert!(holds(dir.path(), "orders-p01") && holds(dir.path(), "orders-p02"));
        assert!(!holds(dir.path(), "orders") && !holds(dir.path(), "orders-p03"));
    }
}
