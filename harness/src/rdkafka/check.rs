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
        if let Err(error) = config.set(&setting.name, &setting.value) {
            objections.push(Objection { from: setting.from.clone(), message: error.to_string() });
        }
    }
    if !objections.is_empty() {
        return (objections, Vec::new());
    }
    match config.check(kind) {
        Err(error) => (vec![Objection { from: None, message: error.to_string() }], Vec::new()),
        Ok(warnings) => {
            let (ignored, other) = warnings.into_iter().partition(|warning| warning.contains("will be ignored"));
            let ignored: Vec<String> = ignored;
            (ignored.iter().map(|warning| ignored_property(warning, settings)).collect(), other)
        }
    }
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
    fn what_belongs_to_the_other_side_is_refused() {
        let log = setting("log.queue", "true");
        let (objections, _) = look(&[log.clone(), setting("queued.min.messages", "5")], Kind::Producer);
        assert_eq!(objections.len(), 1, "{objections:?}");
        assert_eq!(objections[0].from.as_deref(), Some("rdkafka.queued.min.messages"));
        let (objections, warnings) = look(&[log, setting("queued.min.messages", "5")], Kind::Consumer);
        assert_eq!((objections, warnings), (Vec::new(), Vec::new()));
    }
}
