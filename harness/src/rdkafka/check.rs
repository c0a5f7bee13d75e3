//! Whether librdkafka takes a block's settings. Asked before anything starts, of librdkafka itself.

use gauntlet_rdkafka::{Config, Kind};

use super::settings::Setting;

/// Something that librdkafka does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// The property of the scenario; `None` if it is about several.
    pub from: Option<String>,
    /// In words.
    pub message: String,
}

/// Makes a client of these settings that connects to nobody. Returns what is refused, and what librdkafka warns of.
#[must_use]
pub fn look(settings: &[Setting], kind: Kind) -> (Vec<Objection>, Vec<String>) {
    let mut config = Config::new();
    let mut objections = Vec::new();
    for setting in settings {
        let refused = config.set(&setting.name, &setting.value).err().map(|error| error.to_string());
        if let Some(message) = refused.or_else(|| misread(&config, setting)) {
            objections.push(Objection { from: setting.from.clone(), message });
        }
    }
    if !objections.is_empty() {
        return (objections, Vec::new());
    }
    match config.check(kind) {
        Err(error) => (vec![Objection { from: None, message: error.to_string() }], Vec::new()),
        Ok(warnings) => {
            let (ignored, other) =
                warnings.into_iter().partition(|warning| warning.contains("will be ignored"));
            let ignored: Vec<String> = ignored;
            (ignored.iter().map(|warning| ignored_property(warning, settings)).collect(), other)
        }
    }
}

/// librdkafka takes the digits that a value begins with for the whole: `5s` for 5, `100_000` for 100.
fn misread(config: &Config, setting: &Setting) -> Option<String> {
    let is_raw = setting.from.as_ref().is_some_and(|from| from.starts_with("rdkafka."));
    let read = config.get(&setting.name).filter(|_| is_raw)?;
    let number: f64 = read.parse().ok()?;
    let is_same = setting.value.trim().parse().is_ok_and(|written: f64| written == number);
    let Setting { name, value, .. } = setting;
    (!is_same).then(|| {
        format!("librdkafka reads `{value}` of `{name}` as {read}: a number stands without unit here")
    })
}

/// librdkafka would run without it; a scenario that sets something for nothing has a mistake.
fn ignored_property(warning: &str, settings: &[Setting]) -> Objection {
    let named = settings.iter().find(|setting| {
        setting.from.is_some() && warning.split_whitespace().any(|word| word == setting.name)
    });
    Objection { from: named.and_then(|s| s.from.clone()), message: format!("librdkafka says: {warning}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: &str) -> Setting {
        Setting { name: name.to_owned(), value: value.to_owned(), from: Some(format!("rdkafka.{name}")) }
    }

    #[test]
    fn each_refusal_knows_where_it_comes_from() {
        let settings = [setting("batch.size", "0"), setting("linger.ms", "5"), setting("batch.sise", "1")];
        let (objections, warnings) = look(&settings, Kind::Producer);
        let from: Vec<_> = objections.iter().map(|o| o.from.as_deref()).collect();
        assert_eq!(from, [Some("rdkafka.batch.size"), Some("rdkafka.batch.sise")], "{objections:?}");
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_number_with_more_behind_it_is_refused() {
        let settings = [
            setting("batch.num.messages", "5k"),
            setting("compression.level", "-1"),
            setting("debug", "msg"),
        ];
        let (objections, _) = look(&settings, Kind::Producer);
        assert_eq!(objections.len(), 1, "{objections:?}");
        assert!(objections[0].message.contains("reads `5k` of `batch.num.messages` as 5"), "{objections:?}");
    }

    #[test]
    fn what_belongs_to_the_other_side_is_refused() {
        let log = setting("log.queue", "true");
        let (objections, _) = look(&[log.clone(), setting("queued.min.messages", "5")], Kind::Producer);
        assert_eq!(objections.len(), 1, "{objections:?}");
        assert_eq!(objections[0].from.as_deref(), Some("rdkafka.queued.min.messages"));
        let (objections, warnings) = look(&[log, setting("queued.min.messages", "5")], Kind::Consumer);
        assert_eq!((objections, warnings), (Vec::new(), Vec::new()));
    }
}
