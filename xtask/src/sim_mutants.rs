//! Takes rules out of `proto`, one at a time, and has the simulator's seeds find it.
//!
//! Each patch in `crates/sim/mutants` is one mutant: a sentence, and a change. It is applied to a copy of the
//! two crates, so the tree itself stays as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::shell::say;

/// Tries all mutants whose names contain `part`, and prints a row for each.
pub(crate) fn run(root: &Path, part: &str) -> Result<()> {
    let mut patches: Vec<PathBuf> =
        fs::read_dir(root.join(MUTANTS))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.retain(|path| path.to_string_lossy().contains(part));
    patches.sort();
    let tree = root.join("target/sim-mutants/tree");
    say("| mutant | the change | found within | by |\n|---|---|---|---|\n")?;
    let mut missed = 0;
    for patch in &patches {
        copy(root, &tree)?;
        let text = fs::read_to_string(patch)?;
        let (why, _) = text.split_once("\n\n").context("a patch begins with a sentence")?;
        let name = patch.file_stem().unwrap_or_default().to_string_lossy();
        apply(&tree, patch)?;
        let found = seeds(root, &tree, name.contains(ONE_SIDED)).with_context(|| format!("mutant {name}"))?;
        missed += usize::from(found.is_none());
        let (runs, by) = found.unwrap_or_else(|| ("never".to_owned(), String::new()));
        say(&format!("| {name} | {why} | {runs} | {by} |\n"))?;
    }
    let found = patches.len() - missed;
    say(&format!("# {found} of {} mutants are found by {SEEDS} seeds\n", patches.len()))?;
    if missed > 0 {
        bail!("{missed} mutants are not found");
    }
    Ok(())
}

/// Copies the two crates, and makes a workspace of them.
fn copy(root: &Path, tree: &Path) -> Result<()> {
    for name in ["proto", "sim", "fuzz"] {
        let to = tree.join("crates").join(name);
        let _ = fs::remove_dir_all(&to);
        copy_folder(&root.join("crates").join(name), &to)?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let line = |line: &str| match line.split(' ').next() {
        Some("members") => r#"members = ["crates/proto", "crates/sim", "crates/fuzz"]"#.to_owned(),
        Some("default-members") => String::new(),
        _ => line.to_owned(),
    };
    fs::write(tree.join("Cargo.toml"), manifest.lines().map(line).collect::<Vec<_>>().join("\n"))?;
    fs::copy(root.join("Cargo.lock"), tree.join("Cargo.lock"))?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn apply(tree: &Path, patch: &Path) -> Result<()> {
    // As if there were no repository around: paths in patches are those of the tree.
    let applied = Command::new("git")
        .env("GIT_CEILING_DIRECTORIES", tree.parent().context("the tree has a parent")?)
        .args(["apply", "-p1"])
        .arg(patch)
        .current_dir(tree)
        .output()
        .context("start git")?;
    if applied.status.success() {
        return Ok(());
    }
    bail!("{} does not apply any more: {}", patch.display(), String::from_utf8_lossy(&applied.stderr))
}

/// Returns the number of seeds until one finds the mutant, and the demand that it breaks.
fn seeds(root: &Path, tree: &Path, is_one_sided: bool) -> Result<Option<(String, String)>> {
    let target = root.join("target/sim-mutants/target");
    let cargo = |args: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(tree).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "-Awarnings").args(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let built =
        cargo(&["build", "--quiet", "--offline", "-p", "gputcp-sim"]).output().context("start cargo")?;
    if !built.status.success() {
        bail!("it does not build: {}", String::from_utf8_lossy(&built.stderr));
    }
    let mut program = Command::new(target.join("debug/gputcp-sim"));
    program.args(is_one_sided.then_some("--one-sided"));
    program.args(["--until-found", &SEEDS.to_string()]).stdout(Stdio::piped()).stderr(Stdio::null());
    let Some(Output { status, stdout, .. }) = within(program, MOST)? else {
        return Ok(Some(("?".to_owned(), "a run that never ends".to_owned())));
    };
    let text = String::from_utf8_lossy(&stdout);
    let first = text.lines().next().unwrap_or_default();
    let runs = text.lines().last().and_then(|line| line.split_once(" runs")).map(|(runs, _)| runs);
    match (status.success(), first.split_once(": ")) {
        (true, _) => Ok(None),
        (false, Some((_, by))) => Ok(Some((runs.unwrap_or("?").to_owned(), by.replace('|', "/")))),
        (false, None) => bail!("the seeds did not run: {text}"),
    }
}

/// Waits for a program, and ends it when its time is up.
fn within(mut program: Command, most: Duration) -> Result<Option<Output>> {
    let began = Instant::now();
    let mut child = program.spawn().context("start the simulator")?;
    while child.try_wait()?.is_none() {
        if began.elapsed() > most {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(Some(child.wait_with_output()?))
}

const MUTANTS: &str = "crates/sim/mutants";
/// The mark of a mutant of the one-sided rules.
const ONE_SIDED: &str = "one-sided";
/// As many as the tests run.
const SEEDS: u32 = 20_000;
/// The most time for the seeds of a mutant: 20 000 take some seconds.
const MOST: Duration = Duration::from_secs(120);
