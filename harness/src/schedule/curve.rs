//! How many records per second are intended when: a curve made of pieces, with exact integer arithmetic both ways.

use super::Timeline;

const SECOND_NS: u64 = 1_000_000_000;
/// A ramp is a staircase of pieces this long, as long as it needs no more than [`PIECES_MAX`] of them.
const PIECE_NS: u64 = 100_000_000;
const PIECES_MAX: u64 = 100_000;

/// A part of a load's shape: the rate goes from one value to another in a straight line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Records per second where it begins.
    pub from_per_s: u64,
    /// Records per second where it ends.
    pub to_per_s: u64,
    /// How long it lasts.
    pub length_ns: u64,
}

/// Evenly spaced records: `records` in every `unit_ns` from the piece's begin on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// Since t = 0 (the first piece, the warm-up: since the origin).
    from_ns: u64,
    /// Records of the pieces before.
    first: u64,
    unit_ns: u64,
    per_unit: u64,
}

impl Piece {
    /// Records intended in the first `elapsed_ns` of the piece.
    fn count(&self, elapsed_ns: u64) -> u64 {
        // The least index whose time is not below, as times are rounded down.
        let rest = u128::from(elapsed_ns % self.unit_ns) * u128::from(self.per_unit);
        elapsed_ns / self.unit_ns * self.per_unit + rest.div_ceil(u128::from(self.unit_ns)) as u64
    }

    /// When the piece's `index`-th record is intended, since the piece began.
    #[inline]
    fn time_ns(&self, index: u64) -> u64 {
        // Units apart, so that the product stays inside 64 bits for every rate below 18 G/s.
        index / self.per_unit * self.unit_ns + index % self.per_unit * self.unit_ns / self.per_unit
    }
}

/// The intended times of the records of one load, in order: a constant warm-up, then the load's shape from t = 0.
///
/// Record g = 0, 1, 2 … of all its producers together; which of them is whose is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    warmup: Piece,
    pieces: Vec<Piece>,
    /// When the last piece ends, since t = 0, and how many records come from t = 0 on.
    end_ns: u64,
    records: u64,
    segments: Vec<Segment>,
}

impl Curve {
    /// A curve that warms up at `warmup_per_s` (0: nothing is sent before t = 0).
    pub fn new(warmup_per_s: u64, segments: &[Segment]) -> Self {
        let mut curve = Curve {
            warmup: Piece { from_ns: 0, first: 0, unit_ns: SECOND_NS, per_unit: warmup_per_s },
            pieces: Vec::new(),
            end_ns: 0,
            records: 0,
            segments: segments.to_vec(),
        };
        segments.iter().for_each(|segment| curve.extend(segment));
        curve
    }

    /// One rate all the time.
    pub fn constant(per_s: u64, length_ns: u64) -> Self {
        Curve::new(per_s, &[Segment { from_per_s: per_s, to_per_s: per_s, length_ns }])
    }

    fn extend(&mut self, segment: &Segment) {
        if segment.from_per_s == segment.to_per_s {
            return self.push(segment.length_ns, SECOND_NS, segment.from_per_s);
        }
        let pieces = segment.length_ns.div_ceil(PIECE_NS).clamp(1, PIECES_MAX);
        let at = |piece: u64| (u128::from(segment.length_ns) * u128::from(piece) / u128::from(pieces)) as u64;
        let mut counted = 0;
        for piece in 0..pieces {
            // What is rounded off in one piece comes in a later one.
            let until = records_of_ramp(segment, at(piece + 1));
            let length_ns = at(piece + 1) - at(piece);
            self.push(length_ns, length_ns, until - counted);
            counted = until;
        }
    }

    fn push(&mut self, length_ns: u64, unit_ns: u64, per_unit: u64) {
        if length_ns == 0 {
            return;
        }
        let piece = Piece { from_ns: self.end_ns, first: self.records, unit_ns, per_unit };
        self.end_ns += length_ns;
        self.records += piece.count(length_ns);
        self.pieces.push(piece);
    }

    /// The parts that it was made of.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Records per second of the warm-up.
    pub fn warmup_per_s(&self) -> u64 {
        self.warmup.per_unit
    }

    /// Records from t = 0 on.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// When the last record is over, since t = 0.
    pub fn length_ns(&self) -> u64 {
        self.end_ns
    }

    /// Records per second at an instant since t = 0; 0 after the end.
    pub fn rate_at(&self, since_zero_ns: u64) -> f64 {
        self.rate_where(since_zero_ns, |into_ns, length_ns| into_ns < length_ns)
    }

    /// The rate that it has had up to an instant since t = 0.
    pub fn rate_before(&self, since_zero_ns: u64) -> f64 {
        self.rate_where(since_zero_ns, |into_ns, length_ns| into_ns <= length_ns)
    }

    /// The rate in the first segment that an instant `holds` in, by how far it is into it and how long that is.
    fn rate_where(&self, since_zero_ns: u64, holds: impl Fn(u64, u64) -> bool) -> f64 {
        let mut from_ns = 0;
        for segment in &self.segments {
            let into_ns = since_zero_ns.saturating_sub(from_ns);
            if holds(into_ns, segment.length_ns) {
                let (from, to) = (segment.from_per_s as f64, segment.to_per_s as f64);
                return from + (to - from) * into_ns as f64 / segment.length_ns.max(1) as f64;
            }
            from_ns += segment.length_ns;
        }
        0.0
    }

    /// Where its segments begin and end, since t = 0.
    pub fn corners_ns(&self) -> impl Iterator<Item = u64> {
        let ends = self.segments.iter().scan(0, |at_ns, segment| {
            *at_ns += segment.length_ns;
            Some(*at_ns)
        });
        std::iter::once(0).chain(ends)
    }

    /// The piece that holds record g, with when it begins, the number of its first record and of the one after its last.
    fn piece_of(&self, line: Timeline, g: u64) -> Option<(&Piece, u64, u64, u64)> {
        let warm = self.warm_records(line);
        if g < warm {
            return Some((&self.warmup, line.origin_ns, 0, warm));
        }
        let since = g - warm;
        if since >= self.records || line.zero_ns == u64::MAX {
            return None;
        }
        // Pieces without records share their `first` with the next one: the last of them holds the record.
        let at = self.pieces.partition_point(|p| p.first <= since) - 1;
        let piece = &self.pieces[at];
        let end = self.pieces.get(at + 1).map_or(self.records, |next| next.first);
        Some((piece, line.zero_ns + piece.from_ns, warm + piece.first, warm + end))
    }

    /// Records of the warm-up; all there are as long as nobody knows when it ends.
    fn warm_records(&self, line: Timeline) -> u64 {
        match line.zero_ns {
            u64::MAX if self.warmup.per_unit > 0 => u64::MAX,
            u64::MAX => 0,
            zero_ns => self.warmup.count(zero_ns.saturating_sub(line.origin_ns)),
        }
    }

    /// When record g is intended; `None` if there is no such record, or none before t = 0 is known.
    #[inline]
    pub fn intended_ns(&self, line: Timeline, g: u64) -> Option<u64> {
        let (piece, begin_ns, first, _) = self.piece_of(line, g)?;
        Some(begin_ns + piece.time_ns(g - first))
    }

    /// How many records are intended before `until_ns` (exclusive).
    pub fn count_before(&self, line: Timeline, until_ns: u64) -> u64 {
        if until_ns <= line.zero_ns {
            return self.warmup.count(until_ns.saturating_sub(line.origin_ns));
        }
        let since_ns = until_ns - line.zero_ns;
        let warm = self.warm_records(line);
        if since_ns >= self.end_ns {
            return warm + self.records;
        }
        let at = self.pieces.partition_point(|p| p.from_ns <= since_ns) - 1;
        let piece = &self.pieces[at];
        warm + piece.first + piece.count(since_ns - piece.from_ns)
    }

    /// When the curve has come to the real number `x` of records; for arrivals that are not evenly spaced.
    pub fn time_of(&self, line: Timeline, x: f64) -> Option<u64> {
        let (piece, begin_ns, first, end) = self.piece_of(line, x as u64)?;
        let into = (x - first as f64) * piece.unit_ns as f64 / piece.per_unit as f64;
        let time_ns = begin_ns + into as u64;
        // The next piece may begin a little before an evenly spaced record of this one would have come.
        let next_ns = self.intended_ns(line, end).unwrap_or(u64::MAX);
        Some(time_ns.min(next_ns))
    }

    /// The intended times of every `step`-th record from g on, without a division each. `None` behind the last.
    #[inline]
    pub fn times(&self, line: Timeline, g: u64, step: u64) -> Times<'_> {
        let mut times = Times {
            curve: self,
            line,
            g,
            step,
            left: 0,
            at_ns: 0,
            rest: 0,
            step_ns: 0,
            step_rest: 0,
            per_unit: 1,
        };
        times.enter_piece();
        times
    }
}

/// Records of a ramp's first `elapsed_ns`, rounded down: the area under a straight line.
fn records_of_ramp(segment: &Segment, elapsed_ns: u64) -> u64 {
    let (from, to) = (i128::from(segment.from_per_s), i128::from(segment.to_per_s));
    let (t, length) = (i128::from(elapsed_ns), i128::from(segment.length_ns));
    let doubled = 2 * from * t * length + (to - from) * t * t;
    (doubled / (2 * length * i128::from(SECOND_NS))) as u64
}

/// See [`Curve::times`].
#[derive(Debug, Clone)]
pub struct Times<'a> {
    curve: &'a Curve,
    line: Timeline,
    g: u64,
    step: u64,
    /// Times that are left in this piece.
    left: u64,
    at_ns: u64,
    /// What `at_ns` was rounded down by, in nanoseconds times records per unit.
    rest: u64,
    step_ns: u64,
    step_rest: u64,
    per_unit: u64,
}

impl Times<'_> {
    fn enter_piece(&mut self) {
        self.left = 0;
        let Some((piece, begin_ns, first, end)) = self.curve.piece_of(self.line, self.g) else { return };
        // The products stay inside 64 bits for every rate below 18 G/s.
        let whole_and_rest = |n: u64| {
            let scaled = n % piece.per_unit * piece.unit_ns;
            (n / piece.per_unit * piece.unit_ns + scaled / piece.per_unit, scaled % piece.per_unit)
        };
        let (at_ns, rest) = whole_and_rest(self.g - first);
        (self.step_ns, self.step_rest) = whole_and_rest(self.step);
        (self.at_ns, self.rest, self.per_unit) = (begin_ns + at_ns, rest, piece.per_unit);
        self.left = (end - self.g).div_ceil(self.step);
    }
}

impl Iterator for Times<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        if self.left == 0 {
            self.enter_piece();
            if self.left == 0 {
                return None;
            }
        }
        let at_ns = self.at_ns;
        self.left -= 1;
        self.g += self.step;
        self.at_ns += self.step_ns;
        self.rest += self.step_rest;
        if self.rest >= self.per_unit {
            self.rest -= self.per_unit;
            self.at_ns += 1;
        }
        Some(at_ns)
    }
}

#[cfg(test)]
mod tests;
