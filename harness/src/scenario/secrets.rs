//! Secrets in a scenario: only ever by reference. The value of such a key is `${env.NAME}` or `{ file: PATH }`; nothing else
//! is taken, the reference stays one through all layers, and no message shows a line with something else in its place.

use super::diagnostic::{Problem, Span};
use super::tree::{Content, Node};

/// The block whose keys may be secret.
const BLOCK: &str = "cluster.security.";
/// Secret keys of that block.
const SECRET: [&str; 4] = ["sasl.jaas.config", "sasl.oauthbearer.token", "sasl.password", "ssl.keystore.key"];
/// Keys of that block whose values may be shown. Any other could be a secret one that was misspelt.
const PUBLIC: [&str; 10] = [
    "sasl.mechanism",
    "sasl.username",
    "security.protocol",
    "ssl.endpoint.identification.algorithm",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.location",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.type",
];
/// What keys of secrets are called, here and elsewhere: for lines that could not even be parsed.
const TELLING: [&str; 6] = ["password", "passwd", "secret", "token", "jaas.config", "keystore.key"];

/// Whether the value at `path` (without indices) is secret.
pub(crate) fn is_secret(path: &str) -> bool {
    path.strip_prefix(BLOCK).is_some_and(|key| SECRET.contains(&key))
}

/// NAME of `${env.NAME}`. A default value would be a secret in the file, so there is none.
pub(crate) fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${env.")?.strip_suffix('}')?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(allowed)).then_some(name)
}

/// Secrets that stand in the file, and what no message may show.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    /// Each is a mistake.
    pub(crate) problems: Vec<Problem>,
    /// Where values begin that may be secret.
    pub(crate) hidden: Vec<Span>,
}

/// Looks through `root`, and through its profiles if it still has them.
pub(crate) fn find_literals(root: &Node) -> Literals {
    let mut literals = Literals::default();
    literals.look_into(root);
    for profile in root.get("profiles").and_then(Node::entries).into_iter().flatten() {
        literals.look_into(&profile.value);
    }
    literals
}

impl Literals {
    fn look_into(&mut self, scenario: &Node) {
        let block = scenario.get("cluster").and_then(|cluster| cluster.get("security"));
        for entry in block.and_then(Node::entries).into_iter().flatten() {
            let key = entry.key.as_str();
            if PUBLIC.contains(&key) || entry.value.is_null() || is_reference(&entry.value) {
                continue;
            }
            self.hidden.push(entry.value.span);
            if SECRET.contains(&key) {
                let message = format!("`{key}` must not be in the file");
                let help = format!("write `{key}: ${{env.NAME}}`, or `{key}: {{ file: PATH }}`");
                self.problems.push(Problem::new(entry.key_span, message, "a secret").help(help));
            }
        }
    }
}

fn is_reference(value: &Node) -> bool {
    match &value.content {
        Content::Scalar(scalar) => variable(&scalar.text).is_some(),
        Content::Mapping(entries) => {
            matches!(&entries[..], [only] if only.key == "file" && only.value.text().is_some())
        }
        Content::Sequence(_) => false,
    }
}

/// Column (from 0, in characters) behind which a line must not be shown because of what its words say.
pub(crate) fn telling_column(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let ends = TELLING.iter().flat_map(|word| lower.match_indices(word).map(|(at, word)| at + word.len()));
    let value_at = |end: usize| {
        let rest = &line[end..];
        let after = rest.trim_start_matches(['"', '\'', ' ']).strip_prefix([':', '='])?.trim_start();
        let harmless = after.is_empty()
            || ["${", "\"${", "'${", "{ file", "{file"].iter().any(|begin| after.starts_with(begin));
        (!harmless).then(|| line[..line.len() - after.len()].chars().count())
    };
    ends.filter_map(value_at).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::tree::{Located, parse};

    #[test]
    fn only_a_whole_reference_without_default_is_one() {
        assert_eq!(variable("${env.KAFKA_PASSWORD}"), Some("KAFKA_PASSWORD"));
        for text in ["", "x", "${env.}", "${env.X:-hunter2}", "${vars.x}", "a${env.X}", "${env.X}${env.Y}"] {
            assert_eq!(variable(text), None, "{text}");
        }
    }

    #[test]
    fn literals_are_found_wherever_they_stand() {
        let text = "cluster:\n  security:\n    sasl.username: tim\n    sasl.password: hunter2\n    sasl.pasword: hunter3\n\
                    \x20   ssl.keystore.key: { file: key.pem }\n    sasl.jaas.config: ${env.JAAS}\n\
                    profiles:\n  p: { cluster: { security: { sasl.oauthbearer.token: [t0k] } } }\n";
        let root = parse(Located { source: 0, column_offset: 0, text }).unwrap();
        let found = find_literals(&root);
        let messages: Vec<&str> = found.problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(
            messages,
            ["`sasl.password` must not be in the file", "`sasl.oauthbearer.token` must not be in the file"]
        );
        assert_eq!(found.hidden.iter().map(|span| span.line).collect::<Vec<_>>(), [4, 5, 9]);
    }

    #[test]
    fn lines_that_tell_secrets_are_cut_behind_the_key() {
        assert_eq!(telling_column("  sasl.password: hunter2"), Some(17));
        assert_eq!(telling_column("{ \"sasl.password\" : \"hunter2"), Some(20));
        assert_eq!(telling_column("cluster.security.sasl.password=hunter2"), Some(31));
        assert_eq!(telling_column("  sasl.password: ${env.X}"), None);
        assert_eq!(telling_column("  sasl.password: { file: x }"), None);
        assert_eq!(telling_column("name: token-test"), None);
    }
}
