//! The arguments of faults of disk and clock: what is assumed where nothing is said, and what does not go together.

use gauntlet_chaos::fault::CLOCK_OFFSET_NS_MIN;
use gauntlet_chaos::{DiskFault, DiskOperations};

use super::Args;
use crate::scenario::problems::Problems;
use crate::scenario::types::DiskOperation;
use crate::units::{Duration, Offset};

/// What `disk.slow` does. Reading is left out unless it is asked for: what Kafka is read from is, nearly always, in memory, where a slow
/// disk slows nobody down.
pub(super) fn slow(args: Args<'_>, problems: &mut Problems<'_>) -> DiskFault {
    let latency = args.written.latency.unwrap_or(Duration::ZERO);
    if latency == Duration::ZERO {
        let message = "`disk.slow` needs a `latency`".to_owned();
        args.refuse("latency", message, "above zero", "for example args: { latency: 100ms }", problems);
    }
    let operations = operations(DiskOperations::CHANGES, args, problems);
    DiskFault::Slow { latency_ns: latency.as_ns(), operations }
}

/// What `disk.fail` does.
pub(super) fn fail(args: Args<'_>, problems: &mut Problems<'_>) -> DiskFault {
    DiskFault::Fail { operations: operations(DiskOperations::ALL, args, problems) }
}

fn operations(usual: DiskOperations, args: Args<'_>, problems: &mut Problems<'_>) -> DiskOperations {
    let Some(list) = &args.written.operations else { return usual };
    if list.is_empty() {
        let help = "remove it, or write [write, sync]";
        args.refuse(
            "operations",
            "`operations` names none".to_owned(),
            "nothing would happen",
            help,
            problems,
        );
    }
    DiskOperation::together(list)
}

/// By how much `clock.skew` moves the clock.
pub(super) fn offset_ns(args: Args<'_>, problems: &mut Problems<'_>) -> i64 {
    let offset = args.written.offset.unwrap_or_default();
    if offset.as_ns().unsigned_abs() < CLOCK_OFFSET_NS_MIN {
        let least = Duration::from_ns(CLOCK_OFFSET_NS_MIN);
        let message = match args.written.offset {
            Some(offset) => format!("an `offset` of {offset}"),
            None => "`clock.skew` needs an `offset`".to_owned(),
        };
        let label = format!("at least {least}, forward or back");
        let help = "for example args: { offset: -2h }; less can't be told from the time that a broker takes to answer";
        args.refuse("offset", message, &label, help, problems);
    }
    bounded(offset, args, problems)
}

/// Kafka counts milliseconds since 1970, and so do we; a clock that is off by centuries breaks both.
fn bounded(offset: Offset, args: Args<'_>, problems: &mut Problems<'_>) -> i64 {
    const LARGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
    if offset.as_ns().unsigned_abs() > LARGEST.as_ns() {
        let message = format!("an `offset` of {offset}");
        let help = "clocks of hosts are off by less; write it like -2h";
        args.refuse("offset", message, "more than ten years", help, problems);
    }
    offset.as_ns()
}
