//! A disk that is really full, on clusters whose nodes have disks of a stated size ([`crate::disks`]): whatever room there is, a file of ours takes.
//!
//! It acts when there is no room and the node was seen to fail for it: it has ended, or says so in its log (`ENOSPC` in Java's words).

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::status_of;
use crate::clock::monotonic_ns;
use crate::disks;
use crate::error::ChaosError;
use crate::files::OnPath;
use crate::local::{LocalCluster, LocalNode};
use crate::supervisor::{NodeState, SignalTimes};

/// File that takes the room. Kafka looks at directories only.
const BALLAST: &str = "gauntlet.ballast";
/// How long a node may go on as if nothing were. Every one writes to the log of the quorum, or a copy of it, twice a second.
const ACT_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);
/// What a JVM says of `ENOSPC`, as strerror(3) does.
const COMPLAINT: &[u8] = b"No space left on device";

/// Fills the disk of `node`, and keeps it full until that was seen to act.
pub(super) fn apply(cluster: &LocalCluster, node: i32) -> Result<SignalTimes, ChaosError> {
    let own = cluster.local_node(node)?;
    let mut log = File::open(&own.log).on("open", &own.log)?;
    log.seek(SeekFrom::End(0)).on("read", &own.log)?;
    let path = ballast(own)?;
    let mut ballast = OpenOptions::new().create(true).append(true).open(&path).on("open", &path)?;
    let sent_ns = monotonic_ns();
    let deadline = Instant::now() + ACT_LIMIT;
    let mut said = Vec::new();
    loop {
        fill(&mut ballast).on("write", &path)?;
        log.read_to_end(&mut said).on("read", &own.log)?;
        let is_full = disks::room(&ballast).on("look at", &path)? == 0;
        let complains = said.windows(COMPLAINT.len()).any(|window| window == COMPLAINT);
        let has_ended = matches!(status_of(cluster, node)?.state, NodeState::Exited(_));
        if has_ended || (is_full && complains) {
            return Ok(SignalTimes { sent_ns, seen_ns: monotonic_ns() });
        }
        if Instant::now() >= deadline {
            let why = format!(
                "node {node} wrote nothing within {} s for which there was no room",
                ACT_LIMIT.as_secs()
            );
            return Err(ChaosError::NotSeenToAct { why });
        }
        // A complaint may be at the end of what was read, in part.
        said.drain(..said.len().saturating_sub(COMPLAINT.len()));
        thread::sleep(POLL);
    }
}

/// Makes room again; gives whether there was a file of ours.
pub(super) fn empty(cluster: &LocalCluster, node: i32) -> Result<bool, ChaosError> {
    let path = ballast(cluster.local_node(node)?)?;
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).on("remove", &path)?,
    }
}

fn ballast(node: &LocalNode) -> Result<PathBuf, ChaosError> {
    Ok(node.log_dirs()?.join(BALLAST))
}

/// Appends until there is no room, in the end not even for a page.
fn fill(ballast: &mut File) -> std::io::Result<()> {
    const PAGE_BYTES: usize = 4 << 10;
    let zeros = vec![0; 1 << 20];
    for bytes in [zeros.len(), PAGE_BYTES] {
        loop {
            match ballast.write(&zeros[..bytes]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
