//! Log-ins by the SASL mechanisms of Kafka, as a conversation of tokens. What carries the tokens is not known here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use rand::TryRng;
use rand::rngs::SysRng;

use super::scram::{ScramExchange, ScramHash, ScramUser};
use super::secret::Secret;

/// By whom, and how, we log in.
#[derive(Debug)]
pub struct Login {
    method: Method,
}

#[derive(Debug)]
enum Method {
    Plain { name: String, password: Secret },
    Scram(ScramUser),
    OAuthBearer(TokenSource),
}

/// Where the token of OAUTHBEARER comes from.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// This one, for the whole run.
    Fixed(Secret),
    /// The content of a file, read again for every log-in, so that somebody else may keep the token fresh.
    File(PathBuf),
    /// An unsigned token that we make ourselves, for brokers that are set up to believe it (Kafka's default, not meant for
    /// production; KIP-255).
    Unsecured {
        /// The `sub` claim: whom the broker takes us for.
        subject: String,
        /// How long it is valid.
        lifetime: Duration,
    },
}

/// By which secret somebody logs in.
#[derive(Debug, Clone, Copy)]
pub enum Credentials<'a> {
    /// A name and a password.
    Password {
        /// The name.
        name: &'a str,
        /// The password.
        password: &'a Secret,
    },
    /// A token.
    Token(&'a TokenSource),
}

/// A token of OAUTHBEARER, for another client than ours.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token itself.
    pub value: Secret,
    /// Whom it is for (claim `sub`), if it is a JWT that says so.
    pub subject: Option<String>,
    /// When it expires (claim `exp`), in seconds since the Unix epoch, if it is a JWT that says so.
    pub expires_s: Option<u64>,
}

impl Login {
    /// PLAIN (RFC 4616): the password goes over the wire as it is, so only TLS keeps it from others.
    pub fn plain(name: impl Into<String>, password: Secret) -> Self {
        Login { method: Method::Plain { name: name.into(), password } }
    }

    /// SCRAM (RFC 5802, RFC 7677).
    pub fn scram(hash: ScramHash, name: impl Into<String>, password: Secret) -> Self {
        Login { method: Method::Scram(ScramUser::new(hash, name.into(), password)) }
    }

    /// OAUTHBEARER (RFC 7628, KIP-255).
    pub fn oauthbearer(source: TokenSource) -> Self {
        Login { method: Method::OAuthBearer(source) }
    }

    /// `sasl.mechanism`.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match &self.method {
            Method::Plain { .. } => "PLAIN",
            Method::Scram(user) => user.hash.mechanism(),
            Method::OAuthBearer(_) => "OAUTHBEARER",
        }
    }

    /// By which secret. For another client that is to log in as we do.
    #[must_use]
    pub fn credentials(&self) -> Credentials<'_> {
        match &self.method {
            Method::Plain { name, password } => Credentials::Password { name, password },
            Method::Scram(user) => Credentials::Password { name: &user.name, password: user.password() },
            Method::OAuthBearer(source) => Credentials::Token(source),
        }
    }

    /// Whom the brokers take us for, unless they map names.
    pub(crate) fn principal(&self) -> String {
        let name = match &self.method {
            Method::Plain { name, .. } => Some(name.clone()),
            Method::Scram(user) => Some(user.name.clone()),
            Method::OAuthBearer(source) => source.token().ok().and_then(|token| subject_of(&token)),
        };
        name.map_or_else(|| "the subject of the OAuth token".to_owned(), |name| format!("User:{name}"))
    }

    /// What to look at when the broker refuses.
    pub(crate) fn next_step(&self) -> &'static str {
        match &self.method {
            Method::Plain { .. } | Method::Scram(_) => {
                "check sasl.username, sasl.password and sasl.mechanism"
            }
            Method::OAuthBearer(_) => {
                "check that the token has not expired, and that the broker trusts its issuer"
            }
        }
    }
}

impl TokenSource {
    /// The token as it is now, with what it says of itself.
    ///
    /// # Errors
    /// Its file can't be read.
    pub fn current(&self) -> Result<Token, String> {
        let value = self.token()?;
        let claims = claims_of(&value);
        let subject = claims.as_ref().and_then(|c| Some(c.get("sub")?.as_str()?.to_owned()));
        let expires_s = claims.as_ref().and_then(|c| c.get("exp")?.as_u64());
        Ok(Token { value, subject, expires_s })
    }

    fn token(&self) -> Result<Secret, String> {
        match self {
            TokenSource::Fixed(token) => Ok(token.clone()),
            TokenSource::File(path) => match std::fs::read_to_string(path) {
                Ok(token) => Ok(Secret::new(token.trim())),
                Err(error) => Err(format!("the token cannot be read from {}: {error}", path.display())),
            },
            TokenSource::Unsecured { subject, lifetime } => {
                let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
                Ok(Secret::new(unsecured_token(subject, now_s, now_s + lifetime.as_secs())))
            }
        }
    }
}

/// An unsecured JWS in compact form (RFC 7515, appendix A.5): header, claims, and no signature.
fn unsecured_token(subject: &str, issued_s: u64, expires_s: u64) -> String {
    let claims = serde_json::json!({ "sub": subject, "iat": issued_s, "exp": expires_s });
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims.to_string()))
}

/// The `sub` claim of a token, if it is a JWT. Nothing rests on it but the wording of messages.
fn subject_of(token: &Secret) -> Option<String> {
    Some(claims_of(token)?.get("sub")?.as_str()?.to_owned())
}

/// The claims of a token, if it is a JWT.
fn claims_of(token: &Secret) -> Option<serde_json::Value> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.expose().split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok()
}

/// A log-in under way.
#[derive(Debug)]
pub(crate) struct Conversation {
    login: Arc<Login>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Everything was said at once; an empty token means yes.
    Said,
    ScramAsked(ScramExchange),
    ScramAnswered(ScramExchange),
    /// The broker told why it refuses the token, and waits for us to have heard it (RFC 7628, section 3.2.3).
    Refused,
}

/// What follows from a token of the broker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Say(Vec<u8>),
    Done,
}

impl Conversation {
    /// Begins, and gives the first token. An error says why there is none.
    pub(crate) fn begin(login: Arc<Login>) -> Result<(Self, Vec<u8>), String> {
        let (state, token) = match &login.method {
            Method::Plain { name, password } => {
                (State::Said, format!("\0{name}\0{}", password.expose()).into_bytes())
            }
            Method::Scram(user) => {
                let (exchange, first) = ScramExchange::begin(user, nonce()?);
                (State::ScramAsked(exchange), first)
            }
            Method::OAuthBearer(source) => {
                let token = source.token()?;
                (State::Said, format!("n,,\x01auth=Bearer {}\x01\x01", token.expose()).into_bytes())
            }
        };
        Ok((Conversation { login, state }, token))
    }

    /// Takes a token of the broker. An error says what is wrong with it.
    pub(crate) fn hear(&mut self, token: &[u8]) -> Result<Reply, String> {
        match (&mut self.state, &self.login.method) {
            (State::ScramAsked(exchange), Method::Scram(user)) => {
                let answer = exchange.answer(user, token).map_err(|e| e.to_string())?;
                let State::ScramAsked(exchange) = std::mem::replace(&mut self.state, State::Said) else {
                    return Err("the exchange is out of step".to_owned());
                };
                self.state = State::ScramAnswered(exchange);
                Ok(Reply::Say(answer))
            }
            (State::ScramAnswered(exchange), _) => {
                exchange.check(token).map_err(|e| e.to_string())?;
                Ok(Reply::Done)
            }
            (State::Said, _) if token.is_empty() => Ok(Reply::Done),
            (State::Said, Method::OAuthBearer(_)) => {
                self.state = State::Refused;
                Ok(Reply::Say(vec![1]))
            }
            _ => Err("the broker says more than the mechanism has".to_owned()),
        }
    }
}

/// 144 random bits in characters that SCRAM allows (no comma).
fn nonce() -> Result<String, String> {
    let mut bytes = [0; 18];
    SysRng.try_fill_bytes(&mut bytes).map_err(|e| format!("no randomness for a nonce: {e}"))?;
    Ok(BASE64_STANDARD_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(login: Login) -> (Conversation, String) {
        let (conversation, token) = Conversation::begin(Arc::new(login)).unwrap();
        (conversation, String::from_utf8(token).unwrap())
    }

    #[test]
    fn plain_is_said_at_once() {
        let (mut conversation, token) = begin(Login::plain("tim", Secret::new("tanstaaf")));
        assert_eq!(token, "\0tim\0tanstaaf");
        assert_eq!(conversation.hear(b""), Ok(Reply::Done));
        assert!(conversation.hear(b"more").is_err());
    }

    #[test]
    fn a_refused_token_is_heard_out() {
        let (mut conversation, token) = begin(Login::oauthbearer(TokenSource::Fixed(Secret::new("t0k"))));
        assert_eq!(token, "n,,\x01auth=Bearer t0k\x01\x01");
        assert_eq!(conversation.hear(br#"{"status":"invalid_token"}"#), Ok(Reply::Say(vec![1])));
        assert!(conversation.hear(b"").is_err(), "after a refusal nothing makes it good");
    }

    #[test]
    fn a_token_file_is_read_for_every_log_in() {
        let path = std::env::temp_dir().join(format!("gauntlet-token-{}", std::process::id()));
        let login = Arc::new(Login::oauthbearer(TokenSource::File(path.clone())));
        let error = Conversation::begin(Arc::clone(&login)).unwrap_err();
        assert!(error.contains("gauntlet-token-"), "{error}");
        for token in ["one", "two"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            let (_, said) = Conversation::begin(Arc::clone(&login)).unwrap();
            assert_eq!(said, format!("n,,\x01auth=Bearer {token}\x01\x01").as_bytes());
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn another_client_can_be_told_how_to_log_in() {
        for login in [
            Login::plain("tim", Secret::new("tanstaaf")),
            Login::scram(ScramHash::Sha256, "tim", Secret::new("tanstaaf")),
        ] {
            let Credentials::Password { name, password } = login.credentials() else { panic!("{login:?}") };
            assert_eq!((name, password.expose()), ("tim", "tanstaaf"));
        }
        let lifetime = Duration::from_secs(60);
        let login = Login::oauthbearer(TokenSource::Unsecured { subject: "tim".to_owned(), lifetime });
        let Credentials::Token(source) = login.credentials() else { panic!("{login:?}") };
        let token = source.current().unwrap();
        assert_eq!(token.subject.as_deref(), Some("tim"));
        assert!(token.expires_s.unwrap() > 1_700_000_000, "{token:?}");
        let opaque = TokenSource::Fixed(Secret::new("t0k")).current().unwrap();
        assert_eq!((opaque.subject, opaque.expires_s), (None, None));
    }

    #[test]
    fn an_unsecured_token_has_three_parts_and_names_its_subject() {
        let token = unsecured_token("al\"ice", 1_700_000_000, 1_700_000_060);
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!((parts.len(), parts[0], parts[2]), (3, "eyJhbGciOiJub25lIn0", ""));
        assert_eq!(subject_of(&Secret::new(token)), Some("al\"ice".to_owned()));
        assert_eq!(subject_of(&Secret::new("opaque")), None);
    }

    #[test]
    fn principals_and_no_secrets() {
        let secret = || Secret::new("hunter2");
        let logins = [
            (Login::plain("a", secret()), "User:a"),
            (Login::scram(ScramHash::Sha256, "b", secret()), "User:b"),
            (Login::oauthbearer(TokenSource::Fixed(secret())), "the subject of the OAuth token"),
        ];
        for (login, principal) in logins {
            assert_eq!(login.principal(), principal);
            assert!(!format!("{login:?}").contains("hunter2"));
        }
    }
}
