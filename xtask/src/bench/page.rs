//! The page as text: tables and pictures.

use std::fmt::Write as _;

use super::plot::Plot;

/// The page and its plots, by file name.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) plots: Vec<(String, String)>,
}

impl Page {
    /// Adds the heading and the separator of a table.
    pub(super) fn head(&mut self, cells: &[&str]) {
        self.text.push('\n');
        self.row(&cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        let _ = writeln!(self.text, "|{}", "---|".repeat(cells.len()));
    }

    /// Adds a row of a table.
    pub(super) fn row(&mut self, cells: &[String]) {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// Adds a plot as a picture.
    pub(super) fn plot(&mut self, file: String, plot: &Plot) {
        let _ = write!(self.text, "\n![{}](plots/{file})\n", plot.title);
        self.plots.push((file, plot.svg()));
    }
}
