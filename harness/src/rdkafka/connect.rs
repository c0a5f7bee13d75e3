//! What a client of librdkafka needs besides its settings, and only a run knows: brokers, a name, security, tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gauntlet_rdkafka::consumer::PartitionError;
use gauntlet_rdkafka::producer::Token;
use gauntlet_rdkafka::{Config, SettingError, StartError};
use gauntlet_wire::Security;
use gauntlet_wire::security::{Credentials, Trust};

use super::settings::Setting;

/// A client could not be made, or its loop not go on.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A property is refused. The plan has checked all but those of security.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The properties are refused together.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A partition can't be read.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The operating system refuses to wait.
    #[error("cannot wait for librdkafka: {0}")]
    Wait(#[from] std::io::Error),
}

/// How a client is made.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    /// Its settings.
    pub settings: Vec<Setting>,
    /// `host:port` of some brokers.
    pub bootstrap: Vec<String>,
    /// `client.id`.
    pub client_id: String,
    /// TLS and log-in.
    pub security: Security,
}

impl ClientPlan {
    /// All its properties.
    ///
    /// # Errors
    /// librdkafka refuses one. No error shows a secret.
    pub fn config(&self) -> Result<Config, SettingError> {
        let mut config = Config::new();
        for setting in &self.settings {
            config.set(&setting.name, &setting.value)?;
        }
        config.set("bootstrap.servers", &self.bootstrap.join(","))?;
        config.set("client.id", &self.client_id)?;
        secure(&mut config, &self.security)?;
        Ok(config)
    }

    /// Gives a client that asks for a token the current one, or says why there is none.
    ///
    /// # Errors
    /// Why there is none.
    pub fn renew(&self, set: impl FnOnce(&Token<'_>) -> Result<(), String>) -> Result<(), String> {
        /// For a token that does not say how long it lives.
        const LIFETIME: Duration = Duration::from_secs(3600);
        let Some(Credentials::Token(source)) = self.security.login.as_ref().map(|login| login.credentials())
        else {
            return Err("this client does not log in by a token".to_owned());
        };
        let token = source.current()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = token.expires_s.map_or(now + LIFETIME, Duration::from_secs);
        set(&Token {
            value: token.value.expose(),
            expires_unix_ms: i64::try_from(expires.as_millis()).unwrap_or(i64::MAX),
            principal: token.subject.as_deref().unwrap_or("gauntlet"),
        })
    }
}

/// `cluster.security` in librdkafka's words.
fn secure(config: &mut Config, security: &Security) -> Result<(), SettingError> {
    config.set("security.protocol", &security.protocol().to_lowercase())?;
    if let Some(tls) = &security.tls {
        let settings = tls.settings();
        let check = if settings.verify_host { "https" } else { "none" };
        config.set("ssl.endpoint.identification.algorithm", check)?;
        if let Trust::Pem(pem) = &settings.trust {
            config.set("ssl.ca.pem", pem)?;
        }
        if let Some(identity) = &settings.identity {
            config.set("ssl.certificate.pem", &identity.chain_pem)?;
            config.set_secret("ssl.key.pem", identity.key_pem.expose())?;
        }
    }
    if let Some(login) = &security.login {
        config.set("sasl.mechanism", login.mechanism())?;
        if let Credentials::Password { name, password } = login.credentials() {
            config.set("sasl.username", name)?;
            config.set_secret("sasl.password", password.expose())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gauntlet_wire::security::{ClientIdentity, Login, ScramHash, Secret, Tls, TlsSettings, TokenSource};

    use super::*;

    fn plan(security: Security) -> ClientPlan {
        let log = Setting { name: "log.queue".to_owned(), value: "true".to_owned(), from: None };
        ClientPlan {
            settings: vec![log],
            bootstrap: vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()],
            client_id: "gauntlet-producer-0".to_owned(),
            security,
        }
    }

    fn identity() -> (String, String) {
        let key = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        (key.cert.pem(), key.signing_key.serialize_pem())
    }

    fn tls(verify_host: bool) -> Tls {
        let (chain_pem, key) = identity();
        let identity = Some(ClientIdentity { chain_pem: chain_pem.clone(), key_pem: Secret::new(key) });
        Tls::new(&TlsSettings { trust: Trust::Pem(chain_pem), identity, verify_host }).unwrap()
    }

    #[test]
    fn every_way_to_log_in_has_its_properties() {
        let scram = |hash| Some(Arc::new(Login::scram(hash, "tim", Secret::new("hunter2"))));
        let token = TokenSource::Fixed(Secret::new("t0k"));
        for (security, protocol, mechanism) in [
            (Security::default(), "plaintext", ""),
            (Security { tls: Some(tls(true)), login: None }, "ssl", ""),
            (
                Security { tls: None, login: Some(Arc::new(Login::plain("tim", Secret::new("x")))) },
                "sasl_plaintext",
                "PLAIN",
            ),
            (Security { tls: None, login: scram(ScramHash::Sha256) }, "sasl_plaintext", "SCRAM-SHA-256"),
            (
                Security { tls: Some(tls(false)), login: scram(ScramHash::Sha512) },
                "sasl_ssl",
                "SCRAM-SHA-512",
            ),
            (
                Security { tls: None, login: Some(Arc::new(Login::oauthbearer(token))) },
                "sasl_plaintext",
                "OAUTHBEARER",
            ),
        ] {
            let config = plan(security.clone()).config().unwrap();
            let get = |name: &str| config.get(name).unwrap_or_default();
            assert_eq!(
                (get("security.protocol").as_str(), get("bootstrap.servers").as_str()),
                (protocol, "127.0.0.1:1,127.0.0.1:2")
            );
            if !mechanism.is_empty() {
                assert_eq!(get("sasl.mechanism"), mechanism);
            }
            if let Some(tls) = &security.tls {
                let check = if tls.settings().verify_host { "https" } else { "none" };
                assert_eq!(get("ssl.endpoint.identification.algorithm"), check);
                assert!(get("ssl.ca.pem").contains("BEGIN CERTIFICATE"));
            }
            assert_eq!(config.check(gauntlet_rdkafka::Kind::Producer).err(), None, "{protocol} {mechanism}");
        }
    }

    #[test]
    fn an_error_holds_no_secret() {
        let login = Some(Arc::new(Login::plain("tim", Secret::new("hunter2\0"))));
        let plan = plan(Security { tls: Some(tls(true)), login });
        let error = plan.config().unwrap_err().to_string();
        assert!(error.contains("sasl.password") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_token_is_handed_on_with_what_it_says_of_itself() {
        let lifetime = Duration::from_secs(60);
        let source = TokenSource::Unsecured { subject: "tim".to_owned(), lifetime };
        let plan = plan(Security { tls: None, login: Some(Arc::new(Login::oauthbearer(source))) });
        let mut seen = None;
        plan.renew(|token| {
            seen = Some((token.principal.to_owned(), token.expires_unix_ms, token.value.len()));
            Ok(())
        })
        .unwrap();
        let (principal, expires_ms, length) = seen.unwrap();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        assert!((now_ms..=now_ms + 61_000).contains(&expires_ms), "{expires_ms}");
        assert!(principal == "tim" && length > 20);
        let gone = TokenSource::File("/nonexistent/token".into());
        let without = ClientPlan {
            security: Security { tls: None, login: Some(Arc::new(Login::oauthbearer(gone))) },
            ..plan
        };
        assert!(without.renew(|_| Ok(())).unwrap_err().contains("/nonexistent/token"));
    }
}
