//! Which function of the plugin is running, written down before each call where the parent process can read it: so a side
//! that crashed or hung can still be told about. It is a file in memory, opened through the parent's descriptor.

use std::{
    cell::Cell,
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{MemfdFlags, memfd_create};

/// The parent's end.
#[derive(Debug)]
pub struct Read(File);

/// The side's end. Clones write to the same place.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<File>);

impl Read {
    /// A new journal, in which nothing is written.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let fd: OwnedFd = memfd_create("journal", MemfdFlags::CLOEXEC)?;
        let file = File::from(fd);
        file.set_len((THREADS * ENTRY_BYTES) as u64)?;
        Ok(Self(file))
    }

    /// Where a side opens it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// The functions that are running, or were when the side ended.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        let mut bytes = [0; THREADS * ENTRY_BYTES];
        if self.0.read_exact_at(&mut bytes, 0).is_err() {
            return Vec::new();
        }
        let name = |entry: &[u8]| {
            let length = entry.iter().position(|&byte| byte == 0).unwrap_or(ENTRY_BYTES);
            // The plugin could write here, too: nothing but a name passes.
            let name = String::from_utf8_lossy(&entry[..length]).into_owned();
            (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(name)
        };
        bytes.chunks(ENTRY_BYTES).filter_map(name).collect()
    }
}

impl Journal {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(File::options().write(true).open(path)?)))
    }

    /// Calls a function of the plugin under its name.
    pub(crate) fn call<T>(&self, function: &str, call: impl FnOnce() -> T) -> T {
        self.write(function);
        let result = call();
        self.write("");
        result
    }

    fn write(&self, function: &str) {
        let mut entry = [0; ENTRY_BYTES];
        entry[..function.len()].copy_from_slice(function.as_bytes());
        // A journal that cannot be written makes a crash less well described, nothing worse.
        let _ = self.0.write_all_at(&entry, (THREAD.get() * ENTRY_BYTES) as u64);
    }
}

/// Tells the journal which of the side's threads this is.
pub(crate) fn number_this_thread(number: usize) {
    assert!(number < THREADS, "a check has few threads");
    THREAD.set(number);
}

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// The most threads of a side that call the plugin: its own, and those of the check of threads.
const THREADS: usize = 5;
/// The longest name of a function is `irecvConsumed`.
const ENTRY_BYTES: usize = 16;
