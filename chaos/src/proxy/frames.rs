//! Where requests and responses begin in the bytes of a connection, and which API they are of. Nothing but the first bytes of each is
//! looked at (Kafka protocol guide, "Protocol primitives"): a length, then for a request its API key, version and correlation id, for
//! a response its correlation id alone.
//!
//! A broker answers in the order in which it was asked, but not everything: a Produce with acks=0 has no response. So a response
//! is of the oldest request with its correlation id, and those before it never get one.

use std::collections::VecDeque;

/// Most requests that are remembered until their response comes. With acks=0 none may come for minutes.
const CALLS_MAX: usize = 1 << 16;
/// No frame is longer: `socket.request.max.bytes` is 100 MiB, and fetch responses are bounded by 50 MiB and a batch. What claims to be
/// longer is not Kafka's protocol.
const FRAME_BYTES_MAX: usize = 1 << 30;
/// Length, API key, API version, correlation id.
const REQUEST_HEAD: usize = 12;
/// Length, correlation id.
const RESPONSE_HEAD: usize = 8;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From whoever connected.
    Requests,
    /// To whoever connected.
    Responses,
}

/// The requests of a connection that were not answered yet: correlation id and API key.
#[derive(Debug, Default)]
pub(super) struct Calls(VecDeque<(i32, i16)>);

impl Calls {
    fn asked(&mut self, correlation_id: i32, api: i16) {
        if self.0.len() == CALLS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((correlation_id, api));
    }

    /// The API of a response; `None` if it answers no request that is remembered.
    fn answered(&mut self, correlation_id: i32) -> Option<i16> {
        let at = self.0.iter().position(|(id, _)| *id == correlation_id)?;
        self.0.drain(..=at).next_back().map(|(_, api)| api)
    }
}

/// Cuts the bytes of one direction into frames.
#[derive(Debug)]
pub(super) struct Frames {
    way: Way,
    head: [u8; REQUEST_HEAD],
    /// How many bytes of the next frame's head are here ...
    filled: usize,
    /// ... and how many of these have been passed on.
    passed: usize,
    /// What is to come of the frame under way.
    left: usize,
    /// It is not Kafka's protocol.
    lost: bool,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request or response of this API, or of one that is not known, from its begin.
    Begin(Option<i16>),
    /// More of one that was passed on in part.
    More,
    /// Withheld: the first bytes of one, too few to tell what it is. They come with its begin.
    Head,
}

/// The next bytes of one direction, all of one frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What they are.
    pub(super) kind: Kind,
    /// How many.
    pub(super) len: usize,
    /// What was withheld of the same frame before; goes before them.
    pub(super) before: Vec<u8>,
}

impl Frames {
    pub(super) fn new(way: Way) -> Self {
        Frames { way, head: [0; REQUEST_HEAD], filled: 0, passed: 0, left: 0, lost: false }
    }

    /// The next part of `bytes`, which must not be empty. `withhold`: first bytes of a frame that is not known yet are not passed on.
    pub(super) fn next(&mut self, bytes: &[u8], withhold: bool, calls: &mut Calls) -> Part {
        let more = |len| Part { kind: Kind::More, len, before: Vec::new() };
        if self.lost {
            return more(bytes.len());
        }
        if self.left > 0 {
            return more(self.body(bytes.len()));
        }
        let head_len = match self.way {
            Way::Requests => REQUEST_HEAD,
            Way::Responses => RESPONSE_HEAD,
        };
        let known = self.filled;
        let len = bytes.len().min(head_len - known);
        self.head[known..known + len].copy_from_slice(&bytes[..len]);
        self.filled += len;
        let was_begun = self.passed > 0;
        if self.filled < head_len && withhold && !was_begun {
            return Part { kind: Kind::Head, len, before: Vec::new() };
        }
        let before = self.head[self.passed..known].to_vec();
        self.passed = self.filled;
        if self.filled < head_len {
            return Part { kind: Kind::More, len, before };
        }
        let api = self.open(head_len, calls);
        let len = len + self.body(bytes.len() - len);
        Part { kind: if was_begun { Kind::More } else { Kind::Begin(api) }, len, before }
    }

    /// What is withheld, which nothing more will come of.
    pub(super) fn take_withheld(&mut self) -> Vec<u8> {
        let withheld = self.head[self.passed..self.filled].to_vec();
        self.passed = self.filled;
        withheld
    }

    /// So many bytes of the frame under way are there, of `available`.
    fn body(&mut self, available: usize) -> usize {
        let count = self.left.min(available);
        self.left -= count;
        count
    }

    /// Reads a head that is complete, and gives the API.
    fn open(&mut self, head_len: usize, calls: &mut Calls) -> Option<i16> {
        (self.filled, self.passed) = (0, 0);
        let head = &self.head;
        let int32 = |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let behind_head =
            usize::try_from(int32(0)).ok().and_then(|length| (length + 4).checked_sub(head_len));
        match behind_head.filter(|left| *left <= FRAME_BYTES_MAX) {
            Some(left) => self.left = left,
            None => {
                self.lost = true;
                return None;
            }
        }
        match self.way {
            Way::Requests => {
                let api = i16::from_be_bytes([head[4], head[5]]);
                calls.asked(int32(8), api);
                Some(api)
            }
            Way::Responses => calls.answered(int32(4)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(api: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
        let mut frame = (8 + body.len() as i32).to_be_bytes().to_vec();
        frame.extend(api.to_be_bytes());
        frame.extend(7i16.to_be_bytes());
        frame.extend(correlation_id.to_be_bytes());
        frame.extend(body);
        frame
    }

    fn response(correlation_id: i32, body: &[u8]) -> Vec<u8> {
        let mut frame = (4 + body.len() as i32).to_be_bytes().to_vec();
        frame.extend(correlation_id.to_be_bytes());
        frame.extend(body);
        frame
    }

    /// Cuts `bytes`, which come in pieces of these lengths, again and again; `withhold` by piece. Gives what is passed on, and the APIs
    /// of what began, with the place in what is passed on.
    fn cut(
        frames: &mut Frames,
        calls: &mut Calls,
        bytes: &[u8],
        lengths: &[usize],
        withhold: impl Fn(usize) -> bool,
    ) -> (Vec<u8>, Vec<(usize, Option<i16>)>) {
        let (mut passed, mut begun) = (Vec::new(), Vec::new());
        let (mut rest, mut piece) = (bytes, 0);
        while !rest.is_empty() {
            let (mut now, later) = rest.split_at(lengths[piece % lengths.len()].min(rest.len()));
            while !now.is_empty() {
                let part = frames.next(now, withhold(piece), calls);
                if let Kind::Begin(api) = part.kind {
                    begun.push((passed.len(), api));
                }
                if part.kind != Kind::Head {
                    passed.extend(part.before);
                    passed.extend(&now[..part.len]);
                }
                now = &now[part.len..];
            }
            rest = later;
            piece += 1;
        }
        passed.extend(frames.take_withheld());
        (passed, begun)
    }

    proptest! {
        /// However the bytes are cut: all of them are passed on, in order, and where nothing was passed on too early, each frame's
        /// begin is where it is, and its API what it is.
        #[test]
        fn every_frame_is_found_however_it_comes(
            apis in prop::collection::vec((0i16..90, 0usize..40), 1..30),
            lengths in prop::collection::vec(1usize..60, 1..20),
            withheld in prop::collection::vec(any::<bool>(), 1..5),
        ) {
            let mut calls = Calls::default();
            let (mut asked, mut answered) = (Vec::new(), Vec::new());
            let (mut asks, mut answers) = (Vec::new(), Vec::new());
            for (id, (api, body)) in apis.iter().enumerate() {
                asked.push((asks.len(), Some(*api)));
                asks.extend(request(*api, id as i32, &vec![1; *body]));
                // Every third has no response.
                if id % 3 != 1 {
                    answered.push((answers.len(), Some(*api)));
                    answers.extend(response(id as i32, &vec![2; *body]));
                }
            }
            let always = |_| true;
            let mut frames = Frames::new(Way::Requests);
            prop_assert_eq!(cut(&mut frames, &mut calls, &asks, &lengths, always), (asks.clone(), asked));
            let mut frames = Frames::new(Way::Responses);
            prop_assert_eq!(cut(&mut frames, &mut calls, &answers, &lengths, always), (answers.clone(), answered.clone()));
            // With rules that come and go, nothing is lost or told to be what it is not.
            let mut calls = Calls::default();
            let sometimes = |piece: usize| withheld[piece % withheld.len()];
            let (passed, _) = cut(&mut Frames::new(Way::Requests), &mut calls, &asks, &lengths, sometimes);
            prop_assert_eq!(passed, asks);
            let (passed, begun) = cut(&mut Frames::new(Way::Responses), &mut calls, &answers, &lengths, sometimes);
            prop_assert_eq!(passed, answers);
            prop_assert!(begun.iter().all(|known| answered.contains(known)), "{:?}", begun);
        }
    }

    #[test]
    fn what_is_not_kafkas_is_passed_on() {
        let mut calls = Calls::default();
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[0xff; 40]] {
            let mut frames = Frames::new(Way::Requests);
            let (passed, begun) = cut(&mut frames, &mut calls, bytes, &[5], |_| true);
            assert_eq!(passed, bytes);
            assert!(begun.iter().all(|(_, api)| api.is_none()), "{begun:?}");
        }
    }

    #[test]
    fn calls_that_are_never_answered_are_forgotten_in_the_end() {
        let mut calls = Calls::default();
        for id in 0..CALLS_MAX as i32 + 10 {
            calls.asked(id, 0);
        }
        assert_eq!(calls.answered(3), None, "forgotten");
        assert_eq!(calls.answered(CALLS_MAX as i32), Some(0));
        assert_eq!(calls.0.len(), 9);
    }
}
