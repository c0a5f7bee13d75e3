//! Readers that begin late or rest for a while: their clients are started and ended, their checkers stay.

use std::collections::BTreeMap;
use std::time::Duration;

use gauntlet_wire::fetcher::{FetcherStats, RecordSink};
use gauntlet_wire::lateness::Lateness;
use gauntlet_wire::monotonic_ns;
use gauntlet_wire::producer::Turn;

use super::LoopFailure;
use crate::load::Reader;

/// How often a resting reader looks whether it is to go on.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it asks how far behind it is.
const WATERMARKS_EVERY_NS: u64 = 1_000_000_000;

/// Lets `client` read whenever the reader is to, and waits in between. `watermarks` asks where the logs end now, so that the lag of one who
/// rests is known, too.
///
/// # Errors
/// The client's.
pub(super) fn read_in_window(
    mut reader: Reader,
    watermarks: impl Fn() -> BTreeMap<i32, i64>,
    mut client: impl FnMut(Reader) -> Result<Reader, LoopFailure>,
) -> Result<Reader, LoopFailure> {
    loop {
        wait(&mut reader, &watermarks);
        if reader.is_done(monotonic_ns()) {
            return Ok(reader);
        }
        reader = client(reader)?;
        if !reader.rests(monotonic_ns()) {
            return Ok(reader);
        }
        reader.rest();
    }
}

fn wait(reader: &mut Reader, watermarks: &impl Fn() -> BTreeMap<i32, i64>) {
    let mut lateness = Lateness::of_this_thread(monotonic_ns());
    let mut next_watermarks_ns = 0;
    loop {
        let now_ns = monotonic_ns();
        if !reader.rests(now_ns) || reader.is_done(now_ns) {
            return;
        }
        if now_ns >= next_watermarks_ns {
            next_watermarks_ns = now_ns + WATERMARKS_EVERY_NS;
            for (partition, end) in watermarks() {
                reader.note_high_watermark(partition as usize, end);
            }
        }
        // Nothing of a client's: it has none now.
        reader.turned(Turn { now_ns, lateness: &lateness }, &FetcherStats::default());
        lateness.poll_begins(monotonic_ns());
        std::thread::sleep(LOOK_EVERY);
        lateness.poll_ended(monotonic_ns(), LOOK_EVERY.as_nanos() as u64, true);
    }
}
