//! Formatting the log directories of a cluster without one JVM per node.
//!
//! `StorageTool format` writes two files: `meta.properties`, four lines of text that differ per node, and
//! `bootstrap.checkpoint`, the finalized feature levels of the release, the same for every node and every cluster. So the
//! tool runs once per Kafka version (1-2 s, kept in the cache), and a node is formatted by writing two files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::files::{FileError, OnPath, create_private_dir, last_lines, write_atomically};
use crate::kafka_home::{Java, KafkaHome};
use crate::random::kafka_uuid;

const CHECKPOINT: &str = "bootstrap.checkpoint";

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
    let checkpoint = run_storage_tool(home, java, scratch)?;
    if let (Some(dir), Some(path)) = (&home.format_cache, &cached) {
        create_private_dir(dir)?;
        // Two first runs at once write the same content; the last rename wins.
        write_atomically(path, &checkpoint)?;
    }
    Ok(checkpoint)
}

fn run_storage_tool(home: &KafkaHome, java: &Java, scratch: &Path) -> Result<Vec<u8>, FormatError> {
    create_private_dir(scratch)?;
    let data_dir = scratch.join("data");
    let properties = scratch.join("server.properties");
    // The tool insists on a complete KRaft configuration but opens none of these ports.
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9093\n\
         listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n",
        data_dir.display()
    );
    fs::write(&properties, text).on("write", &properties)?;
    let log = scratch.join("storage-tool.log");
    let output = File::create(&log).on("create", &log)?;
    let errors = output.try_clone().on("open", &log)?;
    let status = Command::new(&java.program)
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &home.class_path()])
        .args(["kafka.tools.StorageTool", "format", "-t", &kafka_uuid(), "-c"])
        .arg(&properties)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(|source| FormatError::NotRunnable { program: java.program.clone(), source })?;
    let failed = |how| FormatError::Failed { how, last_lines: last_lines(&log, 12) };
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    fs::read(data_dir.join(CHECKPOINT)).map_err(|error| failed(format!("it wrote no {CHECKPOINT}: {error}")))
}

/// Formats `data_dir` for node `node_id` of cluster `cluster_id`. The directory id is fresh for each: the controller
/// tells replicas' places apart by it (KIP-858), so a copied one would make two brokers claim the same disk.
pub(super) fn format_node(
    data_dir: &Path,
    cluster_id: &str,
    node_id: i32,
    checkpoint: &[u8],
) -> Result<(), FileError> {
    create_private_dir(data_dir)?;
    let meta = data_dir.join("meta.properties");
    let text =
        format!("version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={}\n", kafka_uuid());
    fs::write(&meta, text).on("write", &meta)?;
    let path = data_dir.join(CHECKPOINT);
    fs::write(&path, checkpoint).on("write", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_share_the_cluster_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let meta = |id: i32| {
            let dir = base.path().join(id.to_string());
            format_node(&dir, "Zm9vYmFyZm9vYmFyZm9vYg", id, b"features").unwrap();
            assert_eq!(fs::read(dir.join(CHECKPOINT)).unwrap(), b"features");
            fs::read_to_string(dir.join("meta.properties")).unwrap()
        };
        let (one, two) = (meta(1), meta(2));
        assert!(
            one.starts_with("version=1\ncluster.id=Zm9vYmFyZm9vYmFyZm9vYg\nnode.id=1\ndirectory.id="),
            "{one}"
        );
        assert_ne!(one.lines().last(), two.lines().last());
    }
}
