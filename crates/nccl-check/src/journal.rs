//! The plugin's function that is running, written down before each call where the parent process can read it.
//!
//! The plugin's first warning since that call stands there too, so the parent can report a side that crashed
//! or hung. Beside them stands whether the side has gone beyond NCCL's demands. The journal is a file in
//! memory, opened through the parent's descriptor.

use std::{
    cell::Cell,
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::fs::{MemfdFlags, memfd_create};

/// The parent's end.
#[derive(Debug)]
pub struct Read(File);

/// The side's end. Clones write to the same place.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Write>);

#[derive(Debug)]
struct Write {
    file: File,
    /// The warning that is noted.
    warned: Mutex<Option<Warning>>,
}

#[derive(Debug, Clone, Copy)]
struct Warning {
    /// The side's thread that gave the warning, within a call; `None` for a thread of the plugin's own.
    by: Option<usize>,
    when: Instant,
}

impl Read {
    /// Makes an empty journal.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let fd: OwnedFd = memfd_create("journal", MemfdFlags::CLOEXEC)?;
        let file = File::from(fd);
        file.set_len(BEYOND_AT + 1)?;
        Ok(Self(file))
    }

    /// Returns the path at which a side opens the journal.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// Returns the functions that are running, or were when the side ended.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        let mut bytes = [0; THREADS * ENTRY_BYTES];
        if self.0.read_exact_at(&mut bytes, 0).is_err() {
            return Vec::new();
        }
        let name = |entry: &[u8]| {
            let length = entry.iter().position(|&byte| byte == 0).unwrap_or(ENTRY_BYTES);
            // The plugin can write here, too: only a name passes.
            let name = String::from_utf8_lossy(&entry[..length]).into_owned();
            (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(name)
        };
        bytes.chunks(ENTRY_BYTES).filter_map(name).collect()
    }

    /// Returns the plugin's first warning since its last call. The plugin can write any bytes there.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let mut bytes = [0; WORDS_BYTES];
        self.0.read_exact_at(&mut bytes, WORDS_AT as u64).ok()?;
        let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(WORDS_BYTES);
        (length > 0).then(|| String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// Returns whether the side has gone beyond NCCL's demands.
    #[must_use]
    pub fn is_beyond(&self) -> bool {
        let mut mark = [0];
        self.0.read_exact_at(&mut mark, BEYOND_AT).is_ok() && mark != [0]
    }
}

impl Journal {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).open(path)?;
        Ok(Self(Arc::new(Write { file, warned: Mutex::default() })))
    }

    /// Calls a function of the plugin under its name.
    pub(crate) fn call<T>(&self, function: &str, call: impl FnOnce() -> T) -> T {
        self.begin();
        self.write(function);
        let result = call();
        self.write("");
        result
    }

    /// Notes that the side goes beyond NCCL's demands from here on: a crash, too, is then no failure.
    pub(crate) fn go_beyond(&self) {
        let _ = self.0.file.write_all_at(&[1], BEYOND_AT);
    }

    fn write(&self, function: &str) {
        let mut entry = [0; ENTRY_BYTES];
        entry[..function.len()].copy_from_slice(function.as_bytes());
        // A journal that cannot be written makes the report of a crash poorer, and nothing worse.
        let _ = self.0.file.write_all_at(&entry, (THREAD.get().unwrap_or(0) * ENTRY_BYTES) as u64);
    }

    /// Notes a warning, if it is the first since the last call. A warning within a call replaces one of the
    /// plugin's own threads.
    pub(crate) fn say(&self, text: &str) {
        let mut warned = self.warned();
        let by = THREAD.get();
        let is_noted = warned.is_some_and(|warning| warning.by.is_some() || by.is_none());
        if text.is_empty() || is_noted {
            return;
        }
        *warned = Some(Warning { by, when: Instant::now() });
        let mut bytes = [0; WORDS_BYTES];
        let length = text.len().min(WORDS_BYTES);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        let _ = self.0.file.write_all_at(&bytes, WORDS_AT as u64);
    }

    /// Removes this thread's earlier warning, which does not explain the call that begins. Another thread's
    /// warning stays: it explains that thread's call. A recent one of the plugin's own threads stays as well:
    /// it may explain any call.
    fn begin(&self) {
        let mut warned = self.warned();
        let is_over = |warning: Warning| match warning.by {
            None => warning.when.elapsed() >= RECENT,
            by => by == THREAD.get(),
        };
        if warned.is_some_and(is_over) {
            *warned = None;
            let _ = self.0.file.write_all_at(&[0], WORDS_AT as u64);
        }
    }

    fn warned(&self) -> MutexGuard<'_, Option<Warning>> {
        self.0.warned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the journal the number of the calling thread among the side's threads.
pub(crate) fn number_this_thread(number: usize) {
    assert!(number < THREADS, "a check has few threads");
    THREAD.set(Some(number));
}

thread_local! {
    /// The thread's number; `None` on the plugin's own threads.
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The most threads of a side that call the plugin: its own, and those of the check of threads.
const THREADS: usize = 5;
/// The length of an entry. The longest name of a function is `irecvConsumed`.
const ENTRY_BYTES: usize = 16;
/// The place of the warning, behind the threads' entries.
const WORDS_AT: usize = THREADS * ENTRY_BYTES;
/// The most bytes of a warning; more is no sentence.
const WORDS_BYTES: usize = 512;
/// How long a warning of the plugin's own threads may explain a call.
const RECENT: Duration = Duration::from_secs(1);
/// The place of the mark behind the warning: whether the side is beyond NCCL's demands.
const BEYOND_AT: u64 = (WORDS_AT + WORDS_BYTES) as u64;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_first_warning_since_the_last_call_is_kept() {
        number_this_thread(0);
        let read = Read::new().unwrap();
        let journal = Journal::open(&read.path()).unwrap();
        assert_eq!(read.words(), None);
        journal.call("init", || journal.say("an old story"));
        journal.call("isend", || {
            journal.say("");
            journal.say("no slot");
            journal.say("a consequence");
            assert_eq!(read.running(), ["isend"]);
        });
        assert_eq!((read.words().as_deref(), read.running().len()), (Some("no slot"), 0));
        journal.call("test", || {});
        assert_eq!(read.words(), None);
        journal.say(&"long ".repeat(1000));
        assert_eq!(read.words().map(|words| words.len()), Some(WORDS_BYTES));
    }

    #[test]
    fn another_threads_call_does_not_wipe_out_what_explains_this_one() {
        let read = Read::new().unwrap();
        let journal = Journal::open(&read.path()).unwrap();
        let on = |number, text: &'static str| {
            let journal = &journal;
            thread::scope(|scope| {
                scope.spawn(move || {
                    number_this_thread(number);
                    journal.call("test", || journal.say(text));
                });
            });
        };
        on(1, "it is gone");
        on(2, "something else");
        assert_eq!(read.words().as_deref(), Some("it is gone"));
        on(1, "");
        assert_eq!(read.words(), None);
    }

    #[test]
    fn a_recent_warning_of_the_plugins_own_threads_explains_any_call() {
        let read = Read::new().unwrap();
        let journal = Journal::open(&read.path()).unwrap();
        let beside = |text| thread::scope(|scope| scope.spawn(|| journal.say(text)).join().unwrap());
        number_this_thread(0);
        beside("the cable is cut");
        journal.call("test", || {});
        assert_eq!(read.words().as_deref(), Some("the cable is cut"));
        journal.call("test", || journal.say("no such request"));
        beside("the cable is cut");
        assert_eq!(read.words().as_deref(), Some("no such request"));
        journal.call("test", || {});
        assert_eq!(read.words(), None);
        beside("the cable is cut");
        thread::sleep(RECENT);
        journal.call("test", || {});
        assert_eq!(read.words(), None);
    }
}
