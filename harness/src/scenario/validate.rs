//! Contradictions in a scenario, all of them at once: each with its place, and with the next step.
//!
//! Only what can be known from the file is judged here. What needs the host or a running cluster is for the plan.

use super::ExpectationCheck;
use super::diagnostic::Sources;
use super::problems::Problems;
use super::types::Scenario;

mod client_faults;
mod cluster;
mod driver;
mod expect;
mod faults;
mod load;
mod network;
mod operations;
mod records;
mod shims;
mod topics;
mod workload;

pub(crate) use cluster::is_host_and_port;
pub(crate) use expect::is_over_a_search;
pub(crate) use faults::REPEATS_MAX as FAULT_REPEATS_MAX;
pub(crate) use topics::{NAME_LENGTH_MAX as TOPIC_LENGTH_MAX, RUN_ID_LENGTH};
pub(crate) use workload::BATCH_OVERHEAD_BYTES;

/// Adds everything that is wrong with `scenario` to `problems`.
pub(crate) fn validate(
    scenario: &Scenario,
    sources: &Sources,
    expectation_check: Option<ExpectationCheck<'_>>,
    problems: &mut Problems<'_>,
) {
    name("name", "scenario", &scenario.name, problems);
    report(scenario, problems);
    cluster::validate(&scenario.cluster, problems);
    topics::validate(scenario, problems);
    workload::validate(scenario, sources, problems);
    load::validate(scenario, problems);
    faults::validate(scenario, problems);
    expect::validate(scenario, sources, expectation_check, problems);
}

/// Names become parts of paths, topics and expectations, so their letters are limited.
fn name(path: &str, what: &str, name: &str, problems: &mut Problems<'_>) {
    /// Leaves room for a prefix and the id of the run in a topic's 249 characters.
    const LENGTH_MAX: usize = 100;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |edge: Option<char>| edge.is_some_and(|c| c != '-');
    let well_formed = name.chars().all(allowed) && edge(name.chars().next()) && edge(name.chars().last());
    if !well_formed || name.len() > LENGTH_MAX {
        let lower: String = name.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        let proposal = lower.trim_matches('-');
        let example =
            if proposal.is_empty() || proposal.len() > LENGTH_MAX { "leader-kill" } else { proposal };
        problems.add(super::problems::Finding {
            path,
            message: format!("invalid name `{name}` of the {what}"),
            label: "lower-case letters, digits, and inner hyphens, at most 100",
            help: &format!("write it like `{example}`"),
        });
    }
}

fn report(scenario: &Scenario, problems: &mut Problems<'_>) {
    if scenario.report.dir.trim().is_empty() {
        problems.add(super::problems::Finding {
            path: "report.dir",
            message: "`report.dir` is empty".to_owned(),
            label: "",
            help: "name a directory, for example out/${name}/${run.id}",
        });
    }
}
