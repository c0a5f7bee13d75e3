//! The files of a run directory, with their digests.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gauntlet_reports::run_data::RawFile;
use sha2::{Digest, Sha256};

use crate::rundir::{REPORT_HTML, REPORT_JUNIT};

/// What is kept of a run: the files of its directory and of `logs/`, sorted by name. Not the reports, which are made of
/// them; not what is hidden (half-written) and not the brokers' data.
pub(super) fn list(dir: &Path, notes: &mut Vec<String>) -> Vec<RawFile> {
    let mut files = Vec::new();
    for prefix in ["", "logs/"] {
        let entries = match std::fs::read_dir(dir.join(prefix)) {
            Ok(entries) => entries,
            Err(error) => {
                notes.push(format!("{}: {error}", dir.join(prefix).display()));
                continue;
            }
        };
        for entry in entries.flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let is_ours = name != REPORT_HTML && name != REPORT_JUNIT && !name.starts_with('.');
            if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            match digest(&entry.path()) {
                Ok((bytes, sha256)) => files.push(RawFile { name, bytes, sha256 }),
                Err(error) => notes.push(format!("{name}: {error}")),
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Size and SHA-256 of a file as it is read, which may differ from what its metadata say while somebody writes it.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        hash.update(&chunk[..read]);
    }
    let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, digits))
}
