//! Nothing arrives, in one direction or in both: `network.isolate`, `network.partition`, `network.black-hole`.

use std::time::Duration;

use super::probe::Seen;

/// A broker on this host greets a client within milliseconds; the proxy itself saw the greeting held, too.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// What a client saw that it should not have.
pub(super) fn contradiction(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Silence => None,
        Seen::Answered { .. } | Seen::Reset | Seen::Closed | Seen::Other(_) => Some(format!("{seen}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_is_silence() {
        assert_eq!(contradiction(&Seen::Silence), None);
        let answered = Seen::Answered { after: Duration::from_millis(3) };
        assert_eq!(contradiction(&answered).as_deref(), Some("was answered after 3 ms"));
        assert!(contradiction(&Seen::Reset).is_some());
    }
}
