//! How a cluster that runs already is connected to. Secrets are only named here, so that nothing that shows a scenario can
//! show them; the plan reads them.

use std::path::PathBuf;

/// `cluster.security`. Neither part: PLAINTEXT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSecurity {
    /// For the protocols `SSL` and `SASL_SSL`.
    pub tls: Option<ClientTls>,
    /// For the protocols `SASL_PLAINTEXT` and `SASL_SSL`.
    pub login: Option<ClientLogin>,
}

/// `ssl.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificates that are trusted. None: those of the operating system.
    pub trust: Option<PemSource>,
    /// The certificate of the client. None: it shows none.
    pub identity: Option<IdentitySource>,
    /// Whether the certificate of a broker must be for its host.
    pub verify_host: bool,
}

/// Certificate and key of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySource {
    /// Certificates.
    pub chain: PemSource,
    /// The private key.
    pub key: SecretSource,
}

/// Where PEM that is no secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemSource {
    /// The scenario itself.
    Text(String),
    /// A file.
    File(PathBuf),
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The environment variable of this name.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// `sasl.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLogin {
    /// `sasl.mechanism`.
    pub mechanism: SaslMechanism,
    /// What it needs.
    pub credentials: Credentials,
}

/// What a log-in needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// For every mechanism but OAUTHBEARER.
    Password {
        /// `sasl.username`.
        username: String,
        /// `sasl.password`.
        password: SecretSource,
    },
    /// `sasl.oauthbearer.token`, for OAUTHBEARER.
    Token(SecretSource),
    /// `sasl.jaas.config`, which holds either.
    Jaas(SecretSource),
}

/// `sasl.mechanism`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// PLAIN.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
    /// OAUTHBEARER.
    OAuthBearer,
}

impl SaslMechanism {
    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}
