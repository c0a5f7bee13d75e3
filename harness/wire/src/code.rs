//! Kafka's error codes and what each one says about the fate of a produced batch.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use kafka_protocol::ResponseError;

/// An error code from a response. `ErrorCode::NONE` is success.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i16);

/// Codes that prove that the attempt they answer appended nothing.
///
/// The list is narrow on purpose. A code is on it only if the broker decides it before the batch reaches the log
/// of the leader. `NOT_LEADER_OR_FOLLOWER` is not: a leader that steps down while the append waits for its
/// followers answers it for records that are in its log and may be kept (KAFKA-13574).
const REJECTED_BEFORE_APPEND: &[ResponseError] = &[
    ResponseError::MessageTooLarge,
    ResponseError::RecordListTooLarge,
    ResponseError::InvalidRecord,
    ResponseError::InvalidTimestamp,
    ResponseError::CorruptMessage,
    ResponseError::UnsupportedCompressionType,
    ResponseError::InvalidRequiredAcks,
    ResponseError::InvalidTopicException,
    ResponseError::PolicyViolation,
    ResponseError::TopicAuthorizationFailed,
    ResponseError::GroupAuthorizationFailed,
    ResponseError::ClusterAuthorizationFailed,
    ResponseError::TransactionalIdAuthorizationFailed,
    ResponseError::DelegationTokenAuthorizationFailed,
    ResponseError::NotEnoughReplicas,
    ResponseError::OutOfOrderSequenceNumber,
    ResponseError::InvalidProducerEpoch,
    ResponseError::ProducerFenced,
    ResponseError::UnknownProducerId,
    ResponseError::InvalidTxnState,
    ResponseError::ConcurrentTransactions,
];

impl ErrorCode {
    /// Success.
    pub const NONE: ErrorCode = ErrorCode(0);
    /// `LEADER_NOT_AVAILABLE`.
    pub const LEADER_NOT_AVAILABLE: ErrorCode = ErrorCode(5);
    /// `NOT_LEADER_OR_FOLLOWER`.
    pub const NOT_LEADER_OR_FOLLOWER: ErrorCode = ErrorCode(6);
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub const UNKNOWN_TOPIC_OR_PARTITION: ErrorCode = ErrorCode(3);
    /// `MESSAGE_TOO_LARGE`.
    pub const MESSAGE_TOO_LARGE: ErrorCode = ErrorCode(10);
    /// `OFFSET_OUT_OF_RANGE`.
    pub const OFFSET_OUT_OF_RANGE: ErrorCode = ErrorCode(1);
    /// `INVALID_PARTITIONS`.
    pub const INVALID_PARTITIONS: ErrorCode = ErrorCode(37);
    /// `TOPIC_ALREADY_EXISTS`.
    pub const TOPIC_ALREADY_EXISTS: ErrorCode = ErrorCode(36);
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: ErrorCode = ErrorCode(45);
    /// `DUPLICATE_SEQUENCE_NUMBER`.
    pub const DUPLICATE_SEQUENCE_NUMBER: ErrorCode = ErrorCode(46);
    /// `INVALID_PRODUCER_EPOCH`.
    pub const INVALID_PRODUCER_EPOCH: ErrorCode = ErrorCode(47);
    /// `UNKNOWN_PRODUCER_ID`.
    pub const UNKNOWN_PRODUCER_ID: ErrorCode = ErrorCode(59);
    /// `NO_REASSIGNMENT_IN_PROGRESS`.
    pub const NO_REASSIGNMENT_IN_PROGRESS: ErrorCode = ErrorCode(85);
    /// `INVALID_UPDATE_VERSION`.
    pub const INVALID_UPDATE_VERSION: ErrorCode = ErrorCode(95);
    /// `BROKER_ID_NOT_REGISTERED`.
    pub const BROKER_ID_NOT_REGISTERED: ErrorCode = ErrorCode(102);
    /// `DUPLICATE_VOTER`.
    pub const DUPLICATE_VOTER: ErrorCode = ErrorCode(126);
    /// `VOTER_NOT_FOUND`.
    pub const VOTER_NOT_FOUND: ErrorCode = ErrorCode(127);
    /// `PRODUCER_FENCED`.
    pub const PRODUCER_FENCED: ErrorCode = ErrorCode(90);

    /// Whether this is success.
    pub fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// `Ok(())` for success, the code itself otherwise.
    pub fn ok(self) -> Result<(), ErrorCode> {
        if self.is_ok() { Ok(()) } else { Err(self) }
    }

    /// Whether Kafka's own clients would try the same request again.
    ///
    /// `CONCURRENT_TRANSACTIONS` is added to what the protocol guide marks retriable, as every client retries it.
    pub fn is_retriable(self) -> bool {
        ResponseError::try_from_code(self.0)
            .is_some_and(|e| e.is_retriable() || e == ResponseError::ConcurrentTransactions)
    }

    /// Whether a Produce attempt answered with this code is proven to have appended nothing.
    pub fn rejected_before_append(self) -> bool {
        ResponseError::try_from_code(self.0).is_some_and(|e| REJECTED_BEFORE_APPEND.contains(&e))
    }

    /// Whether an ACL is missing.
    pub fn is_authorization_failure(self) -> bool {
        matches!(
            ResponseError::try_from_code(self.0),
            Some(
                ResponseError::TopicAuthorizationFailed
                    | ResponseError::GroupAuthorizationFailed
                    | ResponseError::ClusterAuthorizationFailed
                    | ResponseError::TransactionalIdAuthorizationFailed
                    | ResponseError::DelegationTokenAuthorizationFailed
            )
        )
    }

    /// Whether the client's picture of leaders is what is wrong, so that metadata must be read anew.
    pub fn means_stale_metadata(self) -> bool {
        matches!(
            ResponseError::try_from_code(self.0),
            Some(
                ResponseError::UnknownTopicOrPartition
                    | ResponseError::UnknownTopicId
                    | ResponseError::LeaderNotAvailable
                    | ResponseError::NotLeaderOrFollower
                    | ResponseError::FencedLeaderEpoch
                    | ResponseError::UnknownLeaderEpoch
                    | ResponseError::KafkaStorageError
                    | ResponseError::ReplicaNotAvailable
            )
        )
    }

    /// The error of this name, as [`ErrorCode::name`] gives it; `NONE` is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        /// Codes are dense from -1; Kafka 4.3 ends at 133. Those that this client does not know have no name.
        const CODES: std::ops::Range<i16> = -1..200;
        static BY_NAME: LazyLock<HashMap<String, ErrorCode>> = LazyLock::new(|| {
            let codes = CODES.map(ErrorCode).filter(|code| !code.is_ok());
            codes.map(|code| (code.name(), code)).filter(|(name, _)| !name.contains(' ')).collect()
        });
        BY_NAME.get(name).copied()
    }

    /// Kafka's name for the code, e.g. `NOT_ENOUGH_REPLICAS`, or `code N` for one that this client does not know.
    pub fn name(self) -> String {
        match ResponseError::try_from_code(self.0) {
            _ if self.is_ok() => "NONE".to_owned(),
            Some(known) if !matches!(known, ResponseError::Unknown(_)) => {
                screaming_snake(&format!("{known:?}"))
            }
            _ => format!("code {}", self.0),
        }
    }
}

/// `NotEnoughReplicas` -> `NOT_ENOUGH_REPLICAS`.
fn screaming_snake(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 8);
    for (i, c) in camel.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> Self {
        ErrorCode(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kafka() {
        assert_eq!(ErrorCode(19).to_string(), "NOT_ENOUGH_REPLICAS (19)");
        assert_eq!(ErrorCode(0).name(), "NONE");
        assert_eq!(ErrorCode(12345).name(), "code 12345");
        assert_eq!(ErrorCode::PRODUCER_FENCED.name(), "PRODUCER_FENCED");
    }

    #[test]
    fn errors_are_found_by_their_names() {
        for code in (-1..133).map(ErrorCode).filter(|code| !code.is_ok() && !code.name().contains(' ')) {
            assert_eq!(ErrorCode::named(&code.name()), Some(code));
        }
        assert_eq!(ErrorCode::named("NOT_ENOUGH_REPLICAS"), Some(ErrorCode(19)));
        assert_eq!(ErrorCode::named("UNKNOWN_SERVER_ERROR"), Some(ErrorCode(-1)));
        for none in ["", "NONE", "code 199", "not_enough_replicas"] {
            assert_eq!(ErrorCode::named(none), None, "{none}");
        }
    }

    #[test]
    fn a_stepping_down_leader_proves_nothing() {
        // The heart of the outcome rule: these must count as possibly appended.
        for code in [-1, 3, 6, 7, 20, 56, 100] {
            assert!(!ErrorCode(code).rejected_before_append(), "{}", ErrorCode(code));
        }
        for code in [2, 10, 18, 19, 21, 29, 45, 47, 59, 76, 87, 90] {
            assert!(ErrorCode(code).rejected_before_append(), "{}", ErrorCode(code));
        }
    }

    #[test]
    fn retriable_and_stale() {
        assert!(ErrorCode::NOT_LEADER_OR_FOLLOWER.is_retriable());
        assert!(ErrorCode::NOT_LEADER_OR_FOLLOWER.means_stale_metadata());
        assert!(ErrorCode(19).is_retriable());
        assert!(!ErrorCode(19).means_stale_metadata());
        assert!(!ErrorCode(10).is_retriable());
    }
}
