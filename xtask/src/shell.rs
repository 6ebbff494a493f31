//! Running programs: each failure is one sentence that names the program.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs a command and returns what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output().with_context(|| missing(&name))?;
    ensure!(output.status.success(), "{name} failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed something that is no text"))
}

/// Runs a command; what it prints goes to stderr.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdout(std::io::stderr()).status().with_context(|| missing(&name))?;
    ensure!(status.success(), "{name} failed: {status}");
    Ok(())
}

fn missing(name: &str) -> String {
    format!("{name} could not be started: is it installed?")
}
