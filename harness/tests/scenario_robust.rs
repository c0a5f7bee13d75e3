//! No text makes the reader panic, and whatever it takes, it also takes in resolved form.

use gauntlet::scenario::{LoadOptions, Scenario};
use proptest::prelude::*;
use proptest::sample::Index;

const QUICKSTART: &str = include_str!("../../scenarios/quickstart.yaml");

/// Pieces that mean something to YAML or to the format.
const PIECES: [&str; 28] = [
    "",
    " ",
    "\n",
    "\t",
    "  ",
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!x ",
    "|\n",
    ">\n",
    "---\n",
    "${",
    "}",
    "${vars.kill_at}",
    "$${",
    "0",
    "-1",
    "é",
    "\u{2028}",
];

fn options(profile: Option<&str>, set: Option<String>) -> LoadOptions<'static> {
    LoadOptions {
        profile: profile.map(str::to_owned),
        sets: set.into_iter().collect(),
        cores: 2,
        ..LoadOptions::default()
    }
}

/// The quickstart with a stretch of it replaced, a few times.
fn edited() -> impl Strategy<Value = String> {
    let edit = (any::<Index>(), 0usize..12, prop::sample::select(&PIECES[..]));
    prop::collection::vec(edit, 1..4).prop_map(|edits| {
        let mut text: Vec<char> = QUICKSTART.chars().collect();
        for (at, removed, piece) in edits {
            let start = at.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, piece.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn edited_scenarios(text in edited(), ci: bool) {
        let profile = ci.then_some("ci");
        match Scenario::parse("edited.yaml", &text, &options(profile, None)) {
            Err(error) => prop_assert!(error.to_string().starts_with("error: ")),
            Ok(loaded) => {
                let again = Scenario::parse("resolved.yaml", &loaded.resolved_yaml, &options(None, None));
                prop_assert_eq!(again.map(|again| again.scenario), Ok(loaded.scenario), "{}", loaded.resolved_yaml);
            }
        }
    }

    #[test]
    fn edited_arguments(
        path in "[a-z]{0,6}(\\[[0-9]\\])?(\\.[a-z.]{0,8})?",
        value in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..5),
    ) {
        let set = format!("{path}={}", value.concat());
        if let Err(error) = Scenario::parse("quickstart.yaml", QUICKSTART, &options(None, Some(set))) {
            prop_assert!(error.to_string().starts_with("error: "));
        }
    }
}
