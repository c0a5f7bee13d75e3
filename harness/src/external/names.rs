//! Which properties `config.external` may set: what only that program knows, and nothing that the scenario has a place for.

/// Properties that have a place in `config`, for producers or consumers.
const OF_CONFIG: [&str; 22] = [
    "acks",
    "batch.size",
    "buffer.memory",
    "client.id",
    "compression.type",
    "delivery.timeout.ms",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "isolation.level",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.request.size",
    "metadata.max.age.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
];

/// Where a property of `config.external` belongs instead: a place in the scenario and what to do. `None`: nowhere else.
#[must_use]
pub fn owner(name: &str) -> Option<(&'static str, &'static str)> {
    const ELSEWHERE: &str = "write it there: it means the same for every driver";
    if OF_CONFIG.contains(&name) || name == "retry.backoff.max.ms" {
        return Some(("`config`", ELSEWHERE));
    }
    if name == "bootstrap.servers" {
        return Some(("`cluster`", ELSEWHERE));
    }
    if name == "security.protocol" || name.starts_with("ssl.") || name.starts_with("sasl.") {
        return Some(("`cluster.security`", ELSEWHERE));
    }
    (name == "transactional.id").then_some(("nothing yet: there are no transactions", "remove it"))
}
