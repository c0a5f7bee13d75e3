//! Building a peer once, in the cache, from sources that this program carries.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::Missing;
use crate::bench::child::{Contestant, Ended, last_words};
use crate::bench::meter::watch;

/// A build that takes longer hangs.
const BUILD_LIMIT: Duration = Duration::from_secs(600);
/// Written when it is done.
const DONE: &str = ".done";

/// A file that is part of a peer.
pub(super) struct Source {
    /// Its path in the peer's directory.
    pub(super) path: &'static str,
    /// What is in it.
    pub(super) text: &'static str,
}

/// A peer's directory in the cache: its sources, and what was built of them.
pub(super) struct PeerBuild {
    name: &'static str,
    dir: PathBuf,
    cache: PathBuf,
    /// Two processes don't build the same at once; held until the build is done.
    _lock: File,
}

impl PeerBuild {
    /// Writes the sources of a peer, if they are not there. Other sources get another directory.
    pub(super) fn open(cache: &Path, name: &'static str, sources: &[Source]) -> Result<Self, Missing> {
        let mut hash = Sha256::new();
        for source in sources {
            hash.update(source.path);
            hash.update([0]);
            hash.update(source.text);
        }
        let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let dir = cache.join("peers").join(format!("{name}-{hash}"));
        let opened = (|| {
            fs::create_dir_all(&dir)?;
            let lock = File::create(dir.join(".lock"))?;
            lock.lock()?;
            for source in sources {
                let path = dir.join(source.path);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(path, source.text)?;
            }
            Ok(lock)
        })();
        let lock = opened
            .map_err(|e: std::io::Error| Missing(format!("{} can't be written: {e}", dir.display())))?;
        Ok(PeerBuild { name, dir, cache: cache.to_path_buf(), _lock: lock })
    }

    /// The peer's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether [`PeerBuild::done`] was said of it.
    pub(super) fn is_done(&self) -> bool {
        self.dir.join(DONE).exists()
    }

    /// Says that everything is built.
    pub(super) fn done(&self) -> Result<(), Missing> {
        fs::write(self.dir.join(DONE), b"")
            .map_err(|error| Missing(format!("{} can't be written: {error}", self.dir.display())))
    }

    /// Runs one step of the build, its output going to files in the peer's directory.
    pub(super) fn step(&self, command: &mut Command) -> Result<(), Missing> {
        let program = command.get_program().to_string_lossy().into_owned();
        let ended = (|| {
            let mut step = Contestant::start(command, &self.dir)?;
            watch(&mut step, |_| Ok(None), Instant::now() + BUILD_LIMIT, &|| false)
        })();
        let why = match ended {
            Ok((_, Ended { code: Some(0), .. })) => return Ok(()),
            Ok(_) => last_words(&self.dir),
            Err(error) => error.to_string(),
        };
        Err(Missing(format!(
            "building {} failed in `{program}`: {why} (all of it is in the cache, {})",
            self.name,
            self.dir.strip_prefix(&self.cache).unwrap_or(&self.dir).display()
        )))
    }
}

/// The first executable of this name on the PATH, or what to install.
pub(super) fn program(name: &str, next_step: &str) -> Result<PathBuf, Missing> {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| {
            use std::os::unix::fs::PermissionsExt;
            candidate.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
    });
    found.ok_or_else(|| Missing(format!("there is no `{name}` on the PATH; {next_step}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: &[Source] = &[Source { path: "src/main.x", text: "content" }];

    #[test]
    fn sources_are_written_and_a_failed_step_is_quoted() {
        let cache = tempfile::tempdir().unwrap();
        let build = PeerBuild::open(cache.path(), "peer", SOURCES).map_err(|missing| missing.0).unwrap();
        assert_eq!(fs::read_to_string(build.dir().join("src/main.x")).unwrap(), "content");
        assert!(!build.is_done());
        build.step(&mut Command::new("true")).unwrap();
        let Missing(why) =
            build.step(Command::new("sh").args(["-c", "echo no compiler; exit 2"])).unwrap_err();
        assert!(why.contains("failed in `sh`: no compiler (all of it"), "{why}");
        build.done().unwrap();
        assert!(build.is_done());
        let other = [Source { path: "src/main.x", text: "changed" }];
        let changed = PeerBuild::open(cache.path(), "peer", &other).map_err(|missing| missing.0).unwrap();
        assert_ne!(changed.dir(), build.dir());
    }

    #[test]
    fn what_is_not_installed_has_a_next_step() {
        let Missing(why) = program("no-such-compiler", "install it").unwrap_err();
        assert_eq!(why, "there is no `no-such-compiler` on the PATH; install it");
        assert!(program("sh", "").is_ok());
    }
}
