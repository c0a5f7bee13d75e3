//! Keeps the secrets of a run's connections out of what others say about them.

use gauntlet_wire::Security;
use gauntlet_wire::security::Credentials;

/// Texts that nothing that is written may hold.
#[derive(Debug, Default)]
pub(crate) struct Redaction {
    secrets: Vec<String>,
}

impl Redaction {
    /// The secrets of `security`: passwords, the current token, and of a private key every line.
    pub(crate) fn of(security: &Security) -> Self {
        /// The last line of a key may be too short to tell anything, and would take ordinary words out.
        const KEY_LINE_BYTES_MIN: usize = 16;
        let mut secrets = Vec::new();
        if let Some(identity) = security.tls.as_ref().and_then(|tls| tls.settings().identity.as_ref()) {
            let lines = identity.key_pem.expose().lines().map(str::trim);
            let telling = lines.filter(|line| line.len() >= KEY_LINE_BYTES_MIN && !line.starts_with("-----"));
            secrets.extend(telling.map(str::to_owned));
        }
        match security.login.as_ref().map(|login| login.credentials()) {
            Some(Credentials::Password { password, .. }) => secrets.push(password.expose().to_owned()),
            Some(Credentials::Token(source)) => {
                secrets.extend(source.current().ok().map(|token| token.value.expose().to_owned()));
            }
            None => {}
        }
        secrets.retain(|secret| !secret.is_empty());
        Redaction { secrets }
    }

    /// The text without them.
    pub(crate) fn clean(&self, mut text: String) -> String {
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gauntlet_wire::security::{ClientIdentity, Login, Secret, Tls, TlsSettings, Trust};

    use super::*;

    #[test]
    fn passwords_and_lines_of_keys_are_taken_out() {
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (chain_pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let identity =
            Some(ClientIdentity { chain_pem: chain_pem.clone(), key_pem: Secret::new(key.clone()) });
        let settings = TlsSettings { trust: Trust::Pem(chain_pem), identity, verify_host: true };
        let security = Security {
            tls: Some(Tls::new(&settings).unwrap()),
            login: Some(Arc::new(Login::plain("tim", Secret::new("hunter2")))),
        };
        let redaction = Redaction::of(&security);
        // As a program may say it: the key in one line, escaped.
        let said = format!("password=hunter2 key={}", key.replace('\n', "\\n"));
        let clean = redaction.clean(said);
        assert!(clean.starts_with("password=*** key=-----BEGIN PRIVATE KEY-----\\n***"), "{clean}");
        assert!(key.lines().filter(|l| l.len() > 20 && !l.starts_with('-')).all(|l| !clean.contains(l)));
        assert_eq!(Redaction::default().clean("hunter2".to_owned()), "hunter2");
    }
}
