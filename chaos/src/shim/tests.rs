//! The library under small programs: that both sides mean the same page is seen by what they do.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use tempfile::TempDir;

use super::*;

/// A directory that the library watches, and one beside it.
struct Stage {
    base: TempDir,
    environment: BTreeMap<String, String>,
    shims: Shims,
}

impl Stage {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let logs = base.path().join("logs");
        fs::create_dir_all(&logs).unwrap();
        fs::create_dir_all(base.path().join("logs-of-others")).unwrap();
        let (page, environment) = install(7, base.path(), &logs).unwrap();
        let shims = Shims::open(std::slice::from_ref(&page)).unwrap();
        Self { base, environment, shims }
    }

    fn order(&mut self, operations: u32, latency: Duration, error: i32) {
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap();
        let orders = Orders { operations, latency_ns, error, clock_offset_ns: 0 };
        self.shims.order(7, orders).unwrap();
    }

    fn fail(&mut self, operations: u32, error: Errno) {
        self.order(operations, Duration::ZERO, error as i32);
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(self.base.path()).envs(&self.environment);
        // Names in the library's paths are absolute.
        command.env("L", self.base.path().join("logs")).env("O", self.base.path().join("logs-of-others"));
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What a script says and whether it went well. `$L` is what is watched, `$O` what is not.
    fn run(&self, script: &str) -> (bool, String) {
        let Output { status, stdout, stderr } = self.command(script).output().unwrap();
        assert_eq!(status.signal(), None, "{script}");
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.success(), said)
    }

    fn works(&self, script: &str) -> String {
        let (well, said) = self.run(script);
        assert!(well, "{script}: {said}");
        said
    }

    fn fails(&self, script: &str, with: &str) {
        let (well, said) = self.run(script);
        assert!(!well && said.contains(with), "{script}: {said}");
    }

    fn seen(&mut self) -> Seen {
        self.shims.seen(7).unwrap()
    }
}

const PUT: &str = "dd if=/dev/zero of=$L/file bs=10 count=1 conv=notrunc,fsync";

#[test]
fn a_program_is_seen_to_have_it_and_does_nothing_else_unasked() {
    let mut stage = Stage::new();
    assert!(!stage.seen().is_mapped);
    stage.works(PUT);
    stage.works("mv $L/file $L/other && cat $L/other && rm $L/other");
    let nothing = Seen { first_acted_ns: None, delayed: 0, failed: 0, is_mapped: true };
    assert_eq!(stage.seen(), nothing);
    assert!(stage.shims.seen(8).unwrap_err().contains("node 8"));
}

#[test]
fn operations_are_late_below_the_directory_only() {
    let mut stage = Stage::new();
    let latency = Duration::from_millis(300);
    stage.order(operation::SYNC, latency, 0);
    for (script, least) in [(PUT.replace("$L", "$O"), Duration::ZERO), (PUT.to_owned(), latency)] {
        let before = stage.seen().delayed;
        let begun = Instant::now();
        stage.works(&script);
        assert!(begun.elapsed() >= least, "{script}: {:?}", begun.elapsed());
        assert_eq!(stage.seen().delayed - before, u64::from(!least.is_zero()), "{script}");
    }
    let seen = stage.seen();
    assert!(seen.first_acted_ns.unwrap() <= crate::clock::monotonic_ns() && seen.failed == 0);
    stage.order(operation::READ, latency, 0);
    assert_eq!(stage.seen().first_acted_ns, None, "counted anew");
    stage.works(PUT);
    assert_eq!(stage.seen().delayed, 0);
    stage.works("dd if=$L/file of=/dev/null bs=10 count=1");
    assert!(stage.seen().delayed >= 1);
}

/// Who waits does not wait on once the order is taken back, and nothing was late then.
#[test]
fn an_order_that_is_taken_back_wakes_who_waits() {
    let mut stage = Stage::new();
    stage.order(operation::WRITE, Duration::from_secs(600), 0);
    let mut waits: Child =
        stage.command("printf begun; exec dd if=/dev/zero of=$L/file bs=10 count=1").spawn().unwrap();
    let mut begun = [0; 5];
    std::io::Read::read_exact(waits.stdout.as_mut().unwrap(), &mut begun).unwrap();
    stage.shims.take_back(7).unwrap();
    assert!(waits.wait().unwrap().success());
    assert_eq!(stage.seen().delayed, 0);
    assert_eq!(stage.shims.take_all_back(), Vec::<String>::new());
}

#[test]
fn a_full_disk_takes_nothing_new_and_lets_go() {
    let mut stage = Stage::new();
    stage.works("printf 0123456789 >$L/file && printf x >$L/old");
    stage.fail(operation::WRITE | operation::CREATE, Errno::ENOSPC);
    for script in [PUT, ": >$L/new", "mkdir $L/dir", "truncate -s 20 $L/file", "ln $L/file $L/new"] {
        stage.fails(script, "No space left on device");
    }
    assert!(stage.seen().failed >= 5 && stage.seen().first_acted_ns.is_some());
    stage.works("truncate -s 4 $L/file && rm $L/old && mv $L/file $L/shorter");
    assert_eq!(stage.works("cat $L/shorter"), "0123");
    stage.works(&PUT.replace("$L", "$O"));
    stage.shims.take_back(7).unwrap();
    stage.works(PUT);
}

#[test]
fn a_broken_disk_and_a_read_only_one() {
    let mut stage = Stage::new();
    stage.works("printf x >$L/file");
    stage.fail(operation::READ, Errno::EIO);
    stage.fails("cat $L/file", "Input/output error");
    stage.works(PUT);
    stage.fail(operation::SYNC, Errno::EIO);
    stage.fails(PUT, "Input/output error");
    stage.works("printf y >$L/file && cat $L/file");
    let changes = operation::WRITE | operation::CREATE | operation::OPEN | operation::CHANGE;
    stage.fail(changes, Errno::EROFS);
    for script in
        [": >>$L/file", ": >$L/new", "rm -f $L/file", "mv $L/file $L/new", "mkdir $L/dir", "rmdir $L"]
    {
        stage.fails(script, "Read-only file system");
    }
    assert_eq!(stage.works("cat $L/file"), "y");
}

#[test]
fn the_time_of_day_is_another_one_and_what_passes_is_not() {
    let mut stage = Stage::new();
    let now_ms = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    for offset_ms in [7_200_500, -7_200_500, -250, 0] {
        let orders = Orders { clock_offset_ns: offset_ms * 1_000_000, ..Orders::default() };
        stage.shims.order(7, orders).unwrap();
        let before_ms = now_ms();
        let told_ms: i64 = stage.works("date +%s%3N").trim().parse().unwrap();
        let actual_ms = told_ms - offset_ms;
        assert!((before_ms..=now_ms()).contains(&actual_ms), "{offset_ms}: {told_ms} for {before_ms}");
    }
    let orders = Orders { clock_offset_ns: 3_600_000_000_000, ..Orders::default() };
    stage.shims.order(7, orders).unwrap();
    let begun = Instant::now();
    stage.works("sleep 0.2");
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_page_of_another_version_is_refused() {
    let stage = Stage::new();
    let file = stage.base.path().join(PAGE_FILE);
    fs::write(&file, [9; 4096]).unwrap();
    let error = Shims::open(&[NodePage { node: 7, file }]).unwrap_err();
    assert!(error.to_string().contains("no page of this version"), "{error}");
    assert_eq!(stage.works("echo unharmed"), "unharmed\n");
}
