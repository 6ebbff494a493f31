//! Tells new faults from old ones: the budget was right in the commit that last changed it.

use std::{collections::HashMap, path::Path, process::Command};

use super::{Fault, faults_of};
use crate::shell;

/// Returns the faults that their files did not have when the budget was last changed.
///
/// Without git all of them are returned.
pub(super) fn new<'a>(root: &Path, faults: impl Iterator<Item = &'a Fault>) -> Vec<&'a Fault> {
    let mut log = Command::new("git");
    log.current_dir(root).args(["log", "-1", "--format=%H", "--", super::BUDGET]);
    let Ok(base) = shell::output(&mut log) else { return faults.collect() };
    let mut old: HashMap<&str, Vec<String>> = HashMap::new();
    faults
        .filter(|fault| {
            let known = old.entry(&fault.path).or_insert_with(|| texts_at(root, base.trim(), &fault.path));
            let found = known.iter().position(|text| *text == fault.text);
            found.map(|at| known.swap_remove(at)).is_none()
        })
        .collect()
}

/// Returns the text of each fault that a file had in a commit; a file that was not there had none.
fn texts_at(root: &Path, commit: &str, path: &str) -> Vec<String> {
    let mut show = Command::new("git");
    show.current_dir(root).args(["show", &format!("{commit}:{path}")]);
    show.output().map_or_else(
        |_| Vec::new(),
        |output| {
            let faults = faults_of(path, &String::from_utf8_lossy(&output.stdout));
            faults.into_iter().map(|(_, _, text)| text).collect()
        },
    )
}
