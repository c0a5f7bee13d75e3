//! Runs a command of a hook: its environment, its time, and what is kept of its output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{HookCommand, HookJob};
use crate::clock::monotonic_ns;
use crate::files::create_private_dir;
use crate::supervisor::SignalTimes;

/// Variables that every command gets: who and where it is, and the agent that holds the keys of ssh.
const ENVIRONMENT: [&str; 11] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
];
/// So much of an output is looked at; the rest is read and forgotten, so that nobody blocks on it.
const READ_MAX: usize = 64 * 1024;
/// So much of it is kept.
const KEPT_MAX: usize = 16 * 1024;
/// So much of it is in an error.
const TOLD_MAX: usize = 300;
/// How long the output may go on after the command has ended: what it has left running may hold on to it for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(300);
/// Pause between two looks at a command that runs.
const POLL: Duration = Duration::from_millis(5);

/// The commands that run. Once it is ending, they are killed and no other begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<Groups>>);

#[derive(Debug, Default)]
struct Groups {
    ending: bool,
    /// Process groups, each by a leader that nobody has reaped.
    leaders: BTreeSet<i32>,
}

impl Running {
    /// Kills what runs, so that nothing is applied any more after what follows.
    pub(crate) fn end(&self) -> usize {
        let mut groups = self.lock();
        groups.ending = true;
        groups.leaders.iter().for_each(|leader| kill_group(*leader));
        groups.leaders.len()
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs it until it ends; gives when it began and when it had ended. Anything but exit status 0 is an error, which names the command and
/// the end of what it said, without secrets.
pub(crate) fn run(job: &HookJob, running: &Running) -> Result<SignalTimes, String> {
    let HookJob { step, command, output } = job;
    let ended = run_with(command, &|name| std::env::var(name).ok(), running);
    let (times, outcome, said) = match &ended {
        Ok(Ended { times, failure: None, said }) => (Some(*times), "exit status 0".to_owned(), said.as_str()),
        Ok(Ended { failure: Some(failure), said, .. }) => (None, failure.clone(), said.as_str()),
        Err(error) => (None, error.clone(), ""),
    };
    // What can't be kept of the output is no reason to leave a broker broken.
    let _ = keep(output, &format!("[{} ns] {step}: {command}: {outcome}\n{said}\n", monotonic_ns()));
    times.ok_or_else(|| {
        let last = last_part(said);
        let said = if last.is_empty() { String::new() } else { format!("; it said: {last}") };
        format!("the hook's {step} command, {command}: {outcome}{said}")
    })
}

/// How a command ended.
struct Ended {
    times: SignalTimes,
    failure: Option<String>,
    said: String,
}

fn run_with(
    command: &HookCommand,
    env: &dyn Fn(&str) -> Option<String>,
    running: &Running,
) -> Result<Ended, String> {
    let named = named(command, env)?;
    let (program, args) = command.argv.split_first().ok_or("the command is empty")?;
    let (reader, writer) = io::pipe().map_err(|error| error.to_string())?;
    let also = writer.try_clone().map_err(|error| error.to_string())?;
    let usual = ENVIRONMENT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut prepared = Command::new(program);
    prepared.args(args).env_clear().envs(usual).envs(&named);
    prepared.stdin(Stdio::null()).stdout(writer).stderr(also).process_group(0);
    let sent_ns = monotonic_ns();
    let mut child = {
        let mut groups = running.lock();
        if groups.ending {
            return Err("not run: the run is ending".to_owned());
        }
        let child = prepared.spawn().map_err(|error| format!("it can't be run: {error}"))?;
        groups.leaders.insert(child.id().cast_signed());
        child
    };
    // It holds the writing end.
    drop(prepared);
    let output = Output::read(reader);
    let failure = wait(&mut child, command.timeout(), running);
    let times = SignalTimes { sent_ns, seen_ns: monotonic_ns() };
    Ok(Ended { times, failure, said: output.redacted(&named) })
}

/// The variables that the command names, with their values.
fn named(
    command: &HookCommand,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, String> {
    let value = |name: &String| {
        let value =
            env(name).ok_or_else(|| format!("not run: the environment variable {name} is not set"))?;
        Ok((name.clone(), value))
    };
    command.env.iter().map(value).collect()
}

/// Waits until it has ended, which it is made to when its time is over; says what went wrong.
fn wait(child: &mut Child, timeout: Duration, running: &Running) -> Option<String> {
    let leader = child.id().cast_signed();
    let deadline = Instant::now() + timeout;
    let mut timed_out = false;
    loop {
        let ended = {
            // Under the lock: once reaped, its number may be somebody else's.
            let mut groups = running.lock();
            let ended = child.try_wait();
            if !matches!(ended, Ok(None)) {
                groups.leaders.remove(&leader);
            } else if !timed_out && Instant::now() >= deadline {
                timed_out = true;
                kill_group(leader);
            }
            ended
        };
        match ended {
            Ok(Some(_)) if timed_out => {
                return Some(format!("killed, as it had not ended after {} ms", timeout.as_millis()));
            }
            Ok(Some(status)) => return (!status.success()).then(|| status.to_string()),
            Ok(None) => thread::sleep(POLL),
            Err(error) => return Some(format!("nobody knows how it ended: {error}")),
        }
    }
}

/// All that the command has started and that did not leave its group.
fn kill_group(leader: i32) {
    // It fails only if all of them are gone.
    let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
}

/// What a command says, read by a thread of its own.
struct Output {
    said: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Output {
    /// Reads until nobody holds the other end any more: whoever the command left running does not break on a closed pipe.
    fn read(mut reader: PipeReader) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = mpsc::channel();
        let kept = Arc::clone(&said);
        let read = move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = READ_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..length.min(room)]);
            }
            // Nobody waits for it any more, perhaps.
            let _ = end.send(());
        };
        // Without a thread nothing is kept; the command goes on, as its pipe is closed only with the thread's closure.
        let _ = thread::Builder::new().name("hook-output".to_owned()).spawn(read);
        Self { said, ended }
    }

    /// What was said, once the command has ended: the beginning of it, without the values of `named`.
    fn redacted(&self, named: &BTreeMap<String, String>) -> String {
        let _ = self.ended.recv_timeout(OUTPUT_GRACE);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut text = redact(&String::from_utf8_lossy(&said), named);
        if said.len() >= READ_MAX {
            // The last thing that was read may be the beginning of a secret.
            let longest = named.values().map(String::len).max().unwrap_or(0);
            text.truncate(text.floor_char_boundary(text.len().saturating_sub(longest)));
        }
        shortened(text)
    }
}

/// `text` with names in place of values.
fn redact(text: &str, named: &BTreeMap<String, String>) -> String {
    // The longest first: one may be part of another.
    let mut secrets: Vec<(&String, &String)> = named.iter().filter(|(_, value)| !value.is_empty()).collect();
    secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    let mut text = text.to_owned();
    for (name, value) in secrets {
        text = text.replace(value.as_str(), &format!("[{name}]"));
    }
    text
}

/// So much of `text` as is kept.
fn shortened(mut text: String) -> String {
    if text.len() > KEPT_MAX {
        text.truncate(text.floor_char_boundary(KEPT_MAX));
        text.push_str("\n[the rest is not kept]");
    }
    text.trim_end().to_owned()
}

/// The end of what was said, on one line.
fn last_part(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = lines[lines.len().saturating_sub(3)..].join(" | ");
    joined[joined.ceil_char_boundary(joined.len().saturating_sub(TOLD_MAX))..].to_owned()
}

fn keep(file: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        create_private_dir(dir).map_err(io::Error::other)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::HookStep;
    use super::*;

    /// More than any command here takes.
    const LONG_MS: u64 = 60_000;

    fn shell(script: &str, timeout_ms: u64) -> HookCommand {
        HookCommand { argv: HookCommand::shell(script), env: Vec::new(), timeout_ms }
    }

    fn ran(command: &HookCommand, env: &[(&str, &str)]) -> Ended {
        let env: BTreeMap<&str, &str> = env.iter().copied().collect();
        run_with(command, &|name| env.get(name).map(|v| (*v).to_owned()), &Running::default()).unwrap()
    }

    #[test]
    fn what_it_says_and_how_it_ends_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("hooks/a.log");
        let job = |script: &str| HookJob {
            step: HookStep::Apply,
            command: shell(script, LONG_MS),
            output: output.clone(),
        };
        let times = run(&job("echo fine"), &Running::default()).unwrap();
        assert!(times.sent_ns <= times.seen_ns);
        let failed = run(&job("echo no such unit >&2; exit 3"), &Running::default()).unwrap_err();
        assert!(failed.starts_with("the hook's apply command, sh -c 'echo no such unit"), "{failed}");
        assert!(failed.ends_with("exit status: 3; it said: no such unit"), "{failed}");
        let kept = std::fs::read_to_string(&output).unwrap();
        assert!(kept.contains("exit status 0\nfine\n") && kept.contains("3\nno such unit\n"), "{kept}");
        let missing = HookJob {
            command: HookCommand { argv: vec!["/nowhere/at-all".to_owned()], ..shell("", LONG_MS) },
            ..job("")
        };
        assert!(run(&missing, &Running::default()).unwrap_err().contains("it can't be run"));
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_what_it_started() {
        let ended = ran(&shell("sleep 600 & sleep 600", 50), &[]);
        assert_eq!(ended.failure.as_deref(), Some("killed, as it had not ended after 50 ms"));
    }

    #[test]
    fn what_it_leaves_running_is_not_waited_for() {
        let begun = Instant::now();
        let ended = ran(&shell("sleep 30 & echo $!", LONG_MS), &[]);
        assert_eq!(ended.failure, None);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let left: i32 = ended.said.parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn variables_are_passed_by_name_and_their_values_are_kept_nowhere() {
        let named = HookCommand {
            env: vec!["TOKEN".to_owned(), "LONGER".to_owned()],
            ..shell("echo $TOKEN-$LONGER-${CARGO_MANIFEST_DIR:-unset}", LONG_MS)
        };
        let ended = ran(&named, &[("TOKEN", "hunter2"), ("LONGER", "xhunter2x")]);
        assert_eq!(ended.said, "[TOKEN]-[LONGER]-unset");
        let Err(error) = run_with(&named, &|_| None, &Running::default()) else { panic!() };
        assert_eq!(error, "not run: the environment variable TOKEN is not set");
    }

    #[test]
    fn so_much_is_kept_and_no_secret_is_cut_in_two() {
        let secret = "s".repeat(100);
        let named = HookCommand {
            env: vec!["S".to_owned()],
            ..shell("i=0; while [ $i -lt 2000 ]; do echo $S; i=$((i+1)); done", LONG_MS)
        };
        let ended = ran(&named, &[("S", &secret)]);
        assert_eq!(ended.failure, None);
        assert!(ended.said.len() < KEPT_MAX + 100, "{}", ended.said.len());
        assert!(!ended.said.contains("ss"), "{}", ended.said);
        let told = last_part(&format!("{}\nlast", "ä".repeat(400)));
        assert!(told.ends_with("ä | last") && told.len() <= TOLD_MAX + 1, "{told}");
    }

    #[test]
    fn once_it_is_ending_nothing_runs() {
        let running = Running::default();
        let other = running.clone();
        let applied = thread::spawn(move || {
            run_with(&shell("sleep 600", LONG_MS), &|_| None, &other).map(|ended| ended.failure)
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while running.lock().leaders.is_empty() {
            assert!(Instant::now() < deadline && !applied.is_finished());
            thread::yield_now();
        }
        assert_eq!(running.end(), 1);
        assert!(applied.join().unwrap().unwrap().unwrap().contains("signal: 9"));
        let Err(late) = run_with(&shell("true", LONG_MS), &|_| None, &running) else { panic!() };
        assert_eq!(late, "not run: the run is ending");
    }
}
