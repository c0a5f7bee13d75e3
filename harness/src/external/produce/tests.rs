//! The loop with shell scripts in place of a client: they keep the contract, or break it on purpose. No broker is started.

use std::collections::BTreeSet;
use std::io::BufWriter;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};
use gauntlet_chaos::ClientRole;
use gauntlet_chaos::client::{Client, ClientOrder, ClientTarget, Clients};
use gauntlet_verify::{Outcome, Settlement};
use gauntlet_wire::Security;
use nix::sys::signal::Signal;

use super::*;
use crate::external::launch::{Assignment, Connection, Launch};
use crate::external::log::Log;
use crate::external::programs::{Programs, Who};
use crate::load::producer::{Pace, PartitionSettlement};
use crate::load::records::RecordMaker;
use crate::load::{Control, Interval, ProducerPlan};
use crate::payload::{BodyMaker, BodyPlan};
use crate::schedule::{Arrival, Curve, Share, Spread};
use crate::sizes::SizePlan;

const S: u64 = 1_000_000_000;
const PARTITIONS: u32 = 2;

/// Acks everything, with the offsets that a log of each partition would give.
const GOOD: &str = "read -r plan; echo ready; a=0; b=0
    while read -r word id partition rest; do
        if [ $word = end ]; then echo log bye; exit 0; fi
        if [ $partition = 0 ]; then echo acked $id $a; a=$((a+1)); else echo acked $id $b; b=$((b+1)); fi
    done
    exit 1";

struct Ran {
    settlements: Vec<Settlement>,
    slots_failed: u64,
    /// Slots in which records are counted as indeterminate.
    slots_open: BTreeSet<u64>,
    programs: Arc<Programs>,
    log: String,
    result: Result<(), ExternalError>,
}

impl Ran {
    fn error(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }
}

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

fn load(
    records: u64,
    control: &Arc<Control>,
    settlements: crossbeam_channel::Sender<PartitionSettlement>,
    intervals: crossbeam_channel::Sender<Interval>,
) -> ProducerLoad {
    let origin_ns = monotonic_ns();
    control.begin_at(origin_ns);
    control.end_load(origin_ns + S);
    let body = BodyMaker::new(1, 0, BodyPlan::Random(0.0), 66);
    let plan = ProducerPlan {
        run: 1,
        producer: 0,
        topic: "orders".to_owned(),
        partitions: PARTITIONS,
        pace: Pace::Scheduled(Share {
            curve: Arc::new(Curve::constant(records, S)),
            producer: 0,
            producers: 1,
            partitions: u64::from(PARTITIONS),
            spread: Spread::Turns,
            arrival: Arrival::Uniform,
            seed: 3,
        }),
        records: RecordMaker::new(1, 0, body, (&SizePlan::Fixed(100), 100), None, Arc::new([])),
        origin_ns,
        linger_ns: TICK_NS,
        unix_minus_monotonic_ns: S,
        room_bytes: None,
        stumble: None,
    };
    let senders = vec![settlements; PARTITIONS as usize];
    ProducerLoad::new(plan, Arc::clone(control), senders, intervals, S)
}

fn who() -> Who {
    let client_id = "test".to_owned();
    Who {
        name: "producer-0".to_owned(),
        role: ClientRole::Producer,
        client_id: client_id.clone(),
        client_id_of_all: client_id,
    }
}

/// `records` records within a second, to a program.
fn run(records: u64, command: Vec<String>, control: &Arc<Control>) -> Ran {
    run_of(Arc::default(), records, command, control)
}

fn run_of(programs: Arc<Programs>, records: u64, command: Vec<String>, control: &Arc<Control>) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("external.log");
    let log = Log::new(BufWriter::new(std::fs::File::create(&path).unwrap()), &Security::default());
    let security = Security::default();
    let connection = Connection { bootstrap: &[], client_id: "test", security: &security };
    let plan =
        Assignment::new(ClientRole::Producer, "r", ("orders", PARTITIONS), &Default::default(), connection);
    let scribe = Scribe { log, who: "producer-0".to_owned() };
    let launch = Launch {
        who: who(),
        scribe,
        command,
        kafka_libs: None,
        plan: plan.clone(),
        programs: Arc::clone(&programs),
    };
    let (settlements, settled): (_, Receiver<PartitionSettlement>) = unbounded();
    let (intervals, received): (_, Receiver<Interval>) = unbounded();
    let setup = ProducerSetup { unacknowledged: false, delivery_timeout: Duration::from_secs(60) };
    let result = Partner::start(launch, &plan, || true)
        .and_then(|partner| {
            let load = load(records, control, settlements, intervals);
            run_producer(setup, partner, load)
        })
        .map(ProducerLoad::finish);
    assert!(programs.wait_for_the_last(Duration::ZERO), "nothing may be left");
    let slots: Vec<_> = received.try_iter().flat_map(|interval| interval.slots).collect();
    Ran {
        settlements: settled.try_iter().map(|(_, settlement, _)| settlement).collect(),
        slots_failed: slots.iter().map(|(_, slot)| slot.counts.failed).sum(),
        slots_open: slots
            .iter()
            .filter(|(_, slot)| slot.counts.indeterminate > 0)
            .map(|(at, _)| *at)
            .collect(),
        programs,
        log: std::fs::read_to_string(path).unwrap(),
        result,
    }
}

/// How many of an incarnation were acked, failed, and are not known.
fn count(settlements: &[Settlement], incarnation: u16) -> (u64, u64, u64) {
    let mut counts = (0, 0, 0);
    for settlement in settlements.iter().filter(|s| s.stream.incarnation == incarnation) {
        let count = u64::from(settlement.count);
        match settlement.outcome {
            Outcome::Acked { .. } => counts.0 += count,
            Outcome::Failed => counts.1 += count,
            Outcome::Indeterminate | Outcome::Unacknowledged => counts.2 += count,
        }
    }
    counts
}

/// Numbers of all settled records of an incarnation, both partitions together, sorted.
fn pseqs(settlements: &[Settlement], incarnation: u16) -> Vec<u64> {
    let of = settlements.iter().filter(|s| s.stream.incarnation == incarnation);
    let mut pseqs: Vec<u64> = of.flat_map(|s| s.first_pseq..s.first_pseq + u64::from(s.count)).collect();
    pseqs.sort_unstable();
    pseqs
}

#[test]
fn everything_that_is_due_is_acked_once() {
    let ran = run(3_000, sh(GOOD), &Arc::default());
    ran.result.as_ref().unwrap();
    assert_eq!(count(&ran.settlements, 0), (3_000, 0, 0));
    let all = pseqs(&ran.settlements, 0);
    assert!(all.iter().enumerate().all(|(i, pseq)| *pseq == i as u64 / 2), "{all:?}");
    // The offsets are those of the program's logs, which begin at 0 as numbers do.
    for settlement in &ran.settlements {
        assert_eq!(
            settlement.outcome,
            Outcome::Acked { base_offset: Some(settlement.first_pseq as i64) },
            "{settlement:?}"
        );
    }
    assert!(ran.log.contains(" producer-0 gauntlet: started `sh -c"), "{}", ran.log);
    assert!(ran.log.contains(" producer-0 gauntlet: ended with exit code 0\n"), "{}", ran.log);
    assert!(ran.programs.usage().unwrap().cpu_ns > 0);
}

#[test]
fn ranges_out_of_order_over_both_partitions_are_taken_apart() {
    let ran = run(
        2_000,
        sh("read -r plan; echo ready
            while read -r word id rest; do
                if [ $id = 1999 ]; then echo acked 1000-1999 -1; echo acked 0-999 -1; fi
            done"),
        &Arc::default(),
    );
    ran.result.as_ref().unwrap();
    assert_eq!(count(&ran.settlements, 0), (2_000, 0, 0));
    assert!(ran.settlements.iter().all(|s| s.outcome == Outcome::Acked { base_offset: None }));
}

#[test]
fn a_programs_word_counts_where_a_broker_could_know() {
    let ran = run(
        100,
        sh("read -r plan; echo ready
            while read -r word id rest; do
                if [ $word = end ]; then exit 0; fi
                case $((id % 4)) in
                    0) echo failed $id NOT_ENOUGH_REPLICAS one of two;;
                    1) echo failed $id NOT_LEADER_OR_FOLLOWER;;
                    2) echo failed $id CLIENT too large;;
                    3) echo unknown $id REQUEST_TIMED_OUT;;
                esac
            done"),
        &Arc::default(),
    );
    ran.result.as_ref().unwrap();
    assert_eq!(
        count(&ran.settlements, 0),
        (0, 50, 50),
        "NOT_LEADER_OR_FOLLOWER may be said after the append"
    );
    assert!(ran.log.contains(" producer-0 log: CLIENT: too large\n"), "{}", ran.log);
}

#[test]
fn one_that_ends_is_followed_by_another_and_nobody_guesses() {
    // The first one acks 100 records, keeps 350 (of two slots), and is gone; the second one is as it should be.
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark").display().to_string();
    let script = format!(
        "if [ ! -e {mark} ]; then
            touch {mark}; read -r plan; echo ready
            while read -r word id rest; do
                if [ $id -lt 100 ]; then echo acked $id -1; fi
                if [ $id = 449 ]; then exit 3; fi
            done
        fi
        {GOOD}"
    );
    let ran = run(2_000, sh(&script), &Arc::default());
    ran.result.as_ref().unwrap();
    let (acked, failed, open) = count(&ran.settlements, 0);
    assert_eq!((acked, failed), (100, 0));
    assert!(open >= 350, "what was on its way: {open}");
    assert_eq!(ran.slots_open.len(), 1, "all of it is counted where it was lost: {:?}", ran.slots_open);
    assert_eq!(count(&ran.settlements, 1), (2_000 - 100 - open, 0, 0), "all that was left");
    // Numbers are dense in both.
    assert_eq!(pseqs(&ran.settlements, 0).len() as u64, 100 + open);
    assert_eq!(pseqs(&ran.settlements, 1)[..2], [0, 0]);
    assert!(ran.log.contains("ended with exit code 3"), "{}", ran.log);
}

fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !seen() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs 2,000 records while `fault` does something to the program that has written its first line.
fn under(script: &str, fault: impl FnOnce(&Programs, &Client) + Send) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let script = script.replace("MARK", &mark.display().to_string());
    let programs = Arc::<Programs>::default();
    std::thread::scope(|scope| {
        let of_fault = Arc::clone(&programs);
        let fault = scope.spawn(move || {
            let whom = ClientTarget { role: ClientRole::Producer, client_id: None };
            until("it never got so far", || mark.exists() && !of_fault.find(&whom).is_empty());
            fault(&of_fault, &of_fault.find(&whom)[0]);
        });
        let ran = run_of(Arc::clone(&programs), 2_000, sh(&script), &Arc::default());
        fault.join().unwrap();
        ran
    })
}

#[test]
fn one_that_a_fault_has_ended_stays_down_until_the_fault_is_over() {
    let script = format!(
        "if [ -e MARK ]; then {GOOD}; fi; read -r plan; echo ready; read -r line; touch MARK; cat > /dev/null"
    );
    let ran = under(&script, |programs, victim| {
        programs.order(&victim.name, ClientOrder::StayDown);
        assert!(programs.signal(victim.group, Signal::SIGKILL).unwrap());
        until("it still runs", || victim.group.is_gone());
        // Without the order there would be another one after a second.
        let (begun, whom) = (Instant::now(), ClientTarget { role: ClientRole::Producer, client_id: None });
        until("time stands still", || {
            let found = programs.find(&whom);
            assert!(found.iter().all(|one| one == victim), "{found:?}");
            assert!(!programs.is_whole(&victim.name));
            begun.elapsed() > 2 * Duration::from_nanos(crate::external::partner::PAUSE_NS)
        });
        programs.order(&victim.name, ClientOrder::Run);
        until("no other follows", || programs.is_whole(&victim.name));
    });
    ran.result.as_ref().unwrap();
    let (acked, failed, open) = count(&ran.settlements, 0);
    assert_eq!((acked, failed), (0, 0), "what it had is in nobody's hands");
    assert!(open > 0);
    assert_eq!(count(&ran.settlements, 1), (2_000 - open, 0, 0), "all that was left");
    assert!(ran.log.contains("was ended by a signal"), "{}", ran.log);
}

#[test]
fn a_zombie_goes_on_beside_its_successor_and_is_not_heard() {
    // Each acks all it gets; the first one only once somebody else has begun.
    let script = format!(
        "if [ -e MARK ]; then touch MARK.2; {GOOD}; fi
         read -r plan; echo ready; read -r line; touch MARK; until [ -e MARK.2 ]; do sleep 0.01; done
         echo acked 0 0; while read -r word id rest; do if [ $word = end ]; then exit 0; fi; echo acked $id -1; done"
    );
    let ran = under(&script, |programs, victim| {
        assert!(programs.signal(victim.group, Signal::SIGSTOP).unwrap());
        until("it does not stand still", || victim.group.is_stopped());
        programs.order(&victim.name, ClientOrder::Replace(victim.group));
        until("nobody takes its place", || programs.is_whole(&victim.name));
        assert!(victim.group.is_stopped());
        assert!(programs.signal(victim.group, Signal::SIGCONT).unwrap(), "it was not reaped");
        programs.order(&victim.name, ClientOrder::Run);
    });
    ran.result.as_ref().unwrap();
    let (acked, failed, open) = count(&ran.settlements, 0);
    assert_eq!((acked, failed), (0, 0), "it is not heard");
    assert!(open > 0);
    assert_eq!(count(&ran.settlements, 1), (2_000 - open, 0, 0));
    assert!(ran.log.contains("another one takes its place"), "{}", ran.log);
    assert_eq!(ran.log.matches("ended with exit code 0").count(), 2, "both were told the end: {}", ran.log);
}

#[test]
fn one_that_always_ends_is_given_up_with_its_last_words() {
    // More than five pipes hold, so that there is always something left to do.
    let script = r#"read -r plan; echo ready; read line; echo "so cold" >&2; exit 7"#;
    let ran = run(100_000, sh(script), &Arc::default());
    let error = ran.error();
    assert!(
        error.contains(
            "`sh` ended 5 times in a row without any progress; the last time it ended with exit code 7"
        ),
        "{error}"
    );
    assert!(error.ends_with("its standard error ends with: so cold"), "{error}");
}

#[test]
fn one_that_takes_nothing_holds_the_load_up_and_is_ended_with_it() {
    let control = Arc::<Control>::default();
    control.give_up(monotonic_ns() + 2 * S);
    // 4,000 records of 100 bytes do not fit into any pipe that the kernel gives.
    let ran = run(20_000, sh("read -r plan; echo ready; exec sleep 600"), &control);
    ran.result.as_ref().unwrap();
    let (acked, failed, open) = count(&ran.settlements, 0);
    assert_eq!((acked, failed), (0, 0), "nobody knows what it did with what it had");
    assert!(open > 0 && open < 15_000, "a pipe holds so many: {open}");
    assert_eq!(ran.slots_failed, 20_000 - open, "the rest was never handed over");
}

#[test]
fn one_that_never_gets_ready_is_an_error_before_the_load() {
    let ran = run(1, sh("echo 'no jar' >&2; exit 1"), &Arc::default());
    let error = ran.error();
    assert_eq!(
        error,
        "`sh` ended with exit code 1 before it said `ready`; its standard error ends with: no jar"
    );
    assert!(ran.settlements.is_empty());
    let ran = run(1, vec!["/nonexistent/client".to_owned()], &Arc::default());
    assert!(ran.error().starts_with("cannot start `/nonexistent/client`: "), "{}", ran.error());
    let ran = run(1, sh("read -r plan; echo fatal no such topic; sleep 600"), &Arc::default());
    assert!(ran.error().contains("before it said `ready`"), "{}", ran.error());
    assert!(ran.log.contains("log: fatal: no such topic"), "{}", ran.log);
}

/// What a program says right after it has got record 0 (and maybe more), and what is said of it.
#[test]
fn what_breaks_the_contract_is_named_with_its_line() {
    for (says, expected) in [
        (
            "acked 0 5\\nacked 0 5",
            "line 3 of its output, `acked 0 5`: one of these records has ended already; each ends once",
        ),
        (
            "acked 99999 5",
            "line 2 of its output, `acked 99999 5`: no record of this program has the id 99999",
        ),
        ("acked 0-18446744073709551615 5", "no record of this program has the id"),
        ("hello", "`hello`: the contract has no `hello`"),
        ("ready", "`ready`: `ready` comes first, and once"),
        ("read 0 5 AA==", "`read 0 5 AA==`: a producer does not say this"),
        ("failed 0 OOPS", "`OOPS` is neither an error of Kafka's protocol nor `CLIENT`"),
        ("acked 0", "an offset is missing"),
        ("log \\377", "it is not UTF-8"),
    ] {
        let begun = Instant::now();
        let ran = run(
            1_000,
            sh(&format!("read -r plan; echo ready; read line; printf '{says}\\n'; exec sleep 600")),
            &Arc::default(),
        );
        let error = ran.error();
        assert!(
            error.starts_with("`sh` broke the contract in line ") && error.contains(expected),
            "{says}: {error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(60), "it is ended, not waited for");
    }
    let ran = run(10, sh("read -r plan; echo acked 0 0; exec sleep 600"), &Arc::default());
    assert!(
        ran.error().contains("in line 1 of its output, `acked 0 0`: `ready` comes first"),
        "{}",
        ran.error()
    );
}

#[test]
fn what_a_program_leaves_behind_is_gone_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; {GOOD}", path.display());
    let ran = run(50, sh(&script), &Arc::default());
    ran.result.as_ref().unwrap();
    let pid: i32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while gauntlet_chaos::process::ProcessIdentity::of(pid).is_ok_and(|identity| identity.is_alive()) {
        assert!(Instant::now() < deadline, "its grandchild still runs");
        std::thread::yield_now();
    }
}
