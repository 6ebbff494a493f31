//! A trace of each message's life, at either end of a connection. It has the times at which a message is
//! posted, matched, written, read, unpacked and seen, and the sleeps of threads meanwhile.
//!
//! A connection has a [`Tracer`], which keeps [events](event) in [rings](ring) that were made at connect, so
//! recording allocates nothing (invariant I4). A thread of the [`Trace`] empties the rings regularly. It
//! writes them as trace events of Chrome and Perfetto ([`json`]) to a [`file`], which is whole after each
//! write. An event that finds its ring full is counted, and the count is in the file.
//!
//! Without a trace a connection has no tracer, and an event costs a look at a `None`.

mod event;
mod file;
mod json;
mod pen;
mod recorder;
mod ring;
mod tracer;
mod tracks;

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread::{self, Thread},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

pub use self::recorder::Recorder;
pub(crate) use self::{
    event::{Reason, Segment},
    pen::Pen,
    tracer::Tracer,
};
use self::{file::Output, tracks::Tracks};
use crate::{Error, Result};

/// A file to which connections write the life of their messages ([`Options::trace`](crate::Options::trace)).
///
/// Its clones are the same file. The page `docs/trace.md` says how to read it.
///
/// ```no_run
/// # use gputcp::{Options, Trace};
/// let options = Options::default().with_trace(Trace::to_file("trace.json")?);
/// # Ok::<(), gputcp::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Trace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The process that made it: a forked child writes nothing.
    process: u32,
    output: Mutex<Output>,
    connections: Mutex<Vec<Arc<Tracks>>>,
    thread: OnceLock<Thread>,
}

impl Trace {
    /// The variable that names the file, where a program or the NCCL plugin follows it.
    pub const VARIABLE: &'static str = "GPUTCP_TRACE";

    /// Makes a trace in this file, which is overwritten. `%p` in its name stands for the process's number. If
    /// another process, or another trace of this one, writes to the file, the process's number is appended.
    ///
    /// A thread of the trace writes all that is recorded every 50 ms, until the last connection and the last
    /// clone are gone.
    ///
    /// # Errors
    /// If the file cannot be made, or the system refuses a thread.
    pub fn to_file(path: impl AsRef<Path>) -> Result<Self> {
        let process = std::process::id();
        let (path, output) = file::open(path.as_ref(), process)?;
        let inner = Arc::new(Inner {
            path,
            process,
            output: Mutex::new(output),
            connections: Mutex::default(),
            thread: OnceLock::new(),
        });
        let weak = Arc::downgrade(&inner);
        let thread = thread::Builder::new().name("gputcp-trace".into()).spawn(move || run(&weak));
        let thread = thread.map_err(|error| Error::system("start the thread of a trace", error))?;
        let _ = inner.thread.set(thread.thread().clone());
        Ok(Self(inner))
    }

    /// Returns the trace that the variable `GPUTCP_TRACE` asks for; `None` if it is unset or empty.
    ///
    /// # Errors
    /// As [`Trace::to_file`].
    pub fn of_environment() -> Result<Option<Self>> {
        env::var_os(Self::VARIABLE).filter(|path| !path.is_empty()).map(Self::to_file).transpose()
    }

    /// Returns the file that it writes to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Writes all that is recorded by now.
    pub fn flush(&self) {
        self.0.flush();
    }

    /// Returns a recorder for sockets that the program drives itself, such as the baseline of a measurement.
    /// Both ends give the same `connection` name.
    #[must_use]
    pub fn recorder(&self, connection: &str, is_sender: bool) -> Recorder {
        Recorder::new(self, connection, is_sender)
    }

    fn add(&self, tracks: Arc<Tracks>) {
        lock(&self.0.connections).push(tracks);
    }
}

/// Returns the time of `CLOCK_MONOTONIC` in nanoseconds, which all processes of a machine share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

impl Inner {
    fn flush(&self) {
        if std::process::id() != self.process {
            return;
        }
        let mut output = lock(&self.output);
        let mut at = 0;
        loop {
            // Without the lock while it writes: a connection may begin meanwhile.
            let Some(tracks) = lock(&self.connections).get(at).cloned() else { break };
            let is_over = tracks.is_closed();
            output.drain(&tracks);
            if is_over {
                lock(&self.connections).swap_remove(at);
            } else {
                at += 1;
            }
        }
        output.write_out();
    }

    fn ring_thread(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.flush();
        self.ring_thread();
    }
}

/// Runs the thread of a trace.
fn run(trace: &Weak<Inner>) {
    loop {
        thread::park_timeout(FLUSH);
        let Some(inner) = trace.upgrade() else { return };
        inner.flush();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time between two writes: a process that is killed loses the events of so long.
const FLUSH: Duration = Duration::from_millis(50);
