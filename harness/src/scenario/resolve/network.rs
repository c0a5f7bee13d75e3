//! The arguments of faults of the network: what is assumed where nothing is said, and what does not go together.

use gauntlet_chaos::proxy::Apis;

use super::Args;
use crate::scenario::diagnostic::did_you_mean;
use crate::scenario::problems::Problems;
use crate::scenario::types::{Direction, Link, NetworkEffect, NetworkFault};
use crate::units::{Bytes, Duration};

/// The fault that `effect` is with its arguments.
pub(super) fn network(effect: NetworkEffect, args: Args<'_>, problems: &mut Problems<'_>) -> NetworkFault {
    let plain = NetworkFault::of(effect);
    let fault = NetworkFault {
        effect,
        link: args.written.link.unwrap_or(plain.link),
        direction: args.written.direction.unwrap_or(plain.direction),
        peer: args.written.peer,
        apis: args.written.api.as_deref().and_then(|names| apis(names, args, problems)),
    };
    match effect {
        // It takes none of them, which was said.
        NetworkEffect::Isolate => return plain,
        NetworkEffect::Partition if matches!(fault.link, Link::All | Link::Clients) => {
            let help =
                "write `brokers`, `controllers` or `nodes`, or use `network.isolate` or `network.black-hole`";
            let message = format!("`{}` is about links between nodes", args.action.name());
            args.refuse("link", message, "not for this action", help, problems);
        }
        NetworkEffect::Reset if fault.direction != Direction::Both && args.written.api.is_none() => {
            let help = "remove it: a connection is reset in both; or name an `api` whose requests or responses do that";
            let message = format!("`{}` has no direction", args.action.name());
            args.refuse("direction", message, "not for this action", help, problems);
        }
        _ if fault.link == Link::Clients && fault.peer.is_some() => {
            let help = "remove one of the two: links of clients have no node at the other end";
            args.refuse("peer", "`peer` does not fit `link: clients`".to_owned(), "a node", help, problems);
        }
        _ => {}
    }
    fault
}

/// The APIs of these names.
fn apis(names: &[String], args: Args<'_>, problems: &mut Problems<'_>) -> Option<Apis> {
    if names.is_empty() {
        let help = "remove it, or write [Produce]";
        args.refuse("api", "`api` names none".to_owned(), "nothing would happen", help, problems);
    }
    match Apis::named(names) {
        Ok(apis) => Some(apis),
        Err(error) => {
            let all = Apis::names();
            let label = did_you_mean(&error.0, all.iter().map(String::as_str)).unwrap_or_default();
            let help = "names are those of Kafka's protocol guide: Produce, Fetch, Metadata, EndTxn, …";
            args.refuse("api", error.to_string(), &label, help, problems);
            None
        }
    }
}

/// What `network.delay` does.
pub(super) fn delay(args: Args<'_>, problems: &mut Problems<'_>) -> NetworkEffect {
    let latency = args.written.latency.unwrap_or(Duration::ZERO);
    let jitter = args.written.jitter.unwrap_or(Duration::ZERO);
    if latency == Duration::ZERO {
        let message = "`network.delay` needs a `latency`".to_owned();
        args.refuse("latency", message, "above zero", "for example args: { latency: 100ms }", problems);
    }
    if jitter > latency {
        let message = format!("a jitter of {jitter} around a latency of {latency}");
        let help = "at most the latency: time goes forward";
        args.refuse("jitter", message, "more than the latency", help, problems);
    }
    NetworkEffect::Delay { latency, jitter }
}

/// What `network.bandwidth` does.
pub(super) fn bandwidth(args: Args<'_>, problems: &mut Problems<'_>) -> NetworkEffect {
    let rate = args.written.bytes_per_second.unwrap_or_default();
    if rate == Bytes::default() {
        let message = "`network.bandwidth` needs `bytes_per_second`".to_owned();
        let help = "for example args: { bytes_per_second: 1MB }";
        args.refuse("bytes_per_second", message, "above zero", help, problems);
    }
    NetworkEffect::Bandwidth { rate }
}
