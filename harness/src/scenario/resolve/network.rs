//! The arguments of faults of the network: which fit which action, and what is assumed where nothing is said.

use gauntlet_chaos::proxy::Apis;

use crate::scenario::diagnostic::did_you_mean;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Direction, Link, NetworkEffect, NetworkFault};
use crate::scenario::written::FaultArgsWritten;
use crate::units::Duration;

/// The fault that `effect`, as its action alone says it, is with what is `written` of it.
pub(super) fn network(
    effect: NetworkEffect,
    written: &FaultArgsWritten,
    path: &str,
    problems: &mut Problems<'_>,
) -> NetworkFault {
    let plain = NetworkFault::of(effect);
    let fault = NetworkFault {
        effect: self::effect(effect, written, path, problems),
        link: written.link.unwrap_or(plain.link),
        direction: written.direction.unwrap_or(plain.direction),
        peer: written.peer,
        apis: written.api.as_deref().and_then(|names| apis(names, effect, path, problems)),
    };
    let mut refuse = |field: &str, message: String, label: &str, help: &str| {
        problems.add(Finding { path: &format!("{path}.args.{field}"), message, label, help });
    };
    let name = effect.name();
    match effect {
        NetworkEffect::Isolate => {
            let help = "remove it, or use `network.partition` or `network.black-hole`";
            if written.link.is_some() {
                refuse("link", format!("`{name}` is about every link"), "not for this action", help);
            }
            if written.direction.is_some() {
                refuse(
                    "direction",
                    format!("`{name}` is about both directions"),
                    "not for this action",
                    help,
                );
            }
            if written.peer.is_some() {
                refuse("peer", format!("`{name}` is about everybody"), "not for this action", help);
            }
        }
        NetworkEffect::Partition if matches!(fault.link, Link::All | Link::Clients) => {
            let help =
                "write `brokers`, `controllers` or `nodes`, or use `network.isolate` or `network.black-hole`";
            refuse("link", format!("`{name}` is about links between nodes"), "not for this action", help);
        }
        NetworkEffect::Reset if fault.direction != Direction::Both && written.api.is_none() => {
            let help = "remove it: a connection is reset in both; or name an `api` whose requests or responses do that";
            refuse("direction", format!("`{name}` has no direction"), "not for this action", help);
        }
        _ if fault.link == Link::Clients && fault.peer.is_some() => {
            let help = "remove one of the two: links of clients have no node at the other end";
            refuse("peer", "`peer` does not fit `link: clients`".to_owned(), "a node", help);
        }
        _ => {}
    }
    fault
}

/// The APIs of these names, for effects that can tell requests and responses from each other.
fn apis(names: &[String], effect: NetworkEffect, path: &str, problems: &mut Problems<'_>) -> Option<Apis> {
    let mut refuse = |message: String, label: &str, help: &str| {
        problems.add(Finding { path: &format!("{path}.args.api"), message, label, help });
        None
    };
    if !matches!(effect, NetworkEffect::BlackHole | NetworkEffect::Delay { .. } | NetworkEffect::Reset) {
        let help = "remove it, or use `network.black-hole`, `network.delay` or `network.reset`";
        return refuse(format!("`{}` is about all bytes", effect.name()), "not for this action", help);
    }
    if names.is_empty() {
        return refuse(
            "`api` names none".to_owned(),
            "nothing would happen",
            "remove it, or write [Produce]",
        );
    }
    match Apis::named(names) {
        Ok(apis) => Some(apis),
        Err(error) => {
            let all = Apis::names();
            let label = did_you_mean(&error.0, all.iter().map(String::as_str)).unwrap_or_default();
            let help = "names are those of Kafka's protocol guide: Produce, Fetch, Metadata, EndTxn, …";
            refuse(error.to_string(), &label, help)
        }
    }
}

fn effect(
    effect: NetworkEffect,
    written: &FaultArgsWritten,
    path: &str,
    problems: &mut Problems<'_>,
) -> NetworkEffect {
    let is_delay = matches!(effect, NetworkEffect::Delay { .. });
    let is_bandwidth = matches!(effect, NetworkEffect::Bandwidth { .. });
    let mut refuse = |field: &str, message: String, label: &str, help: &str| {
        problems.add(Finding { path: &format!("{path}.args.{field}"), message, label, help });
    };
    let stray = [
        ("latency", written.latency.is_some() && !is_delay, "network.delay"),
        ("jitter", written.jitter.is_some() && !is_delay, "network.delay"),
        ("bytes_per_second", written.bytes_per_second.is_some() && !is_bandwidth, "network.bandwidth"),
    ];
    for (field, _, action) in stray.iter().filter(|(_, is_stray, _)| *is_stray) {
        refuse(
            field,
            format!("`{field}` does not fit this action"),
            &format!("only for `{action}`"),
            "remove it",
        );
    }
    match effect {
        NetworkEffect::Delay { .. } => {
            let latency = written.latency.unwrap_or(Duration::ZERO);
            let jitter = written.jitter.unwrap_or(Duration::ZERO);
            if latency == Duration::ZERO {
                let message = "`network.delay` needs a `latency`".to_owned();
                refuse("latency", message, "above zero", "for example args: { latency: 100ms }");
            }
            if jitter > latency {
                let message = format!("a jitter of {jitter} around a latency of {latency}");
                refuse("jitter", message, "more than the latency", "at most the latency: time goes forward");
            }
            NetworkEffect::Delay { latency, jitter }
        }
        NetworkEffect::Bandwidth { .. } => {
            let rate = written.bytes_per_second.unwrap_or_default();
            if rate.get() == 0 {
                let message = "`network.bandwidth` needs `bytes_per_second`".to_owned();
                refuse(
                    "bytes_per_second",
                    message,
                    "above zero",
                    "for example args: { bytes_per_second: 1MB }",
                );
            }
            NetworkEffect::Bandwidth { rate }
        }
        NetworkEffect::Isolate
        | NetworkEffect::Partition
        | NetworkEffect::BlackHole
        | NetworkEffect::Reset => effect,
    }
}

/// Whether something is written that only faults of the network have.
pub(super) fn refuse_all(written: &FaultArgsWritten, path: &str, problems: &mut Problems<'_>) {
    let fields = [
        ("link", written.link.is_some()),
        ("direction", written.direction.is_some()),
        ("peer", written.peer.is_some()),
        ("api", written.api.is_some()),
        ("latency", written.latency.is_some()),
        ("jitter", written.jitter.is_some()),
        ("bytes_per_second", written.bytes_per_second.is_some()),
    ];
    for (field, _) in fields.iter().filter(|(_, is_written)| *is_written) {
        problems.add(Finding {
            path: &format!("{path}.args.{field}"),
            message: format!("`{field}` does not fit this action"),
            label: "only for faults of the network",
            help: "remove it",
        });
    }
}
