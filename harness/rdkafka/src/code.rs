//! Error codes: those of brokers, and librdkafka's own, which are below -1.

use std::ffi::CStr;
use std::fmt;

use rdkafka_sys::rd_kafka_resp_err_t;

/// An error code. 0 is success.
///
/// Kept as a number, not as the enumeration of the bindings: brokers may answer with a code that this librdkafka does not
/// know yet, and passes on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub i32);

impl Code {
    /// Success.
    pub const NONE: Code = Code(0);
    /// `_QUEUE_FULL`: `queue.buffering.max.messages` or `queue.buffering.max.kbytes` is reached.
    pub const QUEUE_FULL: Code = Code(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL as i32);
    /// `_FATAL`: the client can't go on.
    pub const FATAL: Code = Code(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FATAL as i32);
    /// `_AUTO_OFFSET_RESET`: the position is not in the log.
    pub const AUTO_OFFSET_RESET: Code =
        Code(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32);
    /// `_LOG_TRUNCATION`: the log was cut below the position (KIP-320).
    pub const LOG_TRUNCATION: Code = Code(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__LOG_TRUNCATION as i32);
    /// `_BAD_MSG`: a batch can't be read, or its checksum is wrong.
    pub const BAD_MSG: Code = Code(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__BAD_MSG as i32);
    /// `_BAD_COMPRESSION`: a batch can't be decompressed.
    pub const BAD_COMPRESSION: Code = Code(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__BAD_COMPRESSION as i32);

    /// Whether this is success.
    #[must_use]
    pub fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Whether a broker has said it: its number is then that of the protocol.
    #[must_use]
    pub fn is_of_broker(self) -> bool {
        self.0 >= -1 && self.0 != 0
    }

    /// librdkafka's name for it, e.g. `_MSG_TIMED_OUT`; `code N` for one that it has none for.
    #[must_use]
    pub fn name(self) -> String {
        let Ok(known) = rd_kafka_resp_err_t::try_from(self.0) else { return format!("code {}", self.0) };
        // SAFETY: a valid enumerator is passed; the text that comes back is static, or null where there is none.
        unsafe {
            let text = rdkafka_sys::rd_kafka_err2name(known);
            if text.is_null() {
                return format!("code {}", self.0);
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Code(-192).to_string(), "_MSG_TIMED_OUT (-192)");
        assert_eq!(Code(30_000).name(), "code 30000");
        assert!(Code(19).is_of_broker() && Code(-1).is_of_broker());
        assert!(!Code::QUEUE_FULL.is_of_broker() && !Code::NONE.is_of_broker());
    }
}
