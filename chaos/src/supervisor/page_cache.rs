//! Keeps the logs of local brokers out of memory once nobody reads them any more.
//!
//! Brokers that share a host with their clients write their logs into the same page cache: 106 MB/s of fresh pages at 1M
//! msg/s, RF 3 and lz4. Until memory is full none is reused, and on a virtual machine whose host backs memory when it is
//! first touched, writing to fresh pages took a fifth of both processors (`copy_folio_from_iter_atomic` in a profile)
//! after ten gigabytes. Consumers and followers read the tail; what is behind it is written back early and dropped later,
//! so that its pages are used again. The files stay whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// How often each log is looked at. One after the other: all at once it is a tenth of a second of one core, in which
/// somebody's request waits.
const ROUND: Duration = Duration::from_secs(1);

/// How much of the end of each log is left alone.
#[derive(Debug, Clone, Copy)]
struct Tails {
    /// Bytes that are not written back yet: a second of a partition's share of 1M msg/s. More would be left to the kernel,
    /// which writes back what is thirty seconds old, of all partitions at once, and stalls appends meanwhile.
    unwritten: u64,
    /// Bytes that stay in memory: half a minute of the same. A broker that was away that long finds there what it missed.
    /// From disk, its leaders would send it in their network threads, and everybody else would wait for those.
    cached: u64,
}

const TAILS: Tails = Tails { unwritten: 4 << 20, cached: 96 << 20 };

/// Trims the page cache until it is dropped.
#[derive(Debug)]
pub(super) struct PageCacheTrimmer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PageCacheTrimmer {
    /// For the logs below these `log.dirs`.
    pub(super) fn start(log_dirs: Vec<PathBuf>) -> io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("page-cache".to_owned()).spawn(move || {
            let mut logs = BTreeMap::new();
            let mut pause = |part: u32| stopped.recv_timeout(ROUND / part) == Err(RecvTimeoutError::Timeout);
            while trim(&log_dirs, &mut logs, &mut pause) {}
        })?;
        Ok(PageCacheTrimmer { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for PageCacheTrimmer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It has no result, and a panic of it has already been printed.
            let _ = thread.join();
        }
    }
}

/// How far a log is done with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Done {
    written_back: u64,
    dropped: u64,
}

/// Looks once at every segment of every partition below log directories, and calls `pause` in front of each partition with
/// how many there are; false ends it. Files come and go while it looks; what can't be read is left alone.
fn trim(
    log_dirs: &[PathBuf],
    logs: &mut BTreeMap<PathBuf, Done>,
    pause: &mut impl FnMut(u32) -> bool,
) -> bool {
    let partitions: Vec<PathBuf> =
        log_dirs.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path()).collect();
    let parts = (partitions.len() as u32).max(1);
    if partitions.is_empty() && !pause(parts) {
        return false;
    }
    for partition in partitions {
        if !pause(parts) {
            return false;
        }
        for file in fs::read_dir(partition).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let done = logs.entry(path.clone()).or_default();
                let _ = give_up(&path, TAILS, done);
            }
        }
    }
    logs.retain(|path, _| path.exists());
    true
}

fn give_up(path: &Path, tails: Tails, done: &mut Done) -> io::Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let write_back_to = length.saturating_sub(tails.unwritten);
    if write_back_to > done.written_back {
        begin_writing_back(&file, done.written_back, write_back_to)?;
        done.written_back = write_back_to;
    }
    let drop_to = length.saturating_sub(tails.cached);
    if drop_to > done.dropped {
        let (from, bytes) = (done.dropped as i64, (drop_to - done.dropped) as i64);
        // By now these pages are on disk: what is not stays (mm/fadvise.c).
        posix_fadvise(&file, from, bytes, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        done.dropped = drop_to;
    }
    Ok(())
}

/// Asks the kernel to write a range to disk, and does not wait for it.
fn begin_writing_back(file: &File, from: u64, to: u64) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and no memory is passed.
    let result = unsafe {
        nix::libc::sync_file_range(
            file.as_raw_fd(),
            from as i64,
            (to - from) as i64,
            nix::libc::SYNC_FILE_RANGE_WRITE,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tails_are_left_alone_and_the_file_stays_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.log");
        let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        let tails = Tails { unwritten: 100_000, cached: 1_000_000 };
        let mut done = Done::default();
        give_up(&path, tails, &mut done).unwrap();
        let all = Done { written_back: 2_900_000, dropped: 2_000_000 };
        assert_eq!(done, all);
        give_up(&path, tails, &mut done).unwrap();
        assert_eq!(done, all, "nothing is done twice");
        fs::write(&path, &content[..500_000]).unwrap();
        give_up(&path, tails, &mut done).unwrap();
        assert_eq!(done, all, "a truncated log is left alone until it is longer again");
        fs::write(&path, &content).unwrap();
        assert!(fs::read(&path).unwrap() == content);
    }

    #[test]
    fn only_logs_are_looked_at_and_what_is_gone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let partition = dir.path().join("orders-0");
        fs::create_dir(&partition).unwrap();
        fs::write(partition.join("0.log"), [0; 10]).unwrap();
        fs::write(partition.join("0.index"), [0; 10]).unwrap();
        let mut logs = BTreeMap::new();
        let log_dirs = [dir.path().to_owned(), PathBuf::from("/nonexistent")];
        assert!(trim(&log_dirs, &mut logs, &mut |_| true));
        assert_eq!(logs.keys().collect::<Vec<_>>(), [&partition.join("0.log")]);
        fs::remove_dir_all(&partition).unwrap();
        assert!(trim(&log_dirs, &mut logs, &mut |_| true));
        assert!(logs.is_empty());
        assert!(!trim(&log_dirs, &mut logs, &mut |_| false), "it ends when it is told to");
    }
}
