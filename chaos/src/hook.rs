//! Hooks: an operator's own commands that do to a broker what gauntlet can't, because the broker's process is not its own.
//!
//! A hook is stated once per kind of fault, with placeholders for the broker that is hit. What it does is the operator's affair; whether it
//! acts is still seen by gauntlet itself, from outside ([`crate::fault`]). Healing must be harmless at any time, also twice and while nothing
//! is wrong: whoever finds the journal runs the command once more.
//!
//! Commands are run as they are, without a shell. They get few variables of the environment, and those that are named; only the names are
//! ever stored. Layout: `placeholders` what is put in, `run` how a command runs and what is kept of it.

mod placeholders;
mod run;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use placeholders::{PLACEHOLDERS, unknown_placeholder};
pub(crate) use run::{Running, run};

/// Where the outputs of hooks are, below the directory of logs.
pub(crate) const OUTPUT_DIR: &str = "hooks";

/// The faults that can be done by hooks: what gauntlet can see act on a broker from outside.
pub const HOOKED_ACTIONS: [&str; 5] =
    ["broker.kill", "broker.stop", "broker.pause", "broker.restart", "broker.bounce"];

/// What an operator does for one kind of fault, with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Does it. Exit status 0: done.
    pub apply: HookCommand,
    /// Proves it, besides what gauntlet sees itself: asked again and again until its exit status is 0.
    pub check: Option<HookCommand>,
    /// Undoes it, whether it was done or not, and as often as it is run.
    pub heal: HookCommand,
    /// How long it may take until the broker is seen to be gone or silent, and, after healing, until it is back.
    pub within: Duration,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookCommand {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Names of the variables that it gets besides those that every program needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// How long it may take, milliseconds; then it is killed, with all that it has started.
    pub timeout_ms: u64,
}

/// Whom a hook is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookedBroker<'a> {
    /// Kafka's `node.id`.
    pub id: i32,
    /// `host:port` that it advertises.
    pub addr: &'a str,
    /// Name of the fault.
    pub fault: &'a str,
}

/// A command that is to run now, and where its output is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HookJob {
    /// What for.
    pub(crate) step: HookStep,
    /// Without placeholders.
    pub(crate) command: HookCommand,
    /// File that its output is appended to.
    pub(crate) output: PathBuf,
}

/// What a command of a hook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HookStep {
    Apply,
    Check,
    Heal,
}

impl fmt::Display for HookStep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Apply => "apply",
            Self::Check => "check",
            Self::Heal => "heal",
        })
    }
}

impl Hook {
    /// The commands for one broker. An error says which value can't be put in.
    pub fn of(&self, broker: &HookedBroker<'_>) -> Result<Self, String> {
        Ok(Self {
            apply: self.apply.of(broker)?,
            check: self.check.as_ref().map(|check| check.of(broker)).transpose()?,
            heal: self.heal.of(broker)?,
            within: self.within,
        })
    }

    /// Names of all variables that its commands get.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let commands = [Some(&self.apply), self.check.as_ref(), Some(&self.heal)];
        commands.into_iter().flatten().flat_map(|command| &command.env).map(String::as_str)
    }
}

impl HookCommand {
    /// Has a shell run `script`.
    #[must_use]
    pub fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    /// Has the system's ssh run `script` at `to` by the log-in shell there. It asks for nothing: there is nobody to answer.
    #[must_use]
    pub fn ssh(to: &str, options: &[String], script: &str) -> Vec<String> {
        let fixed = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"].map(str::to_owned);
        // What follows `--` is no option, whatever it begins with.
        let end = ["--", to, script].map(str::to_owned);
        fixed.into_iter().chain(options.iter().cloned()).chain(end).collect()
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn of(&self, broker: &HookedBroker<'_>) -> Result<Self, String> {
        let argv = self.argv.iter().map(|word| placeholders::fill(word, broker)).collect::<Result<_, _>>()?;
        Ok(Self { argv, ..self.clone() })
    }
}

impl fmt::Display for HookCommand {
    /// As it could be typed into a shell.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.argv.iter().map(|word| quoted(word)).collect();
        out.write_str(&words.join(" "))
    }
}

/// A word as a POSIX shell takes it for one.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,{}".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Where the output of a fault's hooks for one broker is kept, below the directory of logs.
pub(crate) fn output_file(logs: &Path, fault: &str, broker: i32) -> PathBuf {
    logs.join(OUTPUT_DIR).join(format!("{fault}.broker-{broker}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_could_be_typed() {
        let command = |argv: Vec<String>| HookCommand { argv, env: Vec::new(), timeout_ms: 1 };
        let ssh = HookCommand::ssh("kafka@b1", &["-p".to_owned(), "2222".to_owned()], "it's done");
        assert_eq!(
            command(ssh).to_string(),
            r"ssh -o BatchMode=yes -o ConnectTimeout=10 -p 2222 -- kafka@b1 'it'\''s done'"
        );
        assert_eq!(command(HookCommand::shell("a | b")).to_string(), "sh -c 'a | b'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_hook_is_for_one_broker() {
        let command = |word: &str| HookCommand {
            argv: vec![word.to_owned(), "{broker.id}".to_owned()],
            env: vec!["KUBECONFIG".to_owned()],
            timeout_ms: 5,
        };
        let hook = Hook {
            apply: command("stop"),
            check: Some(command("is-stopped")),
            heal: command("start-{broker.host}"),
            within: Duration::from_secs(1),
        };
        let of = hook.of(&HookedBroker { id: 3, addr: "b3.example:9092", fault: "freeze" }).unwrap();
        assert_eq!(of.heal.to_string(), "start-b3.example 3");
        assert_eq!(of.check.unwrap().to_string(), "is-stopped 3");
        assert_eq!(of.apply.env, ["KUBECONFIG"]);
        assert_eq!(hook.variables().collect::<Vec<_>>(), ["KUBECONFIG"; 3]);
        assert!(hook.of(&HookedBroker { id: 3, addr: "$(reboot):9092", fault: "freeze" }).is_err());
    }
}
