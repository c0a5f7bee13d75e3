//! A local cluster that is secured: who may come in, and what they may do. Made anew for every cluster: its certificates and
//! passwords open nothing else, and are removed with its data.
//!
//! - Brokers, and gauntlet as their operator, are the super user `broker`: by PLAIN where the listener has SASL, by certificate
//!   where it has not. PLAIN, because brokers must be able to talk to each other before there is metadata that a SCRAM
//!   password could be in.
//! - The load is the user `gauntlet`, by the mechanism that the spec names. It may do nothing until something is granted.
//! - The listener of the KRaft quorum stays PLAINTEXT, where only this host reaches it, and whoever reaches it is a super user (`ANONYMOUS`).

mod authority;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gauntlet_wire::security::{
    ClientIdentity, Login, ScramHash, Secret, Security, Tls, TlsConfigError, TlsSettings, Trust,
};
use gauntlet_wire::{ConnectOptions, Connection, Permission, WireError};
use serde::{Deserialize, Serialize};

use self::authority::Authority;
use crate::files::{FileError, OnPath, write_atomically};
use crate::random::random_bytes;

/// The super user.
const BROKER: &str = "broker";
/// The user of the load.
const LOAD: &str = "gauntlet";
/// File that says how the operator connects, beside the brokers' own files, which have the same secrets in them.
const OPERATOR_FILE: &str = "operator.json";
/// Pause between two looks at whether brokers have applied something.
const POLL: Duration = Duration::from_millis(20);

/// How a local cluster is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalSecurity {
    /// Of the listener for clients and other brokers.
    pub protocol: Protocol,
    /// Whether an authorizer asks for ACLs.
    pub acls: bool,
}

/// `security.protocol` of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TLS, and clients must show a certificate.
    Ssl,
    /// A log-in without TLS.
    SaslPlaintext(Mechanism),
    /// A log-in under TLS.
    SaslSsl(Mechanism),
}

/// How the load logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// PLAIN.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

impl Protocol {
    /// Kafka's name, which is also that of the listener.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Ssl => "SSL",
            Protocol::SaslPlaintext(_) => "SASL_PLAINTEXT",
            Protocol::SaslSsl(_) => "SASL_SSL",
        }
    }

    /// The mechanism, where there is a log-in.
    #[must_use]
    pub fn mechanism(self) -> Option<Mechanism> {
        match self {
            Protocol::Ssl => None,
            Protocol::SaslPlaintext(mechanism) | Protocol::SaslSsl(mechanism) => Some(mechanism),
        }
    }

    fn has_tls(self) -> bool {
        !matches!(self, Protocol::SaslPlaintext(_))
    }
}

impl Mechanism {
    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    fn scram(self) -> Option<ScramHash> {
        match self {
            Mechanism::Plain => None,
            Mechanism::ScramSha256 => Some(ScramHash::Sha256),
            Mechanism::ScramSha512 => Some(ScramHash::Sha512),
        }
    }
}

/// Why a cluster could not be secured.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No certificates could be made.
    #[error("cannot make certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// They can't be used.
    #[error("cannot use the certificates that were just made: {0}")]
    Tls(#[from] TlsConfigError),
    /// A broker refused.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A broker did not apply in time what another one has accepted.
    #[error("{addr} has not applied {what} within {waited_ms} ms; last seen: {last}")]
    NotApplied {
        /// The broker.
        addr: String,
        /// What it should know.
        what: String,
        /// How long it was waited for.
        waited_ms: u64,
        /// What it said instead.
        last: String,
    },
}

/// Who may do what on one cluster, and by which secrets. The default is a cluster that is not secured.
#[derive(Debug, Default)]
pub(super) struct Access {
    secured: Option<Secured>,
    /// How its operator connects.
    pub(super) operator: Security,
    /// How the load connects.
    pub(super) load: Security,
}

#[derive(Debug)]
struct Secured {
    spec: LocalSecurity,
    operator_password: Secret,
    load_password: Secret,
    /// Key and certificate of the brokers, and the authority that vouches for it, where there is TLS.
    stores: Option<Stores>,
}

#[derive(Debug)]
struct Stores {
    key: PathBuf,
    trust: PathBuf,
    /// Key and certificate of the load, where it has to show one.
    load: Option<PathBuf>,
}

impl Access {
    /// Makes secrets for a cluster whose brokers listen at `hosts`, and writes into `dir` what they read.
    pub(super) fn make(
        spec: Option<LocalSecurity>,
        hosts: &[Ipv4Addr],
        dir: &Path,
    ) -> Result<Self, AccessError> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        let password = || Secret::new(hex(&random_bytes::<20>()));
        let (operator_password, load_password) = (password(), password());
        let mut access = Self::default();
        let mut stores = None;
        if spec.protocol.has_tls() {
            let authority = Authority::new()?;
            let broker = authority.issue(BROKER, hosts)?;
            // With a log-in, certificates of clients are not asked for.
            let asks = spec.protocol.mechanism().is_none();
            let paths = Stores {
                key: dir.join("broker.pem"),
                trust: dir.join("authority.pem"),
                load: asks.then(|| dir.join("load.pem")),
            };
            let load = authority.issue(LOAD, &[])?;
            write_identity(&paths.key, &broker)?;
            write_atomically(&paths.trust, authority.pem().as_bytes())?;
            paths.load.as_ref().map_or(Ok(()), |path| write_identity(path, &load))?;
            let shown = |identity: ClientIdentity| asks.then_some(identity);
            access.operator.tls = Some(tls(authority.pem(), shown(broker))?);
            access.load.tls = Some(tls(authority.pem(), shown(load))?);
            stores = Some(paths);
        }
        if let Some(mechanism) = spec.protocol.mechanism() {
            let load = match mechanism.scram() {
                None => Login::plain(LOAD, load_password.clone()),
                Some(hash) => Login::scram(hash, LOAD, load_password.clone()),
            };
            access.operator.login = Some(Arc::new(Login::plain(BROKER, operator_password.clone())));
            access.load.login = Some(Arc::new(load));
        }
        OperatorFile {
            password: spec.protocol.mechanism().map(|_| operator_password.expose().to_owned()),
            trust: stores.as_ref().map(|stores| stores.trust.clone()),
            identity: stores.as_ref().filter(|stores| stores.load.is_some()).map(|stores| stores.key.clone()),
        }
        .write(dir)?;
        access.secured = Some(Secured { spec, operator_password, load_password, stores });
        Ok(access)
    }

    /// Name and protocol of the listener for clients and other brokers: they are the same.
    pub(super) fn listener(&self) -> &'static str {
        self.secured.as_ref().map_or("PLAINTEXT", |s| s.spec.protocol.name())
    }

    /// The certificate of the authority that vouches for brokers, as PEM, where there is TLS.
    pub(super) fn authority_file(&self) -> Option<&Path> {
        Some(&self.secured.as_ref()?.stores.as_ref()?.trust)
    }

    /// Key and certificate of the load in one file, as PEM, where it has to show one.
    pub(super) fn load_file(&self) -> Option<&Path> {
        self.secured.as_ref()?.stores.as_ref()?.load.as_deref()
    }

    /// What brokers are told of it. Holds passwords.
    pub(super) fn properties(&self, listeners: &[&str]) -> BTreeMap<String, String> {
        self.secured.as_ref().map(|secured| secured.properties(listeners)).unwrap_or_default()
    }

    /// Whom ACLs have to name for the load, if there are any.
    pub(super) fn load_principal(&self) -> Option<&'static str> {
        let secured = self.secured.as_ref().filter(|s| s.spec.acls)?;
        Some(match secured.spec.protocol.mechanism() {
            // The distinguished name of its certificate.
            None => "User:CN=gauntlet",
            Some(_) => "User:gauntlet",
        })
    }

    /// Lets the user of the load in, once brokers answer.
    pub(super) fn admit_load(&self, brokers: &[String], deadline: Instant) -> Result<(), AccessError> {
        let Some(secured) = &self.secured else { return Ok(()) };
        let Some(hash) = secured.spec.protocol.mechanism().and_then(Mechanism::scram) else { return Ok(()) };
        let Some(first) = brokers.first() else { return Ok(()) };
        let salt = random_bytes::<16>();
        Connection::connect(first, &self.options())?.set_scram_password(
            LOAD,
            hash,
            &secured.load_password,
            &salt,
        )?;
        let options = ConnectOptions { security: self.load.clone(), ..self.options() };
        wait_for(brokers, "the password of the load", deadline, |addr| {
            match Connection::connect(addr, &options) {
                Ok(_) => Ok(None),
                Err(error @ WireError::Authentication { .. }) => Ok(Some(error.to_string())),
                Err(error) => Err(error),
            }
        })
    }

    /// Grants the user of the load what is listed, and waits until every broker has applied it.
    pub(super) fn grant(
        &self,
        brokers: &[String],
        permissions: &[Permission],
        deadline: Instant,
    ) -> Result<(), AccessError> {
        let (Some(principal), Some(first)) = (self.load_principal(), brokers.first()) else { return Ok(()) };
        Connection::connect(first, &self.options())?.grant(principal, permissions)?;
        wait_for(brokers, "the ACLs of the load", deadline, |addr| {
            let granted = Connection::connect(addr, &self.options())?.granted(principal)?;
            let missing = permissions.iter().find(|p| !granted.contains(p));
            Ok(missing.map(|p| format!("{p} is missing")))
        })
    }

    /// How the operator connects.
    fn options(&self) -> ConnectOptions {
        ConnectOptions { security: self.operator.clone(), ..ConnectOptions::default() }
    }
}

fn tls(authority: String, identity: Option<ClientIdentity>) -> Result<Tls, TlsConfigError> {
    Tls::new(&TlsSettings { trust: Trust::Pem(authority), identity, verify_host: true })
}

/// How the operator connects, for whoever has to undo something when the run that made the cluster is dead.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorFile {
    /// Of the super user, where there is a log-in.
    password: Option<String>,
    /// Certificate of the authority, where there is TLS.
    trust: Option<PathBuf>,
    /// Key and certificate, where brokers ask for them.
    identity: Option<PathBuf>,
}

impl OperatorFile {
    fn write(&self, dir: &Path) -> Result<(), FileError> {
        let path = dir.join(OPERATOR_FILE);
        let text = serde_json::to_vec(self).map_err(std::io::Error::from).on("encode", &path)?;
        write_atomically(&path, &text)
    }
}

/// How the operator of the cluster in `dir` connects; without secrets if it has none. Fails if the file is there and can't be used.
pub(crate) fn operator_of(dir: &Path) -> Result<Security, AccessError> {
    let path = dir.join(OPERATOR_FILE);
    let mut security = Security::default();
    if !path.exists() {
        return Ok(security);
    }
    let read = |path: &Path| std::fs::read_to_string(path).on("read", path);
    let file: OperatorFile =
        serde_json::from_str(&read(&path)?).map_err(std::io::Error::from).on("read", &path)?;
    if let Some(trust) = &file.trust {
        let identity = file.identity.as_deref().map(read).transpose()?;
        // Key and chain are in one file, and each reader takes what it looks for.
        let identity =
            identity.map(|pem| ClientIdentity { chain_pem: pem.clone(), key_pem: Secret::new(pem) });
        security.tls = Some(tls(read(trust)?, identity)?);
    }
    let login = |password: String| Arc::new(Login::plain(BROKER, Secret::new(password)));
    security.login = file.password.map(login);
    Ok(security)
}

/// Writes key and certificate, for the owner's eyes only.
fn write_identity(path: &Path, identity: &ClientIdentity) -> Result<(), FileError> {
    write_atomically(path, format!("{}{}", identity.key_pem.expose(), identity.chain_pem).as_bytes())
}

/// Waits until `look` finds nothing missing on any of `brokers`.
fn wait_for(
    brokers: &[String],
    what: &str,
    deadline: Instant,
    look: impl Fn(&str) -> Result<Option<String>, WireError>,
) -> Result<(), AccessError> {
    let begun = Instant::now();
    for addr in brokers {
        while let Some(last) = look(addr)? {
            if Instant::now() >= deadline {
                let waited_ms = begun.elapsed().as_millis() as u64;
                return Err(AccessError::NotApplied {
                    addr: addr.clone(),
                    what: what.to_owned(),
                    waited_ms,
                    last,
                });
            }
            thread::sleep(POLL);
        }
    }
    Ok(())
}

impl Secured {
    fn properties(&self, listeners: &[&str]) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        let mut set = |name: &str, value: String| properties.insert(name.to_owned(), value);
        if let Some(stores) = &self.stores {
            set("ssl.keystore.type", "PEM".to_owned());
            set("ssl.keystore.location", stores.key.display().to_string());
            set("ssl.truststore.type", "PEM".to_owned());
            set("ssl.truststore.location", stores.trust.display().to_string());
        }
        match self.spec.protocol.mechanism() {
            None => {
                set("ssl.client.auth", "required".to_owned());
            }
            Some(mechanism) => {
                set("sasl.mechanism.inter.broker.protocol", "PLAIN".to_owned());
                let enabled = match mechanism.scram() {
                    Some(_) => format!("PLAIN,{}", mechanism.name()),
                    None => "PLAIN".to_owned(),
                };
                set("sasl.enabled.mechanisms", enabled);
                for listener in listeners.iter().map(|listener| listener.to_lowercase()) {
                    let jaas =
                        |mechanism: &str| format!("listener.name.{listener}.{mechanism}.sasl.jaas.config");
                    set(&jaas("plain"), self.plain_users(mechanism));
                    if mechanism.scram().is_some() {
                        let module = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
                        set(&jaas(&mechanism.name().to_lowercase()), module.to_owned());
                    }
                }
            }
        }
        if self.spec.acls {
            let operator = if self.spec.protocol.mechanism().is_none() { "CN=broker" } else { BROKER };
            set(
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
            );
            set("super.users", format!("User:{operator};User:ANONYMOUS"));
        }
        properties
    }

    fn plain_users(&self, mechanism: Mechanism) -> String {
        let operator = self.operator_password.expose();
        let load = match mechanism {
            Mechanism::Plain => format!(" user_{LOAD}=\"{}\"", self.load_password.expose()),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => String::new(),
        };
        format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{BROKER}\" \
             password=\"{operator}\" user_{BROKER}=\"{operator}\"{load};"
        )
    }
}

/// Digits that need no escaping anywhere.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(protocol: Protocol) -> (Access, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let access =
            Access::make(Some(LocalSecurity { protocol, acls: true }), &[Ipv4Addr::LOCALHOST], dir.path())
                .unwrap();
        (access, dir)
    }

    #[test]
    fn each_protocol_has_what_it_needs() {
        for (protocol, keys) in [
            (Protocol::Ssl, vec!["ssl.client.auth", "ssl.keystore.location"]),
            (
                Protocol::SaslPlaintext(Mechanism::Plain),
                vec!["listener.name.sasl_plaintext.plain.sasl.jaas.config", "sasl.enabled.mechanisms"],
            ),
            (
                Protocol::SaslSsl(Mechanism::ScramSha512),
                vec!["listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config", "ssl.truststore.location"],
            ),
        ] {
            let (access, _dir) = make(protocol);
            let properties = access.properties(&[access.listener()]);
            assert!(keys.iter().all(|key| properties.contains_key(*key)), "{protocol:?}: {properties:#?}");
            assert_eq!(properties.contains_key("ssl.keystore.location"), protocol.has_tls());
            assert_eq!(access.load_file().is_some_and(Path::exists), protocol == Protocol::Ssl);
            assert_eq!(access.load.protocol(), protocol.name());
            assert_eq!(access.listener(), protocol.name());
        }
        assert_eq!(Access::default().listener(), "PLAINTEXT");
        assert!(Access::default().properties(&[]).is_empty());
    }

    #[test]
    fn nothing_shows_a_password_and_the_load_does_not_know_that_of_brokers() {
        let (access, dir) = make(Protocol::SaslSsl(Mechanism::ScramSha256));
        let secured = access.secured.as_ref().unwrap();
        let shown = format!("{access:?}");
        assert!(
            !shown.contains(secured.operator_password.expose())
                && !shown.contains(secured.load_password.expose())
        );
        let text = format!("{:?}", access.properties(&[access.listener()]));
        assert!(text.contains(secured.operator_password.expose()));
        assert!(!text.contains(secured.load_password.expose()), "SCRAM passwords are not in properties");
        let key = std::fs::metadata(dir.path().join("broker.pem")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    }
}
