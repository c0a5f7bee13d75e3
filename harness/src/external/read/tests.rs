//! The loop with a script in place of a client.

use std::io::BufWriter;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, unbounded};
use gauntlet_chaos::ClientRole;
use gauntlet_verify::{CrcSeed, Identity, Outcome, Settlement, StreamKey};
use gauntlet_wire::Security;

use super::*;
use crate::external::launch::{Assignment, Connection, Launch};
use crate::external::log::Log;
use crate::external::programs::{Programs, Who};
use crate::load::reader::{CheckPlan, Elsewhere, EndOffsets, ReaderEnd};
use crate::load::{Control, Interval, ReaderPlan};

const RUN: u32 = 77;

/// Record `pseq` of producer 0 on a partition of "orders", 100 bytes.
fn value(partition: u32, pseq: u64) -> Vec<u8> {
    let mut value = vec![0; 100];
    let identity = Identity {
        flags: 0,
        run: RUN,
        producer: 0,
        incarnation: 0,
        partition,
        pseq,
        intended_ns: monotonic_ns(),
    };
    gauntlet_verify::identity::encode(&identity, &CrcSeed::new("orders", partition), &mut value).unwrap();
    value
}

fn read_line(partition: u32, pseq: u64, offset: i64) -> String {
    format!("read {partition} {offset} {}\n", STANDARD.encode(value(partition, pseq)))
}

struct Ran {
    result: Result<ReaderEnd, ExternalError>,
    intervals: Receiver<Interval>,
    log: String,
}

/// Runs a reader of partitions 0 and 1 of 3 from offset 10 on, each with 20 acked records, until both are at offset 30. The
/// program prints the file `says.N` when it is started the Nth time, and then does `then`.
fn run(says: &[String], then: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    for (i, text) in says.iter().enumerate() {
        std::fs::write(dir.path().join(format!("says.{}", i + 1)), text).unwrap();
    }
    let script = format!(
        "cd {} && read -r plan && echo \"$plan\" >> plans && N=$(wc -l < plans) && echo ready && cat says.$N && {then}",
        dir.path().display()
    );
    let path = dir.path().join("external.log");
    let log = Log::new(BufWriter::new(std::fs::File::create(&path).unwrap()), &Security::default());
    let (security, programs) = (Security::default(), Arc::<Programs>::default());
    let connection = Connection { bootstrap: &[], client_id: "test", security: &security };
    let assigned: BTreeMap<usize, i64> = [(0, 10), (1, 10)].into();
    let plan = Assignment::new(ClientRole::Consumer, "r", ("orders", 3), &Default::default(), connection);
    let client_id = "test".to_owned();
    let launch = Launch {
        who: Who {
            name: "reader-0".to_owned(),
            role: ClientRole::Consumer,
            client_id: client_id.clone(),
            client_id_of_all: client_id,
        },
        scribe: Scribe { log, who: "reader-0".to_owned() },
        command: ["sh", "-c", &script].map(str::to_owned).to_vec(),
        kafka_libs: None,
        plan: plan.clone(),
        programs: Arc::clone(&programs),
    };
    let ends = Arc::new(EndOffsets::unknown(3));
    ends.set(&[(0, 30), (1, 30)].into());
    let control = Arc::<Control>::default();
    control.read_until(monotonic_ns() + 20_000_000_000);
    let (settle, settlements) = unbounded();
    for partition in 0..2 {
        let outcome = Outcome::Acked { base_offset: Some(10) };
        let stream = StreamKey { producer: 0, incarnation: 0 };
        settle
            .send((
                partition,
                Settlement { stream, first_pseq: 0, count: 20, outcome, sent_ns: 0, settled_ns: 0 },
                None,
            ))
            .unwrap();
    }
    let (intervals, received) = unbounded();
    let check = CheckPlan {
        other_topics: Vec::new(),
        created_by_run: true,
        in_order: true,
        gapless: true,
        compacted_keys: None,
        examples_max: 5,
        fragments_max: 1_000,
        keep_history: false,
    };
    let reader_plan = ReaderPlan {
        reader: 0,
        run: RUN,
        topic: "orders".to_owned(),
        elsewhere: Elsewhere::default(),
        check: Some(check),
        window: crate::plan::ReadWindow::default(),
        assigned: assigned.clone(),
    };
    let reader = Reader::new(reader_plan, control, ends, settlements, intervals, 1_000_000_000);
    let result = Partner::start(launch, &plan.from(&assigned), || true)
        .and_then(|partner| run_reader(partner, reader))
        .map(|reader| reader.finish(true, false, &Vec::new(), |_, _| {}));
    assert!(programs.wait_for_the_last(std::time::Duration::ZERO), "nothing may be left");
    let plans = std::fs::read_to_string(dir.path().join("plans")).unwrap_or_default();
    let log = std::fs::read_to_string(path).unwrap() + &plans;
    Ran { result, intervals: received, log }
}

/// Both partitions from `from` on, up to offset 30.
fn all(from: u64) -> String {
    (from..20).flat_map(|i| [read_line(0, i, 10 + i as i64), read_line(1, i, 10 + i as i64)]).collect()
}

const WAIT: &str = "while read line; do [ \"$line\" = end ] && exit 0; done; exit 1";

#[test]
fn what_is_read_is_checked_record_by_record() {
    let says = format!("log hello\nwatermark 0 31\n{}", all(0));
    let ran = run(&[says], WAIT);
    let end = ran.result.unwrap();
    for report in &end.reports {
        assert_eq!((report.end.position, report.end.end_offset), (30, 30));
        let summary = &report.summary;
        assert_eq!((summary.checked, summary.lost, summary.duplicates), (20, 0, 0), "{summary:?}");
    }
    let read: u64 =
        ran.intervals.try_iter().flat_map(|i| i.slots.into_values()).map(|slot| slot.counts.read).sum();
    assert_eq!(read, 40);
    assert!(ran.log.contains("reader-0 log: hello"), "{}", ran.log);
    assert!(
        ran.log.contains(r#""assigned":[{"partition":0,"offset":10},{"partition":1,"offset":10}]"#),
        "{}",
        ran.log
    );
}

#[test]
fn what_is_left_out_is_lost() {
    let without: String =
        all(0).lines().filter(|l| !l.starts_with("read 1 17 ")).map(|l| format!("{l}\n")).collect();
    // The last record of partition 0 is told to be none: a position stands for it.
    let says = without.replacen("read 0 29 ", "log ", 1) + "position 0 30\n";
    let end = run(&[says], WAIT).result.unwrap();
    let lost: Vec<u64> = end.reports.iter().map(|r| r.summary.lost).collect();
    assert_eq!(lost, [1, 1], "one was skipped, one declared not to be there");
}

#[test]
fn one_that_ends_is_followed_by_another_at_its_positions() {
    let first: String = (0..7).flat_map(|i| [read_line(0, i, 10 + i as i64)]).collect();
    // Half a line is no line.
    let first = first + "read 0 17 AAA";
    let rest: String = (7..20).map(|i| read_line(0, i, 10 + i as i64)).collect();
    let second: String = rest + &(0..20).map(|i| read_line(1, i, 10 + i as i64)).collect::<String>();
    let ran = run(&[first, second], "[ $N = 1 ] || while read line; do [ \"$line\" = end ] && exit 0; done");
    let end = ran.result.unwrap();
    let lost: Vec<u64> = end.reports.iter().map(|r| r.summary.lost + r.summary.duplicates).collect();
    assert_eq!(lost, [0, 0], "{}", ran.log);
    assert!(end.reports.iter().all(|report| report.end.position == 30), "{}", ran.log);
    assert!(
        ran.log.contains(r#""assigned":[{"partition":0,"offset":17},{"partition":1,"offset":10}]"#),
        "{}",
        ran.log
    );
}

#[test]
fn what_breaks_the_contract_is_named_with_its_line() {
    let one = read_line(0, 0, 10);
    for (says, expected) in [
        (format!("{one}{one}"), "offset 10 of partition 0 is below 11, from where it was to go on"),
        ("position 0 9\n".to_owned(), "offset 9 of partition 0 is below 10, from where it was to go on"),
        ("read 2 5 AA==\n".to_owned(), "partition 2 is not assigned to it"),
        ("watermark 9 5\n".to_owned(), "partition 9 is not assigned to it"),
        ("read 0 10 A\n".to_owned(), "`A` is no base64"),
        ("acked 0 1\n".to_owned(), "a consumer does not say this"),
        ("expired 0 10\n".to_owned(), "partition 0 is at 10, and 10 is not above that"),
        ("truncated 0 10\n".to_owned(), "partition 0 is at 10, and 10 is not below that"),
    ] {
        let ran = run(std::slice::from_ref(&says), "exec sleep 600");
        let error = ran.result.err().unwrap().to_string();
        assert!(
            error.starts_with("`sh` broke the contract in line ") && error.contains(expected),
            "{says}: {error}"
        );
    }
}
