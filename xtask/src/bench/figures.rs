//! Medians over the runs of one command, and numbers as a page shows them.

use super::results::{Row, Transfers};

/// The runs of one command with one size.
pub(super) struct Line<'a> {
    pub(super) command: &'a str,
    pub(super) rows: Vec<&'a Row>,
}

/// Returns a line for each command and size, in the order of their first run.
pub(super) fn lines(of: &Transfers) -> Vec<Line<'_>> {
    let mut found: Vec<Line<'_>> = Vec::new();
    for run in &of.runs {
        for row in &run.report.results {
            let same = |line: &&mut Line<'_>| line.command == run.command && line.rows[0].bytes == row.bytes;
            match found.iter_mut().find(same) {
                Some(line) => line.rows.push(row),
                None => found.push(Line { command: &run.command, rows: vec![row] }),
            }
        }
    }
    found
}

impl Line<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.rows[0].bytes
    }

    /// Returns the memory as a result names it: `soft`, or `soft→host` where the ends differ.
    pub(super) fn memory(&self) -> String {
        let Row { memory, destination, .. } = self.rows[0];
        if memory == destination { memory.clone() } else { format!("{memory}→{destination}") }
    }

    /// Returns the figure of each run that has it.
    pub(super) fn each(&self, figure: impl Fn(&Row) -> Option<f64>) -> Vec<f64> {
        self.rows.iter().filter_map(|row| figure(row)).collect()
    }

    /// Returns the median over the runs.
    pub(super) fn median(&self, figure: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
        median(self.each(figure))
    }
}

pub(super) fn goodput(row: &Row) -> Option<f64> {
    row.goodput_gb_per_s.as_ref().map(|goodput| goodput.median)
}

pub(super) fn ceiling(row: &Row) -> Option<f64> {
    row.ceiling.as_ref().map(|ceiling| ceiling.median)
}

pub(super) fn cpu(row: &Row) -> Option<f64> {
    row.cpu_s_per_gb.as_ref().map(|cost| cost.sender + cost.receiver)
}

/// Returns the middle of the values, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

/// Returns three digits of a figure, or a dash.
pub(super) fn shown(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".into() };
    match value {
        _ if value >= 99.95 => format!("{value:.0}"),
        _ if value >= 9.995 => format!("{value:.1}"),
        _ if value >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Returns the lowest and the highest figure.
pub(super) fn range(values: &[f64]) -> String {
    let lowest = values.iter().copied().min_by(f64::total_cmp);
    let highest = values.iter().copied().max_by(f64::total_cmp);
    format!("{}–{}", shown(lowest), shown(highest))
}

/// Returns a size in the largest unit that it is a multiple of.
pub(super) fn size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::{
        super::results::{Document, tests::transfers},
        *,
    };

    #[test]
    fn runs_of_one_command_are_one_line() {
        let Document::Transfers(document) = transfers("host", &[4.0, 2.0, 8.0]) else { panic!("transfers") };
        let found = lines(&document);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].bytes(), found[0].memory()), (65536, "host".into()));
        assert_eq!(found[0].median(goodput), Some(4.0));
        assert_eq!(found[0].median(|row| row.percent_of_ceiling), Some(50.0));
        assert_eq!(range(&found[0].each(goodput)), "2.00–8.00");
        assert!((found[0].median(cpu).expect("a cost") - 0.3).abs() < 1e-9);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
    }

    #[test]
    fn three_digits_and_whole_sizes() {
        let digits = [0.0412, 0.9999, 1.0, 9.999, 12.34, 99.96, 1234.5].map(|value| shown(Some(value)));
        assert_eq!(digits, ["0.041", "1.00", "1.00", "10.0", "12.3", "100", "1234"]);
        assert_eq!(shown(None), "–");
        assert_eq!(
            [1, 1500, 4096, 64 << 20, 1 << 30].map(size),
            ["1 B", "1500 B", "4 KiB", "64 MiB", "1 GiB"]
        );
    }
}
