//! One bad file per rule: `scenario_bad/NAME.yaml` and, in `NAME.expected`, the whole error as users see it.
//!
//! The first line of a file may be a comment `# options: --profile NAME --set PATH=VALUE …`. `UPDATE=1` rewrites what
//! is expected; read the diff before you commit it.

#![expect(clippy::unwrap_used, reason = "test code: clippy only knows functions with #[test] as such")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gauntlet::scenario::types::Expectation;
use gauntlet::scenario::{ExpressionMistake, LoadOptions, Scenario};

fn bad_files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenario_bad");
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.sort();
    files
}

/// Stands for the parser of expectations: takes all but those with the word `nonsense`.
fn refuse_nonsense(_: &Scenario, expectation: &Expectation) -> Result<(), ExpressionMistake> {
    match expectation.that.find("nonsense") {
        Some(offset) => {
            Err(ExpressionMistake { offset, length: 8, message: "no such metric".to_owned(), help: None })
        }
        None => Ok(()),
    }
}

fn options(text: &str) -> LoadOptions<'static> {
    let mut options = LoadOptions {
        cores: 2,
        env: BTreeMap::from([("RATE".to_owned(), "fast".to_owned())]),
        expectation_check: Some(&refuse_nonsense),
        ..LoadOptions::default()
    };
    let first = text.lines().next().unwrap_or_default();
    let mut words = first.strip_prefix("# options:").unwrap_or_default().split_whitespace();
    while let (Some(flag), Some(value)) = (words.next(), words.next()) {
        match flag {
            "--profile" => options.profile = Some(value.to_owned()),
            "--set" => options.sets.push(value.to_owned()),
            _ => panic!("unknown option {flag}"),
        }
    }
    options
}

#[test]
fn every_mistake_is_explained() {
    let update = std::env::var_os("UPDATE").is_some();
    let files = bad_files();
    assert!(files.len() >= 25, "only {} bad files", files.len());
    let mut differences = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let error = match Scenario::parse(name, &text, &options(&text)) {
            Ok(_) => format!("{name} is valid"),
            Err(error) => error.to_string(),
        };
        let golden = file.with_extension("expected");
        if update {
            std::fs::write(&golden, format!("{error}\n")).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if expected.trim_end() != error {
            differences.push(format!("--- {name}: expected\n{expected}+++ got\n{error}\n"));
        }
        assert!(!error.ends_with("is valid"), "{name} has no mistake");
        // The secret of every bad file that has one.
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_file_that_is_not_there() {
    let error = Scenario::load(Path::new("no/such.yaml"), &LoadOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "error: no/such.yaml: No such file or directory (os error 2)");
}

#[test]
fn a_file_that_is_no_scenario_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.yaml");
    std::fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
    let error = Scenario::load(&path, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("1048577 bytes are no scenario; at most 1048576 are read"), "{error}");
}
