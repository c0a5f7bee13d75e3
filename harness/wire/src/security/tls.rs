//! The client side of TLS over rustls: configuration from PEM, and what its errors mean to whoever configured it.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::secret::Secret;

/// What TLS is to be like.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Who may vouch for brokers (`ssl.truststore.*`).
    pub trust: Trust,
    /// Who we are, where brokers want to know it (`ssl.keystore.*`).
    pub identity: Option<ClientIdentity>,
    /// Whether a broker's certificate must be for the host that was connected to
    /// (`ssl.endpoint.identification.algorithm`: `https`, or empty).
    pub verify_host: bool,
}

/// Certificate authorities.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those of the operating system.
    System,
    /// These certificates, as PEM.
    Pem(String),
}

/// A client certificate.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// The certificate, followed by those that vouch for it, as PEM.
    pub chain_pem: String,
    /// Its private key, as PEM, not encrypted.
    pub key_pem: Secret,
}

/// TLS as it was configured. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    settings: Arc<TlsSettings>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("has_identity", &self.has_identity()).finish_non_exhaustive()
    }
}

/// Which part of the settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsConfigError {
    /// The certificate authorities.
    #[error("{0}")]
    Trust(String),
    /// The client certificate.
    #[error("{0}")]
    Chain(String),
    /// Its key.
    #[error("{0}")]
    Key(String),
}

impl Tls {
    /// Reads certificates and key.
    ///
    /// # Errors
    /// What cannot be used, and why. No error shows the key.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots(&settings.trust)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|e| TlsConfigError::Trust(format!("the certificate authorities cannot be used: {e}")))?;
        let verifier: Arc<dyn ServerCertVerifier> = match settings.verify_host {
            true => verifier,
            false => Arc::new(AnyHost(verifier)),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsConfigError::Trust(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(&identity.chain_pem).map_err(TlsConfigError::Chain)?;
                let key = private_key(&identity.key_pem)?;
                builder.with_client_auth_cert(chain, key).map_err(|e| match e {
                    rustls::Error::InconsistentKeys(_) => {
                        TlsConfigError::Key("the key does not belong to the certificate".to_owned())
                    }
                    other => TlsConfigError::Key(format!("the key cannot be used: {other}")),
                })?
            }
        };
        Ok(Tls { config: Arc::new(config), settings: Arc::new(settings.clone()) })
    }

    /// What it was made from: another client can be made to do the same.
    #[must_use]
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Whether we present a certificate of our own.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.settings.identity.is_some()
    }
}

fn roots(trust: &Trust) -> Result<RootCertStore, TlsConfigError> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
                return Err(TlsConfigError::Trust(format!(
                    "this machine has no certificate authorities{why}; name those of the brokers"
                )));
            }
        }
        Trust::Pem(pem) => {
            for certificate in certificates(pem).map_err(TlsConfigError::Trust)? {
                roots.add(certificate).map_err(|e| TlsConfigError::Trust(e.to_string()))?;
            }
        }
    }
    Ok(roots)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|e| format!("this is not valid PEM: {e}"))?;
    if found.is_empty() {
        return Err("this holds no certificate; PEM begins with -----BEGIN CERTIFICATE-----".to_owned());
    }
    Ok(found)
}

fn private_key(pem: &Secret) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    if pem.expose().contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || pem.expose().contains("Proc-Type: 4,ENCRYPTED")
    {
        let text = "the key is encrypted, which is not supported; decrypt it, e.g. with `openssl pkey`";
        return Err(TlsConfigError::Key(text.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| {
        let text = "this holds no private key; PEM of one begins with -----BEGIN PRIVATE KEY-----";
        TlsConfigError::Key(text.to_owned())
    })
}

/// Checks everything but the host's name (`ssl.endpoint.identification.algorithm` empty).
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is compared last: whatever else could be wrong was found before.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Name of the TLS peer: the host of `host:port`, without the brackets of an IPv6 address.
pub(crate) fn server_name(addr: &str) -> Result<ServerName<'static>, TlsFailure> {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|_| TlsFailure {
        what: format!("`{host}` is no host name that a certificate can be for"),
        next_step: "connect by a DNS name or an IP address",
    })
}

/// Which check of TLS has failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFailure {
    /// The check.
    pub what: String,
    /// The next step.
    pub next_step: &'static str,
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.next_step)
    }
}

const TRUST: &str =
    "name the certificate authority of the brokers in ssl.truststore.location or ssl.truststore.certificates";
const CLOCKS: &str = "renew it, or set the clock of this machine";
const OTHER_PORT: &str =
    "set security.protocol to PLAINTEXT or SASL_PLAINTEXT, or use the port of another listener";
const OWN_CERTIFICATE: &str =
    "check ssl.keystore.certificate.chain and ssl.keystore.key: the brokers decide which clients they trust";

/// What an error of rustls means.
pub(crate) fn explain(error: &rustls::Error) -> TlsFailure {
    let failure = |what: String, next_step| TlsFailure { what, next_step };
    match error {
        rustls::Error::InvalidCertificate(why) => certificate(why),
        rustls::Error::InvalidMessage(_) => {
            failure("the answer is not TLS: this is the port of a listener without it".to_owned(), OTHER_PORT)
        }
        rustls::Error::AlertReceived(alert) => {
            let what = format!("the broker refuses us ({alert:?})");
            match alert {
                AlertDescription::CertificateRequired => {
                    failure("the broker demands a client certificate".to_owned(), OWN_CERTIFICATE)
                }
                AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
                    failure(what, "let the listener offer TLS 1.2 or 1.3 (ssl.enabled.protocols)")
                }
                _ => failure(what, OWN_CERTIFICATE),
            }
        }
        rustls::Error::PeerIncompatible(why) => failure(
            format!("the broker offers nothing that we speak ({why:?})"),
            "let the listener offer TLS 1.2 or 1.3 (ssl.enabled.protocols)",
        ),
        other => failure(other.to_string(), "look into the broker's log"),
    }
}

/// `DnsName("kafka-1")`, as rustls shows it, without what is around the name.
fn plain(names: &[String]) -> String {
    let inner = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(inner).collect::<Vec<_>>().join(", "),
    }
}

fn certificate(why: &CertificateError) -> TlsFailure {
    let failure = |what: String, next_step| TlsFailure { what, next_step };
    match why {
        // Another key under a name that is known is as strange as another name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            failure("the broker's certificate is from an unknown certificate authority".to_owned(), TRUST)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = match why {
                CertificateError::NotValidForNameContext { expected, presented } => {
                    format!(" for {}; it is for {}", expected.to_str(), plain(presented))
                }
                _ => " for the host that was connected to".to_owned(),
            };
            failure(
                format!("the broker's certificate is not valid{names}"),
                "connect by a name that it is for, or set ssl.endpoint.identification.algorithm to ''",
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            failure("the broker's certificate has expired".to_owned(), CLOCKS)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            failure("the broker's certificate is not valid yet".to_owned(), CLOCKS)
        }
        other => failure(format!("the broker's certificate cannot be used: {other}"), TRUST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(trust: &str, identity: Option<(&str, &str)>) -> TlsSettings {
        let identity = identity
            .map(|(chain, key)| ClientIdentity { chain_pem: chain.to_owned(), key_pem: Secret::new(key) });
        TlsSettings { trust: Trust::Pem(trust.to_owned()), identity, verify_host: true }
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let one = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let two = rcgen::generate_simple_self_signed(["b".to_owned()]).unwrap();
        let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let refused = |settings: TlsSettings| Tls::new(&settings).unwrap_err();
        assert!(
            matches!(refused(settings("", None)), TlsConfigError::Trust(why) if why.contains("no certificate"))
        );
        let other_key = two.signing_key.serialize_pem();
        let error = refused(settings(&chain, Some((&chain, &other_key))));
        assert_eq!(error, TlsConfigError::Key("the key does not belong to the certificate".to_owned()));
        assert!(matches!(refused(settings(&chain, Some((&chain, "x")))), TlsConfigError::Key(_)));
        assert!(matches!(refused(settings(&chain, Some(("x", &key)))), TlsConfigError::Chain(_)));
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let error = refused(settings(&chain, Some((&chain, &encrypted)))).to_string();
        assert!(error.contains("openssl pkey"), "{error}");
        assert!(Tls::new(&settings(&chain, Some((&chain, &key)))).unwrap().has_identity());
    }

    #[test]
    fn server_names() {
        assert_eq!(server_name("127.0.0.1:9").unwrap().to_str(), "127.0.0.1");
        assert_eq!(server_name("[::1]:9").unwrap().to_str(), "::1");
        assert_eq!(server_name("kafka-1.example:9093").unwrap().to_str(), "kafka-1.example");
        assert!(server_name("a b:1").unwrap_err().to_string().contains("`a b`"));
    }
}
