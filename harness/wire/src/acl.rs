//! What a principal may do: named as Kafka's tools name it, granted, and asked for.

use std::fmt;

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::{CreateAclsRequest, DescribeAclsRequest, MetadataRequest};
use kafka_protocol::protocol::StrBytes;

use crate::code::ErrorCode;
use crate::connection::Connection;
use crate::error::{Denied, WireError};
use crate::metadata::{self, METADATA_VERSION_CAP};

/// Something that can be done to a resource (AclOperation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Reading records.
    Read,
    /// Writing records.
    Write,
    /// Creating it.
    Create,
    /// Deleting it.
    Delete,
    /// Changing it; on the cluster also: electing leaders.
    Alter,
    /// Seeing it, its partitions and its offsets. Comes with Read, Write, Delete and Alter.
    Describe,
    /// Seeing its configuration; on the cluster also: quotas.
    DescribeConfigs,
    /// Changing its configuration; on the cluster also: quotas.
    AlterConfigs,
    /// On the cluster: getting a producer id without any topic to write to.
    IdempotentWrite,
}

impl Operation {
    /// All that this crate knows.
    pub const ALL: [Operation; 9] = [
        Operation::Read,
        Operation::Write,
        Operation::Create,
        Operation::Delete,
        Operation::Alter,
        Operation::Describe,
        Operation::DescribeConfigs,
        Operation::AlterConfigs,
        Operation::IdempotentWrite,
    ];

    /// Its number on the wire.
    fn code(self) -> i8 {
        match self {
            Operation::Read => 3,
            Operation::Write => 4,
            Operation::Create => 5,
            Operation::Delete => 6,
            Operation::Alter => 7,
            Operation::Describe => 8,
            Operation::DescribeConfigs => 10,
            Operation::AlterConfigs => 11,
            Operation::IdempotentWrite => 12,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What something is done to (ResourcePattern).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// The topic of this name.
    Topic(String),
    /// Every topic whose name begins like this.
    TopicPrefix(String),
    /// The cluster as a whole.
    Cluster,
}

const TOPIC: i8 = 2;
const CLUSTER: i8 = 4;
const ANY: i8 = 1;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const ALLOW: i8 = 3;
/// The name of the only resource of type cluster.
const CLUSTER_NAME: &str = "kafka-cluster";

impl Resource {
    fn type_code(&self) -> i8 {
        match self {
            Resource::Topic(_) | Resource::TopicPrefix(_) => TOPIC,
            Resource::Cluster => CLUSTER,
        }
    }

    fn pattern_code(&self) -> i8 {
        match self {
            Resource::TopicPrefix(_) => PREFIXED,
            Resource::Topic(_) | Resource::Cluster => LITERAL,
        }
    }

    fn name(&self) -> &str {
        match self {
            Resource::Topic(name) | Resource::TopicPrefix(name) => name,
            Resource::Cluster => CLUSTER_NAME,
        }
    }

    fn from_codes(kind: i8, pattern: i8, name: &str) -> Option<Self> {
        match (kind, pattern) {
            (TOPIC, LITERAL) => Some(Resource::Topic(name.to_owned())),
            (TOPIC, PREFIXED) => Some(Resource::TopicPrefix(name.to_owned())),
            (CLUSTER, LITERAL) => Some(Resource::Cluster),
            _ => None,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Topic(name) => write!(f, "topic {name}"),
            Resource::TopicPrefix(prefix) => write!(f, "topics {prefix}*"),
            Resource::Cluster => f.write_str("the cluster"),
        }
    }
}

/// An operation on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// What.
    pub operation: Operation,
    /// To what.
    pub resource: Resource,
}

impl Permission {
    /// An operation on the topic of this name.
    pub fn on_topic(operation: Operation, topic: &str) -> Self {
        Permission { operation, resource: Resource::Topic(topic.to_owned()) }
    }

    /// An operation on the cluster.
    pub fn on_cluster(operation: Operation) -> Self {
        Permission { operation, resource: Resource::Cluster }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.operation, self.resource)
    }
}

impl Connection {
    /// Allows `principal` (`User:name`), from any host, what is listed. Brokers apply it some time after the answer; see
    /// [`Connection::granted`]. Needs Alter on the cluster.
    pub fn grant(&mut self, principal: &str, permissions: &[Permission]) -> Result<(), WireError> {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let creations = permissions.iter().map(|p| {
            AclCreation::default()
                .with_resource_type(p.resource.type_code())
                .with_resource_name(text(p.resource.name()))
                .with_resource_pattern_type(p.resource.pattern_code())
                .with_principal(text(principal))
                .with_host(text("*"))
                .with_operation(p.operation.code())
                .with_permission_type(ALLOW)
        });
        let request = CreateAclsRequest::default().with_creations(creations.collect());
        let response = self.call_capped(&request, 3)?;
        for (result, permission) in response.results.iter().zip(permissions) {
            self.check_permitted(
                result.error_code,
                &result.error_message,
                Permission::on_cluster(Operation::Alter),
                || format!("grant {permission} to {principal}"),
            )?;
        }
        Ok(())
    }

    /// What the broker that is asked allows `principal` by ACLs of its own, as far as this crate knows operations and
    /// resources. Needs Describe on the cluster.
    pub fn granted(&mut self, principal: &str) -> Result<Vec<Permission>, WireError> {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(ANY)
            .with_resource_name_filter(None)
            .with_pattern_type_filter(ANY)
            .with_principal_filter(Some(StrBytes::from_string(principal.to_owned())))
            .with_host_filter(None)
            .with_operation(ANY)
            .with_permission_type(ALLOW);
        let response = self.call_capped(&request, 3)?;
        let needed = Permission::on_cluster(Operation::Describe);
        self.check_permitted(response.error_code, &response.error_message, needed, || {
            format!("list what {principal} may do")
        })?;
        let mut granted = Vec::new();
        for described in &response.resources {
            let (kind, pattern) = (described.resource_type, described.pattern_type);
            let Some(resource) = Resource::from_codes(kind, pattern, &described.resource_name) else {
                continue;
            };
            let codes = described.acls.iter().map(|acl| acl.operation);
            let operations = codes.filter_map(|code| Operation::ALL.into_iter().find(|o| o.code() == code));
            granted.extend(operations.map(|operation| Permission { operation, resource: resource.clone() }));
        }
        Ok(granted)
    }

    /// What the broker lets us do to a topic that exists (KIP-430), whether by ACLs or because it has none. `None` if it
    /// does not say.
    pub fn topic_operations(&mut self, topic: &str) -> Result<Option<Vec<Operation>>, WireError> {
        // The first version with these fields.
        const SINCE: i16 = 8;
        if self.versions().pick::<MetadataRequest>(METADATA_VERSION_CAP, self.addr())? < SINCE {
            return Ok(None);
        }
        let request = metadata::request(Some(&[topic])).with_include_topic_authorized_operations(true);
        let response = self.call_capped(&request, METADATA_VERSION_CAP)?;
        let Some(found) = response.topics.first() else { return Ok(None) };
        let needed = Permission::on_topic(Operation::Describe, topic);
        self.check_permitted(found.error_code, &None, needed, || format!("describe topic {topic}"))?;
        let bits = found.topic_authorized_operations;
        // Kafka's "not asked for"; others answer it always.
        if bits == i32::MIN {
            return Ok(None);
        }
        Ok(Some(Operation::ALL.into_iter().filter(|o| bits & (1 << o.code()) != 0).collect()))
    }

    /// As [`Connection::check`], for an answer that may say that `permission` is missing.
    pub(crate) fn check_permitted(
        &self,
        code: i16,
        message: &Option<StrBytes>,
        permission: Permission,
        what: impl FnOnce() -> String,
    ) -> Result<(), WireError> {
        if !ErrorCode(code).is_authorization_failure() {
            return self.check(code, message, what);
        }
        Err(WireError::Denied(Box::new(Denied {
            what: format!("{} on {}", what(), self.addr()),
            code: ErrorCode(code),
            principal: self.principal(),
            permission,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_survive_the_wire() {
        for resource in [Resource::Topic("a".into()), Resource::TopicPrefix("b-".into()), Resource::Cluster] {
            let back = Resource::from_codes(resource.type_code(), resource.pattern_code(), resource.name());
            assert_eq!(back, Some(resource));
        }
        assert_eq!(Resource::from_codes(3, LITERAL, "a group"), None);
    }

    #[test]
    fn permissions_in_words() {
        assert_eq!(Permission::on_topic(Operation::Write, "t").to_string(), "Write on topic t");
        assert_eq!(
            Permission::on_cluster(Operation::IdempotentWrite).to_string(),
            "IdempotentWrite on the cluster"
        );
    }
}
