//! Rules of `driver` and `config.rdkafka`.

use std::collections::BTreeMap;

use crate::rdkafka::names::{Owner, Side, owner};
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Consumers, Driver, Producers};

/// Of a block of producers at `path`.
pub(super) fn producers(path: &str, block: &Producers, problems: &mut Problems<'_>) {
    raw(path, Side::Producer, block.driver, &block.rdkafka, problems);
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
pub(super) fn consumers(path: &str, block: &Consumers, problems: &mut Problems<'_>) {
    raw(path, Side::Consumer, block.driver, &block.rdkafka, problems);
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
        if problems.is_written(&at) {
            problems.add(Finding {
                path: &at,
                message: "`config.rdkafka` is for `driver: rdkafka`".to_owned(),
                label: "this block has `driver: wire`",
                help: "write `driver: rdkafka`, or remove `config.rdkafka`",
            });
        }
        return;
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
