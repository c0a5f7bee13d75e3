//! From `cluster.command` and `cluster.ssh` to hooks.

use std::collections::BTreeMap;

use gauntlet_chaos::hook::{HOOKED_ACTIONS, Hook, HookCommand, PLACEHOLDERS, quoted, unknown_placeholder};

use crate::scenario::problems::{Finding, Problems};
use crate::scenario::written::{CommandWritten, HookWritten, HooksWritten};
use crate::units::Duration;

/// What a command may take where nothing is said.
const TIMEOUT: Duration = Duration::from_ns(30_000_000_000);
/// And the most that can be said: whoever waits for the end of a run waits for it.
const TIMEOUT_MAX: Duration = Duration::from_ns(600_000_000_000);
/// How long a broker may take to be seen gone, or back, where nothing is said: as long as one of ours.
const WITHIN: Duration = Duration::from_ns(60_000_000_000);

/// How commands reach a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Command,
    Ssh,
}

/// The hooks by the names of faults.
pub(super) fn hooks(
    command: Option<HooksWritten>,
    ssh: Option<HooksWritten>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Hook> {
    let mut hooks = BTreeMap::new();
    for (by, block, written) in [(By::Command, "command", command), (By::Ssh, "ssh", ssh)] {
        for (action, written) in written.map(each).into_iter().flatten() {
            let Some(written) = written else { continue };
            let path = format!("cluster.{block}.{action}");
            let hook = hook(&written, by, &path, problems);
            if hooks.insert(action.to_owned(), hook).is_some() {
                problems.add(Finding {
                    path: &path,
                    message: format!("two hooks for `{action}`"),
                    label: "besides that of `cluster.command`",
                    help: "keep one of the two",
                });
            }
        }
    }
    hooks
}

fn each(written: HooksWritten) -> [(&'static str, Option<HookWritten>); HOOKED_ACTIONS.len()] {
    let HooksWritten { kill, stop, pause, restart, bounce } = written;
    [
        ("broker.kill", kill),
        ("broker.stop", stop),
        ("broker.pause", pause),
        ("broker.restart", restart),
        ("broker.bounce", bounce),
    ]
}

fn hook(written: &HookWritten, by: By, path: &str, problems: &mut Problems<'_>) -> Hook {
    let timeout = duration(written.timeout, TIMEOUT, &format!("{path}.timeout"), problems);
    let within = duration(written.within, WITHIN, &format!("{path}.within"), problems);
    variables(&written.env, path, problems);
    let to = destination(written, by, path, problems);
    let mut command = |field: &str, command: &CommandWritten| {
        let path = format!("{path}.{field}");
        check(command, &path, problems);
        let argv = match (by, command) {
            (By::Command, CommandWritten::Words(words)) => words.clone(),
            (By::Command, CommandWritten::Script(script)) => HookCommand::shell(script),
            (By::Ssh, CommandWritten::Script(script)) => HookCommand::ssh(&to, &written.options, script),
            (By::Ssh, CommandWritten::Words(words)) => {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                HookCommand::ssh(&to, &written.options, &words.join(" "))
            }
        };
        HookCommand { argv, env: written.env.clone(), timeout_ms: timeout.as_ns() / 1_000_000 }
    };
    Hook {
        apply: command("apply", &written.apply),
        check: written.check.as_ref().map(|check| command("check", check)),
        heal: command("heal", &written.heal),
        within: within.to_std(),
    }
}

fn duration(
    written: Option<Duration>,
    default: Duration,
    path: &str,
    problems: &mut Problems<'_>,
) -> Duration {
    let value = written.unwrap_or(default);
    if value.as_ns() < 1_000_000 || value > TIMEOUT_MAX {
        problems.add(Finding {
            path,
            message: format!("{value} is no time for a hook"),
            label: "out of range",
            help: &format!("from 1ms to {TIMEOUT_MAX}"),
        });
    }
    value
}

fn variables(names: &[String], path: &str, problems: &mut Problems<'_>) {
    for (index, name) in names.iter().enumerate() {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(allowed) || name.starts_with(|c: char| c.is_ascii_digit()) {
            problems.add(Finding {
                path: &format!("{path}.env[{index}]"),
                message: format!("`{name}` is no name of an environment variable"),
                label: "",
                help: "write the name only, for example KUBECONFIG: its value is taken from gauntlet's own environment",
            });
        }
    }
}

/// Where ssh goes.
fn destination(written: &HookWritten, by: By, path: &str, problems: &mut Problems<'_>) -> String {
    for (field, is_written) in [("to", written.to.is_some()), ("options", !written.options.is_empty())] {
        if by == By::Command && is_written {
            problems.add(Finding {
                path: &format!("{path}.{field}"),
                message: format!("`{field}` is for `cluster.ssh`"),
                label: "this command runs on this machine",
                help: "remove it, or move the hook to `cluster.ssh`",
            });
        }
    }
    for (index, option) in written.options.iter().enumerate() {
        text(option, &format!("{path}.options[{index}]"), problems);
    }
    let to = written.to.clone().unwrap_or_else(|| "{broker.host}".to_owned());
    text(&to, &format!("{path}.to"), problems);
    to
}

fn check(command: &CommandWritten, path: &str, problems: &mut Problems<'_>) {
    let is_empty = match command {
        CommandWritten::Script(script) => script.trim().is_empty(),
        CommandWritten::Words(words) => words.first().is_none_or(|program| program.trim().is_empty()),
    };
    if is_empty {
        problems.add(Finding {
            path,
            message: "the command is empty".to_owned(),
            label: "",
            help: "for example [systemctl, start, kafka]; `true` does nothing",
        });
    }
    match command {
        CommandWritten::Script(script) => text(script, path, problems),
        CommandWritten::Words(words) => {
            for (index, word) in words.iter().enumerate() {
                text(word, &format!("{path}[{index}]"), problems);
            }
        }
    }
}

/// Placeholders, and what no program can be given.
fn text(text: &str, path: &str, problems: &mut Problems<'_>) {
    if let Some(name) = unknown_placeholder(text) {
        let known: Vec<String> = PLACEHOLDERS.iter().map(|name| format!("{{{name}}}")).collect();
        problems.add(Finding {
            path,
            message: format!("unknown placeholder `{{{name}}}`"),
            label: "",
            help: &format!(
                "placeholders are {}; write `{{{{{name}}}}}` for a literal `{{{name}}}`",
                known.join(", ")
            ),
        });
    }
    if text.contains('\0') {
        problems.add(Finding {
            path,
            message: "a command can't hold a zero byte".to_owned(),
            label: "",
            help: "remove it",
        });
    }
}
