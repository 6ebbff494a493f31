//! `cargo xtask check-prose`: finds where comments and pages miss the rule for prose, and refuses it.
//!
//! [`comments`] and [`pages`] find the [`paragraph`]s, and [`rule`] judges them.

mod comments;
mod pages;
mod paragraph;
mod rule;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use rule::Measure;

use crate::shell::say;

/// Prints each place under a path that misses the rule; one is an error.
pub(crate) fn check(root: &Path, under: &str) -> Result<()> {
    let (mut looked_at, mut missed) = (0, 0);
    for path in files(root)? {
        let name = path.strip_prefix(root).context("a file lies under the root")?;
        let name = name.to_str().context("a path is text")?;
        if !name.starts_with(under) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        for (measure, line, text) in faults_of(name, &text) {
            let text: String = text.trim().chars().take(SHOWN).collect();
            say(&format!("{name}:{line}: {}: {text}\n", measure.demand()))?;
            missed += 1;
        }
        looked_at += 1;
    }
    ensure!(missed == 0, "comments or pages miss the rule for prose in {missed} places");
    say(&format!("the comments and pages of {looked_at} files keep the rule for prose\n"))
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

const CHANGELOG: &str = "CHANGELOG.md";
const HISTORY: &str = "docs/benchmarks/history.md";
const PAGE: &str = ".md";
const ENDINGS: [&str; 3] = [".rs", ".cu", PAGE];
/// How many characters of a sentence are printed.
const SHOWN: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

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
