//! What librdkafka says about itself at each `statistics.interval.ms` (STATISTICS.md), as far as it is used.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Statistics of one client. Totals count from its start; gauges and windows are of the last interval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// Records that were handed over and whose reports were not taken.
    pub msg_cnt: u64,
    /// Bytes of their keys and values.
    pub msg_size: u64,
    /// Bytes of keys and values that were sent, in all.
    pub txmsg_bytes: u64,
    /// By name; one per address that was ever known.
    pub brokers: BTreeMap<String, Broker>,
}

/// A broker as one client sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Broker {
    /// Requests sent, in all.
    pub tx: u64,
    /// Bytes sent, in all.
    pub txbytes: u64,
    /// Requests sent again, in all.
    pub txretries: u64,
    /// Requests that were not answered in time, in all.
    pub req_timeouts: u64,
    /// Bytes received, in all.
    pub rxbytes: u64,
    /// From a request to its answer, in microseconds.
    pub rtt: Window,
    /// What brokers told to wait, in milliseconds.
    pub throttle: Window,
}

/// Percentiles of the last interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Samples.
    pub cnt: u64,
    /// Highest.
    pub max: u64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
}

impl Statistics {
    /// Reads what [`crate::Notice::Statistics`] holds.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn parse(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }

    /// The sum of one number over all brokers.
    #[must_use]
    pub fn total(&self, of: impl Fn(&Broker) -> u64) -> u64 {
        self.brokers.values().map(of).sum()
    }

    /// The highest of one number over the brokers that answered in the last interval; `None` if nobody did.
    #[must_use]
    pub fn worst_rtt_us(&self, of: impl Fn(&Window) -> u64) -> Option<u64> {
        self.brokers.values().map(|broker| &broker.rtt).filter(|rtt| rtt.cnt > 0).map(of).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{ "name": "rdkafka#producer-1", "type": "producer", "msg_cnt": 22710, "msg_size": 704010, "txmsg_bytes": 5,
        "brokers": {
            "127.0.0.1:9092/1": { "nodeid": 1, "tx": 320, "txbytes": 84283332, "txretries": 2, "req_timeouts": 1,
                "rxbytes": 15708, "rtt": { "max": 3389, "p50": 2319, "p99": 3391, "cnt": 34 },
                "throttle": { "max": 7, "cnt": 34 }, "toppars": { "test-1": { "topic": "test", "partition": 1 } } },
            "127.0.0.1:9093/2": { "tx": 1, "rtt": { "max": 9, "p50": 9, "p99": 9, "cnt": 0 } } },
        "topics": { "test": { "partitions": { "1": { "partition": 1, "txmsgs": 2150510 } } } } }"#;

    #[test]
    fn what_is_used_is_read_and_the_rest_is_not_in_the_way() {
        let seen = Statistics::parse(JSON).unwrap();
        assert_eq!((seen.msg_cnt, seen.msg_size, seen.txmsg_bytes), (22_710, 704_010, 5));
        assert_eq!((seen.total(|b| b.tx), seen.total(|b| b.txretries)), (321, 2));
        assert_eq!(seen.worst_rtt_us(|w| w.p99), Some(3_391), "the second has no sample");
        assert_eq!(seen.brokers["127.0.0.1:9092/1"].throttle.max, 7);
        assert_eq!(Statistics::parse("{}").unwrap().worst_rtt_us(|w| w.p50), None);
        assert!(Statistics::parse("{").is_err());
    }
}
