//! What is set on topics and brokers (DescribeConfigs, IncrementalAlterConfigs).

use std::collections::BTreeMap;
use std::fmt;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;
use serde::{Deserialize, Serialize};

use crate::acl::{Operation, Permission};
use crate::connection::Connection;
use crate::error::WireError;

/// What has a configuration of its own (ConfigResource).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigResource {
    /// The topic of this name.
    Topic(String),
    /// The broker of this id: what is set here holds for it alone.
    Broker(i32),
    /// All brokers: what holds where a broker has nothing set for itself (`--entity-default` of `kafka-configs`).
    AllBrokers,
}

impl ConfigResource {
    /// The broker that has to be asked about it; `None`: any.
    pub fn answered_by(&self) -> Option<i32> {
        match self {
            ConfigResource::Broker(id) => Some(*id),
            ConfigResource::Topic(_) | ConfigResource::AllBrokers => None,
        }
    }

    fn type_code(&self) -> i8 {
        match self {
            ConfigResource::Topic(_) => 2,
            ConfigResource::Broker(_) | ConfigResource::AllBrokers => 4,
        }
    }

    fn name(&self) -> StrBytes {
        StrBytes::from_string(match self {
            ConfigResource::Topic(name) => name.clone(),
            ConfigResource::Broker(id) => id.to_string(),
            ConfigResource::AllBrokers => String::new(),
        })
    }

    /// What DescribeConfigs gives as the source of a value that is set on this very resource: `DYNAMIC_TOPIC_CONFIG`,
    /// `DYNAMIC_BROKER_CONFIG`, `DYNAMIC_DEFAULT_BROKER_CONFIG`.
    fn own_source(&self) -> i8 {
        match self {
            ConfigResource::Topic(_) => 1,
            ConfigResource::Broker(_) => 2,
            ConfigResource::AllBrokers => 3,
        }
    }

    fn permission(&self, operation: Operation) -> Permission {
        match self {
            ConfigResource::Topic(name) => Permission::on_topic(operation, name),
            ConfigResource::Broker(_) | ConfigResource::AllBrokers => Permission::on_cluster(operation),
        }
    }
}

impl fmt::Display for ConfigResource {
    /// `topic orders`, `broker 2`, `all brokers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigResource::Topic(name) => write!(f, "topic {name}"),
            ConfigResource::Broker(id) => write!(f, "broker {id}"),
            ConfigResource::AllBrokers => f.write_str("all brokers"),
        }
    }
}

impl Connection {
    /// The effective configuration of a topic, by property name. Needs DescribeConfigs on it.
    pub fn topic_config(&mut self, topic: &str) -> Result<BTreeMap<String, String>, WireError> {
        Ok(told(self.describe_config(&ConfigResource::Topic(topic.to_owned()))?))
    }

    /// What is set on the topic itself of its configuration, by property name; what comes from brokers or is a default is
    /// left out, and so is what is secret. Needs DescribeConfigs on it.
    pub fn topic_config_set(&mut self, topic: &str) -> Result<BTreeMap<String, String>, WireError> {
        let set = self.config_set(&ConfigResource::Topic(topic.to_owned()))?;
        Ok(set.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// The effective configuration of a broker, by property name. Must be sent to that broker.
    pub fn broker_config(&mut self, broker_id: i32) -> Result<BTreeMap<String, String>, WireError> {
        Ok(told(self.describe_config(&ConfigResource::Broker(broker_id))?))
    }

    /// What is set on `resource` itself, by property name, as this broker has applied it; `None` for a value that is secret.
    /// Must be sent to [`ConfigResource::answered_by`]. Needs DescribeConfigs on it.
    pub fn config_set(
        &mut self,
        resource: &ConfigResource,
    ) -> Result<BTreeMap<String, Option<String>>, WireError> {
        let mut described = self.describe_config(resource)?;
        described.retain(|property| property.config_source == resource.own_source());
        let value = |p: DescribeConfigsResourceResult| (p.name.to_string(), p.value.map(|v| v.to_string()));
        Ok(described.into_iter().map(value).collect())
    }

    /// Sets properties of `resource`, or removes them (`None`), and leaves the others as they are (KIP-339). Must be sent to
    /// [`ConfigResource::answered_by`]. Brokers apply it some time after the answer. Needs AlterConfigs on it.
    pub fn alter_config(
        &mut self,
        resource: &ConfigResource,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), WireError> {
        const SET: i8 = 0;
        const DELETE: i8 = 1;
        let change = |(name, value): (&String, &Option<String>)| {
            AlterableConfig::default()
                .with_name(StrBytes::from_string(name.clone()))
                .with_config_operation(if value.is_some() { SET } else { DELETE })
                .with_value(value.clone().map(StrBytes::from_string))
        };
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![
            AlterConfigsResource::default()
                .with_resource_type(resource.type_code())
                .with_resource_name(resource.name())
                .with_configs(changes.iter().map(change).collect()),
        ]);
        let response = self.call(&request)?;
        let result = response.responses.first().ok_or_else(|| self.empty("IncrementalAlterConfigs"))?;
        let needed = resource.permission(Operation::AlterConfigs);
        self.check_permitted(result.error_code, &result.error_message, needed, || {
            format!("change the configuration of {resource}")
        })
    }

    fn describe_config(
        &mut self,
        resource: &ConfigResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, WireError> {
        let request = DescribeConfigsRequest::default().with_resources(vec![
            DescribeConfigsResource::default()
                .with_resource_type(resource.type_code())
                .with_resource_name(resource.name())
                .with_configuration_keys(None),
        ]);
        let response = self.call(&request)?;
        let result = response.results.into_iter().next().ok_or_else(|| self.empty("DescribeConfigs"))?;
        let needed = resource.permission(Operation::DescribeConfigs);
        self.check_permitted(result.error_code, &result.error_message, needed, || {
            format!("describe the configuration of {resource}")
        })?;
        Ok(result.configs)
    }
}

/// Secret values are not told, and so are not there.
fn told(described: Vec<DescribeConfigsResourceResult>) -> BTreeMap<String, String> {
    let told = |property: DescribeConfigsResourceResult| {
        property.value.map(|value| (property.name.to_string(), value.to_string()))
    };
    described.into_iter().filter_map(told).collect()
}
