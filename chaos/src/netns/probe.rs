//! Whether this machine can give nodes a network: asked by doing it, in a namespace that is gone with the process that asks.

use std::sync::OnceLock;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::delay_line::{TAP_DEVICES, tap};
use super::enter::Namespace;
use super::tools::{Tool, ToolError, run};

/// Why it can't, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unable {
    /// What is missing.
    pub why: String,
    /// What to do about it.
    pub next_step: String,
}

/// What is tried.
const TRIALS: [(Tool, &[&str]); 5] = [
    (Tool::Ip, &["link", "add", "gntprobe", "type", "bridge"]),
    (Tool::Ip, &["link", "add", "gntprobe0", "type", "veth", "peer", "name", "gntprobe1"]),
    (Tool::Nft, &["add", "table", "inet", "gntprobe"]),
    (Tool::Nft, &["add", "table", "bridge", "gntprobe"]),
    (Tool::Tc, &["qdisc", "add", "dev", "lo", "root", "handle", "1:", "htb"]),
];

/// Why no cluster on this machine can have `isolation: netns`; `None` if it can. Looked at once: it does not change while a
/// process lives.
pub fn why_not() -> Option<&'static Unable> {
    static ANSWER: OnceLock<Option<Unable>> = OnceLock::new();
    ANSWER.get_or_init(look).as_ref()
}

fn look() -> Option<Unable> {
    if let Some(missing) = Tool::ALL.into_iter().find(|tool| tool.find().is_none()) {
        return Some(Unable {
            why: format!("there is no program `{}`", missing.name()),
            next_step: format!("install the package {}, or use `isolation: process`", missing.package()),
        });
    }
    TRIALS.iter().find_map(|(tool, args)| run(*tool, Some(&Namespace::Fresh), args, "").err()).map(understood)
}

/// Why packets can't be made late in such a cluster, for `network.delay`; `None` if they can, or if there can be no such cluster. Looked
/// at once.
pub fn why_no_delay() -> Option<&'static Unable> {
    static ANSWER: OnceLock<Option<Unable>> = OnceLock::new();
    ANSWER.get_or_init(|| if why_not().is_some() { None } else { look_for_delay() }).as_ref()
}

/// A device for it, and a rule that leads to it, in a namespace that is gone with the thread that asks.
fn look_for_delay() -> Option<Unable> {
    let tried = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
        let _tap = tap("gntprobe").map_err(|error| format!("{TAP_DEVICES}: {error}"))?;
        let text = "table netdev gntprobe {\n  chain ingress {\n    type filter hook ingress devices = { gntprobe } priority 0;\n    \
                    tcp dport 9092 counter fwd to \"gntprobe\"\n  }\n}\n";
        run(Tool::Nft, None, &["-f", "-"], text).map(|_| ()).map_err(|error| error.to_string())
    });
    let tried = tried.join().unwrap_or_else(|_| Err("the thread that asks has panicked".to_owned()));
    tried.err().map(|why| Unable {
        why: format!("the kernel does not do what makes packets late: {why}"),
        next_step:
            "load the modules tun and nft_fwd_netdev, or use `isolation: process`, where a proxy does it"
                .to_owned(),
    })
}

fn understood(error: ToolError) -> Unable {
    let refused = match &error {
        ToolError::NotRunnable { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
        ToolError::Refused { said, .. } => said.contains("not permitted"),
        ToolError::Missing { .. } => false,
    };
    if refused {
        return Unable {
            why: "network namespaces need root, or CAP_SYS_ADMIN and CAP_NET_ADMIN".to_owned(),
            next_step: "run gauntlet as root, or use `isolation: process`, which needs neither".to_owned(),
        };
    }
    Unable {
        why: format!("the kernel does not do what namespaces are for: {error}"),
        next_step: "load the modules bridge, veth, nf_tables and sch_htb, or use `isolation: process`"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_user_without_rights_is_told_so() {
        let command = "ip link".to_owned();
        let denied = |source| understood(ToolError::NotRunnable { command: command.clone(), source });
        assert!(denied(io::ErrorKind::PermissionDenied.into()).why.contains("CAP_NET_ADMIN"));
        let said = "RTNETLINK answers: Operation not permitted".to_owned();
        assert!(understood(ToolError::Refused { command: command.clone(), said }).why.contains("root"));
        let said = "Error: Unknown device type.".to_owned();
        let unable = understood(ToolError::Refused { command: command.clone(), said });
        assert!(
            unable.why.contains("Unknown device type") && unable.next_step.contains("modules"),
            "{unable:?}"
        );
    }

    /// Root on a machine with the programs can do it, everybody else is told why not; and nothing is left either way.
    #[test]
    fn asking_leaves_nothing() {
        let answer = look();
        assert!(answer.is_none_or(|unable| unable.next_step.contains("isolation: process")));
        let interfaces = std::fs::read_to_string("/proc/net/dev").unwrap();
        assert!(!interfaces.contains("gntprobe"), "{interfaces}");
    }
}
