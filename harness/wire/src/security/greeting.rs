//! What is said on a new connection until its owner may use it (ApiVersions, then the log-in), and again when the session
//! of the log-in nears its end (KIP-368). Frames in, frames out: both kinds of connection have it carried out for them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::{Request, StrBytes};

use super::sasl::{Conversation, Login, Reply};
use crate::code::ErrorCode;
use crate::connection::ApiVersions;
use crate::error::{RefusedLogin, WireError};
use crate::frame;

/// Version 1 says that what follows is SaslAuthenticate requests, not bare tokens (KIP-152).
const HANDSHAKE_VERSION: i16 = 1;
/// From 1 on the answer tells how long the session lasts (KIP-368).
const AUTHENTICATE_VERSION_CAP: i16 = 2;
/// The exchange is one request at a time, so every request may have the same number. Owners count from 1.
const CORRELATION: i32 = 0;

/// An exchange under way.
pub(crate) struct Greeting {
    addr: String,
    client_id: StrBytes,
    login: Option<Arc<Login>>,
    versions: ApiVersions,
    state: State,
}

enum State {
    /// ApiVersions was asked.
    Versions,
    /// The mechanism was proposed.
    Mechanism,
    Tokens {
        conversation: Conversation,
        version: i16,
    },
}

/// What follows from an answer.
pub(crate) enum Greeted {
    /// Send this frame and wait for its answer.
    Say(Bytes),
    /// The connection may be used.
    Done(Session),
}

/// What was agreed on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    pub(crate) versions: ApiVersions,
    /// How long the broker trusts the log-in; `None`: for ever.
    pub(crate) lifetime: Option<Duration>,
}

impl Session {
    /// When to log in again: at 85 % of the lifetime, the earliest moment at which Kafka's own client does, but with some time
    /// to spare, because a broker ends the connection when it *reads* a request too late, however early that was sent. Brokers
    /// refuse a second log-in within a second of the first.
    pub(crate) fn renew_after(&self) -> Option<Duration> {
        const TO_SPARE: Duration = Duration::from_millis(1_500);
        const AT_LEAST: Duration = Duration::from_millis(1_050);
        let lifetime = self.lifetime?;
        Some(lifetime.mul_f64(0.85).min(lifetime.saturating_sub(TO_SPARE)).max(AT_LEAST))
    }
}

impl Greeting {
    /// Begins on a new connection, and gives the first frame.
    pub(crate) fn begin(
        addr: &str,
        client_id: &StrBytes,
        login: Option<Arc<Login>>,
    ) -> Result<(Self, Bytes), WireError> {
        let greeting = Greeting {
            addr: addr.to_owned(),
            client_id: client_id.clone(),
            login,
            versions: ApiVersions::default(),
            state: State::Versions,
        };
        // Version 0 is understood by every broker and asks nothing of us but the key; what a newer version adds
        // (features, client name) is not needed here.
        let frame = greeting.encode(&ApiVersionsRequest::default(), 0)?;
        Ok((greeting, frame))
    }

    /// Begins the log-in anew on a connection that is in use, and gives the first frame.
    pub(crate) fn renew(
        addr: &str,
        client_id: &StrBytes,
        login: &Arc<Login>,
        versions: &ApiVersions,
    ) -> Result<(Self, Bytes), WireError> {
        let mut greeting = Greeting {
            addr: addr.to_owned(),
            client_id: client_id.clone(),
            login: Some(Arc::clone(login)),
            versions: versions.clone(),
            state: State::Mechanism,
        };
        let frame = greeting.propose(login)?;
        Ok((greeting, frame))
    }

    /// Takes the answer to the last frame.
    pub(crate) fn hear(&mut self, mut frame: Bytes) -> Result<Greeted, WireError> {
        match &mut self.state {
            State::Versions => {
                let response = self.decode::<ApiVersionsRequest>(&mut frame, 0)?;
                self.check(response.error_code, "the versions of its APIs")?;
                let keys = response.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version));
                self.versions = ApiVersions::new(keys);
                match self.login.clone() {
                    Some(login) => Ok(Greeted::Say(self.propose(&login)?)),
                    None => Ok(Greeted::Done(Session { versions: self.versions.clone(), lifetime: None })),
                }
            }
            State::Mechanism => self.proposed(frame),
            State::Tokens { version, .. } => {
                let version = *version;
                let answer = self.decode::<SaslAuthenticateRequest>(&mut frame, version)?;
                if answer.error_code != 0 {
                    let said = answer.error_message.map(|m| m.to_string()).unwrap_or_default();
                    let said = if said.is_empty() { "the broker does not say why".to_owned() } else { said };
                    return Err(self.refused(format!("{said} ({})", ErrorCode(answer.error_code)), None));
                }
                self.heard(&answer.auth_bytes, answer.session_lifetime_ms)
            }
        }
    }

    fn propose(&mut self, login: &Arc<Login>) -> Result<Bytes, WireError> {
        let request =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(login.mechanism()));
        self.state = State::Mechanism;
        self.versions.pick::<SaslHandshakeRequest>(HANDSHAKE_VERSION, &self.addr)?;
        self.encode(&request, HANDSHAKE_VERSION)
    }

    fn proposed(&mut self, mut frame: Bytes) -> Result<Greeted, WireError> {
        const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
        const ILLEGAL_SASL_STATE: i16 = 34;
        let answer = self.decode::<SaslHandshakeRequest>(&mut frame, HANDSHAKE_VERSION)?;
        match answer.error_code {
            0 => {}
            UNSUPPORTED_SASL_MECHANISM => {
                let enabled: Vec<String> = answer.mechanisms.iter().map(ToString::to_string).collect();
                let detail = format!("this listener has only {}", enabled.join(", "));
                return Err(self.refused(detail, Some("set sasl.mechanism to one of them")));
            }
            ILLEGAL_SASL_STATE => {
                let detail = "this listener takes no log-ins".to_owned();
                return Err(self.refused(
                    detail,
                    Some("set security.protocol to PLAINTEXT or SSL, or use the port of another listener"),
                ));
            }
            code => return Err(self.refused(ErrorCode(code).to_string(), None)),
        }
        let Some(login) = self.login.clone() else { return Err(self.out_of_step()) };
        let version = self.versions.pick::<SaslAuthenticateRequest>(AUTHENTICATE_VERSION_CAP, &self.addr)?;
        let (conversation, token) = Conversation::begin(login).map_err(|why| self.refused(why, None))?;
        self.state = State::Tokens { conversation, version };
        Ok(Greeted::Say(self.token(token, version)?))
    }

    fn heard(&mut self, token: &[u8], lifetime_ms: i64) -> Result<Greeted, WireError> {
        let State::Tokens { conversation, version } = &mut self.state else { return Err(self.out_of_step()) };
        let version = *version;
        match conversation.hear(token) {
            Ok(Reply::Say(answer)) => Ok(Greeted::Say(self.token(answer, version)?)),
            Ok(Reply::Done) => {
                let lifetime =
                    u64::try_from(lifetime_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
                Ok(Greeted::Done(Session { versions: self.versions.clone(), lifetime }))
            }
            Err(why) => Err(self.refused(why, None)),
        }
    }

    fn token(&self, token: Vec<u8>, version: i16) -> Result<Bytes, WireError> {
        self.encode(&SaslAuthenticateRequest::default().with_auth_bytes(token.into()), version)
    }

    fn encode<R: Request>(&self, request: &R, version: i16) -> Result<Bytes, WireError> {
        let mut out = BytesMut::new();
        frame::encode_request(&mut out, &self.client_id, CORRELATION, version, request)
            .map_err(|detail| WireError::Protocol { addr: self.addr.clone(), detail })?;
        Ok(out.freeze())
    }

    fn decode<R: Request>(&self, frame: &mut Bytes, version: i16) -> Result<R::Response, WireError> {
        frame::decode_response::<R>(frame, CORRELATION, version)
            .map_err(|detail| WireError::Protocol { addr: self.addr.clone(), detail })
    }

    fn check(&self, code: i16, what: &str) -> Result<(), WireError> {
        let what = || format!("ask {} for {what}", self.addr);
        ErrorCode(code).ok().map_err(|code| WireError::Kafka { what: what(), code, message: None })
    }

    /// The log-in has failed; `next_step`, unless it is about who we are.
    fn refused(&self, detail: String, next_step: Option<&'static str>) -> WireError {
        let login = self.login.as_ref();
        WireError::Authentication(Box::new(RefusedLogin {
            addr: self.addr.clone(),
            mechanism: login.map_or("", |l| l.mechanism()),
            principal: login.map_or_else(String::new, |l| l.principal()),
            detail,
            next_step: next_step.or(login.map(|l| l.next_step())).unwrap_or_default(),
        }))
    }

    fn out_of_step(&self) -> WireError {
        WireError::Protocol { addr: self.addr.clone(), detail: "the log-in is out of step".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{
        ApiVersionsResponse, ResponseHeader, SaslAuthenticateResponse, SaslHandshakeResponse,
    };
    use kafka_protocol::protocol::Encodable;

    use super::*;
    use crate::security::{ScramHash, Secret};

    /// A response as a broker frames it, without the length.
    fn answer<M: Encodable + kafka_protocol::protocol::HeaderVersion>(message: &M, version: i16) -> Bytes {
        let mut out = BytesMut::new();
        ResponseHeader::default().encode(&mut out, M::header_version(version)).unwrap();
        message.encode(&mut out, version).unwrap();
        out.put_slice(&[]);
        out.freeze()
    }

    fn versions() -> Bytes {
        let range = |key: i16, max: i16| ApiVersion::default().with_api_key(key).with_max_version(max);
        let keys = vec![range(SaslHandshakeRequest::KEY, 1), range(SaslAuthenticateRequest::KEY, 2)];
        answer(&ApiVersionsResponse::default().with_api_keys(keys), 0)
    }

    fn begin(login: Login) -> Greeting {
        let client_id = StrBytes::from_static_str("t");
        let (mut greeting, _) = Greeting::begin("b:1", &client_id, Some(Arc::new(login))).unwrap();
        assert!(matches!(greeting.hear(versions()), Ok(Greeted::Say(_))));
        greeting
    }

    fn error(greeted: Result<Greeted, WireError>) -> String {
        greeted.err().unwrap().to_string()
    }

    #[test]
    fn without_a_log_in_the_versions_are_all() {
        let (mut greeting, frame) = Greeting::begin("b:1", &StrBytes::from_static_str("t"), None).unwrap();
        assert_eq!(&frame[4..6], &ApiVersionsRequest::KEY.to_be_bytes());
        let Ok(Greeted::Done(session)) = greeting.hear(versions()) else { panic!("it goes on") };
        assert_eq!(session.versions.offered(SaslHandshakeRequest::KEY), Some((0, 1)));
        assert_eq!(session.renew_after(), None);
    }

    #[test]
    fn a_log_in_ends_with_the_lifetime_of_its_session() {
        let mut greeting = begin(Login::plain("tim", Secret::new("x")));
        assert!(matches!(greeting.hear(answer(&SaslHandshakeResponse::default(), 1)), Ok(Greeted::Say(_))));
        let yes = SaslAuthenticateResponse::default().with_session_lifetime_ms(10_000);
        let Ok(Greeted::Done(session)) = greeting.hear(answer(&yes, 2)) else { panic!("it goes on") };
        assert_eq!(session.lifetime, Some(Duration::from_secs(10)));
        let renew_after = |lifetime_ms| {
            let lifetime = Some(Duration::from_millis(lifetime_ms));
            Session { lifetime, ..Session::default() }.renew_after().unwrap().as_millis()
        };
        assert_eq!(renew_after(3_600_000), 3_060_000);
        assert_eq!(renew_after(10_000), 8_500);
        assert_eq!(renew_after(4_000), 2_500, "1.5 s to spare");
        assert_eq!(renew_after(1_100), 1_050, "brokers refuse it within a second");
    }

    #[test]
    fn every_refusal_names_peer_mechanism_reason_and_next_step() {
        let mut greeting = begin(Login::scram(ScramHash::Sha256, "tim", Secret::new("hunter2")));
        let other = SaslHandshakeResponse::default()
            .with_error_code(33)
            .with_mechanisms(vec![StrBytes::from_static_str("PLAIN"), StrBytes::from_static_str("GSSAPI")]);
        assert_eq!(
            error(greeting.hear(answer(&other, 1))),
            "the log-in of User:tim at b:1 by SCRAM-SHA-256 failed: this listener has only PLAIN, GSSAPI; \
             set sasl.mechanism to one of them"
        );

        let mut greeting = begin(Login::plain("tim", Secret::new("hunter2")));
        let none = SaslHandshakeResponse::default().with_error_code(34);
        assert!(
            error(greeting.hear(answer(&none, 1))).contains("takes no log-ins; set security.protocol to")
        );

        let mut greeting = begin(Login::plain("tim", Secret::new("hunter2")));
        assert!(greeting.hear(answer(&SaslHandshakeResponse::default(), 1)).is_ok());
        let no = SaslAuthenticateResponse::default()
            .with_error_code(58)
            .with_error_message(Some(StrBytes::from_static_str("Authentication failed: no such user")));
        assert_eq!(
            error(greeting.hear(answer(&no, 2))),
            "the log-in of User:tim at b:1 by PLAIN failed: Authentication failed: no such user \
             (SASL_AUTHENTICATION_FAILED (58)); check sasl.username, sasl.password and sasl.mechanism"
        );
    }
}
