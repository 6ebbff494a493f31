//! Keepers: they hold the owners of registered memory, and let go of them without the interpreter's lock.
//!
//! The library drops a keeper on any of its threads, under locks of its own. So the drop only puts the owner
//! on a list, which a thread of this module empties.

use std::{
    mem,
    sync::{Condvar, Mutex, Once, PoisonError},
    thread,
};

use pyo3::prelude::*;

use crate::foreign::Export;

/// The owner of registered memory.
pub(crate) enum Owner {
    /// An object that has exported its memory.
    Export(Export),
    /// An object that keeps its memory in place while it lives.
    Object(Py<PyAny>),
}

/// Holds an owner until the library needs the memory no more.
pub(crate) struct Keeper(Option<Owner>);

impl Keeper {
    pub(crate) fn new(owner: Owner) -> Self {
        start();
        Self(Some(owner))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(owner) = self.0.take() {
            LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(owner);
            CHANGED.notify_one();
        }
    }
}

/// Lets go of the owners that the library has left.
pub(crate) fn release(py: Python<'_>) {
    let left = mem::take(&mut *LEFT.lock().unwrap_or_else(PoisonError::into_inner));
    for owner in left {
        match owner {
            Owner::Export(export) => export.release(py),
            Owner::Object(object) => drop(object),
        }
    }
}

/// Starts the thread that empties the list, once.
fn start() {
    static STARTED: Once = Once::new();
    // Without the thread, the next call of `release` does its work.
    STARTED.call_once(|| _ = thread::Builder::new().name("gputcp-keeper".into()).spawn(run));
}

fn run() {
    loop {
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        while left.is_empty() {
            left = CHANGED.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        drop(left);
        // The interpreter has ended: the owners stay, as all objects do.
        if Python::try_attach(release).is_none() {
            return;
        }
    }
}

static LEFT: Mutex<Vec<Owner>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();
