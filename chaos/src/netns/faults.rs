//! The faults that are in force in a network: put into the kernel, counted there, and taken out again.

use std::collections::BTreeMap;

use serde_json::Value;

use super::delay_line::DelayLine;
use super::enter::Namespace;
use super::filter::{CLASS, Table, tables};
use super::layout::Network;
use super::tools::{Tool, ToolError, run};
use crate::clock::monotonic_ns;
use crate::proxy::Rule;

/// What a shaper may send at once, bytes; a larger packet goes out whole, and those behind it wait for it. As little as a frame, so that
/// what is limited from the first byte on takes as long as it says.
const BURST_BYTES_MIN: u64 = 1600;
/// What waits at a shaper at least; more is lost, as in a switch. Bytes.
const QUEUE_BYTES_MIN: u64 = 256 << 10;

/// All faults that are in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    in_force: BTreeMap<String, InForce>,
    /// How many there ever were: each has tables of its own.
    count: u32,
}

/// One of them.
#[derive(Debug, Default)]
struct InForce {
    tables: Vec<Table>,
    /// What its tables lead into; without the tables they are of no use, and end.
    lines: Vec<DelayLine>,
    first_acted_ns: Option<u64>,
}

impl Faults {
    /// Puts `rules` into force for `fault`, in place of those it had; gives the time from which on they are, CLOCK_MONOTONIC. On an error
    /// none of them is.
    pub(crate) fn install(&mut self, network: &Network, fault: &str, rules: &[Rule]) -> Result<u64, String> {
        self.remove(fault)?;
        self.count += 1;
        let tables = tables(network, rules, self.count, &self.lines()).map_err(|error| error.to_string())?;
        self.refuse_shared_shapers(&tables)?;
        // First, so that what is there is known when something fails half-way.
        let in_force = self.in_force.entry(fault.to_owned()).or_default();
        in_force.tables.clone_from(&tables);
        let installed = tables.iter().try_for_each(|table| {
            in_force.lines.extend(table.plug_in_line()?);
            table.install().map_err(|error| error.to_string())
        });
        if let Err(error) = installed {
            let left = self.remove(fault).err().map_or_else(String::new, |left| format!("; {left}"));
            return Err(format!("{error}{left}"));
        }
        Ok(monotonic_ns())
    }

    /// The names of all delay lines, in no particular order.
    fn lines(&self) -> Vec<String> {
        let tables = self.in_force.values().flat_map(|in_force| &in_force.tables);
        tables.filter_map(|table| Some(table.line.as_ref()?.name.clone())).collect()
    }

    /// Takes the rules of `fault` out of force, if it has any; gives the time.
    pub(crate) fn remove(&mut self, fault: &str) -> Result<u64, String> {
        let tables = self.in_force.get(fault).map(|in_force| in_force.tables.clone()).unwrap_or_default();
        let problems: Vec<String> =
            tables.iter().filter_map(|table| table.remove().err()).map(|error| error.to_string()).collect();
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        self.in_force.remove(fault);
        Ok(monotonic_ns())
    }

    /// Takes everything out of force; gives what could not be.
    pub(crate) fn remove_all(&mut self) -> Vec<String> {
        let faults: Vec<String> = self.in_force.keys().cloned().collect();
        faults.iter().filter_map(|fault| self.remove(fault).err()).collect()
    }

    /// When a rule of `fault` was first seen to have counted a packet; CLOCK_MONOTONIC, nanoseconds.
    pub(crate) fn first_acted_ns(&mut self, fault: &str) -> Result<Option<u64>, String> {
        let Some(in_force) = self.in_force.get_mut(fault) else { return Ok(None) };
        if in_force.first_acted_ns.is_none() {
            for table in &in_force.tables {
                if table.packets().map_err(|error| error.to_string())? > 0 {
                    in_force.first_acted_ns = Some(monotonic_ns());
                    break;
                }
            }
        }
        Ok(in_force.first_acted_ns)
    }

    /// An interface has one shaper.
    fn refuse_shared_shapers(&self, tables: &[Table]) -> Result<(), String> {
        let shaped = |table: &Table| Some((table.namespace.clone(), table.limit.as_ref()?.0.clone()));
        let others =
            self.in_force.iter().flat_map(|(fault, one)| one.tables.iter().map(move |table| (fault, table)));
        for (fault, other) in others {
            if shaped(other).is_some() && tables.iter().any(|table| shaped(table) == shaped(other)) {
                return Err(format!("fault {fault} limits the rate there already"));
            }
        }
        Ok(())
    }
}

impl Table {
    fn place(&self) -> Namespace {
        Namespace::Named(self.namespace.clone())
    }

    /// Its delay line, if it leads into one.
    fn plug_in_line(&self) -> Result<Option<DelayLine>, String> {
        self.line.as_ref().map(|line| DelayLine::plug_in(&self.namespace, line)).transpose()
    }

    fn install(&self) -> Result<(), ToolError> {
        if let Some((interface, bytes_per_s)) = &self.limit {
            // At high rates as much as comes in between two looks of its timer.
            let burst = BURST_BYTES_MIN.max(bytes_per_s / 100);
            let queue = QUEUE_BYTES_MIN.max(bytes_per_s / 2);
            // What has no class is not shaped.
            self.tc(&format!("qdisc add dev {interface} root handle 1: htb default 0"))?;
            self.tc(&format!(
                "class add dev {interface} parent 1: classid {CLASS} htb rate {}bit burst {burst} cburst {burst}",
                bytes_per_s.saturating_mul(8)
            ))?;
            self.tc(&format!("qdisc add dev {interface} parent {CLASS} bfifo limit {queue}"))?;
        }
        run(Tool::Nft, Some(&self.place()), &["-f", "-"], &self.text).map(|_| ())
    }

    /// Harmless if it is not there, or only in part.
    fn remove(&self) -> Result<(), ToolError> {
        let Self { family, name, .. } = self;
        // nft before 1.0.7 can't delete what may not be there.
        let text = format!("add table {family} {name}\ndelete table {family} {name}\n");
        run(Tool::Nft, Some(&self.place()), &["-f", "-"], &text)?;
        if let Some((interface, _)) = &self.limit
            && self.tc(&format!("qdisc show dev {interface} root"))?.contains("htb")
        {
            self.tc(&format!("qdisc del dev {interface} root"))?;
        }
        Ok(())
    }

    fn tc(&self, args: &str) -> Result<String, ToolError> {
        run(Tool::Tc, Some(&self.place()), &args.split(' ').collect::<Vec<_>>(), "")
    }

    /// How many packets its rules were about.
    fn packets(&self) -> Result<u64, ToolError> {
        let listed =
            run(Tool::Nft, Some(&self.place()), &["-j", "list", "table", self.family, &self.name], "")?;
        Ok(serde_json::from_str(&listed).map_or(0, |listed| counted(&listed)))
    }
}

/// The packets of all counters in what `nft -j` lists.
fn counted(listed: &Value) -> u64 {
    match listed {
        Value::Object(members) => {
            let own = members.get("counter").and_then(|counter| counter["packets"].as_u64()).unwrap_or(0);
            own + members.values().map(counted).sum::<u64>()
        }
        Value::Array(items) => items.iter().map(counted).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_counters_of_a_table_are_counted() {
        let listed = serde_json::from_str(
            r#"{"nftables": [{"metainfo": {"json_schema_version": 1}}, {"table": {"family": "inet", "name": "x"}},
                {"rule": {"expr": [{"match": {"right": {"set": [9092]}}}, {"counter": {"packets": 3, "bytes": 180}}, {"drop": null}]}},
                {"rule": {"expr": [{"counter": {"packets": 4, "bytes": 240}}, {"drop": null}]}}]}"#,
        )
        .unwrap();
        assert_eq!(counted(&listed), 7);
    }
}
