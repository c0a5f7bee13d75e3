//! A broker whose ceiling is known.

use std::collections::BTreeMap;

use gauntlet_wire::{ConnectOptions, Connection, QuotaEntity, QuotaName};

/// Limits what each broker takes from producers with this client id, in bytes per second.
pub(crate) fn set_quota(broker: &str, client_id: &str, bytes_per_second: f64) {
    let of = QuotaEntity { user: None, client_id: Some(QuotaName::Named(client_id.to_owned())) };
    let limits = BTreeMap::from([("producer_byte_rate".to_owned(), Some(bytes_per_second))]);
    let mut admin = Connection::connect(broker, &ConnectOptions::default()).unwrap();
    admin.alter_client_quotas(&of, &limits).unwrap();
}
