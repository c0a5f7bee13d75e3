//! Properties of a client, checked by librdkafka itself as they are set.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka_sys as sys;
use sys::{rd_kafka_conf_res_t, rd_kafka_type_t};

use crate::handle::{Handle, Queue};
use crate::notice::Notice;

/// Room for what librdkafka says about a property that it refuses.
const ERROR_BYTES: usize = 512;

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends.
    Producer,
    /// Reads.
    Consumer,
}

impl Kind {
    fn raw(self) -> rd_kafka_type_t {
        match self {
            Kind::Producer => rd_kafka_type_t::RD_KAFKA_PRODUCER,
            Kind::Consumer => rd_kafka_type_t::RD_KAFKA_CONSUMER,
        }
    }
}

/// A property that librdkafka refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is none of this name.
    #[error("librdkafka {version} has no property `{name}`", version = crate::version())]
    Unknown {
        /// The name.
        name: String,
    },
    /// The value is out of range, or this build can't do it.
    #[error("librdkafka refuses `{name}`: {why}")]
    Invalid {
        /// The name.
        name: String,
        /// In its words.
        why: String,
    },
}

/// A client that librdkafka does not make of its properties.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("librdkafka refuses these properties together: {why}")]
pub struct StartError {
    /// In its words.
    pub why: String,
}

/// Properties of one client.
#[derive(Debug)]
pub struct Config {
    raw: NonNull<sys::rd_kafka_conf_t>,
}

// SAFETY: the configuration is a plain object that is owned here alone; librdkafka ties it to no thread.
unsafe impl Send for Config {}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: `raw` is a configuration that no client has taken over (`into_raw` forgets self).
        unsafe { sys::rd_kafka_conf_destroy(self.raw.as_ptr()) }
    }
}

impl Config {
    /// librdkafka's defaults.
    ///
    /// # Panics
    /// If there is no memory left.
    #[must_use]
    pub fn new() -> Self {
        // SAFETY: takes nothing.
        let raw = unsafe { sys::rd_kafka_conf_new() };
        Config { raw: NonNull::new(raw).expect("librdkafka had no memory for a configuration") }
    }

    /// Sets a property of the client, or of its topics.
    ///
    /// # Errors
    /// librdkafka does not know it, or does not take the value. The text may hold the value: for secrets there is
    /// [`Config::set_secret`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let refused = |why: &str| SettingError::Invalid { name: name.to_owned(), why: why.to_owned() };
        let c_name = CString::new(name).map_err(|_| refused("its name holds a zero byte"))?;
        let c_value = CString::new(value).map_err(|_| refused("its value holds a zero byte"))?;
        let mut text = [0 as c_char; ERROR_BYTES];
        // SAFETY: `raw` is valid, both texts end in zero, and `text` is as long as it is said to be.
        let result = unsafe {
            let (at, length) = (text.as_mut_ptr(), text.len());
            sys::rd_kafka_conf_set(self.raw.as_ptr(), c_name.as_ptr(), c_value.as_ptr(), at, length)
        };
        match result {
            rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN => {
                Err(SettingError::Unknown { name: name.to_owned() })
            }
            rd_kafka_conf_res_t::RD_KAFKA_CONF_INVALID => Err(refused(said(&text).trim_end())),
        }
    }

    /// As [`Config::set`], but no error shows the value.
    ///
    /// # Errors
    /// librdkafka does not know it, or does not take the value.
    pub fn set_secret(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        self.set(name, value).map_err(|error| match error {
            SettingError::Invalid { name, .. } => {
                SettingError::Invalid { name, why: "its value cannot be used".to_owned() }
            }
            unknown @ SettingError::Unknown { .. } => unknown,
        })
    }

    /// A property of the client as it is now; `None` if there is none of this name, or it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let c_name = CString::new(name).ok()?;
        let mut length = 0;
        let mut read = |into: *mut c_char| {
            // SAFETY: `raw` is valid, the name ends in zero, and `into` is null (then only the length is asked for) or as
            // long as `length` says.
            let result =
                unsafe { sys::rd_kafka_conf_get(self.raw.as_ptr(), c_name.as_ptr(), into, &raw mut length) };
            (result == rd_kafka_conf_res_t::RD_KAFKA_CONF_OK).then_some(length)
        };
        let needed = read(std::ptr::null_mut())?;
        let mut text = vec![0 as c_char; needed];
        read(text.as_mut_ptr())?;
        Some(said(&text))
    }

    /// Whether a client can be made of these properties. Makes one, which connects to nobody if there is no
    /// `bootstrap.servers`, and ends it. Returns what librdkafka warns of, if `log.queue` is set: properties that it ignores
    /// in such a client, for example.
    ///
    /// # Errors
    /// They contradict each other.
    pub fn check(self, kind: Kind) -> Result<Vec<String>, StartError> {
        let client = Arc::new(Handle::new(self, kind)?);
        let queue = Queue::silent(&client);
        let notices = std::iter::from_fn(|| queue.poll()).filter_map(|event| event.notice());
        let warnings = notices.filter_map(|notice| match notice {
            Notice::Log { facility, text, .. } if facility == "CONFWARN" => Some(text),
            _ => None,
        });
        // Behind `[thrd:app]: `. That it can connect to nobody is on purpose.
        let plain =
            warnings.map(|text| text.split_once("]: ").map_or(text.clone(), |(_, rest)| rest.to_owned()));
        Ok(plain.filter(|text| !text.contains("bootstrap.servers")).collect())
    }

    /// Makes a client of it. `events` are those that come through its queue.
    pub(crate) fn start(self, kind: Kind, events: i32) -> Result<NonNull<sys::rd_kafka_t>, StartError> {
        let mut text = [0 as c_char; ERROR_BYTES];
        // SAFETY: `raw` is valid, and `text` is as long as it is said to be.
        let client = unsafe {
            sys::rd_kafka_conf_set_events(self.raw.as_ptr(), events);
            sys::rd_kafka_new(kind.raw(), self.raw.as_ptr(), text.as_mut_ptr(), text.len())
        };
        match NonNull::new(client) {
            // It owns the configuration now.
            Some(client) => {
                std::mem::forget(self);
                Ok(client)
            }
            None => Err(StartError { why: said(&text) }),
        }
    }
}

/// What librdkafka has written into a buffer, up to the zero.
pub(crate) fn said(text: &[c_char]) -> String {
    let bytes: Vec<u8> = text.iter().map(|c| *c as u8).take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text of librdkafka's that may be null.
///
/// # Safety
/// `text` is null or ends in zero, and nobody changes it meanwhile.
pub(crate) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text).to_string_lossy().into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_refused_one_by_one() {
        let mut config = Config::new();
        config.set("linger.ms", "7").unwrap();
        assert_eq!(config.get("linger.ms").as_deref(), Some("7"));
        assert_eq!(config.get("queue.buffering.max.ms").as_deref(), Some("7"), "it is an alias");
        config.set("delivery.timeout.ms", "1000").unwrap();
        assert_eq!(
            config.set("linger.seconds", "7"),
            Err(SettingError::Unknown { name: "linger.seconds".to_owned() })
        );
        let error = config.set("linger.ms", "1000000").unwrap_err().to_string();
        assert!(error.contains("`linger.ms`") && error.contains("0..900000"), "{error}");
        assert!(matches!(config.set("client.id", "a\0b"), Err(SettingError::Invalid { .. })));
    }

    #[test]
    fn contradictions_are_found_without_a_broker() {
        let mut config = Config::new();
        for (name, value) in [("enable.idempotence", "true"), ("max.in.flight", "6"), ("log.queue", "true")] {
            config.set(name, value).unwrap();
        }
        let error = config.check(Kind::Producer).unwrap_err();
        assert!(error.why.contains("max.in.flight"), "{error}");
        let mut config = Config::new();
        config.set("log.queue", "true").unwrap();
        assert_eq!(config.check(Kind::Consumer), Ok(Vec::new()));
    }

    #[test]
    fn what_would_be_ignored_is_told() {
        let mut config = Config::new();
        config.set("log.queue", "true").unwrap();
        config.set("queued.min.messages", "7").unwrap();
        let warnings = config.check(Kind::Producer).unwrap();
        assert!(
            warnings.len() == 1
                && warnings[0].contains("queued.min.messages")
                && warnings[0].contains("will be ignored"),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let mut config = Config::new();
        let error = config.set_secret("sasl.password", "hunter2\0").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
