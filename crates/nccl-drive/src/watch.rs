//! The threads that are inside a plugin, and for how long. Foreign code that never returns cannot be ended,
//! but it can be noticed.
//!
//! Each thread has a place of its own to note its call, so that noting takes no lock and a signal handler can
//! read it.

use std::{
    cell::Cell,
    ptr,
    sync::{
        OnceLock,
        atomic::{
            AtomicPtr, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

/// Returns the name and duration of the call that has been inside a plugin for the longest time, if that is
/// longer than `bound`.
#[must_use]
pub fn stuck_call(bound: Duration) -> Option<(&'static str, Duration)> {
    let now = micros();
    let inside = NOTES.iter().filter_map(|place| {
        // In this order, a reader of a call sees that call's start or a later one's, and never an earlier
        // one's.
        let call = place.call.load(Acquire);
        let since = place.since_us.load(Relaxed);
        // SAFETY: NULL, or a reference that lives for ever.
        let call = unsafe { call.as_ref() }?;
        Some((*call, Duration::from_micros(now.saturating_sub(since))))
    });
    inside.filter(|(_, inside)| *inside > bound).max_by_key(|(_, inside)| *inside)
}

/// Returns the call that this thread is in. Async-signal-safe.
pub(crate) fn inside() -> Option<&'static str> {
    let place = MINE.get()?;
    // SAFETY: NULL, or a reference that lives for ever.
    unsafe { NOTES[place].call.load(Relaxed).as_ref() }.copied()
}

/// Returns the number of this thread's last call. Tells whether a note belongs to that call.
pub(crate) fn number() -> u64 {
    CALLS.try_with(Cell::get).unwrap_or_default()
}

/// Notes a call while it lasts.
pub(crate) fn watched<R>(call: &'static &'static str, work: impl FnOnce() -> R) -> R {
    let mine = MINE.get().unwrap_or_else(|| NEXT.fetch_add(1, Relaxed) % NOTES.len());
    MINE.set(Some(mine));
    let place = &NOTES[mine];
    CALLS.set(CALLS.get() + 1);
    place.since_us.store(micros(), Relaxed);
    place.call.store(ptr::from_ref(call).cast_mut(), Release);
    let result = work();
    place.call.store(ptr::null_mut(), Release);
    result
}

struct CallNote {
    /// NULL while nothing is called.
    call: AtomicPtr<&'static str>,
    since_us: AtomicU64,
}

/// Returns the microseconds since the first call of this function.
fn micros() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// Threads that drive plugins are few; should they be more, two share a place, and one of them is not seen.
static NOTES: [CallNote; 64] =
    [const { CallNote { call: AtomicPtr::new(ptr::null_mut()), since_us: AtomicU64::new(0) } }; 64];
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The calls that this thread has made.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    /// This thread's place, once it has made a call: threads of the plugin's own never do.
    static MINE: Cell<Option<usize>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_stays_inside_is_noticed_and_who_leaves_is_not() {
        let _alone = crate::tests::alone();
        let bound = Duration::from_millis(20);
        thread::scope(|scope| {
            scope.spawn(|| watched(&"slow", || thread::sleep(Duration::from_millis(300))));
            let deadline = Instant::now() + Duration::from_secs(10);
            let stuck = loop {
                match stuck_call(bound) {
                    Some(stuck) => break stuck,
                    None => assert!(Instant::now() < deadline, "it was never noticed"),
                }
            };
            assert!(stuck.0 == "slow" && stuck.1 > bound, "{stuck:?}");
        });
        assert_eq!(stuck_call(bound), None);
    }
}
