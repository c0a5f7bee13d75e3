//! Randomness that must differ between processes (cluster ids, where to look for ports) and is therefore *not* drawn from the
//! scenario's seed: nothing that a verdict rests on comes from here.

use rand::TryRng;
use rand::rngs::SysRng;

/// Bytes from the operating system.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).expect("getrandom(2) is there on every Linux since 3.17");
    bytes
}

/// A random id as Kafka writes its `Uuid`: 16 bytes in URL-safe base64 without padding, and no leading dash, which its
/// command-line tools would take for an option.
pub(crate) fn kafka_uuid() -> String {
    loop {
        let text = base64_url(&random_bytes::<16>());
        if !text.starts_with('-') {
            return text;
        }
    }
}

/// RFC 4648 section 5, without padding.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let padded = [group[0], group.get(1).copied().unwrap_or(0), group.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for index in 0..=group.len() {
            let sextet = (bits >> (18 - 6 * index)) & 0x3f;
            text.push(char::from(ALPHABET[sextet as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64_url(bytes.as_bytes()), text);
        }
        assert_eq!(base64_url(&[0xfb, 0xff, 0xfe]), "-__-");
    }

    #[test]
    fn kafka_accepts_the_form() {
        for _ in 0..200 {
            let id = kafka_uuid();
            assert_eq!(id.len(), 22);
            assert!(!id.starts_with('-'));
        }
        assert_ne!(kafka_uuid(), kafka_uuid());
    }
}
