//! `--only NAME=VALUE`: some points of a sweep.

use crate::scenario::LoadedSweep;
use crate::scenario::sweep::parameter_text;

/// An argument that selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// It is not `NAME=VALUE`.
    #[error("`--only {argument}` is not NAME=VALUE, for example `--only codec=lz4`")]
    Form {
        /// As given.
        argument: String,
    },
    /// The sweep has no such name.
    #[error("`--only {argument}`: the sweep has no `{name}`; its names are {known}")]
    Name {
        /// As given.
        argument: String,
        /// The name.
        name: String,
        /// Names that the sweep has.
        known: String,
    },
    /// The name has no such value.
    #[error("`--only {argument}`: no point has this value; {name} is {known}")]
    Value {
        /// As given.
        argument: String,
        /// The name.
        name: String,
        /// Values that points have.
        known: String,
    },
    /// Each argument fits some point, but no point fits all.
    #[error("no point of the sweep fits {arguments}")]
    Nothing {
        /// All arguments.
        arguments: String,
    },
}

/// Keeps the points that fit every one of `arguments`.
///
/// # Errors
/// An argument is no selection, or nothing is left.
pub fn select(sweep: &mut LoadedSweep, arguments: &[String]) -> Result<(), SelectError> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for argument in arguments {
        let (name, value) =
            argument.split_once('=').ok_or_else(|| SelectError::Form { argument: argument.clone() })?;
        let (name, value) = (name.trim(), value.trim());
        if !sweep.axes.iter().any(|axis| axis == name) {
            let known = sweep.axes.join(", ");
            return Err(SelectError::Name { argument: argument.clone(), name: name.to_owned(), known });
        }
        let known = values(sweep, name);
        if !known.iter().any(|text| text == value) {
            let known = known.join(", ");
            return Err(SelectError::Value { argument: argument.clone(), name: name.to_owned(), known });
        }
        wanted.push((name, value));
    }
    sweep.points.retain(|point| {
        wanted
            .iter()
            .all(|(name, value)| point.parameters.get(*name).is_some_and(|v| parameter_text(v) == *value))
    });
    if sweep.points.is_empty() {
        let arguments: Vec<String> =
            arguments.iter().map(|argument| format!("`--only {argument}`")).collect();
        return Err(SelectError::Nothing { arguments: arguments.join(" and ") });
    }
    Ok(())
}

fn values(sweep: &LoadedSweep, name: &str) -> Vec<String> {
    let mut values = Vec::new();
    for value in sweep.points.iter().filter_map(|point| point.parameters.get(name)) {
        let text = parameter_text(value);
        if !values.contains(&text) {
            values.push(text);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{LoadOptions, ScenarioFile};

    fn sweep() -> LoadedSweep {
        let text = "version: 1\nname: s\nload: { shape: constant, rate: '${matrix.r}', duration: 5s }\n\
                    workload: { producers: { config: { compression.type: '${matrix.codec}' } } }\n\
                    sweep: { matrix: { r: [1k/s, 2k/s], codec: [lz4, zstd] }, exclude: [{ r: 1k/s, codec: zstd }] }\n";
        match ScenarioFile::parse("s.yaml", text, &LoadOptions::default()).unwrap() {
            ScenarioFile::Sweep(sweep) => *sweep,
            _ => panic!("it is a sweep"),
        }
    }

    fn ids(arguments: &[&str]) -> Result<Vec<String>, String> {
        let mut sweep = sweep();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        select(&mut sweep, &arguments).map_err(|error| error.to_string())?;
        Ok(sweep.points.into_iter().map(|point| point.id).collect())
    }

    #[test]
    fn points_keep_their_ids() {
        assert_eq!(ids(&["codec=lz4"]).unwrap(), ["p01", "p02"]);
        assert_eq!(ids(&["codec=lz4", "r=2k/s"]).unwrap(), ["p02"]);
        assert_eq!(ids(&[]).unwrap(), ["p01", "p02", "p03"]);
    }

    #[test]
    fn what_selects_nothing_is_told_with_what_there_is() {
        for (arguments, message) in [
            (&["lz4"][..], "`--only lz4` is not NAME=VALUE, for example `--only codec=lz4`"),
            (&["c=lz4"], "`--only c=lz4`: the sweep has no `c`; its names are r, codec"),
            (&["codec=gzip"], "`--only codec=gzip`: no point has this value; codec is lz4, zstd"),
            (&["r=1k/s", "codec=zstd"], "no point of the sweep fits `--only r=1k/s` and `--only codec=zstd`"),
        ] {
            assert_eq!(ids(arguments), Err(message.to_owned()));
        }
    }
}
