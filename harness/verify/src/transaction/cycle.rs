//! **Cyclic information flow** (G1c): transactions that read each other's writes in a circle.
//!
//! T2 depends on T1 if it was given a record that T1 wrote (a wr edge), and both are committed, or may be. At read_committed a
//! transaction sees writes of such only as have ended before, so no transaction can depend on itself, through others or not. Edges between
//! writes (ww) are left out: Kafka isolates no writes from each other, so those make circles in healthy logs. One circle counts once.
//!
//! This is for a side workload of some hundred transactions a second whose transactions poll as well as send. What is told of one: its
//! begin, each record that it writes, before it is sent, each that it was given, then its end.
//!
//! **How.** Only edges into transactions that still run can be added. So one that has ended and depends on nobody that is held can't
//! become part of a circle: it is retired, and with it the edges out of it, which may set others free. All of its ancestors have
//! then ended, with all that they ran beside. What has ended and is held is searched for circles (Tarjan's strongly connected
//! components, without recursion) whenever it has doubled, and in the end; each component found is reported with a shortest
//! circle in it, and dissolved. Held are thus: transactions that run, and those that depend, over whatever others, on one that runs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::finding::FindingClass;
use crate::found::{Found, Place};
use crate::outcome::StreamKey;
use crate::witness::Witness;

use super::TransactionKey;

/// So many ended transactions are not worth a search.
const SEARCH_MIN: usize = 64;

/// One record, by its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The partition it is in.
    pub place: Place,
    /// Who wrote it.
    pub stream: StreamKey,
    /// Its sequence number.
    pub pseq: u64,
}

/// A transaction that may become part of a circle.
#[derive(Debug, Default)]
struct Node {
    ended: bool,
    writes: Vec<RecordKey>,
    /// Those that depend on it, with the record that says so.
    readers: BTreeMap<TransactionKey, RecordKey>,
    /// Those it depends on.
    writers: BTreeSet<TransactionKey>,
}

/// The search for circles.
#[derive(Debug)]
pub struct Cycles {
    run: u32,
    topics: Vec<String>,
    nodes: BTreeMap<TransactionKey, Node>,
    writer_of: BTreeMap<RecordKey, TransactionKey>,
    /// How many ended transactions are held, and how many make the next search worth it.
    ended: usize,
    search_at: usize,
    found: Found,
}

impl Cycles {
    /// A search that knows of nothing. `topics` are the names that [`Place::topic`] is an index into.
    pub fn new(run: u32, topics: Vec<String>, witness_limit: usize) -> Self {
        Self {
            run,
            topics,
            nodes: BTreeMap::new(),
            writer_of: BTreeMap::new(),
            ended: 0,
            search_at: SEARCH_MIN,
            found: Found::new(witness_limit),
        }
    }

    /// How many transactions are held.
    pub fn held(&self) -> usize {
        self.nodes.len()
    }

    /// A transaction begins.
    pub fn began(&mut self, key: TransactionKey) {
        self.nodes.entry(key).or_default();
    }

    /// It is about to write a record.
    pub fn wrote(&mut self, key: TransactionKey, record: RecordKey) {
        if let Some(node) = self.nodes.get_mut(&key).filter(|node| !node.ended) {
            node.writes.push(record);
            self.writer_of.insert(record, key);
        }
    }

    /// It was given a record.
    pub fn read(&mut self, key: TransactionKey, record: RecordKey) {
        let Some(writer) = self.writer_of.get(&record).copied().filter(|writer| *writer != key) else {
            return;
        };
        if self.nodes.get(&key).is_none_or(|node| node.ended) {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&writer) {
            node.readers.entry(key).or_insert(record);
        }
        if let Some(node) = self.nodes.get_mut(&key) {
            node.writers.insert(writer);
        }
    }

    /// It is over: aborted, so that nothing depends on it, or committed for all that is known.
    pub fn ended(&mut self, key: TransactionKey, aborted: bool) {
        let Some(node) = self.nodes.get_mut(&key).filter(|node| !node.ended) else { return };
        node.ended = true;
        self.ended += 1;
        if aborted {
            self.remove(key);
        } else {
            self.retire(key);
        }
        if self.ended >= self.search_at {
            self.search();
            self.search_at = (2 * self.ended).max(SEARCH_MIN);
        }
    }

    /// Looks at all that is left and says what was found.
    pub fn finish(mut self) -> Found {
        self.search();
        self.found
    }

    /// Forgets a transaction if it has ended and depends on nobody, then those that depended on nobody else.
    fn retire(&mut self, key: TransactionKey) {
        let is_free = |node: &Node| node.ended && node.writers.is_empty();
        if self.nodes.get(&key).is_some_and(is_free) {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: TransactionKey) {
        let mut free = vec![key];
        while let Some(key) = free.pop() {
            let Some(node) = self.nodes.remove(&key) else { continue };
            self.ended -= usize::from(node.ended);
            for record in &node.writes {
                self.writer_of.remove(record);
            }
            for writer in &node.writers {
                if let Some(writer) = self.nodes.get_mut(writer) {
                    writer.readers.remove(&key);
                }
            }
            for reader in node.readers.keys() {
                if let Some(other) = self.nodes.get_mut(reader) {
                    other.writers.remove(&key);
                    if other.ended && other.writers.is_empty() {
                        free.push(*reader);
                    }
                }
            }
        }
    }

    /// Reports each strongly connected component of what has ended, and dissolves it.
    fn search(&mut self) {
        for component in self.components() {
            let circle = self.shortest_circle(&component);
            self.note(&circle);
            component.into_iter().for_each(|key| self.remove(key));
        }
    }

    /// Components of more than one transaction (Tarjan 1972), with a stack of our own instead of the thread's.
    fn components(&self) -> Vec<Vec<TransactionKey>> {
        let mut search = Tarjan::new(self);
        for (key, node) in &self.nodes {
            if node.ended && !search.index.contains_key(key) {
                search.visit(*key);
            }
        }
        search.components
    }

    fn readers_that_ended(&self, key: TransactionKey) -> impl Iterator<Item = TransactionKey> + '_ {
        let readers = self.nodes.get(&key).into_iter().flat_map(|node| node.readers.keys());
        readers.copied().filter(|reader| self.nodes.get(reader).is_some_and(|node| node.ended))
    }

    /// A shortest circle through the least transaction of a component, by breadth-first search.
    fn shortest_circle(&self, component: &[TransactionKey]) -> Vec<TransactionKey> {
        let members: BTreeSet<TransactionKey> = component.iter().copied().collect();
        let Some(first) = members.first().copied() else { return Vec::new() };
        let mut came_from: BTreeMap<TransactionKey, TransactionKey> = BTreeMap::new();
        let mut queue = VecDeque::from([first]);
        while let Some(at) = queue.pop_front() {
            for next in self.readers_that_ended(at).filter(|next| members.contains(next)) {
                if next == first {
                    return path_back(&came_from, at);
                }
                if let Entry::Vacant(entry) = came_from.entry(next) {
                    entry.insert(at);
                    queue.push_back(next);
                }
            }
        }
        component.to_vec()
    }

    fn note(&mut self, circle: &[TransactionKey]) {
        let edges = circle.iter().zip(circle.iter().cycle().skip(1));
        let records: Vec<RecordKey> = edges
            .filter_map(|(writer, reader)| self.nodes.get(writer)?.readers.get(reader).copied())
            .collect();
        let (Some(first), Some(record)) = (circle.first(), records.first()) else { return };
        let names: Vec<String> = circle
            .iter()
            .chain([first])
            .map(|key| format!("{}/{}/{}", key.stream.producer, key.stream.incarnation, key.number))
            .collect();
        let topic = self.topics.get(usize::from(record.place.topic)).cloned().unwrap_or_default();
        let witness = Witness {
            topic,
            partition: record.place.partition,
            read_offset: None,
            acked_offset: None,
            run: self.run,
            stream: Some(record.stream),
            first_pseq: Some(record.pseq),
            count: 1,
            batch: None,
            detail: Some(format!(
                "producer/incarnation/transaction, each read by the next: {}",
                names.join(" -> ")
            )),
            blame: None,
        };
        self.found.note(FindingClass::CyclicInformationFlow, 1, None, || witness);
    }
}

/// The way that a breadth-first search came to `at`, from its begin.
fn path_back(
    came_from: &BTreeMap<TransactionKey, TransactionKey>,
    at: TransactionKey,
) -> Vec<TransactionKey> {
    let mut path = vec![at];
    let mut at = at;
    while let Some(before) = came_from.get(&at) {
        path.push(*before);
        at = *before;
    }
    path.reverse();
    path
}

struct Tarjan<'a> {
    cycles: &'a Cycles,
    /// In which order transactions were come upon, and the earliest that each leads back to.
    index: BTreeMap<TransactionKey, usize>,
    low: BTreeMap<TransactionKey, usize>,
    /// Those whose component is not known yet.
    stack: Vec<TransactionKey>,
    on_stack: BTreeSet<TransactionKey>,
    components: Vec<Vec<TransactionKey>>,
}

impl<'a> Tarjan<'a> {
    fn new(cycles: &'a Cycles) -> Self {
        Self {
            cycles,
            index: BTreeMap::new(),
            low: BTreeMap::new(),
            stack: Vec::new(),
            on_stack: BTreeSet::new(),
            components: Vec::new(),
        }
    }

    fn visit(&mut self, root: TransactionKey) {
        let mut work = vec![(root, self.enter(root))];
        while let Some((at, left)) = work.last_mut() {
            let at = *at;
            let Some(next) = left.pop() else {
                work.pop();
                if let Some((parent, _)) = work.last() {
                    let low = self.low[&at].min(self.low[parent]);
                    self.low.insert(*parent, low);
                }
                self.leave(at);
                continue;
            };
            if let Some(seen) = self.index.get(&next).copied() {
                if self.on_stack.contains(&next) {
                    let low = self.low[&at].min(seen);
                    self.low.insert(at, low);
                }
            } else {
                let left = self.enter(next);
                work.push((next, left));
            }
        }
    }

    /// Gives a transaction its number, and those it leads to.
    fn enter(&mut self, key: TransactionKey) -> Vec<TransactionKey> {
        let number = self.index.len();
        self.index.insert(key, number);
        self.low.insert(key, number);
        self.stack.push(key);
        self.on_stack.insert(key);
        self.cycles.readers_that_ended(key).collect()
    }

    /// Takes a component off the stack, if this is where it was come upon.
    fn leave(&mut self, key: TransactionKey) {
        if self.low[&key] != self.index[&key] {
            return;
        }
        let at = self.stack.iter().rposition(|other| *other == key).unwrap_or(0);
        let component = self.stack.split_off(at);
        for member in &component {
            self.on_stack.remove(member);
        }
        if component.len() > 1 {
            self.components.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(number: u32) -> TransactionKey {
        TransactionKey { stream: StreamKey { producer: 0, incarnation: 0 }, number }
    }

    fn record(writer: u32) -> RecordKey {
        let place = Place { topic: 0, partition: 0 };
        RecordKey { place, stream: StreamKey { producer: 0, incarnation: 0 }, pseq: u64::from(writer) }
    }

    fn cycles() -> Cycles {
        Cycles::new(1, vec!["t".to_owned()], 4)
    }

    /// Transactions that all run at once, each of which reads what others wrote.
    fn run(count: u32, reads: &[(u32, u32)], aborted: &[u32]) -> Found {
        let mut cycles = cycles();
        for number in 0..count {
            cycles.began(transaction(number));
            cycles.wrote(transaction(number), record(number));
        }
        for (reader, writer) in reads {
            cycles.read(transaction(*reader), record(*writer));
        }
        for number in 0..count {
            cycles.ended(transaction(number), aborted.contains(&number));
        }
        cycles.finish()
    }

    #[test]
    fn a_circle_is_found_with_its_way() {
        let found = run(4, &[(1, 0), (2, 1), (0, 2), (3, 2)], &[]);
        assert_eq!(found.count(FindingClass::CyclicInformationFlow), 1);
        let witness = &found.evidence.get(FindingClass::CyclicInformationFlow).unwrap().first()[0];
        assert!(witness.to_string().contains("0/0/0 -> 0/0/1 -> 0/0/2 -> 0/0/0"), "{witness}");
    }

    #[test]
    fn two_circles_are_two() {
        let found = run(5, &[(1, 0), (0, 1), (2, 1), (3, 2), (4, 3), (2, 4)], &[]);
        assert_eq!(found.count(FindingClass::CyclicInformationFlow), 2);
    }

    #[test]
    fn what_was_aborted_closes_no_circle() {
        assert!(run(3, &[(1, 0), (2, 1), (0, 2)], &[1]).is_empty());
    }

    #[test]
    fn reading_ones_own_writes_is_no_circle() {
        assert!(run(2, &[(0, 0), (1, 0)], &[]).is_empty());
    }

    #[test]
    fn only_what_depends_on_a_running_one_is_held() {
        let mut cycles = cycles();
        cycles.began(transaction(0));
        cycles.wrote(transaction(0), record(0));
        for number in 1..10_000 {
            cycles.began(transaction(number));
            cycles.wrote(transaction(number), record(number));
            if number % 100 == 0 {
                cycles.read(transaction(number), record(0));
            } else if number > 1 {
                cycles.read(transaction(number), record(number - 1));
            }
            cycles.ended(transaction(number), false);
        }
        assert!(cycles.held() > 1);
        cycles.ended(transaction(0), false);
        assert_eq!((cycles.held(), cycles.writer_of.len()), (0, 0));
        assert!(cycles.finish().is_empty());
    }
}
