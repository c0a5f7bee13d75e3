//! How to connect, from a file of its own: the keys of `cluster.security` and nothing else, with the same rules for secrets.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::diagnostic::{Diagnostic, ScenarioError, Sources, scenario_error};
use super::interpolate::{Matrix, interpolate};
use super::problems::Problems;
use super::tree::{self, Content, Entry, Located, Node};
use super::types::ClientSecurity;
use super::written::SecurityProperties;
use super::{deserialize, find_nulls, read_file, refuse_secrets, resolve};

/// How to connect, with what it was read from. Secrets are named, not held.
#[derive(Clone, Debug)]
pub struct LoadedSecurity {
    /// How to connect.
    pub security: ClientSecurity,
    root: Node,
    sources: Sources,
}

/// A scenario of which only `cluster.security` is known, so that every layer finds the block where it looks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecurityDocument {
    cluster: SecurityOfCluster,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecurityOfCluster {
    security: SecurityProperties,
}

impl LoadedSecurity {
    /// Reads the file `path`; `env` is the environment for `${env.X}`.
    ///
    /// # Errors
    /// The file can't be read, or does not hold the keys of `cluster.security`.
    pub fn load(path: &Path, env: &BTreeMap<String, String>) -> Result<Self, ScenarioError> {
        let (name, text) = read_file(path)?;
        Self::parse(&name, &text, env)
    }

    /// Reads `text`; `name` is what errors call the file.
    ///
    /// # Errors
    /// The text does not hold the keys of `cluster.security`.
    pub fn parse(name: &str, text: &str, env: &BTreeMap<String, String>) -> Result<Self, ScenarioError> {
        let mut sources = Sources::new(name, text, &[]);
        let block = tree::parse(Located { source: 0, column_offset: 0, text })
            .map_err(|problem| scenario_error(&sources, vec![problem]))?;
        let mut root = within("cluster", within("security", block));
        refuse_secrets(&root, &mut sources)?;
        let mut problems = interpolate(&mut root, env, Matrix::Absent).problems;
        if problems.is_empty() {
            // Once more, as variables may have brought some.
            refuse_secrets(&root, &mut sources)?;
            find_nulls(&root, &mut problems);
        }
        if !problems.is_empty() {
            return Err(scenario_error(&sources, problems));
        }
        let document: SecurityDocument =
            deserialize::from_tree(&root).map_err(|problem| scenario_error(&sources, vec![problem]))?;
        let mut problems = Problems::new(&root);
        let security = resolve::security(document.cluster.security, &mut problems);
        match problems.into_found() {
            found if found.is_empty() => Ok(Self { security, root, sources }),
            found => Err(scenario_error(&sources, found)),
        }
    }

    /// An error about the field at `path` (`cluster.security.…`) that only a later stage can find: `message` says what,
    /// `help` the next step.
    pub(crate) fn diagnostic(&self, path: &str, message: &str, help: &str) -> Diagnostic {
        Diagnostic {
            message: message.to_owned(),
            place: Some(self.sources.place(self.root.span_of(path))),
            label: String::new(),
            help: (!help.is_empty()).then(|| help.to_owned()),
        }
    }
}

/// `value` as the only entry of a mapping.
fn within(key: &str, value: Node) -> Node {
    let span = value.span;
    Node { span, content: Content::Mapping(vec![Entry { key: key.to_owned(), key_span: span, value }]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::types::{ClientLogin, Credentials, SaslMechanism, SecretSource};

    fn parse(text: &str) -> Result<LoadedSecurity, String> {
        let env = BTreeMap::from([("NAME".to_owned(), "tim".to_owned())]);
        LoadedSecurity::parse("client.yaml", text, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn the_block_of_a_scenario_is_read() {
        let loaded = parse(
            "security.protocol: SASL_SSL\nsasl.mechanism: PLAIN\nsasl.username: ${env.NAME}\n\
             sasl.password: ${env.KAFKA_PASSWORD}\n",
        )
        .unwrap();
        let password = SecretSource::Env("KAFKA_PASSWORD".to_owned());
        let credentials = Credentials::Password { username: "tim".to_owned(), password };
        let login = ClientLogin { mechanism: SaslMechanism::Plain, credentials };
        assert_eq!(loaded.security.login, Some(login));
        assert!(loaded.security.tls.is_some_and(|tls| tls.verify_host));
    }

    #[test]
    fn mistakes_have_their_places_and_secrets_stay_secret() {
        let text = "security.protocol: SASL_SSL\nsasl.mechanism: PLAIN\nsasl.username: tim\nsasl.password: hunter2\n";
        let error = parse(text).unwrap_err();
        assert!(error.contains("client.yaml:4:"), "{error}");
        assert!(error.contains("must not be in the file") && !error.contains("hunter2"), "{error}");

        let error = parse("security.protocol: SSL\nssl.truststor.location: ca.pem\n").unwrap_err();
        assert!(error.contains("client.yaml:2:1"), "{error}");
        assert!(error.contains("did you mean `ssl.truststore.location`?"), "{error}");

        let error = parse("").unwrap_err();
        assert!(error.contains("security.protocol"), "{error}");

        let error = parse("security.protocol: SASL_SSL\n").unwrap_err();
        assert!(error.contains("`sasl.mechanism` is missing"), "{error}");
    }
}
