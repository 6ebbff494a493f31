//! The wall between Rust and its C++ caller: no panic goes through it, and nothing in a forked child.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use gputcp_socket::is_forked_child;

use crate::status::Status;

/// Runs a call's body. In a forked child it does nothing but say so.
pub(crate) fn guard(body: impl FnOnce() -> Result<Status, Status>) -> Status {
    if is_forked_child() {
        say_forked();
        return Status::NOT_ALLOWED;
    }
    walled(body)
}

/// Runs the body of a call that gives something back. In a forked child it is the parent's, and stays.
pub(crate) fn free(body: impl FnOnce() -> Result<Status, Status>) -> Status {
    if is_forked_child() { Status::SUCCESS } else { walled(body) }
}

fn walled(body: impl FnOnce() -> Result<Status, Status>) -> Status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status) | Err(status)) => status,
        Err(payload) => {
            // Its message went to the panic hook. The payload's own drop may panic as well.
            std::mem::forget(payload);
            Status::BACKEND
        }
    }
}

/// Prints once that a forked child cannot use the backend.
///
/// It writes straight to the descriptor: the lock of stderr may be one that the fork left locked.
fn say_forked() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let _ = rustix::io::write(rustix::stdio::stderr(), FORKED.as_bytes());
    }
}

const FORKED: &str = "NIXL/GPUTCP: a process that was forked from one with connections called the backend: they stay with the \
                      process that made them; start workers with exec (\"spawn\" or \"forkserver\" in Python)\n";
