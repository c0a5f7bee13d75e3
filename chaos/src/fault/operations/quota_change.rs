//! `quota.change`: what clients may use of each broker (AlterClientQuotas). Acts when brokers describe it so.

use std::collections::BTreeMap;
use std::fmt;

use gauntlet_wire::QuotaEntity;
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::fault::Claim;
use crate::supervisor::SignalTimes;

/// Clients are limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaChange {
    /// Which clients.
    pub of: QuotaEntity,
    /// To what, by Kafka's names: `producer_byte_rate` and `consumer_byte_rate` in bytes per second, `request_percentage` in percent
    /// of a thread.
    pub limits: BTreeMap<String, u64>,
}

/// What quotas were before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaBefore {
    /// Whose.
    pub of: QuotaEntity,
    /// What was set, by Kafka's names; `None`: nothing was.
    pub limits: BTreeMap<String, Option<f64>>,
}

impl QuotaChange {
    pub(super) fn claims(&self) -> Vec<Claim> {
        self.limits.keys().map(|name| Claim::Quota { of: self.of.clone(), name: name.clone() }).collect()
    }

    pub(super) fn before(&self, admin: &Admin) -> Result<QuotaBefore, ChaosError> {
        let set = admin.ask(None, |connection| connection.client_quotas(&self.of))?;
        let before = |name: &String| (name.clone(), set.get(name).copied());
        Ok(QuotaBefore { of: self.of.clone(), limits: self.limits.keys().map(before).collect() })
    }

    pub(super) fn apply(&self, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let sent_ns = monotonic_ns();
        let wanted = self.limits.iter().map(|(name, limit)| (name.clone(), Some(*limit as f64))).collect();
        Ok(SignalTimes { sent_ns, seen_ns: set(&self.of, &wanted, admin)? })
    }
}

impl fmt::Display for QuotaChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.of)?;
        self.limits.iter().try_for_each(|(name, limit)| write!(out, ", {name}={limit}"))
    }
}

impl QuotaBefore {
    pub(super) fn restore(&self, admin: &Admin) -> Result<(), ChaosError> {
        set(&self.of, &self.limits, admin).map(drop)
    }
}

/// Sets, or removes, quotas and waits until that is seen; gives when it was.
fn set(of: &QuotaEntity, wanted: &BTreeMap<String, Option<f64>>, admin: &Admin) -> Result<u64, ChaosError> {
    admin.ask(None, |connection| connection.alter_client_quotas(of, wanted))?;
    admin.until_seen(None, &format!("the quotas of {of} are changed"), |connection| {
        let set = connection.client_quotas(of)?;
        let differs = wanted.iter().find(|(name, limit)| set.get(*name) != limit.as_ref());
        Ok(differs.map(|(name, _)| match set.get(name) {
            Some(limit) => format!("{name} is {limit}"),
            None => format!("{name} is not set"),
        }))
    })
}
