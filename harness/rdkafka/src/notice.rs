//! What a client says besides reports and records.

use std::ffi::c_char;

use rdkafka_sys as sys;

use crate::config::text_of;

/// Something that a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A line for the log.
    Log {
        /// As of syslog(3): 0 is the worst, 7 is for debugging.
        level: i32,
        /// What it is about, e.g. `FAIL`.
        facility: String,
        /// The line.
        text: String,
    },
    /// Statistics, as JSON; see [`crate::statistics`].
    Statistics(String),
    /// Something that went wrong with a connection, or with the client.
    Error {
        /// In words, with broker and address where there is one.
        text: String,
        /// The client can't go on.
        fatal: bool,
    },
    /// It wants a token to log in with.
    TokenWanted,
}

impl Notice {
    /// What an event of type `kind` says.
    ///
    /// # Safety
    /// `event` is valid, and its type is `kind`.
    pub(crate) unsafe fn of(event: *mut sys::rd_kafka_event_t, kind: i32) -> Option<Self> {
        // SAFETY: each function is for events of just this type, which the caller promises.
        unsafe {
            match kind {
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut text, mut level): (*const c_char, *const c_char, i32) =
                        (std::ptr::null(), std::ptr::null(), 0);
                    sys::rd_kafka_event_log(event, &raw mut facility, &raw mut text, &raw mut level);
                    Some(Notice::Log { level, facility: text_of(facility), text: text_of(text) })
                }
                sys::RD_KAFKA_EVENT_STATS => {
                    Some(Notice::Statistics(text_of(sys::rd_kafka_event_stats(event))))
                }
                sys::RD_KAFKA_EVENT_ERROR => Some(Notice::Error {
                    text: text_of(sys::rd_kafka_event_error_string(event)),
                    fatal: sys::rd_kafka_event_error_is_fatal(event) != 0,
                }),
                sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => Some(Notice::TokenWanted),
                _ => None,
            }
        }
    }
}
