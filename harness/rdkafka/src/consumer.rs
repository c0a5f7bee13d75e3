//! A consumer of assigned partitions, without a group: records come in batches, and are read where librdkafka has them.
//!
//! The "simple" consumer of librdkafka, not `rd_kafka_assign`: that needs a `group.id`, and with it a coordinator and
//! permissions on a group that nobody wants.

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;

use crate::code::Code;
use crate::config::{Config, Kind, StartError, text_of};
use crate::handle::{Handle, Queue, Token, Topic};
use crate::notice::Notice;
use crate::producer::code_of;
use crate::wakeup::Wakeup;

/// Records that are taken at once.
const BATCH_MAX: usize = 4096;

/// A partition could not be read, or its end not be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} of partition {partition}: {code}")]
pub struct PartitionError {
    /// What was tried.
    pub what: &'static str,
    /// The partition.
    pub partition: i32,
    /// Why not.
    pub code: Code,
}

/// A consumer of one topic.
#[derive(Debug)]
pub struct Consumer {
    messages: Vec<*mut sys::rd_kafka_message_t>,
    started: Vec<i32>,
    topic: Topic,
    records: Queue,
    main: Queue,
    client: Arc<Handle>,
}

// SAFETY: `messages` is empty between calls; everything else may be used from any thread.
unsafe impl Send for Consumer {}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.main.quiet();
        self.records.quiet();
        for partition in std::mem::take(&mut self.started) {
            self.stop(partition);
        }
    }
}

impl Consumer {
    /// A consumer of `topic` that reads nothing yet. It rings `wakeup`, which must outlive it.
    ///
    /// # Errors
    /// librdkafka makes no client of this.
    pub fn new(config: Config, topic: &str, wakeup: &Wakeup) -> Result<Self, StartError> {
        let client = Arc::new(Handle::new(config, Kind::Consumer)?);
        let main = Queue::main(&client, wakeup);
        let records = Queue::new(&client, wakeup);
        let topic = Topic::new(&client, topic)?;
        Ok(Consumer {
            messages: Vec::with_capacity(BATCH_MAX),
            started: Vec::new(),
            topic,
            records,
            main,
            client,
        })
    }

    /// Reads a partition from `offset` on.
    ///
    /// # Errors
    /// librdkafka refuses.
    pub fn start(&mut self, partition: i32, offset: i64) -> Result<(), PartitionError> {
        // SAFETY: topic and queue are valid.
        let result = unsafe {
            sys::rd_kafka_consume_start_queue(self.topic.raw(), partition, offset, self.records.raw())
        };
        if result != 0 {
            // SAFETY: takes nothing; tells of the call above, on this thread.
            let code = Code(unsafe { sys::rd_kafka_last_error() } as i32);
            return Err(PartitionError { what: "the start", partition, code });
        }
        self.started.push(partition);
        Ok(())
    }

    /// Goes on reading a partition at another offset. What was fetched of it before does not come any more.
    ///
    /// # Errors
    /// librdkafka refuses.
    pub fn restart(&mut self, partition: i32, offset: i64) -> Result<(), PartitionError> {
        self.started.retain(|started| *started != partition);
        self.stop(partition);
        self.start(partition, offset)
    }

    fn stop(&self, partition: i32) {
        // SAFETY: the topic is valid. Waits until librdkafka has forgotten what it fetched.
        unsafe { sys::rd_kafka_consume_stop(self.topic.raw(), partition) };
    }

    /// What has come. Never waits.
    pub fn take(&mut self) -> Batch<'_> {
        // SAFETY: the queue is valid, and there is room for as many pointers as is said.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.records.raw(), 0, self.messages.as_mut_ptr(), BATCH_MAX)
        };
        let taken = usize::try_from(taken).unwrap_or(0).min(BATCH_MAX);
        // SAFETY: so many were written.
        unsafe { self.messages.set_len(taken) };
        Batch { messages: &mut self.messages }
    }

    /// What it has to tell besides records, if anything. Never waits.
    pub fn poll(&self) -> Option<Notice> {
        loop {
            if let Some(notice) = self.main.poll()?.notice() {
                return Some(notice);
            }
        }
    }

    /// Begin and end of a partition's log as the last answer said, without asking; `None` before the first one.
    #[must_use]
    pub fn known_watermarks(&self, partition: i32) -> Option<(i64, i64)> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: client, name and the two numbers are valid.
        let error = unsafe {
            let (name, low, high) = (self.topic.name(), &raw mut low, &raw mut high);
            sys::rd_kafka_get_watermark_offsets(self.client.raw(), name, partition, low, high)
        };
        let known = error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0;
        known.then_some((low.max(0), high))
    }

    /// Asks the leader of a partition where its log begins and ends, and waits for the answer.
    ///
    /// # Errors
    /// It did not come within `limit`, or is an error.
    pub fn ask_watermarks(&self, partition: i32, limit: Duration) -> Result<(i64, i64), PartitionError> {
        let (mut low, mut high) = (-1, -1);
        let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: client, name and the two numbers are valid. The answer is read as a number, as brokers may say anything.
        let error = unsafe {
            let (name, low, high) = (self.topic.name(), &raw mut low, &raw mut high);
            sys::rd_kafka_query_watermark_offsets(self.client.raw(), name, partition, low, high, limit_ms)
        };
        match Code(error as i32) {
            Code::NONE => Ok((low, high)),
            code => Err(PartitionError { what: "begin and end", partition, code }),
        }
    }

    /// Sets the token that it logs in with from now on.
    ///
    /// # Errors
    /// It can't be used, or the consumer does not log in by tokens. Never shows the token.
    pub fn set_token(&self, token: &Token<'_>) -> Result<(), String> {
        self.client.set_token(token)
    }

    /// Says that there is no token, and why.
    pub fn no_token(&self, why: &str) {
        self.client.set_token_failure(why);
    }
}

/// What was taken at once: records and errors, those of a partition in order. Dropping it frees them.
#[derive(Debug)]
pub struct Batch<'a> {
    messages: &'a mut Vec<*mut sys::rd_kafka_message_t>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: it came from a call that hands it over, and is freed once.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

/// A record or an error, where librdkafka has it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    raw: NonNull<sys::rd_kafka_message_t>,
    _batch: std::marker::PhantomData<&'a ()>,
}

impl Batch<'_> {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there was nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// One of them.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<Message<'_>> {
        let raw = NonNull::new(*self.messages.get(index)?)?;
        Some(Message { raw, _batch: std::marker::PhantomData })
    }
}

impl<'a> Message<'a> {
    fn raw(&self) -> *mut sys::rd_kafka_message_t {
        self.raw.as_ptr()
    }

    /// The partition.
    #[must_use]
    #[inline]
    pub fn partition(&self) -> i32 {
        // SAFETY: the message lives as long as the batch.
        unsafe { (*self.raw()).partition }
    }

    /// Success for a record.
    #[must_use]
    #[inline]
    pub fn code(&self) -> Code {
        // SAFETY: as above.
        unsafe { code_of(self.raw) }
    }

    /// The offset.
    #[must_use]
    #[inline]
    pub fn offset(&self) -> i64 {
        // SAFETY: as above.
        unsafe { (*self.raw()).offset }
    }

    /// Epoch of the leader that appended the record's batch; -1 if the batch does not say.
    #[must_use]
    #[inline]
    pub fn leader_epoch(&self) -> i32 {
        // SAFETY: as above.
        unsafe { sys::rd_kafka_message_leader_epoch(self.raw()) }
    }

    /// The value; of an error, its text. Empty where there is none.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        // SAFETY: as above; the payload is as long as is said, and nobody writes to it.
        unsafe {
            let message = self.raw();
            if (*message).payload.is_null() {
                return &[];
            }
            std::slice::from_raw_parts((*message).payload.cast_const().cast(), (*message).len)
        }
    }

    /// The key; `None` where there is none.
    #[must_use]
    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: the message lives as long as the batch; the key is as long as is said, and nobody writes to it.
        unsafe {
            let message = self.raw();
            let key = NonNull::new((*message).key)?;
            Some(std::slice::from_raw_parts(key.as_ptr().cast_const().cast(), (*message).key_len))
        }
    }

    /// Value of the first record header of that name; `None` where there is none, or it has no value. Headers are taken
    /// apart when one is asked for.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the message is valid; on success `headers` are its own, and live as long as it does. The answer is read as
        // a number, as it may be any error.
        if unsafe { sys::rd_kafka_message_headers(self.raw(), &raw mut headers) } as i32 != 0 {
            return None;
        }
        for index in 0.. {
            let (mut found, mut value, mut bytes) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the headers are valid; on success name and value point into them.
            unsafe {
                let (name_at, value_at, bytes_at) = (&raw mut found, &raw mut value, &raw mut bytes);
                if sys::rd_kafka_header_get_all(headers, index, name_at, value_at, bytes_at) as i32 != 0 {
                    return None;
                }
                if CStr::from_ptr(found).to_bytes() == name.as_bytes() {
                    let value = NonNull::new(value.cast_mut())?;
                    return Some(std::slice::from_raw_parts(value.as_ptr().cast_const().cast(), bytes));
                }
            }
        }
        None
    }

    /// An error in words.
    #[must_use]
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(self.value()).trim_end_matches('\0').to_owned()
    }
}

impl Consumer {
    /// For tests: the name of its topic.
    #[doc(hidden)]
    pub fn topic_name(&self) -> String {
        // SAFETY: the name lives as long as the topic.
        unsafe { text_of(self.topic.name()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A consumer of librdkafka's own mock cluster, whose topics are made when they are asked for, and are empty.
    fn consumer(wakeup: &Wakeup) -> Consumer {
        let mut config = Config::new();
        for (name, value) in [
            ("test.mock.num.brokers", "1"),
            ("log.queue", "true"),
            ("auto.offset.reset", "error"),
            ("allow.auto.create.topics", "true"),
            ("fetch.wait.max.ms", "10"),
        ] {
            config.set(name, value).unwrap();
        }
        Consumer::new(config, "orders", wakeup).unwrap()
    }

    /// Records themselves are read in the tests with real brokers.
    #[test]
    fn a_position_that_is_not_in_the_log_is_an_error_and_the_log_can_be_asked_for() {
        let wakeup = Wakeup::new().unwrap();
        let mut consumer = consumer(&wakeup);
        assert_eq!((consumer.topic_name().as_str(), consumer.known_watermarks(0)), ("orders", None));
        consumer.start(0, 1_000).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let code = loop {
            assert!(Instant::now() < deadline, "nothing came");
            wakeup.wait(Duration::from_secs(1)).unwrap();
            while consumer.poll().is_some() {}
            let batch = consumer.take();
            if let Some(message) = batch.get(0) {
                assert_eq!(message.partition(), 0);
                assert!(!message.error_text().is_empty());
                break message.code();
            }
        };
        assert_eq!(code, Code::AUTO_OFFSET_RESET);
        assert_eq!(consumer.ask_watermarks(0, Duration::from_secs(10)), Ok((0, 0)));
        consumer.restart(0, 0).unwrap();
    }

    #[test]
    fn nonsense_is_refused() {
        let wakeup = Wakeup::new().unwrap();
        let mut consumer = consumer(&wakeup);
        assert!(consumer.start(-5, 0).is_err());
        assert!(consumer.take().is_empty());
    }
}
