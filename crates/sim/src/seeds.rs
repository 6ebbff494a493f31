//! Many seeds, on all cores.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::{Report, Settings, run};

/// The result of many seeds.
#[derive(Debug, Default)]
pub struct Sweep {
    /// The number of runs by their outcomes.
    pub outcomes: BTreeMap<String, u64>,
    /// The seeds that failed, each with the demand that was broken.
    pub failures: BTreeMap<u64, String>,
    /// The number of runs.
    pub runs: u64,
}

/// Runs the settings that `settings` returns for each seed, until `most` have failed.
///
/// `name` names the outcome of a run that is as it must be.
pub fn sweep(
    seeds: std::ops::Range<u64>,
    most: usize,
    settings: impl Fn(u64) -> Settings + Sync,
    name: impl Fn(&Settings, &Report) -> String + Sync,
) -> Sweep {
    let next = AtomicU64::new(seeds.start);
    let result = Mutex::new(Sweep::default());
    let work = || {
        let mut mine = Sweep::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            mine.runs += 1;
            match outcome(&settings(seed), &name) {
                Ok(outcome) => *mine.outcomes.entry(outcome).or_default() += 1,
                Err(what) => {
                    mine.failures.insert(seed, what);
                    if mine.failures.len() >= most {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            }
        }
        let Ok(mut all) = result.lock() else { return };
        all.runs += mine.runs;
        all.failures.append(&mut mine.failures);
        mine.outcomes.into_iter().for_each(|(name, count)| *all.outcomes.entry(name).or_default() += count);
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    result.into_inner().unwrap_or_default()
}

/// Returns the outcome of a run, or the demand that was broken.
fn outcome(
    settings: &Settings,
    name: &(impl Fn(&Settings, &Report) -> String + Sync),
) -> Result<String, String> {
    let report = caught(|| run(settings))?;
    report.check(settings)?;
    Ok(name(settings, &report))
}

/// Runs a world; a panic of a type is a fault of its user.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        format!("a type found a bug in its user: {text}")
    })
}
