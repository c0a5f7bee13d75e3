//! Clusters that outlive the command that started them (`cluster up`), found again by their files, never by process name.
//!
//! Each has a directory `<cache>/clusters/<name>/` with its data, its supervisor's socket and identity, and `cluster.json`.
//! Beside it `<name>.lock` makes two commands on the same name take turns. The supervisor removes the directory when it ends
//! by itself; whatever it could not remove (it was killed, the host went down) is stale: its recorded process is gone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::ChaosError;
use crate::files::{FileError, FileLock, OnPath, create_private_dir, remove_marked_dir, write_atomically};
use crate::local::{ClusterDirs, LocalCluster, LocalSpec};
use crate::netns;
use crate::process::ProcessIdentity;
use crate::supervisor::{Launcher, end_detached, read_identity};

const ENTRY_FILE: &str = "cluster.json";
const NAME_CHARS_MAX: usize = 40;

/// All detached clusters of a cache directory.
#[derive(Clone, Debug)]
pub struct Registry {
    cache: PathBuf,
}

/// One detached cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterEntry {
    /// Its name.
    pub name: String,
    /// Its supervisor.
    pub supervisor: ProcessIdentity,
    /// Addresses of its brokers, `host:port`.
    pub bootstrap: Vec<String>,
    /// Kafka's `cluster.id`.
    pub cluster_id: String,
    /// Kafka's version.
    pub version: String,
    /// Where its logs are, until it ends.
    pub logs: PathBuf,
    /// When it was ready; seconds since 1970.
    pub started_unix_s: u64,
    /// How long after that it ends by itself; seconds.
    pub ttl_s: u64,
}

/// Why the registry refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryError {
    /// The name can't be a file name everywhere.
    #[error(
        "cluster name {name:?} must be 1 to {NAME_CHARS_MAX} lower-case letters, digits and dashes, and start with no dash"
    )]
    Name {
        /// The name given.
        name: String,
    },
    /// A cluster of this name runs.
    #[error("cluster {name} is up already; end it with: gauntlet cluster down {name}")]
    AlreadyUp {
        /// The name given.
        name: String,
    },
    /// No cluster of this name runs.
    #[error("there is no cluster {name}; up are: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    Unknown {
        /// The name given.
        name: String,
        /// All names.
        known: Vec<String>,
    },
}

impl Registry {
    /// The registry in `cache` ([`crate::cache_dir`]).
    #[must_use]
    pub fn new(cache: &Path) -> Self {
        Self { cache: cache.to_path_buf() }
    }

    /// Starts a cluster and leaves it running for at most `ttl`. If this process dies before the cluster is ready, the
    /// cluster ends with it, as one of a run does.
    pub fn up(
        &self,
        name: &str,
        spec: &LocalSpec,
        launcher: &Launcher,
        ttl: Duration,
    ) -> Result<ClusterEntry, ChaosError> {
        check_name(name)?;
        let _lock = self.lock(name)?;
        let dir = self.dir(name);
        if read_identity(&dir).is_some_and(ProcessIdentity::is_alive) {
            return Err(RegistryError::AlreadyUp { name: name.to_owned() }.into());
        }
        remove_marked_dir(&dir)?;
        let dirs = ClusterDirs {
            data: dir.clone(),
            logs: dir.join("logs"),
            cache: self.cache.clone(),
            keep_data: false,
            undo_journal: None,
        };
        let cluster = LocalCluster::start(spec, &dirs, launcher)?;
        let entry = ClusterEntry {
            name: name.to_owned(),
            supervisor: cluster.supervisor_process(),
            bootstrap: cluster.bootstrap(),
            cluster_id: cluster.cluster_id().to_owned(),
            version: cluster.version().map_or_else(|| spec.kafka.to_string(), ToString::to_string),
            logs: dirs.logs,
            started_unix_s: unix_s(),
            ttl_s: ttl.as_secs(),
        };
        let text = serde_json::to_vec_pretty(&entry).map_err(io::Error::from);
        let path = dir.join(ENTRY_FILE);
        write_atomically(&path, &text.on("encode", &path)?)?;
        cluster.detach(ttl)?;
        Ok(entry)
    }

    /// All clusters that run, by name; what is left of dead ones is removed on the way.
    pub fn list(&self) -> Result<Vec<ClusterEntry>, ChaosError> {
        let mut entries = Vec::new();
        for name in self.names()? {
            match read_identity(&self.dir(&name)) {
                Some(supervisor) if supervisor.is_alive() => entries.extend(self.read_entry(&name)),
                _ => self.remove_stale(&name)?,
            }
        }
        Ok(entries)
    }

    /// Ends one cluster and waits until it is gone.
    pub fn down(&self, name: &str) -> Result<(), ChaosError> {
        check_name(name)?;
        if !self.dir(name).is_dir() {
            let known = self.list()?.into_iter().map(|entry| entry.name).collect();
            return Err(RegistryError::Unknown { name: name.to_owned(), known }.into());
        }
        self.end(name)
    }

    /// Ends all clusters, waits until they are gone, and gives their names. One that fails does not keep the others up; the
    /// first failure is returned after all were tried.
    pub fn down_all(&self) -> Result<Vec<String>, ChaosError> {
        let names = self.names()?;
        let mut failure = None;
        for name in &names {
            if let Err(error) = self.end(name) {
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(names), Err)
    }

    /// Ends whatever is in the directory of `name`, also one that another command is still starting: its supervisor is asked
    /// first, and the lock is taken only for what is left, because `up` holds it while it waits for the brokers.
    fn end(&self, name: &str) -> Result<(), ChaosError> {
        let dir = self.dir(name);
        if let Some(supervisor) = read_identity(&dir).filter(|supervisor| supervisor.is_alive()) {
            end_detached(&dir, supervisor)?;
        }
        self.remove_stale(name)
    }

    fn remove_stale(&self, name: &str) -> Result<(), ChaosError> {
        let _lock = self.lock(name)?;
        let dir = self.dir(name);
        // Somebody may have started a new one before we had the lock.
        if !read_identity(&dir).is_some_and(ProcessIdentity::is_alive) {
            netns::undo(&dir)?;
            remove_marked_dir(&dir)?;
        }
        Ok(())
    }

    fn read_entry(&self, name: &str) -> Option<ClusterEntry> {
        serde_json::from_slice(&fs::read(self.dir(name).join(ENTRY_FILE)).ok()?).ok()
    }

    /// Names of all directories, sorted.
    fn names(&self) -> Result<Vec<String>, FileError> {
        let root = self.root();
        create_private_dir(&root)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&root).on("list", &root)? {
            let entry = entry.on("list", &root)?;
            let name = entry.file_name().into_string().ok().filter(|name| check_name(name).is_ok());
            names.extend(name.filter(|_| entry.path().is_dir()));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn lock(&self, name: &str) -> Result<FileLock, FileError> {
        FileLock::acquire(&self.root().join(format!("{name}.lock")))
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn root(&self) -> PathBuf {
        self.cache.join("clusters")
    }
}

fn check_name(name: &str) -> Result<(), RegistryError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good =
        (1..=NAME_CHARS_MAX).contains(&name.len()) && !name.starts_with('-') && name.chars().all(allowed);
    if good { Ok(()) } else { Err(RegistryError::Name { name: name.to_owned() }) }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::create_marked_dir;

    #[test]
    fn names_that_would_leave_the_directory_are_refused() {
        for name in ["", "..", "a/b", "-a", "A", "a.lock", &"a".repeat(41)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("dev-3").unwrap();
    }

    #[test]
    fn what_a_dead_cluster_left_is_removed_and_never_listed() {
        let cache = tempfile::tempdir().unwrap();
        let registry = Registry::new(cache.path());
        let dir = registry.dir("dead");
        create_marked_dir(&dir).unwrap();
        // A process that can't be alive: our pid with another start time.
        let pid = std::process::id().cast_signed();
        let gone = ProcessIdentity { start_ticks: 1, ..ProcessIdentity::of(pid).unwrap() };
        fs::write(dir.join("supervisor.identity.json"), serde_json::to_vec(&gone).unwrap()).unwrap();
        assert_eq!(registry.list().unwrap(), []);
        assert!(!dir.exists());
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_what_is_there() {
        let cache = tempfile::tempdir().unwrap();
        let error = Registry::new(cache.path()).down("nope").unwrap_err().to_string();
        assert_eq!(error, "there is no cluster nope; up are: none");
        assert_eq!(Registry::new(cache.path()).down_all().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_users_directory_in_our_place_is_left_alone() {
        let cache = tempfile::tempdir().unwrap();
        let registry = Registry::new(cache.path());
        fs::create_dir_all(registry.dir("mine")).unwrap();
        fs::write(registry.dir("mine").join("thesis.tex"), b"x").unwrap();
        assert!(registry.down("mine").is_err());
        assert!(registry.dir("mine").join("thesis.tex").exists());
    }
}
