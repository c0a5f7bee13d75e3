//! Who belongs to a cluster: brokers that leave it for good, and the voters of its quorum (KIP-853).

use std::time::Duration;

use kafka_protocol::messages::add_raft_voter_request::Listener;
use kafka_protocol::messages::describe_quorum_response::ReplicaState;
use kafka_protocol::messages::{
    AddRaftVoterRequest, BrokerId, RemoveRaftVoterRequest, UnregisterBrokerRequest,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::acl::{Operation, Permission};
use crate::connection::Connection;
use crate::error::WireError;
use crate::metadata;

/// The first version that tells directories (KIP-853); nothing of later ones is needed.
const DESCRIBE_QUORUM_VERSION_CAP: i16 = 2;

/// A directory with the log of the quorum: what tells a voter from one that came back on an empty disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryId(pub [u8; 16]);

/// A node that votes in the quorum, or only reads its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumMember {
    /// Kafka's `node.id`.
    pub id: i32,
    /// Where it has the log; all zero in a quorum of static voters, which knows none.
    pub directory: DirectoryId,
    /// How far it has read, as its leader knows; -1 before it is known.
    pub log_end_offset: i64,
}

/// Who votes, and who only reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumMembers {
    /// Node id of the active controller; `None` during an election.
    pub leader: Option<i32>,
    /// How far its log is replicated.
    pub high_watermark: i64,
    /// Those that elect it.
    pub voters: Vec<QuorumMember>,
    /// Those that don't, brokers included.
    pub observers: Vec<QuorumMember>,
}

impl From<&ReplicaState> for QuorumMember {
    fn from(state: &ReplicaState) -> Self {
        Self {
            id: state.replica_id.0,
            directory: DirectoryId(*state.replica_directory_id.as_bytes()),
            log_end_offset: state.log_end_offset,
        }
    }
}

impl Connection {
    /// Voters and observers of the quorum as its leader knows them. Needs Describe on the cluster.
    pub fn quorum_members(&mut self) -> Result<QuorumMembers, WireError> {
        let partition = self.describe_quorum(DESCRIBE_QUORUM_VERSION_CAP)?;
        Ok(QuorumMembers {
            leader: metadata::known(partition.leader_id.0),
            high_watermark: partition.high_watermark,
            voters: partition.current_voters.iter().map(QuorumMember::from).collect(),
            observers: partition.observers.iter().map(QuorumMember::from).collect(),
        })
    }

    /// Has the controller forget broker `id`: its registration is gone until it registers anew. `BROKER_ID_NOT_REGISTERED` if it has none. Needs
    /// Alter on the cluster.
    pub fn unregister_broker(&mut self, id: i32) -> Result<(), WireError> {
        let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(id));
        let response = self.call(&request)?;
        let needed = Permission::on_cluster(Operation::Alter);
        self.check_permitted(response.error_code, &response.error_message, needed, || {
            format!("unregister broker {id}")
        })
    }

    /// Makes node `id`, which is an observer that has caught up, a voter; `listener` is where the others reach it: name, host and port.
    /// `DUPLICATE_VOTER` if it is one. Needs Alter on the cluster.
    pub fn add_voter(
        &mut self,
        id: i32,
        directory: DirectoryId,
        listener: (&str, &str, u16),
        timeout: Duration,
    ) -> Result<(), WireError> {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let (name, host, port) = listener;
        let request = AddRaftVoterRequest::default()
            .with_cluster_id(None)
            .with_timeout_ms(timeout.as_millis() as i32)
            .with_voter_id(id)
            .with_voter_directory_id(Uuid::from_bytes(directory.0))
            .with_listeners(vec![
                Listener::default().with_name(text(name)).with_host(text(host)).with_port(port),
            ]);
        let response = self.call_capped(&request, 0)?;
        let needed = Permission::on_cluster(Operation::Alter);
        self.check_permitted(response.error_code, &response.error_message, needed, || {
            format!("add voter {id}")
        })
    }

    /// Has node `id` vote no longer: it goes on as an observer. `VOTER_NOT_FOUND` if it is none. Needs Alter on the cluster.
    pub fn remove_voter(&mut self, id: i32, directory: DirectoryId) -> Result<(), WireError> {
        let request = RemoveRaftVoterRequest::default()
            .with_cluster_id(None)
            .with_voter_id(id)
            .with_voter_directory_id(Uuid::from_bytes(directory.0));
        let response = self.call(&request)?;
        let needed = Permission::on_cluster(Operation::Alter);
        self.check_permitted(response.error_code, &response.error_message, needed, || {
            format!("remove voter {id}")
        })
    }
}
