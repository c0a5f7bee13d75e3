//! Local clusters of real brokers, faults, undo journal and cluster watcher.
//!
//! - [`local`]: a cluster on this host; [`LocalCluster`] starts, kills, stops, pauses, resumes and ends its nodes
//! - [`foreign`]: a cluster that runs already, for faults that need no process of ours
//! - [`hook`]: an operator's commands, for faults of its brokers
//! - [`supervisor`]: the process between a run and its brokers, so that no broker outlives its run
//! - [`fault`], [`target`]: what is broken, and who is hit
//! - [`injector`]: faults on a schedule, healed whatever happens; [`journal`]: what is broken right now, on disk
//! - [`docker`]: containers as nodes, instead of processes of ours
//! - [`netns`]: network namespaces for nodes, and the bridge between them
//! - [`proxy`]: what stands between nodes, and between them and clients, for faults of the network
//! - [`shim`]: what stands between nodes and the C library, for faults of disk and clock
//! - [`watcher`], [`history`]: what the cluster says about leaders and replicas while it is broken
//! - [`clocks`]: how long recovery took
//! - [`registry`]: clusters that are left running on purpose
//! - [`kafka_home`]: jars and Java
//! - [`doctor`]: what this host needs for all that
//! - [`process`], [`clock`], `files`, `cache`, `random`: what they stand on

mod cache;
pub mod client;
pub mod clock;
pub mod clocks;
pub mod disks;
pub mod docker;
pub mod doctor;
mod error;
pub mod fault;
mod files;
pub mod foreign;
pub mod history;
pub mod hook;
pub mod injector;
pub mod journal;
pub mod kafka_home;
pub mod local;
pub mod netns;
pub mod process;
pub mod proxy;
mod random;
pub mod registry;
mod remains;
pub mod shim;
pub mod supervisor;
pub mod target;
pub mod watcher;

pub use cache::{NoCacheDir, cache_dir};
pub use client::{ClientRole, ClientTarget};
pub use error::ChaosError;
pub use fault::{
    ClientFault, DiskFault, DiskOperations, FaultAction, FaultRecord, FaultSpec, LogLoss, LossBy,
    NetworkFault, NetworkKind, Operation,
};
pub use files::FileError;
pub use foreign::{FaultCluster, ForeignCluster, ForeignLogin};
pub use history::ClusterHistory;
pub use hook::{Hook, HookCommand};
pub use injector::{FaultEvent, FaultStep, Injector};
pub use journal::UndoJournal;
pub use kafka_home::{KafkaSource, KafkaVersion};
pub use local::{
    ClusterDirs, Controllers, Isolation, Jvm, LocalCluster, LocalNode, LocalSecurity, LocalSpec, Mechanism,
    Protocol,
};
pub use registry::{ClusterEntry, Registry};
pub use supervisor::{Launcher, SignalTimes, supervisor_main, supervisor_main_with};
pub use target::{ResolvedTarget, Target};
pub use watcher::Watcher;
