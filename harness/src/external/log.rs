//! `logs/external.log`: what programs say on standard error and in `log` lines, and when they come and go.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use gauntlet_wire::{Security, monotonic_ns};

use crate::redaction::Redaction;

/// Bytes of the log: a program that writes a line per record would fill the disk.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// The end that all loops write to. Lines are written without secrets.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<Mutex<Inner>>,
    redaction: Arc<Redaction>,
}

#[derive(Debug)]
struct Inner {
    file: BufWriter<File>,
    written: u64,
}

impl Log {
    /// A log without the secrets of `security`.
    #[must_use]
    pub fn new(file: BufWriter<File>, security: &Security) -> Self {
        let inner = Inner { file, written: 0 };
        Log { inner: Arc::new(Mutex::new(inner)), redaction: Arc::new(Redaction::of(security)) }
    }

    /// A text without secrets.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        self.redaction.clean(text.to_owned())
    }

    /// Writes a line: when, who, how (`stderr`, `log`, `gauntlet`), and what.
    fn line(&self, who: &str, how: &str, text: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.written >= LOG_BYTES_MAX {
            return;
        }
        let mut line = self.redaction.clean(format!("{} {who} {how}: {text}\n", monotonic_ns()));
        inner.written += line.len() as u64;
        if inner.written >= LOG_BYTES_MAX {
            line += "the log ends here: it has reached its limit\n";
        }
        // A log that can't be written is no reason to end a run. Flushed, so that it is there whatever comes next: what
        // programs say is rare.
        let _ = inner.file.write_all(line.as_bytes()).and_then(|()| inner.file.flush());
    }
}

/// Writes what is about one producer or reader.
#[derive(Debug, Clone)]
pub struct Scribe {
    /// Where to.
    pub log: Log,
    /// Who it is: `producer-3`.
    pub who: String,
}

impl Scribe {
    /// A line of the program's standard error.
    pub fn stderr(&self, text: &str) {
        self.log.line(&self.who, "stderr", text);
    }

    /// What the program says itself.
    pub fn log(&self, text: &str) {
        self.log.line(&self.who, "log", text);
    }

    /// What gauntlet says of it.
    pub fn gauntlet(&self, text: &str) {
        self.log.line(&self.who, "gauntlet", text);
    }
}
