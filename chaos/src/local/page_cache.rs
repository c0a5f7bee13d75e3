//! Keeps the logs of local brokers out of memory once nobody reads them any more.
//!
//! Brokers that share a host with their clients write their logs into the same page cache: 106 MB/s of fresh pages at 1M
//! msg/s, RF 3 and lz4. Until memory is full none is reused, and on a virtual machine whose host backs memory when it is
//! first touched, writing to fresh pages took a fifth of both processors (`copy_folio_from_iter_atomic` in a profile)
//! after ten gigabytes. Consumers and followers read the tail; what is far behind it is written back and dropped here,
//! so that its pages are used again. The files stay whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// How often logs are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes at the end of each log that stay in memory: a second of a partition's share of 1M msg/s. More of it would be left
/// to the kernel, which writes back what is thirty seconds old, of all partitions at once, and stalls appends meanwhile.
const TAIL_BYTES: u64 = 4 << 20;

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
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                for dir in &log_dirs {
                    trim(dir, &mut logs);
                }
            }
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

/// How far the bytes of a log were given up: those below `dropped` for the second time, which drops what the first time
/// wrote back, those below `written` for the first time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct GivenUp {
    dropped: u64,
    written: u64,
}

/// Looks once at every segment of every partition below a log directory. Files come and go while it looks; what can't be
/// read is left alone.
fn trim(log_dir: &Path, logs: &mut BTreeMap<PathBuf, GivenUp>) {
    for partition in fs::read_dir(log_dir).into_iter().flatten().flatten() {
        for file in fs::read_dir(partition.path()).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let given_up = logs.entry(path.clone()).or_default();
                let _ = give_up(&path, TAIL_BYTES, given_up);
            }
        }
    }
    logs.retain(|path, _| path.exists());
}

fn give_up(path: &Path, tail_bytes: u64, given_up: &mut GivenUp) -> io::Result<()> {
    let length = fs::metadata(path)?.len();
    let end = length.saturating_sub(tail_bytes);
    if end <= given_up.dropped {
        return Ok(());
    }
    // On pages that are not written back yet, this only begins to write them (mm/fadvise.c).
    let bytes = i64::try_from(end - given_up.dropped).unwrap_or(i64::MAX);
    posix_fadvise(
        File::open(path)?,
        given_up.dropped as i64,
        bytes,
        PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    )?;
    *given_up = GivenUp { dropped: given_up.written, written: end };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_tail_is_given_up_twice_and_stays_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.log");
        let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        let mut given_up = GivenUp::default();
        give_up(&path, 1 << 20, &mut given_up).unwrap();
        let end = 3_000_000 - (1 << 20);
        assert_eq!(given_up, GivenUp { dropped: 0, written: end });
        give_up(&path, 1 << 20, &mut given_up).unwrap();
        assert_eq!(given_up, GivenUp { dropped: end, written: end });
        give_up(&path, 1 << 20, &mut given_up).unwrap();
        assert_eq!(given_up, GivenUp { dropped: end, written: end }, "nothing is given up a third time");
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
        trim(dir.path(), &mut logs);
        assert_eq!(logs.keys().collect::<Vec<_>>(), [&partition.join("0.log")]);
        fs::remove_dir_all(&partition).unwrap();
        trim(dir.path(), &mut logs);
        assert!(logs.is_empty());
        trim(Path::new("/nonexistent"), &mut logs);
    }
}
