//! Whether a process is paused by the engine, as the kernel tells it. `docker pause` uses the freezer of control groups, not SIGSTOP: the
//! process is not in state T, and has no say in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::process::ProcessIdentity;

const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether `process` stands still; an error if it is gone, or its control group can't be read.
pub(super) fn is_frozen(process: ProcessIdentity) -> io::Result<bool> {
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", process.pid))?;
    if !process.is_alive() {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    let (file, of_v1) = state_file(&groups, Path::new(CGROUPS))
        .ok_or_else(|| io::Error::other(format!("no freezer among the control groups of {process}")))?;
    let text = fs::read_to_string(&file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    Ok(if of_v1 { text.trim() == "FROZEN" } else { text.lines().any(|line| line == "frozen 1") })
}

/// The file that tells, by the lines of `/proc/PID/cgroup` (cgroups(7)), and whether it is one of version 1. A controller of version 1 is
/// none of version 2, which may be mounted beside it.
fn state_file(groups: &str, root: &Path) -> Option<(PathBuf, bool)> {
    let lines = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let (mut v1, mut v2) = (None, None);
    for (_, controllers, path) in lines {
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|name| name == "freezer") {
            v1 = Some(root.join("freezer").join(path).join("freezer.state"));
        } else if controllers.is_empty() {
            v2 = Some(root.join(path).join("cgroup.events"));
        }
    }
    v1.map(|file| (file, true)).or(v2.map(|file| (file, false)))
}

/// Whether `process` is that of container `id`: the engine puts it into a control group that is called so.
pub(super) fn is_of_container(process: ProcessIdentity, id: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).is_ok_and(|groups| groups.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_known() {
        let root = Path::new("/cg");
        let of = |groups: &str| state_file(groups, root);
        assert_eq!(
            of("0::/system.slice/docker-abc.scope\n"),
            Some(("/cg/system.slice/docker-abc.scope/cgroup.events".into(), false))
        );
        let hybrid = "6:freezer:/docker/abc\n5:devices:/docker/abc\n0::/docker/abc\n";
        assert_eq!(of(hybrid), Some(("/cg/freezer/docker/abc/freezer.state".into(), true)));
        assert_eq!(of("5:devices:/docker/abc\n"), None);
    }

    #[test]
    fn this_process_goes_on() {
        let me = ProcessIdentity::of(std::process::id().cast_signed()).unwrap();
        // Some places have no control groups that can be read.
        assert!(!is_frozen(me).unwrap_or(false));
        let gone = ProcessIdentity { start_ticks: 1, ..me };
        assert_eq!(is_frozen(gone).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
