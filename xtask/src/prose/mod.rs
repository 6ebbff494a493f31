//! `cargo xtask check-prose`: counts where comments and pages miss the rule for prose, and refuses growth.
//!
//! [`comments`] and [`pages`] find the [`paragraph`]s, [`rule`] judges them, and [`budget`] holds the counts
//! against those of the past.

mod budget;
mod comments;
mod pages;
mod paragraph;
mod rule;
mod since;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use budget::{Areas, Grown};
use rule::Measure;

use crate::shell::say;

/// One place that misses the rule.
struct Fault {
    area: String,
    measure: Measure,
    path: String,
    line: usize,
    text: String,
}

/// The use that is made of the counts.
pub(crate) enum Wish<'a> {
    /// Held against the budget.
    Check,
    /// Written as the new budget.
    WriteBudget,
    /// Listed, with each place under a path.
    List(&'a str),
}

pub(crate) fn check(root: &Path, wish: &Wish<'_>) -> Result<()> {
    let (areas, faults) = count(root)?;
    let file = root.join(BUDGET);
    let old = match fs::read_to_string(&file) {
        Ok(text) => Some(budget::read(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("reading {BUDGET}")),
    };
    match wish {
        Wish::List(path) => faults.iter().filter(|fault| fault.path.starts_with(path)).try_for_each(print),
        Wish::WriteBudget => {
            old.map_or(Ok(()), |old| budget::must_not_rise(&areas, &old))?;
            fs::write(&file, budget::show(&areas)).with_context(|| format!("writing {BUDGET}"))
        }
        Wish::Check => {
            say(&budget::show(&areas))?;
            let old = old.with_context(|| format!("there is no {BUDGET}: --write-budget makes it"))?;
            judge(root, &budget::grown(&areas, &old), &faults)
        }
    }
}

/// Shows an example of each fault, or of each count that grew those that are new; then that is an error.
fn judge(root: &Path, grown: &[Grown], faults: &[Fault]) -> Result<()> {
    for measure in Measure::ALL.iter().filter(|_| grown.is_empty()) {
        faults.iter().find(|one| one.measure == *measure).into_iter().try_for_each(print)?;
    }
    for Grown { area, measure, count, budget } in grown {
        say(&format!("{area}: {count} {}, {budget} allowed: {}\n", measure.name(), measure.demand()))?;
        let here = faults.iter().filter(|fault| fault.area == *area && fault.measure == *measure);
        since::new(root, here).into_iter().take(EXAMPLES).try_for_each(print)?;
    }
    ensure!(
        grown.is_empty(),
        "comments or pages miss the rule more often; cargo xtask check-prose --list PATH shows each place"
    );
    Ok(())
}

fn print(fault: &Fault) -> Result<()> {
    let text: String = fault.text.trim().chars().take(SHOWN).collect();
    say(&format!("  {}:{}: {}: {text}\n", fault.path, fault.line, fault.measure.name()))
}

/// Counts all areas, and returns every place.
fn count(root: &Path) -> Result<(Areas, Vec<Fault>)> {
    let (mut areas, mut faults) = (Areas::new(), Vec::new());
    for path in files(root)? {
        let name = path
            .strip_prefix(root)
            .context("a file lies under the root")?
            .to_str()
            .context("a path is text")?;
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        let area = if name.ends_with(PAGE) { "pages" } else { area(name) };
        let counts = areas.entry(area.to_owned()).or_default();
        for (measure, line, text) in faults_of(name, &text) {
            counts[measure as usize] += 1;
            faults.push(Fault { area: area.to_owned(), measure, path: name.to_owned(), line, text });
        }
    }
    Ok((areas, faults))
}

/// Returns the faults of a file: measure, line and text of each.
fn faults_of(name: &str, text: &str) -> Vec<(Measure, usize, String)> {
    if name.ends_with(PAGE) { page(name, text) } else { source(text) }
}

/// Returns the faults of the comments of a source.
fn source(text: &str) -> Vec<(Measure, usize, String)> {
    let comments = comments::of(text);
    let lines: Vec<&str> = text.lines().collect();
    let commented = comments.iter().filter_map(|one| lines.get(one.line - 1).map(|line| (one.line, *line)));
    wide(commented).chain(comments::paragraphs(&comments).iter().flat_map(rule::faults)).collect()
}

/// Returns the faults of a page, none for history and for what a program wrote.
fn page(name: &str, text: &str) -> Vec<(Measure, usize, String)> {
    let text = if name == CHANGELOG { pages::unreleased(text) } else { text };
    let Some(page) = pages::read(text).filter(|_| name != HISTORY) else { return Vec::new() };
    let lines = page.lines.iter().map(|(number, line)| (*number, line.as_str()));
    wide(lines).chain(page.paragraphs.iter().flat_map(rule::faults)).collect()
}

fn wide<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> impl Iterator<Item = (Measure, usize, String)> {
    lines
        .filter(|(_, line)| rule::is_wide(line))
        .map(|(number, line)| (Measure::Wide, number, line.to_owned()))
}

/// Returns the crate that a source belongs to.
fn area(name: &str) -> &str {
    let depth = if name.starts_with("crates/") { 2 } else { 1 };
    name.match_indices('/').nth(depth - 1).map_or(name, |(slash, _)| &name[..slash])
}

/// Returns the sources and pages under the root in order; build outputs and hidden folders are left out.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("looking into {}", folder.display()))? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let name = name.to_string_lossy();
            if kind.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(entry.path());
            } else if kind.is_file() && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

const BUDGET: &str = "xtask/prose.budget";
const CHANGELOG: &str = "CHANGELOG.md";
const HISTORY: &str = "docs/benchmarks/history.md";
const PAGE: &str = ".md";
const ENDINGS: [&str; 3] = [".rs", ".cu", PAGE];
const EXAMPLES: usize = 5;
/// How many characters of a sentence are printed.
const SHOWN: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_belongs_to_its_crate() {
        assert_eq!(area("crates/cli/src/args/mod.rs"), "crates/cli");
        assert_eq!(area("xtask/src/main.rs"), "xtask");
    }

    #[test]
    fn faults_of_a_source_are_at_their_lines() {
        let text = format!("//! Fine.\nlet a = \"// who\";\n// {}\n// Nobody knows.\n", "w".repeat(120));
        let found: Vec<_> = source(&text).iter().map(|(measure, line, _)| (*measure, *line)).collect();
        assert_eq!(found, [(Measure::Wide, 3), (Measure::Who, 3)]);
    }

    #[test]
    fn history_is_not_judged() {
        assert!(page(HISTORY, "Nobody knows.").is_empty());
        assert_eq!(page("README.md", "Nobody knows.").len(), 1);
        assert_eq!(page(CHANGELOG, "# C\n\n## Unreleased\nWho?\n\n## 0.1\nWho?\n").len(), 1);
    }
}
