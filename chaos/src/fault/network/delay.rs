//! Everything arrives, later: `network.delay`.

use std::time::Duration;

use super::probe::Seen;

/// Time for a slow answer of the broker itself.
const BROKER: Duration = Duration::from_secs(5);

/// How long a client waits for an answer: a way there, one back, each with its jitter; with TLS and a log-in there are up to six such
/// round trips before it is greeted.
pub(super) fn patience(latency_ns: u64) -> Duration {
    BROKER + Duration::from_nanos(latency_ns.saturating_mul(4 * 6))
}

/// What a client saw that it should not have: its first request and the answer to it are late on `ways` of their two ways.
pub(super) fn contradiction(seen: &Seen, latency_ns: u64, jitter_ns: u64, ways: u32) -> Option<String> {
    let least = Duration::from_nanos(latency_ns.saturating_sub(jitter_ns)) * ways;
    match seen {
        Seen::Answered { after } if *after >= least => None,
        Seen::Answered { .. } => Some(format!("{seen}, before {} ms were over", least.as_millis())),
        Seen::Silence | Seen::Reset | Seen::Closed | Seen::Other(_) => Some(format!("{seen}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_not_be_earlier_than_the_delay_allows() {
        let after = |ms| Seen::Answered { after: Duration::from_millis(ms) };
        let (latency_ns, jitter_ns) = (100_000_000, 20_000_000);
        assert_eq!(contradiction(&after(160), latency_ns, jitter_ns, 2), None);
        let early = contradiction(&after(159), latency_ns, jitter_ns, 2).unwrap();
        assert_eq!(early, "was answered after 159 ms, before 160 ms were over");
        assert_eq!(contradiction(&after(80), latency_ns, jitter_ns, 1), None);
        assert!(contradiction(&Seen::Silence, latency_ns, jitter_ns, 1).is_some());
    }
}
