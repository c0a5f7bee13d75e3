//! What the tests stand on: clusters, runs in processes of their own, and questions to brokers.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use gauntlet_chaos::clock::monotonic_ns;
use gauntlet_chaos::process::ProcessIdentity;
use gauntlet_chaos::supervisor::NodeState;
use gauntlet_chaos::{
    ClusterDirs, FaultAction, FaultSpec, FaultStep, Injector, Isolation, Jvm, Launcher, LocalCluster,
    LocalSpec, Target, UndoJournal, cache_dir,
};
use gauntlet_wire::batch::{BatchBuilder, BatchStamp, RecordSpec};
use gauntlet_wire::codec::Codec;
use gauntlet_wire::{ConnectOptions, Connection, ErrorCode};
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::protocol::StrBytes;
use libtest_mimic::Failed;

pub(crate) const SUPERVISE: &str = "--hidden-supervise";
pub(crate) const RUN: &str = "--hidden-run";
/// The fault of a run that needs two brokers only.
pub(crate) const PAUSE: &str = "pause";
/// The same, in network namespaces.
pub(crate) const PAUSE_IN_NETNS: &str = "pause in netns";
/// Nothing here should take as long; it only has to end.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) type TestResult = Result<(), Failed>;

/// A run in a process of its own, which can be killed like one.
pub(crate) struct Run {
    pub(crate) child: Child,
    pub(crate) supervisor: ProcessIdentity,
    pub(crate) brokers: Vec<ProcessIdentity>,
}

impl Run {
    /// A run under `fault`: a row of the catalogue, or [`PAUSE`].
    pub(crate) fn start(base: &Path, fault: &str) -> Result<Self, Failed> {
        let exe = std::env::current_exe()?;
        let mut child = Command::new(exe).arg(RUN).arg(base).arg(fault).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let mut processes: Vec<ProcessIdentity> = serde_json::from_str(&line)?;
        let supervisor = processes.remove(0);
        Ok(Self { child, supervisor, brokers: processes })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side of [`Run`]: a cluster under a fault that acts; tells its processes and waits for its end.
pub(crate) fn run_until_killed(base: &Path, fault: &str) -> ExitCode {
    let body = || -> Result<(), Failed> {
        let (cluster, _injector) = match fault {
            PAUSE => begin_pause(base, quick(2))?,
            PAUSE_IN_NETNS => begin_pause(base, in_netns(2))?,
            row => super::matrix::begin(base, row)?,
        };
        let mut processes = vec![cluster.supervisor_process()];
        processes.extend(cluster.statuses()?.iter().map(|status| status.process));
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&processes)?)?;
        loop {
            std::thread::park();
        }
    };
    match body() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("the run failed: {:?}", error.message()));
            ExitCode::FAILURE
        }
    }
}

/// Two brokers, the second one under a pause that lasts until the run ends.
fn begin_pause(base: &Path, spec: LocalSpec) -> Result<(Arc<LocalCluster>, Injector), Failed> {
    let journal = Arc::new(UndoJournal::open(base)?);
    let dirs = ClusterDirs { undo_journal: Some(journal.path().to_path_buf()), ..dirs(base)? };
    let cluster = Arc::new(LocalCluster::start(&spec, &dirs, &launcher())?);
    let pause = FaultSpec {
        name: "pause".to_owned(),
        action: FaultAction::BrokerPause,
        target: Target::Broker { id: 2 },
        at_ns: 0,
        recover_after: None,
        follows: None,
    };
    let (events, told) = mpsc::channel();
    let injector = Injector::start(Arc::clone(&cluster), vec![pause], monotonic_ns(), journal, events)?;
    while !matches!(told.recv_timeout(LIMIT)?.step, FaultStep::TookEffect { .. }) {}
    Ok((cluster, injector))
}

pub(crate) fn launcher() -> Launcher {
    Launcher::current_exe([SUPERVISE])
}

pub(crate) fn quick(brokers: u16) -> LocalSpec {
    LocalSpec { brokers, jvm: Jvm::Quick, ..LocalSpec::default() }
}

pub(crate) fn in_netns(brokers: u16) -> LocalSpec {
    LocalSpec { isolation: Isolation::Netns, ..quick(brokers) }
}

pub(crate) fn dirs(base: &Path) -> Result<ClusterDirs, Failed> {
    Ok(ClusterDirs {
        data: base.join("data"),
        logs: base.join("logs"),
        cache: cache_dir()?,
        keep_data: false,
        undo_journal: None,
    })
}

pub(crate) fn share_jars(cache: &Path) -> TestResult {
    let jars: PathBuf = cache_dir()?.join("kafka");
    std::fs::create_dir_all(&jars)?;
    Ok(std::os::unix::fs::symlink(jars, cache.join("kafka"))?)
}

pub(crate) fn listed(addr: &str) -> Result<Vec<i32>, Failed> {
    let mut ids: Vec<i32> = Connection::connect(addr, &ConnectOptions::default())?
        .metadata(Some(&[]))?
        .brokers
        .iter()
        .map(|broker| broker.id)
        .collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Sends one record of so many bytes to the broker at `addr`.
pub(crate) fn produce(
    addr: &str,
    topic: &str,
    partition: i32,
    acks: i16,
    bytes: usize,
) -> Result<ErrorCode, Failed> {
    let mut batch = BatchBuilder::new(Codec::None);
    let spec = RecordSpec {
        timestamp_ms: 1_700_000_000_000,
        key: None,
        value_bytes: bytes,
        own_header: None,
        headers: &[],
    };
    batch.append(&spec, |value| value.fill(7));
    let records = batch.seal(BatchStamp::NONE).bytes().clone();
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicName(StrBytes::from_string(topic.to_owned()));
    let request = ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(60_000)
        .with_topic_data(vec![TopicProduceData::default().with_name(topic).with_partition_data(vec![data])]);
    let options = ConnectOptions { timeout: LIMIT, ..ConnectOptions::default() };
    // From 13 on topics have ids in it.
    let response = Connection::connect(addr, &options)?.call_capped(&request, 12)?;
    let answers = response.responses.first().and_then(|topic| topic.partition_responses.first());
    Ok(ErrorCode(answers.ok_or("no answer")?.error_code))
}

pub(crate) fn state_of(cluster: &LocalCluster, id: i32) -> Result<NodeState, Failed> {
    let status = cluster.statuses()?.into_iter().find(|status| status.node == id).ok_or("no such node")?;
    Ok(status.state)
}

pub(crate) fn process_of(cluster: &LocalCluster, id: i32) -> Result<ProcessIdentity, Failed> {
    let status = cluster.statuses()?.into_iter().find(|status| status.node == id).ok_or("no such node")?;
    Ok(status.process)
}

pub(crate) fn eventually(what: &str, reached: impl Fn() -> bool) -> TestResult {
    let deadline = Instant::now() + LIMIT;
    while !reached() {
        if Instant::now() >= deadline {
            return Err(format!("not within {} s: {what}", LIMIT.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A measured number, for whoever reads the test's output.
pub(crate) fn report(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}
