//! Local clusters of real brokers, faults, undo journal and cluster watcher.
//!
//! - [`local`]: a cluster on this host; [`LocalCluster`] starts, kills, stops, pauses, resumes and ends its nodes
//! - [`supervisor`]: the process between a run and its brokers, so that no broker outlives its run
//! - [`registry`]: clusters that are left running on purpose
//! - [`kafka_home`]: jars and Java
//! - [`doctor`]: what this host needs for all that
//! - [`process`], [`clock`], `files`, `cache`, `random`: what they stand on

mod cache;
pub mod clock;
pub mod doctor;
mod error;
mod files;
pub mod kafka_home;
pub mod local;
pub mod process;
mod random;
pub mod registry;
pub mod supervisor;

pub use cache::{NoCacheDir, cache_dir};
pub use error::ChaosError;
pub use files::FileError;
pub use kafka_home::{KafkaSource, KafkaVersion};
pub use local::{ClusterDirs, Controllers, Jvm, LocalCluster, LocalNode, LocalSpec};
pub use registry::{ClusterEntry, Registry};
pub use supervisor::{Launcher, SignalTimes, supervisor_main};
