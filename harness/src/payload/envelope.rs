//! Values that are JSON messages, as services send them: an envelope around a payload of the length that is left.
//!
//! `{"id":…,"type":…,"timestamp":…,"tenant_id":…,"version":…,"payload":…,"metadata":{"source":…,"correlation_id":…,"trace_id":…}}`
//!
//! All of it but the time is a function of seed, producer, partition and record number. Ids are random UUIDs (RFC 9562, version 4),
//! the trace id is one of W3C's Trace Context, the time that the record was intended for is written as RFC 3339 has it.

use serde_json::Value;

use crate::random::SplitMix;

/// What is the same in all messages of a block of producers.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// As JSON, quotes included.
    kind: String,
    /// As JSON, quotes included.
    source: String,
    version: u32,
    tenants: u32,
    /// Part of the payload that is random.
    random_fraction: f64,
    /// Bytes without payload.
    bytes_min: usize,
}

/// A UUID as text.
const UUID_BYTES: usize = 36;
const TRACE_ID_BYTES: usize = 32;
/// `2026-11-22T03:46:52.123Z`
const TIME_BYTES: usize = 24;
/// Each carries six random bits: what JSON needs not escape, and codecs can't make much smaller than three quarters.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HEX: &[u8; 16] = b"0123456789abcdef";

impl Envelope {
    /// Messages of type `kind` from `source`, of so many tenants (at least 1); this part of the payload is random.
    pub fn new(kind: &str, source: &str, version: u32, tenants: u32, random_fraction: f64) -> Self {
        let json = |text: &str| Value::from(text).to_string();
        let (kind, source, tenants) = (json(kind), json(source), tenants.max(1));
        let mut envelope = Envelope { kind, source, version, tenants, random_fraction, bytes_min: 0 };
        let mut counted = Counter(0);
        envelope.write(&mut SplitMix::of(0, 0, 0), 0, 0, &mut counted);
        envelope.bytes_min = counted.0;
        envelope
    }

    /// Bytes of a message without payload.
    pub fn bytes_min(&self) -> usize {
        self.bytes_min
    }

    /// Fills `out`, at least [`Envelope::bytes_min`] long, with one message.
    pub fn fill(&self, rng: &mut SplitMix, timestamp_ms: i64, out: &mut [u8]) {
        let payload_bytes = out.len().saturating_sub(self.bytes_min);
        self.write(rng, timestamp_ms, payload_bytes, &mut Cursor { out, at: 0 });
    }

    fn write(&self, rng: &mut SplitMix, timestamp_ms: i64, payload_bytes: usize, out: &mut impl Sink) {
        out.put(b"{\"id\":\"");
        uuid(rng, out);
        out.put(b"\",\"type\":");
        out.put(self.kind.as_bytes());
        out.put(b",\"timestamp\":\"");
        time(timestamp_ms, out);
        out.put(b"\",\"tenant_id\":\"tenant-");
        let tenant = (rng.unit() * f64::from(self.tenants)) as u32;
        decimal(u64::from(tenant), digits(self.tenants - 1), out);
        out.put(b"\",\"version\":");
        decimal(u64::from(self.version), digits(self.version), out);
        out.put(b",\"payload\":\"");
        let random = (payload_bytes as f64 * self.random_fraction).round() as usize;
        letters(rng, random.min(payload_bytes), out);
        out.fill(b'x', payload_bytes - random.min(payload_bytes));
        out.put(b"\",\"metadata\":{\"source\":");
        out.put(self.source.as_bytes());
        out.put(b",\"correlation_id\":\"");
        uuid(rng, out);
        out.put(b"\",\"trace_id\":\"");
        hex(rng.draw(), TRACE_ID_BYTES / 2, out);
        hex(rng.draw(), TRACE_ID_BYTES / 2, out);
        out.put(b"\"}}");
    }
}

/// Where a message goes.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
    fn fill(&mut self, byte: u8, count: usize);
}

struct Cursor<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Sink for Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn fill(&mut self, byte: u8, count: usize) {
        self.out[self.at..self.at + count].fill(byte);
        self.at += count;
    }
}

struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn fill(&mut self, _: u8, count: usize) {
        self.0 += count;
    }
}

fn uuid(rng: &mut SplitMix, out: &mut impl Sink) {
    // Version 4 and variant 10, in their places.
    let high = rng.draw() & !0xf000 | 0x4000;
    let low = rng.draw() & !(0xc0 << 56) | 0x80 << 56;
    let mut text = [b'-'; UUID_BYTES];
    let nibbles = (0..32).map(|n| if n < 16 { high >> (60 - 4 * n) } else { low >> (60 - 4 * (n - 16)) });
    let places = (0..UUID_BYTES).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
    for (at, nibble) in places.zip(nibbles) {
        text[at] = HEX[(nibble & 0xf) as usize];
    }
    out.put(&text);
}

fn hex(number: u64, digits: usize, out: &mut impl Sink) {
    let mut text = [0; 16];
    for (n, digit) in text[..digits].iter_mut().enumerate() {
        *digit = HEX[(number >> (60 - 4 * n) & 0xf) as usize];
    }
    out.put(&text[..digits]);
}

fn digits(number: u32) -> usize {
    number.max(1).ilog10() as usize + 1
}

fn decimal(number: u64, digits: usize, out: &mut impl Sink) {
    let mut text = [b'0'; 20];
    let mut rest = number;
    for digit in text[..digits].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.put(&text[..digits]);
}

fn letters(rng: &mut SplitMix, count: usize, out: &mut impl Sink) {
    /// Letters that one draw has the bits for.
    const PER_DRAW: usize = 10;
    let mut left = count;
    while left > 0 {
        let bits = rng.draw();
        let mut text = [0; PER_DRAW];
        for (n, letter) in text.iter_mut().enumerate() {
            *letter = ALPHABET[(bits >> (6 * n) & 0x3f) as usize];
        }
        let taken = left.min(PER_DRAW);
        out.put(&text[..taken]);
        left -= taken;
    }
}

/// Milliseconds since 1970 as RFC 3339 writes them, in UTC. What no calendar of four-digit years holds is its first instant.
fn time(timestamp_ms: i64, out: &mut impl Sink) {
    let seconds = timestamp_ms.div_euclid(1_000);
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let number = |number: u32, digits: usize, behind: u8, out: &mut _| {
        decimal(u64::from(number), digits, out);
        Sink::fill(out, behind, 1);
    };
    debug_assert_eq!(TIME_BYTES, "2026-11-22T03:46:52.123Z".len());
    number(at.year().clamp(0, 9_999) as u32, 4, b'-', out);
    number(u32::from(u8::from(at.month())), 2, b'-', out);
    number(u32::from(at.day()), 2, b'T', out);
    number(u32::from(at.hour()), 2, b':', out);
    number(u32::from(at.minute()), 2, b':', out);
    number(u32::from(at.second()), 2, b'.', out);
    number(timestamp_ms.rem_euclid(1_000) as u32, 3, b'Z', out);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn message(envelope: &Envelope, k: u64, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        envelope.fill(&mut SplitMix::of(7, 3, k), 1_763_783_212_123, &mut out);
        out
    }

    #[test]
    fn a_message_is_json_of_the_length_that_was_asked_for() {
        let envelope = Envelope::new("order \"created\"", "shop", 12, 250, 0.5);
        for bytes in [envelope.bytes_min(), envelope.bytes_min() + 1, 1_024, 4_000] {
            let text = message(&envelope, 1, bytes);
            let json: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(json["type"], "order \"created\"");
            assert_eq!(json["timestamp"], "2025-11-22T03:46:52.123Z");
            assert_eq!(json["version"], 12);
            assert_eq!(json["metadata"]["source"], "shop");
            assert_eq!(json["payload"].as_str().unwrap().len(), bytes - envelope.bytes_min());
            let tenant = json["tenant_id"].as_str().unwrap().strip_prefix("tenant-").unwrap();
            assert!(tenant.len() == 3 && tenant.parse::<u32>().unwrap() < 250, "{tenant}");
            for id in [&json["id"], &json["metadata"]["correlation_id"]] {
                let parts: Vec<&str> = id.as_str().unwrap().split('-').collect();
                assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
                assert!(parts[2].starts_with('4') && "89ab".contains(&parts[3][..1]), "{id}");
            }
            assert_eq!(json["metadata"]["trace_id"].as_str().unwrap().len(), TRACE_ID_BYTES);
        }
    }

    #[test]
    fn messages_are_reproducible_and_their_ids_differ() {
        let envelope = Envelope::new("e", "s", 1, 1, 0.2);
        assert_eq!(message(&envelope, 5, 600), message(&envelope, 5, 600));
        let ids: HashSet<Vec<u8>> = (0..10_000).map(|k| message(&envelope, k, 400)[7..43].to_vec()).collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn times_before_1970_and_beyond_the_calendar_are_dates_too() {
        for ms in [-1, i64::MIN, i64::MAX, 253_402_300_799_999] {
            let mut counted = Counter(0);
            time(ms, &mut counted);
            assert_eq!(counted.0, TIME_BYTES, "{ms}");
        }
    }
}
