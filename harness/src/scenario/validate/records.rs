//! Rules of payloads and keys.

use crate::keys::{self, KEYS_MAX};
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    Body, Driver, IdentityPlace, Key, KeyDistribution, Producers, Scenario, Shape, Size,
};

/// Longest key: a larger one is a typo.
const KEY_BYTES_MAX: u64 = 32 << 10;

pub(super) fn payload(path: &str, block: &Producers, problems: &mut Problems<'_>) {
    let payload = &block.payload;
    let at = format!("{path}.size");
    let needed = block.value_bytes_min();
    if let Some(least) = payload.size.min_bytes().filter(|least| *least < needed) {
        let (what, label, why) = match payload.body {
            Body::Json(_) => ("messages", "no room for the envelope", "the payload has what is left"),
            _ => (
                "payloads",
                "smaller than a record's identity",
                "every record carries who sent it, when, and a checksum",
            ),
        };
        problems.add(Finding {
            path: &at,
            message: format!("{what} of {least} bytes can't be told apart"),
            label,
            help: &format!("at least {needed}B: {why}"),
        });
    }
    if let Body::Json(json) = &payload.body
        && json.tenants == 0
    {
        problems.add(Finding {
            path: &format!("{path}.envelope.tenants"),
            message: "messages of no tenant".to_owned(),
            label: "",
            help: "at least 1",
        });
    }
    let odd = match &payload.size {
        Size::Uniform { min, max } if min > max => Some("`min` is above `max`"),
        Size::LogNormal { median, max, .. } if median > max => Some("`median` is above `max`"),
        Size::LogNormal { median, .. } if median.get() == 0 => Some("`median` is zero"),
        Size::LogNormal { sigma, .. } if !(sigma.is_finite() && *sigma >= 0.0) => {
            Some("`sigma` is below zero")
        }
        Size::Weighted(sizes) if sizes.is_empty() => Some("the list of sizes is empty"),
        Size::Weighted(sizes) if sizes.iter().any(|s| !(s.weight.is_finite() && s.weight > 0.0)) => {
            Some("a weight is not above zero")
        }
        _ => None,
    };
    if let Some(odd) = odd {
        problems.add(Finding {
            path: &at,
            message: odd.to_owned(),
            label: "",
            help: "no record could have such a size",
        });
    }
}

/// Identities are where they fit, and where everybody who reads the topic finds them. `identity` and `key`: the paths of both.
pub(super) fn identity(
    (identity, key): (&str, &str),
    block: &Producers,
    scenario: &Scenario,
    problems: &mut Problems<'_>,
) {
    let mut refuse = |path: &str, message: &str, help: &str| {
        problems.add(Finding { path, message: message.to_owned(), label: "", help });
    };
    if matches!(block.payload.body, Body::Json(_)) && block.identity == IdentityPlace::Value {
        let help = "leave it out (a record header), or write `identity: key`";
        return refuse(identity, "a JSON message has no room for an identity in front of it", help);
    }
    if block.identity != IdentityPlace::Key {
        return;
    }
    if matches!(block.key, Key::Keys { .. }) {
        let help = "remove `key`, or write `identity: header`";
        return refuse(key, "the identity is the key: records have no other", help);
    }
    if matches!(scenario.load.shape, Shape::Replay { .. }) {
        let help = "write `identity: header`, or leave it out";
        return refuse(identity, "a recording brings keys of its own", help);
    }
    let mut same_topic = scenario.workload.producers.iter().filter(|other| other.topic == block.topic);
    if same_topic.any(|other| other.identity != IdentityPlace::Key) {
        let help = "write it for all producers of the topic, or give these a topic of their own";
        return refuse(identity, "other producers of the topic have keys that are no identities", help);
    }
    let mut readers = scenario.workload.consumers.iter().filter(|readers| readers.topic == block.topic);
    if readers.any(|readers| readers.driver == Driver::External) {
        let help = "write `identity: header`, which the contract of external programs has a word for";
        refuse(identity, "external consumers do not show keys", help);
    }
}

pub(super) fn key(path: &str, key: &Key, problems: &mut Problems<'_>) {
    let Key::Keys { cardinality, distribution, size } = *key else { return };
    let mut refuse = |field: &str, message: String, help: &str| {
        problems.add(Finding { path: &format!("{path}.{field}"), message, label: "", help });
    };
    if !(1..=KEYS_MAX).contains(&cardinality) {
        let help = format!("from 1 to {KEYS_MAX}: keys are held in memory");
        return refuse("cardinality", format!("{cardinality} keys"), &help);
    }
    let least = keys::digits(cardinality) as u64;
    if let Some(size) = size.filter(|size| !(least..=KEY_BYTES_MAX).contains(&size.get())) {
        let help =
            format!("from {least}B, which the number of the last of {cardinality} keys needs, to 32KiB");
        refuse("size", format!("keys of {size}"), &help);
    }
    match distribution {
        KeyDistribution::Zipf { exponent } if !(exponent.is_finite() && exponent > 0.0) => {
            refuse("exponent", format!("an exponent of {exponent}"), "above 0, for example 0.99");
        }
        KeyDistribution::Hot { hot_keys, .. } if hot_keys == 0 || hot_keys >= cardinality => {
            let help = format!("from 1 to {}: the other keys share the rest", cardinality.saturating_sub(1));
            refuse("hot_keys", format!("{hot_keys} hot keys of {cardinality}"), &help);
        }
        _ => {}
    }
}
