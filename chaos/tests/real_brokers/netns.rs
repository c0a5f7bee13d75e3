//! Brokers in network namespaces: the same cluster, and nothing of its network is left, however it ends.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use gauntlet_chaos::netns::{self, why_not};
use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::{Controllers, LocalCluster, LocalSpec, UndoJournal};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::faults;
use super::support::{
    LIMIT, PAUSE_IN_NETNS, Run, TestResult, dirs, eventually, in_netns, launcher, listed, report,
};

type Test = fn() -> TestResult;

/// `ci/faults` has the time for them: of `ci/test`, the catalogue has a row in namespaces and its killed run, and unit tests make and undo
/// networks without brokers. Skipped by name where this machine has no namespaces.
pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 4] = [
        ("netns: two clusters at once, and faults of processes", two_clusters_and_faults_of_processes),
        ("netns: a killed run leaves no network", a_killed_run_leaves_no_network),
        ("netns: a killed supervisor's network can be removed", a_killed_supervisors_network_can_be_removed),
        ("netns: a secured cluster with controllers of its own", a_secured_cluster),
    ];
    let can_be_run = tests.into_iter().filter(|(name, _)| !is_skipped(name));
    can_be_run.map(|(name, test)| Trial::test(name, test).with_ignored_flag(true)).collect()
}

/// Whether a test can't be run here; then it says so.
pub(crate) fn is_skipped(name: &str) -> bool {
    why_not().inspect(|unable| report(&format!("skipped: {name}: {}", unable.why))).is_some()
}

/// What `ip` lists of gauntlet's own, namespaces and interfaces alike: nothing of others begins so.
fn networks() -> BTreeSet<String> {
    let names = |dir: &str| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let all = names("/var/run/netns").into_iter().chain(names("/sys/class/net"));
    all.filter(|name| name.starts_with("gnt")).collect()
}

/// The names that the network of the cluster in `base` has, by its supervisor's log.
fn network_of(base: &Path) -> Result<String, libtest_mimic::Failed> {
    let log = std::fs::read_to_string(base.join("logs/supervisor.log"))?;
    let line = log.lines().find_map(|line| line.split_once("a network ")).ok_or("no network in the log")?.1;
    Ok(line.split(',').next().unwrap_or_default().to_owned())
}

fn left_of(network: &str) -> Vec<String> {
    networks().into_iter().filter(|name| name.starts_with(network)).collect()
}

/// Of the network of the cluster in `base`, which has ended.
pub(crate) fn nothing_is_left(base: &Path) -> TestResult {
    assert_eq!(left_of(&network_of(base)?), Vec::<String>::new());
    Ok(())
}

fn two_clusters_and_faults_of_processes() -> TestResult {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let start = |base: &Path| {
        LocalCluster::start(&in_netns(2), &dirs(base)?, &launcher()).map_err(libtest_mimic::Failed::from)
    };
    let (one, two) = thread::scope(|scope| {
        let other = scope.spawn(|| start(second.path()));
        (start(first.path()), other.join())
    });
    let (one, two) = (Arc::new(one?), two.map_err(|_| "the other cluster panicked")??);
    let addresses: BTreeSet<String> = one.bootstrap().into_iter().chain(two.bootstrap()).collect();
    assert_eq!(addresses.len(), 4, "{addresses:?}");
    assert!(
        addresses.iter().all(|addr| addr.ends_with(":9092") && !addr.starts_with("127.")),
        "{addresses:?}"
    );
    for addr in &addresses {
        assert_eq!(listed(addr)?, [1, 2], "by {addr}");
    }
    let names = [network_of(first.path())?, network_of(second.path())?];
    for name in &names {
        let expected = ["", "-1", "-2", "-sw"].map(|end| format!("{name}{end}"));
        assert_eq!(left_of(name), expected);
    }
    two.shutdown()?;
    assert_eq!(left_of(&names[1]), Vec::<String>::new());
    faults::two_faults_at_once(&one, first.path())?;
    Arc::into_inner(one).ok_or("somebody holds the cluster")?.shutdown()?;
    assert_eq!(left_of(&names[0]), Vec::<String>::new());
    assert!(!first.path().join("data").exists());
    Ok(())
}

/// SIGKILL in the middle of a fault: the supervisor removes the network after the brokers.
fn a_killed_run_leaves_no_network() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut run = Run::start(base.path(), PAUSE_IN_NETNS)?;
    let name = network_of(base.path())?;
    assert_eq!(left_of(&name).len(), 4);
    run.child.kill()?;
    run.child.wait()?;
    let everything = run.brokers.iter().chain([&run.supervisor]);
    eventually("everything is gone", || everything.clone().all(|process| !process.is_alive()))?;
    assert_eq!(left_of(&name), Vec::<String>::new());
    assert!(!base.path().join("data").exists());
    assert_eq!(UndoJournal::open(base.path())?.pending()?, []);
    Ok(())
}

/// The kernel ends the brokers, and whoever finds the directory removes their network.
fn a_killed_supervisors_network_can_be_removed() -> TestResult {
    let base = tempfile::tempdir()?;
    let run = Run::start(base.path(), PAUSE_IN_NETNS)?;
    let name = network_of(base.path())?;
    let data = base.path().join("data");
    assert_eq!(netns::undo(&data)?, None, "its supervisor lives");
    assert_eq!(left_of(&name).len(), 4);
    assert!(run.supervisor.signal(Signal::SIGKILL)?);
    let dead = |process: &ProcessIdentity| !process.is_alive();
    eventually("all are gone", || run.brokers.iter().all(dead) && dead(&run.supervisor))?;
    assert_eq!(left_of(&name).len(), 4, "nobody was there to remove it");
    assert_eq!(netns::undo_below(base.path(), 1)?, std::slice::from_ref(&name));
    assert_eq!(left_of(&name), Vec::<String>::new());
    assert_eq!(netns::undo(&data)?, None, "once more is harmless");
    Ok(())
}

/// Certificates are for the addresses that the brokers have there.
fn a_secured_cluster() -> TestResult {
    use gauntlet_chaos::{LocalSecurity, Mechanism, Protocol};
    let base = tempfile::tempdir()?;
    let security = LocalSecurity { protocol: Protocol::SaslSsl(Mechanism::ScramSha512), acls: true };
    let spec = LocalSpec { security: Some(security), controllers: Controllers::Isolated(1), ..in_netns(2) };
    let cluster = LocalCluster::start(&spec, &dirs(base.path())?, &launcher())?;
    let ids: Vec<i32> = cluster.nodes().iter().map(|node| node.node.id).collect();
    assert_eq!(ids, [1, 2, 101]);
    cluster.kill(2)?;
    cluster.start_node(2)?;
    cluster.wait_ready(2, LIMIT)?;
    let name = network_of(base.path())?;
    cluster.shutdown()?;
    assert_eq!(left_of(&name), Vec::<String>::new());
    Ok(())
}
