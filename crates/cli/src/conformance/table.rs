//! The report for people: a row for each check within 100 characters. A failed one says what was expected,
//! why, and where NCCL says so. One that is stricter than NCCL says what NCCL does.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};
use gputcp_nccl_check::Check;

use super::{CheckedPlugin, Report, Result, Row};

/// Returns the whole report.
#[must_use]
pub fn report(report: &Report) -> String {
    let Report { version, plugin, passed, stricter, failed, skipped, took_s, .. } = report;
    let CheckedPlugin { file, name, interface, devices, device } = plugin;
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
         # {passed} passed, {failed} failed, {stricter} stricter than NCCL, {skipped} skipped, {took_s:.1} s\n",
        trimmed(&table)
    )
}

/// Returns the checks that there are.
#[must_use]
pub fn list(checks: &[&Check]) -> String {
    let mut table = wide(&["check", "since", "the plugin must, because"]);
    for check in checks {
        table.add_row([
            check.id.to_owned(),
            format!("v{}", check.scope.since),
            match check.scope.stricter {
                Some(nccl) => format!("{}\n→ {}\nstricter than NCCL: {nccl}", check.expected, check.because),
                None => format!("{}\n→ {}", check.expected, check.because),
            },
        ]);
    }
    format!("{}\n", trimmed(&table))
}

fn seen(row: &Row) -> String {
    let Row { seen, expected, because, sources, stricter, .. } = row;
    match row.result {
        Result::Fail => {
            format!("{seen}\nexpected: {expected}\nwhy: {because}\nNCCL: {}", together(sources))
        }
        Result::Stricter => {
            let nccl = stricter.as_deref().unwrap_or("NCCL does not depend on it");
            format!("{seen}\nexpected: {expected}\nbeyond NCCL: {nccl}")
        }
        Result::Pass | Result::Skipped => seen.clone(),
    }
}

/// Joins sources, those of one release behind its name.
fn together(sources: &[String]) -> String {
    let mut last = "";
    let mut text = String::new();
    for source in sources {
        let (tag, lines) = source.split_once(' ').unwrap_or(("", source));
        let before = if text.is_empty() { "" } else { ", " };
        let named = if tag == last { lines } else { source };
        text = text + before + named;
        last = tag;
    }
    text
}

const fn word(result: Result) -> &'static str {
    match result {
        Result::Pass => "pass",
        Result::Stricter => "stricter",
        Result::Fail => "FAIL",
        Result::Skipped => "skipped",
    }
}

/// Makes a table of three columns: a name, a word, and text that is wrapped.
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

/// Returns the table without the spaces that fill the last column.
fn trimmed(table: &Table) -> String {
    table.trim_fmt()
}

const NAME: u16 = 36;
const WORD: u16 = 10;
const TEXT: u16 = 54;
