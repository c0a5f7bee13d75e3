//! A cluster that runs already and is somebody else's: what operations need of it, and who undoes them if the run dies.
//!
//! Its processes are out of reach, so faults of its brokers need an operator's commands ([`crate::hook`]). Its supervisor starts no broker: it
//! runs those commands, so that none goes on when the run is gone, and undoes then what the journal lists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gauntlet_wire::admin::connect_first;
use gauntlet_wire::{ConnectOptions, Security};

use crate::error::ChaosError;
use crate::fault::{Admin, UNDO_LIMIT};
use crate::files::{OnPath, create_marked_dir, create_private_dir};
use crate::hook::{Hook, HookCommand, HookJob, HookStep, HookedBroker, Running, output_file, run};
use crate::journal::{PendingUndo, Planned, Undo};
use crate::local::{ClusterDirs, LocalCluster};
use crate::process::ProcessIdentity;
use crate::supervisor::{Launcher, SignalTimes, Supervisor, SupervisorConfig, SupervisorError};
use crate::target::Electorate;

/// How to connect to the foreign cluster of the run in this directory: read anew by whoever undoes its faults, as no secret is kept on
/// disk.
pub type ForeignLogin = fn(run_dir: &Path) -> Result<Security, String>;

/// For programs that know no foreign clusters.
pub(crate) fn no_login(_: &Path) -> Result<Security, String> {
    Err("this program does not know how to connect to clusters that it did not start".to_owned())
}

/// A cluster that gauntlet did not start. Dropping it ends the supervisor, if it has one, which undoes what the journal still lists.
#[derive(Debug)]
pub struct ForeignCluster {
    cluster_id: String,
    brokers: BTreeMap<i32, String>,
    security: Security,
    /// By the names of faults.
    hooks: BTreeMap<String, Hook>,
    /// Where outputs of hooks go.
    logs: PathBuf,
    supervisor: Option<Supervisor>,
}

impl ForeignCluster {
    /// Asks `servers`, one after the other, who they are. Changes nothing.
    pub fn ask(servers: &[String], security: &Security) -> Result<Self, ChaosError> {
        let options = ConnectOptions { security: security.clone(), ..ConnectOptions::default() };
        let metadata = connect_first(servers, &options)?.metadata(Some(&[]))?;
        let brokers = metadata.addresses();
        let cluster_id = metadata.cluster_id.ok_or_else(|| ChaosError::Refused {
            why: format!(
                "{} does not tell its cluster id, so nobody could tell it from another",
                servers.join(", ")
            ),
        })?;
        let (security, hooks) = (security.clone(), BTreeMap::new());
        Ok(Self { cluster_id, brokers, security, hooks, logs: PathBuf::new(), supervisor: None })
    }

    /// Has the faults of these names (`broker.kill`) done by these hooks. Refused if one could not be put together for some broker.
    pub fn with_hooks(mut self, hooks: BTreeMap<String, Hook>) -> Result<Self, ChaosError> {
        for ((action, hook), (id, addr)) in
            hooks.iter().flat_map(|hook| self.brokers.iter().map(move |broker| (hook, broker)))
        {
            let of = hook.of(&HookedBroker { id: *id, addr, fault: "name" });
            of.map_err(|why| ChaosError::Refused { why: format!("the hook of {action}: {why}") })?;
        }
        self.hooks = hooks;
        Ok(self)
    }

    /// The hook that does the fault of this name, if there is one.
    #[must_use]
    pub fn hook(&self, action: &str) -> Option<&Hook> {
        self.hooks.get(action)
    }

    /// Starts the supervisor that undoes faults if this process dies. Its state lies in `dirs.data` and is removed at the end.
    pub fn guard(mut self, dirs: &ClusterDirs, launcher: &Launcher) -> Result<Self, ChaosError> {
        let absolute = |path: &Path| std::path::absolute(path).on("resolve", path);
        let (data, logs) = (absolute(&dirs.data)?, absolute(&dirs.logs)?);
        create_marked_dir(&data)?;
        create_private_dir(&logs)?;
        let config = SupervisorConfig {
            state_dir: data.clone(),
            remove_dir: Some(data),
            log: logs.join("supervisor.log"),
            undo_journal: dirs.undo_journal.as_deref().map(absolute).transpose()?,
            foreign: true,
        };
        self.logs = logs;
        self.supervisor = Some(Supervisor::launch(launcher, &config)?);
        Ok(self)
    }

    /// What its brokers call it.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// `host:port` of every broker that was registered when it was asked, by id.
    #[must_use]
    pub fn brokers(&self) -> &BTreeMap<i32, String> {
        &self.brokers
    }

    /// The supervisor's process, once it has one.
    #[must_use]
    pub fn supervisor_process(&self) -> Option<ProcessIdentity> {
        self.supervisor.as_ref().map(Supervisor::process)
    }

    /// Ends the supervisor, and reports what went wrong with it.
    pub fn shutdown(self) -> Result<(), ChaosError> {
        Ok(self.supervisor.map_or(Ok(()), Supervisor::shutdown)?)
    }

    fn admin(&self, limit: Duration) -> Admin {
        Admin::new(self.brokers.clone(), self.security.clone(), limit)
    }

    /// Has the supervisor run a command for the fault of this name. If it is gone, only what heals is still run, here.
    pub(crate) fn run_hook(
        &self,
        step: HookStep,
        command: &HookCommand,
        (fault, broker): (&str, i32),
    ) -> Result<SignalTimes, ChaosError> {
        let failed = |why: String| ChaosError::NotSeenToAct { why };
        let output = output_file(&self.logs, fault, broker);
        let job = HookJob { step, command: command.clone(), output };
        let Some(supervisor) = &self.supervisor else {
            return Err(failed(format!("nobody could undo fault {fault}: the cluster has no supervisor")));
        };
        match supervisor.run_hook(&job) {
            Ok(times) => Ok(times),
            Err(SupervisorError::Refused(why)) => Err(failed(why)),
            Err(_) if step == HookStep::Heal => run(&job, &Running::default()).map_err(failed),
            Err(error) => Err(error.into()),
        }
    }
}

impl Electorate for ForeignCluster {
    /// Controllers of their own are nobody that an operator's command could be told about.
    fn node_ids(&self) -> Vec<i32> {
        self.broker_ids()
    }

    fn broker_ids(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    fn addresses(&self) -> Vec<String> {
        self.brokers.values().cloned().collect()
    }

    fn login(&self) -> ConnectOptions {
        ConnectOptions { security: self.security.clone(), ..ConnectOptions::default() }
    }
}

/// The cluster that faults are injected into.
#[derive(Clone, Debug)]
pub enum FaultCluster {
    /// Ours: all faults.
    Local(Arc<LocalCluster>),
    /// Somebody else's: operations, and what there are hooks for.
    Foreign(Arc<ForeignCluster>),
}

impl From<Arc<LocalCluster>> for FaultCluster {
    fn from(cluster: Arc<LocalCluster>) -> Self {
        Self::Local(cluster)
    }
}

impl From<Arc<ForeignCluster>> for FaultCluster {
    fn from(cluster: Arc<ForeignCluster>) -> Self {
        Self::Foreign(cluster)
    }
}

impl FaultCluster {
    /// The cluster whose processes are ours.
    pub(crate) fn local(&self) -> Result<&LocalCluster, ChaosError> {
        match self {
            Self::Local(cluster) => Ok(cluster),
            Self::Foreign(cluster) => Err(ChaosError::Refused {
                why: format!("the processes of cluster {} are not gauntlet's", cluster.cluster_id),
            }),
        }
    }

    /// The cluster that is somebody else's, if it is.
    pub(crate) fn foreign(&self) -> Option<&ForeignCluster> {
        match self {
            Self::Local(_) => None,
            Self::Foreign(cluster) => Some(cluster),
        }
    }

    /// The cluster whose brokers an operator's commands reach.
    pub(crate) fn hooked(&self) -> Result<&ForeignCluster, ChaosError> {
        let why = || "hooks are for clusters that gauntlet did not start".to_owned();
        self.foreign().ok_or_else(|| ChaosError::Refused { why: why() })
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    pub(crate) fn cluster_id(&self) -> &str {
        match self {
            Self::Local(cluster) => cluster.cluster_id(),
            Self::Foreign(cluster) => cluster.cluster_id(),
        }
    }

    pub(crate) fn broker_addresses(&self) -> BTreeMap<i32, String> {
        match self {
            Self::Local(cluster) => cluster.broker_addresses(),
            Self::Foreign(cluster) => cluster.brokers.clone(),
        }
    }

    /// An operator's access, for `limit` from now on.
    pub(crate) fn admin(&self, limit: Duration) -> Admin {
        match self {
            Self::Local(cluster) => cluster.admin(limit),
            Self::Foreign(cluster) => cluster.admin(limit),
        }
    }
}

impl Undo for FaultCluster {
    fn undo(&self, pending: &PendingUndo) -> Result<(), String> {
        match (self, &pending.planned) {
            (Self::Local(cluster), _) => cluster.undo(pending),
            (Self::Foreign(cluster), Planned::Operation(planned)) => {
                planned.undo.undo(&cluster.admin(UNDO_LIMIT), None).map_err(|error| error.to_string())
            }
            (Self::Foreign(cluster), Planned::Hook(planned)) => {
                let of = (planned.fault.as_str(), planned.broker);
                let healed = cluster.run_hook(HookStep::Heal, &planned.heal, of);
                healed.map(|_| ()).map_err(|error| error.to_string())
            }
            (Self::Foreign(_), Planned::Process(planned)) => {
                Err(format!("node {} is no process of ours", planned.node))
            }
        }
    }
}
