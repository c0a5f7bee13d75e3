//! Faults of brokers on a cluster that gauntlet did not start, by an operator's commands: here a script that signals the process that the
//! test has started.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use gauntlet_chaos::supervisor::NodeState;

use super::*;

/// Holds what hooks are not to tell.
const TOKEN: &str = "GAUNTLET_TEST_HOOK_TOKEN";
const SECRET: &str = "token-of-the-operator";
const BROKER: i32 = 1;

/// The operator's script: `hook DIR VERB`. Notes each call, and says the secret that it was given.
const SCRIPT: &str = r#"#!/bin/sh
dir=$1; pid=$(cat "$dir/pid")
echo "$2" >> "$dir/calls"
echo "$2 of broker $3 with $GAUNTLET_TEST_HOOK_TOKEN"
case $2 in
  pause) kill -s STOP "$pid" ;;
  resume) kill -s CONT "$pid" ;;
  is-paused) grep -q '^State:.T' "/proc/$pid/status" ;;
  kill) kill -s KILL "$pid" ;;
  start) touch "$dir/start"; while ! test -e "$dir/started"; do sleep 0.1; done ;;
  fail) echo "no such unit" >&2; exit 3 ;;
  never) exit 1 ;;
  hang) echo $$ > "$dir/hanging"; sleep 600; kill -s STOP "$pid" ;;
esac
"#;

fn broker() -> ProcessIdentity {
    let statuses = cluster().statuses().unwrap();
    statuses.into_iter().find(|status| status.node == BROKER).unwrap().process
}

/// A script, where it notes what it does, and a scenario that calls it.
struct Hooked {
    script: TempDir,
    case: Case,
}

impl Hooked {
    /// `action` by a hook of `apply` and `heal`, which are verbs of the script; `more` are other fields of the hook, `fault` of the fault.
    fn new(topic: &str, (action, apply, heal): (&str, &str, &str), more: &str, fault: &str) -> Self {
        let script = tempfile::tempdir().unwrap();
        let path = script.path().join("hook");
        fs::write(&path, SCRIPT).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(script.path().join("pid"), broker().pid.to_string()).unwrap();
        let dir = script.path().display();
        let hook = format!(
            "  command:\n    {action}:\n      apply: [{dir}/hook, {dir}, {apply}, '{{broker.id}}']\n      \
             heal: \"{dir}/hook {dir} {heal} {{broker.id}}\"\n      env: [{TOKEN}]\n{more}"
        );
        let faults = format!("- {{ name: hooked, at: 1s, action: {action}, {fault} }}\n");
        let case = Case::of(topic, &hook, if fault.contains("300s") { "300s" } else { "6s" }, &faults);
        Self { script, case }
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = self.case.command(verb);
        command.env(TOKEN, SECRET);
        command
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.script.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    fn count(&self, verb: &str) -> usize {
        self.calls().iter().filter(|call| *call == verb).count()
    }

    fn start(&self) -> Child {
        self.case.start_with(self.command("run"))
    }

    fn undo(&self) -> Output {
        let mut command = Command::new(GAUNTLET);
        command.args(["faults", "undo"]).arg(self.case.latest()).env(PASSWORD, login().1).env(TOKEN, SECRET);
        command.output().unwrap()
    }

    fn fault(&self) -> Value {
        let record: Value = serde_json::from_str(&self.case.read("run.json")).unwrap();
        record["faults"][0].clone()
    }

    fn said(&self) -> String {
        self.case.read("logs/hooks/hooked.broker-1.log")
    }
}

impl Drop for Hooked {
    /// Whatever a test that fails leaves: the next one finds a broker that runs.
    fn drop(&mut self) {
        if let Ok(NodeState::Running) = cluster().statuses().map(|s| s[0].state.clone()) {
            let _ = broker().signal(Signal::SIGCONT);
        }
    }
}

fn answers() -> bool {
    let quick = ConnectOptions { timeout: Duration::from_secs(1), ..cluster().operator() };
    Connection::connect(&cluster().bootstrap()[0], &quick).is_ok()
}

const PAUSE: (&str, &str, &str) = ("broker.pause", "pause", "resume");

#[test]
fn a_hook_pauses_a_broker_and_heals_it() {
    let _alone = alone();
    let whom = "for: 2s, target: { role: leader, of: { topic: hooked-pause, partition: 0 } }";
    let check =
        |dir: &Path| format!("      check: [{0}/hook, {0}, is-paused, '{{broker.id}}']\n", dir.display());
    let hooked = Hooked::new("hooked-pause", PAUSE, "", whom);
    let with_check = fs::read_to_string(hooked.case.file()).unwrap();
    let with_check = with_check.replace("      env:", &format!("{}      env:", check(hooked.script.path())));
    fs::write(hooked.case.file(), with_check).unwrap();

    let refused = hooked.command("run").output().unwrap();
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused));
    assert!(text(&refused).contains("add --yes to the command line"), "{}", text(&refused));
    let unset = hooked.case.command("run").arg("--yes").output().unwrap();
    assert_eq!(unset.status.code(), Some(3), "{}", text(&unset));
    assert!(text(&unset).contains(&format!("the environment variable {TOKEN}, which")), "{}", text(&unset));
    assert_eq!(hooked.calls(), Vec::<String>::new(), "nothing is done without consent, nor by halves");

    let output = hooked.command("run").arg("--yes").output().unwrap();
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let addr = &cluster().bootstrap()[0];
    assert!(
        told.contains("blast radius: hooked: broker.pause of broker 1, by hook; healed after 2s"),
        "{told}"
    );
    assert!(told.contains(&format!("blast radius: hooked: on broker 1 ({addr}): apply: ")), "{told}");
    assert!(told.contains("pause 1; check: ") && told.contains("resume 1'"), "{told}");
    let fault = hooked.fault();
    assert_eq!((&fault["took_effect"], &fault["error"]), (&true.into(), &Value::Null), "{fault:#}");
    assert!(fault["at_s"]["healed"].is_f64(), "{fault:#}");
    assert!(hooked.case.is_undone() && answers());
    let calls = hooked.calls();
    assert_eq!((calls.first().unwrap().as_str(), calls.last().unwrap().as_str()), ("pause", "resume"));
    assert!(hooked.count("is-paused") >= 1, "{calls:?}");
    let said = hooked.said();
    assert!(said.contains(&format!("pause of broker 1 with [{TOKEN}]")), "{said}");
    assert_eq!(holding(hooked.case.dir.path(), SECRET), Vec::<PathBuf>::new());
}

#[test]
fn an_apply_that_fails_is_inconclusive_and_healed() {
    let _alone = alone();
    let hooked =
        Hooked::new("hooked-fail", ("broker.pause", "fail", "resume"), "", "for: 2s, target: { id: 1 }");
    let output = hooked.command("run").arg("--yes").output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let fault = hooked.fault();
    assert_eq!(fault["took_effect"], Value::from(false), "{fault:#}");
    let error = fault["error"].as_str().unwrap();
    assert!(
        error.contains("exit status: 3; it said: fail of broker 1") && error.contains("no such unit"),
        "{error}"
    );
    assert!(!error.contains(SECRET), "{error}");
    assert_eq!(hooked.calls(), ["fail", "resume"]);
    assert!(hooked.case.is_undone());
}

#[test]
fn a_broker_that_is_not_there_is_told_by_place() {
    let _alone = alone();
    let hooked = Hooked::new("hooked-nobody", PAUSE, "", "for: 2s, target: { id: 9 }");
    for verb in ["plan", "run"] {
        let output = hooked.command(verb).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        let told = text(&output);
        assert!(
            told.contains("fault `hooked` is aimed at broker 9") && told.contains("brokers are 1"),
            "{told}"
        );
        assert!(told.contains("case.yaml:"), "{told}");
    }
    assert_eq!(hooked.calls(), Vec::<String>::new());
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_hook_kills_a_broker_and_another_starts_it() {
    let _alone = alone();
    let how = ("broker.kill", "kill", "start");
    let recover = "recover: { action: broker.start, after: 2s }, target: { role: broker }";
    let hooked = Hooked::new("hooked-kill", how, "", recover);
    let over = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        // The broker's parent, which alone can start it so that it does not outlive this test.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if hooked.script.path().join("start").exists()
                    && !hooked.script.path().join("started").exists()
                {
                    cluster().start_node(BROKER).unwrap();
                    fs::write(hooked.script.path().join("started"), "").unwrap();
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let output = hooked.command("run").arg("--yes").output();
        over.store(true, Ordering::Relaxed);
        output.unwrap()
    });
    // The only broker is away for longer than the load lasts, so its rate is nobody's promise.
    assert!(matches!(output.status.code(), Some(0 | 5 | 99)), "{}", text(&output));
    assert!(text(&output).contains("no violations"), "{}", text(&output));
    let fault = hooked.fault();
    assert_eq!((&fault["took_effect"], &fault["error"]), (&true.into(), &Value::Null), "{fault:#}");
    assert!(fault["at_s"]["healed"].is_f64() && hooked.case.is_undone(), "{fault:#}");
    assert_eq!(hooked.calls(), ["kill", "start"]);
    assert!(text(&output).contains("broker.kill of broker 1, by hook"), "{}", text(&output));
    wait_for("the broker answers", LIMIT, answers);
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_check_that_never_says_yes_is_no_effect_and_healed() {
    let _alone = alone();
    let more = "      check: [/bin/false]\n      within: 4s\n";
    let hooked = Hooked::new("hooked-check", PAUSE, more, "for: 1s, target: { id: 1 }");
    let output = hooked.command("run").arg("--yes").output().unwrap();
    // The only broker is away for much of the load: its rate may be broken as well, which weighs more.
    assert!(matches!(output.status.code(), Some(5 | 99)), "{}", text(&output));
    assert!(text(&output).contains("fault hooked did not take effect"), "{}", text(&output));
    let error = hooked.fault()["error"].to_string();
    assert!(error.contains("check command, /bin/false: exit status: 1"), "{error}");
    assert_eq!(hooked.calls(), ["pause", "resume"]);
    assert!(hooked.case.is_undone() && answers());
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_hook_that_does_nothing_is_not_seen_to_act() {
    let _alone = alone();
    let how = ("broker.stop", "nothing", "resume");
    let recover = "recover: { action: broker.start, after: 1s }, target: { id: 1 }";
    let hooked = Hooked::new("hooked-nothing", how, "      within: 3s\n", recover);
    let output = hooked.command("run").arg("--yes").output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let error = hooked.fault()["error"].to_string();
    assert!(error.contains("broker 1 was not gone") && error.contains("answers"), "{error}");
    assert_eq!(hooked.calls(), ["nothing", "resume"]);
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn the_hook_of_a_killed_run_is_healed_by_its_supervisor() {
    let _alone = alone();
    let hooked = Hooked::new("hooked-killed", PAUSE, "", "for: 300s, target: { id: 1 }");
    let hooked = &hooked;
    let mut run = hooked.start();
    assert!(hooked.case.read("undo.journal").contains(r#""entry":"begin_hook""#));
    let supervisor = hooked.case.supervisor();
    run.kill().unwrap();
    run.wait().unwrap();
    let killed = Instant::now();
    wait_for("it is undone", LIMIT, || hooked.case.is_undone());
    let took = killed.elapsed();
    assert!(took < UNDONE_WITHIN, "after {took:?}: {}", hooked.case.read("logs/supervisor.log"));
    wait_for("the supervisor is gone", LIMIT, || !supervisor.is_alive());
    assert!(answers());
    assert_eq!(hooked.calls(), ["pause", "resume"]);
    assert!(text(&hooked.undo()).contains("nothing is left of its faults"));
    assert_eq!(holding(hooked.case.dir.path(), SECRET), Vec::<PathBuf>::new());
}

/// What is still being applied when the run dies would be done after it was healed.
#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn an_apply_under_way_dies_with_its_run() {
    let _alone = alone();
    let how = ("broker.pause", "hang", "resume");
    let hooked = Hooked::new("hooked-hang", how, "      timeout: 10m\n", "for: 300s, target: { id: 1 }");
    let mut run =
        hooked.command("run").arg("--yes").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let hanging = || fs::read_to_string(hooked.script.path().join("hanging")).unwrap_or_default();
    wait_for("its apply is under way", LIMIT, || hanging().ends_with('\n'));
    let apply = ProcessIdentity::of(hanging().trim().parse().unwrap()).unwrap();
    let supervisor = hooked.case.supervisor();
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for("it is undone", LIMIT, || hooked.case.is_undone());
    wait_for("the supervisor is gone", LIMIT, || !supervisor.is_alive());
    assert!(!apply.is_alive() && answers());
    assert_eq!(hooked.calls(), ["hang", "resume"]);
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn the_hook_of_a_run_whose_supervisor_died_too_is_healed_by_command() {
    let _alone = alone();
    let hooked = Hooked::new("hooked-orphan", PAUSE, "", "for: 300s, target: { id: 1 }");
    let mut run = hooked.start();
    let supervisor = hooked.case.supervisor();
    supervisor.signal(Signal::SIGKILL).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for("the supervisor is gone", LIMIT, || !supervisor.is_alive());
    assert!(!answers(), "nobody has healed it");

    let blind = Command::new(GAUNTLET).args(["faults", "undo"]).arg(hooked.case.latest()).output().unwrap();
    assert_eq!(blind.status.code(), Some(7), "{}", text(&blind));
    assert!(text(&blind).contains(TOKEN) && !hooked.case.is_undone(), "{}", text(&blind));

    let undone = hooked.undo();
    assert_eq!(undone.status.code(), Some(0), "{}", text(&undone));
    assert!(text(&undone).contains("hooked on broker 1: its hook has healed it"), "{}", text(&undone));
    wait_for("the broker answers", LIMIT, answers);
    // A second time, as when the mark was torn off the journal: harmless.
    let journal = hooked.case.read("undo.journal");
    let begun: String = journal.lines().take(1).map(|line| format!("{line}\n")).collect();
    fs::write(hooked.case.latest().join("undo.journal"), begun).unwrap();
    assert_eq!(hooked.undo().status.code(), Some(0));
    assert!(answers());
    assert_eq!(hooked.calls(), ["pause", "resume", "resume"]);
}

#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn a_run_that_is_interrupted_heals_its_hook() {
    let _alone = alone();
    let hooked = Hooked::new("hooked-interrupted", PAUSE, "", "for: 300s, target: { id: 1 }");
    let mut run = hooked.start();
    ProcessIdentity::of(run.id().cast_signed()).unwrap().signal(Signal::SIGINT).unwrap();
    let status = run.wait().unwrap();
    assert_eq!(status.code(), Some(105), "{}", hooked.case.read("run.json"));
    assert!(hooked.case.is_undone() && answers());
    assert_eq!(hooked.calls(), ["pause", "resume"]);
}

/// The system's ssh, in whose place a script does here what is to be done there: no log-in, but the very arguments.
#[test]
#[ignore = "over the time budget of ci/test; ci/faults runs it"]
fn ssh_is_given_the_host_and_the_command() {
    let _alone = alone();
    let hooked = Hooked::new("hooked-ssh", PAUSE, "", "for: 1s, target: { id: 1 }");
    let dir = hooked.script.path().display();
    let yaml = fs::read_to_string(hooked.case.file()).unwrap();
    let yaml = yaml
        .replace("  command:\n", "  ssh:\n")
        .replace("      env:", "      to: \"kafka@{broker.host}\"\n      env:");
    fs::write(hooked.case.file(), yaml).unwrap();
    let ssh =
        format!("#!/bin/sh\necho \"$@\" >> {dir}/ssh-args\nfor last; do :; done\nexec sh -c \"$last\"\n");
    fs::write(hooked.script.path().join("ssh"), ssh).unwrap();
    fs::set_permissions(hooked.script.path().join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{dir}:{}", std::env::var("PATH").unwrap());
    let output = hooked.command("run").arg("--yes").env("PATH", path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let args = fs::read_to_string(hooked.script.path().join("ssh-args")).unwrap();
    let expected =
        format!("-o BatchMode=yes -o ConnectTimeout=10 -- kafka@127.0.0.1 {dir}/hook {dir} pause 1");
    assert_eq!(args.lines().next(), Some(expected.as_str()), "{args}");
    assert_eq!(hooked.calls(), ["pause", "resume"]);
}
