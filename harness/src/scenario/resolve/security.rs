//! `cluster.security`: what its keys add up to, and which of them don't fit together.

use std::path::PathBuf;

use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{
    ClientLogin, ClientSecurity, ClientTls, Credentials, IdentitySource, PemSource, SaslMechanism,
    SecretSource,
};
use crate::scenario::written::{
    EndpointWritten, MechanismWritten, ProtocolWritten, SecretWritten, SecurityProperties,
};

const BLOCK: &str = "cluster.security";

pub(crate) fn security(written: SecurityProperties, problems: &mut Problems<'_>) -> ClientSecurity {
    use ProtocolWritten::{Plaintext, SaslPlaintext, SaslSsl, Ssl};
    let (has_tls, has_login) = match written.protocol {
        Plaintext => (false, false),
        Ssl => (true, false),
        SaslPlaintext => (false, true),
        SaslSsl => (true, true),
    };
    if !has_tls {
        misplaced(&written, "ssl.", problems);
    }
    if !has_login {
        misplaced(&written, "sasl.", problems);
    }
    let tls = has_tls.then(|| tls(&written, problems));
    let login = if has_login { login(written, problems) } else { None };
    ClientSecurity { tls, login }
}

/// Refuses keys that the protocol has no use for.
fn misplaced(written: &SecurityProperties, prefix: &str, problems: &mut Problems<'_>) {
    let keys = [
        ("sasl.mechanism", written.mechanism.is_some()),
        ("sasl.username", written.username.is_some()),
        ("sasl.password", written.password.is_some()),
        ("sasl.jaas.config", written.jaas_config.is_some()),
        ("sasl.oauthbearer.token", written.token.is_some()),
        ("ssl.truststore.type", written.truststore_type.is_some()),
        ("ssl.truststore.location", written.truststore_location.is_some()),
        ("ssl.truststore.certificates", written.truststore_certificates.is_some()),
        ("ssl.keystore.type", written.keystore_type.is_some()),
        ("ssl.keystore.location", written.keystore_location.is_some()),
        ("ssl.keystore.certificate.chain", written.keystore_chain.is_some()),
        ("ssl.keystore.key", written.keystore_key.is_some()),
        ("ssl.endpoint.identification.algorithm", written.endpoint_identification.is_some()),
    ];
    let (what, protocols) = match prefix {
        "ssl." => ("TLS", "SSL or SASL_SSL"),
        _ => ("log-in", "SASL_PLAINTEXT or SASL_SSL"),
    };
    for (key, _) in keys.iter().filter(|(key, is_set)| *is_set && key.starts_with(prefix)) {
        problems.add(Finding {
            path: &format!("{BLOCK}.{key}"),
            message: format!("`{key}` does not fit this `security.protocol`"),
            label: &format!("there is no {what}"),
            help: &format!("remove it, or set `security.protocol` to {protocols}"),
        });
    }
}

fn tls(written: &SecurityProperties, problems: &mut Problems<'_>) -> ClientTls {
    let trust = match (&written.truststore_location, &written.truststore_certificates) {
        (Some(_), Some(_)) => {
            one_of("ssl.truststore.location", "ssl.truststore.certificates", problems);
            None
        }
        (Some(path), None) => Some(PemSource::File(path.clone())),
        (None, Some(text)) => Some(PemSource::Text(text.clone())),
        (None, None) => None,
    };
    ClientTls {
        trust,
        identity: identity(written, problems),
        verify_host: written.endpoint_identification != Some(EndpointWritten::Off),
    }
}

fn identity(written: &SecurityProperties, problems: &mut Problems<'_>) -> Option<IdentitySource> {
    let in_one_file = |path: &PathBuf| IdentitySource {
        chain: PemSource::File(path.clone()),
        key: SecretSource::File(path.clone()),
    };
    match (&written.keystore_location, &written.keystore_chain, &written.keystore_key) {
        (None, None, None) => None,
        (Some(path), None, None) => Some(in_one_file(path)),
        (None, Some(chain), Some(SecretWritten(key))) => {
            Some(IdentitySource { chain: PemSource::Text(chain.clone()), key: key.clone() })
        }
        (Some(_), _, _) => {
            one_of("ssl.keystore.location", "ssl.keystore.certificate.chain with ssl.keystore.key", problems);
            None
        }
        (None, chain, _) => {
            let (there, missing) = match chain {
                Some(_) => ("ssl.keystore.certificate.chain", "ssl.keystore.key"),
                None => ("ssl.keystore.key", "ssl.keystore.certificate.chain"),
            };
            problems.add(Finding {
                path: &format!("{BLOCK}.{there}"),
                message: format!("`{there}` is of no use without `{missing}`"),
                label: "",
                help: &format!("add `{missing}`"),
            });
            None
        }
    }
}

fn login(written: SecurityProperties, problems: &mut Problems<'_>) -> Option<ClientLogin> {
    let Some(mechanism) = written.mechanism else {
        problems.add(Finding {
            path: &format!("{BLOCK}.security.protocol"),
            message: "`sasl.mechanism` is missing".to_owned(),
            label: "logs in, but how?",
            help: "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
        });
        return None;
    };
    let mechanism = match mechanism {
        MechanismWritten::Plain => SaslMechanism::Plain,
        MechanismWritten::ScramSha256 => SaslMechanism::ScramSha256,
        MechanismWritten::ScramSha512 => SaslMechanism::ScramSha512,
        MechanismWritten::OAuthBearer => SaslMechanism::OAuthBearer,
    };
    let is_token = mechanism == SaslMechanism::OAuthBearer;
    let named = written.username.is_some() || written.password.is_some();
    let credentials = match (written.jaas_config, written.username, written.password, written.token) {
        (Some(SecretWritten(jaas)), None, None, None) => Credentials::Jaas(jaas),
        (None, Some(username), Some(SecretWritten(password)), None) if !is_token => {
            Credentials::Password { username, password }
        }
        (None, None, None, Some(SecretWritten(token))) if is_token => Credentials::Token(token),
        _ => {
            let needed = match is_token {
                true => "`sasl.oauthbearer.token`",
                false => "`sasl.username` and `sasl.password`",
            };
            problems.add(Finding {
                path: &format!("{BLOCK}.sasl.mechanism"),
                message: format!("mechanism {} needs {needed}, and nothing else", mechanism.name()),
                label: if named && is_token { "has no passwords" } else { "" },
                help: &format!("give {needed}, or `sasl.jaas.config` alone"),
            });
            return None;
        }
    };
    Some(ClientLogin { mechanism, credentials })
}

fn one_of(first: &str, second: &str, problems: &mut Problems<'_>) {
    problems.add(Finding {
        path: &format!("{BLOCK}.{first}"),
        message: format!("both `{first}` and {second} are given"),
        label: "",
        help: "keep one of the two",
    });
}
