//! Targets of `client.*`: producers or consumers, all or by `client.id`.

use gauntlet_chaos::{ClientRole, ClientTarget};

use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{FaultAction, Target};
use crate::scenario::written::{Role, TargetWritten};

const TARGETS: &str =
    "write { role: producer } or { role: consumer }, with `client_id: NAME` for those of one client.id";

/// The clients that a target names.
pub(super) fn resolve(
    written: Option<TargetWritten>,
    path: &str,
    action: &FaultAction,
    problems: &mut Problems<'_>,
) -> Target {
    let mut refuse = |path: &str, message: String, label: &str| {
        problems.add(Finding { path, message, label, help: TARGETS });
    };
    let producers = ClientTarget { role: ClientRole::Producer, client_id: None };
    let Some(written) = written else {
        refuse(path, format!("`{}` needs a `target`", action.name()), "who is hit?");
        return Target::Clients(producers);
    };
    let strays = [("of", written.of.is_some()), ("not", written.not.is_some()), ("id", written.id.is_some())];
    for (field, _) in strays.iter().filter(|(_, is_written)| *is_written) {
        refuse(
            &format!("{path}.{field}"),
            format!("`{field}` does not fit this target"),
            "clients are no nodes",
        );
    }
    let role = match written.role {
        Some(Role::Producer) => ClientRole::Producer,
        Some(Role::Consumer) => ClientRole::Consumer,
        Some(_) => {
            let message = format!("`{}` hits clients, not nodes", action.name());
            refuse(&format!("{path}.role"), message, "a role of nodes");
            return Target::Clients(producers);
        }
        None => {
            refuse(path, "the target has no `role`".to_owned(), "who is hit?");
            return Target::Clients(producers);
        }
    };
    Target::Clients(ClientTarget { role, client_id: written.client_id })
}

/// What of a target is only for faults of clients.
pub(super) fn refuse_clients(
    written: &TargetWritten,
    path: &str,
    action: &FaultAction,
    problems: &mut Problems<'_>,
) {
    let of_clients = matches!(written.role, Some(Role::Producer | Role::Consumer));
    if of_clients || written.client_id.is_some() {
        let field = if of_clients { "role" } else { "client_id" };
        problems.add(Finding {
            path: &format!("{path}.{field}"),
            message: format!("`{}` hits nodes, not clients", action.name()),
            label: "only for `client.kill`, `client.pause`, and `client.zombie`",
            help: super::TARGETS,
        });
    }
}
