//! How a program is started, and what its first line says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use gauntlet_chaos::ClientRole;
use gauntlet_wire::Security;
use serde::Serialize;

use super::log::Scribe;
use super::programs::{Programs, Who};
use super::settings::{NameAndPassword, Settings, secure};

/// Version of the contract.
const PROTOCOL: u32 = 1;
/// The environment variable that names the directory of Kafka's jars.
pub const KAFKA_LIBS: &str = "GAUNTLET_KAFKA_LIBS";

/// Everything that does not change when a program is started again.
pub struct Launch {
    /// Who it is.
    pub who: Who,
    /// Where it says what it has to say.
    pub scribe: Scribe,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Kafka's jars, where the cluster is made of such.
    pub kafka_libs: Option<PathBuf>,
    /// What it is to do.
    pub plan: Assignment,
    /// Where it is counted.
    pub programs: Arc<Programs>,
}

impl std::fmt::Debug for Launch {
    /// Without the plan, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Launch { who, command, kafka_libs, .. } = self;
        let mut shown = f.debug_struct("Launch");
        shown
            .field("who", &who.name)
            .field("command", command)
            .field("kafka_libs", kafka_libs)
            .finish_non_exhaustive()
    }
}

/// What a program is told in its first line.
#[derive(Clone, Serialize)]
pub struct Assignment {
    protocol: u32,
    role: ClientRole,
    run: String,
    client_id: String,
    topic: String,
    partitions: u32,
    config: Settings,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<NameAndPassword>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assigned: Option<Vec<Assigned>>,
}

#[derive(Clone, Serialize)]
struct Assigned {
    partition: usize,
    offset: i64,
}

/// How a client connects, and as whom.
#[derive(Clone, Copy)]
pub struct Connection<'a> {
    /// `host:port` of some brokers.
    pub bootstrap: &'a [String],
    /// `client.id`.
    pub client_id: &'a str,
    /// TLS and log-in.
    pub security: &'a Security,
}

impl Assignment {
    /// For a producer of a topic with so many partitions, or a consumer of some of them. `run` is the id of the run.
    #[must_use]
    pub fn new(
        role: ClientRole,
        run: &str,
        (topic, partitions): (&str, u32),
        settings: &Settings,
        connection: Connection<'_>,
    ) -> Self {
        let mut config = settings.clone();
        config.insert("bootstrap.servers".to_owned(), connection.bootstrap.join(","));
        config.insert("client.id".to_owned(), connection.client_id.to_owned());
        let credentials = secure(&mut config, connection.security);
        Assignment {
            protocol: PROTOCOL,
            role,
            run: run.to_owned(),
            client_id: connection.client_id.to_owned(),
            topic: topic.to_owned(),
            partitions,
            config,
            credentials,
            assigned: None,
        }
    }

    /// The same, for a consumer of these partitions, each from its offset on.
    #[must_use]
    pub fn from(&self, positions: &BTreeMap<usize, i64>) -> Self {
        let assigned = positions.iter().map(|(&partition, &offset)| Assigned { partition, offset }).collect();
        Assignment { assigned: Some(assigned), ..self.clone() }
    }

    /// The line.
    pub(super) fn line(&self) -> Vec<u8> {
        // Texts and numbers are always JSON.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("plan {json}\n").into_bytes()
    }
}
