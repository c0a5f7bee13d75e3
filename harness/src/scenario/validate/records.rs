//! Rules of payloads and keys.

use crate::keys::{self, KEYS_MAX};
use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Body, Key, KeyDistribution, Payload, Size};

/// Longest key: a larger one is a typo.
const KEY_BYTES_MAX: u64 = 32 << 10;

pub(super) fn payload(path: &str, payload: &Payload, problems: &mut Problems<'_>) {
    let at = format!("{path}.size");
    let needed = payload.body.value_bytes_min();
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
