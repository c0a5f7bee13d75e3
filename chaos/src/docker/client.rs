//! Running the `docker` program.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::kafka_home::on_path;
use crate::supervisor::NodeCommand;

const PROGRAM: &str = "docker";
/// What decides which engine the program talks to, and how. Kept with what was made there, so that it is found again from another shell.
const VARIABLES: [&str; 5] =
    ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"];
/// How long most commands may take: they are answered at once, but by a machine that may be under load.
pub(super) const PROMPT: Duration = Duration::from_secs(10);
/// Pause between two looks at a command that runs.
const POLL: Duration = Duration::from_millis(2);

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is not installed.
    #[error("there is no program `docker`")]
    Missing,
    /// It could not be run.
    #[error("cannot run `{command}`: {source}")]
    NotRunnable {
        /// The whole command.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It failed.
    #[error("`{command}` failed: {said}")]
    Refused {
        /// The whole command.
        command: String,
        /// What it said.
        said: String,
    },
    /// It did not end.
    #[error("`{command}` was stopped after {} s", limit.as_secs())]
    Late {
        /// The whole command.
        command: String,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Which engine, as the environment says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    environment: BTreeMap<String, String>,
}

impl Access {
    /// The engine that this process's environment names, or the usual one.
    pub(crate) fn of_this_process() -> Self {
        let set = |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok()?));
        Self { environment: VARIABLES.iter().filter_map(set).collect() }
    }

    /// Starts `docker ARGS`.
    pub(super) fn begin(&self, args: &[&str]) -> Result<Pending, ClientError> {
        let shown = format!("docker {}", args.join(" "));
        let program = on_path(PROGRAM).ok_or(ClientError::Missing)?;
        let mut command = Command::new(program);
        // Not what our own environment says now: what was made is found where it was made.
        for name in VARIABLES {
            command.env_remove(name);
        }
        command.args(args).envs(&self.environment).env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => Ok(Pending { child, shown }),
            Err(source) => Err(ClientError::NotRunnable { command: shown, source }),
        }
    }

    /// Runs `docker ARGS` to its end; gives what it tells.
    pub(super) fn run(&self, args: &[&str], limit: Duration) -> Result<String, ClientError> {
        self.begin(args)?.finish(limit)
    }

    /// `docker ARGS` as a command whose output goes to a file.
    pub(super) fn command(&self, args: &[&str], output: PathBuf) -> Result<NodeCommand, ClientError> {
        Ok(NodeCommand {
            program: on_path(PROGRAM).ok_or(ClientError::Missing)?,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: self.environment.clone(),
            work_dir: PathBuf::from("/"),
            output,
            namespace: None,
        })
    }
}

/// A command that runs. What it prints fits into its pipes: all are told to be brief.
#[derive(Debug)]
pub(super) struct Pending {
    child: Child,
    shown: String,
}

impl Pending {
    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended; gives what it tells.
    pub(super) fn finish(mut self, limit: Duration) -> Result<String, ClientError> {
        let deadline = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
                Ok(None) => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return Err(ClientError::Late { command: self.shown, limit });
                }
                Err(source) => return Err(ClientError::NotRunnable { command: self.shown, source }),
            }
        };
        let (told, said) = (read(self.child.stdout.take()), read(self.child.stderr.take()));
        match status.success() {
            true => Ok(told.trim().to_owned()),
            false => Err(ClientError::Refused { command: self.shown, said: in_one_line(&said, status) }),
        }
    }
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What could not be read is missing from a message at worst, or makes an answer unreadable.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn in_one_line(said: &str, status: ExitStatus) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    // A hint for somebody at a terminal, and that an answer which was not given can't be formatted.
    let is_noise = |line: &&str| line.starts_with("See 'docker") || line.starts_with("template: ");
    let lines: Vec<&str> = lines.filter(|line| !is_noise(line)).collect();
    if lines.is_empty() { status.to_string() } else { lines.join("; ") }
}
