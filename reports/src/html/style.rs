//! The style sheet.

/// `report.css`, as it stands in the page.
pub(super) const CSS: &str = include_str!("report.css");
