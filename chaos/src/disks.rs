//! Disks of a stated size for the nodes of a local cluster, so that one can be really full: a file system of its own (tmpfs) over the
//! `log.dirs` of each. What a full one does to mapped files, to half a write, to Kafka's own cleaning up, is then the kernel's doing and not
//! imitated.
//!
//! The supervisor mounts them and takes them down when its nodes are gone, however the run ended. If it is killed itself, [`undo_below`]
//! takes down what it left: its nodes have died with it. Nothing has to be written down for that: the kernel keeps the list.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::files::{FileError, OnPath, create_private_dir};
use crate::process::ProcessIdentity;
use crate::supervisor::read_identity;

/// What the kernel's list of mounts calls them.
const SOURCE: &str = "gauntlet-disk";
/// Least size: a broker's own topics and indexes want some.
pub const BYTES_MIN: u64 = 64 << 20;

/// The disks of a cluster that runs. They outlive this value: [`Disks::remove`] ends them, or [`undo_below`].
#[derive(Debug, Default)]
pub(crate) struct Disks {
    dirs: Vec<PathBuf>,
}

impl Disks {
    /// Makes these directories, each on a disk of `bytes`. If that fails, nothing of it is left mounted.
    pub(crate) fn make(dirs: &[PathBuf], bytes: u64) -> Result<Self, FileError> {
        let mut disks = Self::default();
        for dir in dirs {
            let made = create_private_dir(dir).and_then(|()| mount_at(dir, bytes).on("mount a disk at", dir));
            if let Err(error) = made {
                // The first error is the one to tell.
                let _ = disks.remove();
                return Err(error);
            }
            disks.dirs.push(dir.clone());
        }
        Ok(disks)
    }

    /// Takes them down with all that is on them. Whoever used them must be gone. What can't be taken down is left to the next call.
    pub(crate) fn remove(&mut self) -> Result<(), FileError> {
        let mut failure = None;
        self.dirs.retain(|dir| match unmount(dir) {
            Ok(()) => false,
            Err(error) => {
                failure.get_or_insert(error);
                true
            }
        });
        failure.map_or(Ok(()), Err)
    }
}

fn mount_at(dir: &Path, bytes: u64) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = format!("size={bytes},mode=0700");
    Ok(mount(Some(SOURCE), dir, Some("tmpfs"), flags, Some(options.as_str()))?)
}

fn unmount(dir: &Path) -> Result<(), FileError> {
    match umount2(dir, MntFlags::UMOUNT_NOFOLLOW) {
        // It is taken down already.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        // Somebody looks at it; it goes when they are done.
        Err(Errno::EBUSY) => umount2(dir, MntFlags::MNT_DETACH).map_err(io::Error::from).on("unmount", dir),
        Err(error) => Err(io::Error::from(error)).on("unmount", dir),
    }
}

/// Takes down the disks below `dir` whose supervisors did not: they were killed, and their nodes with them. Gives where they were.
///
/// # Errors
/// The first that could not be taken down; the others are.
pub fn undo_below(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    // The kernel tells names without links.
    let Ok(dir) = fs::canonicalize(dir) else { return Ok(Vec::new()) };
    let list = Path::new("/proc/self/mountinfo");
    let (mut gone, mut failure) = (Vec::new(), None);
    for disk in mounted(&fs::read(list).on("read", list)?).into_iter().filter(|disk| disk.starts_with(&dir)) {
        // CLUSTER/broker-1/data
        let cluster = disk.parent().and_then(Path::parent);
        if cluster.and_then(read_identity).is_some_and(ProcessIdentity::is_alive) {
            continue;
        }
        match unmount(&disk) {
            Ok(()) => gone.push(disk),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    failure.map_or(Ok(gone), Err)
}

/// Where disks of ours are, by the kernel's list (proc(5), mountinfo: the fifth field, and the second after a lone hyphen).
fn mounted(mountinfo: &[u8]) -> Vec<PathBuf> {
    let of_line = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let hyphen = fields.iter().position(|field| *field == b"-")?;
        let is_ours = *fields.get(hyphen + 2)? == SOURCE.as_bytes();
        is_ours.then(|| PathBuf::from(OsString::from_vec(unescaped(fields[4]))))
    };
    mountinfo.split(|byte| *byte == b'\n').filter_map(of_line).collect()
}

/// Blanks, tabs, line feeds and backslashes are three octal digits behind a backslash.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let digits = (*first == b'\\').then(|| behind.get(..3)).flatten();
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[3..] } else { behind };
    }
    plain
}

/// Why no cluster on this machine can have disks of a stated size; `None` if it can. Asked by doing it, in a mount namespace that is gone
/// with the thread that asks.
pub fn why_not() -> Option<&'static str> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    let look = || {
        let tried = thread::Builder::new().name("try-mount".to_owned()).spawn(try_mount);
        match tried.map(thread::JoinHandle::join) {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(Errno::EPERM | Errno::EACCES))) => {
                Some("mounting needs root, or CAP_SYS_ADMIN".to_owned())
            }
            Ok(Ok(Err(error))) => Some(format!("the kernel mounts no tmpfs: {error}")),
            Ok(Err(_)) | Err(_) => Some("it could not be tried".to_owned()),
        }
    };
    ANSWER.get_or_init(look).as_deref()
}

fn try_mount() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    // So that it is nobody else's.
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some(SOURCE), "/tmp", Some("tmpfs"), MsFlags::empty(), Some("size=4096"))
}

/// Bytes for which there is room on the file system of `file`.
pub(crate) fn room(file: &File) -> io::Result<u64> {
    let stat = nix::sys::statvfs::fstatvfs(file)?;
    Ok(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn disks_are_found_in_the_kernels_list() {
        let list = b"24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            91 24 0:50 / /run/a\\040b/cluster/broker-1/data rw,nosuid - tmpfs gauntlet-disk rw,size=65536k\n\
            92 24 0:51 / /mnt rw shared:7 master:2 - tmpfs tmpfs rw\n\
            torn";
        assert_eq!(mounted(list), [PathBuf::from("/run/a b/cluster/broker-1/data")]);
        assert_eq!(unescaped(b"a\\134b\\0"), b"a\\b\\0");
    }

    #[test]
    fn a_disk_is_as_large_as_it_is_and_leaves_nothing() {
        if let Some(why) = why_not() {
            println!("skipped: {why}");
            return;
        }
        let cluster = tempfile::tempdir().unwrap();
        let dirs = [1, 2].map(|id| cluster.path().join(format!("broker-{id}/data")));
        let mut disks = Disks::make(&dirs, BYTES_MIN).unwrap();
        let mut file = File::create(dirs[0].join("file")).unwrap();
        let written =
            std::iter::repeat_with(|| file.write_all(&[0; 1 << 20])).take_while(Result::is_ok).count();
        assert!((60..=64).contains(&written), "{written} MiB");
        assert_eq!(room(&file).unwrap(), 0);
        drop(file);
        assert!(room(&File::open(&dirs[1]).unwrap()).unwrap() > BYTES_MIN / 2, "each has its own");
        // The first as by a supervisor that goes, the second as by one that was killed.
        let left = disks.dirs.pop().unwrap();
        disks.remove().unwrap();
        disks.remove().unwrap();
        assert!(!dirs[0].join("file").exists());
        assert_eq!(undo_below(cluster.path()).unwrap(), [fs::canonicalize(&left).unwrap()]);
        assert!(undo_below(cluster.path()).unwrap().is_empty());
        let failed = Disks::make(&[dirs[0].clone(), PathBuf::from("/proc/nowhere")], BYTES_MIN);
        assert!(failed.unwrap_err().to_string().contains("/proc/nowhere"));
        assert!(undo_below(cluster.path()).unwrap().is_empty(), "nothing is left of what failed");
    }
}
