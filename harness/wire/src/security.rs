//! Who we are to the brokers, and how what is said stays between them and us: TLS and SASL.
//!
//! - `secret`: texts that no message may show
//! - `tls`: the client side of TLS over rustls, and what its errors mean
//! - `scram`: RFC 5802 and RFC 7677, pure
//! - `sasl`: log-ins by the mechanisms of Kafka, as a conversation of tokens
//! - `greeting`: what is said on a new connection until it may be used, and again when its session ends
//! - `transport`: a socket, or TLS over one

pub(crate) mod greeting;
mod sasl;
pub(crate) mod scram;
mod secret;
pub(crate) mod tls;
pub(crate) mod transport;

use std::sync::Arc;

pub use sasl::{Credentials, Login, Token, TokenSource};
pub use scram::ScramHash;
pub use secret::Secret;
pub use tls::{ClientIdentity, Tls, TlsConfigError, TlsSettings, Trust};

/// How connections are secured. The default is PLAINTEXT. Cheap to clone; clones share what log-ins have computed.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// TLS, for the protocols `SSL` and `SASL_SSL`.
    pub tls: Option<Tls>,
    /// The log-in, for the protocols `SASL_PLAINTEXT` and `SASL_SSL`.
    pub login: Option<Arc<Login>>,
}

impl Security {
    /// `security.protocol` by Kafka's name.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match (&self.tls, &self.login) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        }
    }

    /// Who the brokers take us for, as far as we know: they may map names (`ssl.principal.mapping.rules`).
    #[must_use]
    pub fn principal(&self) -> String {
        match (&self.tls, &self.login) {
            (_, Some(login)) => login.principal(),
            (Some(tls), None) if tls.has_identity() => "the subject of the client certificate".to_owned(),
            _ => "User:ANONYMOUS".to_owned(),
        }
    }
}
