//! Formatting the log directories of a cluster without one JVM per node.
//!
//! `StorageTool format` writes two files: `meta.properties`, four lines of text that differ per node, and
//! `bootstrap.checkpoint`, the finalized feature levels of the release, the same for every node and every cluster. So the
//! tool runs once per Kafka version (1-2 s, kept in the cache), and a node is formatted by writing two files.
//!
//! Where the quorum is dynamic (KIP-853), its first voters have a third file, the first snapshot of the quorum's log, that names all of them:
//! the same for each, but of this cluster alone, so that the tool runs for it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::files::{FileError, OnPath, create_private_dir, last_lines, write_atomically};
use crate::kafka_home::{Java, KafkaHome};
use crate::random::kafka_uuid;

const CHECKPOINT: &str = "bootstrap.checkpoint";
/// The log of the quorum, and its snapshot from before the first record.
const QUORUM_LOG: &str = "__cluster_metadata-0";
const FIRST_SNAPSHOT: &str = "00000000000000000000-0000000000.checkpoint";

/// Why the directories could not be formatted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Java could not be executed.
    #[error("cannot run {}: {source}", program.display())]
    NotRunnable {
        /// The launcher that was tried.
        program: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// `StorageTool` ran and failed.
    #[error("StorageTool format failed ({how}); it said:\n  {}", last_lines.join("\n  "))]
    Failed {
        /// Exit status or what is missing.
        how: String,
        /// The end of what it printed.
        last_lines: Vec<String>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The `bootstrap.checkpoint` of `home`'s version: from the cache, else from a run of `StorageTool` in `scratch`.
pub(super) fn bootstrap_checkpoint(
    home: &KafkaHome,
    java: &Java,
    scratch: &Path,
) -> Result<Vec<u8>, FormatError> {
    let cached = home.format_cache.as_ref().map(|dir| dir.join(CHECKPOINT));
    if let Some(path) = cached.as_ref().filter(|path| path.is_file()) {
        return Ok(fs::read(path).on("read", path)?);
    }
    // The tool insists on a complete KRaft configuration but opens none of these ports.
    let properties = "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9093\n\
                      listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n";
    let checkpoint = run_storage_tool((home, java), scratch, (properties, &[]), Path::new(CHECKPOINT))?;
    if let (Some(dir), Some(path)) = (&home.format_cache, &cached) {
        create_private_dir(dir)?;
        // Two first runs at once write the same content; the last rename wins.
        write_atomically(path, &checkpoint)?;
    }
    Ok(checkpoint)
}

/// One of the first voters of a quorum that is dynamic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FirstVoter {
    /// Its `node.id`.
    pub(super) id: i32,
    /// Where the others reach it.
    pub(super) addr: SocketAddr,
    /// Its `directory.id`.
    pub(super) directory: String,
}

/// The first snapshot of a quorum of these voters.
pub(super) fn first_snapshot(
    home: &KafkaHome,
    java: &Java,
    scratch: &Path,
    voters: &[FirstVoter],
) -> Result<Vec<u8>, FormatError> {
    let written = |voter: &FirstVoter| format!("{}@{}:{}", voter.id, voter.addr, voter.directory);
    let all = voters.iter().map(written).collect::<Vec<_>>().join(",");
    let (id, addr) = voters.first().map_or((1, SocketAddr::from(([127, 0, 0, 1], 9093))), |v| (v.id, v.addr));
    let properties = format!(
        "process.roles=controller\nnode.id={id}\ncontroller.quorum.bootstrap.servers={addr}\nlisteners=CONTROLLER://{addr}\n"
    );
    let produced = Path::new(QUORUM_LOG).join(FIRST_SNAPSHOT);
    run_storage_tool((home, java), scratch, (&properties, &["--initial-controllers", &all]), &produced)
}

/// Has the tool format a directory in `scratch` for a node with these properties, with these arguments more; gives the file that was
/// `produced` there.
fn run_storage_tool(
    (home, java): (&KafkaHome, &Java),
    scratch: &Path,
    (properties, arguments): (&str, &[&str]),
    produced: &Path,
) -> Result<Vec<u8>, FormatError> {
    create_private_dir(scratch)?;
    let data_dir = scratch.join("data");
    let path = scratch.join("server.properties");
    let text = format!(
        "{properties}controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n",
        data_dir.display()
    );
    fs::write(&path, text).on("write", &path)?;
    let log = scratch.join("storage-tool.log");
    let output = File::create(&log).on("create", &log)?;
    let errors = output.try_clone().on("open", &log)?;
    let status = Command::new(&java.program)
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &home.class_path()])
        .args(["kafka.tools.StorageTool", "format", "-t", &kafka_uuid(), "-c"])
        .arg(&path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(|source| FormatError::NotRunnable { program: java.program.clone(), source })?;
    let failed = |how| FormatError::Failed { how, last_lines: last_lines(&log, 12) };
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    let written = |error| failed(format!("it wrote no {}: {error}", produced.display()));
    fs::read(data_dir.join(produced)).map_err(written)
}

/// What a node is formatted with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format<'a> {
    /// The cluster.
    pub(super) cluster_id: &'a str,
    /// The node.
    pub(super) node_id: i32,
    /// Fresh for each: the controller tells replicas' places apart by it (KIP-858), so a copied one would make two brokers claim the same disk.
    pub(super) directory: &'a str,
    /// Feature levels of the release.
    pub(super) checkpoint: &'a [u8],
    /// What the first voters of a quorum that is dynamic begin with.
    pub(super) snapshot: Option<&'a [u8]>,
}

impl Format<'_> {
    /// Formats `data_dir`.
    pub(super) fn write(&self, data_dir: &Path) -> Result<(), FileError> {
        let Self { cluster_id, node_id, directory, .. } = self;
        create_private_dir(data_dir)?;
        let meta = data_dir.join("meta.properties");
        let text =
            format!("version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory}\n");
        fs::write(&meta, text).on("write", &meta)?;
        let path = data_dir.join(CHECKPOINT);
        fs::write(&path, self.checkpoint).on("write", &path)?;
        let Some(snapshot) = self.snapshot else { return Ok(()) };
        let log = data_dir.join(QUORUM_LOG);
        create_private_dir(&log)?;
        let path = log.join(FIRST_SNAPSHOT);
        fs::write(&path, snapshot).on("write", &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_share_the_cluster_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let meta = |node_id: i32, directory: &str, snapshot: Option<&[u8]>| {
            let dir = base.path().join(node_id.to_string());
            let cluster_id = "Zm9vYmFyZm9vYmFyZm9vYg";
            let format = Format { cluster_id, node_id, directory, checkpoint: b"features", snapshot };
            format.write(&dir).unwrap();
            assert_eq!(fs::read(dir.join(CHECKPOINT)).unwrap(), b"features");
            let first = fs::read(dir.join(QUORUM_LOG).join(FIRST_SNAPSHOT)).ok();
            assert_eq!(first.as_deref(), snapshot);
            fs::read_to_string(dir.join("meta.properties")).unwrap()
        };
        let (one, two) = (meta(1, "a", None), meta(2, "b", Some(b"voters")));
        assert!(
            one.starts_with("version=1\ncluster.id=Zm9vYmFyZm9vYmFyZm9vYg\nnode.id=1\ndirectory.id="),
            "{one}"
        );
        assert_ne!(one.lines().last(), two.lines().last());
    }
}
