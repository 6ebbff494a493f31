//! The findings of `gputcp doctor` about this machine. Each is ok, could be better, or a problem, and names
//! the command that changes it.
//!
//! Each part of the machine has a file. `doctor` separates collection from evaluation, so that rules can be
//! tested with fabricated machines. Nothing is changed here.

pub mod cpu;
pub mod export;
pub mod gpu;
pub mod interfaces;
pub mod limits;
pub mod loopback;
pub mod nixl;
pub mod plugin;
pub mod tcp;

use std::{fmt::Write as _, fs, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::printable::printable;

/// The name of the report's form. A reader that knows it knows the fields; more may be added, none change
/// their meaning.
pub const SCHEMA: &str = "gputcp.doctor/1";

/// The findings about a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program's version.
    pub version: String,
    /// The host's name.
    pub host: String,
    /// The number of findings that are problems.
    pub problems: u32,
    /// One for each thing that was looked at.
    pub findings: Vec<Finding>,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The finding's topic.
    pub topic: String,
    /// Whether it is well.
    pub verdict: Severity,
    /// The fact, and its consequence.
    pub seen: String,
    /// A command for a shell that changes it, where one is known. `doctor` does not run it.
    pub command: Option<String>,
}

/// Whether something is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The fact is well.
    Ok,
    /// It works, and something would make it faster.
    CouldBeBetter,
    /// It fails, or will under load.
    Problem,
}

impl Report {
    /// Returns a report of these findings.
    #[must_use]
    pub fn new(host: String, findings: Vec<Finding>) -> Self {
        let problems = findings.iter().filter(|finding| finding.verdict == Severity::Problem).count() as u32;
        Self { schema: SCHEMA.into(), version: env!("CARGO_PKG_VERSION").into(), host, problems, findings }
    }

    /// Returns the report for people: a line each.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("# gputcp {}: doctor, on {}\n", self.version, self.host);
        let topics = self.findings.iter().map(|finding| finding.topic.len()).max().unwrap_or(0);
        for Finding { topic, verdict, seen, command } in &self.findings {
            let _ = write!(text, "{:<15}  {topic:<topics$}  {seen}", verdict.word());
            if let Some(command) = command {
                let _ = write!(text, ": {command}");
            }
            text.push('\n');
        }
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count();
        let _ = writeln!(
            text,
            "# {} ok, {} could be better, {}",
            count(Severity::Ok),
            count(Severity::CouldBeBetter),
            counted(count(Severity::Problem), "problem")
        );
        text
    }
}

impl Finding {
    /// Returns a finding that all is well.
    #[must_use]
    pub fn ok(topic: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { topic: topic.into(), verdict: Severity::Ok, seen: seen.into(), command: None }
    }

    /// Returns a finding that could be better.
    #[must_use]
    pub fn better(topic: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { verdict: Severity::CouldBeBetter, ..Self::ok(topic, seen) }
    }

    /// Returns a finding that something fails, or will.
    #[must_use]
    pub fn problem(topic: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { verdict: Severity::Problem, ..Self::ok(topic, seen) }
    }

    /// Adds the command that changes it.
    #[must_use]
    pub fn by(self, command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), ..self }
    }
}

impl Severity {
    /// Returns its name in the report for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::CouldBeBetter => "could be better",
            Self::Problem => "problem",
        }
    }
}

/// Returns the contents of a system file, on one line and fit for a terminal.
fn said(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(printable(&line).chars().take(LINE_CHARS).collect())
}

/// Returns text as a word for a shell, whatever is in it.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-=,+:@".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Returns a number of things in words: `1 core`, `2 cores`.
fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Returns bytes in the largest unit that keeps them whole or of some size.
fn bytes(count: u64) -> String {
    match count {
        u64::MAX => "unlimited".into(),
        ..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{} KiB", count >> 10),
        10_485_760..10_737_418_240 => format!("{} MiB", count >> 20),
        _ => format!("{} GiB", count >> 30),
    }
}

/// The longest line that is believed of a file.
const LINE_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_each() {
        let findings = vec![
            Finding::ok("cpu", "2 cores"),
            Finding::better("files", "1024 may be open").by("ulimit -n 65536"),
            Finding::problem("gpu 0", "gone"),
        ];
        let report = Report::new("here".into(), findings);
        assert_eq!(
            report.text().lines().skip(1).collect::<Vec<_>>(),
            [
                "ok               cpu    2 cores",
                "could be better  files  1024 may be open: ulimit -n 65536",
                "problem          gpu 0  gone",
                "# 1 ok, 1 could be better, 1 problem",
            ]
        );
        assert_eq!(report.problems, 1);
    }

    #[test]
    fn what_a_shell_would_take_for_more_than_a_word_is_quoted() {
        assert_eq!(quoted("/usr/lib/a-b_c.so"), "/usr/lib/a-b_c.so");
        assert_eq!(quoted("/a b/$(x)"), "'/a b/$(x)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
