//! What the terminal shows: the plan first, a line per second, the verdict first at the end.

mod live;
mod recheck;
mod result;
mod search;
mod sweep;

use std::io::Write;

use gauntlet_chaos::{FaultAction, FaultSpec, Isolation, Jvm, KafkaSource, LocalSpec, Operation};
use gauntlet_reports::quantity::grouped;

pub(super) use live::Printer;
pub(super) use recheck::rechecked;
pub(super) use result::{files, result};
pub(super) use search::{
    search_files, search_header, search_plan, search_result, search_trial, search_trial_begins,
};
pub(super) use sweep::{sweep_begin, sweep_files, sweep_plan, sweep_result, sweep_run};

use gauntlet_wire::{Permission, Resource};

use crate::fault_words;
use crate::plan::{ClusterPlan, DriverPlan, Lifecycle, PacePlan, Plan, Planned, ReadWindow, WarmupPlan};
use crate::run::guards::rule;
use crate::schedule::Arrival;
use crate::sizes::SizePlan;
use crate::units::Bytes;

fn seconds(d: std::time::Duration) -> String {
    crate::units::Duration::from_ns(d.as_nanos() as u64).to_string()
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Two lines on what is about to happen.
pub(super) fn header(out: &mut impl Write, planned: &Planned) -> std::io::Result<()> {
    let plan = &planned.plan;
    writeln!(
        out,
        "gauntlet {} · {} · run {} · seed {}",
        env!("CARGO_PKG_VERSION"),
        plan.name,
        plan.run_id,
        plan.seed
    )?;
    let load = plan.load.paces.iter().map(pace).collect::<Vec<_>>().join(" + ");
    let duration = plan.load.duration.map_or_else(String::new, |d| format!(", {}", seconds(d)));
    let warmup = match plan.load.warmup {
        WarmupPlan::For(d) => seconds(d),
        WarmupPlan::UntilStable { min, max } => format!("{} to {}", seconds(min), seconds(max)),
    };
    writeln!(
        out,
        "plan   {load}{duration} (+{warmup} warm-up, {} drain) · {} · {} expectations · worst case {}",
        seconds(plan.load.drain),
        match planned.faults.len() {
            1 => "1 fault".to_owned(),
            count => format!("{count} faults"),
        },
        planned.expectations.len(),
        seconds(planned.needs.wall),
    )?;
    match &plan.verify {
        Some(verify) => writeln!(out, "judged {}", crate::run::guarantee_in_words(&verify.guarantee))?,
        None => writeln!(out, "judged NOT VERIFIED: `verify` is off")?,
    }
    planned.warnings.iter().try_for_each(|warning| writeln!(out, "warning {warning}"))
}

/// A load in few words.
fn pace(pace: &PacePlan) -> String {
    let (curve, how) = match pace {
        PacePlan::Unlimited { slots: Some(slots), .. } => {
            return format!("as fast as the brokers take it (closed model, {slots} under way per producer)");
        }
        PacePlan::Unlimited { .. } => return "as fast as the brokers take it (closed model)".to_owned(),
        PacePlan::Open { curve, arrival: Arrival::Uniform } => (curve, String::new()),
        PacePlan::Open { curve, arrival: Arrival::Poisson } => (curve, ", Poisson arrivals".to_owned()),
        PacePlan::Replay { trace, curve } => {
            let records = grouped(trace.records() as f64);
            (curve, format!(", {records} records as recorded, {} keys", grouped(trace.key_count() as f64)))
        }
    };
    let rates = || curve.segments().iter().flat_map(|s| [s.from_per_s, s.to_per_s]);
    match pace.constant_per_s() {
        Some(per_s) => format!("{} msg/s constant{how}", grouped(per_s as f64)),
        None => format!(
            "{} to {} msg/s{how}",
            grouped(rates().min().unwrap_or(0) as f64),
            grouped(rates().max().unwrap_or(0) as f64)
        ),
    }
}

/// Who is started later, in words.
fn joining(spec: &LocalSpec) -> String {
    let groups = [(spec.spare_brokers, "broker"), (spec.spare_controllers, "controller")];
    let words: Vec<String> = groups
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if words.is_empty() { String::new() } else { format!(" (and {} added later)", words.join(", ")) }
}

/// Everything else that `gauntlet plan` shows.
pub(super) fn plan(out: &mut impl Write, planned: &Planned) -> std::io::Result<()> {
    let (plan, needs) = (&planned.plan, &planned.needs);
    match &plan.cluster {
        ClusterPlan::Local(spec) => writeln!(
            out,
            "brokers {}{} {}, Kafka {}{}, jvm {}, heap {}{}{}{}{}{}",
            spec.brokers,
            joining(spec),
            if matches!(spec.kafka, KafkaSource::Image(_)) { "in containers" } else { "local" },
            spec.kafka,
            spec.upgrade_to.as_ref().map_or_else(String::new, |to| format!(" (upgraded to {to})")),
            jvm(spec.jvm),
            Bytes::new(spec.heap_bytes()),
            spec.disk_bytes.map_or_else(String::new, |bytes| format!(", disk {} each", Bytes::new(bytes))),
            spec.security.map_or_else(String::new, |s| format!(", {}", s.protocol.name())),
            if spec.isolation == Isolation::Netns { ", each in a network namespace" } else { "" },
            if spec.proxied { ", behind a proxy for faults of the network" } else { "" },
            if spec.shimmed { ", with a shim for faults of disk and clock" } else { "" }
        )?,
        ClusterPlan::Bootstrap(foreign) => {
            writeln!(out, "brokers {}, {}", foreign.servers.join(", "), foreign.security.protocol())?;
        }
    }
    permissions(out, plan, &planned.faults)?;
    for topic in &plan.topics {
        writeln!(
            out,
            "topic   {} · {} partitions · RF {} · {}",
            topic.name,
            topic.partitions,
            topic.replication_factor.map_or("min(3, brokers)".to_owned(), |rf| rf.to_string()),
            lifecycle(topic.lifecycle)
        )?;
        for (key, value) in &topic.config {
            writeln!(out, "          {key}={value}")?;
        }
    }
    let senders = plan.producers.iter().map(|block| ("producers", block.topic, &block.driver));
    let readers = plan.readers.iter().map(|block| ("consumers", block.topic, &block.driver));
    for (who, topic, driver) in senders.chain(readers) {
        let who = format!("{who} of {}", plan.topics[topic].name);
        rdkafka(out, &who, driver)?;
        external(out, &who, driver)?;
    }
    for block in plan.readers.iter().filter(|block| block.window != ReadWindow::default()) {
        let from = block.window.start.map_or_else(String::new, |start| format!(" from {}", seconds(start)));
        let until = block.window.end.map_or_else(String::new, |end| format!(" until {}", seconds(end)));
        let topic = &plan.topics[block.topic].name;
        writeln!(out, "consumers of {topic} read{from}{until}, and what is left after the load")?;
    }
    if let Some(records) = needs.records {
        let sizes = plan.producers.iter().map(|b| &b.records.sizes);
        let (min, max) = (sizes.clone().map(SizePlan::min).min(), sizes.map(SizePlan::max).max());
        let bytes = match (min.unwrap_or(0), max.unwrap_or(0)) {
            (min, max) if min == max => format!("{max} bytes each"),
            (min, max) => format!("{min} to {max} bytes each, {:.0} on average", plan.value_bytes_mean()),
        };
        writeln!(out, "records {} at the most, {bytes}", grouped(records as f64))?;
    }
    let needed = needs.disk_bytes.map_or("unknown".to_owned(), gigabytes);
    let free = needs.disk_free_bytes.map_or("unknown".to_owned(), gigabytes);
    writeln!(out, "disk    {needed} on all replicas, {free} free; evidence: {}", plan.evidence)?;
    writeln!(out, "memory  {} MiB of gauntlet's own at the most", needs.memory_bytes >> 20)?;
    if plan.load.drops {
        writeln!(
            out,
            "stall   what finds no room in `buffer.memory` is dropped, and counted as load.dropped"
        )?;
    } else {
        writeln!(
            out,
            "stall   a broker may stall for up to {} and be caught up with in the drain",
            seconds(needs.stall)
        )?;
    }
    writeln!(out, "timeline")?;
    writeln!(out, "  {:>9}  warm-up begins", "")?;
    writeln!(out, "  {:>9}  t = 0", "0s")?;
    for (at, told) in fault_times(&planned.faults) {
        writeln!(out, "  {:>9}  {told}", at.map(seconds).unwrap_or_default())?;
    }
    if let Some(duration) = plan.load.duration {
        writeln!(out, "  {:>9}  load ends", seconds(duration))?;
    }
    writeln!(out, "expectations")?;
    for e in &planned.expectations {
        let builtin = if e.builtin { " (built in)" } else { "" };
        let during = if e.during == "all" { String::new() } else { format!(" during {}", e.during) };
        writeln!(out, "  {}{during}{builtin}", e.rule)?;
    }
    plan.guards.iter().try_for_each(|guard| writeln!(out, "  {}", rule(guard)))
}

/// What librdkafka is set to, where it is the driver. Brokers, `client.id` and secrets are set when the run begins.
fn rdkafka(out: &mut impl Write, who: &str, driver: &DriverPlan) -> std::io::Result<()> {
    let Some(settings) = driver.rdkafka() else { return Ok(()) };
    let version = crate::rdkafka::version().map_or_else(String::new, |version| format!(" {version}"));
    writeln!(out, "driver  {who} · librdkafka{version}, set to")?;
    for setting in settings {
        writeln!(out, "          {}={}", setting.name, setting.value)?;
    }
    Ok(())
}

/// What a program is started as and configured by, where that is the driver; the rest it is told when the run begins.
fn external(out: &mut impl Write, who: &str, driver: &DriverPlan) -> std::io::Result<()> {
    let Some(external) = driver.external() else { return Ok(()) };
    writeln!(out, "driver  {who} · external: {}, told", external.command.join(" "))?;
    for (name, value) in &external.settings {
        writeln!(out, "          {name}={value}")?;
    }
    Ok(())
}

/// The ACLs that a run needs, as options of Kafka's own tool; nothing where no authorizer can ask for them.
fn permissions(out: &mut impl Write, plan: &Plan, faults: &[FaultSpec]) -> std::io::Result<()> {
    let principal = match &plan.cluster {
        ClusterPlan::Local(spec) if !spec.security.is_some_and(|s| s.acls) => return Ok(()),
        ClusterPlan::Local(_) => "the user of the load is granted".to_owned(),
        ClusterPlan::Bootstrap(foreign) => {
            format!("{} needs, where brokers ask for ACLs", foreign.security.principal())
        }
    };
    writeln!(out, "acls    {principal} (as options of kafka-acls)")?;
    let needs = plan.permissions();
    let required = needs.iter().filter(|need| need.otherwise.is_none()).map(|need| &need.permission);
    let of_faults = plan.fault_permissions(faults);
    let required: Vec<&Permission> = required.chain(&of_faults).collect();
    let mut by_resource: Vec<(&Resource, Vec<String>)> = Vec::new();
    for Permission { operation, resource } in &required {
        let text = format!("--operation {operation}");
        match by_resource.iter_mut().find(|(of, _)| *of == resource) {
            Some((_, operations)) if operations.contains(&text) => {}
            Some((_, operations)) => operations.push(text),
            None => by_resource.push((resource, vec![text])),
        }
    }
    for (resource, operations) in by_resource {
        writeln!(out, "          {} {}", operations.join(" "), acl_resource(resource))?;
    }
    for need in &needs {
        let Some(otherwise) = need.otherwise.filter(|_| !required.contains(&&need.permission)) else {
            continue;
        };
        let Permission { operation, resource } = &need.permission;
        writeln!(out, "          --operation {operation} {} (without: {otherwise})", acl_resource(resource))?;
    }
    Ok(())
}

fn acl_resource(resource: &Resource) -> String {
    match resource {
        Resource::Topic(name) => format!("--topic {name}"),
        Resource::TopicPrefix(prefix) => format!("--topic {prefix} --resource-pattern-type prefixed"),
        Resource::Cluster => "--cluster".to_owned(),
    }
}

fn jvm(jvm: Jvm) -> &'static str {
    match jvm {
        Jvm::Steady => "steady",
        Jvm::Quick => "quick",
    }
}

fn lifecycle(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::PerRun => "created and deleted",
        Lifecycle::Keep => "created and kept",
        Lifecycle::Reuse => "must exist",
    }
}

/// What happens to whom and when, in order of time. What follows something has no time of its own and comes right after it.
fn fault_times(faults: &[FaultSpec]) -> Vec<(Option<std::time::Duration>, String)> {
    let mut told: Vec<(u64, Option<std::time::Duration>, String)> = Vec::new();
    for fault in faults {
        let at = std::time::Duration::from_nanos(fault.at_ns);
        let what = match &fault.action {
            FaultAction::Operation { operation: add @ Operation::TopicAddPartitions(_) } => {
                format!("{add}; the load stays on those that it has before")
            }
            FaultAction::Operation { operation } => operation.to_string(),
            action => format!("{}{}", fault.target, fault_words::details(action)),
        };
        let what = format!("{}: {} of {what}", fault.name, fault.action.name());
        match &fault.follows {
            Some(before) => {
                told.push((
                    fault.at_ns,
                    None,
                    format!("{what}, when {before} is over and all replicas are in sync"),
                ));
            }
            None => told.push((fault.at_ns, Some(at), what)),
        }
        if let Some(after) = fault.recover_after.filter(|after| !after.is_zero()) {
            let healed = at + after;
            let healed_ns = u64::try_from(healed.as_nanos()).unwrap_or(u64::MAX);
            told.push((healed_ns, Some(healed), format!("{}: healed", fault.name)));
        }
    }
    told.sort_by_key(|(at_ns, _, _)| *at_ns);
    told.into_iter().map(|(_, at, what)| (at, what)).collect()
}

fn ms(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.1}s", v / 1_000.0),
        v if v >= 1_000.0 => format!("{:.2}s", v / 1_000.0),
        v if v >= 10.0 => format!("{v:.0}ms"),
        v => format!("{v:.1}ms"),
    }
}
