//! The report of checking a plugin, as JSON, or as a [`table`] for people; and the checks themselves, as a
//! list, or as a [`page`].

pub mod page;
pub mod table;

use std::time::Duration;

use gputcp_nccl_check::{Check, Outcome, probe::Probed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the report's form. A reader that knows it knows the fields; more may be added, none change
/// their meaning.
pub const SCHEMA: &str = "gputcp.plugin-check/1";
/// The bound on a check's time unless the user sets one.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

/// The checks of one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program's version.
    pub version: String,
    /// The plugin that was checked.
    pub plugin: CheckedPlugin,
    /// The bound on a check's time.
    pub limit_s: f64,
    /// Whether it was cut short; then checks are missing.
    pub interrupted: bool,
    /// The number of demands that are met.
    pub passed: u32,
    /// The number of demands that are not met, and that NCCL does not make there either. They are no
    /// failures.
    #[serde(default)]
    pub stricter: u32,
    /// The number of demands that are not met.
    pub failed: u32,
    /// The number of demands that do not apply.
    pub skipped: u32,
    /// The time that it took.
    pub took_s: f64,
    /// One for each check, in the order of a plugin's life.
    pub results: Vec<Row>,
}

/// The plugin that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckedPlugin {
    /// The name by which the user named it.
    pub file: String,
    /// The name that it gives itself.
    pub name: String,
    /// The version of its interface.
    pub interface: u32,
    /// The number of its devices.
    pub devices: u32,
    /// The device that was used.
    pub device: u32,
}

/// A check and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The check's name.
    pub id: String,
    /// Whether the demand is met.
    pub result: Result,
    /// The demand on the plugin.
    pub expected: String,
    /// The plugin's behaviour; for a skipped check, the reason.
    pub seen: String,
    /// The part of NCCL that depends on it.
    pub because: String,
    /// The places where NCCL's sources say so, or rely on it: release, file and lines.
    #[serde(default)]
    pub sources: Vec<String>,
    /// NCCL's behaviour, where the demand goes beyond NCCL's.
    #[serde(default)]
    pub stricter: Option<String>,
    /// The time that it took.
    pub took_ms: f64,
}

/// Whether a demand is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Result {
    /// The demand is met.
    Pass,
    /// The demand is not met, and NCCL does not make it there either.
    Stricter,
    /// The demand is not met.
    Fail,
    /// The demand does not apply.
    Skipped,
}

/// A check that can be performed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// Its name.
    pub id: String,
    /// The demand on the plugin.
    pub expected: String,
    /// The part of NCCL that depends on it.
    pub because: String,
    /// The places where NCCL's sources say so, or rely on it: release, file and lines.
    pub sources: Vec<String>,
    /// NCCL's behaviour, where the demand goes beyond NCCL's.
    pub stricter: Option<String>,
    /// The first version of the interface that has the demand.
    pub since: u32,
}

impl Report {
    /// Returns a report without results.
    #[must_use]
    pub fn new(plugin: CheckedPlugin, limit: Duration) -> Self {
        Self {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            plugin,
            limit_s: limit.as_secs_f64(),
            interrupted: false,
            passed: 0,
            stricter: 0,
            failed: 0,
            skipped: 0,
            took_s: 0.0,
            results: Vec::new(),
        }
    }

    /// Adds a result, and counts it.
    pub fn add(&mut self, row: Row) {
        match row.result {
            Result::Pass => self.passed += 1,
            Result::Stricter => self.stricter += 1,
            Result::Fail => self.failed += 1,
            Result::Skipped => self.skipped += 1,
        }
        self.results.push(row);
    }
}

impl CheckedPlugin {
    /// Returns a plugin that does not start, and so has told none of its facts.
    #[must_use]
    pub fn unknown(file: String, device: u32) -> Self {
        Self { file, name: String::new(), interface: 0, devices: 0, device }
    }

    /// Returns the facts of a plugin that was probed.
    #[must_use]
    pub fn new(file: String, probed: &Probed, device: u32) -> Self {
        Self { file, name: probed.name.clone(), interface: probed.version, devices: probed.devices, device }
    }
}

impl Row {
    /// Returns the row of a check that ended.
    #[must_use]
    pub fn new(check: &Check, outcome: &Outcome, took: Duration) -> Self {
        let (result, seen) = match outcome {
            Outcome::Pass(seen) => (Result::Pass, seen),
            Outcome::Stricter(seen) => (Result::Stricter, seen),
            Outcome::Fail(seen) => (Result::Fail, seen),
            Outcome::Skipped(why) => (Result::Skipped, why),
        };
        Self {
            id: check.id.into(),
            result,
            expected: check.expected.into(),
            seen: seen.clone(),
            because: check.because.into(),
            sources: sources(check),
            stricter: check.scope.stricter.map(Into::into),
            took_ms: took.as_secs_f64() * 1e3,
        }
    }
}

/// Returns the checks as a document.
#[must_use]
pub fn list(checks: &[&Check]) -> Vec<Listed> {
    let listed = |check: &&Check| Listed {
        id: check.id.into(),
        expected: check.expected.into(),
        because: check.because.into(),
        sources: sources(check),
        stricter: check.scope.stricter.map(Into::into),
        since: check.scope.since,
    };
    checks.iter().map(listed).collect()
}

fn sources(check: &Check) -> Vec<String> {
    check.sources.iter().map(ToString::to_string).collect()
}
