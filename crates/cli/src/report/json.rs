//! A report as one JSON document.

use serde::Serialize;

/// Returns the document, with a newline at its end.
#[must_use]
pub fn document(report: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string_pretty(report).expect("a report has only string keys and finite numbers");
    text.push('\n');
    text
}
