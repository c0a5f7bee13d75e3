//! A broker whose ceiling is known.

use gauntlet_wire::{ConnectOptions, Connection};
use kafka_protocol::messages::AlterClientQuotasRequest;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::protocol::StrBytes;

/// Limits what each broker takes from producers with this client id, in bytes per second.
pub(crate) fn set_quota(broker: &str, client_id: &str, bytes_per_second: f64) {
    let entity = EntityData::default()
        .with_entity_type(StrBytes::from_static_str("client-id"))
        .with_entity_name(Some(StrBytes::from_string(client_id.to_owned())));
    let op = OpData::default()
        .with_key(StrBytes::from_static_str("producer_byte_rate"))
        .with_value(bytes_per_second)
        .with_remove(false);
    let request = AlterClientQuotasRequest::default()
        .with_entries(vec![EntryData::default().with_entity(vec![entity]).with_ops(vec![op])]);
    let mut admin = Connection::connect(broker, &ConnectOptions::default()).unwrap();
    let response = admin.call(&request).unwrap();
    assert!(response.entries.iter().all(|e| e.error_code == 0), "{response:?}");
}
