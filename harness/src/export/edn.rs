//! Operations as lines of EDN, in the order of time, each by a process that does one thing at a time.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

use gauntlet_verify::StreamKey;

use super::Written;
use super::collect::{At, Collected, Ending, Operation, What};
use super::window::Window;

/// A partition as a reader saw it. Two readers of one partition are two keys, with every send in both.
#[derive(Debug)]
pub(super) struct Key {
    /// `orders-3 as reader 0 read it`
    name: String,
    offsets: Range<i64>,
    /// The offset that is written as 0.
    base: i64,
}

impl Key {
    pub(super) fn of(at: At, window: &Window, offsets: &Range<i64>) -> Self {
        let name = format!("{}-{} as reader {} read it", window.topic, window.partition, at.0);
        Key { name, offsets: offsets.clone(), base: window.base(offsets) }
    }
}

/// Writes what was collected. Times in it are nanoseconds since t = 0.
pub(super) fn write(
    mut collected: Collected,
    keys: &BTreeMap<At, Key>,
    zero_ns: u64,
    out: &mut impl Write,
) -> io::Result<Written> {
    let keys: BTreeMap<At, (usize, &Key)> =
        keys.iter().enumerate().map(|(number, (at, key))| (*at, (number, key))).collect();
    write_names(&collected, &keys, out)?;
    collected.operations.sort_by_key(|operation| (operation.began_ns, operation.ended_ns));
    let processes = processes_of(&collected.operations);
    let mut edges: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * collected.operations.len());
    for (index, operation) in collected.operations.iter().enumerate() {
        edges.push((operation.began_ns, false, index));
        edges.push((operation.ended_ns, true, index));
    }
    edges.sort_unstable();
    for (line, (ns, is_end, index)) in edges.into_iter().enumerate() {
        let operation = &collected.operations[index];
        let (process, (key, Key { base, .. })) = (processes[index], keys[&operation.at]);
        let kind = match (is_end, operation.ending) {
            (false, _) => "invoke",
            (true, Ending::Ok) => "ok",
            (true, Ending::Fail) => "fail",
            (true, Ending::Info) => "info",
        };
        let time = i128::from(ns) - i128::from(zero_ns);
        write!(out, "{{:index {line}, :time {time}, :type :{kind}, :process {process}, ")?;
        write_what(&operation.what, key, *base, is_end && operation.ending == Ending::Ok, out)?;
        out.write_all(b"}\n")?;
    }
    out.flush()?;
    let Collected { operations, sent, read, left_out, unexplained, elsewhere, .. } = collected;
    Ok(Written { operations: operations.len() as u64, sent, read, left_out, unexplained, elsewhere })
}

/// Which partition is which key, and whose records have which values.
fn write_names(
    collected: &Collected,
    keys: &BTreeMap<At, (usize, &Key)>,
    out: &mut impl Write,
) -> io::Result<()> {
    for (number, Key { name, offsets, base }) in keys.values() {
        write!(out, "; key {number}: {name}, offsets from {}", offsets.start)?;
        if offsets.end < i64::MAX {
            write!(out, " to {}", offsets.end - 1)?;
        }
        writeln!(out, "; offset 0 here is {base} there")?;
    }
    let mut streams: Vec<(u64, StreamKey)> = collected.streams.iter().map(|(s, n)| (*n, *s)).collect();
    streams.sort_unstable();
    for (number, StreamKey { producer, incarnation }) in streams {
        let first = Collected::first_value(number);
        writeln!(out, "; values from {first}: pseq 0 of producer {producer} incarnation {incarnation}")?;
    }
    Ok(())
}

fn write_what(what: &What, key: usize, origin: i64, is_ok: bool, out: &mut impl Write) -> io::Result<()> {
    match what {
        What::Assign => write!(out, ":f :assign, :value [{key}]"),
        What::Unassign => out.write_all(b":f :assign, :value []"),
        What::Poll(_) if !is_ok => write!(out, ":f :poll, :value [[:poll]]"),
        What::Poll(runs) => {
            write!(out, ":f :poll, :value [[:poll {{{key} [")?;
            let records =
                runs.iter().flat_map(|(offset, value, count)| (*offset..).zip(*value..value + count));
            for (index, (offset, value)) in records.enumerate() {
                let space = if index == 0 { "" } else { " " };
                write!(out, "{space}[{} {value}]", offset - origin)?;
            }
            out.write_all(b"]}]]")
        }
        What::Send { values, base, .. } => {
            out.write_all(b":f :send, :value [")?;
            for (index, value) in values.clone().enumerate() {
                let space = if index == 0 { "" } else { " " };
                match base.filter(|_| is_ok) {
                    Some(base) => {
                        let offset = base - origin + index as i64;
                        write!(out, "{space}[:send {key} [{offset} {value}]]")?;
                    }
                    None if is_ok => write!(out, "{space}[:send {key} [nil {value}]]")?,
                    None => write!(out, "{space}[:send {key} {value}]")?,
                }
            }
            out.write_all(b"]")
        }
    }
}

/// Who does what: a reader of a partition all of its own, and a producer as many things at once as it had batches in flight. One whose
/// operation never ended for sure does nothing any more. `operations` are in the order of their begin.
fn processes_of(operations: &[Operation]) -> Vec<usize> {
    let mut readers: BTreeMap<At, usize> = BTreeMap::new();
    let mut producers: BTreeMap<StreamKey, Vec<(usize, u64)>> = BTreeMap::new();
    let mut next = 0;
    let mut new = || {
        next += 1;
        next - 1
    };
    let mut processes = Vec::with_capacity(operations.len());
    for operation in operations {
        let What::Send { stream, .. } = &operation.what else {
            processes.push(*readers.entry(operation.at).or_insert_with(&mut new));
            continue;
        };
        let free = producers.entry(*stream).or_default();
        let found = free.iter().position(|(_, until_ns)| *until_ns < operation.began_ns);
        let process = found.map_or_else(&mut new, |at| free.swap_remove(at).0);
        if operation.ending != Ending::Info {
            free.push((process, operation.ended_ns));
        }
        processes.push(process);
    }
    processes
}
