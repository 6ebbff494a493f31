//! Cases one after another, each from a seed of its own.

use std::{
    collections::BTreeMap,
    env, panic, process,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fastrand::Rng;

/// The number of times each event happened, for the line at the end.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Counts one event.
    pub fn one(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// Counts so many events.
    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    /// Returns how many of these events were counted.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

/// Runs cases for `GPUTCP_FUZZ_SECONDS`, at least two, or the one case of `GPUTCP_FUZZ_SEED`. Prints the
/// counts.
///
/// # Panics
/// If a case does, or a variable is no number.
pub fn run(name: &str, case: impl FnMut(&mut Rng, &mut Counts)) -> Counts {
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is no number")))
    };
    let only = number("GPUTCP_FUZZ_SEED");
    let time = Duration::from_secs(number("GPUTCP_FUZZ_SECONDS").unwrap_or(1));
    cases(name, time, only, case)
}

fn cases(
    name: &str,
    time: Duration,
    only: Option<u64>,
    mut case: impl FnMut(&mut Rng, &mut Counts),
) -> Counts {
    let mut seeds = Rng::with_seed(fresh());
    let mut counts = Counts::default();
    let began = Instant::now();
    for at in 0.. {
        let seed = only.unwrap_or_else(|| seeds.u64(..));
        let say = Say { name, seed };
        case(&mut Rng::with_seed(seed), &mut counts);
        drop(say);
        counts.one("cases");
        if only.is_some() || (began.elapsed() >= time && at > 0) {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let counted: Vec<String> = counts.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
    println!("{name}: {} in {seconds:.1} s", counted.join(", "));
    counts
}

/// Returns how many threads of the library have panicked since [`watch_panics`] was called first.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::SeqCst)
}

/// Counts the panics of the library's own threads from now on, by their names.
///
/// Nothing else tells of the panic of a thread that no test joins.
pub fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name().is_some_and(|name| name.starts_with("gputcp")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
    });
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Returns another seed in each run.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 ^ u64::from(process::id()) << 32
}

/// The hint how to repeat a case, printed should it panic.
struct Say<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for Say<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}: again by GPUTCP_FUZZ_SEED={} (and the name of this test)", self.name, self.seed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_seed_of_its_own() {
        let mut drawn = Vec::new();
        let counts = cases("seeds", Duration::from_millis(100), None, |random, counts| {
            if drawn.len() < 100 {
                drawn.push(random.u64(..));
            }
            counts.one("draws");
            thread::sleep(Duration::from_millis(1));
        });
        assert_eq!(counts.of("draws"), counts.of("cases"));
        assert!(counts.of("cases") > 10);
        let total = drawn.len();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), total);
    }
}
