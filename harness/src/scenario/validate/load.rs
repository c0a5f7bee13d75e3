//! Rules of `load`.

use crate::scenario::problems::{Finding, Problems};
use crate::scenario::types::{Extent, Load, Shape, Warmup};
use crate::units::Duration;

pub(super) fn validate(load: &Load, problems: &mut Problems<'_>) {
    match load.shape {
        Shape::Constant { rate, duration } => {
            if rate.per_s() == 0 {
                problems.add(Finding {
                    path: "load.rate",
                    message: "a load of 0 messages per second".to_owned(),
                    label: "nothing would be sent",
                    help: "at least 1/s, for example 50k/s",
                });
            }
            positive("load.duration", duration, problems);
        }
        Shape::Unlimited(Extent::Duration(duration)) => positive("load.duration", duration, problems),
        Shape::Unlimited(Extent::Messages(0)) => problems.add(Finding {
            path: "load.messages",
            message: "a load of 0 messages".to_owned(),
            label: "nothing would be sent",
            help: "at least 1, for example 1_000_000",
        }),
        Shape::Unlimited(Extent::Messages(_)) => {}
    }
    if let Warmup::UntilStable { min, max } = load.warmup {
        warmup(min, max, problems);
    }
}

fn positive(path: &str, duration: Duration, problems: &mut Problems<'_>) {
    if duration == Duration::ZERO {
        problems.add(Finding {
            path,
            message: format!("`{path}` is zero"),
            label: "nothing would be sent",
            help: "for example 60s",
        });
    }
}

fn warmup(min: Duration, max: Duration, problems: &mut Problems<'_>) {
    if min > max {
        let at_min = problems.is_written("load.warmup.min");
        problems.add(Finding {
            path: if at_min { "load.warmup.min" } else { "load.warmup.max" },
            message: format!("the warm-up takes at least {min}, and at most {max}"),
            label: "min is above max",
            help: "lower `min`, or raise `max` (60s and 240s if left out)",
        });
    }
}
