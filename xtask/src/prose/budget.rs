//! The faults that each area may have: `xtask/prose.budget`, which may be lowered and not raised.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Context, Result, bail, ensure};

use super::rule::Measure;

/// How often each measure was missed, in the order of [`Measure::ALL`].
pub(super) type Counts = [usize; Measure::ALL.len()];

/// Counts by area: a crate, `xtask`, or `pages`.
pub(super) type Areas = BTreeMap<String, Counts>;

/// An area that has more faults of one kind than it may.
#[derive(Debug, PartialEq)]
pub(super) struct Grown {
    pub(super) area: String,
    pub(super) measure: Measure,
    pub(super) count: usize,
    pub(super) budget: usize,
}

/// Reads a budget as [`show`] writes it.
pub(super) fn read(text: &str) -> Result<Areas> {
    let mut areas = Areas::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(area) = words.next() else { continue };
        let counts: Vec<usize> = words
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("line {number} of the budget"))?;
        let counts = Counts::try_from(counts)
            .ok()
            .with_context(|| format!("line {number} of the budget has not {COLUMNS}"))?;
        ensure!(areas.insert(area.to_owned(), counts).is_none(), "the budget names {area} twice");
    }
    Ok(areas)
}

/// Returns areas as a table, which is also the file.
pub(super) fn show(areas: &Areas) -> String {
    let mut text = format!("{HEAD}\n");
    let names = Measure::ALL.map(Measure::name);
    let mut row = |area: &str, cells: &[String]| {
        let _ = write!(text, "{area:<20}");
        cells.iter().for_each(|cell| {
            let _ = write!(text, "{cell:>7}");
        });
        text.push('\n');
    };
    row("# area", &names.map(str::to_owned));
    for (area, counts) in areas {
        row(area, &counts.map(|count| count.to_string()));
    }
    row("# all", &total(areas).map(|count| count.to_string()));
    text
}

/// Returns the counts that are above their budget. An area without one may have no fault.
pub(super) fn grown(counted: &Areas, budget: &Areas) -> Vec<Grown> {
    let mut found = Vec::new();
    for (area, counts) in counted {
        let allowed = budget.get(area).copied().unwrap_or_default();
        for ((measure, &count), budget) in Measure::ALL.into_iter().zip(counts).zip(allowed) {
            if count > budget {
                found.push(Grown { area: area.clone(), measure, count, budget });
            }
        }
    }
    found
}

/// Refuses a new budget that allows more of any fault over all areas. A fault may move from one to another.
pub(super) fn must_not_rise(new: &Areas, old: &Areas) -> Result<()> {
    for ((measure, new), old) in Measure::ALL.into_iter().zip(total(new)).zip(total(old)) {
        if new > old {
            bail!(
                "the budget may not rise: {} was {old} over all areas and is {new}: {}",
                measure.name(),
                measure.demand()
            );
        }
    }
    Ok(())
}

fn total(areas: &Areas) -> Counts {
    areas
        .values()
        .fold(Counts::default(), |sum, counts| std::array::from_fn(|which| sum[which] + counts[which]))
}

const COLUMNS: &str = "an area and four numbers";
const HEAD: &str = "# How often each area may miss the prose rule: see `cargo xtask check-prose --help`. Lowered by --write-budget.";

#[cfg(test)]
mod tests {
    use super::*;

    fn areas(of: &[(&str, Counts)]) -> Areas {
        of.iter().map(|(area, counts)| ((*area).to_owned(), *counts)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let some = areas(&[("crates/a", [1, 2, 3, 4]), ("pages", [0, 0, 10, 2000])]);
        assert_eq!(read(&show(&some)).expect("well formed"), some);
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        for text in ["a 1 2 3", "a 1 2 3 4 5", "a 1 2 3 x", "a 1 2 3 4\na 1 2 3 4", "a 1 2 3 -4"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("\na 1 2 3 x").expect_err("x is no number").to_string().contains("line 2"));
    }

    #[test]
    fn each_count_is_held_against_its_own() {
        let budget = areas(&[("a", [1, 1, 1, 1])]);
        assert_eq!(grown(&areas(&[("a", [1, 0, 1, 1])]), &budget), []);
        let found = grown(&areas(&[("a", [1, 2, 0, 0]), ("b", [0, 0, 0, 1])]), &budget);
        assert_eq!(
            found,
            [
                Grown { area: "a".into(), measure: Measure::What, count: 2, budget: 1 },
                Grown { area: "b".into(), measure: Measure::Long, count: 1, budget: 0 },
            ]
        );
    }

    #[test]
    fn a_fault_may_move_and_not_be_new() {
        let old = areas(&[("a", [1, 1, 1, 1])]);
        assert!(must_not_rise(&areas(&[("b", [1, 1, 0, 1])]), &old).is_ok());
        assert!(must_not_rise(&areas(&[("a", [1, 1, 1, 1]), ("b", [0, 0, 1, 0])]), &old).is_err());
    }
}
