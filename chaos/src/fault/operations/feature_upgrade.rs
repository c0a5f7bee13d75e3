//! `feature.upgrade`: a feature of the cluster is raised (UpdateFeatures, KIP-584), as `kafka-features upgrade` does it: the second step of an
//! upgrade, after which brokers write what the older release can't read. Acts when every broker has heard of it. There is no way back that
//! Kafka would vouch for, so it is not undone.

use std::fmt;

use gauntlet_wire::{ErrorCode, Features};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::admin::CONTROLLER_LIMIT;
use crate::clock::monotonic_ns;
use crate::error::ChaosError;
use crate::supervisor::SignalTimes;

/// A feature rises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureUpgrade {
    /// Which, by Kafka's name.
    pub feature: String,
    /// To which level; `None`: to the highest that the broker that is asked supports.
    pub level: Option<i16>,
}

impl FeatureUpgrade {
    pub(super) fn apply(&self, admin: &Admin) -> Result<SignalTimes, ChaosError> {
        let feature = &self.feature;
        let features = admin.ask(None, |connection| connection.features())?;
        let level = self.wanted(&features)?;
        let sent_ns = monotonic_ns();
        admin.ask(None, |connection| {
            match connection.upgrade_feature(feature, level, CONTROLLER_LIMIT) {
                // Asked again because the answer got lost, or the broker that is asked has not heard of it yet: seen below.
                Err(error) if error.code() == Some(ErrorCode::INVALID_UPDATE_VERSION) => {
                    let is_there = connection.features()?.finalized.get(feature) == Some(&level);
                    if is_there { Ok(()) } else { Err(error) }
                }
                other => other,
            }
        })?;
        let seen_ns = admin.until_seen(None, &format!("{feature} is at {level}"), |connection| {
            let at = connection.features()?.finalized.get(feature).copied().unwrap_or(0);
            Ok((at != level).then(|| format!("it is at {at}")))
        })?;
        Ok(SignalTimes { sent_ns, seen_ns })
    }

    /// The level, if it is one that can be risen to.
    fn wanted(&self, features: &Features) -> Result<i16, ChaosError> {
        let feature = &self.feature;
        let Some(supported) = features.supported.get(feature) else {
            let known: Vec<&str> = features.supported.keys().map(String::as_str).collect();
            let why = format!("brokers know no feature {feature}; they know {}", known.join(", "));
            return Err(super::refused(why));
        };
        let now = features.finalized.get(feature).copied().unwrap_or(0);
        let level = self.level.unwrap_or(*supported.end());
        match (supported.contains(&level), level > now) {
            (true, true) => Ok(level),
            (true, false) => Err(super::refused(format!("{feature} is at {now} already"))),
            (false, _) => {
                let (least, most) = (supported.start(), supported.end());
                Err(super::refused(format!("brokers support {feature} from {least} to {most}, not {level}")))
            }
        }
    }
}

impl fmt::Display for FeatureUpgrade {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(out, "{} to {level} for good", self.feature),
            None => write!(out, "{} to the highest level for good", self.feature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_risen_to_is_told_before_anything_is_asked() {
        let features = Features {
            supported: [("metadata.version".to_owned(), 7..=29)].into(),
            finalized: [("metadata.version".to_owned(), 21)].into(),
        };
        let wanted = |feature: &str, level| {
            let upgrade = FeatureUpgrade { feature: feature.to_owned(), level };
            upgrade.wanted(&features).map_err(|error| error.to_string())
        };
        assert_eq!(wanted("metadata.version", None), Ok(29));
        assert_eq!(wanted("metadata.version", Some(25)), Ok(25));
        let refused = |feature, level, why: &str| {
            let error = wanted(feature, level).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused("metadata.version", Some(21), "is at 21 already");
        refused("metadata.version", Some(30), "from 7 to 29, not 30");
        refused("metadata.vision", None, "they know metadata.version");
    }
}
