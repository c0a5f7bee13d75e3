//! Blocks with `driver: rdkafka`: their settings, checked by librdkafka itself, and what is warned about.

use super::convert::{Refusal, refuse};
use super::{DriverPlan, Plan, external};
use crate::rdkafka::settings::{self, Expected, Setting};
use crate::scenario::Scenario;
use crate::scenario::types as file;

pub(super) fn of_producers(block: &file::Producers) -> DriverPlan {
    match block.driver {
        file::Driver::Wire => DriverPlan::Wire,
        file::Driver::Rdkafka => DriverPlan::Rdkafka(settings::producer(block)),
        file::Driver::External => external::of_producers(block),
    }
}

pub(super) fn of_consumers(block: &file::Consumers) -> DriverPlan {
    match block.driver {
        file::Driver::Wire => DriverPlan::Wire,
        file::Driver::Rdkafka => DriverPlan::Rdkafka(settings::consumer(block)),
        file::Driver::External => external::of_consumers(block),
    }
}

/// Has librdkafka look at the settings of every block that is for it. Returns what it warns of.
pub(super) fn check(scenario: &Scenario, refusals: &mut Vec<Refusal>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, block) in scenario.workload.producers.iter().enumerate() {
        let path = format!("workload.producers[{index}]");
        if block.driver == file::Driver::Rdkafka {
            warnings.extend(check_block(&path, &settings::producer(block), true, refusals));
        }
    }
    for (index, block) in scenario.workload.consumers.iter().enumerate() {
        if block.driver == file::Driver::Rdkafka {
            let path = format!("workload.consumers[{index}]");
            warnings.extend(check_block(&path, &settings::consumer(block), false, refusals));
        }
    }
    warnings
}

#[cfg(feature = "rdkafka")]
fn check_block(path: &str, settings: &[Setting], sends: bool, refusals: &mut Vec<Refusal>) -> Vec<String> {
    use crate::rdkafka::check::{Objection, look};
    let kind = if sends { gauntlet_rdkafka::Kind::Producer } else { gauntlet_rdkafka::Kind::Consumer };
    let (objections, warnings) = look(settings, kind);
    for Objection { from, message } in objections {
        let (at, help) = match &from {
            Some(name) if name.starts_with("rdkafka.") => {
                (format!("{path}.config.{name}"), "CONFIGURATION.md of librdkafka lists names and values")
            }
            Some(name) => {
                (format!("{path}.config.{name}"), "librdkafka's range is narrower here; take a value in it")
            }
            None => (format!("{path}.config"), "change one of the properties that it names"),
        };
        refusals.push(refuse(at, message, help));
    }
    warnings.into_iter().map(|warning| format!("{path}: {warning}")).collect()
}

#[cfg(not(feature = "rdkafka"))]
fn check_block(path: &str, _: &[Setting], _: bool, refusals: &mut Vec<Refusal>) -> Vec<String> {
    let message = "this gauntlet was built without librdkafka (feature `rdkafka`)";
    refusals.push(refuse(format!("{path}.driver"), message, crate::rdkafka::NOT_BUILT));
    Vec::new()
}

/// What the settings of blocks mean at the rate that they are to have.
pub(super) fn warnings(scenario: &Scenario, plan: &Plan) -> Vec<String> {
    let blocks = scenario.workload.producers.iter().zip(&plan.producers);
    blocks
        .filter(|(_, planned)| planned.driver.rdkafka().is_some())
        .flat_map(|(block, planned)| {
            let highest = plan.load.paces[planned.load].highest_per_s();
            let expected = Expected {
                per_s: highest.map(|per_s| per_s as f64 / plan.sharers(planned.load).max(1) as f64),
                record_bytes: planned.records.value_bytes_mean,
            };
            let name = format!("producers of {}", plan.topics[planned.topic].name);
            settings::warnings(&name, block, expected)
        })
        .collect()
}
