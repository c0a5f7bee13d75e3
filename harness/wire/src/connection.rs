//! A blocking connection to one broker, for everything that is rare: admin calls, watching, tests.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Request, StrBytes};

use crate::error::{Stage, WireError, broken};
use crate::frame;
use crate::security::Security;
use crate::security::greeting::{Greeted, Greeting, Session};
use crate::security::transport::Transport;

/// How to connect, and how long to wait.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// `client.id` that brokers log and apply quotas to.
    pub client_id: String,
    /// Limit on establishing the connection, and on each read and write.
    pub timeout: Duration,
    /// TLS and log-in.
    pub security: Security,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            client_id: "gauntlet".to_owned(),
            timeout: Duration::from_secs(10),
            security: Security::default(),
        }
    }
}

/// The versions of each API that a broker offers (ApiVersions response).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiVersions(HashMap<i16, (i16, i16)>);

impl ApiVersions {
    /// From (API key, lowest, highest) triples.
    pub fn new(ranges: impl IntoIterator<Item = (i16, i16, i16)>) -> Self {
        ApiVersions(ranges.into_iter().map(|(key, min, max)| (key, (min, max))).collect())
    }

    /// The range offered for an API, if any.
    pub fn offered(&self, key: i16) -> Option<(i16, i16)> {
        self.0.get(&key).copied()
    }

    /// The highest version of `R` that both sides speak, capped at `cap`.
    ///
    /// `addr` is only used to name the peer in the error.
    pub fn pick<R: Request>(&self, cap: i16, addr: &str) -> Result<i16, WireError> {
        let (low, high) = frame::our_versions::<R>();
        let high = high.min(cap);
        let offered = self.offered(R::KEY);
        match offered {
            Some((min, max)) if min.max(low) <= max.min(high) => Ok(max.min(high)),
            _ => Err(WireError::Unsupported {
                addr: addr.to_owned(),
                api: ApiKey::try_from(R::KEY)
                    .map_or_else(|()| format!("API {}", R::KEY), |k| format!("{k:?}")),
                offered: offered.map_or_else(|| "none".to_owned(), |(a, b)| format!("{a}-{b}")),
                ours: format!("{low}-{high}"),
            }),
        }
    }
}

/// A blocking, one-request-at-a-time connection. Logs in again by itself when its session nears its end.
#[derive(Debug)]
pub struct Connection {
    transport: Transport<TcpStream>,
    addr: String,
    client_id: StrBytes,
    security: Security,
    correlation: i32,
    versions: ApiVersions,
    /// Whether anything but the greeting was answered.
    served: bool,
    log_in_again_at: Option<Instant>,
}

impl Connection {
    /// Connects to `addr` (`host:port`), agrees on TLS and logs in as `options` say, and learns which API versions the
    /// broker speaks.
    pub fn connect(addr: &str, options: &ConnectOptions) -> Result<Connection, WireError> {
        let failed = |source| WireError::Connect { addr: addr.to_owned(), source };
        let stream = connect_any(addr, options.timeout).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(options.timeout)).map_err(failed)?;
        stream.set_write_timeout(Some(options.timeout)).map_err(failed)?;
        let transport = Transport::over(stream, &options.security, addr)
            .map_err(|failure| WireError::Tls { addr: addr.to_owned(), failure })?;
        let mut connection = Connection {
            transport,
            addr: addr.to_owned(),
            client_id: StrBytes::from_string(options.client_id.clone()),
            security: options.security.clone(),
            correlation: 0,
            versions: ApiVersions::default(),
            served: false,
            log_in_again_at: None,
        };
        let login = connection.security.login.clone();
        let (greeting, frame) = Greeting::begin(addr, &connection.client_id, login)?;
        connection.greet(greeting, frame)?;
        Ok(connection)
    }

    /// `host:port` of the peer as it was given.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// What the broker speaks.
    pub fn versions(&self) -> &ApiVersions {
        &self.versions
    }

    /// Changes the limit on each read and write from here on; for callers with a deadline of their own.
    ///
    /// # Errors
    /// The limit is zero, or the operating system refuses it.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<(), WireError> {
        let socket = self.transport.socket();
        let set =
            socket.set_read_timeout(Some(timeout)).and_then(|()| socket.set_write_timeout(Some(timeout)));
        set.map_err(|source| WireError::Io { addr: self.addr.clone(), source })
    }

    /// Who the broker takes us for, as far as we know.
    pub fn principal(&self) -> String {
        self.security.principal()
    }

    /// Sends a request at the highest version both sides speak and waits for its answer.
    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, WireError> {
        self.call_capped(request, i16::MAX)
    }

    /// As [`Connection::call`], with a cap on the version.
    pub fn call_capped<R: Request>(&mut self, request: &R, cap: i16) -> Result<R::Response, WireError> {
        if let (Some(login), Some(due)) = (&self.security.login, self.log_in_again_at)
            && due <= Instant::now()
        {
            let (greeting, frame) = Greeting::renew(&self.addr, &self.client_id, login, &self.versions)?;
            self.greet(greeting, frame)?;
        }
        let version = self.versions.pick::<R>(cap, &self.addr)?;
        self.correlation = self.correlation.wrapping_add(1);
        let mut out = BytesMut::new();
        frame::encode_request(&mut out, &self.client_id, self.correlation, version, request)
            .map_err(|detail| self.protocol(detail))?;
        self.write_frame(&out)?;
        let mut answer = self.read_frame()?;
        self.served = true;
        frame::decode_response::<R>(&mut answer, self.correlation, version)
            .map_err(|detail| self.protocol(detail))
    }

    /// Carries a greeting out, from its first frame to its end.
    fn greet(&mut self, mut greeting: Greeting, mut frame: Bytes) -> Result<(), WireError> {
        loop {
            self.write_frame(&frame)?;
            let answer = self.read_frame()?;
            match greeting.hear(answer)? {
                Greeted::Say(next) => frame = next,
                Greeted::Done(session) => {
                    self.begin_session(session);
                    return Ok(());
                }
            }
        }
    }

    fn begin_session(&mut self, session: Session) {
        self.log_in_again_at = session.renew_after().map(|after| Instant::now() + after);
        self.versions = session.versions;
    }

    fn write_frame(&mut self, frame: &[u8]) -> Result<(), WireError> {
        let written = self.transport.write_all(frame).and_then(|()| self.transport.flush());
        written.map_err(|source| broken(&self.addr, self.stage(), source))
    }

    fn read_frame(&mut self) -> Result<Bytes, WireError> {
        let mut prefix = [0u8; 4];
        self.read_exact(&mut prefix)?;
        let length = frame::response_length(prefix).map_err(|detail| self.protocol(detail))?;
        let mut body = vec![0u8; length];
        self.read_exact(&mut body)?;
        Ok(body.into())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), WireError> {
        let read = self.transport.read_exact(buffer);
        read.map_err(|source| broken(&self.addr, self.stage(), source))
    }

    fn stage(&self) -> Stage {
        let greeted = self.versions != ApiVersions::default();
        match (self.served, greeted, &self.security.login) {
            _ if self.transport.is_handshaking() => Stage::TlsHandshake,
            (false, false, _) if self.security.tls.is_some() => Stage::GreetingUnderTls,
            (false, false, _) => Stage::Greeting,
            (false, true, None) => Stage::FirstRequest,
            _ => Stage::InUse,
        }
    }

    fn protocol(&self, detail: String) -> WireError {
        WireError::Protocol { addr: self.addr.clone(), detail }
    }
}

fn connect_any(addr: &str, timeout: Duration) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name resolves to no address");
    for resolved in addr.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, timeout) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}
