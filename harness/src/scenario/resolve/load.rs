//! `load`: which fields go with which shape, and the defaults.

use super::super::problems::{Finding, Problems};
use super::super::types::{Extent, Load, Overflow, Search, Shape, Warmup};
use super::super::written::{LoadWritten, Model, SearchWritten, ShapeName, WarmupWritten};
use crate::units::{Duration, Fraction, Rate};

/// A field that depends on the shape: its name, an example, and the shapes that need it or may have it.
struct Field {
    name: &'static str,
    example: &'static str,
    needed: &'static [ShapeName],
    possible: &'static [ShapeName],
}

const fn field(
    name: &'static str,
    example: &'static str,
    needed: &'static [ShapeName],
    possible: &'static [ShapeName],
) -> Field {
    Field { name, example, needed, possible }
}

use ShapeName::{Constant, MaxSearch, Ramp, Replay, Spike, Stages, Step, Unlimited};

/// How close the ends of a search have to be, where nothing is said.
const RESOLUTION: f64 = 0.02;
/// How much longer than the others a trial is that confirms, where nothing is said.
const CONFIRM_TRIALS: u64 = 4;

const SEARCH_EXAMPLE: &str = "{ low: 50k/s, high: 1M/s, sustainable: [produce.latency p99 < 50ms] }";

const FIELDS: [Field; 18] = [
    field("rate", "50k/s", &[Constant], &[]),
    field("duration", "60s", &[Constant, Ramp, Spike], &[Unlimited]),
    field("messages", "1_000_000", &[], &[Unlimited]),
    field("slots", "1", &[], &[Unlimited]),
    field("from", "10k/s", &[Ramp, Step], &[]),
    field("to", "1M/s", &[Ramp], &[]),
    field("increment", "10k/s", &[Step], &[]),
    field("levels", "10", &[Step], &[]),
    field("level_duration", "30s", &[Step], &[]),
    field("ramp_between", "5s", &[], &[Step]),
    field("base", "100k/s", &[Spike], &[]),
    field("peak", "800k/s", &[Spike], &[]),
    field("spike_at", "60s", &[Spike], &[]),
    field("spike_for", "15s", &[Spike], &[]),
    field("stages", "[{ target: 50k/s, duration: 1m }]", &[Stages], &[]),
    field("file", "trace.csv", &[Replay], &[]),
    field("speed", "2", &[], &[Replay]),
    field("search", SEARCH_EXAMPLE, &[MaxSearch], &[]),
];

impl ShapeName {
    fn name(self) -> &'static str {
        match self {
            Constant => "constant",
            Ramp => "ramp",
            Step => "step",
            Spike => "spike",
            Stages => "stages",
            Unlimited => "unlimited",
            Replay => "replay",
            MaxSearch => "max-search",
        }
    }
}

/// Which of [`FIELDS`] are written, in that order.
fn written_fields(load: &LoadWritten) -> [bool; FIELDS.len()] {
    [
        load.rate.is_some(),
        load.duration.is_some(),
        load.messages.is_some(),
        load.slots.is_some(),
        load.from.is_some(),
        load.to.is_some(),
        load.increment.is_some(),
        load.levels.is_some(),
        load.level_duration.is_some(),
        load.ramp_between.is_some(),
        load.base.is_some(),
        load.peak.is_some(),
        load.spike_at.is_some(),
        load.spike_for.is_some(),
        load.stages.is_some(),
        load.file.is_some(),
        load.speed.is_some(),
        load.search.is_some(),
    ]
}

/// The scenario's own load.
pub(super) fn load(written: LoadWritten, problems: &mut Problems<'_>) -> Load {
    if written.start.is_some() {
        problems.add(Finding {
            path: "load.start",
            message: "`load.start` does not fit the load of the whole scenario".to_owned(),
            label: "only for `workload.producers[].load`",
            help: "the load begins with the warm-up",
        });
    }
    resolve("load", &written, problems)
}

/// The load of a block of producers: begins and ends inside the scenario's.
pub(super) fn own_load(path: &str, written: &LoadWritten, problems: &mut Problems<'_>) -> Load {
    let whole = [
        ("warmup", written.warmup.is_some()),
        ("drain", written.drain.is_some()),
        ("overflow", written.overflow.is_some()),
    ];
    for (name, _) in whole.iter().filter(|(_, is_written)| *is_written) {
        problems.add(Finding {
            path: &format!("{path}.{name}"),
            message: format!("`{name}` does not fit the load of some producers"),
            label: "one for all",
            help: &format!("write it under `load`, as `load.{name}`"),
        });
    }
    let whole_run = match written.shape {
        MaxSearch => Some(("a search", "a search is many runs of the whole scenario")),
        Replay => {
            Some(("a recording", "the time of a recording begins with the warm-up of the whole scenario"))
        }
        _ => None,
    };
    if let Some((what, label)) = whole_run {
        problems.add(Finding {
            path: &format!("{path}.shape"),
            message: format!("producers can't have {what} of their own"),
            label,
            help: &format!("write `{}` under `load`, and a rate here", written.shape.name()),
        });
    }
    resolve(path, written, problems)
}

fn resolve(path: &str, written: &LoadWritten, problems: &mut Problems<'_>) -> Load {
    check_fields(path, written, problems);
    check_model(path, written, problems);
    let warmup = match &written.warmup {
        // A recording is its own warm-up: what it excludes has to be asked for.
        None if written.shape == Replay => Warmup::For(Duration::ZERO),
        None => Warmup::For(Duration::from_secs(10)),
        Some(WarmupWritten::For(duration)) => Warmup::For(*duration),
        Some(WarmupWritten::Until(until)) => Warmup::UntilStable {
            min: until.min.unwrap_or(Duration::from_secs(60)),
            max: until.max.unwrap_or(Duration::from_secs(240)),
        },
    };
    Load {
        shape: shape(path, written, problems),
        arrival: written.arrival.unwrap_or_default(),
        warmup,
        drain: written.drain.unwrap_or(Duration::from_secs(60)),
        overflow: written.overflow.unwrap_or(Overflow::Queue),
        start: written.start.unwrap_or(Duration::ZERO),
    }
}

fn check_fields(path: &str, written: &LoadWritten, problems: &mut Problems<'_>) {
    let shape = written.shape;
    for (field, is_written) in FIELDS.iter().zip(written_fields(written)) {
        let needed = field.needed.contains(&shape);
        if needed && !is_written {
            problems.add(Finding {
                path,
                message: format!("missing field `{}` in `{path}`", field.name),
                label: "",
                help: &format!(
                    "shape `{}` needs it, for example `{}: {}`",
                    shape.name(),
                    field.name,
                    field.example
                ),
            });
        }
        if is_written && !needed && !field.possible.contains(&shape) {
            let shapes: Vec<String> =
                field.needed.iter().chain(field.possible).map(|s| format!("`{}`", s.name())).collect();
            let taken = FIELDS.iter().filter(|f| f.needed.contains(&shape) || f.possible.contains(&shape));
            let taken: Vec<&str> = taken.map(|f| f.name).collect();
            problems.add(Finding {
                path: &format!("{path}.{}", field.name),
                message: format!("`{path}.{}` does not fit shape `{}`", field.name, shape.name()),
                label: &format!("only for {}", shapes.join(", ")),
                help: &format!("shape `{}` takes {}", shape.name(), taken.join(", ")),
            });
        }
    }
}

fn check_model(path: &str, written: &LoadWritten, problems: &mut Problems<'_>) {
    match (written.shape, written.model) {
        (Unlimited, Some(Model::Open)) => problems.add(Finding {
            path: &format!("{path}.model"),
            message: "model `open` does not fit shape `unlimited`".to_owned(),
            label: "without a rate there is no open model",
            help: "remove `model`, or use `shape: constant` with a `rate`",
        }),
        (Unlimited, _) | (_, None | Some(Model::Open)) => {}
        (shape, Some(Model::Closed)) => problems.add(Finding {
            path: &format!("{path}.model"),
            message: format!("model `closed` does not fit shape `{}`", shape.name()),
            label: "a rate is an open model",
            help: "remove `model`, or use `shape: unlimited`",
        }),
    }
    let no_arrival = match written.shape {
        Unlimited => Some("nothing is scheduled"),
        Replay => Some("every record has a time of its own"),
        _ => None,
    };
    if let (Some(label), Some(_)) = (no_arrival, written.arrival) {
        problems.add(Finding {
            path: &format!("{path}.arrival"),
            message: format!("`{path}.arrival` does not fit shape `{}`", written.shape.name()),
            label,
            help: "remove it, or use a shape with a rate",
        });
    }
}

/// What is missing has been found already; anything will do for it.
fn shape(path: &str, written: &LoadWritten, problems: &mut Problems<'_>) -> Shape {
    let rate = |rate: Option<Rate>| rate.unwrap_or(Rate::per_second(1));
    let some = |duration: Option<Duration>| duration.unwrap_or(Duration::from_secs(1));
    let duration = some(written.duration);
    match written.shape {
        Constant => Shape::Constant { rate: rate(written.rate), duration },
        Ramp => Shape::Ramp { from: rate(written.from), to: rate(written.to), duration },
        Step => Shape::Step {
            from: rate(written.from),
            increment: rate(written.increment),
            levels: written.levels.unwrap_or(1),
            level_duration: some(written.level_duration),
            ramp_between: written.ramp_between.unwrap_or(Duration::ZERO),
        },
        Spike => Shape::Spike {
            base: rate(written.base),
            peak: rate(written.peak),
            spike_at: some(written.spike_at),
            spike_for: some(written.spike_for),
            duration,
        },
        Stages => Shape::Stages(written.stages.clone().unwrap_or_default()),
        Unlimited => Shape::Unlimited { extent: extent(path, written, problems), slots: written.slots },
        Replay => Shape::Replay {
            file: written.file.clone().unwrap_or_default(),
            speed: written.speed.unwrap_or(1.0),
        },
        MaxSearch => Shape::MaxSearch(search(written.search.clone())),
    }
}

fn extent(path: &str, written: &LoadWritten, problems: &mut Problems<'_>) -> Extent {
    match (written.duration, written.messages) {
        (Some(duration), None) => Extent::Duration(duration),
        (None, Some(messages)) => Extent::Messages(messages.get()),
        (duration, messages) => {
            let (at, count) = match messages {
                Some(_) => (format!("{path}.messages"), "both"),
                None => (path.to_owned(), "neither"),
            };
            problems.add(Finding {
                path: &at,
                message: format!("`{path}` has {count} of `duration` and `messages`"),
                label: "",
                help: "shape `unlimited` ends after one of them, for example `duration: 60s`",
            });
            Extent::Duration(duration.unwrap_or(Duration::from_secs(1)))
        }
    }
}

/// What is missing has been found already; anything will do for it.
fn search(written: Option<SearchWritten>) -> Search {
    let nothing = || SearchWritten {
        low: Rate::per_second(1),
        high: Rate::per_second(1),
        sustainable: vec!["produce.failed == 0".to_owned()],
        resolution: None,
        trial: None,
        confirm: None,
        method: None,
        target: None,
        cooldown: None,
        warmup: None,
        headroom: None,
    };
    let written = written.unwrap_or_else(nothing);
    let trial = written.trial.unwrap_or(Duration::from_secs(30));
    Search {
        low: written.low,
        high: written.high,
        resolution: written.resolution.or(Fraction::new(RESOLUTION)).unwrap_or_default(),
        trial,
        confirm: written.confirm.unwrap_or(Duration::from_ns(trial.as_ns().saturating_mul(CONFIRM_TRIALS))),
        sustainable: written.sustainable,
        target: written.target,
        cooldown: written.cooldown.unwrap_or(Duration::from_secs(10)),
        warmup: written.warmup.unwrap_or(Duration::from_secs(30)),
        headroom: written.headroom,
    }
}
