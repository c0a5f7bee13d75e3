//! `sasl.jaas.config` as Kafka's clients take it: `a.b.SomeLoginModule required name="value" ...;`
//!
//! No error repeats what it is about, which may be a password.

use std::collections::BTreeMap;
use std::time::Duration;

use gauntlet_wire::security::Secret;

use crate::scenario::types::SaslMechanism;

/// Whom the text names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Who {
    Password {
        username: String,
        password: Secret,
    },
    /// An unsecured token that the client makes itself.
    Unsecured {
        subject: String,
        lifetime: Duration,
    },
}

/// What Kafka's `OAuthBearerUnsecuredLoginCallbackHandler` gives a token if nothing is said.
const LIFETIME_S: u64 = 3600;

pub(super) fn parse(text: &Secret, mechanism: SaslMechanism) -> Result<Who, String> {
    let entry = Entry::parse(text.expose())?;
    let module = match mechanism {
        SaslMechanism::Plain => "PlainLoginModule",
        SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512 => "ScramLoginModule",
        SaslMechanism::OAuthBearer => "OAuthBearerLoginModule",
    };
    if entry.module.rsplit('.').next() != Some(module) {
        return Err(format!("mechanism {} needs a {module}", mechanism.name()));
    }
    let option = |name: &str| entry.options.get(name).ok_or_else(|| format!("option `{name}` is missing"));
    if mechanism == SaslMechanism::OAuthBearer {
        let lifetime_s = match entry.options.get("unsecuredLoginLifetimeSeconds") {
            Some(text) => {
                text.parse().map_err(|_| "unsecuredLoginLifetimeSeconds is no number".to_owned())?
            }
            None => LIFETIME_S,
        };
        return Ok(Who::Unsecured {
            subject: option("unsecuredLoginStringClaim_sub")?.clone(),
            lifetime: Duration::from_secs(lifetime_s),
        });
    }
    Ok(Who::Password {
        username: option("username")?.clone(),
        password: Secret::new(option("password")?.clone()),
    })
}

struct Entry {
    module: String,
    options: BTreeMap<String, String>,
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let module = word(&mut rest).ok_or("it begins with no class name")?;
        match word(&mut rest).as_deref() {
            Some("required" | "requisite" | "sufficient" | "optional") => {}
            _ => return Err("the class name is not followed by `required`".to_owned()),
        }
        let mut options = BTreeMap::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix(';') {
                if !after.trim().is_empty() {
                    return Err("something follows the semicolon".to_owned());
                }
                return Ok(Entry { module, options });
            }
            let name = word(&mut rest).ok_or("it does not end with a semicolon")?;
            rest = rest.trim_start().strip_prefix('=').ok_or("an option has no value")?.trim_start();
            let value = match rest.strip_prefix('"') {
                Some(quoted) => self::quoted(quoted, &mut rest)?,
                None => word(&mut rest).ok_or("an option has no value")?,
            };
            options.insert(name, value);
        }
    }
}

/// Takes letters, digits and what else names are made of.
fn word(rest: &mut &str) -> Option<String> {
    let trimmed = rest.trim_start();
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '$');
    let end = trimmed.find(|c| !allowed(c)).unwrap_or(trimmed.len());
    let (word, tail) = trimmed.split_at(end);
    *rest = tail;
    (!word.is_empty()).then(|| word.to_owned())
}

/// Takes up to the closing quote; a backslash makes the next character one like others.
fn quoted<'t>(text: &'t str, rest: &mut &'t str) -> Result<String, String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                // A quote is one byte long.
                *rest = text.get(at + 1..).unwrap_or_default();
                return Ok(value);
            }
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scram(text: &str) -> Result<Who, String> {
        parse(&Secret::new(text), SaslMechanism::ScramSha512)
    }

    #[test]
    fn what_kafka_takes() {
        let tim = |password: &str| {
            Ok(Who::Password { username: "tim".to_owned(), password: Secret::new(password) })
        };
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
        assert_eq!(scram(&format!("{module} required username=\"tim\" password=\"a;b=c\";")), tim("a;b=c"));
        assert_eq!(
            scram(&format!("  {module}\n  required\n  password=\"q\\\"\\\\\"\n  username=tim ;\n")),
            tim("q\"\\")
        );
        let token = "x.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"alice\";";
        assert_eq!(
            parse(&Secret::new(token), SaslMechanism::OAuthBearer),
            Ok(Who::Unsecured { subject: "alice".to_owned(), lifetime: Duration::from_secs(3600) })
        );
    }

    #[test]
    fn what_it_does_not_take_and_no_error_shows_a_value() {
        for text in [
            "",
            "hunter2",
            "x.ScramLoginModule hunter2",
            "x.PlainLoginModule required username=\"hunter2\" password=\"hunter2\";",
            "x.ScramLoginModule required username=\"tim\";",
            "x.ScramLoginModule required username=\"tim\" password=\"hunter2\"",
            "x.ScramLoginModule required username=\"tim\" password=\"hunter2;",
            "x.ScramLoginModule required username=\"tim\" password=\"x\"; hunter2",
        ] {
            let error = scram(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
