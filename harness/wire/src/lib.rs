//! A Kafka protocol client for load: an own hot path for Produce and Fetch, and the generated messages of the
//! `kafka-protocol` crate for everything rare.
//!
//! - [`Connection`], [`admin`], [`metadata`]: blocking calls, one at a time
//! - [`batch`], [`codec`]: record batches (format v2) and their compression
//! - [`producer`]: the producer for load, with the recovery rules of idempotence
//! - [`fetcher`]: the log reader; [`fetch`]: some batches by a blocking call
//! - [`security`]: TLS and log-ins; [`acl`]: permissions
//! - [`code`], [`error`]: error codes, what each proves about a produced batch, and this crate's error

pub mod acl;
pub mod admin;
pub mod batch;
mod channel;
mod clock;
pub mod code;
pub mod codec;
mod connection;
pub mod error;
pub mod fetch;
pub mod fetcher;
mod frame;
pub mod lateness;
mod links;
pub mod metadata;
pub mod producer;
pub mod security;
mod turns;
mod varint;

pub use acl::{Operation, Permission, Resource};
pub use admin::{
    ConfigResource, DirectoryId, Features, FoundOffset, NewTopic, OffsetSpec, ProducerIdentity, Quorum,
    QuorumMember, QuorumMembers, QuotaEntity, QuotaName, Reassignment,
};
pub use clock::monotonic_ns;
pub use code::ErrorCode;
pub use connection::{ApiVersions, ConnectOptions, Connection};
pub use error::WireError;
pub use links::LinkConfig;
pub use metadata::{BrokerNode, ClusterMetadata, PartitionMetadata, TopicMetadata};
pub use security::Security;
