//! Nodes that are containers: who is told by the engine, which did what was asked of it, and by the kernel.

use std::path::Path;
use std::process::Command;

use gauntlet_chaos::docker::why_not;
use gauntlet_chaos::process::ProcessIdentity;
use libtest_mimic::Failed;

use super::support::{TestResult, report};

/// The image of these tests: `ci/with-docker` has it.
pub(crate) fn image() -> String {
    std::env::var("GAUNTLET_TEST_IMAGE").unwrap_or_else(|_| "gauntlet-kafka:4.3.0".to_owned())
}

/// Whether a test can't be run here; then it says so.
pub(crate) fn is_skipped(name: &str) -> bool {
    let why = match why_not() {
        Some(unable) => unable.why.clone(),
        None if docker(&["image", "inspect", &image()]).is_err() => {
            format!("the engine has no image {}", image())
        }
        None => return false,
    };
    report(&format!("skipped: {name}: {why}"));
    true
}

/// Whether the engine says that this process is of a container that is paused.
pub(crate) fn is_paused(process: ProcessIdentity) -> Result<bool, Failed> {
    for paused in docker(&["ps", "--quiet", "--filter", "status=paused"])? {
        if docker(&["inspect", "--format", "{{.State.Pid}}", &paused])? == [process.pid.to_string()] {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of the cluster in `base`, whose supervisor was this process.
pub(crate) fn nothing_is_left(base: &Path, supervisor: ProcessIdentity) -> TestResult {
    let log = std::fs::read_to_string(base.join("logs/supervisor.log"))?;
    assert!(log.contains("3 containers are removed"), "{log}");
    let filter = format!("name=gauntlet-{}-", supervisor.pid);
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &filter])?, Vec::<String>::new());
    Ok(())
}

/// The lines that `docker` tells.
fn docker(args: &[&str]) -> Result<Vec<String>, Failed> {
    let told = Command::new("docker").args(args).output()?;
    if !told.status.success() {
        return Err(format!("docker {args:?}: {}", String::from_utf8_lossy(&told.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect())
}
