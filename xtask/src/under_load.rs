//! Runs the tests again and again while all cores are kept busy, and prints what failed. It finds tests that
//! hold on a quiet machine alone.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::shell::say;

/// Runs `cargo test --workspace` so many times, with these arguments more, beside a busy thread for each
/// core.
pub(crate) fn run(runs: usize, more: &[&str]) -> Result<()> {
    let logs = logs()?;
    // Built first, so that the time of a run is that of the tests.
    let built = cargo(more).arg("--no-run").status().context("start cargo")?;
    if !built.success() {
        bail!("the tests do not build");
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    say(&format!("# {runs} runs on {cores} cores with {cores} busy threads; logs in {}\n", logs.display()))?;
    let stop = AtomicBool::new(false);
    let failed = thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let failed = (1..=runs).map(|run| one(run, &logs, more)).collect::<Result<Vec<_>>>();
        stop.store(true, Ordering::Relaxed);
        failed
    })?;
    let green = failed.iter().filter(|failed| failed.is_empty()).count();
    let mut times = BTreeMap::<&str, usize>::new();
    failed.iter().flatten().for_each(|name| *times.entry(name).or_default() += 1);
    say(&format!("# {green} of {runs} runs passed\n"))?;
    times.iter().try_for_each(|(name, times)| say(&format!("# failed in {times}: {name}\n")))?;
    if green < runs {
        bail!("{} of {runs} runs failed", runs - green);
    }
    Ok(())
}

/// Performs one run, prints its row, and returns what failed in it.
fn one(run: usize, logs: &Path, more: &[&str]) -> Result<Vec<String>> {
    let path = logs.join(format!("{run}.log"));
    let log = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let began = Instant::now();
    let mut command = cargo(more);
    command.arg("--no-fail-fast").stdout(log.try_clone()?).stderr(log);
    let status = command.status().context("start cargo")?;
    let mut failed = failed(&String::from_utf8_lossy(&fs::read(&path)?));
    if !status.success() && failed.is_empty() {
        failed.push(format!("cargo ended with {status}"));
    }
    let outcome =
        if failed.is_empty() { "passed".to_owned() } else { format!("FAILED: {}", failed.join(", ")) };
    say(&format!("{run:4} {:6.0} s  {outcome}\n", began.elapsed().as_secs_f64()))?;
    Ok(failed)
}

fn cargo(more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--locked"]).args(more).env("CARGO_TERM_COLOR", "never");
    command
}

/// The names in lines like `test some::name ... FAILED`.
fn failed(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    lines.map(str::to_owned).collect()
}

/// The folder of the logs, in `target`.
fn logs() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program's own file")?;
    let target = program.ancestors().nth(2).context("this program lies in no target folder")?;
    let logs = target.join("test-under-load");
    fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::failed;

    #[test]
    fn names_of_failed_tests_are_found() {
        let log = "test a::b ... ok\ntest a::c ... FAILED\ntest result: FAILED. 1 passed; 1 failed\ntest d - e (line 3) ... FAILED\n";
        assert_eq!(failed(log), ["a::c", "d - e (line 3)"]);
    }
}
