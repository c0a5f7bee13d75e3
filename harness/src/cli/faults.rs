//! `gauntlet faults list | undo`.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use gauntlet_chaos::disks;
use gauntlet_chaos::docker::{self, DOCKER_ACTIONS, DockerError};
use gauntlet_chaos::doctor::{Status, examine};
use gauntlet_chaos::hook::HOOKED_ACTIONS;
use gauntlet_chaos::journal::{Leftover, Planned, RunLeftovers, UndoAction, undo_run_with};
use gauntlet_chaos::netns::{self, Unable};
use gauntlet_chaos::{LocalSpec, cache_dir, shim};
use gauntlet_reports::ExitReason;

use crate::plan::foreign_login;
use crate::rundir::{CLUSTER_DIR, RUN_JSON, UNDO_JOURNAL};
use crate::scenario::types::ActionName;

/// How deep below a directory of runs the journals lie: `NAME/RUN`, and `NAME/SWEEP/points/POINT` for those of a sweep.
const DEPTH_MAX: usize = 5;

#[derive(Debug, Subcommand)]
pub(super) enum FaultsCommand {
    /// List all faults, and on which clusters this machine can inject them.
    List(ListArgs),
    /// Undo what a crash left, by the undo journals of dead runs: resumes processes that were paused, puts back what operations
    /// changed as long as a broker answers, has hooks heal, and removes containers whose supervisor is gone. Runs that go on are left alone; exit code 7 if something stays broken.
    Undo(UndoArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// A distribution of Kafka to use instead of resolving one.
    #[arg(long, value_name = "DIR")]
    kafka_home: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    /// Run directories; without one, every run below --out.
    #[arg(value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where runs were written.
    #[arg(short, long, default_value = "out", value_name = "DIR", conflicts_with = "runs")]
    out: PathBuf,
}

pub(super) fn run(command: FaultsCommand, out: &mut impl Write) -> std::io::Result<ExitReason> {
    match command {
        FaultsCommand::List(args) => {
            let mut spec = LocalSpec::default();
            if let Some(home) = args.kafka_home {
                spec.kafka = gauntlet_chaos::KafkaSource::Directory(home);
            }
            let cache = cache_dir().map_err(std::io::Error::other)?;
            let checks = examine(&spec, &cache, Path::new("."));
            let failed = checks.iter().find(|check| check.status == Status::Fail);
            let lacking = failed.map(|check| format!("{}: {}", check.name, check.detail));
            list(out, lacking.as_deref(), netns::why_not(), docker::why_not())?;
            Ok(ExitReason::Pass)
        }
        FaultsCommand::Undo(args) => undo(&args, out),
    }
}

/// The table of faults. `lacking` is what keeps local clusters from running here, `no_netns` what keeps them from network namespaces,
/// `no_docker` what keeps clusters from being containers.
fn list(
    out: &mut impl Write,
    lacking: Option<&str>,
    no_netns: Option<&Unable>,
    no_docker: Option<&Unable>,
) -> std::io::Result<()> {
    let local = if lacking.is_none() { "yes" } else { "no" };
    writeln!(out, "{:<23} {:<6} {:<7} {:<18} what it does", "fault", "local", "docker", "bootstrap_servers")?;
    for action in ActionName::ALL {
        let in_container =
            is_operation(action) || is_of_clients(action) || DOCKER_ACTIONS.contains(&action.name());
        let docker = if no_docker.is_none() && in_container { "yes" } else { "no" };
        let foreign = match action {
            _ if is_operation(action) || is_of_clients(action) => "yes",
            _ if HOOKED_ACTIONS.contains(&action.name()) => "by hook",
            _ => "no",
        };
        writeln!(out, "{:<23} {local:<6} {docker:<7} {foreign:<18} {}", action.name(), what(action))?;
        writeln!(out, "{:<57} {}", "", how(action))?;
    }
    writeln!(out)?;
    match lacking {
        None => writeln!(out, "local: brokers and controllers that gauntlet starts on this machine")?,
        Some(why) => {
            writeln!(out, "local: not on this machine, {why}")?;
            writeln!(out, "       -> gauntlet doctor")?;
        }
    }
    writeln!(
        out,
        "       network.*: through a proxy in front of every node, which only runs with such a fault have; by `api` not where there is TLS"
    )?;
    writeln!(
        out,
        "       with `isolation: netns` by nftables, HTB and (network.delay) a delay line in the network namespaces of nodes; not network.half-open, and nothing by `api`{}",
        match (no_netns, netns::why_no_delay()) {
            (Some(unable), _) => format!("; not here: {}", unable.why),
            (None, Some(unable)) => format!("; network.delay not here: {}", unable.why),
            (None, None) => String::new(),
        }
    )?;
    writeln!(
        out,
        "       disk.fill with `disk: SIZE`: a file system of each node's own, really filled; needs root{}",
        disks::why_not().map_or_else(String::new, |why| format!("; not here: {why}"))
    )?;
    writeln!(
        out,
        "       disk.*, clock.skew: by a library in front of the C library, which nodes are started with in runs with such a fault only{}",
        shim::why_not().map_or_else(String::new, |why| format!("; not here: {why}"))
    )?;
    writeln!(
        out,
        "       client.*: for clients with `driver: external`; those of wire and rdkafka live in gauntlet's own process"
    )?;
    match no_docker {
        None => writeln!(
            out,
            "docker: brokers and controllers that are containers of a Docker engine on this machine; paused by the engine, not by SIGSTOP: acts when \
             the kernel has frozen them"
        )?,
        Some(unable) => {
            writeln!(out, "docker: not on this machine, {}", unable.why)?;
            writeln!(out, "       -> {}", unable.next_step)?;
        }
    }
    writeln!(
        out,
        "bootstrap_servers: brokers that run already: what takes an admin connection alone, with --yes or `cluster.allow_faults` and \
         `cluster.cluster_id`;\n       by hook: with commands of your own in `cluster.command` or `cluster.ssh`; it acts when the broker takes no connections any more, or, \
         paused, does not answer;\n       for all others there is no way to their processes: use `cluster: {{ local: … }}`"
    )
}

/// Whether it is clients of the run that are hit.
fn is_of_clients(action: ActionName) -> bool {
    matches!(action, ActionName::ClientKill | ActionName::ClientPause | ActionName::ClientZombie)
}

/// Whether brokers do it themselves when they are told to.
fn is_operation(action: ActionName) -> bool {
    matches!(
        action,
        ActionName::ConfigChange
            | ActionName::PartitionReassign
            | ActionName::LeaderImbalance
            | ActionName::ElectionPreferred
            | ActionName::ElectionUnclean
            | ActionName::TopicAddPartitions
            | ActionName::TopicDeleteRecreate
            | ActionName::QuotaChange
            | ActionName::FeatureUpgrade
    )
}

fn what(action: ActionName) -> &'static str {
    match action {
        ActionName::ElectionPreferred => {
            "the preferred replica of every partition of a topic is elected leader"
        }
        ActionName::ElectionUnclean => {
            "whoever is there leads the partitions of a topic that nobody leads; what it lacks is lost"
        }
        ActionName::LeaderImbalance => "one broker becomes the leader of every partition of a topic",
        ActionName::QuotaChange => "clients are limited, by user, client id, or both",
        ActionName::ConfigChange => "properties of a topic, of a broker, or of all brokers are set",
        ActionName::PartitionReassign => "replicas of a topic are moved to other brokers, throttled or not",
        ActionName::TopicDeleteRecreate => {
            "a topic is deleted, and created again as it was; its records are gone: `verify: off` only"
        }
        ActionName::TopicAddPartitions => "a topic gets more partitions; this can't be undone",
        ActionName::FeatureUpgrade => {
            "a feature of the cluster, such as metadata.version, is raised; this can't be undone"
        }
        ActionName::BrokerAdd => "a broker that was not there joins the cluster",
        ActionName::BrokerRemove => {
            "a broker is decommissioned: its replicas are moved away, it ends, and is forgotten"
        }
        ActionName::QuorumAddVoter => "a controller that was not there joins the quorum (KIP-853)",
        ActionName::QuorumRemoveVoter => "a controller votes no longer (KIP-853), by default the active one",
        ActionName::BrokerKill => "SIGKILL to a node",
        ActionName::BrokerStop => "SIGTERM to a node: it hands its leaderships over",
        ActionName::BrokerPause => "SIGSTOP to a node",
        ActionName::BrokerRestart => "SIGTERM to a node, started again at once",
        ActionName::BrokerBounce => "SIGKILL to a node, started again at once",
        ActionName::BrokerSlowStart => {
            "SIGTERM to a node, started again at once, with a share of the time until it is whole"
        }
        ActionName::BrokerRollingRestart => "every broker in turn restarted, all replicas in sync between",
        ActionName::BrokerRollingUpgrade => {
            "every broker in turn stopped and started as a later release, all replicas in sync between"
        }
        ActionName::BrokerKillAll => "SIGKILL to every broker at once",
        ActionName::BrokerPowerLoss => {
            "SIGKILL to a node or all brokers, and what was not flushed is cut off their logs"
        }
        ActionName::QuorumLoss => "SIGSTOP (or `by: kill`) to so many voters that the others elect nobody",
        ActionName::NetworkIsolate => "a node is cut off from other nodes and from clients",
        ActionName::NetworkPartition => "a node is cut off from other nodes, or one of them, both or one way",
        ActionName::NetworkHalfOpen => {
            "connections of a node are lost and one end is not told, or neither; new ones are served"
        }
        ActionName::NetworkBlackHole => "connections to and from a node are never answered",
        ActionName::NetworkDelay => "bytes to and from a node arrive later, each way",
        ActionName::NetworkBandwidth => "bytes to and from a node arrive at a low rate",
        ActionName::NetworkReset => "connections of a node are reset, and new ones as well",
        ActionName::DiskSlow => "what a node writes and syncs below log.dirs, or reads, takes longer",
        ActionName::DiskFill => "no room below a node's log.dirs (ENOSPC)",
        ActionName::DiskFail => "what a node reads, writes or syncs below log.dirs fails (EIO)",
        ActionName::DiskReadOnly => "nothing below a node's log.dirs can be changed (EROFS)",
        ActionName::ClockSkew => "the time of day of a broker is moved, forward or back",
        ActionName::ClientKill => "SIGKILL to clients that are programs; another one follows when it is over",
        ActionName::ClientPause => "SIGSTOP to clients that are programs",
        ActionName::ClientZombie => {
            "SIGSTOP to clients that are programs; others take their places, then they go on"
        }
        ActionName::CpuStarve => "a node is stopped for a part of every 100 ms, as over a CPU quota",
    }
}

/// What counts as acting, and what ends it.
fn how(action: ActionName) -> String {
    let acts = match action {
        ActionName::ClientKill => "acts when every process of the program is gone",
        ActionName::ClientZombie => "acts when the others are ready",
        ActionName::BrokerPause | ActionName::ClientPause | ActionName::QuorumLoss => {
            "acts when every thread is stopped"
        }
        ActionName::BrokerKillAll => "acts when every process is gone",
        ActionName::BrokerPowerLoss => "acts when every process is gone and every log is cut",
        ActionName::BrokerKill
        | ActionName::BrokerStop
        | ActionName::BrokerRestart
        | ActionName::BrokerBounce
        | ActionName::BrokerSlowStart
        | ActionName::BrokerRollingRestart
        | ActionName::BrokerRollingUpgrade => "acts when the process is gone",
        ActionName::NetworkIsolate
        | ActionName::NetworkPartition
        | ActionName::NetworkHalfOpen
        | ActionName::NetworkBlackHole
        | ActionName::NetworkDelay
        | ActionName::NetworkBandwidth
        | ActionName::NetworkReset => {
            "acts when the proxy, or the kernel, has counted it, and a client of ours saw it"
        }
        ActionName::DiskSlow => "acts when an operation of the node was late",
        ActionName::DiskFill | ActionName::DiskFail | ActionName::DiskReadOnly => {
            "acts when an operation of the node has failed, which may end it"
        }
        ActionName::ClockSkew => "acts when a broker stamps a record so",
        ActionName::CpuStarve => "acts when every thread was seen to stop, and to go on",
        ActionName::ElectionPreferred | ActionName::ElectionUnclean | ActionName::LeaderImbalance => {
            "acts when every broker says who leads"
        }
        ActionName::QuotaChange | ActionName::ConfigChange => "acts when brokers describe it so",
        ActionName::PartitionReassign => "acts when the move is under way, or over",
        ActionName::TopicDeleteRecreate => "acts when no broker knows the topic",
        ActionName::TopicAddPartitions => "acts when every new partition has a leader",
        ActionName::FeatureUpgrade => "acts when every broker has heard of it",
        ActionName::BrokerAdd => "acts when every broker lists it",
        ActionName::BrokerRemove => "acts when no broker lists it, and the controller knows it no more",
        ActionName::QuorumAddVoter => "acts when every broker counts it among the voters",
        ActionName::QuorumRemoveVoter => "acts when no broker counts it among the voters",
    };
    match action {
        ActionName::ElectionPreferred => format!("{acts}; there is nothing to undo"),
        ActionName::ElectionUnclean => format!("{acts}; what it loses is gone for good"),
        ActionName::TopicAddPartitions => format!("{acts}; Kafka removes no partitions"),
        ActionName::FeatureUpgrade => format!("{acts}; Kafka vouches for no way back"),
        _ => match action.heal_action() {
            None => format!("{acts}; healed when the new one is registered"),
            Some(heal) => format!("{acts}; ended by {}", heal.name()),
        },
    }
}

fn undo(args: &UndoArgs, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let mut reasons = vec![ExitReason::Pass];
    if args.runs.is_empty() {
        let runs = runs_below(&args.out);
        for run in &runs {
            // One that goes on was not meant; its owner is there.
            reasons.push(undo_one(run, out, ExitReason::Pass)?);
        }
        // Series have no journal of their own.
        reasons.push(tell_removed(disks::undo_below(&args.out), out, |disk| {
            format!("the disk at {} of a dead cluster is taken down", disk.display())
        })?);
        reasons.push(tell_removed(netns::undo_below(&args.out, DEPTH_MAX), out, |network| {
            format!("the network {network} of a dead cluster is removed")
        })?);
        reasons.push(tell_removed(undo_containers(&args.out), out, |count| {
            format!("containers of dead clusters that are removed: {count}")
        })?);
        writeln!(out, "{} with faults below {}", counted(runs.len()), args.out.display())?;
    }
    for run in &args.runs {
        if !run.join(RUN_JSON).is_file() && !run.join(UNDO_JOURNAL).is_file() {
            writeln!(
                std::io::stderr(),
                "error: {} is no run directory: it has no {RUN_JSON}",
                run.display()
            )?;
            reasons.push(ExitReason::Usage);
            continue;
        }
        reasons.push(undo_one(run, out, ExitReason::RollbackFailed)?);
    }
    Ok(ExitReason::worst(reasons))
}

/// Removes containers of dead clusters: those of series below `dir`, which have no journal of their own, and all that are labelled by a
/// supervisor that is gone. Whoever has no engine has none of these.
fn undo_containers(dir: &Path) -> Result<Option<usize>, DockerError> {
    let below = docker::undo_below(dir, DEPTH_MAX);
    let labelled = if docker::why_not().is_none() { docker::remove_dead() } else { Ok(0) };
    Ok(some_of(below? + labelled?))
}

/// A number of things, if there are any.
fn some_of(count: usize) -> Option<usize> {
    (count > 0).then_some(count)
}

/// Tells what was removed of dead clusters, a line each, or why something could not be.
fn tell_removed<T>(
    removed: Result<impl IntoIterator<Item = T>, impl Display>,
    out: &mut impl Write,
    line: impl Fn(T) -> String,
) -> std::io::Result<ExitReason> {
    match removed {
        Ok(removed) => {
            for one in removed {
                writeln!(out, "{}", line(one))?;
            }
            Ok(ExitReason::Pass)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            Ok(ExitReason::RollbackFailed)
        }
    }
}

fn counted(runs: usize) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}

/// Undoes what is left of a run, and tells it. `if_it_goes_on` is what it means that nothing may be undone yet.
fn undo_one(run: &Path, out: &mut impl Write, if_it_goes_on: ExitReason) -> std::io::Result<ExitReason> {
    let name = run.display();
    // Of a series, clusters lie one level below it, as that of a run does.
    let pass = ExitReason::Pass;
    let are_removed = tell_removed(disks::undo_below(run), out, |disk| {
        format!("{name}: the disk at {} is taken down", disk.display())
    })? == pass
        && tell_removed(docker::undo_below(run, 1).map(some_of), out, |count| {
            format!("{name}: containers of its brokers that are removed: {count}")
        })? == pass
        && tell_removed(netns::undo_below(run, 1), out, |network| {
            format!("{name}: the network {network} of its brokers is removed")
        })? == pass;
    if !are_removed {
        return Ok(ExitReason::RollbackFailed);
    }
    match undo_run_with(run, &run.join(CLUSTER_DIR), foreign_login) {
        Ok(RunLeftovers::NoJournal) => {
            writeln!(out, "{name}: no faults")?;
            Ok(ExitReason::Pass)
        }
        Ok(RunLeftovers::GoesOn { supervisor }) => {
            writeln!(
                out,
                "{name}: goes on (supervisor {supervisor}), and heals when it ends; nothing was touched"
            )?;
            Ok(if_it_goes_on)
        }
        Ok(RunLeftovers::Undone(leftovers)) => {
            if leftovers.is_empty() {
                writeln!(out, "{name}: nothing is left of its faults")?;
            }
            for leftover in &leftovers {
                writeln!(out, "{name}: {}", told(leftover))?;
            }
            let failed = leftovers.iter().any(|leftover| leftover.error.is_some());
            Ok(if failed { ExitReason::RollbackFailed } else { ExitReason::Pass })
        }
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            Ok(ExitReason::RollbackFailed)
        }
    }
}

fn told(leftover: &Leftover) -> String {
    let fault = leftover.pending.planned.fault();
    let (what, undone) = match &leftover.pending.planned {
        Planned::Process(planned) => {
            let what = format!("{fault} on node {}, {}", planned.node, planned.process);
            let undone = match (planned.undo, leftover.was_alive) {
                (_, false) => "its process is gone and its cluster with it; marked as undone",
                (UndoAction::Resume, true) => "resumed",
                (UndoAction::Start, true) => "was not ended; marked as undone",
                (UndoAction::TakeBack, true) => "its supervisor is gone; it ends with it; marked as undone",
                (UndoAction::Reconnect, true) => {
                    "its proxy or network is gone and the fault with it; marked as undone"
                }
            };
            (what, undone)
        }
        Planned::Hook(planned) => (format!("{fault} on broker {}", planned.broker), "its hook has healed it"),
        Planned::Operation(_) => match leftover.was_alive {
            true => (fault.to_owned(), "what was before is put back"),
            false => (fault.to_owned(), "no broker of its cluster runs any more; marked as undone"),
        },
    };
    match &leftover.error {
        Some(error) => format!("{what}: not undone: {error}"),
        None => format!("{what}: {undone}"),
    }
}

/// Run directories with an undo journal below `dir`, sorted. Links are not followed: `latest` is one.
fn runs_below(dir: &Path) -> Vec<PathBuf> {
    let mut runs = Vec::new();
    let mut level = vec![dir.to_path_buf()];
    for _ in 0..=DEPTH_MAX {
        let mut next = Vec::new();
        for dir in level {
            if dir.join(UNDO_JOURNAL).is_file() {
                runs.push(dir);
                continue;
            }
            let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            next.extend(entries.filter(is_dir).map(|entry| entry.path()));
        }
        level = next;
    }
    runs.sort_unstable();
    runs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// UPDATE=1 rewrites the golden file; read the diff.
    #[test]
    fn the_list_as_it_is_printed() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal/faults_list.txt");
        let mut printed = Vec::new();
        list(&mut printed, None, None, None).unwrap();
        printed.extend(b"----\n");
        let no_netns = Unable { why: "no root".to_owned(), next_step: "be root".to_owned() };
        let no_docker = Unable { why: "no engine".to_owned(), next_step: "start one".to_owned() };
        let no_java = "java: no Java 17 or newer was found";
        list(&mut printed, Some(no_java), Some(&no_netns), Some(&no_docker)).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &printed).unwrap();
        }
        assert_eq!(printed, std::fs::read_to_string(&file).unwrap());
    }

    /// What the schema offers is listed, and the other way round.
    #[test]
    fn every_action_is_listed_once() {
        let schema = serde_json::to_value(crate::scenario::schema()).unwrap();
        let offered: BTreeSet<String> = schema["definitions"]["ActionName"]["anyOf"][0]["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["const"].as_str().unwrap().to_owned())
            .collect();
        let listed: BTreeSet<String> = ActionName::ALL.map(|name| name.name().to_owned()).into();
        assert_eq!(listed, offered);
        assert_eq!(listed.len(), ActionName::ALL.len());
    }

    #[test]
    fn runs_are_found_at_any_depth_and_through_no_link() {
        let out = tempfile::tempdir().unwrap();
        for run in ["a/r1", "a/s1/points/p1"] {
            let dir = out.path().join(run);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(UNDO_JOURNAL), "").unwrap();
        }
        std::os::unix::fs::symlink(out.path().join("a/r1"), out.path().join("latest")).unwrap();
        let found = runs_below(out.path());
        assert_eq!(found, ["a/r1", "a/s1/points/p1"].map(|run| out.path().join(run)));
        let args = UndoArgs { runs: Vec::new(), out: out.path().to_path_buf() };
        let mut told = Vec::new();
        assert_eq!(undo(&args, &mut told).unwrap(), ExitReason::Pass);
        let told = String::from_utf8(told).unwrap();
        assert!(told.contains("a/r1: nothing is left of its faults\n"), "{told}");
        assert!(told.contains("2 runs with faults below"), "{told}");
    }

    #[test]
    fn what_is_no_run_is_the_callers_mistake() {
        let dir = tempfile::tempdir().unwrap();
        let args = UndoArgs { runs: vec![dir.path().to_path_buf()], out: PathBuf::from("out") };
        assert_eq!(undo(&args, &mut Vec::new()).unwrap(), ExitReason::Usage);
        std::fs::write(dir.path().join(UNDO_JOURNAL), "no journal\nat all\n").unwrap();
        assert_eq!(undo(&args, &mut Vec::new()).unwrap(), ExitReason::RollbackFailed);
    }
}
