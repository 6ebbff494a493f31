//! The Python module `gputcp._gputcp`: the library's one-sided transfers for Python's objects.
//!
//! Invariant: no thread waits with the interpreter's lock held, and no thread of the library ever takes it.

#![deny(unsafe_code)]

mod blocks;
mod endpoint;
mod errors;
#[allow(unsafe_code)]
mod foreign;
mod keeper;
mod memory;
mod peer;
mod region;
mod transfer;

use pyo3::prelude::*;

/// One-sided transfers over plain TCP.
#[pymodule]
mod _gputcp {
    #[pymodule_export]
    use super::{endpoint::Endpoint, peer::Peer, region::Region, transfer::Transfer, transfer::Watch};
}
