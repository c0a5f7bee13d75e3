//! Rules of `driver`, `command`, `config.rdkafka` and `config.external`.

use std::collections::BTreeMap;

use crate::external::names as program;
use crate::rdkafka::names::{Owner, Side, owner};
use crate::scenario::diagnostic::Sources;
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Consumers, Driver, Producers};

/// Of a block of producers at `path`.
pub(super) fn producers(path: &str, block: &Producers, sources: &Sources, problems: &mut Problems<'_>) {
    raw(path, Side::Producer, block.driver, &block.rdkafka, problems);
    external(path, block.driver, &block.external, problems);
    command(path, block.driver, &block.command, sources, problems);
    if block.driver == Driver::Rdkafka && block.config.delivery_timeout.as_ns() == 0 {
        problems.add(Finding {
            path: &format!("{path}.config.delivery.timeout.ms"),
            message: "delivery.timeout.ms=0 means no time-out at all to librdkafka".to_owned(),
            label: "above 0 with `driver: rdkafka`",
            help: "leave it out to get 120000",
        });
    }
}

/// Of a block of consumers at `path`.
pub(super) fn consumers(path: &str, block: &Consumers, sources: &Sources, problems: &mut Problems<'_>) {
    raw(path, Side::Consumer, block.driver, &block.rdkafka, problems);
    external(path, block.driver, &block.external, problems);
    command(path, block.driver, &block.command, sources, problems);
}

/// A block of properties for a driver that this block of clients does not have.
fn of_another_driver(at: &str, is_for: Driver, driver: Driver, problems: &mut Problems<'_>) {
    if !problems.is_written(at) {
        return;
    }
    let is_for = is_for.name();
    problems.add(Finding {
        path: at,
        message: format!("`config.{is_for}` is for `driver: {is_for}`"),
        label: &format!("this block has `driver: {}`", driver.name()),
        help: &format!("write `driver: {is_for}`, or remove `config.{is_for}`"),
    });
}

fn external(path: &str, driver: Driver, block: &BTreeMap<String, String>, problems: &mut Problems<'_>) {
    let at = format!("{path}.config.external");
    if driver != Driver::External {
        return of_another_driver(&at, Driver::External, driver, problems);
    }
    for name in block.keys() {
        if let Some((place, help)) = program::owner(name) {
            problems.add(Finding {
                path: &format!("{at}.{name}"),
                message: format!("`{name}` is set by {place}"),
                label: "not here",
                help,
            });
        }
    }
}

/// A program is needed by `driver: external`, and by nobody else. Where the driver is a reference, as in a sweep over it, a
/// command may be there for the points that need it.
fn command(path: &str, driver: Driver, command: &[String], sources: &Sources, problems: &mut Problems<'_>) {
    const EXAMPLE: &str =
        "for example `command: [drivers/java/run]`; docs/external-driver.md has the contract";
    let at = format!("{path}.command");
    let driver_at = format!("{path}.driver");
    let is_written = problems.is_written(&at);
    if driver == Driver::External {
        if !is_written {
            problems.add(Finding {
                path: &driver_at,
                message: "`driver: external` needs a program".to_owned(),
                label: "`command` is missing",
                help: EXAMPLE,
            });
        } else if command.first().is_none_or(|program| program.trim().is_empty()) {
            let (message, label) = ("`command` names no program".to_owned(), "empty");
            problems.add(Finding { path: &at, message, label, help: EXAMPLE });
        }
        return;
    }
    let is_reference = problems.is_written(&driver_at) && {
        let span = problems.span_of(&driver_at);
        let value = sources.line(span).chars().skip(span.column - 1).take(span.len).collect::<String>();
        value.contains("${")
    };
    if is_written && !is_reference {
        problems.add(Finding {
            path: &at,
            message: "`command` is for `driver: external`".to_owned(),
            label: &format!("this block has `driver: {}`", driver.name()),
            help: "write `driver: external`, or remove `command`",
        });
    }
}

fn raw(
    path: &str,
    side: Side,
    driver: Driver,
    block: &BTreeMap<String, String>,
    problems: &mut Problems<'_>,
) {
    let at = format!("{path}.config.rdkafka");
    if driver != Driver::Rdkafka {
        return of_another_driver(&at, Driver::Rdkafka, driver, problems);
    }
    for name in block.keys() {
        let Some(owner) = owner(side, name) else { continue };
        let (message, label, help) = match owner {
            Owner::Config(kafka) => (
                format!("`{name}` of librdkafka is `{kafka}` of Kafka"),
                "it has a Kafka name",
                format!("write `{kafka}` in `config`: it means the same for every driver"),
            ),
            Owner::Block(place) => {
                (format!("`{name}` is set by `{place}`"), "not here", format!("write it in `{place}`"))
            }
            Owner::Gauntlet(why) => {
                (format!("`{name}` is gauntlet's to set: {why}"), "not here", "remove it".to_owned())
            }
        };
        problems.add(Finding { path: &format!("{at}.{name}"), message, label, help: &help });
    }
}
