//! From `cluster.security` to what a client connects with: files and environment variables are read here, once, before
//! anything starts. What is read goes nowhere but into the client.

mod jaas;

use std::path::Path;
use std::sync::Arc;

use gauntlet_chaos as chaos;
use gauntlet_wire::Security;
use gauntlet_wire::security::{
    ClientIdentity, Login, ScramHash, Secret, Tls, TlsConfigError, TlsSettings, TokenSource, Trust,
};

use super::convert::{Refusal, refuse};
use crate::scenario::types as file;
use crate::scenario::types::SaslMechanism;

/// Where values of environment variables come from.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process.
pub(super) fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads what `security` names.
pub(super) fn security(security: &file::ClientSecurity, env: Environment<'_>) -> Result<Security, Refusal> {
    Ok(Security {
        tls: security.tls.as_ref().map(|tls| self::tls(tls, env)).transpose()?,
        login: security.login.as_ref().map(|login| self::login(login, env)).transpose()?.map(Arc::new),
    })
}

fn at(key: &str) -> String {
    format!("cluster.security.{key}")
}

fn tls(tls: &file::ClientTls, env: Environment<'_>) -> Result<Tls, Refusal> {
    const TRUST_FILE: &str = "ssl.truststore.location";
    const KEY_FILE: &str = "ssl.keystore.location";
    let trust_key = match &tls.trust {
        Some(file::PemSource::Text(_)) => "ssl.truststore.certificates",
        _ => TRUST_FILE,
    };
    let trust = match &tls.trust {
        None => Trust::System,
        Some(source) => Trust::Pem(pem(source, TRUST_FILE)?),
    };
    let (mut chain_key, mut key_key) = ("ssl.keystore.certificate.chain", "ssl.keystore.key");
    let identity = match &tls.identity {
        None => None,
        Some(identity) => {
            if matches!(identity.chain, file::PemSource::File(_)) {
                (chain_key, key_key) = (KEY_FILE, KEY_FILE);
            }
            let chain_pem = pem(&identity.chain, KEY_FILE)?;
            Some(ClientIdentity { chain_pem, key_pem: secret(&identity.key, key_key, env)? })
        }
    };
    Tls::new(&TlsSettings { trust, identity, verify_host: tls.verify_host }).map_err(|error| {
        let key = match &error {
            TlsConfigError::Trust(_) => trust_key,
            TlsConfigError::Chain(_) => chain_key,
            TlsConfigError::Key(_) => key_key,
        };
        let help = "stores must be PEM; `keytool -exportcert -rfc` and `openssl pkcs12` convert others";
        refuse(at(key), format!("`{key}` cannot be used: {error}"), help)
    })
}

fn pem(source: &file::PemSource, key: &str) -> Result<String, Refusal> {
    match source {
        file::PemSource::Text(text) => Ok(text.clone()),
        file::PemSource::File(path) => read(path, key),
    }
}

fn login(login: &file::ClientLogin, env: Environment<'_>) -> Result<Login, Refusal> {
    match &login.credentials {
        file::Credentials::Password { username, password } => {
            let password = secret(password, "sasl.password", env)?;
            Ok(by_password(login.mechanism, username.clone(), password))
        }
        file::Credentials::Token(source) => {
            const KEY: &str = "sasl.oauthbearer.token";
            // Read now in any case, so that what is missing is known before anything starts.
            let token = secret(source, KEY, env)?;
            Ok(Login::oauthbearer(match source {
                file::SecretSource::Env(_) => TokenSource::Fixed(token),
                file::SecretSource::File(path) => TokenSource::File(path.clone()),
            }))
        }
        file::Credentials::Jaas(source) => {
            const KEY: &str = "sasl.jaas.config";
            let text = secret(source, KEY, env)?;
            let refused = |why: String| {
                let help = "for example: org.apache.kafka.common.security.scram.ScramLoginModule required \
                            username=\"...\" password=\"...\";";
                refuse(at(KEY), format!("`{KEY}` cannot be used: {why}"), help)
            };
            match jaas::parse(&text, login.mechanism).map_err(refused)? {
                jaas::Who::Password { username, password } => {
                    Ok(by_password(login.mechanism, username, password))
                }
                jaas::Who::Unsecured { subject, lifetime } => {
                    Ok(Login::oauthbearer(TokenSource::Unsecured { subject, lifetime }))
                }
            }
        }
    }
}

fn by_password(mechanism: SaslMechanism, username: String, password: Secret) -> Login {
    match mechanism {
        SaslMechanism::ScramSha256 => Login::scram(ScramHash::Sha256, username, password),
        SaslMechanism::ScramSha512 => Login::scram(ScramHash::Sha512, username, password),
        // The scenario was checked: OAUTHBEARER has no passwords.
        SaslMechanism::Plain | SaslMechanism::OAuthBearer => Login::plain(username, password),
    }
}

fn secret(source: &file::SecretSource, key: &str, env: Environment<'_>) -> Result<Secret, Refusal> {
    let text = match source {
        file::SecretSource::File(path) => read(path, key)?,
        file::SecretSource::Env(name) => env(name).ok_or_else(|| {
            let message = format!("environment variable `{name}` of `{key}` is not set, or is not UTF-8");
            refuse(at(key), message, "set it: secrets are never in the file")
        })?,
    };
    // Editors end a file with a line end that belongs to no password.
    let text = text.strip_suffix('\n').map_or(text.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest));
    if text.is_empty() {
        return Err(refuse(at(key), format!("the secret of `{key}` is empty"), ""));
    }
    Ok(Secret::new(text))
}

fn read(path: &Path, key: &str) -> Result<String, Refusal> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read {}, which `{key}` names: {error}", path.display());
        refuse(at(key), message, "paths are relative to the directory in which gauntlet is started")
    })
}

/// How a local cluster is to be secured.
pub(super) fn local(security: file::LocalSecurity) -> chaos::LocalSecurity {
    let mechanism = match security.mechanism {
        Some(file::LocalMechanism::Plain) => chaos::Mechanism::Plain,
        Some(file::LocalMechanism::ScramSha256) => chaos::Mechanism::ScramSha256,
        Some(file::LocalMechanism::ScramSha512) | None => chaos::Mechanism::ScramSha512,
    };
    let protocol = match security.protocol {
        file::LocalProtocol::Ssl => chaos::Protocol::Ssl,
        file::LocalProtocol::SaslPlaintext => chaos::Protocol::SaslPlaintext(mechanism),
        file::LocalProtocol::SaslSsl => chaos::Protocol::SaslSsl(mechanism),
    };
    chaos::LocalSecurity { protocol, acls: security.acls }
}

#[cfg(test)]
mod tests {
    use super::*;
    use file::{ClientLogin, ClientSecurity, ClientTls, Credentials, PemSource, SecretSource};

    fn env(name: &str) -> Option<String> {
        match name {
            "PW" => Some("hunter2".to_owned()),
            "EMPTY" => Some(String::new()),
            "JAAS" => Some("a.b.ScramLoginModule required username=\"tim\" password=\"hunter2\";".to_owned()),
            _ => None,
        }
    }

    fn scram(credentials: Credentials) -> ClientSecurity {
        let login = ClientLogin { mechanism: SaslMechanism::ScramSha256, credentials };
        ClientSecurity { tls: None, login: Some(login) }
    }

    fn password(source: SecretSource) -> ClientSecurity {
        scram(Credentials::Password { username: "tim".to_owned(), password: source })
    }

    fn refusal(security: &ClientSecurity) -> String {
        let refusal = super::security(security, &env).err().unwrap();
        format!("{refusal:?}")
    }

    #[test]
    fn secrets_are_read_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pw");
        std::fs::write(&path, "hunter2\n").unwrap();
        for source in [SecretSource::Env("PW".to_owned()), SecretSource::File(path)] {
            let read = security(&password(source), &env).unwrap();
            assert_eq!((read.protocol(), read.principal().as_str()), ("SASL_PLAINTEXT", "User:tim"));
            assert!(!format!("{read:?}").contains("hunter2"));
        }
        let jaas = security(&scram(Credentials::Jaas(SecretSource::Env("JAAS".to_owned()))), &env).unwrap();
        assert_eq!(jaas.principal(), "User:tim");
    }

    #[test]
    fn what_is_missing_is_named_by_its_key() {
        let text = refusal(&password(SecretSource::Env("NOPE".to_owned())));
        assert!(text.contains("cluster.security.sasl.password") && text.contains("`NOPE`"), "{text}");
        assert!(refusal(&password(SecretSource::Env("EMPTY".to_owned()))).contains("is empty"));
        let text = refusal(&password(SecretSource::File("/nonexistent/pw".into())));
        assert!(text.contains("/nonexistent/pw"), "{text}");
        let text = refusal(&scram(Credentials::Jaas(SecretSource::Env("PW".to_owned()))));
        assert!(text.contains("sasl.jaas.config") && !text.contains("hunter2"), "{text}");
        let trust = Some(PemSource::Text("hunter2".to_owned()));
        let tls = ClientTls { trust, identity: None, verify_host: true };
        let text = refusal(&ClientSecurity { tls: Some(tls), login: None });
        assert!(text.contains("ssl.truststore.certificates") && text.contains("no certificate"), "{text}");
    }
}
