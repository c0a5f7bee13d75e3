//! Features of the cluster, by which it decides what brokers of a release may write (KIP-584): `metadata.version` and its kin.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{ApiVersionsRequest, UpdateFeaturesRequest};
use kafka_protocol::protocol::StrBytes;

use crate::acl::{Operation, Permission};
use crate::connection::Connection;
use crate::error::WireError;

/// UpdateFeatures, `upgrade_type`: only to higher levels.
const UPGRADE: i8 = 1;

/// Features as a broker tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// The levels that the broker itself can work at.
    pub supported: BTreeMap<String, RangeInclusive<i16>>,
    /// The level that the cluster works at. One that is not there is at 0.
    pub finalized: BTreeMap<String, i16>,
}

impl Connection {
    /// The features that the broker supports, and those that the cluster has finalized as far as the broker has heard.
    pub fn features(&mut self) -> Result<Features, WireError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("gauntlet"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let response = self.call(&request)?;
        self.check(response.error_code, &None, || "ask for features".to_owned())?;
        let supported = response.supported_features.into_iter();
        let finalized = response.finalized_features.into_iter();
        Ok(Features {
            supported: supported.map(|f| (f.name.to_string(), f.min_version..=f.max_version)).collect(),
            finalized: finalized.map(|f| (f.name.to_string(), f.max_version_level)).collect(),
        })
    }

    /// Raises `feature` to `level`; the controller refuses what not every node supports. Needs Alter on the cluster. The answer comes before
    /// every broker has heard of it.
    pub fn upgrade_feature(&mut self, feature: &str, level: i16, timeout: Duration) -> Result<(), WireError> {
        let update = FeatureUpdateKey::default()
            .with_feature(StrBytes::from_string(feature.to_owned()))
            .with_max_version_level(level)
            .with_upgrade_type(UPGRADE);
        let request = UpdateFeaturesRequest::default()
            .with_timeout_ms(timeout.as_millis() as i32)
            .with_feature_updates(vec![update]);
        let response = self.call(&request)?;
        let what = || format!("raise {feature} to {level}");
        let needed = || Permission::on_cluster(Operation::Alter);
        self.check_permitted(response.error_code, &response.error_message, needed(), what)?;
        for result in &response.results {
            self.check_permitted(result.error_code, &result.error_message, needed(), what)?;
        }
        Ok(())
    }
}
