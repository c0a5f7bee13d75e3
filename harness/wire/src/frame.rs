//! Request encoding and response decoding shared by the blocking and the event-loop connection.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::buf::UninitSlice;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::buf::ByteBufMut;
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
    header::<R>(client_id, correlation, version)
        .encode(out, R::header_version(version))
        .and_then(|()| request.encode(out, version))
        .map_err(|e| format!("request with API key {} version {version}: {e}", R::KEY))?;
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn header<R: Request>(client_id: &StrBytes, correlation: i32, version: i16) -> RequestHeader {
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.clone()))
}

/// One complete request in pieces, to be sent one after the other: what [`encode_request`] appends, but for what is `whole`. That is
/// not copied: it is a piece of its own wherever the request carries it.
///
/// Errors as there.
pub(crate) fn gather_request<R: Request>(
    client_id: &StrBytes,
    correlation: i32,
    version: i16,
    request: &R,
    whole: &[Bytes],
) -> Result<VecDeque<Bytes>, String> {
    let told = |e| format!("request with API key {} version {version}: {e}", R::KEY);
    let (header, header_version) = (header::<R>(client_id, correlation, version), R::header_version(version));
    let length =
        header.compute_size(header_version).map_err(told)? + request.compute_size(version).map_err(told)?;
    let whole_bytes: usize = whole.iter().map(Bytes::len).sum();
    let mut out = Gather {
        pieces: VecDeque::with_capacity(2 * whole.len() + 1),
        buffer: BytesMut::with_capacity(4 + length.saturating_sub(whole_bytes)),
        whole,
    };
    out.put_u32(length as u32);
    header.encode(&mut out, header_version).map_err(told)?;
    request.encode(&mut out, version).map_err(told)?;
    out.cut();
    let gathered: usize = out.pieces.iter().map(Bytes::len).sum();
    if gathered != 4 + length {
        let why = format!("it takes {} bytes, not {length}", gathered - 4);
        return Err(format!("request with API key {} version {version}: {why}", R::KEY));
    }
    Ok(out.pieces)
}

/// A buffer that does not copy what is `whole`.
struct Gather<'b> {
    pieces: VecDeque<Bytes>,
    /// What follows the pieces.
    buffer: BytesMut,
    whole: &'b [Bytes],
}

impl Gather<'_> {
    fn cut(&mut self) {
        if !self.buffer.is_empty() {
            self.pieces.push_back(self.buffer.split().freeze());
        }
    }
}

// SAFETY: everything but `put_slice`, which is safe, is what `BytesMut` does.
unsafe impl BufMut for Gather<'_> {
    fn remaining_mut(&self) -> usize {
        self.buffer.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: as the caller promises.
        unsafe { self.buffer.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.buffer.chunk_mut()
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        let is_it = |whole: &&Bytes| !bytes.is_empty() && std::ptr::eq::<[u8]>(whole.as_ref(), bytes);
        match self.whole.iter().find(is_it) {
            Some(whole) => {
                self.cut();
                self.pieces.push_back(whole.clone());
            }
            None => self.buffer.put_slice(bytes),
        }
    }
}

/// Gaps that are filled in later lie between pieces, not across them: no message of ours has others.
impl ByteBufMut for Gather<'_> {
    fn offset(&self) -> usize {
        self.buffer.offset()
    }

    fn seek(&mut self, offset: usize) {
        self.buffer.seek(offset);
    }

    fn range(&mut self, range: Range<usize>) -> &mut [u8] {
        self.buffer.range(range)
    }
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

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{MetadataRequest, ProduceRequest, TopicName};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In pieces a request is the same bytes, and what was not to be copied was not.
        #[test]
        fn gathered_is_what_is_encoded(
            version in 3..=12i16,
            sizes in prop::collection::vec(0..5_000usize, 0..6),
            correlation: i32,
        ) {
            let batches: Vec<Bytes> = sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect();
            let partition = |(index, batch): (usize, &Bytes)| {
                PartitionProduceData::default().with_index(index as i32).with_records(Some(batch.clone()))
            };
            let data = TopicProduceData::default()
                .with_name(TopicName(StrBytes::from_static_str("orders")))
                .with_partition_data(batches.iter().enumerate().map(partition).collect());
            let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]);
            let client_id = StrBytes::from_static_str("client");
            let mut copied = BytesMut::new();
            encode_request(&mut copied, &client_id, correlation, version, &request).unwrap();
            let pieces = gather_request(&client_id, correlation, version, &request, &batches).unwrap();
            prop_assert_eq!(pieces.iter().flatten().copied().collect::<Vec<u8>>(), copied.to_vec());
            for batch in batches.iter().filter(|batch| !batch.is_empty()) {
                prop_assert!(pieces.iter().any(|piece| piece.as_ptr() == batch.as_ptr()));
            }
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
        }
    }

    #[test]
    fn a_request_without_batches_is_one_piece() {
        let client_id = StrBytes::from_static_str("client");
        let pieces = gather_request(&client_id, 1, 12, &MetadataRequest::default(), &[]).unwrap();
        let mut copied = BytesMut::new();
        encode_request(&mut copied, &client_id, 1, 12, &MetadataRequest::default()).unwrap();
        assert_eq!(pieces, [copied.freeze()]);
    }
}
