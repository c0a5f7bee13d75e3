//! `ip` and `tc` (iproute2) and `nft` (nftables): the programs by which administrators do the same, which check what they are told and
//! say what is wrong with it. Netlink by hand would save some milliseconds at the start of a cluster.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::enter::{Namespace, enter};
use crate::kafka_home::on_path;

/// Where they are on systems on which the PATH of users does not lead to them.
const MORE_PLACES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Ip,
    Tc,
    Nft,
}

impl Tool {
    pub(super) const ALL: [Self; 3] = [Self::Ip, Self::Tc, Self::Nft];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Tc => "tc",
            Self::Nft => "nft",
        }
    }

    /// The package that it is in, on Debian and most others.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Ip | Self::Tc => "iproute2",
            Self::Nft => "nftables",
        }
    }

    /// Where it is; `None` if it is not installed.
    pub(super) fn find(self) -> Option<PathBuf> {
        let elsewhere = || {
            let mut places = MORE_PLACES.into_iter().map(|place| Path::new(place).join(self.name()));
            places.find(|program| program.is_file())
        };
        on_path(self.name()).or_else(elsewhere)
    }
}

/// Why a program did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("there is no program `{name}`; install the package {package}")]
    Missing {
        /// Its name.
        name: &'static str,
        /// The package that it is in.
        package: &'static str,
    },
    /// It could not be run.
    #[error("cannot run `{command}`: {source}")]
    NotRunnable {
        /// The whole command.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It refused.
    #[error("`{command}` failed: {said}")]
    Refused {
        /// The whole command.
        command: String,
        /// What it said.
        said: String,
    },
}

/// Runs `tool`, in `namespace` if one is given, with `input`; gives what it tells.
pub(super) fn run(
    tool: Tool,
    namespace: Option<&Namespace>,
    args: &[&str],
    input: &str,
) -> Result<String, ToolError> {
    let program = tool.find().ok_or(ToolError::Missing { name: tool.name(), package: tool.package() })?;
    let inside = namespace.map_or_else(String::new, |namespace| format!(" in {namespace}"));
    let shown = format!("{} {}{inside}", tool.name(), args.join(" "));
    let mut command = Command::new(program);
    // What is parsed must not be translated or coloured.
    command.args(args).env("LC_ALL", "C").env("COLORTERM", "");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let entered = namespace.map_or(Ok(()), |namespace| enter(&mut command, namespace));
    let output = entered.and_then(|()| feed(&mut command, input));
    let output = output.map_err(|source| ToolError::NotRunnable { command: shown.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().lines().map(str::trim).collect::<Vec<_>>().join("; ");
    let said = if said.is_empty() { output.status.to_string() } else { said };
    Err(ToolError::Refused { command: shown, said })
}

/// Runs `command` to its end. What it is given fits into a pipe, so that writing does not wait for it.
fn feed(command: &mut Command, input: &str) -> io::Result<Output> {
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // It refused before it had read everything; what it says tells more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_was_tried_and_why() {
        if Tool::Ip.find().is_none() {
            return;
        }
        let error =
            run(Tool::Ip, None, &["link", "show", "dev", "no-such-thing"], "").unwrap_err().to_string();
        assert!(error.starts_with("`ip link show dev no-such-thing` failed: "), "{error}");
        assert!(error.contains("does not exist"), "{error}");
    }
}
