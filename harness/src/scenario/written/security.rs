//! `cluster.security`, by the names of Kafka's Java clients; `sasl.username` and `sasl.password` are librdkafka's.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::scenario::secrets;
use crate::scenario::types::SecretSource;

/// How to connect to a cluster that runs already. Secrets are `${env.NAME}` or `{ file: PATH }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with at least `security.protocol`")]
pub(crate) struct SecurityProperties {
    /// TLS or not, log-in or not.
    #[serde(rename = "security.protocol")]
    pub(crate) protocol: ProtocolWritten,
    /// How to log in.
    #[serde(rename = "sasl.mechanism")]
    pub(crate) mechanism: Option<MechanismWritten>,
    /// Who logs in, by PLAIN or SCRAM.
    #[serde(rename = "sasl.username")]
    pub(crate) username: Option<String>,
    /// Their password.
    #[serde(rename = "sasl.password")]
    pub(crate) password: Option<SecretWritten>,
    /// Instead of the two above: `...LoginModule required username="..." password="...";`.
    #[serde(rename = "sasl.jaas.config")]
    pub(crate) jaas_config: Option<SecretWritten>,
    /// The token of OAUTHBEARER. A file is read again for every log-in.
    #[serde(rename = "sasl.oauthbearer.token")]
    pub(crate) token: Option<SecretWritten>,
    /// Must be PEM.
    #[serde(rename = "ssl.truststore.type")]
    pub(crate) truststore_type: Option<StoreTypeWritten>,
    /// File with the certificates that are trusted, as PEM. Those of the operating system if left out.
    #[serde(rename = "ssl.truststore.location")]
    pub(crate) truststore_location: Option<PathBuf>,
    /// The certificates that are trusted, as PEM.
    #[serde(rename = "ssl.truststore.certificates")]
    pub(crate) truststore_certificates: Option<String>,
    /// Must be PEM.
    #[serde(rename = "ssl.keystore.type")]
    pub(crate) keystore_type: Option<StoreTypeWritten>,
    /// File with the client's certificate and its key, as PEM.
    #[serde(rename = "ssl.keystore.location")]
    pub(crate) keystore_location: Option<PathBuf>,
    /// The client's certificate, followed by those that vouch for it, as PEM.
    #[serde(rename = "ssl.keystore.certificate.chain")]
    pub(crate) keystore_chain: Option<String>,
    /// Its key, as PEM, not encrypted.
    #[serde(rename = "ssl.keystore.key")]
    pub(crate) keystore_key: Option<SecretWritten>,
    /// Whether the certificate of a broker must be for the host that it is reached by. https; empty: it need not.
    #[serde(rename = "ssl.endpoint.identification.algorithm")]
    pub(crate) endpoint_identification: Option<EndpointWritten>,
}

/// `security.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "SecurityProtocol")]
pub(crate) enum ProtocolWritten {
    #[serde(rename = "PLAINTEXT")]
    Plaintext,
    #[serde(rename = "SSL")]
    Ssl,
    #[serde(rename = "SASL_PLAINTEXT")]
    SaslPlaintext,
    #[serde(rename = "SASL_SSL")]
    SaslSsl,
}

/// `sasl.mechanism`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "SaslMechanism")]
pub(crate) enum MechanismWritten {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

/// Form of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "StoreType")]
pub(crate) enum StoreTypeWritten {
    #[serde(rename = "PEM")]
    Pem,
}

/// `ssl.endpoint.identification.algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "EndpointIdentification")]
pub(crate) enum EndpointWritten {
    #[serde(rename = "https")]
    Https,
    #[serde(rename = "")]
    Off,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretWritten(pub(crate) SecretSource);

impl<'de> Deserialize<'de> for SecretWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// The second form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileWritten {
    file: PathBuf,
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretWritten;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`${env.NAME}` or `{ file: PATH }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretWritten, E> {
        // The message does not repeat the text: it may be the secret itself.
        let variable =
            secrets::variable(text).ok_or_else(|| E::custom("expected `${env.NAME}` or `{ file: PATH }`"))?;
        Ok(SecretWritten(SecretSource::Env(variable.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretWritten, A::Error> {
        FileWritten::deserialize(MapAccessDeserializer::new(map))
            .map(|written| SecretWritten(SecretSource::File(written.file)))
    }
}

impl JsonSchema for SecretWritten {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": r"^\$\{env\.[A-Za-z0-9_]+\}$" },
                {
                    "type": "object",
                    "properties": { "file": { "type": "string" } },
                    "required": ["file"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
