//! Making the containers of a cluster, and removing them. Removing is harmless when there are none, or only some.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::client::{Access, ClientError, PROMPT};
use super::{DATA_DIR, DOCKER_FILE, DockerError};
use crate::process::ProcessIdentity;
use crate::remains;

/// How long one container may take to be made: its layers are there already.
const CREATE_LIMIT: Duration = Duration::from_secs(60);
/// How long removing may take, and again until nothing is left.
const REMOVE_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// Labels of our containers: whose it is (`PID-TICKS` of a supervisor), on which machine and whose process that is, and which node
/// it is.
const CLUSTER_LABEL: &str = "gauntlet.cluster";
const HOST_LABEL: &str = "gauntlet.host";
const NODE_LABEL: &str = "gauntlet.node";

/// A node's container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContainerSpec {
    /// Kafka's `node.id`.
    pub(crate) node: i32,
    /// `broker-1`: the end of its name.
    pub(crate) name: String,
    /// What is set in its environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// File to which its stdout and stderr are appended.
    pub(crate) output: PathBuf,
}

/// The containers of a cluster, as they are found again: what [`DOCKER_FILE`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    /// The value of [`CLUSTER_LABEL`].
    pub(crate) cluster: String,
    /// Where the engine is.
    pub(crate) access: Access,
}

impl Made {
    /// Makes the containers of the cluster whose state lies in `state_dir`; they don't run yet. If one can't be made, none is left.
    pub(crate) fn make(
        state_dir: &Path,
        supervisor: ProcessIdentity,
        image: &str,
        containers: &[ContainerSpec],
    ) -> Result<Self, DockerError> {
        let made = Self { cluster: label_of(supervisor), access: Access::of_this_process() };
        remains::note(state_dir, DOCKER_FILE, &made)?;
        let create = |spec: &ContainerSpec| made.create(image, spec);
        let create = &create;
        let results: Vec<Result<(), ClientError>> = thread::scope(|scope| {
            let threads: Vec<_> = containers.iter().map(|spec| scope.spawn(move || create(spec))).collect();
            let panicked = || ClientError::NotRunnable {
                command: "docker create".to_owned(),
                source: io::Error::other("its thread panicked"),
            };
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
        });
        if let Some(error) = results.into_iter().find_map(Result::err) {
            // The first error is the one to tell; what can't be removed now is for whoever finds the file.
            let _ = made.remove(state_dir);
            return Err(error.into());
        }
        Ok(made)
    }

    /// The name of a node's container.
    pub(crate) fn container(&self, node_name: &str) -> String {
        format!("gauntlet-{}-{node_name}", self.cluster)
    }

    fn create(&self, image: &str, spec: &ContainerSpec) -> Result<(), ClientError> {
        let labels = [
            (CLUSTER_LABEL, self.cluster.clone()),
            (HOST_LABEL, this_host()),
            (NODE_LABEL, spec.node.to_string()),
        ];
        let mut args: Vec<String> = ["create", "--name"].map(str::to_owned).into();
        args.push(self.container(&spec.name));
        args.extend(
            labels.into_iter().flat_map(|(name, value)| ["--label".to_owned(), format!("{name}={value}")]),
        );
        // What it prints is in our logs: the engine would keep a copy without bound.
        args.extend(["--network", "host", "--restart", "no", "--log-driver", "none"].map(str::to_owned));
        args.extend(["--volume".to_owned(), DATA_DIR.to_owned()]);
        let set = |(name, value): (&String, &String)| ["--env".to_owned(), format!("{name}={value}")];
        args.extend(spec.environment.iter().flat_map(set));
        args.push(image.to_owned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.access.run(&args, CREATE_LIMIT).map(|_| ())
    }

    /// Removes the containers, running or not, and their volumes, then the file. Gives how many there were.
    pub(crate) fn remove(&self, state_dir: &Path) -> Result<usize, DockerError> {
        let filter = format!("label={CLUSTER_LABEL}={}", self.cluster);
        let removed = remove_all(&self.access, &self.cluster, || list(&self.access, &filter))?;
        remains::forget(state_dir, DOCKER_FILE)?;
        Ok(removed)
    }
}

/// Removes the containers of the cluster whose state lies in `cluster_dir`, if its supervisor did not: it was killed. Gives how many there
/// were; `None` if it has none, or the supervisor lives and will remove them. Harmless when repeated.
///
/// # Errors
/// What could not be removed: it is left to the next call.
pub fn undo(cluster_dir: &Path) -> Result<Option<usize>, DockerError> {
    let left: Option<Made> = remains::find(cluster_dir, DOCKER_FILE)?;
    left.map(|made| made.remove(cluster_dir)).transpose()
}

/// As [`undo`], for all clusters whose state lies in `dir` or at most `depth` levels below it; gives how many containers were removed.
///
/// # Errors
/// The first that could not be removed; the others are.
pub fn undo_below(dir: &Path, depth: usize) -> Result<usize, DockerError> {
    Ok(remains::undo_below(dir, depth, undo)?.into_iter().sum())
}

/// Removes the containers of all clusters whose supervisors were processes of this machine and are gone, wherever their files are or were;
/// gives how many there were.
///
/// # Errors
/// No engine answers, or something could not be removed.
pub fn remove_dead() -> Result<usize, DockerError> {
    let access = Access::of_this_process();
    let filter = format!("label={HOST_LABEL}={}", this_host());
    remove_all(&access, "of dead supervisors", || {
        let command = ["ps", "--all", "--no-trunc", "--filter", filter.as_str(), "--format", FORMAT];
        let told = access.run(&command, PROMPT)?;
        let mut dead = Vec::new();
        for line in told.lines() {
            let read = line.split_once(' ').and_then(|(id, label)| Some((id, supervisor_of(label)?)));
            let (id, supervisor) = read.ok_or_else(|| DockerError::Unreadable {
                command: command.join(" "),
                told: line.to_owned(),
            })?;
            if !supervisor.is_alive() {
                dead.push(id.to_owned());
            }
        }
        Ok(dead)
    })
}

/// Id and label of a container in a line.
const FORMAT: &str = r#"{{.ID}} {{.Label "gauntlet.cluster"}}"#;

fn list(access: &Access, filter: &str) -> Result<Vec<String>, DockerError> {
    let told = access.run(&["ps", "--all", "--quiet", "--no-trunc", "--filter", filter], PROMPT)?;
    Ok(told.lines().map(str::to_owned).collect())
}

/// Removes what `find` finds until it finds nothing. A container may be about to start, or somebody else be removing it: then the engine
/// refuses once.
fn remove_all(
    access: &Access,
    cluster: &str,
    find: impl Fn() -> Result<Vec<String>, DockerError>,
) -> Result<usize, DockerError> {
    let deadline = Instant::now() + REMOVE_LIMIT;
    let (mut most, mut problems) = (0, Vec::new());
    loop {
        let ids = find()?;
        most = most.max(ids.len());
        if ids.is_empty() {
            return Ok(most);
        }
        if Instant::now() >= deadline {
            return Err(DockerError::Left { cluster: cluster.to_owned(), ids, problems });
        }
        let command = ["rm", "--force", "--volumes"].into_iter().chain(ids.iter().map(String::as_str));
        if let Err(error) = access.run(&command.collect::<Vec<_>>(), REMOVE_LIMIT) {
            problems = vec![error.to_string()];
            thread::sleep(RETRY);
        }
    }
}

fn label_of(supervisor: ProcessIdentity) -> String {
    format!("{}-{}", supervisor.pid, supervisor.start_ticks)
}

fn supervisor_of(label: &str) -> Option<ProcessIdentity> {
    let (pid, start_ticks) = label.split_once('-')?;
    Some(ProcessIdentity { pid: pid.parse().ok()?, start_ticks: start_ticks.parse().ok()? })
}

/// What a pid is a pid of: this boot of this machine, and the namespace of pids that this process is in; and of which user. An engine may
/// have others, whose supervisors can't be seen from here, and do not seem dead for that.
fn this_host() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let number: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    let user = fs::metadata("/proc/self").map_or(0, |process| process.uid());
    format!("{}-{number}-{user}", boot.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write_atomically;

    #[test]
    fn labels_name_supervisors() {
        let supervisor = ProcessIdentity { pid: 77, start_ticks: 123_456 };
        assert_eq!(label_of(supervisor), "77-123456");
        assert_eq!(supervisor_of("77-123456"), Some(supervisor));
        for bad in ["", "77", "77-", "-1", "a-b"] {
            assert_eq!(supervisor_of(bad), None, "{bad}");
        }
        let made = Made { cluster: label_of(supervisor), access: Access::default() };
        assert_eq!(made.container("broker-1"), "gauntlet-77-123456-broker-1");
        assert_eq!(this_host(), this_host());
        assert!(this_host().len() > 36, "{}", this_host());
    }

    #[test]
    fn where_there_is_no_file_there_is_nothing_to_undo() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(undo(dir.path()).unwrap(), None);
        assert_eq!(undo_below(dir.path(), 3).unwrap(), 0);
        fs::write(dir.path().join(DOCKER_FILE), "{}").unwrap();
        let error = undo(dir.path()).unwrap_err().to_string();
        assert!(error.contains(DOCKER_FILE), "{error}");
    }

    #[test]
    fn a_supervisor_that_lives_removes_its_containers_itself() {
        let dir = tempfile::tempdir().unwrap();
        let me = ProcessIdentity::of(std::process::id().cast_signed()).unwrap();
        let identity = serde_json::to_vec(&me).unwrap();
        write_atomically(&dir.path().join(crate::supervisor::IDENTITY_FILE), &identity).unwrap();
        fs::write(dir.path().join(DOCKER_FILE), "not even read").unwrap();
        assert_eq!(undo(dir.path()).unwrap(), None);
    }
}
