//! Paths into the tree: `load.rate`, `faults[0].at`, `topics[0].config.min.insync.replicas`.
//!
//! Kafka's property names hold dots. Below a `config` segment, below its `rdkafka` or `external`, below `args.entries`, and below
//! `cluster.security`, everything that is left is therefore one name. Names of faults hold one: `cluster.ssh.broker.kill.heal`.

use super::{Content, Node, Span};

/// Blocks of `config` whose names are those of one driver.
const RAW: [&str; 2] = ["rdkafka", "external"];

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// The steps of `path`. `None` if it is not of the form.
pub(crate) fn parse_path(path: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = path;
    loop {
        if names_follow(&segments) && !rest.is_empty() {
            let raw = rest.split_once('.').filter(|(raw, name)| RAW.contains(raw) && !name.is_empty());
            if let Some((raw, name)) = raw {
                segments.push(Segment::Key(raw.to_owned()));
                rest = name;
            }
            segments.push(Segment::Key(rest.to_owned()));
            return Some(segments);
        }
        let mut end = rest.find(['.', '[']).unwrap_or(rest.len());
        if fault_follows(&segments) && rest[end..].starts_with('.') {
            end = rest[end + 1..].find(['.', '[']).map_or(rest.len(), |length| end + 1 + length);
        }
        let (key, tail) = rest.split_at(end);
        if key.is_empty() || key.contains(']') {
            return None;
        }
        segments.push(Segment::Key(key.to_owned()));
        rest = tail;
        while let Some(inner) = rest.strip_prefix('[') {
            let (index, tail) = inner.split_once(']')?;
            segments.push(Segment::Index(index.parse().ok()?));
            rest = tail;
        }
        if rest.is_empty() {
            return Some(segments);
        }
        rest = rest.strip_prefix('.')?;
    }
}

/// Whether what comes next is the name of a fault.
fn fault_follows(segments: &[Segment]) -> bool {
    let [Segment::Key(cluster), Segment::Key(hooks)] = segments else { return false };
    cluster == "cluster" && (hooks == "command" || hooks == "ssh")
}

/// Whether what comes next is the name of a property.
fn names_follow(segments: &[Segment]) -> bool {
    let is = |segment: &Segment, key: &str| matches!(segment, Segment::Key(name) if name == key);
    match segments {
        [cluster, security] if is(cluster, "cluster") && is(security, "security") => true,
        [.., args, entries] if is(args, "args") && is(entries, "entries") => true,
        [.., last] => is(last, "config"),
        [] => false,
    }
}

impl Node {
    /// The node that a segment leads to. `[0]` of a mapping is the mapping: where a list may be written as its only
    /// item, both forms have the same paths.
    fn step(&self, segment: &Segment) -> Option<&Node> {
        match (segment, &self.content) {
            (Segment::Key(key), Content::Mapping(_)) => self.get(key),
            (Segment::Index(index), Content::Sequence(items)) => items.get(*index),
            (Segment::Index(0), Content::Mapping(_)) => Some(self),
            _ => None,
        }
    }

    /// The node at `path`, if it was written.
    pub(crate) fn at(&self, path: &str) -> Option<&Node> {
        parse_path(path)?.iter().try_fold(self, |node, segment| node.step(segment))
    }

    /// The place of the node at `path`, or of the closest node above it that was written.
    pub(crate) fn span_of(&self, path: &str) -> Span {
        let mut node = self;
        let mut span = self.span;
        for segment in parse_path(path).unwrap_or_default() {
            let Some(next) = node.step(&segment) else { break };
            // A key is a better place for a whole block than the block's first line.
            span = match (&segment, &next.content) {
                (Segment::Key(key), Content::Mapping(_) | Content::Sequence(_)) => {
                    node.key_span(key, next.span)
                }
                _ => next.span,
            };
            node = next;
        }
        span
    }

    /// Where the key `key` of this mapping stands, `otherwise` if it isn't there.
    pub(crate) fn key_span(&self, key: &str, otherwise: Span) -> Span {
        let entry = self.entries().and_then(|entries| entries.iter().find(|entry| entry.key == key));
        entry.map_or(otherwise, |entry| entry.key_span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn property_names_keep_their_dots() {
        let key = |key: &str| Segment::Key(key.to_owned());
        assert_eq!(parse_path("load.rate"), Some(vec![key("load"), key("rate")]));
        assert_eq!(
            parse_path("topics[0].config.min.insync.replicas"),
            Some(vec![key("topics"), Segment::Index(0), key("config"), key("min.insync.replicas")])
        );
        let raw = ["workload", "producers", "config", "rdkafka", "batch.num.messages"].map(key);
        assert_eq!(parse_path("workload.producers.config.rdkafka.batch.num.messages"), Some(raw.to_vec()));
        assert_eq!(parse_path("workload.producers.config.rdkafka"), Some(raw[..4].to_vec()));
        let entry = parse_path("faults[0].args.entries.retention.ms").unwrap();
        assert_eq!((entry.len(), entry.last()), (5, Some(&key("retention.ms"))));
        let secured = [key("cluster"), key("security"), key("sasl.password")];
        assert_eq!(parse_path("cluster.security.sasl.password"), Some(secured.to_vec()));
        let hook = [key("cluster"), key("ssh"), key("broker.kill"), key("heal"), Segment::Index(1)];
        assert_eq!(parse_path("cluster.ssh.broker.kill.heal[1]"), Some(hook.to_vec()));
        assert_eq!(parse_path("cluster.ssh.broker.kill"), Some(hook[..3].to_vec()));
        assert_eq!(parse_path("cluster.local.security.acls").map(|path| path.len()), Some(4));
        for path in ["", ".", "a.", "a[", "a[x]", "a]", "a[0]b", "[0]"] {
            assert_eq!(parse_path(path), None, "{path}");
        }
    }
}
