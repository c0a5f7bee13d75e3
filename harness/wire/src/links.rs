//! The connections of one client to the brokers of a cluster, and its picture of who leads what.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::protocol::{Request, StrBytes};
use mio::{Registry, Token};

use crate::channel::{Channel, ChannelEvent, Outgoing, Pending};
use crate::code::ErrorCode;
use crate::connection::ApiVersions;
use crate::metadata::{self, ClusterMetadata, METADATA_VERSION_CAP};
use crate::security::Security;

/// Limits that every client of this crate has; the names are those of Kafka's client configuration.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// `bootstrap.servers`.
    pub bootstrap: Vec<String>,
    /// `client.id`.
    pub client_id: String,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub setup_timeout: Duration,
    /// `reconnect.backoff.ms`; doubles up to `reconnect_backoff_max`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `retry.backoff.ms`; doubles up to `retry_backoff_max`. Also the least time between two metadata requests.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`.
    pub metadata_max_age: Duration,
    /// TLS and log-in.
    pub security: Security,
}

impl Default for LinkConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        LinkConfig {
            bootstrap: Vec::new(),
            client_id: "gauntlet".to_owned(),
            request_timeout: Duration::from_secs(30),
            setup_timeout: Duration::from_secs(10),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            security: Security::default(),
        }
    }
}

/// Exponential back-off without jitter: a run is to be repeatable, and its producers are few.
pub(crate) fn backoff_ns(first: Duration, max: Duration, failures: u32) -> u64 {
    let factor = 1u64 << failures.saturating_sub(1).min(20);
    (first.as_nanos() as u64).saturating_mul(factor).min(max.as_nanos() as u64)
}

/// A metadata request that is not answered within this time is asked of another broker too: a paused broker keeps
/// its connections open and would hold the answer back for the whole request timeout.
const METADATA_HEDGE_NS: u64 = 1_000_000_000;
/// Bytes read from a socket at once.
pub(crate) const SCRATCH_BYTES: usize = 256 << 10;

/// Who leads a partition, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Leadership {
    pub(crate) leader: Option<i32>,
    pub(crate) epoch: i32,
}

/// What the owner of the links has to react to.
#[derive(Debug)]
pub(crate) enum LinkEvent<K> {
    /// The answer to one of the owner's requests, and the node that gave it.
    Answer(i32, Pending<K>, Bytes),
    /// A request without answer was written to its last byte.
    Written(Pending<K>),
    /// A connection is gone. Every request on it that was not answered, and why.
    Lost(i32, Vec<Pending<K>>, String),
    /// Leaders may have changed.
    Metadata,
}

/// Who asked: the links themselves, or their owner.
enum Asked<K> {
    Metadata,
    Owner(K),
}

struct Link<K> {
    channel: Option<Channel<Asked<K>>>,
    failures: u32,
    retry_at_ns: u64,
}

/// One client's links. `K` is what the owner wants back with each answer.
pub(crate) struct Links<K> {
    config: LinkConfig,
    client_id: StrBytes,
    topic: String,
    registry: Registry,
    token_base: usize,
    links: BTreeMap<i32, Link<K>>,
    /// Slot -> node id; a token is `token_base + slot`.
    slots: Vec<i32>,
    addresses: BTreeMap<i32, String>,
    leaders: Vec<Leadership>,
    /// Which topic of this name they lead.
    topic_id: Option<[u8; 16]>,
    metadata: MetadataState,
    events: Vec<ChannelEvent<Asked<K>>>,
}

#[derive(Default)]
struct MetadataState {
    wanted: bool,
    asked_at_ns: Option<u64>,
    last_asked_node: i32,
    next_ask_ns: u64,
    expires_ns: u64,
    failures: u32,
}

/// Tokens that one client may use.
pub(crate) const TOKENS_PER_CLIENT: usize = 1 << 12;

impl<K> Links<K> {
    pub(crate) fn new(
        config: LinkConfig,
        topic: &str,
        partitions: usize,
        registry: Registry,
        token_base: usize,
    ) -> Self {
        // Bootstrap addresses get ids below zero until a broker tells real ones.
        let addresses =
            config.bootstrap.iter().enumerate().map(|(i, addr)| (-1 - i as i32, addr.clone())).collect();
        Links {
            client_id: StrBytes::from_string(config.client_id.clone()),
            config,
            topic: topic.to_owned(),
            registry,
            token_base,
            links: BTreeMap::new(),
            slots: Vec::new(),
            addresses,
            leaders: vec![Leadership::default(); partitions],
            topic_id: None,
            metadata: MetadataState { wanted: true, ..MetadataState::default() },
            events: Vec::new(),
        }
    }

    pub(crate) fn config(&self) -> &LinkConfig {
        &self.config
    }

    pub(crate) fn leadership(&self, partition: usize) -> Leadership {
        self.leaders[partition]
    }

    /// A leader learned from a response (KIP-951). Older news than what is known is ignored.
    pub(crate) fn learn_leader(&mut self, partition: usize, leader: i32, epoch: i32) {
        let known = &mut self.leaders[partition];
        if leader >= 0 && epoch > known.epoch && self.addresses.contains_key(&leader) {
            *known = Leadership { leader: Some(leader), epoch };
        }
    }

    /// Leaders are in doubt: ask for metadata as soon as the back-off allows.
    pub(crate) fn want_metadata(&mut self) {
        self.metadata.wanted = true;
    }

    /// Whether requests can be sent to `node` now; begins to connect if they can't.
    pub(crate) fn usable(&mut self, node: i32, now_ns: u64) -> bool {
        self.connect(node, now_ns);
        self.ready(node)
    }

    /// Whether requests can be sent to `node` now.
    pub(crate) fn ready(&self, node: i32) -> bool {
        self.links.get(&node).and_then(|l| l.channel.as_ref()).is_some_and(Channel::is_ready)
    }

    /// Requests of the owner and ours that wait on `node`.
    pub(crate) fn in_flight(&self, node: i32) -> usize {
        self.links.get(&node).and_then(|l| l.channel.as_ref()).map_or(0, Channel::in_flight)
    }

    /// Versions and address of a connected node.
    pub(crate) fn peer(&self, node: i32) -> Option<(&ApiVersions, &str)> {
        let channel = self.links.get(&node)?.channel.as_ref()?;
        Some((channel.versions(), channel.addr()))
    }

    /// Any node that requests can be sent to now.
    pub(crate) fn any_ready(&self) -> Option<i32> {
        self.links.keys().copied().find(|node| self.ready(*node))
    }

    /// Sends the owner's request; its deadline becomes `request.timeout.ms` from now.
    pub(crate) fn send<R: Request>(
        &mut self,
        node: i32,
        outgoing: Outgoing<'_, R, K>,
        now_ns: u64,
        out: &mut Vec<LinkEvent<K>>,
    ) {
        let Outgoing { request, version, kind, answered, whole, .. } = outgoing;
        let deadline_ns = now_ns + self.config.request_timeout.as_nanos() as u64;
        let outgoing = Outgoing { request, version, kind: Asked::Owner(kind), answered, deadline_ns, whole };
        self.transmit(node, outgoing, now_ns, out);
    }

    fn transmit<R: Request>(
        &mut self,
        node: i32,
        outgoing: Outgoing<'_, R, Asked<K>>,
        now_ns: u64,
        out: &mut Vec<LinkEvent<K>>,
    ) {
        let Some(channel) = self.links.get_mut(&node).and_then(|l| l.channel.as_mut()) else { return };
        let mut events = std::mem::take(&mut self.events);
        let sent = channel.send(outgoing, now_ns, &mut events);
        self.collect(node, &mut events, now_ns, out);
        self.events = events;
        if let Err(why) = sent {
            self.lose(node, why, now_ns, out);
        }
    }

    /// Handles readiness of the socket behind `token`, if it is one of ours.
    pub(crate) fn drive(
        &mut self,
        token: Token,
        now_ns: u64,
        scratch: &mut [u8],
        out: &mut Vec<LinkEvent<K>>,
    ) {
        let Some(&node) = token.0.checked_sub(self.token_base).and_then(|slot| self.slots.get(slot)) else {
            return;
        };
        let Some(channel) = self.links.get_mut(&node).and_then(|l| l.channel.as_mut()) else { return };
        let mut events = std::mem::take(&mut self.events);
        let driven = channel.drive(now_ns, scratch, &mut events);
        self.collect(node, &mut events, now_ns, out);
        self.events = events;
        if let Err(why) = driven {
            self.lose(node, why, now_ns, out);
        }
    }

    /// Time-outs and metadata. Called on every turn.
    pub(crate) fn tick(&mut self, now_ns: u64, out: &mut Vec<LinkEvent<K>>) {
        let setup_ns = self.config.setup_timeout.as_nanos() as u64;
        let late: Vec<i32> = self
            .links
            .iter()
            .filter(|(_, l)| {
                l.channel
                    .as_ref()
                    .and_then(|c| c.deadline_ns(setup_ns))
                    .is_some_and(|deadline| deadline <= now_ns)
            })
            .map(|(node, _)| *node)
            .collect();
        for node in late {
            self.lose(node, "no answer in time".to_owned(), now_ns, out);
        }
        self.leave_bootstrap();
        self.renew_sessions(now_ns, out);
        self.ask_metadata(now_ns, out);
    }

    /// Logs in again where the session nears its end.
    fn renew_sessions(&mut self, now_ns: u64, out: &mut Vec<LinkEvent<K>>) {
        let due =
            |l: &Link<K>| l.channel.as_ref().and_then(Channel::renew_at_ns).is_some_and(|at| at <= now_ns);
        let nodes: Vec<i32> = self.links.iter().filter(|(_, l)| due(l)).map(|(node, _)| *node).collect();
        for node in nodes {
            let Some(channel) = self.links.get_mut(&node).and_then(|l| l.channel.as_mut()) else { continue };
            let mut events = std::mem::take(&mut self.events);
            let renewed = channel.renew(now_ns, &mut events);
            self.collect(node, &mut events, now_ns, out);
            self.events = events;
            if let Err(why) = renewed {
                self.lose(node, why, now_ns, out);
            }
        }
    }

    /// When [`Links::tick`] has something to do next.
    pub(crate) fn wakeup_ns(&self) -> u64 {
        let setup_ns = self.config.setup_timeout.as_nanos() as u64;
        let channels = || self.links.values().filter_map(|l| l.channel.as_ref());
        let deadlines = channels().filter_map(|c| c.deadline_ns(setup_ns)).min();
        let renewals = channels().filter_map(Channel::renew_at_ns).min();
        let metadata = match self.metadata.asked_at_ns {
            Some(asked) => asked + METADATA_HEDGE_NS,
            None if self.metadata.wanted => self.metadata.next_ask_ns,
            None => self.metadata.expires_ns,
        };
        deadlines.unwrap_or(u64::MAX).min(renewals.unwrap_or(u64::MAX)).min(metadata)
    }

    /// Closes connections to bootstrap addresses once brokers are known by id: they are the same brokers.
    fn leave_bootstrap(&mut self) {
        if self.addresses.keys().next_back().is_none_or(|node| *node < 0) {
            return;
        }
        let idle = |l: &Link<K>| l.channel.as_ref().is_none_or(|c| c.in_flight() == 0);
        let done: Vec<i32> = self.links.iter().filter(|(n, l)| **n < 0 && idle(l)).map(|(n, _)| *n).collect();
        for node in done {
            self.addresses.remove(&node);
            if let Some(channel) = self.links.remove(&node).and_then(|l| l.channel) {
                drop(channel.into_pending(&self.registry));
            }
        }
    }

    fn connect(&mut self, node: i32, now_ns: u64) {
        let Some(addr) = self.addresses.get(&node) else { return };
        let link =
            self.links.entry(node).or_insert_with(|| Link { channel: None, failures: 0, retry_at_ns: 0 });
        if link.channel.is_some() || link.retry_at_ns > now_ns {
            return;
        }
        let slot = self.slots.iter().position(|n| *n == node).unwrap_or_else(|| {
            self.slots.push(node);
            self.slots.len() - 1
        });
        let token = Token(self.token_base + slot);
        let security = &self.config.security;
        match Channel::open(addr, &self.client_id, security, &self.registry, token, now_ns) {
            Ok(channel) => link.channel = Some(channel),
            Err(_) => {
                link.failures += 1;
                link.retry_at_ns = now_ns
                    + backoff_ns(
                        self.config.reconnect_backoff,
                        self.config.reconnect_backoff_max,
                        link.failures,
                    );
            }
        }
    }

    fn lose(&mut self, node: i32, why: String, now_ns: u64, out: &mut Vec<LinkEvent<K>>) {
        let Some(link) = self.links.get_mut(&node) else { return };
        let Some(channel) = link.channel.take() else { return };
        link.failures += 1;
        link.retry_at_ns = now_ns
            + backoff_ns(self.config.reconnect_backoff, self.config.reconnect_backoff_max, link.failures);
        let mut lost = Vec::new();
        for pending in channel.into_pending(&self.registry) {
            match pending.rekind() {
                (Asked::Owner(kind), rest) => lost.push(rest.with_kind(kind)),
                (Asked::Metadata, _) => self.metadata.asked_at_ns = None,
            }
        }
        self.metadata.wanted = true;
        out.push(LinkEvent::Lost(node, lost, why));
    }

    fn collect(
        &mut self,
        node: i32,
        events: &mut Vec<ChannelEvent<Asked<K>>>,
        now_ns: u64,
        out: &mut Vec<LinkEvent<K>>,
    ) {
        for event in events.drain(..) {
            match event {
                ChannelEvent::Ready => {
                    if let Some(link) = self.links.get_mut(&node) {
                        link.failures = 0;
                    }
                }
                ChannelEvent::Written(pending) => {
                    if let (Asked::Owner(kind), rest) = pending.rekind() {
                        out.push(LinkEvent::Written(rest.with_kind(kind)));
                    }
                }
                ChannelEvent::Answer(pending, frame) => match pending.rekind() {
                    (Asked::Owner(kind), rest) => {
                        out.push(LinkEvent::Answer(node, rest.with_kind(kind), frame))
                    }
                    (Asked::Metadata, rest) => {
                        if let Ok(response) = rest.decode::<MetadataRequest>(frame) {
                            self.learn(response.into(), now_ns);
                        }
                        self.metadata.asked_at_ns = None;
                        out.push(LinkEvent::Metadata);
                    }
                },
            }
        }
    }

    fn ask_metadata(&mut self, now_ns: u64, out: &mut Vec<LinkEvent<K>>) {
        let state = &mut self.metadata;
        state.wanted |= state.expires_ns <= now_ns;
        let unanswered = state.asked_at_ns.is_some_and(|asked| asked + METADATA_HEDGE_NS > now_ns);
        if !state.wanted || unanswered || state.next_ask_ns > now_ns {
            return;
        }
        let Some(node) = self.pick_for_metadata(now_ns) else {
            self.metadata.next_ask_ns = now_ns + 5_000_000;
            return;
        };
        let Some(version) = self
            .peer(node)
            .and_then(|(versions, addr)| versions.pick::<MetadataRequest>(METADATA_VERSION_CAP, addr).ok())
        else {
            return;
        };
        let state = &mut self.metadata;
        state.wanted = false;
        state.asked_at_ns = Some(now_ns);
        state.last_asked_node = node;
        state.failures += 1;
        state.next_ask_ns = now_ns
            + backoff_ns(self.config.retry_backoff, self.config.retry_backoff_max, state.failures.min(3));
        let request = metadata::request(Some(&[self.topic.as_str()]));
        let deadline_ns = now_ns + self.config.request_timeout.as_nanos() as u64;
        let outgoing = Outgoing { deadline_ns, ..Outgoing::new(&request, version, Asked::Metadata, true) };
        self.transmit(node, outgoing, now_ns, out);
    }

    /// The next ready node after the one asked last, so that a broker that keeps silent is not asked twice in a row.
    /// Connects to the others on the way if none is ready.
    fn pick_for_metadata(&mut self, now_ns: u64) -> Option<i32> {
        let nodes: Vec<i32> = self.addresses.keys().copied().collect();
        let after = nodes.iter().position(|n| *n > self.metadata.last_asked_node).unwrap_or(0);
        let order = nodes[after..].iter().chain(&nodes[..after]).copied();
        let found = order.clone().find(|node| self.ready(*node));
        if found.is_none() {
            order.for_each(|node| self.connect(node, now_ns));
        }
        found
    }

    fn learn(&mut self, cluster: ClusterMetadata, now_ns: u64) {
        if cluster.brokers.is_empty() {
            return;
        }
        // A broker that is down is missing here; its address is kept, as it may come back before leaders move.
        self.addresses.extend(cluster.addresses());
        let mut complete = true;
        let topic = cluster.topic(&self.topic).filter(|t| t.error.is_ok());
        let id = topic.and_then(|topic| topic.id);
        // Epochs begin anew with a topic that is created again: as late as the old one's, its leaders would never be learned.
        let is_another = id.is_some() && self.topic_id.is_some() && id != self.topic_id;
        self.topic_id = id.or(self.topic_id);
        for (index, known) in self.leaders.iter_mut().enumerate() {
            let Some(p) = topic.and_then(|t| t.partitions.iter().find(|p| p.index as usize == index)) else {
                complete = false;
                continue;
            };
            if is_another || p.leader_epoch >= known.epoch || p.leader_epoch < 0 {
                let stale = p.error == ErrorCode::LEADER_NOT_AVAILABLE;
                *known = Leadership { leader: p.leader.filter(|_| !stale), epoch: p.leader_epoch };
            }
            complete &= known.leader.is_some();
        }
        // Without a leader for every partition the next look is due after the back-off.
        self.metadata.wanted |= !complete;
        if complete {
            self.metadata.failures = 0;
        }
        self.metadata.expires_ns = now_ns + self.config.metadata_max_age.as_nanos() as u64;
    }
}
