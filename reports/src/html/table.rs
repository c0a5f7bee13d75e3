//! Tables: in a box that scrolls by itself, so that the page never does.

use maud::{Markup, html};

/// A column: its heading, and whether it holds numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    heading: &'a str,
    is_number: bool,
}

/// A column of words.
pub(super) fn words(heading: &str) -> Column<'_> {
    Column { heading, is_number: false }
}

/// A column of numbers: right-aligned, digits under digits.
pub(super) fn numbers(heading: &str) -> Column<'_> {
    Column { heading, is_number: true }
}

/// A table of texts; the first cell of a row is its heading. `label` says what the table is to those who don't see it.
pub(super) fn table(label: &str, columns: &[Column<'_>], rows: &[Vec<String>]) -> Markup {
    let rows = rows.iter().map(|row| row.iter().map(|cell| html! { (cell) }).collect()).collect::<Vec<_>>();
    table_of(label, columns, &rows)
}

/// As [`table`], of cells that are more than text.
pub(super) fn table_of(label: &str, columns: &[Column<'_>], rows: &[Vec<Markup>]) -> Markup {
    let class = |i: usize| columns.get(i).is_some_and(|c| c.is_number).then_some("n");
    scroll_box(
        label,
        html! {
            table {
                thead { tr {
                    @for (i, column) in columns.iter().enumerate() {
                        th scope="col" class=[class(i)] { (column.heading) }
                    }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (i, cell) in row.iter().enumerate() {
                                @if i == 0 { th scope="row" class=[class(i)] { (cell) } }
                                @else { td class=[class(i)] { (cell) } }
                            }
                        }
                    }
                }
            }
        },
    )
}

/// A box that scrolls sideways, by keyboard too.
pub(super) fn scroll_box(label: &str, content: Markup) -> Markup {
    html! { div class="scroll" role="region" tabindex="0" aria-label=(label) { (content) } }
}
