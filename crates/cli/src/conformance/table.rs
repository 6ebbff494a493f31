//! The report for people: a row for each check within 100 characters. A failed one says what was expected and why.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};
use gputcp_nccl_check::Check;

use super::{Plugin, Report, Result, Row};

/// The whole report.
#[must_use]
pub fn report(report: &Report) -> String {
    let Report { version, plugin, passed, failed, skipped, took_s, .. } = report;
    let Plugin { file, name, interface, devices, device } = plugin;
    let mut table = wide(&["check", "result", "seen"]);
    for row in &report.results {
        table.add_row([row.id.clone(), word(row.result).into(), seen(row)]);
    }
    let cut = if report.interrupted { "# interrupted: checks are missing\n" } else { "" };
    let what = match name.as_str() {
        "" => file.clone(),
        name => format!("{name} v{interface} ({file}), device {device} of {devices}"),
    };
    format!(
        "# gputcp {version}: plugin check, {what}\n{}\n{cut}\
         # {passed} passed, {failed} failed, {skipped} skipped, {took_s:.1} s\n",
        trimmed(&table)
    )
}

/// The checks that there are.
#[must_use]
pub fn list(checks: &[&Check]) -> String {
    let mut table = wide(&["check", "since", "the plugin must, because"]);
    for check in checks {
        table.add_row([
            check.id.to_owned(),
            format!("v{}", check.since),
            format!("{}\n→ {}", check.expected, check.because),
        ]);
    }
    format!("{}\n", trimmed(&table))
}

fn seen(row: &Row) -> String {
    match row.result {
        Result::Fail => format!("{}\nexpected: {}\nwhy: {}", row.seen, row.expected, row.because),
        Result::Pass | Result::Skipped => row.seen.clone(),
    }
}

const fn word(result: Result) -> &'static str {
    match result {
        Result::Pass => "pass",
        Result::Fail => "FAIL",
        Result::Skipped => "skipped",
    }
}

/// Three columns: a name, a word, and text that is wrapped.
fn wide(head: &[&str; 3]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100)
        .set_header(head);
    table.set_constraints([NAME, WORD, TEXT].map(|width| ColumnConstraint::Absolute(Width::Fixed(width))));
    table
}

/// Without the spaces that fill the last column.
fn trimmed(table: &Table) -> String {
    table.trim_fmt()
}

const NAME: u16 = 36;
const WORD: u16 = 9;
const TEXT: u16 = 55;
