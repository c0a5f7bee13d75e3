//! Behaviour on real brokers.
//!
//! A supervisor is "the running executable, started again". Under test that executable is this one, so it has its own `main`
//! (`harness = false`): it dispatches on the hidden arguments, and is an ordinary test runner otherwise. The alternative, a
//! binary of its own for tests, would be installed with the crate and would not test re-execution.

mod containers;
mod faults;
mod matrix;
mod members;
mod netns;
mod network;
mod operations;
mod shims;
mod support;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faults::SharedCluster;
use gauntlet_chaos::clock::monotonic_ns;
use gauntlet_chaos::journal::{Leftovers, PlannedUndo, UndoAction, read_pending, undo_pending};
use gauntlet_chaos::kafka_home::KafkaHome;
use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::supervisor::NodeState;
use gauntlet_chaos::{ClusterDirs, Controllers, KafkaSource, LocalCluster, LocalSpec, Registry, UndoJournal};
use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid, getsid};
use support::{
    LIMIT, PAUSE, RUN, Run, SUPERVISE, TestResult, dirs, eventually, launcher, listed, process_of, quick,
    report, run_until_killed, share_jars, state_of,
};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|arg| arg.to_str()) {
        Some(SUPERVISE) => return gauntlet_chaos::supervisor_main(args.into_iter().skip(1)),
        Some(RUN) => {
            return run_until_killed(Path::new(&args[1]), args[2].to_str().unwrap_or_default());
        }
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Two clusters at once on two cores only make both slow.
    arguments.test_threads.get_or_insert(1);
    let shared = Arc::new(SharedCluster::default());
    let mut trials = vec![
        Trial::test("three_brokers_live_die_and_come_back", three_brokers_live_die_and_come_back),
        Trial::test("isolated_controllers_of_kafka_3_9", isolated_controllers_of_kafka_3_9),
        Trial::test("a_killed_run_leaves_nothing", a_killed_run_leaves_nothing),
        Trial::test(
            "a_killed_supervisor_takes_its_brokers_along",
            a_killed_supervisor_takes_its_brokers_along,
        ),
        Trial::test("kept_data_is_stopped_in_order_and_stays", kept_data_is_stopped_in_order_and_stays),
        Trial::test(
            "a_broken_config_is_told_in_the_brokers_words",
            a_broken_config_is_told_in_the_brokers_words,
        ),
        Trial::test("a_detached_cluster_is_found_and_ended", a_detached_cluster_is_found_and_ended),
        Trial::test(
            "a_detached_cluster_ends_when_its_time_is_over",
            a_detached_cluster_ends_when_its_time_is_over,
        ),
    ];
    trials.extend(netns::trials());
    trials.extend(faults::trials(&shared));
    let clusters = Arc::new(matrix::Clusters::default());
    trials.extend(matrix::trials(&clusters));
    let conclusion = libtest_mimic::run(&arguments, trials);
    match shared.shutdown().and_then(|()| clusters.shutdown()) {
        Ok(()) => conclusion.exit_code(),
        Err(error) => {
            report(&format!("a shared cluster: {:?}", error.message()));
            ExitCode::FAILURE
        }
    }
}

fn three_brokers_live_die_and_come_back() -> TestResult {
    let base = tempfile::tempdir()?;
    let dirs = dirs(base.path())?;
    let began = Instant::now();
    let cluster = LocalCluster::start(&quick(3), &dirs, &launcher())?;
    report(&format!("three quick brokers, zero to ready: {:.1} s", began.elapsed().as_secs_f64()));
    for addr in cluster.bootstrap() {
        assert_eq!(listed(&addr)?, [1, 2, 3], "by {addr}");
    }

    let pid_before = process_of(&cluster, 2)?;
    let before_ns = monotonic_ns();
    let killed = cluster.kill(2)?;
    assert!(
        before_ns <= killed.sent_ns && killed.sent_ns <= killed.seen_ns && killed.seen_ns <= monotonic_ns()
    );
    assert!(!pid_before.is_alive());
    let NodeState::Exited(exit) = state_of(&cluster, 2)? else { return Err("not seen as gone".into()) };
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    assert!(cluster.kill(2).is_err(), "it is dead already");

    let began = Instant::now();
    cluster.start_node(2)?;
    assert!(cluster.start_node(2).is_err(), "it runs already");
    cluster.wait_ready(2, LIMIT)?;
    report(&format!("a killed broker, start to registered: {:.1} s", began.elapsed().as_secs_f64()));
    assert_ne!(process_of(&cluster, 2)?, pid_before);

    let paused = cluster.pause(3)?;
    assert!(paused.sent_ns <= paused.seen_ns);
    assert!(process_of(&cluster, 3)?.all_threads_stopped()?);
    assert_eq!(state_of(&cluster, 3)?, NodeState::Paused);
    assert!(cluster.stop(3, LIMIT).is_err(), "a paused process sees no SIGTERM");
    let resumed = cluster.resume(3)?;
    assert!(paused.seen_ns <= resumed.sent_ns);
    assert!(!process_of(&cluster, 3)?.all_threads_stopped()?);
    cluster.wait_ready(3, LIMIT)?;

    cluster.stop(1, LIMIT)?;
    let NodeState::Exited(exit) = state_of(&cluster, 1)? else { return Err("not seen as gone".into()) };
    // The JVM's own convention for "ended by SIGTERM after its hooks ran": 128 + 15.
    assert_eq!((exit.code, exit.signal), (Some(143), None));

    let brokers: Vec<ProcessIdentity> = cluster.statuses()?.iter().map(|status| status.process).collect();
    cluster.shutdown()?;
    assert!(brokers.iter().all(|process| !process.is_alive()));
    assert!(!dirs.data.exists(), "data is removed");
    assert!(dirs.logs.join("broker-1.log").is_file(), "logs stay");
    let gc_log = std::fs::read_to_string(dirs.logs.join("broker-1-gc.log"))?;
    assert!(gc_log.contains("safepoint"), "{gc_log:.300}");
    Ok(())
}

/// A second version, and the other arrangement of the quorum, in one cluster.
fn isolated_controllers_of_kafka_3_9() -> TestResult {
    let base = tempfile::tempdir()?;
    let spec = LocalSpec {
        controllers: Controllers::Isolated(1),
        kafka: KafkaSource::Maven("3.9.1".parse()?),
        ..quick(2)
    };
    let cluster = LocalCluster::start(&spec, &dirs(base.path())?, &launcher())?;
    let ids: Vec<i32> = cluster.nodes().iter().map(|node| node.node.id).collect();
    assert_eq!(ids, [1, 2, 101]);
    assert_eq!(listed(&cluster.bootstrap()[0])?, [1, 2]);
    let cluster = Arc::new(cluster);
    faults::two_faults_at_once(&cluster, base.path())?;
    faults::the_active_controller_may_be_no_broker(&cluster, base.path())?;
    Ok(Arc::into_inner(cluster).ok_or("somebody holds the cluster")?.shutdown()?)
}

/// SIGKILL runs no destructor: only the lifeline can tell the supervisor. One broker is paused, which must not save it.
fn a_killed_run_leaves_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut run = Run::start(base.path(), PAUSE)?;
    assert!(run.brokers.iter().all(|process| process.is_alive()));
    let journal = base.path().join("undo.journal");
    let pending = read_pending(&journal)?;
    assert_eq!(pending.len(), 1, "{pending:?}");
    let victim = pending[0].planned.process().map(|planned| planned.process);
    assert_eq!(victim, Some(run.brokers[1]));
    run.child.kill()?;
    run.child.wait()?;
    let everything = run.brokers.iter().chain([&run.supervisor]);
    eventually("everything is gone", || everything.clone().all(|process| !process.is_alive()))?;
    assert!(!base.path().join("data").exists());
    assert_eq!(read_pending(&journal)?, [], "nothing is left to undo");
    let log = std::fs::read_to_string(base.path().join("logs/supervisor.log"))?;
    assert!(log.contains("healing: resume node 2: Ok"), "{log}");
    Ok(())
}

/// The last line of defence: nobody is left to clean up, and the kernel does.
fn a_killed_supervisor_takes_its_brokers_along() -> TestResult {
    let base = tempfile::tempdir()?;
    let run = Run::start(base.path(), PAUSE)?;
    assert!(run.supervisor.signal(Signal::SIGKILL)?);
    eventually("all brokers are gone", || run.brokers.iter().all(|process| !process.is_alive()))?;
    // Nobody could mark the journal: whoever finds it does.
    let journal = UndoJournal::open(base.path())?;
    let leftovers = Leftovers::of_local(base.path().join("data"));
    assert_eq!(undo_pending(&journal, &leftovers)?.undone.len(), 1);
    assert_eq!(journal.pending()?, []);
    Ok(())
}

/// SIGTERM to the supervisor is an orderly shutdown; SIGINT, which a ^C in the terminal would send, can't even reach it.
/// Orderly even for a broker of whose pause only the journal knows.
fn kept_data_is_stopped_in_order_and_stays() -> TestResult {
    let base = tempfile::tempdir()?;
    let journal = UndoJournal::open(base.path())?;
    let undo_journal = Some(journal.path().to_path_buf());
    let dirs = ClusterDirs { keep_data: true, undo_journal, ..dirs(base.path())? };
    let cluster = LocalCluster::start(&quick(1), &dirs, &launcher())?;
    let supervisor = cluster.supervisor_process();
    let broker = process_of(&cluster, 1)?;
    let id = |process: ProcessIdentity| Pid::from_raw(process.pid);
    assert_eq!(getsid(Some(id(supervisor)))?, id(supervisor), "a session of its own");
    assert_eq!(getpgid(Some(id(broker)))?, id(broker), "a process group of its own");

    assert!(supervisor.signal(Signal::SIGINT)?);
    assert!(supervisor.signal(Signal::SIGHUP)?);
    assert_eq!(state_of(&cluster, 1)?, NodeState::Running);
    let pause = PlannedUndo { fault: "pause".to_owned(), node: 1, process: broker, undo: UndoAction::Resume };
    journal.begin(pause)?;
    assert!(broker.signal(Signal::SIGSTOP)?);
    assert!(supervisor.signal(Signal::SIGTERM)?);
    eventually("supervisor and broker are gone", || !supervisor.is_alive() && !broker.is_alive())?;
    let log = std::fs::read_to_string(dirs.logs.join("broker-1.log"))?;
    assert!(log.contains("shut down completed"), "{log}");
    assert!(dirs.data.join("broker-1/data/meta.properties").is_file(), "data stays");
    // All is as it should be, so the end of a supervisor that ended before us is no error.
    Ok(cluster.shutdown()?)
}

/// With jars of a distribution, as `--kafka-home` names one: nothing of it is cached, so the nodes are formatted afresh.
fn a_broken_config_is_told_in_the_brokers_words() -> TestResult {
    let base = tempfile::tempdir()?;
    let dirs = dirs(base.path())?;
    let libs = KafkaHome::resolve(&KafkaSource::default(), &dirs.cache)?.libs;
    let distribution = libs.parent().ok_or("libs/ has a parent")?.to_path_buf();
    let mut spec = LocalSpec { kafka: KafkaSource::Directory(distribution), ..quick(1) };
    spec.config.insert("num.network.threads".to_owned(), "minus one".to_owned());
    let error = match LocalCluster::start(&spec, &dirs, &launcher()) {
        Ok(_) => return Err("it started".into()),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("broker-1 is not ready: it ended with exit status 1"), "{error}");
    assert!(error.contains("Invalid value minus one for configuration num.network.threads"), "{error}");
    assert!(!dirs.data.exists(), "nothing is left");
    Ok(())
}

fn a_detached_cluster_is_found_and_ended() -> TestResult {
    // Jars from the real cache, clusters in one of our own, so that `down_all` can't hit a developer's.
    let cache = tempfile::tempdir()?;
    share_jars(cache.path())?;
    let registry = Registry::new(cache.path());
    let entry = registry.up("one", &quick(1), &launcher(), Duration::from_secs(600))?;
    assert_eq!(registry.list()?, std::slice::from_ref(&entry));
    assert_eq!(listed(&entry.bootstrap[0])?, [1]);
    let again = registry.up("one", &quick(1), &launcher(), LIMIT);
    assert!(again.is_err_and(|refusal| refusal.to_string().contains("up already")));
    assert_eq!(registry.down_all()?, ["one"]);
    assert!(!entry.supervisor.is_alive());
    assert!(listed(&entry.bootstrap[0]).is_err());
    assert_eq!(registry.list()?, []);
    Ok(())
}

fn a_detached_cluster_ends_when_its_time_is_over() -> TestResult {
    let cache = tempfile::tempdir()?;
    share_jars(cache.path())?;
    let registry = Registry::new(cache.path());
    let entry = registry.up("brief", &quick(1), &launcher(), Duration::from_millis(1))?;
    eventually("the supervisor is gone", || !entry.supervisor.is_alive())?;
    assert!(!cache.path().join("clusters/brief").exists());
    Ok(())
}
