//! Transfers: polled, waited for without the interpreter's lock, or awaited.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use gputcp::{Error, onesided};
use pyo3::{prelude::*, types::PyAny};

use crate::{
    endpoint::Core,
    errors::{exception, seconds},
};

/// A read or a write. One that is let go of while it is under way is cancelled.
#[pyclass(module = "gputcp", frozen)]
pub(crate) struct Transfer {
    transfer: RwLock<onesided::Transfer>,
    core: Arc<Core>,
}

impl Transfer {
    pub(crate) const fn new(transfer: onesided::Transfer, core: Arc<Core>) -> Self {
        Self { transfer: RwLock::new(transfer), core }
    }

    /// Looks at it; without the interpreter's lock if a post in another thread holds it.
    fn look<T: Send>(&self, py: Python<'_>, look: impl FnOnce(&onesided::Transfer) -> T + Send) -> T {
        match self.transfer.try_read() {
            Ok(transfer) => look(&transfer),
            Err(_) => py.detach(move || look(&self.transfer.read().unwrap_or_else(PoisonError::into_inner))),
        }
    }
}

#[pymethods]
impl Transfer {
    /// Returns whether every byte is where it belongs. Raises the error if the transfer has failed.
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        let found = self.look(py, onesided::Transfer::poll);
        found.map(|progress| progress.is_done()).map_err(|error| exception(&error))
    }

    /// Waits until it is done, at most so many seconds; then it goes on, and TimeoutError is raised.
    #[pyo3(signature = (timeout = 30.0))]
    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let after = seconds(timeout)?;
        if self.done(py)? {
            return Ok(());
        }
        let done = patiently(py, after, |slice| {
            let transfer = self.transfer.read().unwrap_or_else(PoisonError::into_inner);
            let (waited, found) = (transfer.wait(slice), transfer.poll());
            // No lock is held while an error becomes an exception: that takes the interpreter's.
            drop(transfer);
            match (waited, found) {
                (Ok(()), _) => Ok(Some(())),
                // The end of the slice.
                (Err(_), Ok(_)) => Ok(None),
                (Err(_), Err(error)) => Err(exception(&error)),
            }
        })?;
        let (what, peer) = ("a one-sided transfer", "its peer".into());
        done.ok_or_else(|| exception(&Error::Timeout { what, peer, after }))
    }

    /// Begins no more of it. Parts that are under way go on; then the transfer is over, as cancelled.
    fn cancel(&self, py: Python<'_>) {
        self.look(py, onesided::Transfer::cancel);
    }

    /// Begins the same transfer again, without preparing it again.
    #[pyo3(signature = (note = None))]
    fn post(&self, py: Python<'_>, note: Option<&[u8]>) -> PyResult<()> {
        // A wait in another thread may hold it, for one slice at most.
        let posted = py.detach(|| self.transfer.write().unwrap_or_else(PoisonError::into_inner).post(note));
        posted.map_err(|error| exception(&error))
    }

    /// The number of bytes that it moves.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> u64 {
        self.look(py, onesided::Transfer::bytes)
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let end = slf.py().import("gputcp._asyncio")?.call_method1("end_of", (slf,))?;
        end.call_method0("__await__")
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (bytes, found) = self.look(py, |transfer| (transfer.bytes(), transfer.poll()));
        let state = match found {
            Ok(progress) if progress.is_done() => "done",
            Ok(_) => "under way",
            Err(_) => "failed",
        };
        format!("<gputcp.Transfer of {bytes} bytes, {state}>")
    }

    fn _watch(&self) -> PyResult<Watch> {
        self.core.watch()
    }

    #[getter]
    fn _identity(&self) -> usize {
        Arc::as_ptr(&self.core).addr()
    }
}

/// A descriptor that becomes readable when a transfer of its endpoint ends, or a note comes.
#[pyclass(module = "gputcp._gputcp", frozen)]
pub(crate) struct Watch(onesided::Watch);

impl Watch {
    pub(crate) const fn new(watch: onesided::Watch) -> Self {
        Self(watch)
    }
}

#[pymethods]
impl Watch {
    fn fileno(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }

    fn clear(&self) {
        self.0.clear();
    }
}

/// Waits without the interpreter's lock, in slices: between two, signals such as Ctrl-C are handled. Returns
/// `None` at the end of the timeout.
pub(crate) fn patiently<T: Send>(
    py: Python<'_>,
    timeout: Duration,
    wait: impl Fn(Duration) -> PyResult<Option<T>> + Sync,
) -> PyResult<Option<T>> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(found) = py.detach(|| wait(left.min(SLICE)))? {
            return Ok(Some(found));
        }
        py.check_signals()?;
        if Instant::now() >= deadline {
            return Ok(None);
        }
    }
}

const SLICE: Duration = Duration::from_millis(100);
