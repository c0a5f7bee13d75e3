//! What every page has around its sections: head, bar, banner, footer.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::banner::Face;
use super::style::CSS;

/// Reasons that a banner shows; the rest is counted.
const REASONS_MAX: usize = 8;

/// Whose page it is.
pub(super) struct About<'a> {
    /// The verdict in one word.
    pub(super) word: &'a str,
    /// Name of the scenario.
    pub(super) name: &'a str,
    /// `run` or `sweep`.
    pub(super) kind: &'a str,
    /// Its id.
    pub(super) id: &'a str,
    /// Version of the gauntlet that did it.
    pub(super) gauntlet: &'a str,
}

/// A document. `links` are anchor, name, and whether the page has that section.
pub(super) fn document(
    about: &About<'_>,
    links: &[(&str, &str, bool)],
    banner: &Markup,
    sections: &Markup,
) -> Markup {
    let About { word, name, kind, id, gauntlet } = about;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(format!("gauntlet {gauntlet}"));
                title { (word) " · " (name) " · " (id) }
                style { (PreEscaped(CSS)) }
            }
            body {
                a class="skip" href="#main" { "Skip to the results" }
                div class="bar" {
                    span class="brand" { "gauntlet" }
                    nav aria-label="Contents" {
                        ul {
                            @for (anchor, name, is_there) in links {
                                @if *is_there { li { a href=(anchor) { (name) } } }
                            }
                        }
                    }
                    label class="theme" { input type="checkbox" id="theme"; " dark / light" }
                }
                (banner)
                main id="main" { (sections) }
                footer { p { (name) " · " (kind) " " (id) " · gauntlet " (gauntlet) } }
            }
        }
    }
}

/// What a banner says besides the verdict.
pub(super) struct Banner<'a> {
    pub(super) face: Face,
    pub(super) name: &'a str,
    /// Beside the verdict, if something of it is not as it seems.
    pub(super) stamp: Option<Markup>,
    pub(super) sentence: String,
    pub(super) reasons: &'a [crate::record::Reason],
    /// Above the facts.
    pub(super) description: Option<&'a str>,
    /// Name and value; without a value it is left out.
    pub(super) facts: &'a [(&'a str, Option<String>)],
}

/// The banner.
pub(super) fn banner(banner: &Banner<'_>) -> Markup {
    let Face { class, sign, word } = banner.face;
    let reasons: Vec<&str> =
        banner.reasons.iter().filter(|r| r.exit.code() != 0).map(|r| r.text.as_str()).collect();
    html! {
        header class=(format!("banner {class}")) id="top" {
            div class="verdict" {
                span class="sign" aria-hidden="true" { (sign) }
                div {
                    p class="name" { (banner.name) }
                    h1 { (word) }
                }
                @if let Some(stamp) = &banner.stamp { (stamp) }
            }
            p class="sentence" { (banner.sentence) }
            @if !reasons.is_empty() {
                ul class="reasons" {
                    @for reason in reasons.iter().take(REASONS_MAX) { li { (reason) } }
                    @if reasons.len() > REASONS_MAX { li { (reasons.len() - REASONS_MAX) " more reasons" } }
                }
            }
            @if let Some(description) = banner.description { p class="note" { (description) } }
            dl class="facts" {
                @for (name, value) in banner.facts {
                    @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
                }
            }
        }
    }
}
