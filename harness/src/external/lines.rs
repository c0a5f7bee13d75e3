//! The lines of the contract (`docs/external-driver.md`): those for a program are written, those of a program are read.
//!
//! A line is words with one space between them. Bytes are base64 with padding (RFC 4648, section 4), so that no line holds
//! what is not text; `-` stands for none at all, `=` for an empty value, so that no word is ever empty.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gauntlet_wire::ErrorCode;
use gauntlet_wire::batch::RecordSpec;

use super::CLIENT_ERROR;
use crate::load::records::{Headers, RecordTarget};

/// What a program says in place of a broker's error.
pub const CLIENT: &str = "CLIENT";
/// Everything was sent, or enough was read.
pub const END: &[u8] = b"end\n";
/// Longest line of a program: a record of 48 MiB.
pub const LINE_BYTES_MAX: usize = 64 << 20;
/// No value.
const NONE: &[u8] = b"-";
/// A value of no bytes.
const EMPTY: &[u8] = b"=";

/// Appends a word that stands for bytes.
fn push_bytes(line: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => line.extend_from_slice(NONE),
        Some([]) => line.extend_from_slice(EMPTY),
        Some(bytes) => {
            let at = line.len();
            line.resize(at + bytes.len().div_ceil(3) * 4, 0);
            // It is exactly as long.
            let written = STANDARD.encode_slice(bytes, &mut line[at..]);
            debug_assert_eq!(written.ok(), Some(line.len() - at));
        }
    }
}

/// Appends the bytes that a word stands for. False if it is none.
///
/// # Errors
/// It is no base64.
fn pull_bytes(word: &[u8], bytes: &mut Vec<u8>) -> Result<bool, Mistake> {
    match word {
        NONE => Ok(false),
        EMPTY => Ok(true),
        word => STANDARD
            .decode_vec(word, bytes)
            .map(|()| true)
            .map_err(|error| Mistake::NotBase64 { word: shortened(word), error: error.to_string() }),
    }
}

/// Records as lines for a producer. Nothing is allocated per record once it is warm.
#[derive(Debug)]
pub struct SendLines {
    lines: Vec<u8>,
    /// The value that is being made.
    value: Vec<u8>,
    /// What is the same behind every record.
    headers: Vec<u8>,
    partition: usize,
    next_id: u64,
    /// Bytes of keys and values since the last [`SendLines::begin`].
    taken_bytes: usize,
}

impl SendLines {
    /// No records yet; each will have these headers.
    #[must_use]
    pub fn new(headers: &Headers) -> Self {
        let mut same = Vec::new();
        for (name, value) in headers.iter() {
            push_header(&mut same, name, value);
        }
        SendLines {
            lines: Vec::new(),
            value: Vec::new(),
            headers: same,
            partition: 0,
            next_id: 0,
            taken_bytes: 0,
        }
    }

    /// What is appended next belongs to a partition. Returns the id of the first such record.
    pub fn begin(&mut self, partition: usize) -> u64 {
        (self.partition, self.taken_bytes) = (partition, 0);
        self.next_id
    }

    /// The id of the next record.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// All lines so far, to be taken away.
    pub fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// For another program: ids begin at 0 again, and what was not taken away is forgotten.
    pub fn restart(&mut self) {
        self.lines.clear();
        self.next_id = 0;
    }
}

fn push_header(line: &mut Vec<u8>, name: &str, value: &[u8]) {
    line.push(b' ');
    push_bytes(line, Some(name.as_bytes()));
    line.push(b':');
    push_bytes(line, Some(value));
}

impl RecordTarget for SendLines {
    #[inline]
    fn bytes(&self) -> usize {
        self.taken_bytes
    }

    /// Headers that are the same for all records are known already.
    fn append(&mut self, spec: &RecordSpec<'_>, write_value: impl FnOnce(&mut [u8])) {
        let Self { lines, value, headers, partition, next_id, taken_bytes } = self;
        // Writing to memory does not fail.
        let _ = write!(lines, "send {next_id} {partition} {} ", spec.timestamp_ms);
        push_bytes(lines, spec.key);
        lines.push(b' ');
        value.clear();
        value.resize(spec.value_bytes, 0);
        write_value(value);
        push_bytes(lines, Some(value));
        if let Some((name, own)) = spec.own_header {
            push_header(lines, name, own);
        }
        lines.extend_from_slice(headers);
        lines.push(b'\n');
        *next_id += 1;
        *taken_bytes += spec.value_bytes + spec.key.map_or(0, <[u8]>::len);
    }
}

/// Records of one producer's program by their ids, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The first.
    pub first: u64,
    /// The last; not below the first.
    pub last: u64,
}

/// A line of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'l> {
    /// It is connected and can work.
    Ready,
    /// Records are in the log.
    Acked {
        /// Which.
        ids: Ids,
        /// Offset of the first, if it is known: that of each other follows from it.
        offset: Option<i64>,
    },
    /// Records are certainly not in the log.
    Failed {
        /// Which.
        ids: Ids,
        /// Why.
        code: ErrorCode,
        /// Why, in words; may be empty.
        text: &'l str,
    },
    /// Records are in the log or not.
    Unknown {
        /// Which.
        ids: Ids,
        /// Why nobody knows.
        code: ErrorCode,
        /// The same in words; may be empty.
        text: &'l str,
    },
    /// A record was read.
    Read {
        /// Its partition.
        partition: usize,
        /// Its offset.
        offset: i64,
        /// Its value, encoded.
        value: &'l [u8],
        /// Value of its identity header, encoded, if it has one.
        identity: Option<&'l [u8]>,
    },
    /// Everything of a partition below an offset was told.
    Position {
        /// Which partition.
        partition: usize,
        /// The offset.
        offset: i64,
    },
    /// What was next is no longer in the log, which begins at an offset above it.
    Expired {
        /// Which partition.
        partition: usize,
        /// Where its log begins.
        offset: i64,
    },
    /// What was next is no longer in the log, which ends at an offset below it.
    Truncated {
        /// Which partition.
        partition: usize,
        /// Where its log ends.
        offset: i64,
    },
    /// How far a partition may be read.
    Watermark {
        /// Which partition.
        partition: usize,
        /// Its high watermark.
        offset: i64,
    },
    /// Something for the log.
    Log(&'l str),
    /// It can't go on.
    Fatal(&'l str),
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// It begins with a word that the contract does not have.
    #[error("the contract has no `{0}`")]
    UnknownWord(String),
    /// It ends too early.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// It does not end where it should.
    #[error("it goes on where it should end, with `{0}`")]
    TooLong(String),
    /// A word is no number, or one that is too large.
    #[error("`{word}` is not {what}")]
    NotANumber {
        /// The word.
        word: String,
        /// What it should be.
        what: &'static str,
    },
    /// The last id is below the first.
    #[error("the range of ids goes backwards")]
    Backwards,
    /// A word is no base64.
    #[error("`{word}` is no base64: {error}")]
    NotBase64 {
        /// The word, shortened.
        word: String,
        /// What the decoder says.
        error: String,
    },
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// The code is none of Kafka's.
    #[error("`{0}` is neither an error of Kafka's protocol nor `CLIENT`")]
    UnknownCode(String),
}

/// The words of a line, one after the other.
struct Words<'l> {
    rest: Option<&'l [u8]>,
}

impl<'l> Words<'l> {
    fn next(&mut self, what: &'static str) -> Result<&'l [u8], Mistake> {
        let rest = self.rest.ok_or(Mistake::Missing(what))?;
        let (word, rest) = match rest.iter().position(|byte| *byte == b' ') {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        self.rest = rest;
        if word.is_empty() { Err(Mistake::Missing(what)) } else { Ok(word) }
    }

    fn number(&mut self, what: &'static str) -> Result<u64, Mistake> {
        number(self.next(what)?, what)
    }

    /// Offsets are not negative.
    fn offset(&mut self) -> Result<i64, Mistake> {
        let word = self.next("an offset")?;
        let offset = number(word, "an offset")?;
        i64::try_from(offset).map_err(|_| Mistake::NotANumber { word: shortened(word), what: "an offset" })
    }

    fn partition(&mut self) -> Result<usize, Mistake> {
        // Whether there is such a partition is for the one who knows how many there are.
        Ok(usize::try_from(self.number("a partition")?).unwrap_or(usize::MAX))
    }

    /// `7`, or `7-12`.
    fn ids(&mut self) -> Result<Ids, Mistake> {
        let word = self.next("an id")?;
        let (first, last) = match word.iter().position(|byte| *byte == b'-') {
            Some(at) => (number(&word[..at], "an id")?, number(&word[at + 1..], "an id")?),
            None => {
                let id = number(word, "an id")?;
                (id, id)
            }
        };
        if last < first { Err(Mistake::Backwards) } else { Ok(Ids { first, last }) }
    }

    /// `-1` stands for one that is not known.
    fn known_offset(&mut self) -> Result<Option<i64>, Mistake> {
        if self.rest.is_some_and(|rest| rest == b"-1") {
            self.rest = None;
            return Ok(None);
        }
        self.offset().map(Some)
    }

    fn code(&mut self) -> Result<ErrorCode, Mistake> {
        let name = text(self.next("a code")?)?;
        if name == CLIENT {
            return Ok(CLIENT_ERROR);
        }
        ErrorCode::named(name).ok_or_else(|| Mistake::UnknownCode(shortened(name.as_bytes())))
    }

    /// All that is left.
    fn text(&mut self) -> Result<&'l str, Mistake> {
        text(self.rest.take().unwrap_or_default())
    }

    fn end(&self) -> Result<(), Mistake> {
        self.rest.map_or(Ok(()), |rest| Err(Mistake::TooLong(shortened(rest))))
    }
}

fn text(bytes: &[u8]) -> Result<&str, Mistake> {
    std::str::from_utf8(bytes).map_err(|_| Mistake::NotText)
}

/// Decimal digits only: no sign, no space.
fn number(word: &[u8], what: &'static str) -> Result<u64, Mistake> {
    let wrong = || Mistake::NotANumber { word: shortened(word), what };
    if word.is_empty() {
        return Err(wrong());
    }
    word.iter().try_fold(0_u64, |sum, byte| {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        let digit = (digit < 10).then_some(digit).ok_or_else(wrong)?;
        sum.checked_mul(10).and_then(|sum| sum.checked_add(digit)).ok_or_else(wrong)
    })
}

/// Enough of something to recognise it, in a message.
#[must_use]
pub fn shortened(bytes: &[u8]) -> String {
    const CHARS_MAX: usize = 80;
    // A character has four bytes at most.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * CHARS_MAX)]).into_owned();
    let shown: String =
        text.chars().take(CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if shown.len() < bytes.len() { format!("{shown}...") } else { shown }
}

/// Reads a line of a program, without its end.
///
/// # Errors
/// It is none of the contract's.
pub fn parse(line: &[u8]) -> Result<Line<'_>, Mistake> {
    let mut words = Words { rest: Some(line) };
    let read = match words.next("a word")? {
        b"acked" => Line::Acked { ids: words.ids()?, offset: words.known_offset()? },
        b"read" => {
            let (partition, offset) = (words.partition()?, words.offset()?);
            let value = words.next("a value")?;
            let identity = if words.rest.is_some() { Some(words.next("an identity")?) } else { None };
            Line::Read { partition, offset, value, identity }
        }
        b"failed" => Line::Failed { ids: words.ids()?, code: words.code()?, text: words.text()? },
        b"unknown" => Line::Unknown { ids: words.ids()?, code: words.code()?, text: words.text()? },
        b"position" => Line::Position { partition: words.partition()?, offset: words.offset()? },
        b"expired" => Line::Expired { partition: words.partition()?, offset: words.offset()? },
        b"truncated" => Line::Truncated { partition: words.partition()?, offset: words.offset()? },
        b"watermark" => Line::Watermark { partition: words.partition()?, offset: words.offset()? },
        b"ready" => Line::Ready,
        b"log" => Line::Log(words.text()?),
        b"fatal" => Line::Fatal(words.text()?),
        other => return Err(Mistake::UnknownWord(shortened(other))),
    };
    words.end()?;
    Ok(read)
}

/// Appends what the checker looks at: the identity, if that is in a header, and the value.
///
/// # Errors
/// One of them is no base64.
pub fn decode_record(value: &[u8], identity: Option<&[u8]>, bytes: &mut Vec<u8>) -> Result<(), Mistake> {
    if let Some(identity) = identity {
        pull_bytes(identity, bytes)?;
    }
    pull_bytes(value, bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests;
