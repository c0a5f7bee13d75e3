//! Run directories as a run leaves them: whole, torn by a crash, with files missing, dead in the warm-up.

use std::io::Write as _;

use gauntlet_chaos::fault::FaultAction;
use gauntlet_chaos::history::{Change, PartitionState, TopicPartition};
use gauntlet_reports::record::{LoadProfile, RatePoint, RunState};
use gauntlet_reports::run_data::SecondPoint;
use tempfile::TempDir;

use super::*;
use crate::hlog;
use crate::intervals::{Second, SlotLine};
use crate::recorder::{Counts, Slip, Slot};
use crate::report::{ReportForm, write};

const ORIGIN_NS: u64 = 9_000_000_000;
const RATE_PER_S: u64 = 1_000;
const SCENARIO_TEXT: &str = "version: 1\nname: kill-a-leader\ncluster: { bootstrap_servers: \"127.0.0.1:9\" }\n\
                             load: { shape: constant, rate: 1k/s, warmup: 2s, duration: 3s }\n";

/// A run with a warm-up of 2 s and a load of 3 s, of which so many seconds were written. Ends of seconds lie `phase_s` after
/// those of the schedule.
struct Made {
    dir: TempDir,
}

impl Made {
    fn new(seconds: u64, phase_s: f64, zero_known_from: u64) -> Self {
        let made = Made { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(made.dir.path().join("logs")).unwrap();
        made.put("logs/broker-1.log", b"hello\n");
        made.put(SCENARIO, SCENARIO_TEXT.as_bytes());
        made.put(RUN_JSON, &serde_json::to_vec(&done()).unwrap());
        let mut lines = Vec::new();
        let mut log = Vec::new();
        for k in 0..seconds {
            made_second(k, phase_s, k >= zero_known_from, &mut lines, &mut log);
        }
        made.put(INTERVALS, &lines);
        made.put(HISTOGRAMS, &log);
        made.put(CLUSTER, &cluster_lines());
        made
    }

    fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(self.dir.path().join(name), content).unwrap();
    }

    fn append(&self, name: &str, content: &[u8]) {
        let path = self.dir.path().join(name);
        std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(content).unwrap();
    }

    fn dir(&self) -> RunDir {
        RunDir::existing(self.dir.path())
    }

    fn read(&self) -> ReadRun {
        read(&self.dir()).unwrap()
    }

    /// Writes a run.json of a run that is under way, or died.
    fn never_ended(&self) {
        let record = RunRecord {
            state: RunState::Running,
            verdict: None,
            exit_code: None,
            reasons: Vec::new(),
            warmup_s: None,
            verify: None,
            faults: Vec::new(),
            expect: Vec::new(),
            windows: Default::default(),
            ..done()
        };
        self.put(RUN_JSON, &serde_json::to_vec(&record).unwrap());
    }
}

fn done() -> RunRecord {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/tests/runs/pass.json");
    let mut record: RunRecord = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    record.warmup_s = Some(2.0);
    let per_s = RATE_PER_S as f64;
    record.load.target_rate = Some(per_s);
    let points = [0.0, 3.0].map(|t_s| RatePoint { t_s, per_s }).to_vec();
    record.load_profile = Some(LoadProfile { warmup_per_s: per_s, points });
    record.windows.get_mut("all").unwrap().to_s = 3.0;
    record
}

/// The k-th second: every record intended in it acked in time with a latency of k + 1 ms.
fn made_second(k: u64, phase_s: f64, zero_known: bool, lines: &mut Vec<u8>, log: &mut Vec<u8>) {
    let at_s = k as f64 + 1.0 + phase_s;
    let mut slot = Slot { counts: Counts { acked: 100, ..Counts::default() }, ..Slot::default() };
    slot.latency.record_n((k + 1) * 1_000, 100).unwrap();
    slot.slip = Slip { broker_ns: (k + 1) * 1_000_000, ..Slip::default() };
    let slots: Vec<SlotLine> = (k * 10..k * 10 + 10)
        .map(|slot_index| SlotLine { slot: slot_index, counts: slot.counts.clone(), slip: slot.slip })
        .collect();
    hlog::write_slots(log, 0, slots.iter().map(|line| (line.slot, &slot))).unwrap();
    let second = Second {
        at_s,
        t_s: zero_known.then_some(at_s - 2.0),
        sent: 1_001,
        acked: 1_000,
        read: 999,
        lag: k,
        cpu_ms: 10.0,
        ..Second::default()
    };
    let at_ns = ORIGIN_NS + (at_s * 1e9) as u64;
    IntervalLine { at_ns, second, slots }.write(lines).unwrap();
}

fn cluster_lines() -> Vec<u8> {
    let says = |at_ms: u64, seen_by: i32, leader_epoch: i32, isr: &[i32]| Observation {
        at_ns: ORIGIN_NS + at_ms * 1_000_000,
        seen_by,
        change: Change::Partition {
            at: TopicPartition { topic: "orders".to_owned(), partition: 0 },
            state: PartitionState {
                leader: isr.first().copied(),
                leader_epoch,
                replicas: vec![1, 2, 3],
                isr: isr.to_vec(),
                elr: None,
            },
        },
    };
    let told = [says(100, 1, 4, &[1, 2, 3]), says(110, 2, 4, &[1, 2, 3]), says(3_500, 2, 5, &[2, 3])];
    told.iter().flat_map(|said| [serde_json::to_vec(said).unwrap(), b"\n".to_vec()].concat()).collect()
}

fn times(points: &[SecondPoint]) -> Vec<f64> {
    points.iter().map(|point| point.t_s).collect()
}

#[test]
fn a_whole_run() {
    let made = Made::new(6, 0.06, 0);
    let ReadRun { data, notes } = made.read();
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(times(&data.seconds), [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]);
    let targets: Vec<Option<u64>> = data.seconds.iter().map(|point| point.target).collect();
    assert_eq!(targets, [Some(1_000), Some(1_000), Some(1_000), Some(1_000), Some(1_000), None]);
    for (k, point) in data.seconds.iter().enumerate() {
        assert_eq!(
            (point.sent, point.acked, point.read, point.lag),
            (1_001, 1_000, 999, k as u64),
            "{point:?}"
        );
        assert_eq!(point.latency_ms.p99.unwrap().floor(), k as f64 + 1.0, "{point:?}");
        assert_eq!(point.slip_ms.broker, k as f64 + 1.0);
        assert_eq!(point.service_ms.p99, None);
    }
    let changes: Vec<_> =
        data.cluster.iter().map(|c| (c.t_s, c.leader, c.leader_epoch, c.isr.len())).collect();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!((changes[0].0 + 1.9).abs() < 1e-3 && (changes[1].0 - 1.5).abs() < 1e-3, "{changes:?}");
    assert_eq!((changes[1].1, changes[1].2, changes[1].3), (Some(2), 5, 2));
    assert_eq!(data.cluster[0].partition, "orders-0");
    assert_eq!(data.scenario, SCENARIO_TEXT);
    assert_eq!(data.reproduce, "gauntlet run scenario.resolved.yaml --seed 7");
    let names: Vec<&str> = data.files.iter().map(|file| file.name.as_str()).collect();
    let expected = [CLUSTER, HISTOGRAMS, INTERVALS, "logs/broker-1.log", RUN_JSON, SCENARIO];
    assert_eq!(names, expected);
    let log = &data.files[3];
    // `printf 'hello\n' | sha256sum`
    let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    assert_eq!((log.bytes, log.sha256.as_str()), (6, sha256));
}

/// A tick is late by tens of milliseconds on a busy host. At any phase each second keeps its line.
#[test]
fn jitter_moves_no_line_into_another_second() {
    for phase_s in [0.06, 0.46, 0.49, 0.51, 0.96] {
        let made = Made::new(5, phase_s, 0);
        let mut lines: Vec<IntervalLine> = read_lines(&made.dir(), INTERVALS, &mut Vec::new());
        for (k, line) in lines.iter_mut().enumerate() {
            line.second.at_s += [0.0, 0.04, 0.0, 0.03, 0.0][k];
        }
        let mut bytes = Vec::new();
        lines.iter().for_each(|line| line.write(&mut bytes).unwrap());
        made.put(INTERVALS, &bytes);
        let acked: Vec<u64> = made.read().data.seconds.iter().map(|point| point.acked).collect();
        let counted: Vec<u64> = acked.into_iter().filter(|acked| *acked > 0).collect();
        assert_eq!(counted, [1_000; 5], "phase {phase_s}");
    }
}

#[test]
fn what_a_crash_tears_is_left_out() {
    let made = Made::new(4, 0.06, 0);
    made.never_ended();
    made.append(INTERVALS, b"{\"at_ns\":14060000000,\"second\":{\"at_s\":5.0");
    made.append(HISTOGRAMS, b"Tag=produce.latency,4.000,0.1");
    made.append(CLUSTER, b"{\"at_ns\":1");
    let ReadRun { data, notes } = made.read();
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(times(&data.seconds), [-2.0, -1.0, 0.0, 1.0]);
    assert_eq!(data.record.warmup_s, Some(2.0), "the seconds know it");
    assert_eq!(data.seconds[3].target, Some(1_000), "from the scenario, as nobody measured");
    assert_eq!(data.cluster.len(), 2);
    for form in ReportForm::ALL {
        assert!(!crate::report::render(form, &data).unwrap().is_empty());
    }
}

#[test]
fn a_run_that_died_has_the_faults_that_were_told() {
    let made = Made::new(4, 0.0, 0);
    made.never_ended();
    let record = FaultRecord {
        took_effect_ns: Some(ORIGIN_NS + 3_250_000_000),
        ..FaultRecord::planned("kill-leader", FaultAction::BrokerKill, ORIGIN_NS + 3_000_000_000)
    };
    made.put(FAULTS, &[serde_json::to_vec(&record).unwrap(), b"\n".to_vec()].concat());
    let read = made.read();
    let [fault] = read.data.record.faults.as_slice() else { panic!("{:?}", read.data.record.faults) };
    assert_eq!((fault.name.as_str(), fault.action.as_str()), ("kill-leader", "broker.kill"));
    assert_eq!((fault.at_s.planned, fault.at_s.took_effect, fault.at_s.healed), (1.0, Some(1.25), None));
    // One that was judged knows more than was told.
    let made = Made::new(5, 0.0, 0);
    made.put(FAULTS, b"");
    assert_eq!(made.read().data.record.faults, done().faults);
}

#[test]
fn what_is_spoiled_in_the_middle_is_noted() {
    let made = Made::new(3, 0.06, 0);
    let mut lines = std::fs::read(made.dir.path().join(INTERVALS)).unwrap();
    lines.splice(0..1, *b"x");
    made.put(INTERVALS, &lines);
    made.append(HISTOGRAMS, b"what is this\n");
    let ReadRun { data, notes } = made.read();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].starts_with("intervals.ndjson: 1 lines can't be read; the first is line 1:"),
        "{notes:?}"
    );
    assert!(notes[1].starts_with("histograms.hlog: "), "{notes:?}");
    assert_eq!(data.seconds[0].acked, 0);
    assert_eq!(data.seconds[0].latency_ms.p50.unwrap().floor(), 1.0);
    assert_eq!(data.seconds[1].acked, 1_000);
}

#[test]
fn a_run_that_died_in_an_open_warm_up_has_only_negative_seconds() {
    let made = Made::new(3, 0.06, u64::MAX);
    made.never_ended();
    let ReadRun { data, .. } = made.read();
    assert_eq!(data.record.warmup_s, None);
    assert_eq!(times(&data.seconds), [-4.0, -3.0, -2.0]);
    assert!(data.cluster.iter().all(|change| change.t_s < 0.0), "{:?}", data.cluster);
}

#[test]
fn only_run_json_must_be_there() {
    let made = Made::new(3, 0.06, 0);
    for name in [INTERVALS, HISTOGRAMS, CLUSTER, SCENARIO] {
        std::fs::remove_file(made.dir.path().join(name)).unwrap();
    }
    std::fs::remove_dir_all(made.dir.path().join("logs")).unwrap();
    let ReadRun { data, notes } = made.read();
    assert_eq!(notes.len(), 5, "{notes:?}");
    assert_eq!((data.seconds.len(), data.cluster.len(), data.files.len()), (0, 0, 1));
    assert_eq!(data.record, done());
}

#[test]
fn reports_replace_each_other_and_are_no_files_of_the_run() {
    let made = Made::new(3, 0.06, 0);
    let first = made.read();
    for _ in 0..2 {
        let written = write(&made.dir(), &first.data, &ReportForm::ALL).unwrap();
        assert_eq!(written.len(), 2);
    }
    let html = std::fs::read_to_string(made.dir.path().join("report.html")).unwrap();
    assert!(html.contains("kill-a-leader"), "{html}");
    assert_eq!(made.read().data.files, first.data.files);
}

#[test]
fn another_directory_is_no_run() {
    let empty = tempfile::tempdir().unwrap();
    let error = read(&RunDir::existing(empty.path())).unwrap_err();
    assert!(error.to_string().ends_with("is no run directory: it has no run.json"), "{error}");
    let made = Made::new(1, 0.06, 0);
    made.put(RUN_JSON, b"{\"schema_version\": 2, \"new\": true}");
    let error = read(&made.dir()).unwrap_err();
    assert!(
        error.to_string().ends_with("its schema_version is 2, this version of gauntlet reads 1"),
        "{error}"
    );
    made.put(RUN_JSON, b"[]");
    assert!(matches!(read(&made.dir()), Err(ReportError::Record { .. })));
}
