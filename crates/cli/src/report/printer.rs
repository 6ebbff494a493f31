//! Prints a report in the form asked for: tables and CSV line by line as results come, JSON at the end.

use super::{Config, Hosts, Report, Row, csv, gpus::Gpus, json, table};
use crate::{failure::Failure, output::Output, settings::request::Format};

/// The output for results, and their format.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// The output.
    pub output: Output,
    /// The format.
    pub format: Format,
}

impl Printer {
    /// Prints the head, before the first result.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn head(&self, config: &Config, hosts: Hosts<'_>, gpus: &Gpus) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.output.print(&table::head(env!("CARGO_PKG_VERSION"), config, hosts, gpus)),
            Format::Csv => self.output.print(&csv::head()),
            Format::Json => Ok(()),
        }
    }

    /// Prints a result.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn row(&self, row: &Row) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.output.print(&table::row(row)),
            Format::Csv => self.output.print(&csv::row(row)),
            Format::Json => Ok(()),
        }
    }

    /// Prints the foot, after the last result.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn foot(&self, report: &Report) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.output.print(&table::foot(report)),
            Format::Csv => Ok(()),
            Format::Json => self.output.print(&json::document(report)),
        }
    }
}
