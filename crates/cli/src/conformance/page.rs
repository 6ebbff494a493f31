//! The checks as a page in Markdown. `docs/plugin-check.md` is made by this.

use gputcp_nccl_check::{Check, source::Source};

/// Makes the whole page.
#[must_use]
pub fn page(checks: &[&Check]) -> String {
    let index: String = checks.iter().map(|check| line(check)).collect();
    let each: String = checks.iter().map(|check| section(check)).collect();
    format!("{HEAD}\n{index}{each}")
}

/// Makes a check's line of the index.
fn line(check: &Check) -> String {
    let stricter = if check.stricter.is_some() { "yes" } else { "" };
    format!("| [{id}](#{id}) | v{} | {stricter} |\n", check.since, id = check.id)
}

fn section(check: &Check) -> String {
    let mut text = format!("\n## {}\n\n", check.id);
    text += &item("The plugin must", check.expected);
    text += &item("Why", check.because);
    if let Some(nccl) = check.stricter {
        text += &item("Stricter than NCCL", nccl);
    }
    text += &item("NCCL's source", &sources(check.sources));
    text + &item("Since", &format!("version {} of the interface", check.since))
}

/// Names the lines, behind the tag of their release.
fn sources(sources: &[Source]) -> String {
    let mut text = String::new();
    for (index, source) in sources.iter().enumerate() {
        let named = index > 0 && sources[index - 1].tag == source.tag;
        let tag = if named { String::new() } else { format!("{} ", source.tag) };
        text += &format!("{}{tag}`{}`", if index > 0 { ", " } else { "" }, source.place());
    }
    text
}

/// Makes an item of a list, wrapped.
fn item(name: &str, text: &str) -> String {
    let mut item = String::new();
    let mut line = format!("- **{name}:**");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() >= COLUMNS {
            item += &line;
            item.push('\n');
            line = format!("  {word}");
        } else {
            line.push(' ');
            line += word;
        }
    }
    item + &line + ".\n"
}

const COLUMNS: usize = 110;
const HEAD: &str = "\
# The checks of `gputcp plugin check`

<!-- made by: cargo run -- plugin check --list --markdown > docs/plugin-check.md -->

Each check is a demand on a NCCL net plugin. It names the lines of NCCL's public sources that it rests on: the
tag, the file and the lines in https://github.com/NVIDIA/nccl. A check has one of four results:

- **pass**: the plugin meets the demand.
- **FAIL**: the plugin does not meet it, and NCCL depends on it.
- **stricter**: the plugin does not meet it, and NCCL does not depend on it there. NCCL's own networks may not
  meet it either. The check is not counted as failed.
- **skipped**: the check does not apply, or would only repeat the failure of another one.

The exit code is 1 if a check fails, and 0 otherwise.

| check | since | may be stricter than NCCL |
|---|---|---|";
