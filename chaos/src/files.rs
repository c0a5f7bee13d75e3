//! File helpers that say which path failed, and the two guards of this crate: writing is atomic, and only a directory
//! that carries our own marker is ever removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the file that marks a directory as created by gauntlet. [`remove_marked_dir`] refuses anything without it.
const MARKER: &str = ".gauntlet-created";

/// An operation on a path that the operating system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried, as it reads after "cannot".
    pub action: &'static str,
    /// The path it was tried on.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

/// Adds the path and the intent to an [`io::Error`].
pub(crate) trait OnPath<T> {
    /// Turns the error into a [`FileError`] about `path`.
    fn on(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> OnPath<T> for io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { action, path: path.to_path_buf(), source })
    }
}

/// Creates `dir` and its parents; only the owner may enter, because a control socket may lie inside.
pub(crate) fn create_private_dir(dir: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).on("create directory", dir)
}

/// Creates `dir` as a directory of ours, which must not exist or be empty, and puts the marker into it.
pub(crate) fn create_marked_dir(dir: &Path) -> Result<(), FileError> {
    create_private_dir(dir)?;
    if fs::read_dir(dir).on("list", dir)?.next().is_some() {
        let source = io::Error::new(io::ErrorKind::DirectoryNotEmpty, "it exists and is not empty");
        return Err(FileError { action: "use directory", path: dir.to_path_buf(), source });
    }
    let marker = dir.join(MARKER);
    fs::write(&marker, b"created by gauntlet; removed with everything in it when its cluster ends\n")
        .on("write", &marker)
}

/// Removes a directory made by [`create_marked_dir`]. One that is gone already is a success; one without the marker is
/// refused, so that a wrong path can never cost a user's files.
pub(crate) fn remove_marked_dir(dir: &Path) -> Result<(), FileError> {
    if !dir.exists() {
        return Ok(());
    }
    if !dir.join(MARKER).is_file() {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, "gauntlet did not create it");
        return Err(FileError { action: "remove directory", path: dir.to_path_buf(), source });
    }
    match fs::remove_dir_all(dir) {
        // Someone else (the supervisor, or a `down` beside us) was removing the same tree.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.on("remove directory", dir),
    }
}

/// Writes `path` so that a reader sees the old content or all of the new one, never a part.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
    let mut file = file.on("create", &temporary)?;
    file.write_all(content).on("write", &temporary)?;
    file.sync_all().on("sync", &temporary)?;
    fs::rename(&temporary, path).on("rename to", path)
}

/// `dir` and all directories at most `depth` levels below it. Links are not followed.
pub(crate) fn dirs_below(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let mut all = vec![dir.to_path_buf()];
    let mut level = 0..1;
    for _ in 0..depth {
        let entries = all[level.clone()].iter().flat_map(fs::read_dir).flatten().flatten();
        let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let next: Vec<PathBuf> = entries.filter(is_dir).map(|entry| entry.path()).collect();
        level = all.len()..all.len() + next.len();
        all.extend(next);
    }
    all
}

/// The last `count` lines of a log, read from at most its last 64 KiB. A log that can't be read gives one line saying so:
/// this is only ever used to enrich another error.
pub(crate) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    const TAIL_BYTES: u64 = 64 * 1024;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
        }
        Err(error) => vec![format!("(no log at {}: {error})", path.display())],
    }
}

/// An exclusive lock between processes, held until dropped. The kernel releases it when its holder dies.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits until the lock at `path` is free and takes it, creating the file if needed.
    pub(crate) fn acquire(path: &Path) -> Result<Self, FileError> {
        if let Some(parent) = path.parent() {
            create_private_dir(parent)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.on("open lock", path)?;
        file.lock().on("lock", path)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_directory_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let users = base.path().join("users");
        fs::create_dir(&users).unwrap();
        let refusal = remove_marked_dir(&users).unwrap_err().to_string();
        assert!(refusal.contains("did not create it"), "{refusal}");
        assert!(users.exists());

        let ours = base.path().join("ours");
        create_marked_dir(&ours).unwrap();
        fs::write(ours.join("segment.log"), b"x").unwrap();
        remove_marked_dir(&ours).unwrap();
        assert!(!ours.exists());
        remove_marked_dir(&ours).unwrap();
    }

    #[test]
    fn a_directory_in_use_is_not_adopted() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("mine.txt"), b"x").unwrap();
        assert!(create_marked_dir(base.path()).is_err());
    }

    #[test]
    fn tail_keeps_the_last_lines_in_order() {
        let base = tempfile::tempdir().unwrap();
        let log = base.path().join("log");
        let text: String = (0..50_000).map(|line| format!("line {line}\n")).collect();
        fs::write(&log, text).unwrap();
        assert_eq!(last_lines(&log, 2), ["line 49998", "line 49999"]);
        assert_eq!(last_lines(&base.path().join("none"), 2).len(), 1);
    }

    #[test]
    fn a_lock_excludes_and_ends_with_its_holder() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("sub/lock");
        let held = FileLock::acquire(&path).unwrap();
        let other = File::open(&path).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn atomic_write_replaces_and_leaves_nothing_behind() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("entry.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }
}
