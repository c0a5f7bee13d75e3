//! Request encoding and response decoding shared by the blocking and the event-loop connection.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// Largest response that is accepted, in bytes: a guard against a length field that is really something else.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// The length of a response from its prefix, or what the prefix is instead.
pub(crate) fn response_length(prefix: [u8; 4]) -> Result<usize, String> {
    // A TLS record of type alert, version 3.x (RFC 8446, section 5.1).
    if prefix[..2] == [21, 3] {
        return Err(
            "a TLS alert: this is the port of a listener with TLS; set security.protocol to SSL or SASL_SSL"
                .to_owned(),
        );
    }
    match u32::from_be_bytes(prefix) as usize {
        length if length > MAX_RESPONSE_BYTES => Err(format!("a response of {length} bytes")),
        length => Ok(length),
    }
}

/// Appends one complete request, length prefix included, to `out`.
///
/// Errors are encoding errors of a message that does not fit its version, in words.
pub(crate) fn encode_request<R: Request>(
    out: &mut BytesMut,
    client_id: &StrBytes,
    correlation: i32,
    version: i16,
    request: &R,
) -> Result<(), String> {
    let start = out.len();
    out.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.clone()))
        .encode(out, R::header_version(version))
        .and_then(|()| request.encode(out, version))
        .map_err(|e| format!("request with API key {} version {version}: {e}", R::KEY))?;
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Decodes the header of a response frame (without its length prefix) and checks its correlation id.
pub(crate) fn decode_response<R: Request>(
    frame: &mut Bytes,
    correlation: i32,
    version: i16,
) -> Result<R::Response, String> {
    let header =
        ResponseHeader::decode(frame, R::Response::header_version(version)).map_err(|e| e.to_string())?;
    if header.correlation_id != correlation {
        return Err(format!("response {} where {correlation} was due", header.correlation_id));
    }
    R::Response::decode(frame, version)
        .map_err(|e| format!("response to API key {} version {version}: {e}", R::KEY))
}

/// The range of versions of a request that this client can encode and decode.
pub(crate) fn our_versions<R: Request>() -> (i16, i16) {
    (R::VERSIONS.min, R::VERSIONS.max)
}
