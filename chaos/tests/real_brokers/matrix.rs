//! The fault catalogue on real brokers: each fault acts (seen from outside), heals, is harmless to heal again, and leaves
//! nothing behind when its run is killed in the middle of it.
//!
//! `ci/test` runs a few of the rows; `ci/faults` runs all of them, with GAUNTLET_FAULT_ROWS naming the file to which each
//! row appends what was measured.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gauntlet_chaos::clock::monotonic_ns;
use gauntlet_chaos::fault::{FaultRecord, LossBy};
use gauntlet_chaos::journal::{PendingUndo, PlannedUndo, Undo, UndoAction, read_pending};
use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::{
    Controllers, DiskFault, FaultAction, FaultEvent, FaultSpec, FaultStep, Injector, Isolation, KafkaSource,
    KafkaVersion, LocalCluster, LocalSpec, Operation, Target, UndoJournal, disks,
};
use gauntlet_wire::admin::{connect_first, wait_for_leaders};
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode, NewTopic};
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::support::{
    LIMIT, Run, TestResult, dirs, eventually, launcher, listed, process_of, produce, quick, report,
};
use super::{containers, members, netns, network, operations, shims};

/// Where rows are appended, one JSON object a line.
const ROWS: &str = "GAUNTLET_FAULT_ROWS";
/// A supervisor may take so long at most to notice that its run is gone, and to end everything.
const SUPERVISOR_LIMIT: Duration = Duration::from_secs(10);
/// A disk of its own that a node has, in memory.
const DISK_BYTES: u64 = 256 << 20;
/// A broker that is asked to stop.
const STOP: u64 = 30_000;
/// What part of the time is left to a node that is starved, in per cent.
const STARVED_TO: u8 = 20;
/// How long somebody is asked who is not to answer.
const SILENCE: Duration = Duration::from_secs(1);

/// A row of the catalogue: what is done to whom, on which cluster.
#[derive(Clone)]
struct Row {
    action: FaultAction,
    target: Target,
    shape: Shape,
    /// Whether `ci/test` has the time for it.
    in_ci_test: bool,
    /// Whether `ci/test` has the time to kill its run, too.
    killed_in_ci_test: bool,
}

/// The arrangement of a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Three nodes, each broker and controller.
    Combined,
    /// Two brokers, and three controllers of their own.
    Isolated,
    /// As combined, with a proxy in front of every node.
    Proxied,
    /// As combined, each node in a network namespace.
    Netns,
    /// As combined, of a release that can be upgraded.
    Older,
    /// As combined, with a shim between every node and the C library.
    Shimmed,
    /// Four such nodes, and more that may join: a broker, and a controller for a quorum that is dynamic.
    Growing,
    /// As combined, each node a container.
    Containers,
    /// As combined, each node with a disk of its own.
    Disks,
}

impl Shape {
    const ALL: [Self; 9] = [
        Self::Combined,
        Self::Isolated,
        Self::Proxied,
        Self::Netns,
        Self::Older,
        Self::Shimmed,
        Self::Growing,
        Self::Containers,
        Self::Disks,
    ];
    /// Those in which a controller is killed and stopped in every way.
    const DIRECT: [Self; 2] = [Self::Combined, Self::Isolated];

    fn brokers(self) -> u16 {
        match self {
            Self::Isolated => 2,
            Self::Growing => 4,
            _ => 3,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Combined => "3 brokers, combined controllers",
            Self::Isolated => "2 brokers, 3 controllers",
            Self::Proxied => "3 brokers, combined controllers, behind a proxy",
            Self::Netns => "3 brokers, combined controllers, in network namespaces",
            Self::Older => "3 brokers of Kafka 3.9.1, combined controllers",
            Self::Shimmed => "3 brokers, combined controllers, with a shim",
            Self::Growing => "4 brokers, combined controllers, a dynamic quorum",
            Self::Containers => "3 brokers, combined controllers, in containers",
            Self::Disks => "3 brokers, combined controllers, on disks of their own",
        }
    }

    /// Brokers that are missed after 3 s, not 9.
    fn spec(self) -> LocalSpec {
        let fast = [
            ("broker.session.timeout.ms", "3000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("replica.lag.time.max.ms", "5000"),
        ];
        let config = fast.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let controllers = match self {
            Self::Isolated => Controllers::Isolated(3),
            _ => Controllers::Combined,
        };
        let (proxied, shimmed) = (self == Self::Proxied, self == Self::Shimmed);
        let spec = LocalSpec { config, controllers, proxied, shimmed, ..quick(self.brokers()) };
        match self {
            Self::Netns => LocalSpec { isolation: Isolation::Netns, ..spec },
            Self::Containers => LocalSpec { kafka: KafkaSource::Image(containers::image()), ..spec },
            Self::Disks => LocalSpec { disk_bytes: Some(DISK_BYTES), ..spec },
            Self::Older => LocalSpec { kafka: older(), upgrade_to: Some(KafkaVersion::DEFAULT), ..spec },
            Self::Growing => {
                let (spare_brokers, spare_controllers) = (1, 1);
                LocalSpec { spare_brokers, spare_controllers, dynamic_quorum: true, ..spec }
            }
            _ => spec,
        }
    }

    /// Whether this machine has none of that kind; then it says so of the test of this name.
    fn is_skipped(self, name: &str) -> bool {
        match self {
            Self::Netns => netns::is_skipped(name),
            Self::Containers => containers::is_skipped(name),
            Self::Disks => {
                disks::why_not().inspect(|why| report(&format!("skipped: {name}: {why}"))).is_some()
            }
            _ => false,
        }
    }
}

/// What is upgraded.
fn older() -> KafkaSource {
    KafkaSource::Maven("3.9.1".parse().expect("a version that is supported"))
}

/// All rows. Each has a name of its own, by which a run in another process finds it.
fn rows() -> Vec<Row> {
    use FaultAction as Do;
    let row =
        |action, target, shape| Row { action, target, shape, in_ci_test: false, killed_in_ci_test: false };
    let ci = |row: Row| Row { in_ci_test: true, ..row };
    let (stop, restart) = (Do::BrokerStop { deadline_ms: STOP }, Do::BrokerRestart { deadline_ms: STOP });
    let roll = Do::BrokerRollingRestart { deadline_ms: STOP };
    let loss = |by| Do::QuorumLoss { by };
    let mut rows = Vec::new();
    let starve = Do::CpuStarve { share_percent: STARVED_TO };
    for action in [Do::BrokerKill, stop.clone(), Do::BrokerPause, starve] {
        rows.push(row(action, Target::NotController, Shape::Combined));
    }
    rows.push(ci(row(restart.clone(), Target::NotController, Shape::Combined)));
    rows.push(row(Do::BrokerBounce, Target::NotController, Shape::Combined));
    let slow = Do::BrokerSlowStart { deadline_ms: STOP, share_percent: STARVED_TO };
    rows.push(row(slow, Target::NotController, Shape::Combined));
    rows.push(ci(row(roll.clone(), Target::NextOfRoll, Shape::Combined)));
    rows.push(ci(row(Do::BrokerKillAll, Target::AllBrokers, Shape::Combined)));
    let power_loss = || Do::BrokerPowerLoss { tail_bytes: None };
    rows.push(row(power_loss(), Target::NotController, Shape::Combined));
    rows.push(row(power_loss(), Target::AllBrokers, Shape::Combined));
    let loss_by_pause = row(loss(LossBy::Pause), Target::EnoughVoters, Shape::Combined);
    rows.push(ci(Row { killed_in_ci_test: true, ..loss_by_pause }));
    rows.push(row(loss(LossBy::Kill), Target::EnoughVoters, Shape::Combined));
    for (operation, _) in operations::rows() {
        // It takes three starts of brokers to have nobody lead.
        let in_ci_test = !matches!(operation, Operation::ElectionUnclean(_));
        let row = row(Do::Operation { operation }, Target::Cluster, Shape::Combined);
        rows.push(Row { in_ci_test, ..row });
    }
    for (operation, _) in members::rows() {
        rows.push(row(Do::Operation { operation }, Target::Cluster, Shape::Growing));
    }
    for shape in Shape::DIRECT {
        for action in [Do::BrokerKill, stop.clone(), Do::BrokerPause, restart.clone(), Do::BrokerBounce] {
            rows.push(row(action, Target::ActiveController, shape));
        }
    }
    rows.push(row(loss(LossBy::Pause), Target::EnoughVoters, Shape::Isolated));
    rows.push(row(loss(LossBy::Kill), Target::EnoughVoters, Shape::Isolated));
    rows.push(row(Do::BrokerKillAll, Target::AllBrokers, Shape::Isolated));
    rows.push(row(roll.clone(), Target::NextOfRoll, Shape::Isolated));
    let upgrade = Do::BrokerRollingUpgrade { deadline_ms: STOP, to: KafkaVersion::DEFAULT.to_string() };
    rows.push(row(upgrade, Target::NextOfRoll, Shape::Older));
    for network::NetworkRow { action, target, in_ci_test, killed_in_ci_test } in network::rows() {
        rows.push(Row { in_ci_test, killed_in_ci_test, ..row(action, target, Shape::Proxied) });
    }
    for network::NetworkRow { action, target, in_ci_test, killed_in_ci_test } in network::rows_in_netns() {
        rows.push(Row { in_ci_test, killed_in_ci_test, ..row(action, target, Shape::Netns) });
    }
    // What is done to processes does not see where they are; one of a kind is enough.
    for action in [Do::BrokerKill, Do::BrokerPause] {
        rows.push(row(action, Target::ActiveController, Shape::Netns));
    }
    // All that an engine is asked to do.
    for action in [Do::BrokerKill, stop.clone(), Do::BrokerPause, restart.clone(), Do::BrokerBounce] {
        rows.push(row(action, Target::NotController, Shape::Containers));
    }
    rows.push(row(roll.clone(), Target::NextOfRoll, Shape::Containers));
    rows.push(row(Do::BrokerKillAll, Target::AllBrokers, Shape::Containers));
    for by in [LossBy::Pause, LossBy::Kill] {
        rows.push(row(loss(by), Target::EnoughVoters, Shape::Containers));
    }
    rows.push(row(Do::Disk { fault: DiskFault::Fill }, shims::victim(), Shape::Disks));
    for shims::ShimRow { action, in_ci_test, killed_in_ci_test } in shims::rows() {
        rows.push(Row { in_ci_test, killed_in_ci_test, ..row(action, shims::victim(), Shape::Shimmed) });
    }
    rows
}

impl Row {
    /// `broker.kill of not the controller, 3 brokers, combined controllers`.
    fn name(&self) -> String {
        format!("{} of {}, {}", self.fault(), self.whom(), self.shape.words())
    }

    fn fault(&self) -> String {
        match &self.action {
            FaultAction::QuorumLoss { by: LossBy::Pause } => "quorum.loss by pause".to_owned(),
            FaultAction::QuorumLoss { by: LossBy::Kill } => "quorum.loss by kill".to_owned(),
            FaultAction::Network { fault } => network::words(fault),
            FaultAction::CpuStarve { share_percent } => format!("cpu.starve to {share_percent} %"),
            action => shims::words(action).unwrap_or_else(|| action.name().to_owned()),
        }
    }

    fn whom(&self) -> &'static str {
        if let FaultAction::Operation { operation } = &self.action {
            let rows = operations::rows().into_iter().chain(members::rows());
            return rows.filter(|(row, _)| row == operation).map(|(_, whom)| whom).next().unwrap_or("nobody");
        }
        match self.target {
            Target::ActiveController => "the active controller",
            Target::NextOfRoll => "each broker in turn",
            Target::AllBrokers => "all brokers",
            Target::Nodes { .. } => "two brokers",
            Target::EnoughVoters => "two of three voters",
            _ => "a broker",
        }
    }

    /// One fault, or the turns of a roll.
    fn specs(&self) -> Vec<FaultSpec> {
        let turns = if self.target == Target::NextOfRoll { self.shape.brokers() } else { 1 };
        let spec = |turn: u16| FaultSpec {
            name: format!("fault#{turn}"),
            action: self.action.clone(),
            target: self.target.clone(),
            at_ns: 0,
            recover_after: self.action.is_momentary().then_some(Duration::ZERO),
            follows: (turn > 1).then(|| format!("fault#{}", turn - 1)),
        };
        (1..=turns).map(spec).collect()
    }

    fn pauses(&self) -> bool {
        self.action.undo() == Some(UndoAction::Resume)
    }
}

/// One cluster of a shape for all rows that need it, started by the first one.
#[derive(Default)]
pub(crate) struct Clusters([Mutex<Option<Started>>; Shape::ALL.len()]);

/// A test on a cluster that it leaves as it found it.
type OnCluster = fn(&Arc<LocalCluster>) -> TestResult;

/// A cluster and where its files are.
type Started = (Arc<LocalCluster>, TempDir);

impl Clusters {
    fn get(&self, shape: Shape) -> Result<Arc<LocalCluster>, Failed> {
        let slot = &self.0[Shape::ALL.iter().position(|one| *one == shape).ok_or("no such shape")?];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((cluster, _)) = &*slot {
            return Ok(Arc::clone(cluster));
        }
        let base = tempfile::tempdir()?;
        let cluster = Arc::new(LocalCluster::start(&shape.spec(), &dirs(base.path())?, &launcher())?);
        *slot = Some((Arc::clone(&cluster), base));
        Ok(cluster)
    }

    /// Ends those that were started.
    pub(crate) fn shutdown(&self) -> TestResult {
        for slot in &self.0 {
            if let Some((cluster, _base)) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Arc::into_inner(cluster).ok_or("a test still holds the cluster")?.shutdown()?;
            }
        }
        Ok(())
    }
}

/// A test for each row, and one for the end of its run.
pub(crate) fn trials(clusters: &Arc<Clusters>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for row in rows() {
        let (name, in_ci_test, killed_in_ci_test) = (row.name(), row.in_ci_test, row.killed_in_ci_test);
        let (clusters, on) = (Arc::clone(clusters), row.clone());
        let acts = Trial::test(format!("catalogue: {name}"), move || {
            if on.shape.is_skipped(&format!("catalogue: {}", on.name())) {
                return Ok(());
            }
            acts_and_heals(&on, &clusters.get(on.shape)?)
        });
        trials.push(acts.with_ignored_flag(!in_ci_test));
        let killed = Trial::test(format!("catalogue, killed: {name}"), move || {
            if row.shape.is_skipped(&format!("catalogue, killed: {}", row.name())) {
                return Ok(());
            }
            a_killed_run_leaves_nothing(&row)
        });
        trials.push(killed.with_ignored_flag(!killed_in_ci_test));
    }
    let cluster = Arc::clone(clusters);
    let refused = move || operations::members_that_can_not_change(&cluster.get(Shape::Growing)?);
    trials.push(Trial::test("catalogue: members_that_can_not_change", refused).with_ignored_flag(true));
    let more: [(&str, OnCluster); 4] = [
        ("what_can_not_be_done_changes_nothing", operations::what_can_not_be_done_changes_nothing),
        ("one_operation_at_a_time", operations::one_operation_at_a_time),
        ("undone_without_the_broker_that_was_asked", operations::undone_without_the_broker_that_was_asked),
        ("whoever_finds_the_journal_can_undo", operations::whoever_finds_the_journal_can_undo),
    ];
    for (name, test) in more {
        let clusters = Arc::clone(clusters);
        trials
            .push(Trial::test(format!("operations: {name}"), move || test(&clusters.get(Shape::Combined)?)));
    }
    trials
}

fn acts_and_heals(row: &Row, cluster: &Arc<LocalCluster>) -> TestResult {
    if let FaultAction::Operation { operation } = &row.action {
        let (records, seen) = operations::acts_and_heals(operation, cluster)?;
        return tell(row, cluster, &records, &seen);
    }
    let base = tempfile::tempdir()?;
    let journal = Arc::new(UndoJournal::open(base.path())?);
    let topic = topic_of(row, cluster)?;
    if matches!(row.shape, Shape::Proxied | Shape::Netns | Shape::Shimmed | Shape::Disks) {
        network::deal_leaders(cluster, &topic)?;
    }
    if let FaultAction::BrokerPowerLoss { .. } = row.action {
        write_some(cluster, &topic)?;
    }
    let before = processes(cluster)?;
    let (sender, events) = mpsc::channel();
    let shared = (Arc::clone(cluster), Arc::clone(&journal));
    let injector = Injector::start(shared.0, row.specs(), monotonic_ns(), shared.1, sender)?;
    let seen = if row.action.is_momentary() {
        let records = injector.join();
        bounced(row, cluster, &before, &records)?
    } else {
        await_effect(&events)?;
        let seen = lasts(row, cluster, &topic, &before, &injector.records())?;
        assert!(!journal.pending()?.is_empty(), "what lasts is in the journal");
        injector.heal_all()?;
        seen
    };
    let records = injector.join();
    for record in &records {
        assert_eq!((&record.error, &record.heal_error), (&None, &None), "{record:?}");
    }
    assert_eq!(journal.pending()?, []);
    healthy(cluster, &topic)?;
    heals_again(cluster, &injector, &records, &before)?;
    healthy(cluster, &topic)?;
    tell(row, cluster, &records, &seen)
}

/// How often a process that is starved is found standing still, in many looks.
fn starved(process: ProcessIdentity) -> Result<String, Failed> {
    const LOOKS: u32 = 300;
    let mut still = 0;
    for _ in 0..LOOKS {
        still += u32::from(process.all_threads_stopped()?);
        // Not a wait: so long to the next look, which falls anywhere into the victim's period.
        std::thread::sleep(Duration::from_millis(7));
    }
    let percent = still * 100 / LOOKS;
    // 80 % of the time; our own threads may be late on a busy host.
    assert!((50..=97).contains(&percent), "it stood still in {percent} % of {LOOKS} looks");
    Ok("it stands still most of the time, and goes on each time".to_owned())
}

/// A fault that lasts, seen by somebody who is not its injector.
fn lasts(
    row: &Row,
    cluster: &LocalCluster,
    topic: &str,
    before: &[(i32, ProcessIdentity)],
    records: &[FaultRecord],
) -> Result<String, Failed> {
    let victims = victims(records);
    if let FaultAction::Network { fault } = &row.action {
        assert!(before.iter().all(|(_, process)| process.is_alive()));
        let victims: Vec<i32> = victims.into_iter().collect();
        return network::seen(fault, cluster, &victims, topic);
    }
    if let Some(seen) = shims::seen(&row.action, cluster, *victims.first().ok_or("no victim")?, topic) {
        return seen;
    }
    if let FaultAction::CpuStarve { .. } = row.action {
        let victim = before.iter().find(|(node, _)| victims.contains(node));
        return starved(victim.ok_or("no victim")?.1);
    }
    for (node, process) in before.iter().filter(|(node, _)| victims.contains(node)) {
        if row.pauses() && row.shape == Shape::Containers {
            assert!(containers::is_paused(*process)?, "node {node}");
        } else if row.pauses() {
            assert!(process.all_threads_stopped()?, "node {node}");
        } else {
            assert!(!process.is_alive(), "node {node}");
        }
    }
    for (id, addr) in cluster.broker_addresses() {
        let options = ConnectOptions { timeout: SILENCE, ..ConnectOptions::default() };
        let answer = Connection::connect(&addr, &options).and_then(|mut c| c.metadata(Some(&[])));
        assert_eq!(answer.is_err(), victims.contains(&id), "broker {id} answers {answer:?}");
    }
    if let FaultAction::BrokerPowerLoss { .. } = row.action {
        return forgot(cluster, topic, &victims, records);
    }
    let mut seen = match (row.pauses(), row.shape) {
        (true, Shape::Containers) => "the engine calls it paused, nobody answers".to_owned(),
        (true, _) => "every thread in state T".to_owned(),
        (false, _) => "process gone, nobody listens".to_owned(),
    };
    if row.target == Target::EnoughVoters {
        no_metadata_changes(cluster, &victims)?;
        seen += "; no topic can be created, there is no active controller";
    }
    if row.target == Target::ActiveController && !row.pauses() {
        let elected = eventually("another controller leads", || {
            controller(cluster).is_some_and(|leader| !victims.contains(&leader))
        });
        elected?;
        seen += "; another controller is elected";
    }
    Ok(seen)
}

/// Records in every partition of a topic, acked by all replicas.
fn write_some(cluster: &LocalCluster, topic: &str) -> TestResult {
    for _ in 0..3 {
        for partition in
            connect_first(&cluster.bootstrap(), &ConnectOptions::default())?.describe_topic(topic)?.partitions
        {
            let leader = partition.leader.ok_or("nobody leads")?;
            let addr = cluster.broker_addresses().remove(&leader).ok_or("no such broker")?;
            assert_eq!(produce(&addr, topic, partition.index, -1, 1_000)?, ErrorCode::NONE);
        }
    }
    Ok(())
}

/// What the disks of victims have of a topic is less than there was, and as much as the fault says.
fn forgot(
    cluster: &LocalCluster,
    topic: &str,
    victims: &BTreeSet<i32>,
    records: &[FaultRecord],
) -> Result<String, Failed> {
    let losses = records.iter().flat_map(|record| &record.losses).filter(|loss| loss.topic == topic);
    let mut cut = 0;
    for loss in losses {
        assert!(loss.until_offset - loss.from_offset >= 3, "{loss:?}");
        assert_eq!(loss.brokers.iter().copied().collect::<BTreeSet<_>>(), *victims, "{loss:?}");
        cut += 1;
    }
    assert_eq!(cut, 6, "every partition has a replica on every broker");
    for node in cluster.nodes() {
        let metadata = node
            .data_dir
            .as_ref()
            .expect("a local node")
            .join("__cluster_metadata-0/00000000000000000000.log");
        assert!(std::fs::metadata(metadata)?.len() > 0, "what Raft counts on is there");
    }
    Ok("process gone, nobody listens; the last records of every log are not on its disk".to_owned())
}

/// Without a quorum a broker that runs still answers, but nothing that is new comes into the metadata.
fn no_metadata_changes(cluster: &LocalCluster, victims: &BTreeSet<i32>) -> TestResult {
    let alive = cluster.broker_addresses().into_iter().find(|(id, _)| !victims.contains(id));
    let Some((_, addr)) = alive else { return Ok(()) };
    let options = ConnectOptions { timeout: 2 * SILENCE, ..ConnectOptions::default() };
    let topic = NewTopic {
        name: format!("never-{}", monotonic_ns()),
        partitions: 1,
        replication_factor: 1,
        config: Default::default(),
    };
    let created = Connection::connect(&addr, &options)?.create_topic(&topic, SILENCE);
    assert!(created.is_err(), "a topic without a quorum");
    let leader = Connection::connect(&addr, &options)?.quorum();
    assert!(!matches!(&leader, Ok(quorum) if quorum.leader.is_some()), "{leader:?}");
    Ok(())
}

/// A bounce: each victim was gone, and another process has its place. A roll: every broker once, one after the other.
fn bounced(
    row: &Row,
    cluster: &LocalCluster,
    before: &[(i32, ProcessIdentity)],
    records: &[FaultRecord],
) -> Result<String, Failed> {
    let victims = victims(records);
    for (node, process) in before {
        let now = process_of(cluster, *node)?;
        assert_eq!(now == *process, !victims.contains(node), "node {node}");
        assert_eq!(process.is_alive(), !victims.contains(node), "node {node}");
    }
    if row.target != Target::NextOfRoll {
        return Ok("process gone, another one has its place".to_owned());
    }
    assert_eq!(victims, cluster.broker_addresses().into_keys().collect(), "every broker had its turn");
    for pair in records.windows(2) {
        assert!(pair[0].healed_ns < pair[1].injected_ns, "one after the other: {pair:?}");
    }
    let last = records.last().and_then(|record| record.target.as_ref()).ok_or("no last turn")?;
    assert_eq!(last.why.contains("controller"), row.shape != Shape::Isolated, "{last}");
    if let FaultAction::BrokerRollingUpgrade { to, .. } = &row.action {
        let jars = format!("/{to}/libs/");
        for (node, process) in processes(cluster)? {
            let command = std::fs::read_to_string(format!("/proc/{}/cmdline", process.pid))?;
            assert!(command.contains(&jars), "node {node} runs {command}");
        }
        return Ok(format!(
            "each process gone and replaced by one of {to}, one after the other, all replicas in sync between"
        ));
    }
    Ok("each process gone and replaced, one after the other, all replicas in sync between".to_owned())
}

/// Everybody lists everybody, every replica is in sync, and there is an active controller.
pub(crate) fn healthy(cluster: &LocalCluster, topic: &str) -> TestResult {
    let all: Vec<i32> = cluster.broker_addresses().into_keys().collect();
    eventually("all brokers list all brokers", || {
        cluster.bootstrap().iter().all(|addr| listed(addr).is_ok_and(|ids| ids == all))
    })?;
    let full = |addr: &String| {
        let described = Connection::connect(addr, &ConnectOptions::default());
        described.and_then(|mut connection| connection.describe_topic(topic)).is_ok_and(|topic| {
            topic.partitions.iter().all(|p| p.leader.is_some() && p.isr.len() == p.replicas.len())
        })
    };
    eventually("every replica is in sync", || cluster.bootstrap().iter().all(full))?;
    eventually("there is an active controller", || controller(cluster).is_some())
}

/// As if the run had died between healing and marking it healed: the entries are there again, and undoing them changes no
/// process. So does healing everything once more.
fn heals_again(
    cluster: &LocalCluster,
    injector: &Injector,
    records: &[FaultRecord],
    before: &[(i32, ProcessIdentity)],
) -> TestResult {
    let healed = processes(cluster)?;
    for record in records {
        for node in victims(std::slice::from_ref(record)) {
            let process = before.iter().find(|(id, _)| *id == node).ok_or("a stranger")?.1;
            let undo = record.action.undo().ok_or("nothing to undo")?;
            let planned = PlannedUndo { fault: record.name.clone(), node, process, undo };
            cluster.undo(&PendingUndo { id: 0, at_ns: 0, planned: planned.into() })?;
        }
    }
    injector.heal_all()?;
    assert_eq!(processes(cluster)?, healed);
    assert!(healed.iter().all(|(_, process)| process.is_alive()));
    Ok(())
}

/// SIGKILL to a run in the middle of the fault: its supervisor heals and ends everything.
fn a_killed_run_leaves_nothing(row: &Row) -> TestResult {
    let base = tempfile::tempdir()?;
    let mut run = Run::start(base.path(), &row.name())?;
    let journal = base.path().join("undo.journal");
    let pending = read_pending(&journal)?;
    let lasts = match &row.action {
        FaultAction::Operation { operation } => !operation.is_momentary(),
        action => !matches!(action.undo(), Some(UndoAction::Start)),
    };
    if lasts {
        assert!(!pending.is_empty());
    }
    run.child.kill()?;
    run.child.wait()?;
    let killed = Instant::now();
    let gone = || {
        let processes = run.brokers.iter().chain([&run.supervisor]);
        // The supervisor removes the data once it has reaped every node, those included that it started again meanwhile.
        processes.clone().all(|process| !process.is_alive()) && !base.path().join("data").exists()
    };
    while !gone() {
        if killed.elapsed() >= SUPERVISOR_LIMIT {
            return Err(format!("something is left after {} s", SUPERVISOR_LIMIT.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let gone_s = killed.elapsed().as_secs_f64();
    assert_eq!(read_pending(&journal)?, [], "nothing is left to undo");
    // Members that changed are not put back: all of them end.
    if let (FaultAction::Operation { operation }, true) = (&row.action, lasts)
        && !operation.needs_nodes()
    {
        let log = std::fs::read_to_string(base.path().join("logs/supervisor.log"))?;
        assert!(log.contains("healing: fault fault#1 is undone"), "{log}");
    }
    match row.shape {
        Shape::Netns => netns::nothing_is_left(base.path())?,
        Shape::Containers => containers::nothing_is_left(base.path(), run.supervisor)?,
        _ => {}
    }
    append(&serde_json::json!({
        "row": "killed_run",
        "fault": row.fault(),
        "target": row.whom(),
        "cluster": row.shape.words(),
        "pending_when_killed": pending.len(),
        "all_gone_s": rounded(gone_s),
    }))
}

/// The other side of a killed run: its cluster and, once it acts, the fault of the row with this name.
pub(crate) fn begin(base: &std::path::Path, name: &str) -> Result<(Arc<LocalCluster>, Injector), Failed> {
    let row = rows().into_iter().find(|row| row.name() == name).ok_or("no such row")?;
    let journal = Arc::new(UndoJournal::open(base)?);
    let undo_journal = Some(journal.path().to_path_buf());
    let dirs = gauntlet_chaos::ClusterDirs { undo_journal, ..dirs(base)? };
    let cluster = Arc::new(LocalCluster::start(&row.shape.spec(), &dirs, &launcher())?);
    topic_of(&row, &cluster)?;
    if let FaultAction::Operation { operation } = &row.action {
        operations::set_stage(operation, &cluster)?;
    }
    let (sender, events) = mpsc::channel();
    let injector = Injector::start(Arc::clone(&cluster), row.specs(), monotonic_ns(), journal, sender)?;
    await_effect(&events)?;
    Ok((cluster, injector))
}

pub(crate) fn await_effect(events: &Receiver<FaultEvent>) -> TestResult {
    loop {
        let event = events.recv_timeout(LIMIT)?;
        match event.step {
            FaultStep::TookEffect { .. } => return Ok(()),
            FaultStep::Failed { error } => return Err(error.into()),
            _ => {}
        }
    }
}

/// A topic with a replica on every broker; one for all rows of a cluster.
fn topic_of(row: &Row, cluster: &LocalCluster) -> Result<String, Failed> {
    let topic = "stage".to_owned();
    let options = ConnectOptions::default();
    let bootstrap = cluster.bootstrap();
    if connect_first(&bootstrap, &options)?.describe_topic(&topic)?.error.is_ok() {
        return Ok(topic);
    }
    let new_topic = NewTopic {
        name: topic.clone(),
        partitions: 6,
        replication_factor: i16::try_from(row.shape.brokers().min(3))?,
        config: Default::default(),
    };
    connect_first(&bootstrap, &options)?.create_topic(&new_topic, LIMIT)?;
    wait_for_leaders(&bootstrap, &topic, &options, LIMIT)?;
    Ok(topic)
}

fn processes(cluster: &LocalCluster) -> Result<Vec<(i32, ProcessIdentity)>, Failed> {
    Ok(cluster.statuses()?.iter().map(|status| (status.node, status.process)).collect())
}

fn victims(records: &[FaultRecord]) -> BTreeSet<i32> {
    records
        .iter()
        .filter_map(|record| record.target.as_ref())
        .flat_map(|target| target.nodes.clone())
        .collect()
}

/// The active controller as the first broker that answers knows it.
fn controller(cluster: &LocalCluster) -> Option<i32> {
    let options = ConnectOptions { timeout: SILENCE, ..ConnectOptions::default() };
    let ask = |addr: &String| Connection::connect(addr, &options).and_then(|mut c| c.quorum()).ok()?.leader;
    cluster.bootstrap().iter().find_map(ask)
}

fn tell(row: &Row, cluster: &LocalCluster, records: &[FaultRecord], seen: &str) -> TestResult {
    let span = |from: Option<u64>, to: Option<u64>| Some(to?.saturating_sub(from?) as f64 / 1e9);
    let longest = |part: &dyn Fn(&FaultRecord) -> Option<f64>| {
        records
            .iter()
            .map(part)
            .collect::<Option<Vec<f64>>>()
            .ok_or("a moment is missing")
            .map(|all| all.into_iter().fold(0.0, f64::max))
    };
    let acts_s = longest(&|record| span(record.injected_ns, record.took_effect_ns))?;
    let heals_s = longest(&|record| span(record.heal_began_ns, record.healed_ns))?;
    report(&format!("{}: acts after {acts_s:.2} s, heals in {heals_s:.2} s; {seen}", row.name()));
    append(&serde_json::json!({
        "row": "fault",
        "fault": row.fault(),
        "target": row.whom(),
        "cluster": row.shape.words(),
        "kafka": cluster.version().map(ToString::to_string),
        "seen": seen,
        "acts_after_s": rounded(acts_s),
        "heals_in_s": rounded(heals_s),
        "healing_again": match row.action {
            FaultAction::Operation { .. } => "changes nothing",
            _ => "changes no process",
        },
    }))
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

fn append(row: &serde_json::Value) -> TestResult {
    let Some(path) = std::env::var_os(ROWS) else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{row}")?)
}
