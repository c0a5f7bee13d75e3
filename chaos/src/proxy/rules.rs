//! What a proxy does to which bytes: pure, so that it can be reasoned about without a socket.
//!
//! A connection has two ends and two *flows*, one in each direction. A rule names flows by the kind of their link and by who is at
//! each end, so that "cut off", "one way only" and "these two from each other" are the same thing with other ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::apis::Apis;

/// What a connection is for; each kind has ports of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// From clients to brokers.
    Clients,
    /// From brokers to brokers: replication, transaction markers.
    Brokers,
    /// To the controllers: heartbeats and metadata of brokers, votes and fetches of the quorum.
    Controllers,
}

/// Kinds of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// [`Link::Clients`].
    pub clients: bool,
    /// [`Link::Brokers`].
    pub brokers: bool,
    /// [`Link::Controllers`].
    pub controllers: bool,
}

impl Links {
    /// All kinds.
    pub const ALL: Self = Self { clients: true, brokers: true, controllers: true };
    /// Those between nodes.
    pub const NODES: Self = Self { clients: false, ..Self::ALL };

    /// One kind.
    #[must_use]
    pub fn only(link: Link) -> Self {
        Self {
            clients: link == Link::Clients,
            brokers: link == Link::Brokers,
            controllers: link == Link::Controllers,
        }
    }

    /// Whether `link` is one of them.
    #[must_use]
    pub fn has(self, link: Link) -> bool {
        match link {
            Link::Clients => self.clients,
            Link::Brokers => self.brokers,
            Link::Controllers => self.controllers,
        }
    }
}

/// Who is at one end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A process that is no node of the cluster.
    Client,
    /// A node, by Kafka's `node.id`.
    Node(i32),
}

/// Who may be at one end of a flow for a rule to be about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// Whoever.
    Any,
    /// This one.
    Only(End),
    /// Whoever is none of these nodes: one side of a network that is split in two, as the other side sees it.
    Outside(Vec<i32>),
}

impl Ends {
    fn has(&self, end: End) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => *only == end,
            Self::Outside(side) => !matches!(end, End::Node(id) if side.contains(&id)),
        }
    }
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) link: Link,
    pub(crate) from: End,
    pub(crate) to: End,
}

/// What is done to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// They stay where they are until the rule is gone, and arrive then: what TCP makes of a network that loses every packet.
    Hold,
    /// They arrive later, in their order.
    Delay {
        /// How much later, nanoseconds.
        latency_ns: u64,
        /// By how much more or less, drawn evenly; at most the latency.
        jitter_ns: u64,
    },
    /// They arrive at this rate, all connections of the rule together.
    Limit {
        /// Bytes a second.
        bytes_per_s: u64,
    },
    /// Their connection is reset, at both ends, and so is every new one.
    Reset,
    /// Connections that are there are lost, and not everybody is told: half-open, as RFC 9293 (3.5.1) calls it. Bytes get nowhere; who
    /// would have got them sees its connection closed, unless there is such a rule about what it sends, too. New connections are none
    /// of this rule's. What it has lost stays lost, and is reset when the rule is gone.
    HalfOpen,
}

/// An effect, and the flows it is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// On which links.
    pub links: Links,
    /// Where the bytes come from.
    pub from: Ends,
    /// Where they go.
    pub to: Ends,
    /// Only requests and responses of these APIs, each as a whole; `None`: all bytes. What follows one that is held or late on its connection
    /// waits behind it: a connection keeps its order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apis: Option<Apis>,
    /// What happens to them.
    pub effect: Effect,
}

impl Rule {
    /// Whether `flow` is one of those that the rule is about. What a node says to itself never is: it does not leave the host
    /// that the node stands for.
    pub(crate) fn is_about(&self, flow: Flow) -> bool {
        flow.from != flow.to && self.links.has(flow.link) && self.from.has(flow.from) && self.to.has(flow.to)
    }
}

/// Number of a rule in force; never given twice, and later ones are higher.
pub(crate) type RuleId = u64;

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct RuleBook {
    rules: BTreeMap<RuleId, InForce>,
    next_id: RuleId,
    /// Changes with the rules: what was derived from others is out of date.
    version: u64,
}

#[derive(Debug)]
struct InForce {
    fault: String,
    rule: Rule,
    /// When it first changed the course of bytes; CLOCK_MONOTONIC, nanoseconds.
    first_acted_ns: Option<u64>,
    /// For a limit: when the last byte that was let through is through.
    busy_until_ns: u64,
}

/// What the rules ask of one flow. Derived from a [`RuleBook`] of the same version.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    version: u64,
    holds: Vec<Selected>,
    resets: Vec<Selected>,
    half_opens: Vec<Selected>,
    delays: Vec<Delay>,
    limits: Vec<Limit>,
}

/// A rule, and the APIs that it is about; `None`: all bytes.
#[derive(Clone, Copy, Debug)]
struct Selected {
    id: RuleId,
    apis: Option<Apis>,
}

impl Selected {
    /// Whether it is about a request or response that begins, of API `api` if that is known, or about whatever else (`None`).
    fn is_about(&self, api: Option<i16>) -> bool {
        self.apis.is_none_or(|apis| api.is_some_and(|api| apis.has(api)))
    }
}

#[derive(Debug)]
struct Delay {
    rule: Selected,
    latency_ns: u64,
    jitter_ns: u64,
}

#[derive(Debug)]
struct Limit {
    id: RuleId,
    bytes_per_s: u64,
}

/// A limit lets nobody wait for more than so much in front of it: the rest stays with its sender, as in front of a slow link with
/// a short queue.
const LIMIT_QUEUE_NS: u64 = 50_000_000;

impl RuleBook {
    /// Puts the rules of `fault` into force, in place of those it had.
    pub(crate) fn install(&mut self, fault: &str, rules: &[Rule]) {
        self.remove(fault);
        for rule in rules {
            let in_force = InForce {
                fault: fault.to_owned(),
                rule: rule.clone(),
                first_acted_ns: None,
                busy_until_ns: 0,
            };
            self.rules.insert(self.next_id, in_force);
            self.next_id += 1;
        }
        self.version += 1;
    }

    /// Ends the rules of `fault`, if it has any.
    pub(crate) fn remove(&mut self, fault: &str) {
        self.rules.retain(|_, known| known.fault != fault);
        self.version += 1;
    }

    /// Ends all rules.
    pub(crate) fn clear(&mut self) {
        self.rules.clear();
        self.version += 1;
    }

    /// When the first rule of `fault` first acted, if one has; CLOCK_MONOTONIC, nanoseconds.
    pub(crate) fn first_acted_ns(&self, fault: &str) -> Option<u64> {
        self.rules
            .values()
            .filter(|known| known.fault == fault)
            .filter_map(|known| known.first_acted_ns)
            .min()
    }

    /// The number that the next rule will have: a connection that is opened now is older than that rule.
    pub(crate) fn next_id(&self) -> RuleId {
        self.next_id
    }

    /// Brings `policy` up to date, which is that of `flow` of a connection that was opened when `next` was the number of the next rule.
    pub(crate) fn refresh(&self, policy: &mut Policy, flow: Flow, next: RuleId) {
        if policy.version == self.version {
            return;
        }
        *policy = Policy { version: self.version, ..Policy::default() };
        for (id, known) in self.rules.iter().filter(|(_, known)| known.rule.is_about(flow)) {
            let rule = Selected { id: *id, apis: known.rule.apis };
            match known.rule.effect {
                Effect::Hold => policy.holds.push(rule),
                Effect::Reset => policy.resets.push(rule),
                Effect::HalfOpen if *id >= next => policy.half_opens.push(rule),
                Effect::HalfOpen => {}
                Effect::Delay { latency_ns, jitter_ns } => {
                    policy.delays.push(Delay { rule, latency_ns, jitter_ns });
                }
                Effect::Limit { bytes_per_s } => policy.limits.push(Limit { id: *id, bytes_per_s }),
            }
        }
    }

    /// Notes that bytes were held: those of a request or response of API `api` if that is known, or whatever they are.
    pub(crate) fn held(&mut self, policy: &Policy, api: Option<i16>, now_ns: u64) {
        self.acted(&policy.holds, api, now_ns);
    }

    /// Notes that a connection was reset, because of a request or response of API `api` or for whatever it was.
    pub(crate) fn was_reset(&mut self, policy: &Policy, api: Option<i16>, now_ns: u64) {
        self.acted(&policy.resets, api, now_ns);
    }

    /// Notes that a connection was lost.
    pub(crate) fn was_lost(&mut self, policy: &Policy, now_ns: u64) {
        self.acted(&policy.half_opens, None, now_ns);
    }

    fn acted(&mut self, rules: &[Selected], api: Option<i16>, now_ns: u64) {
        for rule in rules.iter().filter(|rule| rule.is_about(api)) {
            if let Some(known) = self.rules.get_mut(&rule.id) {
                known.first_acted_ns.get_or_insert(now_ns);
            }
        }
    }

    /// When so many bytes that came `now_ns` are due at the other end: those of a request or response of API `api` that begins with
    /// them, or whatever they are. `draw` gives numbers from 0 to below 1.
    pub(crate) fn due_ns(
        &mut self,
        policy: &Policy,
        bytes: usize,
        api: Option<i16>,
        now_ns: u64,
        mut draw: impl FnMut() -> f64,
    ) -> u64 {
        let mut due_ns = now_ns;
        for limit in &policy.limits {
            let Some(known) = self.rules.get_mut(&limit.id) else { continue };
            let takes_ns = bytes as u128 * 1_000_000_000 / u128::from(limit.bytes_per_s.max(1));
            let begins_ns = known.busy_until_ns.max(now_ns);
            known.busy_until_ns = begins_ns.saturating_add(u64::try_from(takes_ns).unwrap_or(u64::MAX));
            known.first_acted_ns.get_or_insert(now_ns);
            due_ns = due_ns.max(known.busy_until_ns);
        }
        for delay in policy.delays.iter().filter(|delay| delay.rule.is_about(api)) {
            due_ns = due_ns.saturating_add(late_ns(delay.latency_ns, delay.jitter_ns, draw()));
            self.acted(&[delay.rule], api, now_ns);
        }
        due_ns
    }

    /// When the next bytes may be taken from their sender, if not now: a limit has enough in front of it.
    pub(crate) fn room_at_ns(&self, policy: &Policy, now_ns: u64) -> Option<u64> {
        let busy_ns = policy.limits.iter().filter_map(|limit| Some(self.rules.get(&limit.id)?.busy_until_ns));
        let room_ns = busy_ns.max()?.saturating_sub(LIMIT_QUEUE_NS);
        (room_ns > now_ns).then_some(room_ns)
    }
}

/// How much later something arrives: by `latency_ns`, and by up to `jitter_ns` more or less, as `drawn` from 0 to below 1 says.
pub(crate) fn late_ns(latency_ns: u64, jitter_ns: u64, drawn: f64) -> u64 {
    let shift_ns = (jitter_ns as f64 * (2.0 * drawn - 1.0)) as i64;
    latency_ns.saturating_add_signed(shift_ns)
}

impl Policy {
    /// Whether a request or response of API `api` does not go on, or whatever it is (`None`).
    pub(crate) fn holds(&self, api: Option<i16>) -> bool {
        self.holds.iter().any(|rule| rule.is_about(api))
    }

    /// Whether a connection may not be on which there is a request or response of API `api`, or whatever there is on it.
    pub(crate) fn resets(&self, api: Option<i16>) -> bool {
        self.resets.iter().any(|rule| rule.is_about(api))
    }

    /// Whether what is sent gets nowhere, for good.
    pub(crate) fn loses(&self) -> bool {
        !self.half_opens.is_empty()
    }

    /// Whether it depends on the API what is done.
    pub(crate) fn is_selective(&self) -> bool {
        let delays = self.delays.iter().map(|delay| &delay.rule);
        self.holds.iter().chain(&self.resets).chain(delays).any(|rule| rule.apis.is_some())
    }

    /// Most bytes to take at once: pieces that pass a limit in about 5 ms, so that it is smooth.
    pub(crate) fn piece_bytes(&self) -> usize {
        let slowest = self.limits.iter().map(|limit| limit.bytes_per_s).min();
        slowest.map_or(usize::MAX, |rate| usize::try_from(rate / 200).unwrap_or(usize::MAX).max(512))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![Just(End::Client), (1..5).prop_map(End::Node)]
    }

    fn flow() -> impl Strategy<Value = Flow> {
        let link = prop_oneof![Just(Link::Clients), Just(Link::Brokers), Just(Link::Controllers)];
        (link, end(), end()).prop_map(|(link, from, to)| Flow { link, from, to })
    }

    fn rule(from: Ends, to: Ends, effect: Effect) -> Rule {
        Rule { links: Links::ALL, from, to, apis: None, effect }
    }

    fn policy(book: &RuleBook, flow: Flow) -> Policy {
        let mut policy = Policy::default();
        book.refresh(&mut policy, flow, 0);
        policy
    }

    const FLOW: Flow = Flow { link: Link::Brokers, from: End::Node(1), to: End::Node(2) };

    proptest! {
        /// Both directions of a node and everybody: exactly the flows with the node at one end, and never its own to itself.
        #[test]
        fn a_node_is_cut_off_from_others_and_from_nobody_else(flow in flow(), node in 1..5) {
            let me = Ends::Only(End::Node(node));
            let rules = [rule(me.clone(), Ends::Any, Effect::Hold), rule(Ends::Any, me, Effect::Hold)];
            let touches = flow.from == End::Node(node) || flow.to == End::Node(node);
            let expected = touches && flow.from != flow.to;
            prop_assert_eq!(rules.iter().any(|rule| rule.is_about(flow)), expected);
        }

        /// Two sides are split, and within each everything goes on; clients are on the side of those that are not named.
        #[test]
        fn a_side_is_cut_off_from_the_other_one_only(flow in flow(), side in prop::collection::vec(1..5, 1..4)) {
            let rules: Vec<Rule> = side
                .iter()
                .map(|id| Ends::Only(End::Node(*id)))
                .flat_map(|me| {
                    let others = Ends::Outside(side.clone());
                    [rule(me.clone(), others.clone(), Effect::Hold), rule(others, me, Effect::Hold)]
                })
                .collect();
            let is_in = |end| matches!(end, End::Node(id) if side.contains(&id));
            prop_assert_eq!(rules.iter().any(|rule| rule.is_about(flow)), is_in(flow.from) != is_in(flow.to));
        }

        /// One way is one way: a rule is about a flow or about the one back, and about both only if it names neither end.
        #[test]
        fn one_way_is_one_way(flow in flow(), from in end(), to in end()) {
            prop_assume!(from != to);
            let rule = rule(Ends::Only(from), Ends::Only(to), Effect::Hold);
            let back = Flow { from: flow.to, to: flow.from, ..flow };
            prop_assert!(!(rule.is_about(flow) && rule.is_about(back)));
            prop_assert_eq!(rule.is_about(flow), (flow.from, flow.to) == (from, to));
        }

        /// Faults don't know of each other: ending one leaves what the other one asks.
        #[test]
        fn a_fault_takes_only_its_own_rules_along(flow in flow(), one in end(), other in end()) {
            let mut both = RuleBook::default();
            both.install("one", &[rule(Ends::Only(one), Ends::Any, Effect::Hold)]);
            both.install("other", &[rule(Ends::Only(other), Ends::Any, Effect::Hold)]);
            both.remove("one");
            both.remove("one");
            prop_assert_eq!(policy(&both, flow).holds(None), flow.from == other && flow.from != flow.to);
            both.clear();
            prop_assert!(!policy(&both, flow).holds(None));
        }

        /// However the bytes are cut, a limit lets no more through in a time than its rate allows, and never holds more than
        /// its queue, plus the last piece.
        #[test]
        fn a_limit_is_kept(rate in 1_000u64..10_000_000, pieces in prop::collection::vec(1usize..4096, 1..200)) {
            let mut book = RuleBook::default();
            book.install("slow", &[rule(Ends::Any, Ends::Any, Effect::Limit { bytes_per_s: rate })]);
            let policy = policy(&book, FLOW);
            let mut now_ns = 0;
            let mut through = 0u128;
            for bytes in pieces {
                now_ns = book.room_at_ns(&policy, now_ns).unwrap_or(now_ns);
                let due_ns = book.due_ns(&policy, bytes, None, now_ns, || 0.5);
                through += bytes as u128;
                let least_ns = through * 1_000_000_000 / u128::from(rate);
                // Each piece is rounded down by less than a nanosecond.
                prop_assert!(u128::from(due_ns) + 200 >= least_ns, "{due_ns} {least_ns}");
                let longest_ns = LIMIT_QUEUE_NS + (bytes as u64) * 1_000_000_000 / rate + 1;
                prop_assert!(due_ns - now_ns <= longest_ns, "{due_ns} {now_ns}");
            }
        }

        /// A delay stays within its jitter.
        #[test]
        fn a_delay_is_what_it_says(latency in 0u64..1_000, part in 0.0f64..=1.0, drawn in 0.0f64..1.0) {
            let (latency_ns, jitter_ns) = (latency * MS, (latency as f64 * part) as u64 * MS);
            let mut book = RuleBook::default();
            book.install("late", &[rule(Ends::Any, Ends::Any, Effect::Delay { latency_ns, jitter_ns })]);
            let due_ns = book.due_ns(&policy(&book, FLOW), 1, None, 7, || drawn) - 7;
            prop_assert!(due_ns >= latency_ns - jitter_ns && due_ns <= latency_ns + jitter_ns, "{due_ns}");
        }
    }

    #[test]
    fn what_acted_is_known_by_fault_and_forgotten_with_it() {
        let mut book = RuleBook::default();
        let node = Ends::Only(End::Node(1));
        let cut = [rule(node.clone(), Ends::Any, Effect::Hold), rule(Ends::Any, node.clone(), Effect::Hold)];
        book.install("cut", &cut);
        book.install("late", &[rule(node.clone(), Ends::Any, Effect::Delay { latency_ns: 1, jitter_ns: 0 })]);
        assert_eq!(book.first_acted_ns("cut"), None);
        let policy = policy(&book, FLOW);
        book.held(&policy, None, 5);
        book.held(&policy, None, 9);
        assert_eq!((book.first_acted_ns("cut"), book.first_acted_ns("late")), (Some(5), None));
        book.install("cut", &[rule(node, Ends::Any, Effect::Hold)]);
        assert_eq!(book.first_acted_ns("cut"), None, "other rules, other effects");
    }

    #[test]
    fn delays_of_both_ends_add_up() {
        let mut book = RuleBook::default();
        let late = |ms: u64| Effect::Delay { latency_ns: ms * MS, jitter_ns: 0 };
        book.install("one", &[rule(Ends::Only(End::Node(1)), Ends::Any, late(30))]);
        book.install("two", &[rule(Ends::Any, Ends::Only(End::Node(2)), late(20))]);
        let policy = policy(&book, FLOW);
        assert_eq!(book.due_ns(&policy, 1, None, 0, || 0.5), 50 * MS);
        assert_eq!(policy.piece_bytes(), usize::MAX);
    }

    #[test]
    fn a_rule_about_apis_is_about_what_begins_with_them_and_nothing_else() {
        let produce = Apis::named(&["Produce".to_owned()]).unwrap();
        let only = |effect| Rule { apis: Some(produce), ..rule(Ends::Any, Ends::Any, effect) };
        let mut book = RuleBook::default();
        let late = Effect::Delay { latency_ns: MS, jitter_ns: 0 };
        book.install("some", &[only(Effect::Hold), only(Effect::Reset), only(late)]);
        let policy = policy(&book, FLOW);
        assert!(policy.is_selective());
        for (api, is_about) in [(Some(0), true), (Some(1), false), (None, false)] {
            assert_eq!((policy.holds(api), policy.resets(api)), (is_about, is_about), "{api:?}");
            assert_eq!(book.due_ns(&policy, 1, api, 0, || 0.5), if is_about { MS } else { 0 });
        }
        book.held(&policy, Some(1), 1);
        book.was_reset(&policy, None, 2);
        assert_eq!(book.first_acted_ns("some"), Some(0), "when Produce was late");
    }

    #[test]
    fn only_what_was_open_before_is_lost() {
        let mut book = RuleBook::default();
        let old = book.next_id();
        book.install("lost", &[rule(Ends::Any, Ends::Any, Effect::HalfOpen)]);
        let new = book.next_id();
        let loses = |next| {
            let mut policy = Policy::default();
            book.refresh(&mut policy, FLOW, next);
            policy.loses()
        };
        assert_eq!((loses(old), loses(new)), (true, false));
    }

    #[test]
    fn rules_as_the_supervisor_reads_them() {
        let rule = rule(Ends::Any, Ends::Only(End::Node(2)), Effect::Limit { bytes_per_s: 9 });
        let text = serde_json::to_string(&rule).unwrap();
        let expected = r#"{"links":{"clients":true,"brokers":true,"controllers":true},"from":"any","to":{"only":{"node":2}},"effect":{"limit":{"bytes_per_s":9}}}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule);
    }
}
