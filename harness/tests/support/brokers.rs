//! Real brokers that the tests of a file share.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use gauntlet_chaos::{ClusterDirs, Jvm, Launcher, LocalCluster, LocalSpec, cache_dir};
use tempfile::TempDir;

use crate::program::GAUNTLET;

/// Real brokers share two cores: what puts load on them goes one after the other.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many brokers that start quickly and are otherwise as by default.
pub(crate) fn quick(brokers: u16) -> LocalSpec {
    LocalSpec { jvm: Jvm::Quick, brokers, ..LocalSpec::default() }
}

/// Starts a cluster in a directory of its own, which has to outlive it.
pub(crate) fn start(spec: &LocalSpec) -> (LocalCluster, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let dirs = ClusterDirs {
        data: dir.path().join("data"),
        logs: dir.path().join("logs"),
        cache: cache_dir().unwrap(),
        keep_data: false,
        undo_journal: None,
    };
    let launcher = Launcher { exe: PathBuf::from(GAUNTLET), args: vec!["__supervise".into()] };
    (LocalCluster::start(spec, &dirs, &launcher).unwrap(), dir)
}

/// The cluster of this file's tests; the first one to ask starts it.
pub(crate) fn shared(spec: impl FnOnce() -> LocalSpec) -> &'static LocalCluster {
    static SHARED: OnceLock<(LocalCluster, TempDir)> = OnceLock::new();
    // The static is never dropped; the supervisor's lifeline ends the brokers when this process ends.
    &SHARED.get_or_init(|| start(&spec())).0
}
