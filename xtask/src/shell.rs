//! Running programs: each failure is one sentence that names the program. And results on stdout.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

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
    let status = command.stdout(io::stderr()).status().with_context(|| missing(&name))?;
    ensure!(status.success(), "{name} failed: {status}");
    Ok(())
}

fn missing(name: &str) -> String {
    format!("{name} could not be started: is it installed?")
}

/// Prints a result. A reader that has seen enough, like `head`, is no failure.
pub(crate) fn say(text: &str) -> Result<()> {
    say_to(&mut io::stdout(), text).context("could not write the result to standard output")
}

fn say_to(out: &mut impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        drop(reader);
        assert!(say_to(&mut writer, "a line\n").is_ok());
        let mut full = std::fs::File::create("/dev/full").expect("it is there");
        assert!(say_to(&mut full, "a line\n").is_err());
    }
}
