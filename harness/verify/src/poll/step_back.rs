//! **Position step back** (nonmonotonic-poll; inside one poll: int-nonmonotonic-poll): a consumer was given a record below its
//! position.
//!
//! Within one assignment, and without a seek of its own, a consumer's position only goes up. Each step back counts once; its witness
//! says from where to where.

use crate::finding::FindingClass;

use super::{ConsumerId, Polls, Span, between};

impl Polls {
    pub(super) fn note_step_back(&mut self, consumer: ConsumerId, span: &Span, next: i64, inside: bool) {
        let detail =
            format!("consumer {consumer}, {}: offset {next} was next, {} came", between(inside), span.first);
        self.note(FindingClass::PositionStepBack, span.place, &(span.first..next), detail);
    }
}
