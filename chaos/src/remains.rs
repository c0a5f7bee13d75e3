//! What a cluster has outside its processes, and what is left of it when its supervisor was killed. A file in the cluster's directory says
//! what there is, from before it is made until it is gone.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::{FileError, OnPath, dirs_below, write_atomically};
use crate::process::ProcessIdentity;
use crate::supervisor::read_identity;

/// Says in `file` of `cluster_dir` what is about to be made.
pub(crate) fn note(cluster_dir: &Path, file: &str, what: &impl Serialize) -> Result<(), FileError> {
    let path = cluster_dir.join(file);
    let text = serde_json::to_vec_pretty(what).map_err(io::Error::from).on("encode", &path)?;
    write_atomically(&path, &text)
}

/// What `file` of `cluster_dir` says, if that is nobody's: `None` if there is no such file, or the supervisor lives and will remove it all.
pub(crate) fn find<T: DeserializeOwned>(cluster_dir: &Path, file: &str) -> Result<Option<T>, FileError> {
    let path = cluster_dir.join(file);
    let lives = || read_identity(cluster_dir).is_some_and(ProcessIdentity::is_alive);
    if !path.is_file() || lives() {
        return Ok(None);
    }
    let text = fs::read(&path).on("read", &path)?;
    serde_json::from_slice(&text).map_err(io::Error::from).on("read", &path).map(Some)
}

/// Removes `file` of `cluster_dir`: nothing is left of what it says. Harmless if it is gone.
pub(crate) fn forget(cluster_dir: &Path, file: &str) -> Result<(), FileError> {
    let path = cluster_dir.join(file);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.on("remove", &path),
    }
}

/// Does `undo` in `dir` and in all directories at most `depth` levels below it; gives what it gave. Links are not followed. The first error,
/// once everything else is undone.
pub(crate) fn undo_below<T, E>(
    dir: &Path,
    depth: usize,
    undo: impl Fn(&Path) -> Result<Option<T>, E>,
) -> Result<Vec<T>, E> {
    let (mut undone, mut failure) = (Vec::new(), None);
    for dir in dirs_below(dir, depth) {
        match undo(&dir) {
            Ok(some) => undone.extend(some),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(undone), Err)
}
