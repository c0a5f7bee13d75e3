//! `config.change`: properties of a topic, of a broker, or of all brokers (IncrementalAlterConfigs). Acts when brokers describe them so;
//! for a broker's own, when that broker does.

use std::collections::BTreeMap;
use std::fmt;

use gauntlet_wire::ConfigResource;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::partition_reassign::RATES;
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::supervisor::SignalTimes;

/// Properties are set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigChange {
    /// Whose.
    pub of: ConfigResource,
    /// To what, by Kafka's names.
    pub entries: BTreeMap<String, String>,
}

/// What properties were before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigBefore {
    /// Whose.
    pub of: ConfigResource,
    /// What was set there, by Kafka's names; `None`: nothing was.
    pub entries: BTreeMap<String, Option<String>>,
}

impl ConfigChange {
    pub(super) fn topic(&self) -> Option<&str> {
        match &self.of {
            ConfigResource::Topic(name) => Some(name),
            ConfigResource::Broker(_) | ConfigResource::AllBrokers => None,
        }
    }

    pub(super) fn topic_mut(&mut self) -> Option<&mut String> {
        match &mut self.of {
            ConfigResource::Topic(name) => Some(name),
            ConfigResource::Broker(_) | ConfigResource::AllBrokers => None,
        }
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        let property = |name: &String| Claim::Config { of: self.of.clone(), name: name.clone() };
        let throttles =
            self.topic().is_none() && self.entries.keys().any(|name| RATES.contains(&name.as_str()));
        self.entries.keys().map(property).chain(throttles.then_some(Claim::ReplicationThrottle)).collect()
    }

    pub(super) fn before(&self, admin: &Admin) -> Result<ConfigBefore, ChaosError> {
        ConfigBefore::read(&self.of, self.entries.keys().map(String::as_str), admin)
    }

    pub(super) fn apply(&self, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let sent_ns = monotonic_ns();
        let wanted = self.entries.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        Ok(SignalTimes { sent_ns, seen_ns: set(&self.of, &wanted, admin)? })
    }
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.of)?;
        self.entries.iter().try_for_each(|(name, value)| write!(out, ", {name}={value}"))
    }
}

impl ConfigBefore {
    /// Reads what is set now. Refuses what could not be set again.
    pub(super) fn read<'n>(
        of: &ConfigResource,
        names: impl IntoIterator<Item = &'n str>,
        admin: &Admin,
    ) -> Result<Self, ChaosError> {
        let set = admin.ask(of.answered_by(), |connection| connection.config_set(of))?;
        let mut entries = BTreeMap::new();
        for name in names {
            let value = match set.get(name) {
                None => None,
                Some(Some(value)) => Some(value.clone()),
                Some(None) => {
                    let why = format!("{name} of {of} is secret: brokers do not tell what to put back");
                    return Err(super::refused(why));
                }
            };
            entries.insert(name.to_owned(), value);
        }
        Ok(Self { of: of.clone(), entries })
    }

    pub(super) fn restore(&self, admin: &Admin) -> Result<(), ChaosError> {
        set(&self.of, &self.entries, admin).map(drop)
    }
}

/// Sets, or removes, properties of `of` and waits until that is seen; gives when it was.
pub(super) fn set(
    of: &ConfigResource,
    wanted: &BTreeMap<String, Option<String>>,
    admin: &Admin,
) -> Result<u64, ChaosError> {
    admin.ask(of.answered_by(), |connection| connection.alter_config(of, wanted))?;
    admin.until_seen(of.answered_by(), &format!("the configuration of {of} is changed"), |connection| {
        let set = connection.config_set(of)?;
        let differs = wanted.iter().find(|(name, value)| !is_so(set.get(*name), value.as_deref()));
        Ok(differs.map(|(name, _)| match set.get(name).cloned().flatten() {
            Some(value) => format!("{name} is {value}"),
            None => format!("{name} is not set"),
        }))
    })
}

/// Whether what is set is what is wanted. Brokers show numbers, booleans and lists in a form of their own.
fn is_so(set: Option<&Option<String>>, wanted: Option<&str>) -> bool {
    let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    match (set, wanted) {
        (None, None) => true,
        // What is secret is not shown: that it is set is all that can be seen.
        (Some(None), Some(_)) => true,
        (Some(Some(set)), Some(wanted)) => match (set.trim().parse::<f64>(), wanted.trim().parse::<f64>()) {
            (Ok(set), Ok(wanted)) => set == wanted,
            _ => plain(set) == plain(wanted),
        },
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_the_form_of_brokers_are_the_same() {
        let set = |text: &str| Some(Some(text.to_owned()));
        assert!(is_so(set("60000").as_ref(), Some(" 60000")));
        assert!(is_so(set("compact,delete").as_ref(), Some("compact, delete")));
        assert!(is_so(set("true").as_ref(), Some("TRUE")));
        assert!(is_so(None, None) && is_so(Some(&None), Some("secret")));
        assert!(!is_so(set("60000").as_ref(), Some("60001")));
        assert!(!is_so(set("60000").as_ref(), None));
        assert!(!is_so(None, Some("1")));
    }
}
