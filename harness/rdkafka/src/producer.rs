//! A producer: records are handed over one by one, without waiting and without memory of ours; what became of them comes
//! back in batches.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka_sys as sys;
use sys::{rd_kafka_msg_status_t, rd_kafka_vtype_t as Field};

use crate::code::Code;
use crate::config::{Config, Kind, StartError, text_of};
pub use crate::handle::Token;
use crate::handle::{Event, Handle, Queue, Topic};
use crate::notice::Notice;
use crate::wakeup::Wakeup;

/// A record to hand over. librdkafka copies key, header and value.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The partition.
    pub partition: i32,
    /// Create time, in milliseconds since the Unix epoch; above 0, because librdkafka takes 0 for "now".
    pub timestamp_ms: i64,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// A header of its own, name and value, besides those that all records carry.
    pub header: Option<(&'a str, &'a [u8])>,
    /// The value.
    pub value: &'a [u8],
    /// Comes back in the report.
    pub tag: u64,
}

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// As many records or bytes wait as may. There is room again once reports have been taken.
    QueueFull,
    /// The producer can't go on; only another one can.
    Fatal,
    /// The record itself is refused: it is too large, say, or its partition does not exist.
    Refused {
        /// The code.
        code: Code,
        /// In words.
        text: String,
    },
}

/// What is known of a record at its end (`rd_kafka_message_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Never transmitted, or refused by the broker.
    Not,
    /// Transmitted, and not answered, or answered with an error that leaves it open.
    Possibly,
    /// Acked; with acks=0, transmitted.
    Yes,
}

/// The end of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The record's tag.
    pub tag: u64,
    /// Its offset, where the broker told it.
    pub offset: Option<i64>,
    /// Success, or the last error.
    pub code: Code,
    /// What is known of it.
    pub persistence: Persistence,
}

/// What a producer has to tell.
#[derive(Debug)]
pub enum Told {
    /// Ends of records, those of one request together, in the order in which they were handed over.
    Reports(Reports),
    /// Something else.
    Notice(Notice),
}

/// Reports of one event. Dropping it frees the records.
#[derive(Debug)]
pub struct Reports {
    event: Event,
}

impl Iterator for Reports {
    type Item = Report;

    #[inline]
    fn next(&mut self) -> Option<Report> {
        // SAFETY: the event holds messages; each is valid until the event is freed, and read here before that.
        unsafe {
            let message = NonNull::new(sys::rd_kafka_event_message_next(self.event.raw()).cast_mut())?;
            let code = code_of(message);
            let message = message.as_ptr();
            Some(Report {
                tag: (*message)._private as u64,
                // Below zero: the broker said none (RD_KAFKA_OFFSET_INVALID), as for a batch that it had already.
                offset: Some((*message).offset).filter(|offset| *offset >= 0),
                code,
                persistence: match sys::rd_kafka_message_status(message) {
                    rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Persistence::Yes,
                    rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Persistence::Possibly,
                    rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Persistence::Not,
                },
            })
        }
    }
}

/// The error code of a message, read as a number; see [`Code`].
///
/// # Safety
/// The message is valid.
#[inline]
pub(crate) unsafe fn code_of(message: NonNull<sys::rd_kafka_message_t>) -> Code {
    // SAFETY: the field is an `int` in C, and only its place is taken: no enumeration is made of a value that may be none.
    unsafe { Code((&raw const (*message.as_ptr()).err).cast::<i32>().read()) }
}

/// Where what changes from record to record is among the fields of a record.
const PARTITION: usize = 1;
const TIMESTAMP: usize = 2;
const VALUE: usize = 3;
const TAG: usize = 4;
/// Fields of every record; headers and key follow if there are any.
const FIELDS_MIN: usize = 6;
const FIELDS_MAX: usize = 8;

/// A producer of one topic.
pub struct Producer {
    /// Fields of the next record; those that are the same for all stay.
    fields: [sys::rd_kafka_vu_t; FIELDS_MAX],
    headers: Option<Headers>,
    topic: Topic,
    queue: Queue,
    client: Arc<Handle>,
}

// SAFETY: the pointers in `fields` lead to the topic, which is ours, or to what a call is given and forgotten after it.
unsafe impl Send for Producer {}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.queue.quiet();
        // What is still there has been given up: the end must not wait for it.
        self.purge();
    }
}

impl Producer {
    /// A producer of `topic`, each record of which carries `headers`. It rings `wakeup`, which must outlive it.
    ///
    /// # Errors
    /// librdkafka makes no client of this.
    pub fn new(
        config: Config,
        topic: &str,
        headers: &[(String, Vec<u8>)],
        wakeup: &Wakeup,
    ) -> Result<Self, StartError> {
        let client = Arc::new(Handle::new(config, Kind::Producer)?);
        let queue = Queue::main(&client, wakeup);
        let topic = Topic::new(&client, topic)?;
        let headers = (!headers.is_empty()).then(|| Headers::new(headers)).transpose()?;
        let mut fields = [field(Field::RD_KAFKA_VTYPE_END); FIELDS_MAX];
        fields[0] = field(Field::RD_KAFKA_VTYPE_RKT);
        fields[0].u.rkt = topic.raw();
        fields[PARTITION] = field(Field::RD_KAFKA_VTYPE_PARTITION);
        fields[TIMESTAMP] = field(Field::RD_KAFKA_VTYPE_TIMESTAMP);
        fields[VALUE] = field(Field::RD_KAFKA_VTYPE_VALUE);
        fields[TAG] = field(Field::RD_KAFKA_VTYPE_OPAQUE);
        fields[5] = field(Field::RD_KAFKA_VTYPE_MSGFLAGS);
        fields[5].u.i = sys::RD_KAFKA_MSG_F_COPY as c_int;
        Ok(Producer { fields, headers, topic, queue, client })
    }

    /// Hands a record over. Never waits.
    ///
    /// # Errors
    /// Why it was not taken. Nothing comes back for such a record.
    #[inline]
    pub fn produce(&mut self, record: &Record<'_>) -> Result<(), NotTaken> {
        let fields = &mut self.fields;
        fields[PARTITION].u.i32_ = record.partition;
        fields[TIMESTAMP].u.i64_ = record.timestamp_ms;
        // librdkafka does not write to what it copies.
        fields[VALUE].u.mem = memory(record.value);
        fields[TAG].u.ptr = record.tag as *mut c_void;
        let mut count = FIELDS_MIN;
        if let Some(key) = record.key {
            fields[count] = field(Field::RD_KAFKA_VTYPE_KEY);
            fields[count].u.mem = memory(key);
            count += 1;
        }
        let headers = match (&self.headers, record.header) {
            (None, None) => None,
            (Some(headers), None) => Some(headers.copy()),
            (headers, Some(own)) => Some(with_own(headers.as_ref(), own)),
        };
        if let Some(headers) = headers {
            fields[count] = field(Field::RD_KAFKA_VTYPE_HEADERS);
            fields[count].u.headers = headers;
            count += 1;
        }
        // SAFETY: the client is valid; `count` fields are filled in as their types demand; key and value live until the call
        // is over, and are copied in it. On success the headers are librdkafka's.
        let error = unsafe { sys::rd_kafka_produceva(self.client.raw(), fields.as_ptr(), count) };
        match NonNull::new(error) {
            None => Ok(()),
            Some(error) => {
                if let Some(headers) = headers {
                    // SAFETY: the record was not taken, so they are still ours.
                    unsafe { sys::rd_kafka_headers_destroy(headers) };
                }
                Err(not_taken(error))
            }
        }
    }

    /// What it has to tell, if anything. Never waits.
    pub fn poll(&self) -> Option<Told> {
        loop {
            let event = self.queue.poll()?;
            if event.kind() == sys::RD_KAFKA_EVENT_DR {
                return Some(Told::Reports(Reports { event }));
            }
            if let Some(notice) = event.notice() {
                return Some(Told::Notice(notice));
            }
        }
    }

    /// Gives everything up that is outstanding: a report comes for each.
    pub fn purge(&self) {
        const ALL: c_int = (sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT) as c_int;
        // SAFETY: the client is valid, and a producer.
        unsafe { sys::rd_kafka_purge(self.client.raw(), ALL) };
    }

    /// Sets the token that it logs in with from now on.
    ///
    /// # Errors
    /// It can't be used, or the producer does not log in by tokens. Never shows the token.
    pub fn set_token(&self, token: &Token<'_>) -> Result<(), String> {
        self.client.set_token(token)
    }

    /// Says that there is no token, and why.
    pub fn no_token(&self, why: &str) {
        self.client.set_token_failure(why);
    }

    /// For tests: as if the client had found that it can't go on.
    #[doc(hidden)]
    pub fn fail_fatally(&self) {
        let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: client and text are valid.
        unsafe { sys::rd_kafka_test_fatal_error(self.client.raw(), code, c"made up".as_ptr()) };
    }

    /// For tests: the name of its topic.
    #[doc(hidden)]
    pub fn topic_name(&self) -> String {
        // SAFETY: the name lives as long as the topic.
        unsafe { text_of(self.topic.name()) }
    }
}

fn field(kind: Field) -> sys::rd_kafka_vu_t {
    // SAFETY: zero is a value of every variant of the union: null, or the number.
    sys::rd_kafka_vu_t { vtype: kind, u: unsafe { std::mem::zeroed() } }
}

fn memory(bytes: &[u8]) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
        ptr: bytes.as_ptr().cast_mut().cast(),
        size: bytes.len(),
    }
}

#[cold]
fn not_taken(error: NonNull<sys::rd_kafka_error_t>) -> NotTaken {
    // SAFETY: the error is ours, read, and then freed. Its code is librdkafka's own: no broker was asked.
    unsafe {
        let code = Code(sys::rd_kafka_error_code(error.as_ptr()) as i32);
        let not_taken = match code {
            Code::QUEUE_FULL => NotTaken::QueueFull,
            // The code is what it died of.
            _ if sys::rd_kafka_error_is_fatal(error.as_ptr()) != 0 => NotTaken::Fatal,
            code => NotTaken::Refused { code, text: text_of(sys::rd_kafka_error_string(error.as_ptr())) },
        };
        sys::rd_kafka_error_destroy(error.as_ptr());
        not_taken
    }
}

/// Headers of one record: one of its own, behind those of all. They are the caller's.
fn with_own(same: Option<&Headers>, (name, value): (&str, &[u8])) -> *mut sys::rd_kafka_headers_t {
    // SAFETY: takes a number; what comes back is the caller's, as a copy is, and valid.
    unsafe {
        let headers = same.map_or_else(|| sys::rd_kafka_headers_new(1), Headers::copy);
        add_header(headers, name, value);
        headers
    }
}

/// Adds a header to a list, which must be valid.
unsafe fn add_header(headers: *mut sys::rd_kafka_headers_t, name: &str, value: &[u8]) {
    let (name_at, value_at) = (name.as_ptr().cast(), value.as_ptr().cast());
    // SAFETY: list, name and value are valid, with their lengths; name and value are copied.
    unsafe {
        sys::rd_kafka_header_add(headers, name_at, name.len() as isize, value_at, value.len() as isize);
    }
}

/// Record headers, the same for every record.
#[derive(Debug)]
struct Headers {
    raw: NonNull<sys::rd_kafka_headers_t>,
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: they are ours; records have copies.
        unsafe { sys::rd_kafka_headers_destroy(self.raw.as_ptr()) }
    }
}

impl Headers {
    fn new(headers: &[(String, Vec<u8>)]) -> Result<Self, StartError> {
        // SAFETY: takes a number; what comes back is ours.
        let raw = unsafe { sys::rd_kafka_headers_new(headers.len()) };
        let list = Headers { raw: NonNull::new(raw).expect("librdkafka had no memory for headers") };
        for (name, value) in headers {
            if name.contains('\0') {
                return Err(StartError { why: format!("the header name {name:?} holds a zero byte") });
            }
            // SAFETY: the list is valid.
            unsafe { add_header(raw, name, value) };
        }
        Ok(list)
    }

    fn copy(&self) -> *mut sys::rd_kafka_headers_t {
        // SAFETY: the list is valid; the copy is the caller's.
        unsafe { sys::rd_kafka_headers_copy(self.raw.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A producer of librdkafka's own mock cluster.
    fn producer(more: &[(&str, &str)], wakeup: &Wakeup) -> Producer {
        let mut config = Config::new();
        let usual = [("test.mock.num.brokers", "1"), ("log.queue", "true"), ("linger.ms", "1")];
        for (name, value) in usual.iter().chain(more) {
            config.set(name, value).unwrap();
        }
        Producer::new(config, "orders", &[("trace".to_owned(), vec![1, 2])], wakeup).unwrap()
    }

    fn record(partition: i32, tag: u64) -> Record<'static> {
        Record {
            partition,
            timestamp_ms: 1_700_000_000_000,
            key: Some(b"key"),
            header: None,
            value: b"value",
            tag,
        }
    }

    /// Takes reports until there are so many.
    fn reports(producer: &Producer, wakeup: &Wakeup, count: usize) -> Vec<Report> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut all = Vec::new();
        while all.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} reports", all.len());
            wakeup.wait(Duration::from_secs(1)).unwrap();
            while let Some(told) = producer.poll() {
                if let Told::Reports(reports) = told {
                    all.extend(reports);
                }
            }
        }
        all
    }

    #[test]
    fn records_come_back_with_their_tags_in_order() {
        let wakeup = Wakeup::new().unwrap();
        let mut producer = producer(&[("enable.idempotence", "true")], &wakeup);
        for i in 0..1_000 {
            producer.produce(&record(i % 2, u64::MAX - i as u64)).unwrap();
        }
        let all = reports(&producer, &wakeup, 1_000);
        assert!(all.iter().all(|r| r.persistence == Persistence::Yes && r.code.is_ok()), "{all:?}");
        for parity in 0..2 {
            let one: Vec<_> = all.iter().filter(|r| (u64::MAX - r.tag) % 2 == parity).collect();
            assert_eq!(one.len(), 500);
            for (i, report) in one.iter().enumerate() {
                assert_eq!((u64::MAX - report.tag) / 2, i as u64, "in the order of the partition");
                assert_eq!(report.offset, Some(i as i64));
            }
        }
    }

    #[test]
    fn a_full_queue_takes_no_more_until_reports_are_taken() {
        let wakeup = Wakeup::new().unwrap();
        let mut producer =
            producer(&[("queue.buffering.max.messages", "10"), ("linger.ms", "1000")], &wakeup);
        let mut taken = 0;
        let refusal = loop {
            match producer.produce(&record(0, taken)) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((taken, refusal), (10, NotTaken::QueueFull));
        producer.purge();
        let all = reports(&producer, &wakeup, 10);
        assert!(all.iter().all(|r| r.persistence == Persistence::Not && r.offset.is_none()), "{all:?}");
        producer.produce(&record(0, 10)).unwrap();
    }

    #[test]
    fn a_fatal_error_is_final() {
        let wakeup = Wakeup::new().unwrap();
        let mut producer = producer(&[("enable.idempotence", "true")], &wakeup);
        producer.fail_fatally();
        assert_eq!(producer.produce(&record(0, 1)), Err(NotTaken::Fatal));
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut told = Vec::new();
        while !told.iter().any(|t| matches!(t, Told::Notice(Notice::Error { fatal: true, .. }))) {
            assert!(Instant::now() < deadline, "{told:?}");
            wakeup.wait(Duration::from_millis(100)).unwrap();
            told.extend(std::iter::from_fn(|| producer.poll()));
        }
    }

    #[test]
    fn what_is_too_large_is_refused_by_itself() {
        let wakeup = Wakeup::new().unwrap();
        let mut producer = producer(&[("message.max.bytes", "1000")], &wakeup);
        let value = vec![0; 2_000];
        let refusal = producer.produce(&Record { value: &value, ..record(0, 1) });
        let Err(NotTaken::Refused { code, text }) = refusal else { panic!("{refusal:?}") };
        assert_eq!(code.name(), "MSG_SIZE_TOO_LARGE", "{text}");
        assert_eq!(producer.topic_name(), "orders");
        producer.produce(&record(0, 2)).unwrap();
        assert_eq!(reports(&producer, &wakeup, 1)[0].tag, 2, "nothing comes of the first");
    }
}
