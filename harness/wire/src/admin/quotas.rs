//! What clients may use of brokers (KIP-546: DescribeClientQuotas, AlterClientQuotas).

use std::collections::BTreeMap;
use std::fmt;

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::EntryData as DescribedEntry;
use kafka_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};
use kafka_protocol::protocol::StrBytes;
use serde::{Deserialize, Serialize};

use crate::acl::{Operation, Permission};
use crate::connection::Connection;
use crate::error::WireError;

/// Whom a quota is for: a user, a `client.id`, or both together. At least one of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaEntity {
    /// The user, as brokers know it: without `User:`.
    pub user: Option<QuotaName>,
    /// The `client.id`.
    pub client_id: Option<QuotaName>,
}

/// Who of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaName {
    /// The one of this name.
    Named(String),
    /// Everybody who has no quota of his own (`--entity-default` of `kafka-configs`).
    Default,
}

impl QuotaName {
    fn name(&self) -> Option<StrBytes> {
        match self {
            QuotaName::Named(name) => Some(StrBytes::from_string(name.clone())),
            QuotaName::Default => None,
        }
    }
}

impl fmt::Display for QuotaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuotaName::Named(name) => f.write_str(name),
            QuotaName::Default => f.write_str("<default>"),
        }
    }
}

impl QuotaEntity {
    /// Its parts, by Kafka's names of the kinds.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &QuotaName)> {
        let user = self.user.as_ref().map(|name| ("user", name));
        user.into_iter().chain(self.client_id.as_ref().map(|name| ("client-id", name)))
    }
}

impl fmt::Display for QuotaEntity {
    /// `user alice`, `client-id <default>`, `user alice, client-id etl`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts().map(|(kind, name)| format!("{kind} {name}")).collect();
        f.write_str(&parts.join(", "))
    }
}

impl Connection {
    /// The quotas that are set for exactly this entity, by name (`producer_byte_rate`, ...), as this broker has applied them.
    /// Needs DescribeConfigs on the cluster.
    pub fn client_quotas(&mut self, entity: &QuotaEntity) -> Result<BTreeMap<String, f64>, WireError> {
        const EXACT: i8 = 0;
        const DEFAULT: i8 = 1;
        let component = |(kind, name): (&'static str, &QuotaName)| {
            ComponentData::default()
                .with_entity_type(StrBytes::from_static_str(kind))
                .with_match_type(if name.name().is_some() { EXACT } else { DEFAULT })
                .with_match(name.name())
        };
        let request = DescribeClientQuotasRequest::default()
            .with_components(entity.parts().map(component).collect())
            .with_strict(true);
        let response = self.call(&request)?;
        let needed = Permission::on_cluster(Operation::DescribeConfigs);
        self.check_permitted(response.error_code, &response.error_message, needed, || {
            format!("describe the quotas of {entity}")
        })?;
        let entries: Vec<DescribedEntry> = response.entries.unwrap_or_default();
        let values = entries.into_iter().flat_map(|entry| entry.values);
        Ok(values.map(|value| (value.key.to_string(), value.value)).collect())
    }

    /// Sets quotas of an entity, or removes them (`None`), and leaves the others as they are. Brokers apply it some time after the
    /// answer. Needs AlterConfigs on the cluster.
    pub fn alter_client_quotas(
        &mut self,
        entity: &QuotaEntity,
        changes: &BTreeMap<String, Option<f64>>,
    ) -> Result<(), WireError> {
        let part = |(kind, name): (&'static str, &QuotaName)| {
            EntityData::default()
                .with_entity_type(StrBytes::from_static_str(kind))
                .with_entity_name(name.name())
        };
        let change = |(key, value): (&String, &Option<f64>)| {
            OpData::default()
                .with_key(StrBytes::from_string(key.clone()))
                .with_value(value.unwrap_or_default())
                .with_remove(value.is_none())
        };
        let request = AlterClientQuotasRequest::default().with_entries(vec![
            EntryData::default()
                .with_entity(entity.parts().map(part).collect())
                .with_ops(changes.iter().map(change).collect()),
        ]);
        let response = self.call(&request)?;
        let result = response.entries.first().ok_or_else(|| self.empty("AlterClientQuotas"))?;
        let needed = Permission::on_cluster(Operation::AlterConfigs);
        self.check_permitted(result.error_code, &result.error_message, needed, || {
            format!("change the quotas of {entity}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_in_words() {
        let named = |name: &str| Some(QuotaName::Named(name.to_owned()));
        let entity = |user, client_id| QuotaEntity { user, client_id }.to_string();
        assert_eq!(entity(named("alice"), None), "user alice");
        assert_eq!(entity(None, Some(QuotaName::Default)), "client-id <default>");
        assert_eq!(entity(named("alice"), named("etl")), "user alice, client-id etl");
    }
}
