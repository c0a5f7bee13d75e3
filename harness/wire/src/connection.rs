//! A blocking connection to one broker, for everything that is rare: admin calls, watching, tests.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use kafka_protocol::protocol::{Request, StrBytes};

use crate::error::WireError;
use crate::frame::{self, MAX_RESPONSE_BYTES};

/// How to connect, and how long to wait.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// `client.id` that brokers log and apply quotas to.
    pub client_id: String,
    /// Limit on establishing the connection, and on each read and write.
    pub timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions { client_id: "gauntlet".to_owned(), timeout: Duration::from_secs(10) }
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

/// A blocking, one-request-at-a-time connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    addr: String,
    client_id: StrBytes,
    correlation: i32,
    versions: ApiVersions,
}

impl Connection {
    /// Connects to `addr` (`host:port`) and learns which API versions the broker speaks.
    pub fn connect(addr: &str, options: &ConnectOptions) -> Result<Connection, WireError> {
        let failed = |source| WireError::Connect { addr: addr.to_owned(), source };
        let stream = connect_any(addr, options.timeout).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(options.timeout)).map_err(failed)?;
        stream.set_write_timeout(Some(options.timeout)).map_err(failed)?;
        let mut connection = Connection {
            stream,
            addr: addr.to_owned(),
            client_id: StrBytes::from_string(options.client_id.clone()),
            correlation: 0,
            versions: ApiVersions::default(),
        };
        connection.versions = connection.ask_versions()?;
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

    /// Sends a request at the highest version both sides speak and waits for its answer.
    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, WireError> {
        self.call_capped(request, i16::MAX)
    }

    /// As [`Connection::call`], with a cap on the version.
    pub fn call_capped<R: Request>(&mut self, request: &R, cap: i16) -> Result<R::Response, WireError> {
        let version = self.versions.pick::<R>(cap, &self.addr)?;
        self.call_version(request, version)
    }

    fn call_version<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, WireError> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut out = BytesMut::new();
        frame::encode_request(&mut out, &self.client_id, self.correlation, version, request)
            .map_err(|detail| self.protocol(detail))?;
        self.stream.write_all(&out).map_err(|source| self.io(source))?;
        let mut answer = self.read_frame()?;
        frame::decode_response::<R>(&mut answer, self.correlation, version)
            .map_err(|detail| self.protocol(detail))
    }

    fn ask_versions(&mut self) -> Result<ApiVersions, WireError> {
        // Version 0 is understood by every broker and asks nothing of us but the key; what a newer version adds
        // (features, client name) is not needed here.
        let response = self.call_version(&ApiVersionsRequest::default(), 0)?;
        Ok(ApiVersions::new(response.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version))))
    }

    fn read_frame(&mut self) -> Result<Bytes, WireError> {
        let mut length = [0u8; 4];
        self.stream.read_exact(&mut length).map_err(|source| self.io(source))?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_RESPONSE_BYTES {
            return Err(self.protocol(format!("a response of {length} bytes")));
        }
        let mut body = vec![0u8; length];
        self.stream.read_exact(&mut body).map_err(|source| self.io(source))?;
        Ok(body.into())
    }

    fn io(&self, source: std::io::Error) -> WireError {
        WireError::Io { addr: self.addr.clone(), source }
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
