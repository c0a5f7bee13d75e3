//! Faults on real brokers: they act, they are seen, they heal, and the clocks measure it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gauntlet_chaos::clock::monotonic_ns;
use gauntlet_chaos::clocks::{AckGaps, FaultClocks, RecoveryTime, distrust_victims, recovery_clocks};
use gauntlet_chaos::fault::FaultRecord;
use gauntlet_chaos::history::{Change, Observation, PartitionState, TopicPartition};
use gauntlet_chaos::journal::UndoAction;
use gauntlet_chaos::watcher::{WatchConfig, Watched};
use gauntlet_chaos::{
    ClusterHistory, FaultAction, FaultEvent, FaultSpec, FaultStep, Injector, LocalCluster, LocalSpec, Target,
    UndoJournal, Watcher,
};
use gauntlet_wire::admin::{connect_first, wait_for_leaders};
use gauntlet_wire::{ConnectOptions, NewTopic};
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use super::support::{LIMIT, TestResult, dirs, eventually, launcher, process_of, quick, report};

const PARTITIONS: i32 = 6;

/// One cluster for all tests that leave it as they found it. Started by the first one that needs it.
#[derive(Default)]
pub(crate) struct SharedCluster(Mutex<Option<(Arc<LocalCluster>, TempDir)>>);

impl SharedCluster {
    /// Three quick brokers that notice a lost broker after 3 s instead of 9.
    fn get(&self) -> Result<Arc<LocalCluster>, Failed> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((cluster, _)) = &*shared {
            return Ok(Arc::clone(cluster));
        }
        let base = tempfile::tempdir()?;
        let fast = [
            ("broker.session.timeout.ms", "3000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("replica.lag.time.max.ms", "5000"),
        ];
        let config = fast.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let spec = LocalSpec { config, ..quick(3) };
        let cluster = Arc::new(LocalCluster::start(&spec, &dirs(base.path())?, &launcher())?);
        *shared = Some((Arc::clone(&cluster), base));
        Ok(cluster)
    }

    /// Ends the cluster, if any test started it.
    pub(crate) fn shutdown(&self) -> TestResult {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some((cluster, _base)) => {
                Ok(Arc::into_inner(cluster).ok_or("a test still holds the cluster")?.shutdown()?)
            }
            None => Ok(()),
        }
    }
}

/// The tests on the shared cluster.
pub(crate) fn trials(shared: &Arc<SharedCluster>) -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Arc<LocalCluster>) -> TestResult| {
        let shared = Arc::clone(shared);
        Trial::test(name, move || test(&shared.get()?))
    };
    vec![
        trial("a_killed_leader_is_replaced_and_comes_back", a_killed_leader_is_replaced_and_comes_back),
        trial("a_stopped_controller_hands_over", a_stopped_controller_hands_over),
        trial("a_pause_ends_with_the_run", a_pause_ends_with_the_run),
        trial("healing_during_an_injection", healing_during_an_injection),
        trial("what_did_not_happen_is_recorded_as_such", what_did_not_happen_is_recorded_as_such),
    ]
}

fn a_killed_leader_is_replaced_and_comes_back(cluster: &Arc<LocalCluster>) -> TestResult {
    let stage = Stage::set(cluster, "killed")?;
    let recover_after = Duration::from_secs(4);
    let leader = Target::LeaderOf { topic: stage.topic.clone(), partition: 0 };
    let injector = stage.inject(vec![fault("kill", FaultAction::BrokerKill, leader, Some(recover_after))])?;
    let record = only(injector.join())?;
    assert_eq!((&record.error, &record.heal_error), (&None, &None));
    let target = record.target.clone().ok_or("not resolved")?;
    assert_eq!(target.why, "leader of killed-0");
    let [injected, acted, healing, healed] = times(&record)?;
    assert!(record.planned_at_ns <= injected && injected <= acted && healing < healed, "{record:?}");
    assert!(healing >= acted + 4_000_000_000, "healed too early: {record:?}");
    assert_eq!(stage.journal.pending()?, []);
    assert_eq!(steps(&stage.events), ["injecting", "took_effect", "heal_began", "healed"]);

    let (history, clocks) = stage.recovered(&record)?;
    report(&format!("kill the leader: {}", in_words(&clocks)));
    let before = history.state_at(&at("killed", 0), injected).ok_or("not watched")?;
    assert_eq!(before.leader, Some(target.nodes[0]));
    let elected = clocks.leader_elected.seconds().ok_or(format!("{:?}", clocks.leader_elected))?;
    assert!(elected > 0.0);
    let full = clocks.isr_full.seconds().ok_or(format!("{:?}", clocks.isr_full))?;
    assert!(full >= (healed - healing) as f64 / 1e9, "full before the victim was back: {clocks:?}");
    // In between the victim was out of the ISR: fenced when its session ran out, or at the latest when it registered anew.
    let place = at("killed", 0);
    let shrunk = history.observations().any(|seen| {
        (injected..healed).contains(&seen.at_ns)
            && matches!(&seen.change, Change::Partition { at, state } if *at == place && !state.isr.contains(&target.nodes[0]))
    });
    assert!(shrunk, "{:?}", history.observations().collect::<Vec<_>>());
    Ok(())
}

fn a_stopped_controller_hands_over(cluster: &Arc<LocalCluster>) -> TestResult {
    let stage = Stage::set(cluster, "stopped")?;
    let stop = FaultAction::BrokerStop { deadline_ms: 30_000 };
    let injector = stage.inject(vec![fault("stop", stop, Target::ActiveController, None)])?;
    stage.wait_for_step("took_effect")?;
    let acted_ns = only(injector.records())?.took_effect_ns.ok_or("it acted")?;
    eventually("another controller leads", || {
        stage.watcher.read(|history| {
            let before = history.controller_at(acted_ns);
            let now = history.controller_at(u64::MAX);
            before.is_some() && now.is_some() && now.map(|n| n.0) != injected_node(&injector)
        })
    })?;
    injector.heal_all()?;
    let record = only(injector.join())?;
    assert_eq!((&record.error, &record.heal_error), (&None, &None));

    let (_, clocks) = stage.recovered(&record)?;
    report(&format!("stop the active controller: {}", in_words(&clocks)));
    assert!(clocks.controller_elected.seconds().is_some(), "{clocks:?}");
    assert!(clocks.leader_elected.seconds().is_some(), "{clocks:?}");
    assert!(clocks.isr_full.seconds().is_some(), "{clocks:?}");
    Ok(())
}

/// A pause without a time of its own, healed in the middle, as on ^C; and the watcher goes on seeing although one of the two
/// brokers that it asks is the victim.
fn a_pause_ends_with_the_run(cluster: &Arc<LocalCluster>) -> TestResult {
    let stage = Stage::set(cluster, "paused")?;
    let later = FaultSpec {
        at_ns: u64::MAX / 2,
        ..fault("never", FaultAction::BrokerKill, Target::NotController, None)
    };
    let pause = fault("pause", FaultAction::BrokerPause, Target::NotController, None);
    let injector = stage.inject(vec![pause, later])?;
    stage.wait_for_step("took_effect")?;
    let victim = injected_node(&injector).ok_or("no victim")?;
    let process = process_of(cluster, victim)?;
    assert!(process.all_threads_stopped()?);
    let pending = stage.journal.pending()?;
    assert_eq!(pending.len(), 1);
    let planned = pending[0].planned.process().ok_or("not of a process")?;
    assert_eq!((planned.process, planned.undo), (process, UndoAction::Resume));
    let blind = |history: &ClusterHistory| {
        let is_blind = |o: &Observation| o.seen_by == victim && matches!(o.change, Change::Blind { .. });
        history.observations().any(is_blind)
    };
    eventually("the eye on the victim notices", || stage.watcher.read(blind))?;
    eventually("the other ones see it leave the ISR", || {
        let out = |state: &PartitionState| !state.isr.contains(&victim);
        stage.watcher.read(|history| history.state_at(&at("paused", 0), u64::MAX).is_some_and(out))
    })?;

    std::thread::scope(|scope| -> TestResult {
        let other = scope.spawn(|| injector.heal_all());
        injector.heal_all()?;
        Ok(other.join().map_err(|_| "the other caller panicked")??)
    })?;
    injector.heal_all()?;
    assert!(!process.all_threads_stopped()?);
    assert_eq!(stage.journal.pending()?, []);
    let records = injector.join();
    assert_eq!(records[0].heal_error, None);
    assert_eq!(records[1].injected_ns, None);
    assert_eq!(records[1].error.as_deref(), Some("the run ended before it was due"));

    let (_, clocks) = stage.recovered(&records[0])?;
    report(&format!("pause a broker that is not the controller: {}", in_words(&clocks)));
    assert_eq!(clocks.controller_elected, RecoveryTime::NotAffected);
    assert!(clocks.isr_full.seconds().is_some(), "{clocks:?}");
    Ok(())
}

/// The run ends at whatever moment of a pause's life: before its turn, while it is journaled or injected, or after. Each time
/// nothing is left of it.
fn healing_during_an_injection(cluster: &Arc<LocalCluster>) -> TestResult {
    let base = tempfile::tempdir()?;
    let journal = Arc::new(UndoJournal::open(base.path())?);
    let process = process_of(cluster, 3)?;
    let mut acted = 0;
    for round in 0..30 {
        let (events, _told) = mpsc::channel();
        let pause = fault("pause", FaultAction::BrokerPause, Target::Broker { id: 3 }, None);
        let (cluster, journal) = (Arc::clone(cluster), Arc::clone(&journal));
        let injector = Injector::start(cluster, vec![pause], monotonic_ns(), Arc::clone(&journal), events)?;
        // From 0 to some ms in, which is how long journal and signal take: not a wait for a state but its opposite.
        std::thread::sleep(Duration::from_micros(round * 200));
        injector.heal_all()?;
        let record = only(injector.join())?;
        assert_eq!(record.injected_ns.is_some(), record.healed_ns.is_some(), "{record:?}");
        assert!(!process.all_threads_stopped()?, "{record:?}");
        assert_eq!(journal.pending()?, []);
        acted += usize::from(record.injected_ns.is_some());
    }
    report(&format!("a run ended at 30 moments; in {acted} of them a pause was injected"));
    cluster.wait_ready(3, LIMIT)?;
    Ok(())
}

/// A stop whose deadline is over at once is not seen to act, and healed all the same; a role that nobody has hits nobody.
fn what_did_not_happen_is_recorded_as_such(cluster: &Arc<LocalCluster>) -> TestResult {
    let stage = Stage::set(cluster, "unseen")?;
    let impatient = FaultAction::BrokerStop { deadline_ms: 0 };
    let nobody = Target::LeaderOf { topic: "no-such-topic".to_owned(), partition: 0 };
    cluster.kill(3)?;
    let injector = stage.inject(vec![
        fault("dead", FaultAction::BrokerPause, Target::Broker { id: 3 }, None),
        fault("impatient", impatient, Target::Broker { id: 1 }, Some(LIMIT)),
        fault("nobody", FaultAction::BrokerKill, nobody, None),
        fault("stranger", FaultAction::BrokerKill, Target::Broker { id: 77 }, None),
    ])?;
    let process = process_of(cluster, 1)?;
    let records = injector.join();
    let [dead, impatient, nobody, stranger] = &records[..] else { return Err("four faults".into()) };
    assert_eq!(impatient.took_effect_ns, None);
    let error = impatient.error.as_deref().unwrap_or_default();
    assert!(error.contains("not seen to act: node 1 still runs at its deadline"), "{error}");
    assert_eq!(impatient.heal_error, None);
    assert!(impatient.healed_ns.is_some());
    assert!(!process.is_alive(), "a broker that may stop at any time is no healed one");
    for (record, message) in [
        (dead, "node 3 can't be a victim: it is gone (killed by SIGKILL)"),
        (nobody, "topic no-such-topic"),
        (stranger, "there is no node 77"),
    ] {
        let error = record.error.as_deref().unwrap_or_default();
        assert!(error.contains(message), "{error}");
        assert_eq!((record.injected_ns, record.heal_began_ns), (None, None));
    }
    assert_eq!(stage.journal.pending()?, []);
    let clocks = recovery_clocks(&records, &stage.watcher.finish().history, &AckGaps::new());
    assert!(clocks.iter().all(|clocks| clocks.isr_full == RecoveryTime::Unknown), "{clocks:?}");
    cluster.start_node(3)?;
    cluster.wait_ready(1, LIMIT)?;
    cluster.wait_ready(3, LIMIT)?;
    Ok(())
}

/// Two brokers of two are down at once and both come back; a third fault may not touch one of them meanwhile.
pub(crate) fn two_faults_at_once(cluster: &Arc<LocalCluster>, base: &Path) -> TestResult {
    let journal = Arc::new(UndoJournal::open(base)?);
    let recover_after = Some(Duration::from_secs(1));
    let kill =
        |name: &str, id: i32| fault(name, FaultAction::BrokerKill, Target::Broker { id }, recover_after);
    let second = FaultSpec { at_ns: 500_000_000, ..kill("second", 1) };
    let specs = vec![kill("one", 1), kill("two", 2), second];
    let (events, _told) = mpsc::channel();
    let injector = Injector::start(Arc::clone(cluster), specs, monotonic_ns(), Arc::clone(&journal), events)?;
    let records = injector.join();
    let [one, two, second] = &records[..] else { return Err("three faults".into()) };
    let ([_, one_acted, one_healing, _], [_, two_acted, two_healing, _]) = (times(one)?, times(two)?);
    assert!(one_acted < two_healing && two_acted < one_healing, "they overlap: {records:?}");
    assert_eq!(second.error.as_deref(), Some("node 1 is under fault one already"));
    assert_eq!(journal.pending()?, []);
    for id in [1, 2] {
        cluster.wait_ready(id, LIMIT)?;
    }
    Ok(())
}

/// With isolated controllers the victim is one, and it is back when its process is.
pub(crate) fn the_active_controller_may_be_no_broker(cluster: &Arc<LocalCluster>, base: &Path) -> TestResult {
    let journal = Arc::new(UndoJournal::open(base)?);
    let now = Some(Duration::ZERO);
    let kill = fault("kill", FaultAction::BrokerKill, Target::ActiveController, now);
    let (events, _told) = mpsc::channel();
    let injector = Injector::start(Arc::clone(cluster), vec![kill], monotonic_ns(), journal, events)?;
    let record = only(injector.join())?;
    assert_eq!(record.target.as_ref().map(|target| target.nodes.clone()), Some(vec![101]), "{record:?}");
    times(&record)?;
    Ok(())
}

/// A topic on a healthy cluster, a watcher on it, and a journal.
struct Stage {
    cluster: Arc<LocalCluster>,
    topic: String,
    watcher: Watcher,
    stream: Lines,
    journal: Arc<UndoJournal>,
    events: Receiver<FaultEvent>,
    sender: mpsc::Sender<FaultEvent>,
    _base: TempDir,
}

impl Stage {
    fn set(cluster: &Arc<LocalCluster>, topic: &str) -> Result<Self, Failed> {
        let base = tempfile::tempdir()?;
        let new_topic = NewTopic {
            name: topic.to_owned(),
            partitions: PARTITIONS,
            replication_factor: 3,
            config: [("min.insync.replicas".to_owned(), "2".to_owned())].into(),
        };
        let options = ConnectOptions::default();
        let bootstrap = cluster.bootstrap();
        connect_first(&bootstrap, &options)?.create_topic(&new_topic, LIMIT)?;
        wait_for_leaders(&bootstrap, topic, &options, LIMIT)?;
        let config = WatchConfig {
            security: Default::default(),
            brokers: cluster.broker_addresses(),
            topics: vec![topic.to_owned()],
            interval: Duration::from_millis(100),
        };
        let stream = Lines::default();
        let watcher = Watcher::start(config, Box::new(stream.clone()))?;
        eventually("both eyes and the quorum are seen", || {
            watcher.read(|history| {
                let witnesses: std::collections::BTreeSet<i32> = history
                    .observations()
                    .filter(|o| matches!(&o.change, Change::Partition { .. }))
                    .map(|o| o.seen_by)
                    .collect();
                witnesses.len() == 2
                    && history.partitions().len() == PARTITIONS as usize
                    && history.controller_at(u64::MAX).is_some()
            })
        })?;
        let (sender, events) = mpsc::channel();
        Ok(Self {
            cluster: Arc::clone(cluster),
            topic: topic.to_owned(),
            watcher,
            stream,
            journal: Arc::new(UndoJournal::open(base.path())?),
            events,
            sender,
            _base: base,
        })
    }

    fn inject(&self, specs: Vec<FaultSpec>) -> Result<Injector, Failed> {
        let (cluster, journal) = (Arc::clone(&self.cluster), Arc::clone(&self.journal));
        Ok(Injector::start(cluster, specs, monotonic_ns(), journal, self.sender.clone())?)
    }

    fn wait_for_step(&self, wanted: &str) -> TestResult {
        loop {
            let event = self.events.recv_timeout(LIMIT)?;
            if let FaultStep::Failed { error } = &event.step {
                return Err(format!("{}: {error}", event.fault).into());
            }
            if step_name(&event.step) == wanted {
                return Ok(());
            }
        }
    }

    /// Waits until the ISR is full after the heal; then everything seen, and the clocks.
    fn recovered(self, record: &FaultRecord) -> Result<(ClusterHistory, FaultClocks), Failed> {
        let distrust = distrust_victims(std::slice::from_ref(record));
        let healed_ns = record.healed_ns.ok_or("not healed")?;
        eventually("the ISR is full", || {
            self.watcher.read(|history| history.isr_full_at(healed_ns, &distrust).is_some())
        })?;
        let Watched { history, stream_error } = self.watcher.finish();
        assert!(stream_error.is_none());
        let streamed = self.stream.parse()?;
        assert!(streamed.iter().eq(history.observations()), "the stream is the history");
        let mut clocks = recovery_clocks(std::slice::from_ref(record), &history, &AckGaps::new());
        let clocks = clocks.pop().ok_or("one fault, one set of clocks")?;
        Ok((history, clocks))
    }
}

/// A stream that can be read while it is written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn parse(&self) -> Result<Vec<Observation>, Failed> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?)
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn fault(name: &str, action: FaultAction, target: Target, recover_after: Option<Duration>) -> FaultSpec {
    FaultSpec { name: name.to_owned(), action, target, at_ns: 0, recover_after, follows: None }
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

fn only(records: Vec<FaultRecord>) -> Result<FaultRecord, Failed> {
    let [record] = <[FaultRecord; 1]>::try_from(records).map_err(|records| format!("{records:?}"))?;
    Ok(record)
}

/// Injected, took effect, healing began, healed.
fn times(record: &FaultRecord) -> Result<[u64; 4], Failed> {
    let all = [record.injected_ns, record.took_effect_ns, record.heal_began_ns, record.healed_ns];
    match all {
        [Some(injected), Some(acted), Some(healing), Some(healed)] => Ok([injected, acted, healing, healed]),
        _ => Err(format!("{record:?}").into()),
    }
}

fn injected_node(injector: &Injector) -> Option<i32> {
    Some(injector.records().first()?.target.as_ref()?.nodes[0])
}

fn steps(events: &Receiver<FaultEvent>) -> Vec<&'static str> {
    events.try_iter().map(|event| step_name(&event.step)).collect()
}

fn step_name(step: &FaultStep) -> &'static str {
    match step {
        FaultStep::Injecting { .. } => "injecting",
        FaultStep::TookEffect { .. } => "took_effect",
        FaultStep::Failed { .. } => "failed",
        FaultStep::HealBegan => "heal_began",
        FaultStep::Healed => "healed",
        FaultStep::HealFailed { .. } => "heal_failed",
    }
}

fn in_words(clocks: &FaultClocks) -> String {
    format!(
        "controller elected {:?}, leader elected {:?}, ISR full {:?}",
        clocks.controller_elected, clocks.leader_elected, clocks.isr_full
    )
}
