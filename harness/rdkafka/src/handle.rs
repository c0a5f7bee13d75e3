//! Owners of librdkafka's objects: what is dropped is ended, in an order that librdkafka can do with.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka_sys as sys;

use crate::config::{Config, Kind, StartError};
use crate::notice::Notice;
use crate::wakeup::Wakeup;

/// Events that come through the queue of a client instead of callbacks.
const EVENTS: i32 = sys::RD_KAFKA_EVENT_DR
    | sys::RD_KAFKA_EVENT_LOG
    | sys::RD_KAFKA_EVENT_ERROR
    | sys::RD_KAFKA_EVENT_STATS
    | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;

/// A client. Dropping it ends its threads and connections.
#[derive(Debug)]
pub(crate) struct Handle {
    raw: NonNull<sys::rd_kafka_t>,
}

// SAFETY: librdkafka's functions on a client are thread-safe ("The C API is also thread safe", INTRODUCTION.md).
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the last owner; queues and topics hold an `Arc` of the handle, so they are gone.
        unsafe { sys::rd_kafka_destroy(self.raw.as_ptr()) }
    }
}

impl Handle {
    pub(crate) fn new(config: Config, kind: Kind) -> Result<Self, StartError> {
        Ok(Handle { raw: config.start(kind, EVENTS)? })
    }

    pub(crate) fn raw(&self) -> *mut sys::rd_kafka_t {
        self.raw.as_ptr()
    }

    /// Sets the token that new connections log in with.
    pub(crate) fn set_token(&self, token: &Token<'_>) -> Result<(), String> {
        let unusable = |what: &str| format!("the {what} holds a zero byte");
        let value = CString::new(token.value).map_err(|_| unusable("token"))?;
        let principal = CString::new(token.principal).map_err(|_| unusable("principal"))?;
        let mut text = [0; 512];
        // SAFETY: client and texts are valid, there are no extensions, and `text` is as long as it is said to be.
        let error = unsafe {
            sys::rd_kafka_oauthbearer_set_token(
                self.raw(),
                value.as_ptr(),
                token.expires_unix_ms,
                principal.as_ptr(),
                std::ptr::null_mut(),
                0,
                text.as_mut_ptr(),
                text.len(),
            )
        };
        match error {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            _ => Err(crate::config::said(&text)),
        }
    }

    /// Says that there is no token; librdkafka asks again in ten seconds.
    pub(crate) fn set_token_failure(&self, why: &str) {
        let Ok(why) = CString::new(why.replace('\0', " ")) else { return };
        // SAFETY: client and text are valid.
        unsafe { sys::rd_kafka_oauthbearer_set_token_failure(self.raw(), why.as_ptr()) };
    }
}

/// A token for OAUTHBEARER.
#[derive(Debug, Clone, Copy)]
pub struct Token<'a> {
    /// The token, as it goes to the broker.
    pub value: &'a str,
    /// When it expires, in milliseconds since the Unix epoch. librdkafka asks for the next one at 80 % of its life.
    pub expires_unix_ms: i64,
    /// Whom it is for.
    pub principal: &'a str,
}

/// A queue of a client.
#[derive(Debug)]
pub(crate) struct Queue {
    raw: NonNull<sys::rd_kafka_queue_t>,
    _client: Arc<Handle>,
}

// SAFETY: librdkafka's queues are thread-safe.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: `raw` is our reference; the client still lives.
        unsafe { sys::rd_kafka_queue_destroy(self.raw.as_ptr()) }
    }
}

impl Queue {
    /// The queue that everything about a client comes through, log lines included.
    pub(crate) fn main(client: &Arc<Handle>, wakeup: &Wakeup) -> Self {
        let queue = Self::silent(client);
        queue.ring(wakeup);
        queue
    }

    /// The same, to be looked into without being told when.
    pub(crate) fn silent(client: &Arc<Handle>) -> Self {
        // SAFETY: the client is valid; what comes back is a reference of ours.
        let raw = unsafe { sys::rd_kafka_queue_get_main(client.raw()) };
        let queue = Self::owned(client, raw);
        // SAFETY: client and queue are valid.
        unsafe { sys::rd_kafka_set_log_queue(client.raw(), queue.raw()) };
        queue
    }

    /// A new queue.
    pub(crate) fn new(client: &Arc<Handle>, wakeup: &Wakeup) -> Self {
        // SAFETY: the client is valid; what comes back is ours.
        let raw = unsafe { sys::rd_kafka_queue_new(client.raw()) };
        let queue = Self::owned(client, raw);
        queue.ring(wakeup);
        queue
    }

    fn owned(client: &Arc<Handle>, raw: *mut sys::rd_kafka_queue_t) -> Self {
        let raw = NonNull::new(raw).expect("librdkafka had no memory for a queue");
        Queue { raw, _client: Arc::clone(client) }
    }

    /// Rings when something comes and nobody has looked since.
    fn ring(&self, wakeup: &Wakeup) {
        let ring = 1u64.to_ne_bytes();
        // SAFETY: the queue is valid, and librdkafka copies the eight bytes. The descriptor outlives the queue, or
        // `Queue::quiet` was called before: see the documentation of the clients.
        unsafe {
            sys::rd_kafka_queue_io_event_enable(self.raw(), wakeup.fd(), ring.as_ptr().cast(), ring.len());
        }
    }

    /// Rings no more. Called before the descriptor may be closed.
    pub(crate) fn quiet(&self) {
        // SAFETY: the queue is valid; -1 disables ("fd ... or -1 to disable").
        unsafe { sys::rd_kafka_queue_io_event_enable(self.raw(), -1, std::ptr::null(), 0) };
    }

    pub(crate) fn raw(&self) -> *mut sys::rd_kafka_queue_t {
        self.raw.as_ptr()
    }

    /// The next event, if there is one.
    pub(crate) fn poll(&self) -> Option<Event> {
        // SAFETY: the queue is valid; what comes back is null or ours.
        let raw = unsafe { sys::rd_kafka_queue_poll(self.raw(), 0) };
        NonNull::new(raw).map(|raw| Event { raw })
    }
}

/// An event. Dropping it frees what it holds.
#[derive(Debug)]
pub(crate) struct Event {
    raw: NonNull<sys::rd_kafka_event_t>,
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { sys::rd_kafka_event_destroy(self.raw.as_ptr()) }
    }
}

impl Event {
    pub(crate) fn raw(&self) -> *mut sys::rd_kafka_event_t {
        self.raw.as_ptr()
    }

    pub(crate) fn kind(&self) -> i32 {
        // SAFETY: it is ours.
        unsafe { sys::rd_kafka_event_type(self.raw()) }
    }

    /// What it says, if it is one of those that only say something.
    pub(crate) fn notice(&self) -> Option<Notice> {
        // SAFETY: the event is valid, and of the kind that was asked for.
        unsafe { Notice::of(self.raw(), self.kind()) }
    }
}

/// A topic of a client.
#[derive(Debug)]
pub(crate) struct Topic {
    raw: NonNull<sys::rd_kafka_topic_t>,
    name: CString,
    _client: Arc<Handle>,
}

// SAFETY: librdkafka's topics are thread-safe.
unsafe impl Send for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: it is our reference; the client still lives.
        unsafe { sys::rd_kafka_topic_destroy(self.raw.as_ptr()) }
    }
}

impl Topic {
    pub(crate) fn new(client: &Arc<Handle>, name: &str) -> Result<Self, StartError> {
        let why = || StartError { why: format!("`{name}` is no name of a topic") };
        let c_name = CString::new(name).map_err(|_| why())?;
        // SAFETY: client and text are valid; without a configuration of its own the topic takes that of the client.
        let raw = unsafe { sys::rd_kafka_topic_new(client.raw(), c_name.as_ptr(), std::ptr::null_mut()) };
        let raw = NonNull::new(raw).ok_or_else(why)?;
        Ok(Topic { raw, name: c_name, _client: Arc::clone(client) })
    }

    pub(crate) fn raw(&self) -> *mut sys::rd_kafka_topic_t {
        self.raw.as_ptr()
    }

    pub(crate) fn name(&self) -> *const std::ffi::c_char {
        self.name.as_ptr()
    }
}
