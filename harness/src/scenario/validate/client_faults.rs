//! Rules of faults of clients: whom they name is there, and is a program.

use gauntlet_chaos::{ClientRole, ClientTarget};

use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Consumers, Driver, Fault, Producers, Scenario, Target};

/// The clients that are configured together.
struct Block<'a> {
    client_id: &'a str,
    driver: Driver,
    /// Names of its clients end with numbers from here on ...
    first: u16,
    /// ... and are so many.
    count: u16,
}

pub(super) fn validate(path: &str, fault: &Fault, scenario: &Scenario, problems: &mut Problems<'_>) {
    let Target::Clients(whom) = &fault.target else { return };
    let path = format!("{path}.target");
    let blocks = blocks(scenario, whom.role);
    let meant: Vec<&Block<'_>> = blocks.iter().filter(|block| is_meant(block, whom)).collect();
    if meant.is_empty() {
        return nobody(&path, whom, &blocks, problems);
    }
    // Only what is meant by name can be meant by mistake.
    let is_program = |block: &&Block<'_>| block.driver == Driver::External;
    if meant.iter().any(is_program) && (whom.client_id.is_none() || meant.iter().all(is_program)) {
        return;
    }
    problems.add(Finding {
        path: &path,
        message: format!("`{}` needs clients that are programs", fault.action.name()),
        label: "these live in gauntlet's own process, which measures and checks",
        help: "use `driver: external` for them: drivers/java has Kafka's own clients, docs/external-driver.md says how others are written",
    });
}

fn nobody(path: &str, whom: &ClientTarget, blocks: &[Block<'_>], problems: &mut Problems<'_>) {
    let Some(client_id) = &whom.client_id else {
        return problems.add(Finding {
            path: &format!("{path}.role"),
            message: format!("the scenario has no {}s", whom.role),
            label: "nobody is hit",
            help: &format!("add `workload.{}s`, or name the other role", whom.role),
        });
    };
    problems.unknown(
        &format!("{path}.client_id"),
        &format!("{} client.id", whom.role),
        client_id,
        blocks.iter().map(|block| block.client_id),
    );
}

fn is_meant(block: &Block<'_>, whom: &ClientTarget) -> bool {
    let Some(client_id) = &whom.client_id else { return true };
    let name = match whom.role {
        ClientRole::Producer => "producer",
        ClientRole::Consumer => "reader",
    };
    let of_one = |number: u16| format!("{}-{name}-{number}", block.client_id);
    *client_id == block.client_id
        || (block.first..block.first.saturating_add(block.count)).any(|n| of_one(n) == *client_id)
}

fn of_producers(block: &Producers) -> Block<'_> {
    Block { client_id: &block.config.client_id, driver: block.driver, first: 0, count: block.count }
}

fn of_consumers(block: &Consumers) -> Block<'_> {
    Block { client_id: &block.config.client_id, driver: block.driver, first: 0, count: block.members }
}

fn blocks(scenario: &Scenario, role: ClientRole) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = match role {
        ClientRole::Producer => scenario.workload.producers.iter().map(of_producers).collect(),
        ClientRole::Consumer => scenario.workload.consumers.iter().map(of_consumers).collect(),
    };
    let mut first: u16 = 0;
    for block in &mut blocks {
        block.first = first;
        first = first.saturating_add(block.count);
    }
    blocks
}
